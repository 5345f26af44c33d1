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
    """A markdown table: ``name``, used in messages, and {Method: {category: value, None where undefined}}."""

    name: str
    rows: dict


def main(argv=None):
    """Run the command line. Returns the exit code: 0 fine, 1 a row or category is in one run only, 2 refused."""
    return run_command("compare_runs.py", build_parser().parse_args(argv), compare)


def compare(args):
    """Print the differences; returns the exit code."""
    faults, texts = [], []
    for folder in filter(None, (args.a, args.b)):
        if not Path(folder).is_dir():
            raise InputError(
                f"{folder}: no such folder; give a folder with {', '.join(name for _, name in TABLES.values())}"
            )
    if args.b is None:
        one_pass = Path(args.a) / "scoring.md"
        if not one_pass.is_file():
            raise InputError(f"{one_pass}: missing; give two folders, or the results of a patched checkout")
        for heading, table in read_one_pass(one_pass).items():
            texts.append(difference(heading, table, "baseline", table, "disagreement", faults))
    for heading, name in TABLES.values() if args.b else ():
        paths = Path(args.a) / name, Path(args.b) / name
        missing = [f"{path}: missing" for path in paths if not path.is_file()]
        faults += missing
        if not missing:
            a, b = (read_tables(path)[-1] for path in paths)
            pairs = ((a, b), (b, a))
            faults += [f"only in {x.name}: {row}" for x, y in pairs for row in x.rows if row not in y.rows]
            texts += [difference(heading, a, row, b, row, faults) for row in a.rows if row in b.rows]
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


def read_tables(path):
    """All tables of a file, oldest first.

    Raises:
        InputError: the file cannot be read, holds no table, or a table is not a result table.
    """
    tables, header = [], None
    for number, line in numbered_lines(path):
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if header is None:
            header = cells
            tables.append(Table(f"{path}, table of line {number}", {}))
            if cells[0] != "Method" or len(set(cells)) != len(cells):
                raise InputError(
                    f"{path}: line {number}: a result table begins with Method and names each category once"
                )
        elif set("".join(cells)) <= set(":-"):
            continue
        elif len(cells) != len(header):
            raise InputError(f"{path}: line {number}: {len(cells)} cells under a heading of {len(header)}")
        elif cells[0] != DIFFERENCE:
            if cells[0] in tables[-1].rows:
                raise InputError(f"{path}: line {number}: second row {cells[0]}")
            tables[-1].rows[cells[0]] = {
                title: number_of(cell, path, number) for title, cell in zip(header[1:], cells[1:]) if title != MEAN
            }
    tables = [table for table in tables if table.rows]
    if not tables:
        raise InputError(f"{path}: holds no result table")
    return tables


def numbered_lines(path):
    """[(line number, text)] of a file and an empty line at the end.

    The release appends its tables without a line end; such a line is two, with an empty one between them.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    out = []
    for number, line in enumerate([*lines, ""], 1):
        for i, part in enumerate(re.split(r"(?<=\|)(?=\|\s*Method\s*\|)", line.strip())):
            out += [(number, "")] * (i > 0) + [(number, part)]
    return out


def read_one_pass(path):
    """{heading: Table} of the last run in a patched checkout's scoring.md, with the rows baseline and disagreement.

    Raises:
        InputError: the file cannot be read, or is not such a file.
    """
    heads = [line[3:].rpartition(", run of ") for _, line in numbered_lines(path) if line.startswith("## ")]
    tables = read_tables(path)
    if len(heads) != len(tables) or any(set(table.rows) != {"baseline", "disagreement"} for table in tables):
        raise InputError(f"{path}: is not what a patched checkout writes; move it away to compare the other tables")
    last = [(name, table) for (name, _, run), table in zip(heads, tables) if run == heads[-1][2]]
    titles = list(last[0][1].rows["baseline"])
    return {
        title: Table(f"{path}, run of {heads[-1][2]}",
                     {row: {name: table.rows[row][title] for name, table in last} for row in last[0][1].rows})
        for title in titles
    }  # fmt: skip


def number_of(cell, path, line):
    """A cell's value, None where undefined."""
    try:
        return None if cell in (UNDEFINED, "nan", "") else float(cell)
    except ValueError:
        raise InputError(f"{path}: line {line}: {cell!r} is no number") from None


def difference(heading, a, row_a, b, row_b, faults):
    """Markdown table of B - A with a heading. The means are over the categories for which both have a value."""
    before, after = a.rows[row_a], b.rows[row_b]
    both = [category for category in before if category in after]
    for one, other, table in ((before, after, a), (after, before, b)):
        faults.extend(f"only in {table.name}: category {category}" for category in one if category not in other)
    if not both:
        raise InputError(f"{a.name} and {b.name} have no category in common")
    known = [category for category in both if None not in (before[category], after[category])]

    def row(values, form):
        mean = [sum(values[c] for c in known) / len(known) if known else None]
        return [
            UNDEFINED if value is None else format(round(value, 3) + 0.0, form)
            for value in [values[c] for c in both] + mean
        ]

    change = {c: after[c] - before[c] if c in known else None for c in both}
    cells = [[f"A: {row_a}", *row(before, ".3f")], [f"B: {row_b}", *row(after, ".3f")], ["B - A", *row(change, "+.3f")]]
    if known:  # difference of the means as shown
        cells[2][-1] = format(round(float(cells[1][-1]) - float(cells[0][-1]), 3) + 0.0, "+.3f")
    table = tabulate(
        cells,
        ["Method", *both, MEAN],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left"] + ["right"] * (len(both) + 1),
    )
    return f"## {heading}: B - A\n\nA: {a.name}; B: {b.name}\n\n{table}\n"


if __name__ == "__main__":
    sys.exit(main())
