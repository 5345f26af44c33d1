"""Run a sweep: categories × seeds × settings, each job a main.py command line with a folder of its own.

    python tools/sweep.py sweep.yaml -o results/sweep           # plan, run, make tables
    python tools/sweep.py sweep.yaml -o ... --engine processes  # several jobs at a time
    python tools/sweep.py sweep.yaml -o ... --engine ray        # on a Ray cluster
    python tools/sweep.py sweep.yaml -o ... --only_tables       # of the jobs that are finished

The same command continues after a stop: finished jobs are kept. docs/sweeps.md describes the sweep file.
"""

from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FAILED as SOME_FAILED
from common.commands import FINE, REFUSED, Parser, prose_and_examples, run_command
from common.errors import tell
from common.files import check_writable, remove_leftovers
from common.locks import hold
from common.progress import duration, note
from common.signals import run_to_the_end
from sweeps.engines import ENGINES, LOCK, run
from sweeps.jobs import DONE, FAILED, LOG
from sweeps.plan import finished, job_folder, plan, read
from sweeps.results import gather, link_maps
from sweeps.tables import FILE, write_tables

CONTINUES = "stopped; what is finished is kept, the same command continues"


def main(argv=None, program=None):
    """Run the command line; returns the exit code: 0 fine, 1 a job failed or is not finished, 2 refused before work.
    ``program``: the words that start the jobs' main.py; None: this project's."""
    args = build_parser().parse_args(argv)
    return run_command("sweep.py", args, lambda args: sweep(args, program), CONTINUES)


def build_parser():
    """The argument parser."""
    prose, examples = prose_and_examples(__doc__)
    parser = Parser(prog="sweep.py", description=prose, epilog=examples)
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
    parser.add_argument("--only_tables", action="store_true", help="run nothing: tables of the jobs that are finished")
    return parser


def sweep(args, program):
    """Plan and run a sweep, and make its tables; returns the exit code."""
    planned, out = plan(read(args.file), args.file), Path(args.output).resolve()
    check_writable(out)
    if args.only_tables:
        failed, stopped = {}, False
        done = tables(out, planned)
    else:
        with hold(out / LOCK, lambda who: f"{out}: this sweep is being run by {who}; wait for it, or stop it"):
            remove_leftovers(out)
            failed, stopped = run_jobs(args, planned, out, program)
            done = tables(out, planned)
    for job, outcome in failed.items():
        tell("sweep.py", f"not finished: {_ended(out, job, outcome)}")
    jobs = len(planned.jobs)
    left = jobs - done
    if stopped:
        tell("sweep.py", f"stopped by the user; {left} of {jobs} jobs are not finished; the same command continues")
    if len(failed) == jobs and all(outcome.exit_code in (None, REFUSED) for outcome in failed.values()):
        return REFUSED
    return SOME_FAILED if left or failed else FINE


def run_jobs(args, planned, out, program):
    """Run the jobs that are not finished, and print a line for each that ends; returns ({failed job: Outcome}, whether
    the user stopped)."""
    todo = [job for job in planned.jobs if finished(job_folder(out, job), job) is None]
    failed, count = {}, len(planned.jobs) - len(todo)

    def ended(job, outcome):
        nonlocal count
        count += 1
        note(f"[{count} of {len(planned.jobs)}] {_ended(out, job, outcome)}")
        if outcome.state == FAILED:
            failed[job] = outcome

    try:
        run(args.engine, planned, todo, out, ended, args.workers, program)
    except KeyboardInterrupt:
        return failed, True
    return failed, False


def _ended(out, job, outcome):
    """Text on how a job ended; for a job that is not done with its last lines of output."""
    if outcome.state == DONE:
        return f"{job.title}: done in {duration(outcome.seconds)}"
    code = outcome.exit_code
    how = "not begun" if code is None else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    where = f" on {outcome.host}" if outcome.host else ""
    log = f"{job_folder(out, job) / LOG} ends with:"
    text = f"{job.title}: {outcome.state} after {duration(outcome.seconds)} ({how}{where}); {log}"
    return "\n".join([text, *(f"    {line}" for line in outcome.lines)])


def tables(out, planned):
    """Write and print the tables of the finished jobs, and link their maps; returns their number."""
    results = gather(out, planned)
    print(f"\n{write_tables(out, planned, results)}", flush=True)
    note(f"{FILE} is in {out}")
    try:
        link_maps(out, results.done)
    except OSError as error:
        tell("sweep.py", f"{error.filename or out / 'maps'}: maps cannot be linked ({error.strerror or error})")
    return len(results.done)


if __name__ == "__main__":
    run_to_the_end(main)
