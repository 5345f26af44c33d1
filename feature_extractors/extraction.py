"""From one sample to its patches: backbones or FPFH, then point feature alignment, then the fusion module (UFF)."""

import random
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from data.organised_clouds import valid_points
from feature_extractors.alignment import GRID, align
from feature_extractors.fpfh import FPFH_DIM, fpfh_patches
from feature_extractors.settings import FPFH
from models.checkpoints import UFF, require
from models.feature_fusion import FeatureFusionBlock
from models.models import PATCH_BACKBONES, XYZ_DIM, Model, cast_once
from models.onnx_backbone import PACKAGES, OnnxBackbone, export_backbone, is_installed
from models.rgb_backbones import LITE0

RGB_SIZE = 224  # side in pixels of the released backbones' input image
RGB_GRID = 28  # RGB patches per side
RGB_DIM = 768  # width of a ViT-B; the fusion module is made for it if there is no RGB backbone
PATCHES_PER_PART = {"rgb": RGB_GRID**2, "xyz": GRID**2, "fusion": GRID**2}


def set_seeds(seed):
    """Seed random, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class PatchExtractor(nn.Module):
    """Extracts a sample's patches with a ``models.models.Model``; without ``fusion`` there are no fusion patches.

    The xyz patches of several ``group_sizes`` (points per group) are averaged; with ``fpfh`` they are FPFH histograms.
    ``amp``: run the networks in mixed precision."""

    def __init__(self, backbones, fusion=None, group_sizes=(128,), amp=False, device="cpu", fpfh=False):
        super().__init__()
        self.deep_feature_extractor, self.fusion, self.fpfh = backbones, fusion, fpfh
        self.group_sizes, self.amp, self.device = tuple(group_sizes), amp, torch.device(device)
        self.to(self.device)
        if amp:
            for network in filter(None, (backbones, fusion)):
                cast_once(network, self.device.type)

    @classmethod
    def from_checkpoints(
        cls,
        folder="checkpoints",
        rgb=None,
        xyz=None,
        uff=None,
        *,
        group_size=128,
        num_group=1024,
        multiscale=False,
        amp=False,
        device="cpu",
        rgb_size=None,
        rgb_onnx=None,
    ):
        """An extractor whose networks are loaded from files; the backbones' lie in ``folder``.

        ``rgb``, ``xyz``: names of the backbones, see ``models.rgb_backbones`` and ``models.models.XYZ_BACKBONES`` or
        "FPFH"; ``uff``: path of the fusion module's checkpoint; None: none of these. ``multiscale``: average the xyz
        patches of ``group_size`` and twice it. ``rgb_onnx``: :attr:`rgb_onnx` of the fit's extractor; ONNX Runtime runs
        it where it is installed, on a CPU and without ``amp``. Otherwise, and with None, torch runs ``rgb``; see
        :attr:`rgb_runtime`.
        Raises InputError: a checkpoint is missing or does not fit, or the RGB backbone is not suitable."""
        fpfh = xyz == FPFH
        if uff is not None:
            require(uff, UFF)  # before the backbones are loaded or downloaded
        if torch.device(device).type != "cpu" or amp or not is_installed():
            rgb_onnx = None
        xyz = None if fpfh else xyz
        backbones = Model(device, rgb, xyz, group_size, num_group, folder, rgb_size, rgb_onnx)
        fusion = None
        if uff is not None:
            fusion = FeatureFusionBlock.from_checkpoint(uff, XYZ_DIM, backbones.rgb_dim or RGB_DIM)
        group_sizes = (group_size, 2 * group_size) if multiscale else (group_size,)
        return cls(backbones, fusion, group_sizes, amp, device, fpfh)

    def export_rgb(self):
        """Have ONNX Runtime run the RGB backbone from now on; returns whether it does. Nothing changes if the backbone
        is not ``efficientnet_lite0``, the device is not a CPU, ``amp`` is set, or a package of
        ``requirements-onnx.txt`` is missing. Call it before the first extraction, so that banks and judged parts come
        from the same features.
        Raises InputError: ONNX Runtime gives other features."""
        backbone = self.deep_feature_extractor.rgb_backbone
        suits = getattr(backbone, "name", None) == LITE0 and self.device.type == "cpu" and not self.amp
        if suits and self.rgb_onnx is None and is_installed(PACKAGES):
            self.deep_feature_extractor.rgb_backbone = OnnxBackbone(export_backbone(backbone))
        return self.rgb_onnx is not None

    @property
    def rgb_onnx(self):
        """Bytes for ``from_checkpoints(rgb_onnx=...)`` if ONNX Runtime runs the RGB backbone, else None."""
        return getattr(self.deep_feature_extractor.rgb_backbone, "data", None)

    @property
    def rgb_runtime(self):
        """What runs the RGB backbone, with its version, such as "torch 2.14.1"; None: there is no RGB backbone."""
        if self.deep_feature_extractor.rgb_backbone is None:
            return None
        return f"ONNX Runtime {version('onnxruntime')}" if self.rgb_onnx else f"torch {torch.__version__}"

    @property
    def rgb_size(self):
        """Side in pixels of the image that :meth:`extract` takes."""
        return getattr(self.deep_feature_extractor.rgb_backbone, "size", RGB_SIZE)

    @property
    def widths(self):
        """{bank: number of columns of its patches}, for each bank that this extractor has patches for."""
        model, widths = self.deep_feature_extractor, {}
        if model.rgb_backbone is not None:
            widths["rgb"] = model.rgb_dim
        if self.fpfh or model.xyz_backbone is not None:
            widths["xyz"] = FPFH_DIM if self.fpfh else XYZ_DIM
        if self.fusion is not None and len(widths) == 2 and not self.fpfh:
            widths["fusion"] = sum(widths.values())
        return widths

    @property
    def steady(self):
        """Whether a part gives the same patches each time: in eval mode, or if no network depends on the mode."""
        model = self.deep_feature_extractor
        changing = model.xyz_backbone is not None or not isinstance(model.rgb_backbone, (*PATCH_BACKBONES, type(None)))
        return not (self.training and changing)

    def reseed(self, seed):
        """Seed the random generators, and bring them to the state that the release has when a category begins."""
        set_seeds(seed)
        if self.fusion is not None:  # the release draws the fusion module's initial weights at this point
            FeatureFusionBlock(XYZ_DIM, self.fusion.rgb_dim)

    @torch.no_grad()
    def extract(self, sample, banks=None, zero_points=False):
        """Unscaled patches of one sample (rgb [1, 3, R, R], xyz [1, 3, S, S], ...) as a loader gives it; R is
        ``rgb_size``.

        Returns {"rgb": [784, C], "xyz": [3136, D], "fusion": [3136, D + C]} with D = 1152, or 33 with FPFH: those of
        ``banks`` (None: all of ``widths``) and, for fusion, the xyz and RGB patches as well. ``zero_points``: only (0,
        0, 0) is background; otherwise, as released, any coordinate 0 makes a point so."""
        banks = self.widths if banks is None else banks
        patches = {}
        if "rgb" in banks or "fusion" in banks:
            patches["rgb"] = self._rgb_patches(sample[0])
        if "xyz" in banks or "fusion" in banks:
            patches["xyz"] = self._xyz_patches(sample[1][0], zero_points)
        if "fusion" in banks:
            with self._precision():
                halves = self.fusion.xyz_branch(patches["xyz"]), to_xyz_grid(self.fusion.rgb_branch(patches["rgb"]))
            patches["fusion"] = torch.cat(halves, dim=1).float()
        return patches

    def _rgb_patches(self, rgb):
        with self._precision():
            return self.deep_feature_extractor.forward_rgb_features(rgb.to(self.device))[0].float()

    def _xyz_patches(self, xyz, zero_points):
        valid = valid_points(xyz, zero_points)
        if self.fpfh:
            return fpfh_patches(xyz, valid).to(self.device)
        points, valid = xyz.flatten(1).T[valid].to(self.device), valid.to(self.device)
        with self._precision():
            tokens, center = self.deep_feature_extractor.xyz_backbone.forward_sizes(points, self.group_sizes)
        tokens = [of.float() for of in tokens]  # alignment is linear: the mean of the tokens is aligned once
        return align(tokens[0] if len(tokens) == 1 else sum(tokens) / len(tokens), center, points, valid, xyz.shape[1])

    def _precision(self):
        """Context in which the networks run: autocast (mixed precision) if ``amp`` is set."""
        return torch.autocast(self.device.type, enabled=self.amp)


def to_xyz_grid(rgb_patches):
    """RGB patches [784, C] on the xyz grid [3136, C]: each is repeated 2×2, as adaptive pooling to 56×56 does."""
    repeat = GRID // RGB_GRID
    grid = rgb_patches.reshape(RGB_GRID, 1, RGB_GRID, 1, -1).expand(-1, repeat, -1, repeat, -1)
    return grid.reshape(GRID * GRID, -1)
