"""Generated patch pairs: xyz and RGB patches of one place share random content, which differs from place to place."""

import numpy as np
import torch

from fusion_pretrain import build_parser
from uff_training.patch_pairs import patch_of_row, save_patch_pair

XYZ, RGB, GRID = 48, 32, 6


def make_part(number, order="matching", xyz_dim=XYZ, rgb_dim=RGB, grid=GRID, background=True):
    """Patches [4·grid², xyz_dim + rgb_dim] of one part; the last quarter is background."""
    mixing, part = np.random.default_rng(0), np.random.default_rng(1000 + number)
    to_xyz, to_rgb = mixing.normal(size=(10, xyz_dim)), mixing.normal(size=(6, rgb_dim))
    rows = 4 * grid**2
    shared = part.normal(size=(grid**2, 6))
    patch = patch_of_row(rows, "matching").numpy()
    xyz = np.concatenate([shared[patch], 0.5 * part.normal(size=(rows, 4))], axis=1) @ to_xyz
    rgb = shared @ to_rgb + 0.1 * part.normal(size=(grid**2, rgb_dim))
    if background:
        xyz[-(grid**2) :] = 0
    rows_of_rgb = rgb[patch_of_row(rows, order).numpy()]
    return torch.tensor(np.concatenate([xyz, rows_of_rgb], axis=1), dtype=torch.float32)


def write_parts(folder, count, half=False, first=0, **options):
    """Write ``count`` parts as files ``toy<n>`` into ``folder``, which is returned."""
    for number in range(first, first + count):
        part = make_part(number, **options)
        if half:
            torch.save(part.half(), folder / f"toy{number}.pt")
        else:
            save_patch_pair(folder / f"toy{number}.pt", part)
    return folder


def command(data, output, *flags):
    """Arguments of fusion_pretrain.py."""
    return [
        f"--data_path={data}",
        f"--output_dir={output}",
        *"--device cpu --num_workers 1 --xyz_dim 48".split(),
        *map(str, flags),
    ]


def options(data="", output="", **changed):
    """The options of fusion_pretrain.py, some of them changed."""
    found = build_parser().parse_args(command(data, output))
    vars(found).update(changed)
    return found


def load(path):
    """A checkpoint's content, read safely."""
    return torch.load(path, weights_only=True)
