"""Stand-in checkpoints: untrained weights in the layouts of the released files, for trials and tests.

Weights are drawn from numpy's PCG64 with one stream per tensor name. So the same seed gives the same numbers on every
machine and with every version of torch.
"""

import argparse
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.files import atomic_path
from models import checkpoints
from models.feature_fusion import FeatureFusionBlock
from models.models import PointTransformer

COUNT = "num_batches_tracked"  # of a batch norm
# offset and scale of what is drawn, by the last part of a tensor's name; EMBEDDING: of what is added to tokens
SPREADS = {"bias": (0, 0.02), "running_mean": (0, 0.02), "running_var": (0.001, 0.01), "weight": (1, 0.1)}
EMBEDDING = (0, 0.5)


def dino_vit(timm_name: str) -> nn.Module:
    """A ViT of timm, without weights."""
    import timm  # takes two seconds

    return timm.create_model(timm_name, num_classes=0)


class Recipe(NamedTuple):
    """A checkpoint file: its role and name, the network whose weights it holds, and what the released file holds
    besides."""

    role: checkpoints.Role
    file: str
    network: Callable[[], nn.Module]
    unused: dict[str, tuple[int, ...]] = {}  # {key: shape} of tensors that are not used, written as zeros
    beside: dict[str, Any] = {}  # entries beside the state dict


RECIPES = {
    "dino": Recipe(checkpoints.DINO_BASE, "dino_vitbase8_pretrain.pth", lambda: dino_vit("vit_base_patch8_224.dino")),
    "dino_small": Recipe(
        checkpoints.DINO_SMALL, "dino_deitsmall8_pretrain.pth", lambda: dino_vit("vit_small_patch8_224.dino")
    ),
    "point_mae": Recipe(
        checkpoints.POINT_MAE,
        "pointmae_pretrain.pth",
        PointTransformer,
        {"module.mask_token": (1, 1, 384)},
        {"epoch": 300},
    ),
    "point_bert": Recipe(
        checkpoints.POINT_BERT,
        "Point-BERT.pth",
        lambda: PointTransformer(encoder_dims=256),
        {"module.transformer_q.cls_head.0.weight": (2, 2)},
    ),
    "uff": Recipe(
        checkpoints.UFF,
        "uff_pretrain.pth",
        FeatureFusionBlock,
        beside={"epoch": 2, "args": argparse.Namespace(lr=0.003)},
    ),
}


def draw(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """The tensor ``name`` from its own random stream; float32, or int64 for a batch norm's count.

    Matrices are normal numbers divided by the root of the number of inputs, a norm's factors lie around 1, biases and
    means around 0, and variances are positive.
    """
    last = name.rpartition(".")[2]
    if last == COUNT:
        return torch.tensor(1000)
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    make = rng.random if last == "running_var" else rng.standard_normal
    numbers = make(shape, dtype=np.float32)
    if last == "weight" and len(shape) > 1:
        return torch.from_numpy(numbers * np.float32(int(np.prod(shape[1:])) ** -0.5))
    offset, scale = SPREADS.get(last, EMBEDDING)
    return torch.from_numpy(offset + scale * numbers)


def shapes_of(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """{tensor name: shape} of a recipe's network."""
    with torch.device("meta"):  # no weights are made
        return {name: tuple(tensor.shape) for name, tensor in recipe.network().state_dict().items()}


def write_checkpoints(out_dir: str | Path, names: Iterable[str], seed: int = 0) -> dict[Path, str]:
    """Write the files ``names`` (keys of ``RECIPES``) into ``out_dir``. An existing file of the right layout is kept.

    Returns:
        {path: what was done}: "written", "kept", or "kept: ..." for a file with other weights.
    """
    done = {}
    for recipe in (RECIPES[name] for name in dict.fromkeys(names)):
        path, shapes = Path(out_dir) / recipe.file, shapes_of(recipe)
        done[path] = _state_of(path, recipe, shapes, seed) or "written"
        if done[path] == "written":
            prefix = f"module.{recipe.role.prefix}" if recipe.role.prefix else ""
            state = {prefix + name: draw(name, shape, seed) for name, shape in shapes.items()}
            state |= {key: torch.zeros(shape) for key, shape in recipe.unused.items()}
            content = {recipe.role.entry: state, **recipe.beside} if recipe.role.entry else state
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                # given a path, torch would store its name in the file
                torch.save({**content, checkpoints.STANDIN: torch.ones(())}, file)
    return done


def _state_of(path: Path, recipe: Recipe, shapes: dict[str, tuple[int, ...]], seed: int) -> str | None:
    """ "kept" or "kept: ..." (see :func:`write_checkpoints`); None if the file is missing, damaged or does not fit."""
    try:
        state = checkpoints.read_checkpoint(path, recipe.role)
    except InputError:
        return None
    needed = {name: shape for name, shape in shapes.items() if not name.endswith(COUNT)}
    if any(getattr(state.get(name), "shape", None) != shape for name, shape in needed.items()):
        return None
    first, shape = next(iter(shapes.items()))
    if torch.equal(state[first].float(), draw(first, shape, seed)):
        return "kept" if checkpoints.is_standin(path) else None  # None: from before stand-in files had a mark
    return "kept: it holds other weights (real ones, or another seed); delete it to have it drawn"
