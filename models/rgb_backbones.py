"""The RGB backbones: the released ViTs, timm models with a patch grid or a feature pyramid, and EfficientNet-Lite0."""

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from models import checkpoints
from models.checkpoints import reason_of
from models.lite0 import Lite0, weights_file

# released name → (timm's name, role of the local DINO file or None); for the two supervised models, the tags name the
# weights that the released names meant; without a tag, timm now gives other weights
RGB_BACKBONES = {
    "vit_base_patch8_224_dino": ("vit_base_patch8_224.dino", checkpoints.DINO_BASE),
    "vit_base_patch8_224": ("vit_base_patch8_224.augreg_in21k_ft_in1k", None),
    "vit_base_patch8_224_in21k": ("vit_base_patch8_224.augreg_in21k", None),
    "vit_small_patch8_224_dino": ("vit_small_patch8_224.dino", checkpoints.DINO_SMALL),
}
PREFIX = "timm:"
LITE0 = "efficientnet_lite0"
GRID = 28  # RGB patches per side
SIZE = 224
STRIDES = (8, 16)  # of the levels of a pyramid: cells about as large as the released backbones' patches
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # input images are normalised with these


class RGBBackbone(nn.Module):
    """Patch features of a timm model; it stays in eval mode, even if the modules around it are set to train mode.

    A patch grid gives its last block, a pyramid its levels of stride 8 and 16. ``embed_dim``: columns of the patches.

    Args:
        model: a timm model with ``forward_intermediates`` and ``feature_info``.
        name: as the user gave it, for messages.
        size: side of the input images in pixels.

    Raises InputError: the model gives no spatial features, or takes no images of this size.
    """

    def __init__(self, model, name, size=SIZE):
        super().__init__()
        self.model, self.name, self.size = model, name, size
        info = list(getattr(model, "feature_info", None) or ())
        if not info or not hasattr(model, "forward_intermediates"):
            raise InputError(
                f"--rgb_backbone_name {name}: the model gives no spatial features "
                "(it has no patch grid and no feature pyramid)"
            )
        strides = [level.get("reduction") for level in info]
        self.is_grid = len(set(strides)) == 1 and len(strides) > 1
        fitting = [] if self.is_grid else [i for i, stride in enumerate(strides) if stride in STRIDES]
        self.indices = fitting or [len(strides) - 1]  # of the blocks or levels that are used
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
        self.eval().requires_grad_(False)
        self.embed_dim = self._width()

    def _width(self):
        """Number of columns of the patches; a pass over an empty image also tests for spatial features."""
        try:
            with torch.no_grad():
                levels = self._levels(torch.zeros(1, 3, self.size, self.size))
        except Exception as error:  # models raise many types
            raise InputError(
                f"--rgb_backbone_name {self.name}: fails on pictures of {self.size}×{self.size} pixels "
                f"({reason_of(error)}); try another --rgb_size or backbone"
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
        """Feature maps [B, C, h, w]."""
        options = {"norm": self.own_norm, "stop_early": True, "output_fmt": "NCHW", "intermediates_only": True}
        return self.model.forward_intermediates(rgb, indices=self.indices, **options)

    def forward(self, rgb):
        """Patches [B, 784, embed_dim], row-major, of ImageNet-normalised images [B, 3, size, size].

        Each level is normalised: by the model's final norm if the model has a patch grid and such a norm, otherwise to
        mean 0 and variance 1 over the columns of each patch. Then it is resampled to 28×28 (bilinear, antialiased if
        it is larger). Finally all levels are concatenated.
        """
        if tuple(rgb.shape[1:]) != (3, self.size, self.size):
            raise ValueError(f"pictures have to be [B, 3, {self.size}, {self.size}], are {tuple(rgb.shape)}")
        patches = []
        for level in self._levels(rgb * self.scale + self.shift):  # the model's own normalisation
            if not self.own_norm:
                level = F.layer_norm(level.permute(0, 2, 3, 1), level.shape[1:2]).permute(0, 3, 1, 2)
            if level.shape[2:] != (GRID, GRID):
                finer = max(level.shape[2:]) > GRID
                level = F.interpolate(level, (GRID, GRID), mode="bilinear", align_corners=False, antialias=finer)
            patches.append(level.flatten(2).transpose(1, 2))
        return torch.cat(patches, dim=2)


def build_rgb_backbone(name, checkpoint_dir="checkpoints", size=None):
    """The backbone ``name`` with pretrained weights: a ViT of timm for a released name, else a RGBBackbone.

    ``name``: a key of ``RGB_BACKBONES``, ``efficientnet_lite0`` or ``timm:NAME``, timm's name with or without a tag of
    weights. They lie in ``checkpoint_dir``, else in timm's cache, or are downloaded. ``size`` of the pictures, not
    of a released name's; None: 224.
    Raises InputError: there is no such model, it has no weights, or they do not fit; see also :class:`RGBBackbone`."""
    size = size or SIZE
    if name == LITE0:
        return RGBBackbone(Lite0(weights_file()), name, size)
    from models import timm_models

    if name in RGB_BACKBONES:
        return timm_models.load_released(*RGB_BACKBONES[name], checkpoint_dir)
    return RGBBackbone(timm_models.load(name.removeprefix(PREFIX), checkpoint_dir, size), name, size)
