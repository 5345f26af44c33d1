"""Exports a station's journal: verdicts with their reviews, as CSV.

python tools/journal.py export station.db --since 2026-07-01 -o verdicts.csv
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
FORMULA = ("=", "+", "-", "@", "\t")  # begins a text that a spreadsheet would take for a formula


def build_parser():
    """The argument parser."""
    prose, examples = prose_and_examples(__doc__)
    parser = Parser(prog="journal.py", description=prose, epilog=examples)
    parser.add_argument("command", choices=["export"], help="what to do")
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the station's SQLite file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .csv file")
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

    if args.output.suffix.lower() != ".csv":
        raise InputError(f"{args.output}: has to end in .csv")
    since, count = epoch_of(args.since) if args.since else 0.0, 0
    found = Journal(args.journal, write=False).query(VERDICTS, (since,))
    columns = [name for name, *_ in found.description]
    with atomic_path(args.output) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for count, values in enumerate(found, 1):
            row = dict(zip(columns, values))
            row |= {"time": iso(row["time"]), "check": bool(row["check"])}
            formulas = {name: v for name, v in row.items() if isinstance(v, str) and v.startswith(FORMULA)}
            writer.writerow(row | {name: f"'{text}" for name, text in formulas.items()})
    print(f"journal.py: {count} verdicts in {args.output}", file=sys.stderr)
    return FINE


if __name__ == "__main__":
    run_to_the_end(main)
