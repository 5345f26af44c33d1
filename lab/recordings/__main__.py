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
    parser.add_argument("folder", nargs="?", metavar="OUT", help="folder to write")
    parser.add_argument("--list", action="store_true", help="print the kinds and their defects, and stop")
    parser.add_argument("--seed", type=int, default=0, help="settles every byte (default 0)")
    for name, number, text in (
        ("--train", 14, "good parts in train_good"),
        ("--more", 20, "good parts in more_good"),
        ("--judge", 24, "parts in to_judge, half of them good"),
    ):
        parser.add_argument(name, type=int, default=number, help=f"{text} (default {number})")
    parser.add_argument("--batches", nargs="*", default=[], choices=list(DAYS), help="the parts to judge on other days")
    parser.add_argument("--defects", nargs="*", default=[], help="only these defects")
    text = "factors, 1 is usual"
    parser.add_argument("--defect_size", nargs=2, type=float, default=(1, 1), metavar=("DEPTH", "WIDTH"), help=text)
    options = vars(parser.parse_args(arguments))
    if options.pop("list"):
        for kind in KINDS.values():
            print(f"{kind.name}: {kind.sentence}")
            print(*(f"    {name}: {defect.sentence}" for name, defect in kind.faults.items()), sep="\n")
        return 0
    if not options["folder"]:
        parser.error("KIND and OUT are needed (or --list)")
    try:
        write_recording(**options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
