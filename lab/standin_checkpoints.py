"""Stand-in checkpoints: untrained weights in the layouts of the released files, for trials and tests.

Numbers come from PCG64 with one stream per tensor name: the same on every machine and with every version of torch.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from common.files import atomic_path
from models import checkpoints
from models.feature_fusion import FeatureFusionBlock
from models.models import PointTransformer

UFF_FILE = "uff_pretrain.pth"
COUNT = "num_batches_tracked"  # of a batch norm
# offset and scale of what is drawn, by the last part of a tensor's name; EMBEDDING: of what is added to tokens
SPREADS = {"bias": (0, 0.02), "running_mean": (0, 0.02), "running_var": (0.001, 0.01), "weight": (1, 0.1)}
EMBEDDING = (0, 0.5)


def dino_vit() -> nn.Module:
    """A ViT-B/8 of timm, without weights."""
    import timm  # takes two seconds

    return timm.create_model("vit_base_patch8_224.dino", num_classes=0)


RECIPES = {  # role of a file, and the network whose weights it holds
    "dino": (checkpoints.DINO_BASE, dino_vit),
    "point_mae": (checkpoints.POINT_MAE, PointTransformer),
    "point_bert": (checkpoints.POINT_BERT, lambda: PointTransformer(encoder_dims=256)),
    "uff": (checkpoints.UFF, FeatureFusionBlock),
}
FULL_SETTING = ("dino", "point_mae", "uff")


def draw(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor ``name`` from its own random stream; float32, or int64 for a batch norm's count. Matrices are divided
    by the root of the number of inputs."""
    last = name.rpartition(".")[2]
    if last == COUNT:
        return torch.tensor(1000)
    rng = np.random.Generator(np.random.PCG64([0, zlib.crc32(name.encode())]))
    make = rng.random if last == "running_var" else rng.standard_normal
    numbers = make(shape, dtype=np.float32)
    if last == "weight" and len(shape) > 1:
        return torch.from_numpy(numbers * np.float32(int(np.prod(shape[1:])) ** -0.5))
    offset, scale = SPREADS.get(last, EMBEDDING)
    return torch.from_numpy(offset + scale * numbers)


def write_checkpoints(folder: str | Path, names: Iterable[str] = FULL_SETTING) -> None:
    """Write the files ``names`` (keys of ``RECIPES``) into ``folder``. A file that is there is kept, whatever it holds:
    it may be a real one."""
    for role, network in (RECIPES[name] for name in names):
        path, prefix = Path(folder) / (role.file or UFF_FILE), f"module.{role.prefix}" if role.prefix else ""
        if path.exists():
            continue
        with torch.device("meta"):  # shapes alone, no weights
            shapes = {name: tuple(tensor.shape) for name, tensor in network().state_dict().items()}
        state = {prefix + name: draw(name, shape) for name, shape in shapes.items()}
        content = {role.entry: state} if role.entry else state
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            # given a path, torch would store its name in the file
            torch.save({**content, checkpoints.STANDIN: torch.ones(())}, file)
