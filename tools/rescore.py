"""Score saved maps anew, without a network: the paper's tables, intervals, more metrics.

python main.py ... --save_maps maps
python tools/rescore.py maps -o tables
"""

import argparse
import sys

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import scoring_addon
from common.commands import FINE, Parser, prose_and_examples, run_command
from common.files import check_writable
from common.progress import note, track
from reports import tables
from reports.scored import left_out_text, scored_category
from runs.help_tables import scoring_table
from scoring.evaluation import EXTRA_METRICS, find_saved
from scoring.scorings import add_scoring_arguments


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a table could not be written, 2 refused."""
    return run_command("rescore.py", build_parser().parse_args(argv), rescore)


def rescore(args):
    """Score the saved maps and write the tables that the options ask for; returns the exit code."""
    check_writable(args.output)
    run = score_folder(args.folder, args)
    multiscale = score_folder(args.multiscale, args) if args.multiscale else None
    for table in tables.tables_of(run, multiscale, args.metrics):
        table.write(args.output)
    if args.intervals:
        tables.interval_table(run).write(args.output)
    return FINE


def build_parser():
    """The argument parser. Scoring parameters that are not given are absent: then those of the run are used."""
    epilog = f"{scoring_table()}\n\n{prose_and_examples(__doc__)[1]}"
    parser = Parser(prog="rescore.py", description=__doc__.splitlines()[0], epilog=epilog)
    parser.add_argument("folder", metavar="DIR", help="what main.py --save_maps DIR wrote")
    parser.add_argument("-o", "--output", default="tables", metavar="DIR", help="where the .md and .csv files go")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument(
        "--multiscale",
        metavar="DIR",
        help="saved maps of a second run with --group_size 64 --num_group 784 --multiscale, for Table 3",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=EXTRA_METRICS,
        metavar="NAME",
        default=[],
        help=f"more metrics in the tables, of {', '.join(EXTRA_METRICS)}: AU-PRO up to that false-positive rate in %%, "
        "with all thresholds",
    )
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="95 %% bootstrap intervals of each metric and of its difference to baseline",
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
    left_out = left_out_text({c.name: c.lacks for c in found})
    if left_out:
        note(f"rescore.py: note: {folder}: {left_out}", sys.stderr)
    return found


if __name__ == "__main__":
    sys.exit(main())
