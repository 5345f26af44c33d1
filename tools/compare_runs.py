"""Compare the result tables of two runs, of this project or of an M3DM checkout: B - A per category, and the mean.

    python tools/compare_runs.py results_a results_b
    python tools/compare_runs.py ~/M3DM/results

With two folders, the last table of each file counts, and rows are matched by their Method column. With one, both rows
of the last run in scoring.md, which a patched checkout writes of one pass.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FAILED, FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from runs.results import DIFFERENCE, TABLES, UNDEFINED

MEAN = "Mean"


class Table(NamedTuple):
    """A markdown table: ``name``, used in messages; the heading above it; {Method: {category: value, None where
    undefined}}."""

    name: str
    heading: str
    rows: dict


def main(argv=None):
    """Run the command line. Returns the exit code: 0 fine, 1 a row or category is in one run only, 2 refused."""
    return run_command("compare_runs.py", build_parser().parse_args(argv), compare)


def compare(args):
    """Print the differences; returns the exit code."""
    faults = []
    for folder in filter(None, (args.a, args.b)):
        if not Path(folder).is_dir():
            raise InputError(
                f"{folder}: no such folder; give a folder with {', '.join(name for _, name in TABLES.values())}"
            )
    texts = of_two_runs(args.a, args.b, faults) if args.b else of_one_pass(Path(args.a) / "scoring.md", faults)
    if not texts:
        raise InputError(f"nothing to compare: {'; '.join(faults)}")
    print("\n".join(texts), flush=True)
    for fault in dict.fromkeys(faults):
        print(f"compare_runs.py: {fault}", file=sys.stderr)
    return FAILED if faults else FINE


def build_parser():
    """The argument parser."""
    prose, examples = prose_and_examples(__doc__)
    parser = Parser(prog="compare_runs.py", description=prose, epilog=examples)
    parser.add_argument("a", metavar="A", help="results folder of the first run")
    parser.add_argument("b", metavar="B", nargs="?", help="results folder of the second run")
    return parser


def of_two_runs(a, b, faults):
    """[text] of the rows that the last tables of two results folders have in common; adds to ``faults``."""
    texts = []
    for heading, name in TABLES.values():
        paths = Path(a) / name, Path(b) / name
        missing = [f"{path}: missing" for path in paths if not path.is_file()]
        faults += missing
        if not missing:
            x, y = (read_tables(path)[-1] for path in paths)
            faults += [f"only in {x.name}: {row}" for row in x.rows if row not in y.rows]
            faults += [f"only in {y.name}: {row}" for row in y.rows if row not in x.rows]
            texts += [difference(heading, x, row, y, row, faults) for row in x.rows if row in y.rows]
    return texts


def of_one_pass(path, faults):
    """[text] of the metrics of the last run in a patched checkout's scoring.md; InputError where it is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: missing; give two folders, or the results of a patched checkout")
    tables = read_tables(path)
    heads = [table.heading.rpartition(", run of ") for table in tables]  # category, run
    if any(set(table.rows) != {"baseline", "disagreement"} or not head[1] for table, head in zip(tables, heads)):
        raise InputError(f"{path}: is not what a patched checkout writes; move it away to compare the other tables")
    last = {name: table.rows for (name, _, run), table in zip(heads, tables) if run == heads[-1][2]}
    texts = []
    for title in next(iter(last.values()))["baseline"]:
        rows = {row: {name: of[row][title] for name, of in last.items()} for row in ("baseline", "disagreement")}
        table = Table(f"{path}, run of {heads[-1][2]}", title, rows)
        texts.append(difference(title, table, "baseline", table, "disagreement", faults))
    return texts


def read_tables(path):
    """All tables of a file, oldest first; InputError where one is no result table. The release appends its tables
    without a line end: "… |" and "| Method …" then share a line."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    tables, header, heading = [], [], ""
    for number, line in enumerate(lines, 1):
        for part in re.split(r"(?<=\|)(?=\|\s*Method\s*\|)", line.strip()):
            cells = [cell.strip() for cell in part.strip("|").split("|")]
            wrong = InputError(f"{path}: line {number}: is no row of a result table: {part}")
            if not part.startswith("|"):
                header, heading = [], part[3:] if part.startswith("## ") else heading
            elif set("".join(cells)) <= set(":-"):
                continue
            elif cells[0] == "Method" and len(set(cells)) == len(cells):
                header = cells
                tables.append(Table(f"{path}, table of line {number}", heading, {}))
            elif len(cells) != len(header) or cells[0] in ("Method", *tables[-1].rows):
                raise wrong
            elif cells[0] != DIFFERENCE:
                try:
                    values = [None if cell in (UNDEFINED, "nan", "") else float(cell) for cell in cells[1:]]
                except ValueError:
                    raise wrong from None
                tables[-1].rows[cells[0]] = {c: v for c, v in zip(header[1:], values) if c != MEAN}
    tables = [table for table in tables if table.rows]
    if not tables:
        raise InputError(f"{path}: holds no result table")
    return tables


def difference(heading, a, row_a, b, row_b, faults):
    """Markdown table of B - A with a heading. The means are over the categories for which both have a value."""
    before, after = a.rows[row_a], b.rows[row_b]
    both = [category for category in before if category in after]
    for one, other, table in ((before, after, a), (after, before, b)):
        faults.extend(f"only in {table.name}: category {category}" for category in one if category not in other)
    if not both:
        raise InputError(f"{a.name} and {b.name} have no category in common")
    known = [category for category in both if None not in (before[category], after[category])]

    rows, means = [], []
    for title, values in ((f"A: {row_a}", before), (f"B: {row_b}", after)):
        means.append(round(sum(values[c] for c in known) / len(known), 3) if known else None)
        rows.append([title, *(_text(value, ".3f") for value in (*(values[c] for c in both), means[-1]))])
    change = [after[c] - before[c] if c in known else None for c in both]
    change.append(means[1] - means[0] if known else None)  # difference of the means as shown
    rows.append(["B - A", *(_text(value, "+.3f") for value in change)])
    right = ["left"] + ["right"] * (len(both) + 1)
    table = tabulate(rows, ["Method", *both, MEAN], tablefmt="pipe", disable_numparse=True, colalign=right)
    return f"## {heading}: B - A\n\nA: {a.name}; B: {b.name}\n\n{table}\n"


def _text(value, form):
    return UNDEFINED if value is None else format(round(value, 3) + 0.0, form)


if __name__ == "__main__":
    sys.exit(main())
