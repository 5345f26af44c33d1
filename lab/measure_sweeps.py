"""Measure the time that each sweep engine adds, and the speed-up of two jobs side by side.

    python lab/measure_sweeps.py                     # seconds per job that each engine adds
    python lab/measure_sweeps.py --sweep sweep.yaml  # 2 workers against 1 with 2 threads

All ways are measured in turn, --rounds times, so that a busy machine disturbs them equally. The table shows the median,
the smallest and the largest value over the rounds.
"""

import json
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
from common.errors import InputError
from sweeps.engines import ENGINES, PROGRAM, run
from sweeps.file import check, read
from sweeps.jobs import DONE, Ended
from sweeps.plan import plan

NOTHING = "raise SystemExit(1)\n"  # a job that does nothing; it counts as failed, which takes an engine no extra time


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = Parser(prog="measure_sweeps.py", description=__doc__)
    parser.add_argument("--sweep", metavar="FILE", help="a sweep file whose jobs are really computed")
    parser.add_argument("--jobs", type=number(int, 1, 10**4), default=20, metavar="N", help="empty jobs a round")
    parser.add_argument(
        "--rounds", type=number(int, 1, 100), default=3, metavar="N", help="how often each way is measured"
    )
    return run_command("measure_sweeps.py", parser.parse_args(argv), measure)


def measure(args):
    """Print the table that the options ask for; returns the exit code."""
    print(speed_up(args) if args.sweep else overhead(args))
    return FINE


def overhead(args):
    """Table of the seconds per job with each engine, one job at a time."""
    engines = [name for name in ENGINES if name != "ray" or find_spec("ray")]
    options = {"method_name": "DINO", "device": "cpu", "category": "a"}
    grid = {"seed": list(range(args.jobs))}
    planned = plan(check({"options": options, "grid": grid, "resources": {"cpus": 1}}, "measured"))
    seconds = {"no engine": [], **{name: [] for name in engines}}
    first = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "main.py"
        program.write_text(NOTHING)
        for _ in range(args.rounds):
            begun = time.perf_counter()
            for job in planned.jobs:
                subprocess.run([sys.executable, program, *job.words(folder)], stdout=subprocess.DEVNULL)
            seconds["no engine"].append((time.perf_counter() - begun) / args.jobs)
            for name in engines:
                ends = timed(name, planned, folder, 1, program)
                first[name].append(ends[0])
                seconds[name].append((ends[-1] - ends[0]) / max(1, args.jobs - 1))
    bare = seconds["no engine"]
    rows = [
        [
            name,
            shown(values),
            shown([v - b for v, b in zip(values, bare)]) if name in first else "",
            shown(first[name]) if name in first else "",
        ]
        for name, values in seconds.items()
    ]
    return tabulate(
        rows,
        ["engine", "seconds per job", "of which engine", "until the first job's end, s"],
        tablefmt="pipe",
        disable_numparse=True,
    )


def speed_up(args):
    """Table of the sweep's seconds in both ways, and their ratio."""
    content = read(args.sweep).content()
    ways = {"1 worker × 2 threads": (1, 2), "2 workers × 1 thread": (2, 1)}
    seconds = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, (workers, threads) in ways.items():
            planned = plan(check({**content, "resources": {**content["resources"], "cpus": threads}}, args.sweep))
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(timed("processes", planned, folder, workers, PROGRAM, finish=True)[-1])
    first, second = seconds.values()
    rows = [
        *([name, shown(values)] for name, values in seconds.items()),
        ["speed-up", shown([a / b for a, b in zip(first, second)])],
    ]
    return f"{json.dumps(content)}\n\n" + tabulate(rows, ["way", "s"], tablefmt="pipe", disable_numparse=True)


def timed(engine, planned, folder, workers, program, finish=False):
    """[seconds from the start of the run to the end of each job]. ``finish``: raise InputError if a job fails."""
    begun, ends = time.perf_counter(), []
    for event in run(engine, planned, planned.jobs, folder, workers, program):
        if isinstance(event, Ended):
            ends.append(time.perf_counter() - begun)
            if finish and event.outcome.state != DONE:
                raise InputError(f"{event.job.title} failed: {' | '.join(event.outcome.lines)}")
    return ends


def shown(values):
    """Text with the median, the smallest and the largest value."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    sys.exit(main())
