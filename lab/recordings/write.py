"""A whole recording on disk, laid out as a plant would bring it; the truth lies beside it, never in it."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lab.recordings.kinds import KINDS
from lab.recordings.scan import Scan, scan, visible_colour, visible_height
from lab.recordings.scene import DAYS, Day, Fault, Kind, Surface, principal_point

GOOD = "good"


class Size(NamedTuple):
    """How large one defect came out: its largest change of height (mm), its area (mm2), and its largest change of
    colour (share of light sent back)."""

    height_mm: float
    area_mm2: float
    colour: float


def record_part(
    kind: Kind, seed: Sequence[int], fault: str = GOOD, depth: float = 1.0, width: float = 1.0, day: Day = Day()
) -> tuple[Scan, Size | None]:
    """Make and record one part. ``seed``: the part's numbers, then the scan's last; ``fault``: one of ``kind.faults``
    or "good"; ``depth`` and ``width`` scale the defect. The size is None for a good part."""
    *part, _ = seed
    of_scan, good = np.random.default_rng([*seed, 2]), kind.part(np.random.default_rng([*part, 0]))
    if fault == GOOD:
        return scan(kind, good, day, of_scan), None
    surface = kind.part(
        np.random.default_rng([*part, 0]), Fault(fault, np.random.default_rng([*part, 1]), depth, width)
    )
    return scan(kind, surface, day, of_scan, good), _size(kind, surface, good)


def _size(kind: Kind, surface: Surface, good: Surface) -> Size:
    change = np.abs(surface.height - good.height)
    painted = visible_colour(surface, good)
    area = ((change > visible_height(kind, float(change.max()))) | painted).sum() * kind.grid.pitch**2
    colour = np.abs(surface.colour - good.colour).max(-1)[surface.body & good.body].max()
    return Size(*(round(float(v), 3) for v in (change.max(), area, colour)))


def write_recording(
    kind: str,
    folder: str | Path,
    seed: int,
    train: int = 14,
    more: int = 20,
    judge: int = 24,
    batches: Sequence[str] = (),
    defects: Sequence[str] = (),
    defect_size: tuple[float, float] = (1.0, 1.0),
) -> None:
    """Write a recording of ``kind`` (a name in ``KINDS``) into ``folder``.

    Every second part to judge is defective, the ``defects`` (default: all of the kind) in turn, in a drawn order.
    ``batches`` (names in ``DAYS``) hold the same parts as to_judge, laid down and recorded anew on another day.
    ``defect_size``: factors of depth and width."""
    which, root = KINDS[kind], Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    camera, (column, row) = which.camera, principal_point(which.camera)
    intrinsics = {"width": camera.width, "height": camera.height, "ppx": round(column, 3), "ppy": round(row, 3)}
    intrinsics |= {"fx": camera.focal, "fy": camera.focal, "model": "distortion.brown_conrady", "coeffs": [0] * 5}
    _write_json(root / "camera.json", {**intrinsics, "depth_scale": camera.count / 1000})
    base = [seed, zlib.crc32(kind.encode())]
    for part_set, (name, number) in enumerate((("train_good", train), ("more_good", more))):
        for i in range(number):
            _write_scan(root / name, i, record_part(which, [*base, part_set, i, 0])[0])
    order = _order(np.random.default_rng([*base, 9]), judge, list(defects or which.faults))
    for name in ("to_judge", *batches) if judge else ():
        truth, sizes = {}, {}
        day = 1 + list(DAYS).index(name) if name in DAYS else 0
        for i, fault in enumerate(order):
            taken, size = record_part(which, [*base, 2, i, day], fault, *defect_size, DAYS.get(name, Day()))
            part = _write_scan(root / name, i, taken)
            truth[part] = fault
            if size:
                sizes[part] = size._asdict()
                _write_png(root / f"{name}_truth" / f"{part}.png", taken.mask.astype(np.uint8) * 255)
        _write_json(root / f"{name}_truth.json", truth)
        _write_json(root / f"{name}_sizes.json", sizes)


def _order(rng: np.random.Generator, number: int, faults: list[str]) -> list[str]:
    wrong = [f for _ in range(-(-number // 2 // len(faults))) for f in rng.permutation(faults)][: number // 2]
    return [str(f) for f in rng.permutation([*wrong, *[GOOD] * (number - len(wrong))])]


def _write_scan(folder: Path, index: int, taken: Scan) -> str:
    name = f"part_{index + 1:04d}"
    _write_png(folder / f"{name}_color.png", taken.picture)
    _write_png(folder / f"{name}_depth.png", taken.depth)
    return name


def _write_png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, compress_level=1, compress_type=zlib.Z_RLE)  # fast, and noise packs no better


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
