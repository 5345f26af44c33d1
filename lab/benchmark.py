"""Measure speed and memory against plain implementations in the same run; exit code 1 if a target is missed.

    python lab/benchmark.py --quick     # the rows that take under a minute
    python lab/benchmark.py             # all rows, about half an hour on two cores

It prints a table and writes a JSON file. Parts are generated. Weights are untrained stand-ins, unless --checkpoint_dir
names others. Both take as long as real ones.
"""

import json
import platform
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Callable, NamedTuple

import torch
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, run_command
from common.files import atomic_write_text, check_writable
from common.machine import environment
from common.progress import note
from lab import benchmark_model as model
from lab import benchmark_rows as rows
from lab.benchmark_shared import Bench


class Row(NamedTuple):
    run: Callable
    quick: bool


ROWS = {
    "extraction": Row(rows.extraction, True),
    "extraction_train": Row(rows.extraction_train, True),
    "nearest_random": Row(rows.nearest_random, True),
    "large_bank": Row(rows.large_bank, False),
    "nearest_features": Row(rows.nearest_features, False),
    "k_center": Row(rows.k_center, False),
    "full_eval": Row(lambda bench: rows.full_setting(bench, ("--eval_mode",), 4), False),
    "full_train": Row(lambda bench: rows.full_setting(bench, (), 2), False),
    "memory": Row(rows.memory, False),
    "fit_cost": Row(rows.fit_cost, False),
    "model_load": Row(model.model_load, False),
    "one_part": Row(model.one_part, False),
    "model_search": Row(model.model_search, False),
    "spared": Row(model.spared, False),
    "folder": Row(model.folder, False),
    "loaded_memory": Row(model.loaded_memory, False),
}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all targets met, 1 a target missed or a row failed, 2 refused."""
    parser = Parser(prog="benchmark.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the rows that take under a minute")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="only these: " + ", ".join(ROWS))
    parser.add_argument(
        "--rounds",
        type=number(int, 1, 1000),
        default=5,
        metavar="N",
        help="rounds of the quick rows; their median is shown",
    )
    parser.add_argument(
        "--checkpoint_dir",
        metavar="DIR",
        help="checkpoints, uff_pretrain.pth among them (default: stand-ins, written for the run)",
    )
    add_device(parser)
    parser.add_argument("-o", "--output", default="results/benchmark.json", metavar="FILE", help="JSON file")
    options = parser.parse_args(argv)
    return run_command("benchmark.py", options, run_rows)


def run_rows(options):
    """Measure the rows that the options choose, print and write them; returns the exit code."""
    chosen = options.rows or [name for name, row in ROWS.items() if row.quick or not options.quick]
    figures, failed = [], []
    check_writable(Path(options.output).parent)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=Path(options.output).parent) as folder:
        bench = Bench(folder, options.checkpoint_dir, options.device, options.rounds)
        for name in chosen:
            note(f"{name} ...")
            try:
                figures += ROWS[name].run(bench)
            except Exception as error:  # one failed row must not lose the finished ones
                traceback.print_exc()
                failed.append(name)
                print(f"benchmark.py: row {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
            write(options, bench, figures, failed)
    lines = [(f.what, f"{f.value:.2f} {f.unit}", f.target, f.verdict, f.note) for f in figures]
    print(
        f"\n{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}, device {bench.device}; "
        f"median of {options.rounds} rounds where nothing else is said\n"
    )
    print(tabulate(lines, ["what", "measured", "target", "verdict", "note"], tablefmt="pipe", disable_numparse=True))
    return int(bool(failed) or any(f.verdict in ("missed", "WRONG RESULT") for f in figures))


def write(options, bench, figures, failed):
    """Write the JSON file of the rows that are finished."""
    record = {
        "versions": environment(),
        "threads": torch.get_num_threads(),
        "device": str(bench.device),
        "rounds": options.rounds,
        "failed": failed,
        "rows": [{**f._asdict(), "verdict": f.verdict} for f in figures],
    }
    atomic_write_text(options.output, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
