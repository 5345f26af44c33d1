"""Further RGB backbones: any timm model with a patch grid or a feature pyramid, and EfficientNet-Lite0."""

import difflib
import logging
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from models.lite0 import fold_batch_norms, load_lite0, weights_file

PREFIX = "timm:"
LITE0 = "efficientnet_lite0"
GRID = 28  # RGB patches per side
SIZE = 224
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # suffixes of local files, in the order of the search
STRIDES = (8, 16)  # default levels of a pyramid: their cells are about as large as the released backbones' patches
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # input images are normalised with these


class RGBBackbone(nn.Module):
    """Patch features of a timm model; it stays in eval mode, even if the modules around it are set to train mode.

    Args:
        model: a timm model with ``forward_intermediates`` and ``feature_info``.
        name: as the user gave it, for messages.
        layers: numbers of the blocks (patch grids) or levels (pyramids) to use, counted from 1; None: the last block,
            or the levels of stride 8 and 16.
        size: side of the input images in pixels.
        weights: path of the weight file; None if unknown.

    Attributes:
        embed_dim: number of columns of the patches.
        layers: tuple of the layers used.
        size, weights: as given.

    Raises:
        InputError: the model gives no spatial features, has no such layer, or takes no images of this size.
    """

    def __init__(self, model, name, layers=None, size=SIZE, weights=None):
        super().__init__()
        self.model, self.name, self.size, self.weights = model, name, size, weights
        info = list(getattr(model, "feature_info", None) or ())
        if not info or not hasattr(model, "forward_intermediates"):
            raise InputError(
                f"--rgb_backbone_name {name}: the model gives no spatial features "
                "(it has no patch grid and no feature pyramid)"
            )
        strides = [level.get("reduction") for level in info]
        self.is_grid = len(set(strides)) == 1 and len(strides) > 1
        self.layers = tuple(layers) if layers else self._default_layers(strides)
        wrong = [layer for layer in self.layers if not 1 <= layer <= len(info)]
        if wrong:
            raise InputError(f"--rgb_layers {wrong[0]}: {name} has the layers 1 to {len(info)}")
        if len(set(self.layers)) < len(self.layers):
            raise InputError(f"--rgb_layers {' '.join(map(str, self.layers))}: each layer can be given once")
        if self.is_grid and size % strides[0]:
            lower = max(size // strides[0], 1) * strides[0]
            raise InputError(
                f"--rgb_size {size}: {name} has patches of {strides[0]} pixels, so the size has to be a "
                f"multiple of that: {lower} or {lower + strides[0]}; "
                f"{GRID * strides[0]} gives {GRID}×{GRID} patches"
            )
        self.own_norm = self.is_grid and not isinstance(getattr(model, "norm", nn.Identity()), nn.Identity)
        config = model.pretrained_cfg
        mean, std = torch.tensor(config["mean"]), torch.tensor(config["std"])
        self.register_buffer("scale", (torch.tensor(IMAGENET_STD) / std)[:, None, None], persistent=False)
        self.register_buffer("shift", ((torch.tensor(IMAGENET_MEAN) - mean) / std)[:, None, None], persistent=False)
        self.renormalises = (tuple(config["mean"]), tuple(config["std"])) != (IMAGENET_MEAN, IMAGENET_STD)
        self.eval().requires_grad_(False)
        self.embed_dim = self._width()

    def _default_layers(self, strides):
        chosen = [] if self.is_grid else [i for i, stride in enumerate(strides, 1) if stride in STRIDES]
        return tuple(chosen) or (len(strides),)

    def _width(self):
        """Number of columns of the patches; a pass over an empty image also tests for spatial features."""
        try:
            with torch.no_grad():
                levels = self._levels(torch.zeros(1, 3, self.size, self.size))
        except Exception as error:  # models raise many types
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise InputError(
                f"--rgb_backbone_name {self.name}: fails on pictures of {self.size}×{self.size} pixels "
                f"({reason}); try another --rgb_size or backbone"
            ) from None
        if any(level.ndim != 4 or min(level.shape[2:]) < 2 for level in levels):
            raise InputError(
                f"--rgb_backbone_name {self.name}: the model gives no spatial features: "
                f"its layers have the shapes {', '.join(str(tuple(level.shape[1:])) for level in levels)}"
            )
        return sum(level.shape[1] for level in levels)

    def train(self, mode=True):
        """Stay in eval mode, since batch statistics of a single image and stochastic depth would spoil the features."""
        return super().train(False)

    def _levels(self, rgb):
        """Feature maps [B, C, h, w] of the layers."""
        indices = [layer - 1 for layer in self.layers]
        return self.model.forward_intermediates(
            rgb, indices=indices, norm=self.own_norm, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )

    def forward(self, rgb):
        """Patches [B, 784, embed_dim], row-major, of ImageNet-normalised images [B, 3, size, size].

        Each layer is normalised: by the model's final norm if the model has a patch grid and such a norm, otherwise to
        mean 0 and variance 1 over the columns of each patch. Then it is resampled to 28×28 (bilinear, antialiased if
        it is larger). Finally all layers are concatenated.
        """
        if tuple(rgb.shape[1:]) != (3, self.size, self.size):
            raise ValueError(f"pictures have to be [B, 3, {self.size}, {self.size}], are {tuple(rgb.shape)}")
        if self.renormalises:
            rgb = rgb * self.scale + self.shift
        patches = []
        for level in self._levels(rgb):
            if not self.own_norm:
                level = F.layer_norm(level.permute(0, 2, 3, 1), level.shape[1:2]).permute(0, 3, 1, 2)
            if level.shape[2:] != (GRID, GRID):
                finer = max(level.shape[2:]) > GRID
                level = F.interpolate(level, (GRID, GRID), mode="bilinear", align_corners=False, antialias=finer)
            patches.append(level.flatten(2).transpose(1, 2))
        return torch.cat(patches, dim=2)


def is_rgb_backbone(name):
    """Whether ``name`` is one of this module's backbones: ``efficientnet_lite0`` or ``timm:NAME``."""
    return name == LITE0 or name.startswith(PREFIX)


def build_rgb_backbone(name, checkpoint_dir="checkpoints", layers=None, size=None):
    """The backbone ``name`` with pretrained weights.

    Args:
        name: ``efficientnet_lite0`` or ``timm:NAME``; NAME is timm's name, with or without the tag of the weights.
        checkpoint_dir: folder that is searched first, for ``NAME.TAG`` and then for NAME as given, with the suffix
            .safetensors, .pth, .pt or .bin; otherwise timm downloads the weights or takes them from its cache.
        layers, size: see :class:`RGBBackbone`; None: its defaults.

    Raises:
        InputError: there is no such model, it has no weights, or they do not fit; see also :class:`RGBBackbone`.
    """
    size = size or SIZE
    if name == LITE0:
        model, weights = load_lite0()
        model = fold_batch_norms(model)
    else:
        model, weights = _load_timm(name.removeprefix(PREFIX), Path(checkpoint_dir), size)
    return RGBBackbone(model, name, layers, size, weights)


def _load_timm(given, folder, size):
    """(timm's model ``given`` with weights, for images of ``size``; path of the weight file or None)."""
    config = _config(given)
    full, paths = _full_name(config), _local_paths(given, config, folder)
    local = next((path for path in paths if path.is_file()), None)
    if local is None and not config.has_weights:
        raise InputError(
            f"--rgb_backbone_name {PREFIX}{given}: timm has no pretrained weights for it, and {paths[0]} does not exist"
        )
    overlay = {"file": str(local), "custom_load": False} if local else None
    for chatty in ("huggingface_hub", "timm"):  # they warn of each attempt; the errors below say it in one line
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        model = _create(full, size, overlay)  # with its classifier: timm checks all other tensors only then
    except Exception as error:  # reading, downloading and loading raise many types
        lines = str(error).strip().splitlines()
        reason = " ".join(line.strip() for line in lines[:2])[:200] or type(error).__name__
        if local:
            raise InputError(
                f"{local}: does not fit timm's {full} ({reason}); get the file from "
                f"https://huggingface.co/{config.hf_hub_id or 'timm'}, or remove it"
            ) from None
        raise InputError(
            f"{paths[0]}: missing, and timm's download of {full} failed ({type(error).__name__}); get "
            f"model.safetensors from https://huggingface.co/{config.hf_hub_id or 'timm'}, "
            "or run once with network access"
        ) from None
    return model, local or _downloaded(config)


def weights_path(name, checkpoint_dir="checkpoints"):
    """Path of the weight file that :func:`build_rgb_backbone` uses for ``name``; None if it is not downloaded yet.

    Raises:
        InputError: there is no such model, or the package of ``efficientnet_lite0`` is not installed.
    """
    if name == LITE0:
        return weights_file()
    given = name.removeprefix(PREFIX)
    config = _config(given)
    paths = _local_paths(given, config, Path(checkpoint_dir))
    return next((path for path in paths if path.is_file()), None) or _downloaded(config)


def _full_name(config):
    return f"{config.architecture}.{config.tag}" if config.tag else config.architecture


def _local_paths(given, config, folder):
    """Possible paths of a local weight file; the first that exists is used."""
    return [folder / (stem + suffix) for stem in dict.fromkeys((_full_name(config), given)) for suffix in SUFFIXES]


def _create(full, size, overlay):
    """timm's model ``full`` with weights; ``size`` is passed on if the model takes an image size."""
    try:
        return timm.create_model(full, pretrained=True, pretrained_cfg_overlay=overlay, img_size=size)
    except TypeError:  # convolutional networks have no such argument; raised before anything is loaded
        return timm.create_model(full, pretrained=True, pretrained_cfg_overlay=overlay)


def _config(given):
    """timm's PretrainedCfg of the model ``given``, "NAME" or "NAME.TAG"."""
    base, _, tag = given.partition(".")
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=3)
        raise InputError(
            f"--rgb_backbone_name {PREFIX}{given}: timm {timm.__version__} has no model {base}"
            f"{'; did you mean ' + ', '.join(near) + '?' if near else ''}"
        )
    if tag and given not in timm.list_models(base, include_tags=True):
        names = timm.list_models(base, include_tags=True)
        tags = [name.partition(".")[2] for name in names if name.startswith(base + ".")]
        raise InputError(
            f"--rgb_backbone_name {PREFIX}{given}: {base} has no weights {tag!r} in timm "
            f"{timm.__version__}; it has: {', '.join(tags) or 'none'}"
        )
    config = timm.get_pretrained_cfg(given)
    if config is None:
        raise InputError(
            f"--rgb_backbone_name {PREFIX}{given}: timm {timm.__version__} has no pretrained weights for it"
        )
    return config


def _downloaded(config):
    """Path of timm's downloaded file, or None if it cannot be found."""
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        for file in [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]:
            found = try_to_load_from_cache(config.hf_hub_id, file)
            if isinstance(found, str):
                return Path(found)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url or "-").name
    return path if path.is_file() else None
