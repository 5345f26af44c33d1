"""Measure how well the inspection repeats itself, from verdicts on several scans of the same parts.

    python tools/predict.py fitted/knob.m3dm REPEATS -o repeats
    python tools/repeatability.py repeats

Scans of one part lie in one folder (PART/rgb, PART/xyz), or --group_pattern finds the part's name in each path. OUT
gets repeatability.md and repeatability.png.
"""

import argparse
import csv
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, HelpFormatter, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.files import atomic_path, atomic_write_text, check_writable
from inspection.predictions import LINES, read_lines
from inspection.repeatability import kappa, part_of, same_verdicts, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, outcome, outcome_text, percent

LABELS = {"good": False, "defective": True}
COLOURS = {PASS: "tab:green", FAIL: "tab:red"}
MOST_NAMES = 80  # parts whose names stand below the picture
NOTE = (
    "%GRR is the spread of scans of one part by the spread of all; below 10 % a measurement counts as good, above 30 % "
    "as unusable, and it should tell at least 5 categories of parts apart (AIAG, Measurement Systems Analysis). Parts "
    "that are all alike give a high %GRR however well the instrument repeats: choose parts that cover what production "
    "makes."
)


class RepeatedScan(NamedTuple):
    """A judged scan. The numbers are None if it could not be judged, ``defective`` is None without a label."""

    part: str
    verdict: str
    score: float | None
    threshold: float | None
    defective: bool | None


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("repeatability.py", build_parser().parse_args(argv), write_report)


def write_report(args):
    """Write the report that the options ask for, and print it; returns the exit code."""
    scans, output = read_scans(args.verdicts, args.group_pattern, args.labels), args.output or args.verdicts
    check_writable(output)
    text = report(scans, args.verdicts, args.labels is not None)
    atomic_write_text(output / "repeatability.md", text)
    draw(scans, output / "repeatability.png")
    print(text)
    return FINE


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="repeatability.py", formatter_class=HelpFormatter, description=description, epilog=epilog)
    parser.add_argument("verdicts", type=Path, metavar="DIR", help="folder that predict.py -o wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="where the report goes (default: DIR)")
    parser.add_argument(
        "--group_pattern",
        type=_pattern,
        metavar="REGEX",
        help="finds the part's name in a scan's path: its first group, or all of it, as in 'part[0-9]+' "
        "(default: the scan's folder)",
    )
    what = "what the parts really are: columns part and label (good or defective)"
    parser.add_argument("--labels", type=Path, metavar="CSV", help=what)
    return parser


def _pattern(text):
    try:
        return re.compile(text).pattern
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: is no regular expression ({error})") from None


def read_scans(folder, pattern=None, labels=None):
    """[RepeatedScan] of the verdicts in a folder.

    Raises:
        InputError: a file cannot be read, verdicts are at different thresholds, a part has no label, or no part has two
            scans that were judged.
    """
    known, scans = {} if labels is None else read_labels(labels), []
    for row in read_lines(folder / LINES):
        part = part_of(row["path"], pattern)
        if labels is not None and part not in known:
            raise InputError(f"{labels}: has no label for part {part} of {folder}")
        numbers = (row.get(name) for name in ("score", "threshold"))
        scans.append(RepeatedScan(part, row["verdict"], *numbers, known.get(part)))
    if not scans:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    judged = [scan for scan in scans if scan.score is not None]
    limits = sorted({scan.threshold for scan in judged})
    if len(limits) > 1:
        raise InputError(
            f"{folder}: mixes verdicts at thresholds {limits[0]} and {limits[-1]}; judge all scans with one model "
            "at one rate"
        )
    if len(judged) == len({scan.part for scan in judged}):
        raise InputError(
            f"{folder}: none of the {len({scan.part for scan in scans})} parts has two scans that were judged; put "
            "scans of one part into one folder, or name the parts with --group_pattern"
        )
    return scans


def read_labels(path):
    """{part: whether it is defective} of a CSV with the columns part and label.

    Raises:
        InputError: the file cannot be read, a label is an unknown word, or it contradicts an earlier one.
    """
    labels: dict[str, bool] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [(row["part"], row["label"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(f"{path}: cannot be read, or lacks the columns part and label ({error})") from None
    for part, label in rows:
        if label not in LABELS:
            raise InputError(f"{path}: part {part}: label {label!r} is none of: {', '.join(LABELS)}")
        if labels.setdefault(part, LABELS[label]) != LABELS[label]:
            raise InputError(f"{path}: part {part} has both labels")
    return labels


def report(scans, source, labelled):
    """The markdown text."""
    judged, parts = [scan for scan in scans if scan.score is not None], [scan.part for scan in scans]
    cells = _spread_cells(spread([scan.score for scan in judged], [scan.part for scan in judged]))
    same = same_verdicts([scan.verdict for scan in scans], parts)
    header = ["mean score", "sd of scans of a part (95 %)", "sd of parts", "%GRR (95 %)", "categories"]
    texts = [
        "# Repeatability",
        f"{source}: {len(scans)} scans of {len(set(parts))} parts, {len(scans) - len(judged)} could not be judged and "
        "are left out of the spread.",
        tabulate([cells], header, tablefmt="pipe", disable_numparse=True, colalign=["right"] * 5),
        NOTE,
        f"All scans of a part got the same verdict: {same.events} of {same.of} parts that were scanned more than once"
        + (f" ({percent(same.low)} to {percent(same.high)} with 95 % confidence)." if same.of else "."),
        "![](repeatability.png)",
    ]
    if labelled:
        verdicts, defective = [s.verdict for s in scans], [s.defective for s in scans]
        found = kappa(verdicts, defective, parts)
        value = (
            "is undefined: all labels and all verdicts are alike"
            if found.value is None
            else f"is {found.value:.3f} (95 % interval over parts {found.low:.3f} to {found.high:.3f})"
        )
        texts += [
            "## Against the labels",
            f"Cohen's kappa of verdicts and labels {value}; {percent(found.agreement)} of {found.scans} scans of "
            f"{found.parts} parts agree. The intervals below take scans as independent, which scans of one part "
            "are not.",
            outcome_text(outcome(verdicts, defective)).rstrip("\n"),
        ]
    return "\n\n".join(texts) + "\n"


def _spread_cells(found):
    def shown(value, low, high, form):
        return "-" if value is None else form(value) + ("" if low is None else f" ({form(low)} to {form(high)})")

    categories = "-" if found.grr is None else "no limit" if found.categories is None else str(found.categories)
    return [
        f"{found.mean:.4g}",
        shown(found.within, found.within_low, found.within_high, "{:.4g}".format),
        shown(found.between, None, None, "{:.4g}".format),
        shown(found.grr, found.grr_low, found.grr_high, percent),
        categories,
    ]


def draw(scans, path):
    """Draw repeatability.png: each part's scores in one column, parts in the order of their mean score, and the
    threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    judged = [scan for scan in scans if scan.verdict != CANNOT_JUDGE]
    means = {part: np.mean([s.score for s in judged if s.part == part]) for part in {s.part for s in judged}}
    order = sorted(means, key=lambda part: (means[part], part))
    figure = Figure(figsize=(min(20, max(5, 1.5 + 0.22 * len(order))), 4.5), layout="constrained")
    axes = figure.add_subplot()
    for verdict, colour in COLOURS.items():
        own = [scan for scan in judged if scan.verdict == verdict]
        places = [order.index(scan.part) for scan in own]
        axes.scatter(places, [scan.score for scan in own], s=14, alpha=0.7, color=colour, label=verdict)
    axes.axhline(judged[0].threshold, color="black", linewidth=0.8, label="threshold")
    axes.set_xticks(
        range(len(order)), order if len(order) <= MOST_NAMES else [""] * len(order), rotation=90, fontsize=7
    )
    axes.set(xlabel="parts by mean score", ylabel="score of each scan")
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
