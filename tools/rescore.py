"""Score saved maps anew, without a network: the paper's tables, its parameter grid, intervals, more metrics.

python main.py ... --save_maps maps
python tools/rescore.py maps -o tables
"""

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import scoring_addon
from common.argument_types import number
from common.commands import FINE, Parser, prose_and_examples, run_command
from common.files import atomic_write_text, check_writable
from common.progress import note, track
from reports import tables
from reports.parameter_grid import grid_table
from reports.scored import left_out_text, scored_category
from runs.help_tables import scoring_table
from runs.results import UNDEFINED, csv_text, escaped
from scoring.evaluation import find_saved
from scoring.scorings import add_scoring_arguments

PRINTED = 80  # rows; of a longer table only the caption is printed


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a table could not be written, 2 refused."""
    return run_command("rescore.py", build_parser().parse_args(argv), rescore)


def rescore(args):
    """Score the saved maps and write the tables that the options ask for; returns the exit code."""
    check_writable(args.output)
    runs = [score_folder(folder, args) for folder in args.folder]
    multiscale = score_folder(args.multiscale, args) if args.multiscale else None
    for run, suffix in zip(runs, tables.suffixes(args.folder, runs)):
        for which, table in tables.tables_of(run, multiscale, args.metrics).items():
            write(args.output, f"table_{which}{suffix}", *table)
    for name, wanted, make in (
        ("metrics", args.metrics, tables.further_table),
        ("intervals", args.intervals, tables.interval_table),
        ("grid", args.grid, grid_table),
    ):
        if wanted:
            write(args.output, name, *make(runs, args))
    return FINE


def build_parser():
    """The argument parser. Scoring parameters that are not given are absent: then those of the run are used."""
    epilog = f"{scoring_table()}\n\n{prose_and_examples(__doc__)[1]}"
    parser = Parser(prog="rescore.py", description=__doc__.splitlines()[0], epilog=epilog)
    parser.add_argument("folder", nargs="+", help="folders that main.py --save_maps wrote, one per data set")
    parser.add_argument("-o", "--output", default="tables", metavar="DIR", help="where the .md and .csv files go")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument(
        "--multiscale",
        metavar="DIR",
        help="saved maps of a second run with --group_size 64 --num_group 784 --multiscale, for Table 3",
    )
    tables.add_metrics_argument(parser)
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="95 %% bootstrap intervals of each metric and of its difference to baseline, and DeLong's test",
    )
    parser.add_argument(
        "--resamples", type=number(int, 2, 10**6), default=1000, metavar="N", help="bootstrap resamples"
    )
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the bootstrap")
    parser.add_argument(
        "--grid", choices=("all", "one"), help="Table 1's parameters: all 1728 combinations, or one parameter at a time"
    )
    group = parser.add_argument_group(
        "scoring", "parameters that are not given are those of the run that saved the maps"
    )
    add_scoring_arguments(group, "all")
    for action in group._group_actions:
        if action.dest != "scoring":
            action.help = action.help.replace("%(default)s", "as in the run")
            action.default = argparse.SUPPRESS
    return parser


def scoring_of(evaluation, args):
    """(Parameters, reference) of a saved category: the values given, else those of its run, else the paper's."""
    parser = argparse.ArgumentParser()
    add_scoring_arguments(parser)
    options = vars(parser.parse_args([]))
    for known in (evaluation.meta.get("options", {}), vars(args)):
        options.update({name: value for name, value in known.items() if name in options})
    return scoring_addon.parameters_from(argparse.Namespace(**options)), options["scoring_reference"]


def score_folder(folder, args):
    """[ScoredCategory] of a folder of saved maps."""
    paths = find_saved(folder, args.category)
    found = [
        scored_category(path, args.scoring, lambda saved: scoring_of(saved, args), args.metrics)
        for path in track(paths, len(paths), f"scoring {folder}", "category")
    ]
    missing = {c.name: c.lacks for c in found if c.lacks}
    if missing:
        note(f"rescore.py: note: {folder}: {left_out_text(missing)}", sys.stderr)
    return found


def write(folder, name, caption, header, rows):
    """Write ``name``.md and ``name``.csv (unrounded). Print the markdown; of a long table only the caption."""

    def shown(place, value):
        if value is None and place > 1:
            return UNDEFINED
        return f"{value:.3f}" if isinstance(value, float) else escaped(str(value))

    texts = [[shown(place, value) for place, value in enumerate(row)] for row in rows]
    text = caption + "\n\n" + tabulate(texts, map(escaped, header), tablefmt="pipe", disable_numparse=True) + "\n"
    atomic_write_text(Path(folder) / f"{name}.md", text)
    atomic_write_text(Path(folder) / f"{name}.csv", csv_text([header, *rows]))
    print((text if len(rows) <= PRINTED else f"{caption}\n({len(rows)} rows: {Path(folder) / name}.csv)\n"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
