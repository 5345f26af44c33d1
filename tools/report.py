"""Write a page about parts that predict.py has judged, or about the saved maps of a run and its scorings.

    python tools/report.py judged             # what predict.py -o judged wrote: judged/report.html
    python tools/report.py maps -o report          # what main.py --save_maps maps wrote

The page contains its pictures, so it can be sent as a single file.
"""

import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import scoring_addon
from common.argument_types import number
from common.commands import FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.files import check_writable
from inspection.predictions import LINES
from reports.maps_report import write_report
from reports.plant_report import write_plant_report
from runs.help_tables import scoring_table
from scoring.evaluation import find_saved


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("report.py", build_parser().parse_args(argv), write_page)


def write_page(args):
    """Write the page that the options ask for; returns the exit code."""
    if (Path(args.folder) / LINES).is_file():
        if args.category:
            raise InputError(f"{args.folder}: holds verdicts: --category is for saved maps")
        output = Path(args.output or args.folder)
        check_writable(output)
        print(write_plant_report(Path(args.folder), output))
        return FINE
    if args.output is None:
        raise InputError(f"{args.folder}: holds no verdicts ({LINES}); for saved maps give -o OUT too")
    check_writable(args.output)
    paths = find_saved(args.folder, args.category)
    print(write_report(paths, args.output, args.seed, scoring_addon.parameters_from(args)))
    return FINE


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], f"{scoring_table()}\n\n{prose_and_examples(__doc__)[1]}"
    parser = Parser(prog="report.py", description=description, epilog=epilog)
    parser.add_argument("folder", metavar="DIR", help="what predict.py -o DIR or main.py --save_maps DIR wrote")
    parser.add_argument("-o", "--output", metavar="OUT", help="gets report.html (default for verdicts: DIR)")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the random draw of parts")
    group = parser.add_argument_group("scoring", "parameters; the page shows every scoring")
    scoring_addon.add_parameters(group)
    return parser


if __name__ == "__main__":
    sys.exit(main())
