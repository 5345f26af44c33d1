"""The weight files that a method uses: path, size, sha256, source, and whether they are untrained stand-ins."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from timm.models import get_pretrained_cfg

from common.files import sha256_of
from models import checkpoints
from models.models import RGB_BACKBONES, XYZ_BACKBONES
from models.rgb_backbones import LITE0, is_rgb_backbone, weights_path

HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # what timm downloads from a model's page


class WeightFile(NamedTuple):
    """One weight file.

    ``source`` is "file", "timm download" or "Python package"; if the file is not known, "sha256 of the tensors".
    """

    network: str
    path: str
    size: int
    sha256: str
    source: str
    standin: bool


def weight_files(folder="checkpoints", rgb=None, xyz=None, uff=None, **_):
    """The files that ``PatchExtractor.from_checkpoints`` loads with the same arguments.

    Returns:
        [WeightFile or None]; None for weights that timm has not downloaded yet, or that are missing.

    Raises:
        InputError: there is no such RGB backbone, or the package with its weights is not installed.
    """
    files = []
    if xyz in XYZ_BACKBONES:  # FPFH has no weights
        files.append(_local(Path(folder) / XYZ_BACKBONES[xyz][0].file, XYZ_BACKBONES[xyz][0]))
    if rgb is not None and is_rgb_backbone(rgb):
        files.append(_found(rgb, weights_path(rgb, folder), folder))
    elif rgb is not None:
        name, role = RGB_BACKBONES[rgb]
        path = role and Path(folder) / role.file
        files.append(_local(path, role) if path and path.is_file() else _downloaded(name))
    if uff is not None:
        files.append(_local(Path(uff), checkpoints.UFF))
    return files


def used_weights(options, build):
    """[WeightFile] of the networks that ``PatchExtractor.from_checkpoints(**options)`` loads.

    Args:
        build: function that loads the networks and returns the extractor. It is called only if a file is missing: then
            timm downloads it, or ``build`` raises InputError.
    """
    files = weight_files(**options)
    if None in files:
        backbone = build().deep_feature_extractor.rgb_backbone
        files = [file or weights_of_tensors(options["rgb"], backbone) for file in weight_files(**options)]
    return files


def weights_of_tensors(network, module):
    """WeightFile of a loaded module with an unknown file; its sha256 is that of its tensors, sorted by name."""
    digest, size = hashlib.sha256(), 0
    for key, tensor in sorted(module.state_dict().items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        digest.update(key.encode() + data)
        size += len(data)
    return WeightFile(network, "", size, digest.hexdigest(), "sha256 of the tensors", False)


def _local(path, role):
    if not path.is_file():
        return None
    return WeightFile(
        role.title, str(path.resolve()), path.stat().st_size, sha256_of(path), "file", checkpoints.is_standin(path)
    )


def _found(name, path, folder):
    """WeightFile of an RGB backbone of ``models.rgb_backbones`` with weights at ``path``; None if path is None."""
    if path is None:
        return None
    local = Path(path).resolve().is_relative_to(Path(folder).resolve())
    source = "Python package" if name == LITE0 else "file" if local else "timm download"
    standin = local and checkpoints.is_standin(path)
    return WeightFile(name, str(Path(path).resolve()), path.stat().st_size, sha256_of(path), source, standin)


def _downloaded(name):
    """WeightFile of the file in timm's cache, or None."""
    config = get_pretrained_cfg(name)
    found = [_in_hub_cache(config.hf_hub_id, file) for file in HUB_FILES] if config.hf_hub_id else []
    if config.url:
        found.append(Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url).name)
    for path in filter(None, found):
        if path.is_file():
            return WeightFile(name, str(path), path.stat().st_size, sha256_of(path), "timm download", False)
    return None


def _in_hub_cache(repository, file):
    from huggingface_hub import try_to_load_from_cache  # comes with timm

    path = try_to_load_from_cache(repository, file)
    return Path(path) if isinstance(path, str) else None
