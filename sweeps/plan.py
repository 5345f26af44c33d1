"""The plan of a sweep: a YAML file (docs/sweeps.md) becomes jobs, each a command line of main.py with a folder of its
own.

A job is one category with one seed in one setting, a combination of the other options in the grid. The name of its
folder ends with a hash of the options that can change its result and of the paths of its data, as the file gives them.
So a sweep may grow, and finished jobs are found again.
"""

import contextlib
import io
import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import yaml

from common.errors import InputError
from data.names import CATEGORIES, same_name
from runs.flags import FLAGS
from runs.options import deciding_options, default_of, parse_arguments, recorded_options, run_id, short_hash
from runs.results import read_run

PARTS = {"options": dict, "grid": dict, "exclude": list, "resources": dict}
REFUSED = {
    "output_dir": "every job has its own folder below -o",
    "save_feature_path": "every job has its own folder below -o; save_feature: true is enough",
    "seeds": "a sweep has a job per seed; write seed in grid",
    "fit_only": "a sweep compares results of test parts",
    "overwrite": "a finished job is kept; remove its folder, or sweep into another one",
}
PLACE = ("dataset_path", "dataset_type", "checkpoint_dir", "fusion_module_path")  # neutral; name data or weights
AXES = ("category", "seed", "scoring")  # not part of a setting: columns of the tables, averaged over, rows
OUTPUTS = ("save_preds", "save_maps", "save_train_maps", "save_feature")
POSSIBLE = {  # of one job
    "gpus": lambda x: 0 <= x <= 1,  # main.py uses one at most
    "cpus": lambda x: isinstance(x, int) and x >= 1,
    "memory_gib": lambda x: x > 0,
}


class Resources(NamedTuple):
    """The resources that one job takes; None: not given."""

    gpus: float | None = None
    cpus: int | None = None
    memory_gib: float | None = None


class SweepJob(NamedTuple):
    """One command line of main.py, in a folder ``name``.

    Attributes:
        setting: ((option, value), ...) of the grid, without category, seed and scoring; values as in the file.
        options: ((option, value), ...) of the command line, without --output_dir.
    """

    name: str
    category: str
    seed: int
    setting: tuple
    options: tuple

    @property
    def title(self) -> str:
        """The job's title for people: category, seed and setting."""
        return " ".join([self.category, f"seed={self.seed}", *map(shown, self.setting)])

    def words(self, folder) -> list[str]:
        """Words of the command line after main.py, with ``folder`` as output."""
        options = dict(self.options)
        if options.get("save_maps") is True:
            options["save_maps"] = f"{folder}/maps"
        if options.get("save_feature"):
            options.setdefault("save_feature_path", f"{folder}/features")
        words = []
        for name, value in {**options, "output_dir": folder}.items():
            if value not in (None, ()) and value is not False:
                values = [] if value is True else value if isinstance(value, tuple) else [value]
                words += [f"--{name}", *map(str, values)]
        return words


class SweepPlan(NamedTuple):
    """A sweep: the options of all jobs, the jobs in the order in which they begin, the grid's settings in their order,
    what a job takes."""

    options: dict
    jobs: tuple
    settings: tuple
    resources: Resources

    @property
    def method_name(self) -> str:
        return self.options.get("method_name") or default_of("method_name")

    @property
    def on_gpu(self) -> bool:
        """Whether jobs may use a GPU."""
        return self.options.get("device") != "cpu" and self.resources.gpus != 0


def shown(pair: tuple[str, Any]) -> str:
    """Text "option=value" for a pair (option, value)."""
    option, value = pair
    if isinstance(value, (list, tuple)):
        value = "+".join(map(str, value))
    return f"{option}={'none' if value is None else str(value).lower() if isinstance(value, bool) else value}"


# ---------------------------------------------------------------- the file


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last value."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


def read(path) -> dict:
    """The content of a sweep file; raises InputError with the line where it is no YAML or has a key twice."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8-sig"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except yaml.YAMLError as error:
        where = f", line {mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else ""
        raise InputError(f"{path}{where}: no YAML: {getattr(error, 'problem', None) or error}") from None


def plan(content, name) -> SweepPlan:
    """The SweepPlan of a sweep file's content, as :func:`read` returns it; ``name``: of the file, for messages.
    Raises InputError: a key or value has no meaning, main.py would refuse a job, or no job is left."""
    try:
        options, grid, exclude, resources = _checked(content)
        grid = {"seed": [options.get("seed", 0)], **grid, "category": _categories(options, grid)}
        exclude = [{axis: str(v) if axis == "category" else v for axis, v in one.items()} for one in exclude]
        names = ["seed", *(axis for axis in grid if axis not in ("seed", "category")), "category"]  # slowest first
        jobs: dict[str, SweepJob] = {}
        for values in itertools.product(*(grid[axis] for axis in names)):
            chosen = dict(zip(names, values))
            if any(all(chosen[axis] == value for axis, value in one.items()) for one in exclude):
                continue
            job = _job(options, chosen)
            if job.name in jobs:
                raise InputError(f"grid: the job {job.title} is given twice")
            jobs[job.name] = job
        if not jobs:
            raise InputError("exclude leaves no job")
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    settings = tuple(dict.fromkeys(job.setting for job in jobs.values()))
    return SweepPlan(options, tuple(jobs.values()), settings, Resources(**resources))


def _checked(content):
    """The four parts of a file, as far as they can be checked without main.py's parser."""
    if not isinstance(content, dict):
        raise InputError(f"is not keys with values: {', '.join(PARTS)}")
    for key, value in content.items():
        if key not in PARTS:
            raise InputError(f"{key}: unknown key; known: {', '.join(PARTS)}")
        if not isinstance(value, (PARTS[key], type(None))):
            kind = "a list" if PARTS[key] is list else "keys with values"
            raise InputError(f"{key}: {value!r} is not {kind}")
    options, grid, exclude, resources = (content.get(key) or kind() for key, kind in PARTS.items())
    for part, of in (("options", options), ("grid", grid)):
        for option, value in of.items():
            wrong = _wrong_option(part, option, value, options)
            if wrong:
                raise InputError(f"{part}.{option}: {wrong}")
    for one in exclude:
        for option, value in one.items() if isinstance(one, dict) and one else [("", one)]:
            if option not in grid or value not in grid[option]:
                raise InputError(f"exclude.{option}: {value!r} is no value in grid, so nothing would be left out")
    for key, value in resources.items():
        if key not in POSSIBLE:
            raise InputError(f"resources.{key}: unknown key; known: {', '.join(POSSIBLE)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not POSSIBLE[key](value):
            raise InputError(f"resources.{key}: {value!r} is not possible for one job")
    return options, grid, exclude, resources


def _wrong_option(part, option, value, options):
    """What is wrong with an option of the file that main.py's parser would not find, or would tell less clearly."""
    if option in REFUSED:
        return f"not here: {REFUSED[option]}"
    if option not in FLAGS:
        return "unknown option; main.py --help_all lists them"
    if option == "save_maps":
        told = f"{value!r} is not true or false; maps lie in the job's folder"
        return "belongs to options" if part == "grid" else None if isinstance(value, bool) else told
    if part == "grid" and option in options:
        return "stands in options, too; keep one"
    if part == "grid" and (not isinstance(value, list) or not value):
        return f"{value!r} is not a list of values"
    return None


def _categories(options, grid):
    """The categories of the jobs: the grid's, else the options', else the data set's official list."""
    names = grid.get("category", options.get("category"))
    if names is None:
        dataset = options.get("dataset_type", default_of("dataset_type"))
        if "dataset_type" in grid or dataset not in CATEGORIES:
            raise InputError("grid.category is missing: list the categories")
        names = CATEGORIES[dataset]
    names = [str(one) for one in (names if isinstance(names, (list, tuple)) else [names])]
    alike = [one for one in names if [same_name(other) for other in names].count(same_name(one)) > 1]
    if alike:
        raise InputError(f"category: {', '.join(alike)} are one category")
    return names


def _job(options, chosen):
    """The SweepJob of a combination of the grid: {option: value}."""
    options = {name: value for name, value in {**options, **chosen}.items() if value is not None and value is not False}
    category, title = chosen["category"], ", ".join(map(shown, chosen.items()))
    setting = tuple((option, frozen(value)) for option, value in chosen.items() if option not in AXES)
    job = SweepJob("", category, 0, setting, tuple((option, frozen(value)) for option, value in options.items()))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parsed = parse_arguments(job.words("job"))
    except SystemExit:
        text = said.getvalue().strip().replace("main.py: error: ", "").replace(" (--help lists the flags)", "")
        raise InputError(f"main.py would refuse {title}: {text}") from None
    place = {option: options.get(option) for option in PLACE}
    digest = short_hash([deciding_options(recorded_options(parsed)), place, same_name(category)], 8)
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", category)[:60].strip("-") or "category"
    # without words of the grid, which may get more axes
    return job._replace(name=f"{slug}-seed{parsed.seed}-{digest}", seed=parsed.seed)


def frozen(value):
    """``value``, a list as a tuple, so that a job can be a key."""
    return tuple(value) if isinstance(value, list) else value


# ---------------------------------------------------------------- what is finished


def job_folder(out, job: SweepJob) -> Path:
    """Where a job's files lie."""
    return Path(out) / "jobs" / job.name


def finished(folder, job: SweepJob) -> dict | None:
    """The run.json in a job's ``folder`` if main.py has finished the job with all outputs asked for now; else None. The
    run's id, computed again from the job's options and the record's weights, must be that of the record."""
    folder = Path(folder)
    try:
        record = read_run(folder)
        parsed, category = parse_arguments(job.words(folder)), category_of(record, job)
        weights = [SimpleNamespace(**file) for file in record["weights"]]
        done = (
            not record["failed"]
            and "metrics" in record["categories"][category]
            and record["id"] == run_id(deciding_options(recorded_options(parsed)), weights)
            and all(record["options"].get(name) for name in OUTPUTS if getattr(parsed, name))
        )
    except (StopIteration, KeyError, TypeError, AttributeError):  # missing, incomplete, or from elsewhere
        return None
    return record if done and (folder / f"scores_{category}.csv").is_file() else None


def category_of(record: dict, job: SweepJob) -> str:
    """The job's category in the spelling of its record and files."""
    return next(name for name in record["categories"] if same_name(name) == same_name(job.category))
