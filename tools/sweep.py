"""Run a sweep: categories × seeds × settings, each job a main.py command line with a folder of its own.

    python tools/sweep.py sweep.yaml -o results/sweep           # plan, run, make tables
    python tools/sweep.py sweep.yaml -o ... --engine processes  # several jobs at a time
    python tools/sweep.py sweep.yaml -o ... --engine ray        # on a Ray cluster
    python tools/sweep.py sweep.yaml -o ... --print             # command lines for a scheduler
    python tools/sweep.py status results/sweep                  # show the state of the jobs
    python tools/sweep.py tables results/sweep                  # tables of finished jobs

The same command continues after a stop: finished jobs are kept. docs/sweeps.md describes the sweep file.
"""

import json
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import Parser
from common.errors import InputError
from common.files import atomic_write_text, check_writable, remove_leftovers
from common.progress import duration, note, quietly
from common.signals import first_signal_stops, run_to_the_end
from sweeps.engines import ENGINES, PROGRAM, run
from sweeps.file import check, read
from sweeps.jobs import DONE, FAILED, LOG, RUNNING, Ended, state_of
from sweeps.lock import DriverLock, driver_alive
from sweeps.maps import link_maps, resample, resample_side_by_side
from sweeps.plan import finished, job_folder, plan, shell_line
from sweeps.results import gather
from sweeps.show import Show, ended_lines
from sweeps.tables import FILES, write_tables

FINE, SOME_FAILED, REFUSED = 0, 1, 2
PLAN = "sweep.json"


def main(argv=None, program=PROGRAM):
    """Run the command line; returns the exit code: 0 fine, 1 a job failed or is not finished, 2 refused before work.

    Args:
        program: the main.py that the jobs run.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {"status": show_status, "tables": make_tables}
    if words and words[0] in commands:
        args, work = folder_parser(words[0]).parse_args(words[1:]), commands[words[0]]
    else:
        args, work = build_parser().parse_args(words), partial(sweep, program=program)
    with quietly(args.quiet), first_signal_stops("sweep.py"):
        try:
            return work(args)
        except InputError as error:
            print(f"sweep.py: {error}", file=sys.stderr)
            return REFUSED
        except OSError as error:
            print(
                f"sweep.py: {error.filename or 'the folder of the sweep'}: {error.strerror or error}; what is "
                f"finished is kept, the same command continues",
                file=sys.stderr,
            )
            return SOME_FAILED
        except KeyboardInterrupt:
            print("sweep.py: stopped", file=sys.stderr)
            return SOME_FAILED


def build_parser():
    """The argument parser of the command that runs a sweep."""
    parser = Parser(prog="sweep.py", description=__doc__)
    parser.add_argument("file", help="the sweep, YAML")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the sweep's folder; jobs lie in OUT/jobs")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="serial",
        help="serial (default): one job at a time; processes: several on this machine; ray: a cluster",
    )
    parser.add_argument(
        "--workers",
        type=number(int, 1, 10**5),
        metavar="N",
        help="jobs at a time (default: what resources in the file allow)",
    )
    parser.add_argument("--print", action="store_true", help="print the jobs' command lines and run none")
    parser.add_argument(
        "--recheck",
        action="store_true",
        help="start finished jobs, too: main.py keeps what is unchanged and computes anew where data "
        "or weights have changed",
    )
    return parser


def folder_parser(command):
    parser = Parser(prog=f"sweep.py {command}")
    parser.add_argument("folder", metavar="OUT", help="the sweep's folder")
    return parser


# ---------------------------------------------------------------- run


def sweep(args, program):
    """Plan and run a sweep, and make its tables; returns the exit code."""
    planned, out = plan(read(args.file)), Path(args.output).resolve()
    check_writable(out)
    if args.print:
        write_plan(out, planned)
        for job in planned.jobs:
            print(shell_line([sys.executable, str(program), *job.words(job_folder(out, job))]))
        return FINE
    with DriverLock(out).lock():
        remove_leftovers(out)
        write_plan(out, planned)
        scoring = planned.file.grid.get("scoring", ())
        if len(scoring) > 1:
            note(
                "note: scoring stands in grid, so every scoring's features are computed on their own; in options, as "
                "a list, all scorings come from one pass"
            )
        todo = [job for job in planned.jobs if args.recheck or finished(out, job) is None]
        interrupted, ended = run_jobs(planned, todo, out, args, program)
        text, _ = tables(out, planned, interrupted)
    print(f"\n{text}", flush=True)
    note(f"{', '.join(FILES)} are in {out}")
    return conclude(planned, out, interrupted, ended)


def run_jobs(planned, todo, out, args, program):
    """Run the jobs and show them; returns (whether the user stopped it, [Ended])."""
    ended = []
    events = run(args.engine, planned, todo, out, args.workers, program)
    with Show(out, len(planned.jobs), len(planned.jobs) - len(todo), args.quiet) as show:
        try:
            for event in events:
                show.event(event)
                if isinstance(event, Ended) and not event.again:
                    ended.append(event)
        except KeyboardInterrupt:
            return True, ended
        finally:
            events.close()
    return False, ended


def tables(out, planned, stopped=False):
    """Write the tables and the figure of the finished jobs; returns (the text of tables.md, Gathered). ``stopped``:
    compute no new resamples, since the user wants an end."""
    if not stopped:
        resample_side_by_side(out, planned)
    gathered = gather(out, planned, partial(resample, stopped=stopped))
    text = write_tables(out, planned, gathered)
    try:
        link_maps(out, planned)
    except OSError as error:
        print(
            f"sweep.py: {error.filename or out / 'maps'}: the maps cannot be linked ({error.strerror or error}); "
            f"they lie in the jobs' folders",
            file=sys.stderr,
        )
    return text, gathered


def conclude(planned, out, interrupted, ended):
    """Print the jobs that are not finished; returns the exit code."""
    left = [job for job in planned.jobs if finished(out, job) is None]
    failed = [event for event in ended if event.outcome.state == FAILED]
    for event in failed:
        first, *lines = ended_lines(out, event)
        print(f"not finished: {first}", *lines, sep="\n", file=sys.stderr)
    if interrupted:
        print(
            f"sweep.py: stopped by the user; {len(left)} of {len(planned.jobs)} jobs are not finished; the same "
            f"command continues",
            file=sys.stderr,
        )
    if len(left) == len(planned.jobs) == len(failed) and all(e.outcome.exit_code in (None, REFUSED) for e in failed):
        return REFUSED
    return SOME_FAILED if left or failed else FINE


def write_plan(out, planned):
    """Write the checked sweep file into ``out``, for ``status`` and ``tables``."""
    atomic_write_text(out / PLAN, json.dumps(planned.file.content(), indent=2) + "\n")


def read_plan(out):
    """The Plan of a sweep's folder.

    Raises:
        InputError: the folder holds no plan.
    """
    path = Path(out) / PLAN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); give the folder that "
            f"was -o of a sweep"
        ) from None
    return plan(check(content, str(path)))


# ---------------------------------------------------------------- subcommands


def make_tables(args):
    """Make tables and figure of the finished jobs; returns the exit code: 1 if jobs are not finished."""
    out = Path(args.folder).resolve()
    planned = read_plan(out)
    text, gathered = tables(out, planned)
    print(f"{text}\n{', '.join(FILES)} are in {out}", flush=True)
    return FINE if gathered.done == gathered.jobs else SOME_FAILED


def show_status(args):
    """Print one line per job with its state, and the last lines of failed jobs; returns the exit code: 1 if jobs are
    not finished."""
    out = Path(args.folder).resolve()
    planned, lives = read_plan(out), driver_alive(out)
    found = [(job, *state_of(out, job, lives)) for job in planned.jobs]
    rows, counts = [], Counter(state for _, state, _ in found)
    for job, state, known in found:
        known = known or {}
        seconds = time.time() - known["begun"] if state == RUNNING and "begun" in known else known.get("seconds")
        rows.append([state, job.title, "" if seconds is None else duration(seconds), known.get("host") or "", job.name])
    print(tabulate(rows, ["state", "job", "time", "host", "folder"], tablefmt="simple", disable_numparse=True))
    for job, state, known in found:
        if state == FAILED:
            print(
                f"\n{job.title}: exit code {known['exit_code']}; {job_folder(out, job) / LOG} ends with:",
                *(f"    {line}" for line in known["lines"]),
                sep="\n",
            )
    print(
        "\n" + ", ".join(f"{count} {state}" for state, count in counts.items()) + ("" if lives else "; no driver runs")
    )
    return FINE if counts[DONE] == len(planned.jobs) else SOME_FAILED


if __name__ == "__main__":
    run_to_the_end(main)
