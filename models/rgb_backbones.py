"""RGB backbones beyond the four released ones: any timm model with a patch grid or a feature pyramid, and
EfficientNet-Lite0 from a package."""

import difflib
import logging
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from torch import nn

from models.lite0 import load_lite0, weights_file
from utils.errors import InputError

PREFIX = "timm:"
LITE0 = "efficientnet_lite0"
GRID = 28  # RGB patches a side
SIZE = 224
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # of local files, in this order
STRIDES = (8, 16)  # levels of a pyramid unless layers are given: about the size of the released backbones' patches
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what pictures come normalised with


class RGBBackbone(nn.Module):
    """Patch features of a timm model; always in eval mode, whatever the modules around it are in.

    Args:
        model: a timm model with ``forward_intermediates`` and ``feature_info``.
        name: as the user gave it, for messages.
        layers: numbers of its blocks (patch grids) or levels (pyramids), from 1; None: the last block, or the levels
            of stride 8 and 16.
        size: side of the pictures in pixels.
        weights: path of the file the weights came from, None where unknown.

    Attributes:
        embed_dim: columns of the patches.
        layers: tuple of the layers taken.
        size, weights: as given.

    Raises:
        InputError: the model gives no spatial features, has no such layer, or takes no pictures of this size.
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
        """Columns of the patches, from a pass over an empty picture: the test that the model gives spatial features
        at all."""
        try:
            with torch.no_grad():
                levels = self._levels(torch.zeros(1, 3, self.size, self.size))
        except Exception as error:  # whatever a model's own checks raise
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
        """Stay in eval mode: batch statistics of a single picture and stochastic depth are no features."""
        return super().train(False)

    def _levels(self, rgb):
        """Feature maps [B, C, h, w] of the layers."""
        indices = [layer - 1 for layer in self.layers]
        return self.model.forward_intermediates(
            rgb, indices=indices, norm=self.own_norm, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )

    def forward(self, rgb):
        """Patches [B, 784, embed_dim], row-major, of pictures [B, 3, size, size] that are normalised with ImageNet's
        mean and std.

        Each layer is normalised by the model's final norm, where it has a patch grid and such a norm, otherwise to
        mean 0 and variance 1 over the columns of each patch; brought to 28×28 by bilinear resampling (antialiased
        where it has more); and put beside the others.
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
        name: ``timm:NAME``, where NAME is timm's, with or without the tag that chooses the weights, or
            ``efficientnet_lite0``.
        checkpoint_dir: folder that is looked in first, for ``NAME.TAG`` and then NAME as given, with .safetensors,
            .pth, .pt or .bin; otherwise timm downloads the weights, or takes them from its cache.
        layers, size: as :class:`RGBBackbone` takes them; None for its defaults.

    Raises:
        InputError: no such model, no weights, weights that do not fit, or see :class:`RGBBackbone`.
    """
    size = size or SIZE
    if name == LITE0:
        model, weights = load_lite0()
    else:
        model, weights = _load_timm(name.removeprefix(PREFIX), Path(checkpoint_dir), size)
    return RGBBackbone(model, name, layers, size, weights)


def _load_timm(given, folder, size):
    """(model with weights, path of their file or None) of timm's model ``given`` for pictures of ``size``."""
    config = _config(given)
    full, paths = _full_name(config), _local_paths(given, config, folder)
    local = next((path for path in paths if path.is_file()), None)
    if local is None and not config.has_weights:
        raise InputError(
            f"--rgb_backbone_name {PREFIX}{given}: timm has no pretrained weights for it, and {paths[0]} does not exist"
        )
    overlay = {"file": str(local), "custom_load": False} if local else None
    for chatty in ("huggingface_hub", "timm"):  # their warnings of each attempt; ours says it in one line
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        model = _create(full, size, overlay)  # with its classifier, since timm checks all other tensors only then
    except Exception as error:  # whatever reading, downloading and fitting raise
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
    """Path of the file that :func:`build_rgb_backbone` takes the weights of ``name`` from.

    None where it has yet to be downloaded.

    Raises:
        InputError: no such model, or the package of ``efficientnet_lite0`` is not installed.
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
    """Where a file with the weights may lie, the first that exists counts."""
    return [folder / (stem + suffix) for stem in dict.fromkeys((_full_name(config), given)) for suffix in SUFFIXES]


def _create(full, size, overlay):
    """timm's model ``full`` with weights, built for pictures of ``size`` where it has to know."""
    try:
        return timm.create_model(full, pretrained=True, pretrained_cfg_overlay=overlay, img_size=size)
    except TypeError:  # convolutional networks take any size and no such argument; raised before anything is loaded
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
    """Where timm's download lies, or None where it cannot be told."""
    if config.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        for file in [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]:
            found = try_to_load_from_cache(config.hf_hub_id, file)
            if isinstance(found, str):
                return Path(found)
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url or "-").name
    return path if path.is_file() else None
