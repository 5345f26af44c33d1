"""Measure how well the inspection repeats itself, from verdicts on several scans of the same parts.

    python tools/repeatability.py fitted/knob.m3dm REPEATS -o out    # judges the scans first
    python tools/repeatability.py judged -o out                      # predict.py -o judged did

Scans of one part lie in one folder (PART/rgb, PART/xyz), or --group_pattern finds the part's name in each path. OUT
gets repeatability.md, repeatability.csv (one line per part) and repeatability.png.
"""

import argparse
import csv
import io
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, REFUSED, HelpFormatter, Parser, add_device, prose_and_examples, run_command
from common.errors import InputError
from common.files import atomic_path, atomic_write_text, check_writable
from inspection.repeatability import kappa, part_of, same_verdicts, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, VERDICTS, outcome, outcome_text, percent

COLUMNS = ("path", "verdict", "p_value", "score", "threshold")
LABELS = {"good": False, "defective": True}
COLOURS = {PASS: "tab:green", FAIL: "tab:red", "threshold": "black"}
NOTE = (
    "%GRR is the spread of scans of one part by the spread of all; below 10 % a measurement counts as good, "
    "above 30 % as unusable, and "
    "it should tell at least 5 categories of parts apart (AIAG, Measurement Systems Analysis). Parts that are "
    "all alike give a high "
    "%GRR however well the instrument repeats: choose parts that cover what production makes."
)


class RepeatedScan(NamedTuple):
    """One line of verdicts.csv. ``p_value``, ``score`` and ``threshold`` are None if the scan could not be judged,
    ``defective`` is None without a label."""

    path: str
    part: str
    verdict: str
    p_value: float | None
    score: float | None
    threshold: float | None
    defective: bool | None


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("repeatability.py", build_parser().parse_args(argv), write_report)


def write_report(args):
    """Write the report that the options ask for, and print it; returns the exit code."""
    verdicts = args.verdicts
    if args.folder is not None:
        check_writable(args.output)
        verdicts = args.output / "judged"
        if judge(args, verdicts) == REFUSED:
            return REFUSED
    scans = read_scans(verdicts, args.group_pattern, args.labels)
    check_writable(args.output)
    text = report(scans, args)
    atomic_write_text(args.output / "repeatability.md", text)
    atomic_write_text(args.output / "repeatability.csv", part_lines(scans))
    draw(scans, args.output / "repeatability.png")
    print(text)
    return FINE


def judge(args, out):
    """Have tools/predict.py judge the scans of FOLDER into ``out``; returns its exit code."""
    from tools import predict  # takes torch, which reading verdicts needs not

    words = [args.verdicts, args.folder, "-o", out, "--device", args.device]
    for flag in ("false_alarm", "checkpoint_dir", "fusion_module_path"):
        if getattr(args, flag) is not None:
            words += [f"--{flag}", getattr(args, flag)]
    return predict.main([*map(str, words), *["--no_gate"] * args.no_gate, *["--quiet"] * args.quiet])


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="repeatability.py", formatter_class=HelpFormatter, description=description, epilog=epilog)
    parser.add_argument(
        "verdicts",
        type=Path,
        metavar="MODEL|VERDICTS",
        help="saved model, with FOLDER; or verdicts.csv of tools/predict.py, or the folder that holds it",
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="scans for the model to judge")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("repeatability"), metavar="DIR", help="where the report goes"
    )
    parser.add_argument(
        "--group_pattern",
        type=_pattern,
        metavar="REGEX",
        help="finds the part's name in a scan's path: its first group, or all of "
        "it, as in 'part[0-9]+' (default: the scan's folder)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="what the parts really are: columns part and label (good or defective)",
    )
    group = parser.add_argument_group("with FOLDER", "as predict.py has them; it writes to DIR/judged")
    group.add_argument("--false_alarm", metavar="A", help="promised share of good parts that fail (default: 0.05)")
    group.add_argument("--checkpoint_dir", metavar="DIR", help="folder of the networks' checkpoints")
    group.add_argument("--fusion_module_path", metavar="FILE", help="UFF checkpoint")
    group.add_argument("--no_gate", action="store_true", help="judge also scans unlike the training scans")
    add_device(group)
    return parser


def _pattern(text):
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: is no regular expression ({error})") from None
    return text


# ---------------------------------------------------------------- reading


def read_scans(path, pattern=None, labels=None):
    """[RepeatedScan] of a verdicts.csv.

    Raises:
        InputError: a file cannot be read, lacks a column, has an invalid line, lists a scan twice, or has verdicts at
            different thresholds; a part has no label; no part has two scans that were judged.
    """
    path = path / "verdicts.csv" if path.is_dir() else path
    known = None if labels is None else read_labels(labels)
    scans = []
    for number, row in _rows(path, COLUMNS):
        part = part_of(row["path"], pattern)
        if known is not None and part not in known:
            raise InputError(f"{labels}: has no label for part {part} of {path}, line {number}")
        if row["verdict"] not in VERDICTS:
            raise InputError(
                f"{path}: line {number}: {row['verdict']!r} is no verdict; they are: {', '.join(VERDICTS)}"
            )
        judged = row["verdict"] != CANNOT_JUDGE
        numbers = [_number(row[name], f"{path}: line {number}: {name}") if judged else None for name in COLUMNS[2:]]
        scans.append(RepeatedScan(row["path"], part, row["verdict"], *numbers, known and known[part]))
    if not scans:
        raise InputError(f"{path}: holds no scan")
    paths = [scan.path for scan in scans]
    if len(set(paths)) < len(paths):
        raise InputError(
            f"{path}: {next(p for p in paths if paths.count(p) > 1)} stands there more than once; each scan is one line"
        )
    limits = sorted({scan.threshold for scan in scans} - {None})
    if len(limits) > 1:
        raise InputError(
            f"{path}: mixes verdicts at thresholds {limits[0]} and {limits[-1]}; judge all scans with one model "
            "at one rate"
        )
    judged = [scan.part for scan in scans if scan.score is not None]
    if len(judged) == len(set(judged)):
        raise InputError(
            f"{path}: none of the {len(set(s.part for s in scans))} parts has two scans that were judged; put "
            "scans of one part into one "
            "folder, or name the parts with --group_pattern"
        )
    return scans


def read_labels(path):
    """{part: whether it is defective} of a CSV with the columns part and label.

    Raises:
        InputError: the file cannot be read, a label is an unknown word, or it contradicts an earlier one.
    """
    labels = {}
    for number, row in _rows(path, ("part", "label")):
        if row["label"] not in LABELS:
            raise InputError(f"{path}: line {number}: label {row['label']!r} is none of: {', '.join(LABELS)}")
        if labels.setdefault(row["part"], LABELS[row["label"]]) != LABELS[row["label"]]:
            raise InputError(f"{path}: line {number}: part {row['part']} has both labels")
    return labels


def _rows(path, columns):
    """[(line number, {column: text})] of a CSV."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    lacking = [name for name in columns if name not in (reader.fieldnames or ())]
    if lacking:
        raise InputError(f"{path}: lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}")
    for number, row in rows:
        if None in row or any(row[name] is None for name in columns):
            raise InputError(f"{path}: line {number}: has not as many fields as the heading")
    return rows


def _number(text, what):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} {text!r} is no finite number")
    return value


# ---------------------------------------------------------------- writing


def report(scans, args):
    """The markdown text."""
    judged = [scan for scan in scans if scan.score is not None]
    parts = [scan.part for scan in judged]
    rows = [
        [name, *_spread_cells(spread([getattr(scan, field) for scan in judged], parts))]
        for name, field in (("score", "score"), ("p-value", "p_value"))
    ]
    same = same_verdicts([scan.verdict for scan in scans], [scan.part for scan in scans])
    header = ["", "mean", "sd of scans of a part (95 %)", "sd of parts", "%GRR (95 %)", "categories"]
    texts = [
        "# Repeatability",
        f"{args.verdicts}: {len(scans)} scans of {len(set(s.part for s in scans))} parts, "
        f"{len(scans) - len(judged)} could not be judged "
        "and are left out of the spread.",
        tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * 5),
        NOTE,
        f"All scans of a part got the same verdict: {same.events} of {same.of} parts that were scanned more than once"
        + (f" ({percent(same.low)} to {percent(same.high)} with 95 % confidence)." if same.of else "."),
        "![](repeatability.png)",
    ]
    if args.labels:
        verdicts, defective = [s.verdict for s in scans], [s.defective for s in scans]
        found = kappa(verdicts, defective, [s.part for s in scans])
        value = (
            "is undefined: all labels and all verdicts are alike"
            if found.value is None
            else (f"is {found.value:.3f} (95 % interval over parts {found.low:.3f} to {found.high:.3f})")
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


def by_part(scans):
    """{part: [RepeatedScan]} in the order of the parts' mean scores; parts that were never judged come last."""
    groups = {}
    for scan in scans:
        groups.setdefault(scan.part, []).append(scan)

    def order(item):
        scores = [scan.score for scan in item[1] if scan.score is not None]
        return (not scores, np.mean(scores) if scores else 0, item[0])

    return dict(sorted(groups.items(), key=order))


def part_lines(scans):
    """The text of repeatability.csv: one line per part, in full precision. Columns are empty where no scan was judged;
    the standard deviation also where only one was."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = [f"{field}_{name}" for field in ("score", "p_value") for name in ("mean", "sd", "min", "max")]
    writer.writerow(["part", "label", "scans", *(verdict.replace(" ", "_") for verdict in VERDICTS), *figures])
    names = {**{bad: name for name, bad in LABELS.items()}, None: ""}
    for part, own in by_part(scans).items():
        line = [
            part,
            names[own[0].defective],
            len(own),
            *(sum(scan.verdict == verdict for scan in own) for verdict in VERDICTS),
        ]
        for field in ("score", "p_value"):
            values = np.array([getattr(scan, field) for scan in own if scan.score is not None])
            deviation = repr(float(values.std(ddof=1))) if len(values) > 1 else ""
            line += (
                [repr(float(values.mean())), deviation, repr(float(values.min())), repr(float(values.max()))]
                if len(values)
                else [""] * 4
            )
        writer.writerow(line)
    return text.getvalue()


def draw(scans, path):
    """Draw repeatability.png: each part's scores in one column, parts in the order of their mean score, and the
    threshold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = by_part(scans)
    figure = Figure(figsize=(min(20, max(5, 1.5 + 0.22 * len(groups))), 4.5), layout="constrained")
    axes = figure.add_subplot()
    for verdict in (PASS, FAIL):
        points = [(i, scan.score) for i, own in enumerate(groups.values()) for scan in own if scan.verdict == verdict]
        if points:
            axes.scatter(*zip(*points), s=14, alpha=0.7, color=COLOURS[verdict], label=verdict)
    axes.axhline(
        next(s.threshold for s in scans if s.threshold is not None),
        color=COLOURS["threshold"],
        linewidth=0.8,
        label="threshold",
    )
    if len(groups) <= 80:
        axes.set_xticks(range(len(groups)), groups, rotation=90, fontsize=7)
    axes.set_xlabel("parts by mean score")
    axes.set_ylabel("score of each scan")
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


if __name__ == "__main__":
    sys.exit(main())
