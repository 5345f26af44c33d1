"""Measure the time that each sweep engine adds to a job.

All engines are measured in turn, --rounds times, so that a busy machine disturbs them equally. The table shows the
median, the smallest and the largest value over the rounds.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FINE, Parser, run_command
from sweeps.engines import ENGINES, driving, run
from sweeps.plan import plan

NOTHING = [sys.executable, "-c", "raise SystemExit(1)"]  # counts as failed, which takes an engine no extra time


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = Parser(prog="measure_sweeps.py", description=__doc__)
    parser.add_argument("--jobs", type=number(int, 2, 10**4), default=20, metavar="N", help="empty jobs per round")
    parser.add_argument(
        "--rounds", type=number(int, 1, 100), default=3, metavar="N", help="how often each engine is measured"
    )
    return run_command("measure_sweeps.py", parser.parse_args(argv), measure)


def measure(args):
    """Print the table of the seconds per job with each engine, one job at a time; returns the exit code."""
    options = {"method_name": "DINO", "device": "cpu", "category": "a"}
    grid = {"seed": list(range(args.jobs))}
    planned = plan({"options": options, "grid": grid, "resources": {"cpus": 1}}, "measured")
    engines = [name for name in ENGINES if name != "ray" or find_spec("ray")]
    bare, seconds, first = [], {name: [] for name in engines}, {name: [] for name in engines}
    for _ in range(args.rounds):
        begun = time.perf_counter()
        for job in planned.jobs:
            subprocess.run([*NOTHING, *job.words("out")])
        bare.append((time.perf_counter() - begun) / args.jobs)
        for name in engines:
            ends = timed(name, planned)
            first[name].append(ends[0])
            seconds[name].append((ends[-1] - ends[0]) / (args.jobs - 1) - bare[-1])
    rows = [["none: the bare command lines", shown(bare), ""]]
    rows += [[name, shown(seconds[name]), shown(first[name])] for name in engines]
    header = ["engine", "seconds per job, of engines without the job's own", "until the first job's end, s"]
    print(tabulate(rows, header, tablefmt="pipe", disable_numparse=True))
    return FINE


def timed(engine, planned):
    """[seconds from the start of the run to the end of each job]."""
    with tempfile.TemporaryDirectory() as folder, driving(Path(folder)):
        begun, ends = time.perf_counter(), []
        for _, outcome, _ in run(engine, planned, planned.jobs, folder, 1, NOTHING):
            if outcome is not None:
                ends.append(time.perf_counter() - begun)
        return ends


def shown(values):
    """Text with the median, the smallest and the largest value."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
