"""Exports a station's journal: verdicts with their reviews, as CSV or Parquet.

python tools/journal.py export station.db --since 2026-07-01 -o verdicts.csv      # or .parquet
"""

import csv
import itertools
import sys
from datetime import datetime
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.signals import run_to_the_end

VERDICTS = """
SELECT v.number AS id, v.epoch AS time, v.name AS name, v.serial AS serial, v.recipe AS model, v.model AS model_sha256,
    v.verdict AS verdict, v.p_value AS p_value, v.score AS score,
    json_extract(v.content, '$.threshold') AS threshold, json_extract(v.content, '$.regions') AS regions,
    json_extract(v.content, '$.explanation') AS explanation, json_extract(v.content, '$.milliseconds') AS milliseconds,
    json_extract(v.content, '$.sha256.rgb') AS rgb_sha256, json_extract(v.content, '$.sha256.xyz') AS xyz_sha256,
    json_extract(v.content, '$.sha256.depth') AS depth_sha256, json_extract(v.content, '$.options') AS options,
    json_extract(v.content, '$.metadata') AS metadata, json_extract(v.content, '$.check') AS "check",
    v.chance AS sampling_probability, json_extract(v.content, '$.role') AS role,
    json_extract(r.content, '$.truth') AS review, json_extract(r.content, '$.kind') AS review_kind,
    json_extract(r.content, '$.by') AS reviewed_by, json_extract(r.content, '$.note') AS review_note
FROM events v LEFT JOIN events r
    ON r.number = (SELECT MAX(number) FROM events WHERE part = v.number AND kind = 'review')
WHERE v.kind = 'verdict' AND v.epoch >= ? ORDER BY v.number
"""
TYPES = dict.fromkeys(("p_value", "score", "threshold", "milliseconds", "sampling_probability"), "float64")
TYPES |= {"id": "int64", "check": "bool_"}  # of columns of Parquet; the others are text
AT_ONCE = 5000  # rows of Parquet in memory
FORMULA = ("=", "+", "-", "@", "\t")  # begins a text that a spreadsheet would take for a formula


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
    """Write the verdicts; returns the exit code."""
    from common.files import atomic_path
    from station.journal import Journal, epoch_of, iso

    write = {".csv": write_csv, ".parquet": write_parquet}.get(args.output.suffix.lower())
    if write is None:
        raise InputError(f"{args.output}: has to end in .csv or .parquet")
    found = Journal(args.journal, write=False).query(VERDICTS, (epoch_of(args.since) if args.since else 0.0,))
    columns = [name for name, *_ in found.description]
    rows = (dict(zip(columns, values)) for values in found)
    rows = (row | {"time": iso(row["time"]), "check": bool(row["check"])} for row in rows)
    with atomic_path(args.output) as temporary:
        count = write(temporary, columns, rows)
    print(f"journal.py: {count} verdicts in {args.output}", file=sys.stderr)
    return FINE


def write_csv(path, columns, rows):
    """Write rows (dicts) as CSV; text that a spreadsheet would take for a formula gets an apostrophe. Returns their
    number."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for count, row in enumerate(rows, 1):
            formulas = {name: v for name, v in row.items() if isinstance(v, str) and v.startswith(FORMULA)}
            writer.writerow(row | {name: f"'{text}" for name, text in formulas.items()})
    return count


def write_parquet(path, columns, rows):
    """Write rows (dicts) as Parquet; returns their number. Raises InputError where pyarrow is missing."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install -r requirements-parquet.txt, or write .csv") from None
    schema, count = arrow.schema([(name, getattr(arrow, TYPES.get(name, "string"))()) for name in columns]), 0
    with ParquetWriter(path, schema) as writer:
        while some := list(itertools.islice(rows, AT_ONCE)):
            writer.write_table(arrow.Table.from_pylist(some, schema=schema))
            count += len(some)
    return count


if __name__ == "__main__":
    run_to_the_end(main)
