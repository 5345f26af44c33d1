"""Write a category in the MVTec 3D-AD layout: parts of a generated recording, cut out; and checkpoints to run it with.

    python lab/make_demo.py demo --kinds housing gasket --train 20
    python lab/make_demo.py demo --kinds bun --defects dent crack --no_checkpoints

OUT/data gets <kind>/{train,test}/<defect>/{rgb,xyz,gt}/NNN.{png,tiff,png}; OUT/checkpoints gets untrained stand-ins.
Each part has random numbers of its own, so a run with more parts leaves the earlier ones as they are.
"""

import math
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from cameras.intrinsics import Intrinsics, points_from_depth
from common.argument_types import number
from common.commands import FINE, Parser, run_command
from common.errors import InputError
from common.files import check_writable
from data.conversion import save_sample
from lab.recordings.kinds import KINDS
from lab.recordings.scene import Kind, principal_point
from lab.recordings.write import GOOD, record_part
from lab.standin_checkpoints import write_checkpoints


def cut_out(kind: Kind, seed: Sequence[int], defect: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One part, recorded and cut out by what is known of it: rgb [S, S, 3] uint8 and xyz [S, S, 3] float32 metres, 0
    outside and where nothing was measured, and the defect's mask [S, S] bool. ``seed``: as in ``record_part``."""
    camera, taken = kind.camera, record_part(kind, seed, defect)[0]
    column, row = principal_point(camera)
    side = math.ceil(max(kind.grid.width, kind.grid.height) * camera.focal / camera.distance)
    left, top = round(column) - side // 2, round(row) - side // 2
    box = slice(top, top + side), slice(left, left + side)
    part, seen = taken.part[box], Intrinsics(camera.focal, camera.focal, column, row)
    xyz = points_from_depth(taken.depth * (camera.count / 1000), seen)[box]
    scale = camera.picture[0] / camera.width  # the picture has the same field of view
    corners = [scale * at for at in (left, top, left + side, top + side)]
    rgb = np.asarray(Image.fromarray(taken.picture).resize((side, side), Image.Resampling.BILINEAR, corners))
    return rgb * part[..., None], (xyz * part[..., None]).astype(np.float32), taken.mask[box]


def write_category(
    root: str | Path, kind: str, train: int, good: int, defective: int, seed: int = 0, defects: Sequence[str] = ()
) -> None:
    """Write ``train`` training parts, ``good`` good test parts and ``defective`` test parts of each of the ``defects``
    (default: all of the ``kind``); raises InputError where the kind has no such defect. Other parts stay."""
    known = list(KINDS[kind].faults)
    folders = [("train/good", GOOD, 0, train), ("test/good", GOOD, 1, good)]
    for defect in defects or known:
        if defect not in known:
            raise InputError(f"{kind} has no defect {defect!r}; it has {', '.join(known)}")
        folders.append((f"test/{defect}", defect, 10 + known.index(defect), defective))
    for folder, defect, number_of_set, count in folders:
        for i in range(count):
            seeds = [seed, zlib.crc32(kind.encode()), number_of_set, i, 0]
            rgb, xyz, defective_at = cut_out(KINDS[kind], seeds, defect)
            mask = defective_at.astype(np.uint8) * 255 if folder.startswith("test") else None
            save_sample(Path(root) / kind / folder, f"{i:03d}", rgb, xyz, mask)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 failed on the way, 2 refused."""
    parser = Parser(prog="make_demo.py", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for data/ and checkpoints/")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["housing"], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--train", type=number(int, 1), default=5, metavar="N", help="training parts")
    parser.add_argument("--good", type=number(int, 0), default=4, metavar="N", help="good test parts")
    parser.add_argument("--defective", type=number(int, 0), default=2, metavar="N", help="test parts of each defect")
    parser.add_argument("--defects", nargs="+", default=(), metavar="NAME", help="some of the kind's (default: all)")
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the parts")
    parser.add_argument("--no_checkpoints", action="store_true", help="data only")
    return run_command("make_demo.py", parser.parse_args(argv), write_demo)


def write_demo(args) -> int:
    """Write what the options ask for, and print where it lies; returns the exit code."""
    check_writable(args.out)
    for kind in args.kinds:
        write_category(args.out / "data", kind, args.train, args.good, args.defective, args.seed, args.defects)
        print(f"{args.out / 'data' / kind}: generated parts")
    if not args.no_checkpoints:
        write_checkpoints(args.out / "checkpoints")
        print(f"{args.out / 'checkpoints'}: untrained stand-ins, where no file was: their scores mean nothing")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
