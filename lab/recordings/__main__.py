"""Write a recording of made-up parts, laid out as a plant would bring it.

python -m lab.recordings --list
python -m lab.recordings housing OUT --seed 1
python -m lab.recordings bun OUT --seed 2 --judge 40 --batches shifted darker15 darker30 other_light
python -m lab.recordings housing OUT --seed 3 --train 0 --more 0 --defects dent --defect_size 0.5 1.5
"""

import argparse
import sys

from lab.recordings.kinds import KINDS
from lab.recordings.scene import DAYS
from lab.recordings.write import write_recording


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.recordings", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", nargs="?", choices=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("out", nargs="?", metavar="OUT", help="folder to write")
    parser.add_argument("--list", action="store_true", help="print the kinds and their defects, and stop")
    parser.add_argument("--seed", type=int, default=0, help="settles every byte (default 0)")
    parser.add_argument("--train", type=int, default=14, help="good parts in train_good (default 14)")
    parser.add_argument("--more", type=int, default=20, help="good parts in more_good (default 20)")
    parser.add_argument("--judge", type=int, default=24, help="parts in to_judge, half of them good (default 24)")
    parser.add_argument("--batches", nargs="*", default=[], choices=list(DAYS), help="the parts to judge on other days")
    parser.add_argument("--defects", nargs="*", default=[], help="only these defects")
    parser.add_argument(
        "--defect_size", nargs=2, type=float, default=(1.0, 1.0), metavar=("DEPTH", "WIDTH"), help="factors, 1 is usual"
    )
    options = parser.parse_args(arguments)
    if options.list:
        for kind in KINDS.values():
            print(f"{kind.name}: {kind.sentence}")
            print("".join(f"    {name}: {sentence}\n" for name, sentence in kind.faults.items()), end="")
        return 0
    if not options.out:
        parser.error("KIND and OUT are needed (or --list)")
    try:
        write_recording(
            options.kind,
            options.out,
            options.seed,
            options.train,
            options.more,
            options.judge,
            options.batches,
            options.defects,
            tuple(options.defect_size),
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
