"""timm's models by their names, with weights from a folder, from timm's cache, or downloaded.

Importing timm takes two seconds, so this module is imported only where one of its models is used.
"""

import difflib
import logging
from pathlib import Path

import timm
import torch

from common.errors import InputError
from models import checkpoints
from models.checkpoints import reason_of

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # suffixes of local files, in the order of the search
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # what timm downloads from a model's page


def load_released(timm_name, role, folder):
    """The ViT ``timm_name``: the file of ``role`` in ``folder`` comes first, else timm downloads it or has it.
    InputError: the local file does not fit; or there is none, and the download fails."""
    file = role and Path(folder) / role.file
    if file and file.exists():
        return checkpoints.load_into(timm.create_model(timm_name, num_classes=0), file, role)
    _silence()
    try:
        return timm.create_model(timm_name, pretrained=True, num_classes=0)
    except Exception as error:  # the download libraries raise many types
        where = f"{file}: missing: the {role.title} checkpoint" if role else f"{timm_name}: no local file"
        get = f"get it from {role.source}" if role else "run once with network access"
        raise InputError(f"{where}, and timm's download failed ({type(error).__name__}); {get}") from None


def load(given, folder, size):
    """timm's model ``given``, "NAME" or "NAME.TAG", with its classifier and weights, for images of ``size``.
    InputError: there is no such model, it has no weights, or they do not fit."""
    config = config_of(given)
    full, paths = _full_name(config), _local_paths(given, config, folder)
    local = next((path for path in paths if path.is_file()), None)
    if local is None and not config.has_weights:
        raise _refused(given, f"timm has no pretrained weights for it, and {paths[0]} does not exist")
    _silence()
    options = {"pretrained": True}
    if local:
        options["pretrained_cfg_overlay"] = {"file": str(local), "custom_load": False}
    page = f"https://huggingface.co/{config.hf_hub_id or 'timm'}"
    try:
        try:
            return timm.create_model(full, img_size=size, **options)
        except TypeError:  # convolutional networks have no such argument; raised before anything is loaded
            return timm.create_model(full, **options)
    except Exception as error:  # reading, downloading and loading raise many types
        if local:
            raise InputError(
                f"{local}: does not fit timm's {full} ({reason_of(error)}); get the file from {page}, or remove it"
            ) from None
        raise InputError(
            f"{paths[0]}: missing, and timm's download of {full} failed ({type(error).__name__}); get "
            f"model.safetensors from {page}, or run once with network access"
        ) from None


def weights_path(given, folder):
    """Path of the weights of the model ``given``: ``folder`` is searched for NAME.TAG and then for NAME as given, then
    timm's cache; None if they are not downloaded yet; InputError if there is no such model."""
    config = config_of(given)
    return next((path for path in _local_paths(given, config, folder) if path.is_file()), None) or downloaded(config)


def config_of(given):
    """timm's PretrainedCfg of the model ``given``, "NAME" or "NAME.TAG"; InputError if there is no such one."""
    base, _, tag = given.partition(".")
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=3)
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise _refused(given, f"timm {timm.__version__} has no model {base}{meant}")
    names = timm.list_models(base, include_tags=True)
    if tag and given not in names:
        tags = [name.partition(".")[2] for name in names if name.startswith(f"{base}.")]
        raise _refused(
            given, f"{base} has no weights {tag!r} in timm {timm.__version__}; it has: {', '.join(tags) or 'none'}"
        )
    config = timm.get_pretrained_cfg(given)
    if config is None:
        raise _refused(given, f"timm {timm.__version__} has no pretrained weights for it")
    return config


def downloaded(config):
    """Path of the file that timm has downloaded for a PretrainedCfg, or None."""
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        for file in [config.hf_hub_filename] if config.hf_hub_filename else HUB_FILES:
            found = try_to_load_from_cache(config.hf_hub_id, file)
            if isinstance(found, str):
                return Path(found)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url or "-").name
    return path if path.is_file() else None


def _refused(given, reason):
    return InputError(f"--rgb_backbone_name timm:{given}: {reason}")


def _full_name(config):
    return f"{config.architecture}.{config.tag}" if config.tag else config.architecture


def _local_paths(given, config, folder):
    """Possible paths of a local weight file; the first that exists is used."""
    return [Path(folder) / (stem + end) for stem in dict.fromkeys((_full_name(config), given)) for end in SUFFIXES]


def _silence():
    """The download libraries warn of each attempt; our errors say it in one line."""
    for chatty in ("huggingface_hub", "timm"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
