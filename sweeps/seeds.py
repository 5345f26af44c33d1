"""main.py --seeds: a serial sweep over seeds, one run of main.py per seed, and the table of means over the seeds."""

from pathlib import Path

from common.commands import FAILED, FINE, REFUSED
from common.errors import tell
from common.progress import note
from runs.options import default_of, recorded_options
from runs.results import metrics_of, read_run, write_seeds
from sweeps.engines import run_here
from sweeps.jobs import main_command
from sweeps.plan import SweepJob, frozen

OWN = ("save_maps", "save_model")  # folders in which each seed has one of its own
LEFT_OUT = ("seeds", "preset")  # the preset's options stand in a job one by one


def run_seeds(args, program=None) -> int:
    """Do one run per seed of --seeds, each in a folder seed_<n> of its own, and write seeds.md after each.

    Args:
        args: options as ``runs.options.parse_arguments`` returns them.
        program: the words that start main.py; None: this project's.

    Returns:
        The exit code: FINE; REFUSED if every seed was refused before any work; else FAILED.
    """
    out = Path(args.output_dir)
    jobs, codes, table = [seed_job(args, seed) for seed in dict.fromkeys(args.seeds)], {}, ""
    events = run_here(
        [{}], jobs, program or main_command(), lambda job: out / job.name, lambda _: out / "examination.json", False
    )
    try:
        for job, outcome, again in events:
            if outcome is None:
                note(f"seed {job.seed}:")
            elif not again:
                codes[job] = FAILED if outcome.exit_code is None else outcome.exit_code
                if outcome.exit_code not in (FINE, FAILED):
                    why = " ".join(outcome.lines) or f"main.py ended with exit code {outcome.exit_code}"
                    tell("main.py", f"seed {job.seed}: {why}")
                table = _write_table(args, codes) or table
    except KeyboardInterrupt:
        events.close()  # the running seed writes what it has
        left = [str(job.seed) for job in jobs if job not in codes]
        tell("main.py", f"interrupted; not finished: seed {', '.join(left)}; the same command goes on with them")
        codes.update(dict.fromkeys((job for job in jobs if job not in codes), FAILED))
        table = _write_table(args, codes) or table
    if table:
        print("\n" + table, flush=True)
    return REFUSED if set(codes.values()) == {REFUSED} else FAILED if any(codes.values()) else FINE


def seed_job(args, seed) -> SweepJob:
    """The SweepJob of one seed: the same options, with its own seed and folders."""
    options = {
        name: frozen(value)
        for name, value in recorded_options(args).items()
        if name not in LEFT_OUT and (value != default_of(name, args.method_name) or name == "save_feature_path")
    }
    own = {name: f"{options[name]}/seed_{seed}" for name in OWN if options.get(name)}
    return SweepJob(f"seed_{seed}", "", seed, (), tuple({**options, **own, "seed": seed}.items()))


def _write_table(args, jobs):
    """Write seeds.md from what the jobs have finished, and return it; "" if there is nothing, or it cannot be
    written."""
    metrics = {}
    for job in jobs:
        folder = Path(args.output_dir) / job.name
        record = read_run(folder)
        if record.get("command") == job.words(folder):  # else an earlier command left it
            found = {name: metrics_of(of) for name, of in record["categories"].items() if of["metrics"]}
            metrics.update({job.seed: found} if found else {})
    try:
        return write_seeds(args.output_dir, args.method_name, metrics) if metrics else ""
    except OSError as error:
        tell("main.py", f"{args.output_dir}/seeds.md cannot be written: {error.strerror or error}")
        return ""
