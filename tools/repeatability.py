"""Measure how well the inspection repeats itself, from verdicts on several scans of the same parts.

    python tools/predict.py fitted/knob.m3dm REPEATS -o repeats
    python tools/repeatability.py repeats

Scans of one part lie in one folder (PART/rgb, PART/xyz). The folder of verdicts gets repeatability.md.
"""

import csv
import sys
from pathlib import Path, PurePosixPath

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from inspection.predictions import LINES, read_lines
from inspection.repeatability import same_verdicts, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, outcome, outcome_text, percent

LABELS = {"good": False, "defective": True}
NOTE = (
    "%GRR is the spread of scans of one part by the spread of all; below 10 % a measurement counts as good, above 30 % "
    "as unusable, and it should tell at least 5 categories of parts apart (AIAG, Measurement Systems Analysis). Parts "
    "that are all alike give a high %GRR however well the instrument repeats: choose parts that cover what production "
    "makes."
)


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("repeatability.py", build_parser().parse_args(argv), write_report)


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="repeatability.py", description=description, epilog=epilog)
    parser.add_argument("verdicts", type=Path, metavar="DIR", help="folder that predict.py -o wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="where the report goes (default: DIR)")
    text = "what the parts really are: columns part and label (good or defective)"
    parser.add_argument("--labels", type=Path, metavar="CSV", help=text)
    return parser


def write_report(args):
    """Write the report that the options ask for, and print it; returns the exit code."""
    scans = read_scans(args.verdicts)
    text = report(scans, args.verdicts)
    if args.labels is not None:
        labels, parts = read_labels(args.labels), [part for part, _ in scans]
        missing = next((part for part in parts if part not in labels), None)
        if missing is not None:
            raise InputError(f"{args.labels}: has no label for part {missing} of {args.verdicts}")
        text += against_labels([row["verdict"] for _, row in scans], [labels[part] for part in parts])
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

    Raises:
        InputError: a file cannot be read, verdicts are at different thresholds, or no part has two scans that were
            judged.
    """
    scans = [(part_of(row["path"]), row) for row in read_lines(folder / LINES)]
    if not scans:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    judged = [(part, row["threshold"]) for part, row in scans if row.get("score") is not None]
    limits = sorted({limit for _, limit in judged})
    if len(limits) > 1:
        raise InputError(
            f"{folder}: mixes verdicts at thresholds {limits[0]} and {limits[-1]}; judge all scans with one model "
            "at one rate"
        )
    if len(judged) == len({part for part, _ in judged}):
        raise InputError(
            f"{folder}: none of the {len({part for part, _ in scans})} parts has two scans that were judged; put "
            "scans of one part into one folder"
        )
    return scans


def read_labels(path):
    """{part: whether it is defective} of a CSV with the columns part and label.

    Raises:
        InputError: the file cannot be read, a label is an unknown word, or it contradicts an earlier one.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [(row["part"], row["label"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise InputError(f"{path}: cannot be read, or lacks the columns part and label ({error})") from None
    labels = dict(rows)
    for part, label in rows:
        if label not in LABELS or label != labels[part]:
            wrong = "has both labels" if label in LABELS else f"label {label!r} is none of: {', '.join(LABELS)}"
            raise InputError(f"{path}: part {part}: {wrong}")
    return {part: LABELS[label] for part, label in rows}


def report(scans, source):
    """Markdown of how the ``scans`` [(part, row)] spread."""
    judged, parts = [of for of in scans if of[1].get("score") is not None], [part for part, _ in scans]
    found = spread([row["score"] for _, row in judged], [part for part, _ in judged])
    same = same_verdicts([row["verdict"] for _, row in scans], parts)
    within, between = ("-" if of is None else f"{of:.4g}" for of in (found.within, found.between))
    grr, categories = "-", "-"
    if found.grr is not None:
        grr = f"{percent(found.grr)} ({percent(found.grr_low)} to {percent(found.grr_high)})"
        categories = "no limit" if found.categories is None else str(found.categories)
    header = ["mean score", "sd of scans of a part", "sd of parts", "%GRR (95 %)", "categories"]
    cells = [f"{found.mean:.4g}", within, between, grr, categories]
    texts = [
        "# Repeatability",
        f"{source}: {len(scans)} scans of {len(set(parts))} parts, {len(scans) - len(judged)} could not be judged and "
        "are left out of the spread.",
        tabulate([cells], header, tablefmt="pipe", disable_numparse=True, colalign=["right"] * 5),
        NOTE,
        f"All scans of a part got the same verdict: {same.events} of {same.of} parts that were scanned more than once "
        f"({percent(same.low)} to {percent(same.high)} with 95 % confidence).",
    ]
    return "\n\n".join(texts) + "\n"


def against_labels(verdicts, defective):
    """Markdown of how the verdicts [n], some of which are pass or fail, agree with what the scans' parts really are."""
    from sklearn.metrics import cohen_kappa_score

    pairs = [(verdict == FAIL, bad) for verdict, bad in zip(verdicts, defective) if verdict != CANNOT_JUDGE]
    failed, bad = zip(*pairs)
    agreed = sum(one == other for one, other in pairs) / len(pairs)
    value = "is undefined: all labels and all verdicts are alike"
    if len(set(failed + bad)) > 1:
        value = f"is {cohen_kappa_score(failed, bad):.3f}"
    return (
        f"\n## Against the labels\n\nCohen's kappa of verdicts and labels {value}; {percent(agreed)} of {len(pairs)} "
        "scans agree. The intervals below take scans as independent, which scans of one part are not.\n\n"
        + outcome_text(outcome(verdicts, defective))
    )


if __name__ == "__main__":
    sys.exit(main())
