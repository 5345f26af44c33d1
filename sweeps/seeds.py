"""main.py --seeds: a serial sweep over seeds, one run of main.py per seed, and the table of means over the seeds."""

from pathlib import Path

import numpy as np
from tabulate import tabulate

from common.commands import FAILED, FINE, REFUSED
from common.errors import tell
from common.files import atomic_write_text
from common.progress import note
from runs.options import default_of, recorded_options
from runs.results import DIFFERENCE, TABLES, column_title, metrics_of, read_run, row_title, spread
from sweeps.jobs import STOPPED, run_job
from sweeps.plan import SweepJob, frozen

OWN = ("save_maps", "save_model")  # folders in which each seed has one of its own
LEFT_OUT = ("seeds", "preset")  # the preset's options stand in a job one by one


def run_seeds(args, program=None) -> int:
    """Do one run per seed of --seeds in a folder seed_<n>, and write seeds.md after each; returns the exit code: FINE;
    REFUSED if every seed was refused; else FAILED. ``program``: the words that start main.py; None: this project's."""
    out = Path(args.output_dir)
    jobs, codes, table = [seed_job(args, seed) for seed in dict.fromkeys(args.seeds)], {}, ""
    try:
        for job in jobs:
            note(f"seed {job.seed}:")
            outcome = run_job(job, out / job.name, program, {}, logged=False)
            if outcome.state == STOPPED:
                raise KeyboardInterrupt
            codes[job] = FAILED if outcome.exit_code is None else outcome.exit_code
            if outcome.exit_code not in (FINE, FAILED):
                why = " ".join(outcome.lines) or f"main.py ended with exit code {outcome.exit_code}"
                tell("main.py", f"seed {job.seed}: {why}")
            table = _write_table(args, codes) or table
    except KeyboardInterrupt:  # the running seed has written what it has
        left = [job for job in jobs if job not in codes]
        seeds = ", ".join(str(job.seed) for job in left)
        tell("main.py", f"interrupted; not finished: seed {seeds}; the same command goes on with them")
        codes.update(dict.fromkeys(left, FAILED))
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
    text = table_over_seeds(args.method_name, metrics) if metrics else ""
    try:
        if text:
            atomic_write_text(Path(args.output_dir) / "seeds.md", text)
        return text
    except OSError as error:
        tell("main.py", f"{args.output_dir}/seeds.md cannot be written: {error.strerror or error}")
        return ""


def table_over_seeds(method_name, metrics) -> str:
    """The text of seeds.md: the three tables as mean ± standard deviation over seeds; ``metrics``: {seed: {category:
    {scoring: Metrics}}}; a category counts if every seed has finished it."""
    seeds = list(metrics)
    categories = [c for c in metrics[seeds[0]] if all(c in metrics[seed] for seed in seeds)]
    texts = []
    for metric, (heading, _) in TABLES.items():
        rows, baseline = [], None
        for scoring in metrics[seeds[0]][categories[0]] if categories else ():
            values = [[getattr(metrics[seed][c][scoring], metric) for c in categories] for seed in seeds]
            columns = np.array(values, dtype=float)
            columns = np.column_stack([columns, columns.mean(1)])
            rows.append([row_title(method_name, scoring), *map(spread, columns.T)])
            if baseline is None:
                baseline = columns
            else:
                rows.append([DIFFERENCE, *(spread(column, "+.3f") for column in (columns - baseline).T)])
        texts.append(
            f"## {heading}, mean ± standard deviation over seeds {', '.join(map(str, seeds))}\n\n"
            + tabulate(rows, ["Method", *map(column_title, categories), "Mean"], tablefmt="pipe", disable_numparse=True)
            + f"\n\n{DIFFERENCE}: of the same seed, scoring minus baseline, then mean and standard deviation.\n"
            * (len(rows) > 1)
        )
    return "\n".join(texts)
