"""Stand-in checkpoints: untrained weights in the layouts of the released files, for trials and tests.

Weights are drawn from numpy's PCG64 with one stream per tensor name. So the same seed gives the same numbers on every
machine and with every version of torch.
"""

import argparse
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from common.errors import InputError
from common.files import atomic_path
from models import checkpoints


class Layout(dict):
    """{tensor name: (shape, kind)}, filled layer by layer; the kinds are those of :func:`draw`."""

    def linear(self, name, out, inp, bias=True, trailing=()):
        """Linear layer, or a convolution whose kernel size is ``trailing``."""
        self[f"{name}.weight"] = ((out, inp, *trailing), "weight")
        if bias:
            self[f"{name}.bias"] = ((out,), "bias")

    def norm(self, name, dim):
        """Layer norm, or the affine part of a batch norm."""
        self[f"{name}.weight"] = ((dim,), "gain")
        self[f"{name}.bias"] = ((dim,), "bias")

    def batch_norm(self, name, dim):
        """Batch norm with its running statistics."""
        self.norm(name, dim)
        self[f"{name}.running_mean"] = ((dim,), "bias")
        self[f"{name}.running_var"] = ((dim,), "var")
        self[f"{name}.num_batches_tracked"] = ((), "count")

    def blocks(self, prefix, depth, dim, qkv_bias):
        """Transformer blocks with an MLP four times as wide."""
        for name in (f"{prefix}.{i}" for i in range(depth)):
            self.norm(f"{name}.norm1", dim)
            self.linear(f"{name}.attn.qkv", 3 * dim, dim, bias=qkv_bias)
            self.linear(f"{name}.attn.proj", dim, dim)
            self.norm(f"{name}.norm2", dim)
            self.linear(f"{name}.mlp.fc1", 4 * dim, dim)
            self.linear(f"{name}.mlp.fc2", dim, 4 * dim)


def dino_vit(dim, depth=12, patch=8, size=224):
    """Layout of a DINO ViT of width ``dim`` for images of ``size`` × ``size`` pixels."""
    layout = Layout(cls_token=((1, 1, dim), "embed"), pos_embed=((1, (size // patch) ** 2 + 1, dim), "embed"))
    layout.linear("patch_embed.proj", dim, 3, trailing=(patch, patch))
    layout.blocks("blocks", depth, dim, qkv_bias=True)
    layout.norm("norm", dim)
    return layout


def point_encoder(encoder_dims, dim=384, depth=12):
    """Layout of the encoder of Point-MAE (``encoder_dims`` 384) or Point-BERT (256)."""
    layout = Layout()
    layout.linear("encoder.first_conv.0", 128, 3, trailing=(1,))
    layout.batch_norm("encoder.first_conv.1", 128)
    layout.linear("encoder.first_conv.3", 256, 128, trailing=(1,))
    layout.linear("encoder.second_conv.0", 512, 512, trailing=(1,))
    layout.batch_norm("encoder.second_conv.1", 512)
    layout.linear("encoder.second_conv.3", encoder_dims, 512, trailing=(1,))
    if encoder_dims != dim:  # Point-BERT
        layout.update(cls_token=((1, 1, dim), "embed"), cls_pos=((1, 1, dim), "embed"))
        layout.linear("reduce_dim", dim, encoder_dims)
    layout.linear("pos_embed.0", 128, 3)
    layout.linear("pos_embed.2", dim, 128)
    layout.blocks("blocks.blocks", depth, dim, qkv_bias=False)
    layout.norm("norm", dim)
    return layout


def uff():
    """Layout of the fusion module (UFF) for ViT-B patches (768) and point patches (1152)."""
    layout = Layout()
    for name, dim in (("xyz", 1152), ("rgb", 768)):
        layout.norm(f"{name}_norm", dim)
        layout.linear(f"{name}_mlp.fc1", 4 * dim, dim)
        layout.linear(f"{name}_mlp.fc2", dim, 4 * dim)
        layout.linear(f"{name}_head", 256, dim)
    return layout


@dataclass(frozen=True)
class Recipe:
    """A checkpoint file: its role, name and layout, and what the released file holds besides the tensors in use."""

    role: checkpoints.Role
    file: str
    layout: Callable[[], Layout]
    unused: dict = field(default_factory=dict)  # {key: shape} of tensors that are not used, written as zeros
    beside: dict = field(default_factory=dict)  # entries beside the state dict


RECIPES = {
    "dino": Recipe(checkpoints.DINO_BASE, checkpoints.DINO_BASE.file, lambda: dino_vit(768)),
    "dino_small": Recipe(checkpoints.DINO_SMALL, checkpoints.DINO_SMALL.file, lambda: dino_vit(384)),
    "point_mae": Recipe(
        checkpoints.POINT_MAE,
        checkpoints.POINT_MAE.file,
        lambda: point_encoder(384),
        {"module.mask_token": (1, 1, 384)},
        {"epoch": 300},
    ),
    "point_bert": Recipe(
        checkpoints.POINT_BERT,
        checkpoints.POINT_BERT.file,
        lambda: point_encoder(256),
        {"module.transformer_q.cls_head.0.weight": (2, 2)},
    ),
    "uff": Recipe(checkpoints.UFF, "uff_pretrain.pth", uff, beside={"epoch": 2, "args": argparse.Namespace(lr=0.003)}),
}


def draw(name, shape, kind, seed):
    """The tensor ``name`` from its own random stream; float32, or int64 for a count.

    ``kind``: "weight" scales normal numbers by 1/sqrt(inputs), "bias" lies around 0, "gain" around 1, "var" is
    positive, "embed" has standard deviation 0.5, "count" is constant.
    """
    if kind == "count":
        return torch.tensor(1000)
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    numbers = rng.random(shape, dtype=np.float32) if kind == "var" else rng.standard_normal(shape, dtype=np.float32)
    if kind == "weight":
        return torch.from_numpy(numbers * np.float32(int(np.prod(shape[1:])) ** -0.5))
    offset, scale = {"bias": (0, 0.02), "gain": (1, 0.1), "var": (0.001, 0.01), "embed": (0, 0.5)}[kind]
    return torch.from_numpy(offset + scale * numbers)


def content(recipe, seed):
    """The content of the file of ``recipe``, in the layout of the released file."""
    prefix = f"module.{recipe.role.prefix}" if recipe.role.prefix else ""
    state = {prefix + name: draw(name, *spec, seed) for name, spec in recipe.layout().items()}
    state |= {key: torch.zeros(shape) for key, shape in recipe.unused.items()}
    whole = {recipe.role.entry: state, **recipe.beside} if recipe.role.entry else state
    return {**whole, checkpoints.STANDIN: torch.ones(())}


def write_checkpoints(out_dir, names, seed=0):
    """Write the files ``names`` (keys of ``RECIPES``) into ``out_dir``. An existing file of the right layout is kept.

    Returns:
        {path: what was done}: "written", "kept", or "kept: ..." for a file with other weights.
    """
    done = {}
    for name in dict.fromkeys(names):
        recipe = RECIPES[name]
        path = Path(out_dir) / recipe.file
        done[path] = _state_of(path, recipe, seed) or "written"
        if done[path] == "written":
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                torch.save(content(recipe, seed), file)  # given a path, torch would store its name in the file
    return done


def _state_of(path, recipe, seed):
    """ "kept" or "kept: ..." (see :func:`write_checkpoints`); None if the file is missing, damaged or does not fit."""
    try:
        state = checkpoints.read_checkpoint(path, recipe.role)
    except InputError:
        return None
    layout = recipe.layout()
    if any(
        getattr(state.get(name), "shape", None) != shape for name, (shape, kind) in layout.items() if kind != "count"
    ):
        return None
    first, spec = next(iter(layout.items()))
    if torch.equal(state[first].float(), draw(first, *spec, seed)):
        return "kept" if checkpoints.is_standin(path) else None  # None: from before stand-in files had a mark
    return "kept: it holds other weights (real ones, or another seed); delete it to have it drawn"
