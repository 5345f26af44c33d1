"""Write a page about parts that predict.py has judged, or about the saved maps of a run and its scorings.

    python tools/report.py judged             # what predict.py -o judged wrote: judged/report.html
    python tools/report.py maps -o report          # what main.py --save_maps maps wrote

The page contains its pictures, so it can be sent as a single file. That about maps has its figures in OUT/figures too.
"""

import re
import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import scoring_addon
from common.argument_types import number
from common.commands import FINE, HelpFormatter, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.files import check_writable
from common.progress import note, track
from inspection.predictions import LINES
from reports import sections
from reports.numbers import shown_parts, summary_of
from reports.page import Page
from reports.plant_report import write_plant_report
from reports.scored import left_out_text, scored_category
from runs.help_tables import scoring_table
from scoring.evaluation import find_saved
from scoring.scorings import add_scoring_parameters


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("report.py", build_parser().parse_args(argv), write_page)


def write_page(args):
    """Write the page that the options ask for; returns the exit code."""
    if (Path(args.folder) / LINES).is_file():
        if args.category:
            raise InputError(f"{args.folder}: holds verdicts: --category is for saved maps")
        check_writable(args.output or args.folder)
        print(write_plant_report(args.folder, args.output or args.folder))
        return FINE
    if args.output is None:
        raise InputError(f"{args.folder}: holds no verdicts ({LINES}); for saved maps give -o OUT too")
    check_writable(args.output)
    paths = find_saved(args.folder, args.category)
    page = make_report(paths, args.seed, scoring_addon.parameters_from(args))
    page.write(args.output, "Disagreement-guided scoring")
    print(Path(args.output) / "report.html")
    return FINE


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], f"{scoring_table()}\n\n{prose_and_examples(__doc__)[1]}"
    parser = Parser(prog="report.py", description=description, formatter_class=HelpFormatter, epilog=epilog)
    parser.add_argument("folder", metavar="DIR", help="what predict.py -o DIR or main.py --save_maps DIR wrote")
    parser.add_argument("-o", "--output", metavar="OUT", help="gets report.html (default for verdicts: DIR)")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the random draw of parts")
    group = parser.add_argument_group("scoring", "parameters; the page shows every scoring")
    add_scoring_parameters(group, ("test",))
    return parser


def make_report(paths, seed, parameters):
    """The Page about files of saved maps.

    Args:
        paths: the files, one per category.
        seed: of the randomly drawn parts and of the resamples.
        parameters: of the scoring, ``scoring_addon.Parameters``.

    Raises:
        InputError: a file cannot be scored.
    """
    of_categories, summaries, missing = Page(), [], {}
    for place, path in enumerate(track(paths, len(paths), "report", "category")):
        category = scored_category(path, choose=lambda _: (parameters, "test"))
        summaries.append(summary_of(category, seed))
        missing.update({category.name: category.lacks} if category.lacks else {})
        prefix = f"{place:02d}_" + re.sub(r"[^A-Za-z0-9_-]+", "_", category.name)[:40]
        sections.category_section(of_categories, category, shown_parts(category, seed), prefix, f"c{place}")
    left_out = left_out_text(missing)
    if left_out:
        note(f"report.py: note: {left_out}", sys.stderr)
    page = Page()
    sections.verdict_section(page, summaries)
    sections.caption_section(page, summaries, parameters, left_out)
    sections.summary_section(page, summaries)
    page.body += of_categories.body
    page.files.update(of_categories.files)
    return page


if __name__ == "__main__":
    sys.exit(main())
