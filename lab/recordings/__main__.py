"""Write a recording of made-up parts, laid out as a plant would bring it.

python -m lab.recordings housing OUT --seed 1
python -m lab.recordings bun OUT --seed 2 --judge 40 --batches shifted darker15 darker30 other_light
"""

import argparse
import sys
from pathlib import Path

from lab.recordings.kinds import KINDS
from lab.recordings.scene import DAYS
from lab.recordings.write import write_recording


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    lines = []
    for kind in KINDS.values():
        lines += [f"{kind.name}: {kind.sentence}", *(f"    {name}: {of.sentence}" for name, of in kind.faults.items())]
    parser = argparse.ArgumentParser(
        prog="python -m lab.recordings",
        description=__doc__,
        epilog="\n".join(["kinds and their defects:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=list(KINDS), metavar="KIND", help="see below")
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder to write")
    for name, default, text in (
        ("--seed", 0, "settles every byte"),
        ("--train", 14, "good parts in train_good"),
        ("--more", 20, "good parts in more_good"),
        ("--judge", 24, "parts in to_judge, half of them good"),
    ):
        parser.add_argument(name, type=int, default=default, help=f"{text} (default {default})")
    parser.add_argument("--batches", nargs="*", default=[], choices=list(DAYS), help="the parts to judge on other days")
    write_recording(**vars(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
