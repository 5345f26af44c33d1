"""Works with a station's journal: exports it, checks that nobody has changed it, collects training parts.

    python tools/journal.py export station.db --since 2026-07-01 -o verdicts.csv      # or .parquet
    python tools/journal.py verify station.db
    python tools/journal.py training station.db --model knob -o more_good

``training`` copies the kept recordings of parts that were good after all, and were not drawn for review, into
OUT/rgb and OUT/xyz (or OUT/depth), for the fit of the next version; the journal notes that they serve as training.
"""

import csv
import json
import shutil
import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, HelpFormatter, Parser, prose_and_examples, run_command
from common.errors import InputError
from common.signals import run_to_the_end

COLUMNS = (
    "id time name serial model model_sha256 verdict p_value score threshold regions explanation milliseconds "
    "rgb_sha256 xyz_sha256 depth_sha256 options metadata check sampling_probability role review review_kind "
    "reviewed_by review_note"
).split()
AT_ONCE = 5000  # rows in memory


def build_parser():
    """The argument parser."""
    prose, examples = prose_and_examples(__doc__)
    parser = Parser(prog="journal.py", formatter_class=HelpFormatter, description=prose, epilog=examples)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser, help="what to do"
    )
    export = commands.add_parser("export", help="verdicts with reviews as CSV or Parquet")
    verify = commands.add_parser("verify", help="check the chain of all events")
    training = commands.add_parser("training", help="copy parts that may train the next version")
    for command in (export, verify, training):
        command.add_argument("journal", type=Path, metavar="JOURNAL", help="the station's SQLite file")
    export.add_argument("--since", metavar="TIME", help="only verdicts from this time on, as 2026-07-31 (UTC)")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".csv or .parquet")
    training.add_argument("--model", required=True, metavar="NAME", help="the recipe")
    training.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the copies")
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    args = build_parser().parse_args(argv)
    return run_command("journal.py", args, {"export": export, "verify": verify, "training": training}[args.command])


def export(args):
    """Write the verdicts; returns the exit code.

    Raises:
        InputError: the journal or the time cannot be used, or the file is of another kind.
    """
    from common.files import atomic_path
    from station.journal import Journal, epoch_of

    writers = {".csv": write_csv, ".parquet": write_parquet}
    write = writers.get(args.output.suffix.lower())
    if write is None:
        raise InputError(f"{args.output}: has to end in .csv or .parquet")
    journal = Journal(args.journal, write=False)
    since = epoch_of(args.since) if args.since else 0.0
    with atomic_path(args.output) as temporary:
        count = write(temporary, batches(journal, since))
    print(f"journal.py: {count} verdicts in {args.output}", file=sys.stderr)
    return FINE


def batches(journal, since):
    """Yield lists of rows, each a dict of COLUMNS, the oldest first."""
    last = 0
    while True:
        where = "v.kind = 'verdict' AND v.number > ? AND v.epoch >= ?"
        events = journal.events(where, (last, since), limit=AT_ONCE, review=True)
        if not events:
            return
        yield [row_of(event) for event in events]
        last = events[-1].number


def row_of(event):
    """A verdict's row."""
    content, review = event.content, event.review or {}
    values = (
        event.number,
        event.time,
        event.name,
        event.serial,
        event.recipe,
        event.model,
        event.verdict,
        event.p_value,
        event.score,
        content["threshold"],
        json.dumps(content["regions"]),
        content["explanation"],
        content["milliseconds"],
        *(content["sha256"].get(kind) for kind in ("rgb", "xyz", "depth")),
        json.dumps(content["options"]),
        json.dumps(content["metadata"], ensure_ascii=False),
        content["check"],
        event.chance,
        content["role"],
        *(review.get(name) for name in ("truth", "kind", "by", "note")),
    )
    return dict(zip(COLUMNS, values, strict=True))


def write_csv(path, found):
    """Write rows as CSV; text that a spreadsheet would take for a formula gets an apostrophe. Returns their number."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for rows in found:
            writer.writerows({name: plain(value) for name, value in row.items()} for row in rows)
            count += len(rows)
    return count


def plain(value):
    """A value for a cell of CSV."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def write_parquet(path, found):
    """Write rows as Parquet; returns their number.

    Raises:
        InputError: pyarrow is missing.
    """
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install -r requirements-parquet.txt, or write .csv") from None
    kinds = {"id": arrow.int64(), "check": arrow.bool_()}
    kinds |= dict.fromkeys(("p_value", "score", "threshold", "milliseconds", "sampling_probability"), arrow.float64())
    schema, count = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS]), 0
    with ParquetWriter(path, schema) as writer:
        for rows in found:
            writer.write_table(arrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def verify(args):
    """Check the chain; returns the exit code."""
    from station.journal import Journal

    count = Journal(args.journal, write=False).verify()
    print(f"journal.py: {count} events, each as it was written")
    return FINE


def training(args):
    """Copy training parts; returns the exit code.

    Raises:
        InputError: there is none.
    """
    from station.calibration import training_parts
    from station.journal import Journal
    from station.store import files_in, store_of

    journal = Journal(args.journal)
    copied = 0
    for event in training_parts(journal, args.model):
        files = files_in(store_of(args.journal), event.number)
        if files is None:
            continue
        for kind, path in files._asdict().items():
            if path is not None:
                target = args.output / kind / f"{event.number}{path.suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        journal.append("role", {"role": "training"}, part=event.number, recipe=event.recipe)
        copied += 1
    if not copied:
        raise InputError(f"{args.model}: no kept part was reviewed as good that was not drawn for review")
    print(f"journal.py: {copied} parts in {args.output}", file=sys.stderr)
    return FINE


if __name__ == "__main__":
    run_to_the_end(main)
