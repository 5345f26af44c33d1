"""Write generated data to try an inspection: normal parts for calibration, and scans of a production line.

    python lab/make_line.py demo --category cookie

OUT/data/<category>/validation/good gets normal parts that are in no other split. OUT/line/<station> gets scans as a
line delivers them: good and defective parts, and three that cannot be judged: one with a dead camera, one without a
cloud, one with nearly half of its points missing.
"""

import sys

import numpy as np

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FINE, Parser, add_target, run_command
from common.files import check_writable
from lab.demo_kinds import kind_of
from lab.make_demo import category_name, render_part, stream, write_part

HALF = 0.45  # share of its points that the bad scan loses
STRIPE = 3  # pixels: side of the square blocks that are lost together, as under glare


def without_points(part, rng):
    """The Part without a share of HALF of its points, which are lost in blocks."""
    height, width = part.mask.shape
    coarse = rng.random((-(-height // STRIPE), -(-width // STRIPE))) < HALF
    gone = np.kron(coarse, np.ones((STRIPE, STRIPE), bool))[:height, :width]
    return part._replace(xyz=np.where(gone[..., None], np.float32(0), part.xyz))


def line_parts(category, size, good=4, seed=0):
    """Yield (name below the line's folder, Part) for each scan of a production line."""
    defects = kind_of(category).defects
    for i in range(good):
        yield f"good/{i:03d}", render_part(f"{category}/line/good/{i:03d}", size, seed)
    for i, defect in enumerate(defects):
        yield f"{defect}/{i:03d}", render_part(f"{category}/line/{defect}/{i:03d}", size, seed, defect)
    part = render_part(f"{category}/line/unjudgeable/000", size, seed)
    yield "unjudgeable/dead_camera", part._replace(rgb=np.zeros_like(part.rgb))
    yield "unjudgeable/no_cloud", part._replace(xyz=np.zeros_like(part.xyz))
    yield "unjudgeable/half_missing", without_points(part, stream(seed, f"{category}/line/gone"))


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 failed on the way, 2 refused."""
    parser = Parser(prog="make_line.py", description=__doc__.splitlines()[0])
    add_target(parser, "folder of data/ and line/")
    parser.add_argument("--category", type=category_name, default="cookie", help="as lab/make_demo.py has it")
    parser.add_argument("--size", type=number(int, 32), default=224, metavar="N", help="pixels a side")
    parser.add_argument("--validation", type=number(int, 1), default=19, metavar="N", help="parts to calibrate with")
    parser.add_argument("--good", type=number(int, 0), default=4, metavar="N", help="good parts of the line")
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the parts")
    return run_command("make_line.py", parser.parse_args(argv), make_parts)


def make_parts(args):
    """Write the parts that the options ask for; returns the exit code."""
    size = (args.size, args.size)
    check_writable(args.out)
    for i in range(args.validation):
        name = f"{args.category}/validation/good/{i:03d}"
        write_part(args.out / "data", name, render_part(name, size, args.seed))
    count = 0
    for name, part in line_parts(args.category, size, args.good, args.seed):
        write_part(args.out / "line", name, part)
        count += 1
    print(
        f"{args.out / 'data' / args.category / 'validation'}: {args.validation} normal parts; "
        f"{args.out / 'line'}: {count} scans, 3 of them unjudgeable"
    )
    return FINE


if __name__ == "__main__":
    sys.exit(main())
