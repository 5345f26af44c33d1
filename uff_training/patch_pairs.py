"""Files of patch pairs, the input of UFF training: main.py --save_feature writes them, fusion_pretrain.py reads them.

One file holds one part's patches [P, xyz width + RGB width], xyz first, as a tensor alone, as released.

Row y·2g + x of a part belongs to the cell (y, x) of a 2g × 2g grid. The RGB patches come from a g × g grid (g = 28),
so four rows share one RGB patch. For two-bank methods the release writes the RGB patches in another order (defect 7):
row a·g² + i holds patch (4i + a) mod g², so the xyz and RGB patches of a row do not match. Because every RGB patch
is in four rows, the orders can be told apart, and the released one mended.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from common.errors import InputError
from common.files import atomic_path

XYZ_DIM = 1152  # width of Point-MAE's and Point-BERT's patches
ORDERS = ("matching", "released")
BACKGROUND_RUN = 16  # a row that begins with so many zeros is background
HOW = "write it again with main.py --save_feature"
WRITING = "main.py --method_name DINO+Point_MAE --save_feature --fix save_feature writes patch pairs"


class PairFolder(NamedTuple):
    """The files for a training, and the widths of their xyz and RGB patches."""

    paths: tuple[Path, ...]
    xyz_dim: int
    rgb_dim: int


class Pairs(NamedTuple):
    """The usable pairs of one file: xyz [R, C1], rgb [R, C2], and the order found: matching, released or unknown."""

    path: Path
    xyz: torch.Tensor
    rgb: torch.Tensor
    order: str


# ---------------------------------------------------------------- one file


def save_patch_pair(path: str | Path, tensor: torch.Tensor) -> None:
    """Write one part's patches [P, C], xyz patches first, in one step. InputError: values are not finite."""
    patches = tensor.detach().cpu().float().contiguous()
    if not patches.isfinite().all():
        raise InputError(f"{path}: not written: patches hold NaN or infinite values")
    with atomic_path(path) as temporary:
        torch.save(patches, temporary)


def read_patch_pair(path: str | Path) -> torch.Tensor:
    """Patches [P, C] of a file in its own precision; every byte is checked against the file's checksums. InputError:
    the file is damaged or holds something other than patch pairs."""
    try:
        damaged = zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip() is not None
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError):
        damaged = True
    if damaged:  # files from before torch 1.6 are no zip files and have no checksum
        raise InputError(f"{path}: damaged: its bytes do not fit its checksum; {HOW}")
    patches = _open(path, mapped=False)
    if not patches.isfinite().all():
        raise InputError(f"{path}: holds NaN or infinite values; {HOW}")
    return patches


def _open(path: str | Path, mapped: bool = True) -> torch.Tensor:
    """The patches of a file. ``mapped``: only the header is read now, values when they are used."""
    try:
        mapped = mapped and zipfile.is_zipfile(path)
        patches = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # system, zip, pickle, header and tensor errors of all kinds
        reason = "empty" if isinstance(error, EOFError) else (str(error).splitlines() or [type(error).__name__])[0]
        reason = getattr(error, "strerror", None) or f"damaged, or no file of patch pairs: {reason[:150]}"
        raise InputError(f"{path}: cannot be read ({reason}); {HOW}") from None
    is_tensor = isinstance(patches, torch.Tensor)
    if not is_tensor or patches.ndim != 2 or not patches.is_floating_point() or not patches.numel():
        found = f"{patches.dtype} {list(patches.shape)}" if is_tensor else type(patches).__name__
        raise InputError(f"{path}: holds {found} and not patch pairs, a float tensor [patches, width]; {HOW}")
    return patches


# ---------------------------------------------------------------- a folder


def find_pair_files(folder: str | Path, xyz_dim: int = XYZ_DIM) -> PairFolder:
    """The patch-pair files of a folder, their headers checked; ``xyz_dim``: the width of their xyz patches. InputError:
    there are no files, a file is unusable, or files have different widths."""
    folder = Path(folder)
    paths = tuple(sorted(p for p in folder.glob("*.pt") if not p.name.startswith(".")))
    if not paths:
        raise InputError(f"{folder}: {'no .pt files' if folder.is_dir() else 'no such folder'}; {WRITING}")
    widths = [_open(path).shape[1] for path in paths]
    for path, width in zip(paths, widths):
        if width != widths[0]:
            raise InputError(
                f"{path}: patches are {width} wide, those of {paths[0].name} {widths[0]}: "
                "one training takes files of one pair of backbones; use a folder for each"
            )
    if widths[0] <= xyz_dim:
        raise InputError(
            f"{paths[0]}: patches are {widths[0]} wide, so xyz {xyz_dim} leaves nothing to RGB; give the xyz "
            "backbone's width: --xyz_dim"
        )
    return PairFolder(paths, xyz_dim, widths[0] - xyz_dim)


def load_pairs(path: str | Path, xyz_dim: int) -> Pairs:
    """The usable pairs of one file, in float32: as released, those whose xyz half holds no zero.

    RGB patches in the released order (defect 7) are put back beside their xyz patches.
    Raises InputError: the file is damaged, has another xyz width, or holds UFF's output instead of its input."""
    patches = read_patch_pair(path).float()
    background = patches[(patches[:, :BACKGROUND_RUN] == 0).all(1)]
    alone = (background[:, :xyz_dim] == 0).all(1) & (background[:, xyz_dim] != 0)  # background is zero in xyz alone
    if len(background) and not alone.any():
        raise InputError(
            f"{path}: its background rows are zero in another number of columns than {xyz_dim}, the width of xyz "
            "patches; give --xyz_dim, or a folder for each pair of backbones"
        )
    xyz = patches[:, :xyz_dim]
    if _fused(xyz):
        raise InputError(
            f"{path}: holds the output of a fusion module, not its input (background is the same in every "
            f"row and not zero); {WRITING}"
        )
    rgb, order = in_matching_order(patches[:, xyz_dim:])
    usable = (xyz != 0).all(1)
    return Pairs(Path(path), xyz[usable], rgb[usable], order)


def _fused(xyz):
    """Whether the xyz patches are a fusion module's output: its background is not zero, but the same in every row, so
    that two corners are equal."""
    side = int(len(xyz) ** 0.5)
    corners = xyz[[0, side - 1, len(xyz) - side, len(xyz) - 1]] if side > 1 else xyz[:1]
    return len(corners.unique(dim=0)) < len(corners) and not (xyz == 0).all(1).any()


# ---------------------------------------------------------------- the order of the RGB patches


def patch_of_row(rows: int, order: str) -> torch.Tensor:
    """[rows]: the number of the RGB patch in each row of a part, for ``rows`` = 4g², in one of the two ORDERS."""
    patches, side = rows // 4, int((rows // 4) ** 0.5)
    if order == "released":
        return (torch.arange(patches) * 4 + torch.arange(4)[:, None]).flatten() % patches
    y, x = torch.arange(rows) // (2 * side), torch.arange(rows) % (2 * side)
    return y // 2 * side + x // 2


def in_matching_order(rgb: torch.Tensor) -> tuple[torch.Tensor, str]:
    """RGB patches [P, C] in the matching order, and the order that they were in; as they are if that is "unknown"."""
    rows = len(rgb)
    if rows % 4 == 0 and int((rows // 4) ** 0.5) ** 2 * 4 == rows:
        for order in ORDERS:
            number = patch_of_row(rows, order)
            patches = torch.empty_like(rgb[: rows // 4])
            patches[number] = rgb
            if torch.equal(patches[number], rgb):
                return patches[patch_of_row(rows, "matching")], order
    return rgb, "unknown"
