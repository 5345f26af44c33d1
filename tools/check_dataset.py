"""Read every file of a data set as main.py does. Errors would stop a run, warnings would not. Exit code: 0 no errors, 1
errors, 2 no data set.

    python tools/check_dataset.py datasets/mvtec3d
"""

from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FAILED, FINE, Parser, add_workers, prose_and_examples, run_command
from common.errors import InputError, tell
from common.signals import run_to_the_end
from data.examination import examine
from data.findings import Options
from data.folders import is_junk_folder
from data.names import CATEGORIES, find_categories
from data.units import unit

PROGRAM = "check_dataset.py"
SHOWN = 10  # errors and warnings of each kind
ORDER = {"train": 0, "validation": 1, "test": 2}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 a run would succeed, 1 it would not, 2 there is no data set."""
    stopped = "interrupted; categories not shown were not checked"
    return run_command(PROGRAM, build_parser().parse_args(argv), check, stopped)


def build_parser():
    """The argument parser."""
    description, epilog = prose_and_examples(__doc__)
    parser = Parser(prog=PROGRAM, epilog=epilog, description=description)
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="folder of the categories")
    text = f"{', '.join(CATEGORIES)}: a missing category of the official list is an error; "
    text += "folder: every folder that has train or test"
    add("--dataset_type", default="folder", choices=("folder", *CATEGORIES), metavar="NAME", help=text)
    add("--category", nargs="+", metavar="NAME", help="only these (default: all)")
    text = "of the coordinates, main.py's --unit (default: metres are expected)"
    add("--unit", type=unit, metavar="UNIT", help=text)
    add("--fix", choices=("zero_points",), nargs="+", default=[], help="main.py's --fix zero_points")
    text = "normal parts that calibrate a saved model, main.py's --calibration_dir"
    add("--calibration_dir", type=Path, metavar="DIR", help=text)
    add_workers(parser)
    return parser


def check(args):
    """Check and print category by category; returns the exit code."""
    names, missing = categories(args)
    errors, warnings = len(missing), 0
    options = Options(unit=args.unit, zero_points="zero_points" in args.fix)
    try:
        for found in examine(
            args.path, names, options=options, workers=args.workers, calibration_dir=args.calibration_dir
        ):
            # of missing clouds only a method that reads them may complain
            said = (("pictures alone" if kind == "no clouds" else kind, text) for kind, text in found.findings)
            found = found._replace(findings=tuple(said))
            print(report(found), flush=True)
            errors, warnings = errors + len(found.texts("fault")), warnings + len(found.texts("warning"))
    except BrokenProcessPool:
        tell(PROGRAM, "a process that read files was killed (too little memory?); try fewer --workers")
        return FAILED
    for reason in missing.values():
        print(f"error: {reason}")
    ready = "a run would fail or leave categories out" if errors else "ready to run"
    print(f"categories: {len(names)}; errors: {errors}; warnings: {warnings}: {ready}")
    return FAILED if errors else FINE


def categories(args):
    """(names of the category folders, {missing category: reason}); raises InputError where there is no data set."""
    if args.category or args.dataset_type != "folder":
        names, missing = find_categories(args.path, args.dataset_type, args.category)
        if not names:
            raise InputError(f"{args.path}: none of the {len(missing)} categories of {args.dataset_type} is there")
        return names, missing
    # list folders without train/good too: a run leaves them out
    splits = [path for split in ("train", "test") for path in args.path.glob(f"*/{split}") if path.is_dir()]
    folders = {path.parent.name for path in splits}
    names = sorted(name for name in folders if not is_junk_folder(name))
    return (names, {}) if names else find_categories(args.path, args.dataset_type)


def report(found):
    """The text to print about a Category."""
    header = ["split", "defect", "rgb", "xyz", "gt", "pictures", "tiffs"]
    rows = sorted(found.rows, key=lambda row: ORDER.get(row.split, 3))
    table = tabulate(map(_cells, rows), header, "pipe", disable_numparse=True)
    levels = ("error", "fault", SHOWN), ("warning", "warning", SHOWN), ("note", "note", 1)
    texts = [f"{word}: {text}" for word, level, shown in levels for text in found.texts(level, shown)]
    return "\n".join([f"## {found.name}", "", table, "", *texts, *([""] if texts else [])])


def _cells(row):
    cells = [row.split, row.defect, *(row.counts[kind] for kind in ("rgb", "xyz", "gt"))]
    if not row.used:
        return [*cells, "not read by a run"]
    facts = [part.facts for part in row.parts]
    return [*cells, kinds(f.picture for f in facts), kinds(f.tiff for f in facts)]


def kinds(texts):
    """Text such as "800×800 RGB"; with counts where ``texts`` differ."""
    counts = Counter(text for text in texts if text)
    return ", ".join(text if len(counts) == 1 else f"{text} ({count})" for text, count in counts.most_common()) or "-"


if __name__ == "__main__":
    run_to_the_end(main)
