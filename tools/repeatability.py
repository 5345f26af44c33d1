"""Measure how well the inspection repeats itself, from verdicts on several scans of the same parts.

    python tools/predict.py fitted/knob.m3dm REPEATS -o repeats
    python tools/repeatability.py repeats

Scans of one part lie in one folder (PART/rgb, PART/xyz). The folder of verdicts gets repeatability.md.
"""

import math
import sys
from pathlib import Path, PurePosixPath

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from inspection.predictions import LINES, read_lines
from inspection.verdict import percent, rate


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("repeatability.py", build_parser().parse_args(argv), write_report)


def build_parser():
    """The argument parser."""
    description, epilog = prose_and_examples(__doc__)
    parser = Parser(prog="repeatability.py", description=description, epilog=epilog)
    parser.add_argument("verdicts", type=Path, metavar="DIR", help="folder that predict.py -o wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="where the report goes (default: DIR)")
    return parser


def write_report(args):
    """Write the report and print it; returns the exit code."""
    text = report(read_scans(args.verdicts), args.verdicts)
    output = args.output or args.verdicts
    check_writable(output)
    atomic_write_text(output / "repeatability.md", text)
    print(text)
    return FINE


def part_of(path):
    """The part that a scan's path names: its folder, for ``PART/rgb/000.png`` the one above ``rgb``."""
    folder = PurePosixPath(path).parent
    return str(folder.parent if folder.name == "rgb" else folder)


def read_scans(folder):
    """[(part, row)] of the verdicts in a folder.
    Raises InputError: a file cannot be read, verdicts are at different thresholds, or no part has two scans that
    were judged."""
    scans = [(part_of(row["path"]), row) for row in read_lines(folder / LINES)]
    if not scans:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    judged = [(part, row["threshold"]) for part, row in scans if row.get("score") is not None]
    if len({limit for _, limit in judged}) > 1:
        raise InputError(f"{folder}: mixes verdicts at several thresholds; judge all scans with one model at one rate")
    if len(judged) == len({part for part, _ in judged}):
        raise InputError(f"{folder}: no part has two scans that were judged; put scans of one part into one folder")
    return scans


def spread(groups):
    """Standard deviation of scans of one part, pooled over all parts; ``groups``: [[score of a scan] of a part], of
    which one has two scans."""
    squares = sum((score - sum(own) / len(own)) ** 2 for own in groups for score in own)
    return math.sqrt(squares / sum(len(own) - 1 for own in groups))


def report(scans, source):
    """Markdown of how the ``scans`` [(part, row)] spread."""
    parts = list(dict.fromkeys(part for part, _ in scans))
    of = lambda name: [[row[name] for own, row in scans if own == part and row.get(name) is not None] for part in parts]
    scores = [own for own in of("score") if own]
    judged, repeated = sum(map(len, scores)), [set(own) for own in of("verdict") if len(own) > 1]
    same = rate(sum(len(own) == 1 for own in repeated), len(repeated))
    limit = next(row["threshold"] for _, row in scans if row.get("score") is not None)
    return (
        f"# Repeatability\n\n{source}: {len(scans)} scans of {len(parts)} parts; {len(scans) - judged} could not be "
        f"judged and are left out of the spread.\n\nScores of one part's scans have a standard deviation of "
        f"{spread(scores):.4g} (mean score {sum(map(sum, scores)) / judged:.4g}; a part fails above {limit:.4g}).\n\n"
        f"All scans of a part got the same verdict: {same.events} of {same.of} parts that were scanned more than once "
        f"({percent(same.low)} to {percent(same.high)} with 95 % confidence).\n"
    )


if __name__ == "__main__":
    sys.exit(main())
