"""Exports a station's journal: verdicts with their reviews, as CSV or Parquet.

python tools/journal.py export station.db --since 2026-07-01 -o verdicts.csv      # or .parquet
"""

import csv
import sys
from datetime import datetime
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.signals import run_to_the_end

CONTENT, REVIEW = "json_extract(v.content, '$.{}')".format, "json_extract(r.content, '$.{}')".format
TEXT, NUMBER, WHOLE, TRUTH = "string", "float64", "int64", "bool_"  # of a column of Parquet
COLUMNS = {  # of the export: what it is in the journal, and its type in Parquet
    "id": ("v.number", WHOLE),
    "time": ("v.epoch", TEXT),
    "name": ("v.name", TEXT),
    "serial": ("v.serial", TEXT),
    "model": ("v.recipe", TEXT),
    "model_sha256": ("v.model", TEXT),
    "verdict": ("v.verdict", TEXT),
    "p_value": ("v.p_value", NUMBER),
    "score": ("v.score", NUMBER),
    "threshold": (CONTENT("threshold"), NUMBER),
    "regions": (CONTENT("regions"), TEXT),
    "explanation": (CONTENT("explanation"), TEXT),
    "milliseconds": (CONTENT("milliseconds"), NUMBER),
    "rgb_sha256": (CONTENT("sha256.rgb"), TEXT),
    "xyz_sha256": (CONTENT("sha256.xyz"), TEXT),
    "depth_sha256": (CONTENT("sha256.depth"), TEXT),
    "options": (CONTENT("options"), TEXT),
    "metadata": (CONTENT("metadata"), TEXT),
    "check": (CONTENT("check"), TRUTH),
    "sampling_probability": ("v.chance", NUMBER),
    "role": (CONTENT("role"), TEXT),
    "review": (REVIEW("truth"), TEXT),
    "review_kind": (REVIEW("kind"), TEXT),
    "reviewed_by": (REVIEW("by"), TEXT),
    "review_note": (REVIEW("note"), TEXT),
}
AT_ONCE = 5000  # rows in memory


def build_parser():
    """The argument parser."""
    prose, examples = prose_and_examples(__doc__)
    parser = Parser(prog="journal.py", description=prose, epilog=examples)
    parser.add_argument("command", choices=["export"], help="what to do")
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the station's SQLite file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".csv or .parquet")
    since = "only verdicts from this time on, as 2026-07-31 or 2026-07-31T06:00:00 (UTC)"
    parser.add_argument("--since", type=datetime.fromisoformat, metavar="TIME", help=since)
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    args = build_parser().parse_args(argv)
    return run_command("journal.py", args, export)


def export(args):
    """Write the verdicts; returns the exit code.

    Raises:
        InputError: the journal cannot be used, or the file is of another kind.
    """
    from common.files import atomic_path
    from station.journal import Journal, epoch_of, iso

    write = {".csv": write_csv, ".parquet": write_parquet}.get(args.output.suffix.lower())
    if write is None:
        raise InputError(f"{args.output}: has to end in .csv or .parquet")
    found = Journal(args.journal, write=False).query(
        f"SELECT {', '.join(source for source, _ in COLUMNS.values())} FROM events v LEFT JOIN events r ON r.number = "
        "(SELECT MAX(number) FROM events WHERE part = v.number AND kind = 'review') "
        "WHERE v.kind = 'verdict' AND v.epoch >= ? ORDER BY v.number",
        (epoch_of(args.since) if args.since else 0.0,),
    )
    ways = [{"time": iso, "check": bool}.get(name, lambda value: value) for name in COLUMNS]
    some = lambda: [[way(value) for way, value in zip(ways, row)] for row in found.fetchmany(AT_ONCE)]
    with atomic_path(args.output) as temporary:
        count = sum(write(temporary, iter(some, [])))
    print(f"journal.py: {count} verdicts in {args.output}", file=sys.stderr)
    return FINE


def write_csv(path, found):
    """Write lists of rows as CSV; text that a spreadsheet would take for a formula gets an apostrophe. Yields the
    length of each list."""
    formula = ("=", "+", "-", "@", "\t")
    plain = lambda value: f"'{value}" if isinstance(value, str) and value.startswith(formula) else value
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rows in found:
            writer.writerows(map(plain, row) for row in rows)
            yield len(rows)


def write_parquet(path, found):
    """Write lists of rows as Parquet. Yields the length of each list.

    Raises:
        InputError: pyarrow is missing.
    """
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install -r requirements-parquet.txt, or write .csv") from None
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, (_, kind) in COLUMNS.items()])
    with ParquetWriter(path, schema) as writer:
        for rows in found:
            writer.write_table(arrow.table(list(zip(*rows)), schema=schema))
            yield len(rows)


if __name__ == "__main__":
    run_to_the_end(main)
