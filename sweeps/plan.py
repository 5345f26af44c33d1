"""The plan of a sweep: the jobs that a sweep file describes, and the command line and folder of each.

A job is one category with one seed in one setting. A setting is a combination of the other options in the grid. The
name of a job's folder ends with a hash of the options that can change its result and of the paths of its data, as the
file gives them. So a sweep may grow, and finished jobs are found again. Paths that depend on the host are written as
${NAME} in the file; they are filled in where the job runs.

    <OUT>/sweep.json               the checked sweep file
    <OUT>/jobs/<job>/              what main.py writes
    <OUT>/jobs/<job>/maps/         with save_maps: true
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from common.errors import InputError
from data.names import CATEGORIES, same_name
from runs.options import deciding_options, default_of, parse_arguments, recorded_options
from runs.runs import run_id
from sweeps.file import Resources, SweepFile, same

PLACE = ("dataset_path", "dataset_type", "checkpoint_dir", "fusion_module_path")  # neutral; name data or weights
AXES = ("category", "seed", "scoring")  # not part of a setting: columns of the tables, averaged over, rows
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Job(NamedTuple):
    """One command line of main.py.

    Attributes:
        name: name of its folder in OUT/jobs.
        category, seed: its category and seed.
        setting: ((option, value), ...) of the grid, without category, seed and scoring; values as in the file.
        options: ((option, value), ...) of the command line, without --output_dir; ${NAME} is not filled in.
    """

    name: str
    category: str
    seed: int
    setting: tuple
    options: tuple

    @property
    def title(self):
        """The job's title for people: category, seed and setting."""
        return " ".join([self.category, f"seed={self.seed}", *map(shown, self.setting)])

    def words(self, folder):
        """Words of the command line after main.py, with ``folder`` as output; ${NAME} is not filled in."""
        found = []
        for option, value in self.options:
            if option == "save_maps":
                found += ["--save_maps", f"{folder}/maps"] if value else []
            elif value is True:
                found.append(f"--{option}")
            elif value is not False and value is not None:
                found += [f"--{option}", *map(str, value if isinstance(value, (list, tuple)) else [value])]
        if dict(self.options).get("save_feature"):
            found += ["--save_feature_path", f"{folder}/features"]
        return [*found, "--output_dir", str(folder)]


class Plan(NamedTuple):
    """A sweep: its file, its jobs in the order in which they begin, the grid's settings in their order."""

    file: SweepFile
    jobs: tuple
    settings: tuple

    @property
    def resources(self) -> Resources:
        return self.file.resources

    @property
    def method_name(self):
        return self.file.options.get("method_name") or default_of("method_name")

    @property
    def on_gpu(self):
        """Whether jobs may use a GPU."""
        return self.file.options.get("device") != "cpu" and self.resources.gpus != 0


def shown(pair):
    """Text "option=value" for a pair (option, value)."""
    option, value = pair
    if isinstance(value, (list, tuple)):
        value = "+".join(map(str, value))
    return f"{option}={'none' if value is None else str(value).lower() if isinstance(value, bool) else value}"


def plan(file):
    """The Plan of a SweepFile.

    Raises:
        InputError: no job is left, main.py would refuse a job's options, or the file does not name the categories.
    """
    grid = {"category": _categories(file), "seed": [file.options.get("seed", 0)], **file.grid}
    fixed = {name: value for name, value in file.options.items() if name not in grid}
    names = ["seed", *(name for name in grid if name not in ("seed", "category")), "category"]  # slowest first
    jobs, settings = {}, {}
    for values in itertools.product(*(grid[name] for name in names)):
        chosen = dict(zip(names, values))
        if any(all(same(chosen[name], value) for name, value in combination.items()) for combination in file.exclude):
            continue
        job = _job(file, fixed, chosen)
        if job.name in jobs:
            raise InputError(f"{file.line('grid')}: the job {job.title} is given twice")
        jobs[job.name] = job
        settings[job.setting] = None
    if not jobs:
        raise InputError(f"{file.line('exclude')}: exclude leaves no job")
    return Plan(file, tuple(jobs.values()), tuple(settings))


def _categories(file):
    """The categories of the jobs: the grid's, else the options', else the data set's official list."""
    if "category" in file.grid:
        names = file.grid["category"]
    else:
        names = file.options.get("category")
        names = [names] if isinstance(names, (str, int)) else names
    if names is None:
        dataset = file.options.get("dataset_type", default_of("dataset_type"))
        if "dataset_type" in file.grid or dataset not in CATEGORIES:
            raise InputError(f"{file.line('grid')}: grid.category is missing: list the categories")
        names = list(CATEGORIES[dataset])
    alike = [name for name in names if [same_name(str(other)) for other in names].count(same_name(str(name))) > 1]
    if alike:
        raise InputError(f"{file.line('grid', 'category')}: category: {', '.join(map(str, alike))} are one category")
    return [str(name) for name in names]


def _job(file, fixed, chosen):
    options = {**fixed, **chosen, "category": str(chosen["category"])}
    options = {name: value for name, value in options.items() if value is not None and value is not False}
    title = ", ".join(map(shown, chosen.items()))
    parsed = _parsed(file, options, chosen, title)
    deciding = deciding_options(recorded_options(parsed))
    place = {name: options.get(name) for name in PLACE}
    text = json.dumps([deciding, place, same_name(options["category"])], sort_keys=True, default=str)
    setting = tuple((name, _frozen(value)) for name, value in chosen.items() if name not in AXES)
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", options["category"])[:60].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    name = f"{slug or 'category'}-seed{parsed.seed}-{digest}"  # without words of the grid, which may get more axes
    return Job(
        name,
        options["category"],
        parsed.seed,
        setting,
        tuple((name, _frozen(value)) for name, value in options.items()),
    )


def _parsed(file, options, chosen, title):
    """The job's options as main.py parses them; raises InputError with the file's line if main.py would refuse them."""
    job = Job("", options["category"], 0, (), tuple(options.items()))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse_arguments(job.words("job"))
    except SystemExit:
        text = said.getvalue().strip().replace("main.py: error: ", "").replace(" (--help lists the flags)", "")
        named = re.search(r"--([a-z_]+)", text)
        option = named[1] if named else ""
        where = ("options", option) if option in file.options else ("grid", option)
        raise InputError(f"{file.line(*where)}: main.py would refuse {title}: {text}") from None


def _frozen(value):
    return tuple(value) if isinstance(value, list) else value


# ---------------------------------------------------------------- host-dependent words, command lines for a shell


def fill_in(words, environment=None):
    """``words`` with every ${NAME} replaced by the environment's value.

    Raises:
        InputError: a variable is not set here.
    """
    environment = os.environ if environment is None else environment
    for name in variables(words):
        if not environment.get(name):
            raise InputError(f"the sweep file uses ${{{name}}}, and {name} is not set here; export {name}=...")
    return [VARIABLE.sub(lambda match: environment[match[1]], word) for word in words]


def variables(words):
    """The names in ${NAME} that occur in ``words``, each once."""
    return list(dict.fromkeys(name for word in words for name in VARIABLE.findall(word)))


def shell_line(words):
    """``words`` as one line for a POSIX shell, which fills in ${NAME} when it runs the line."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word):
    if not VARIABLE.search(word):
        return shlex.quote(word)
    parts = VARIABLE.split(word)  # text, name, text, name, ..., text
    texts = [re.sub(r'([\\"$`])', r"\\\1", text) for text in parts[::2]]
    return (
        '"'
        + "".join(text + (f"${{{name}}}" if name else "") for text, name in itertools.zip_longest(texts, parts[1::2]))
        + '"'
    )


# ---------------------------------------------------------------- what is finished


def job_folder(out, job):
    """Where a job's files lie."""
    return Path(out) / "jobs" / job.name


def finished(out, job):
    """The run.json (a dict) of a job that main.py has finished with all outputs asked for now; None otherwise.

    The run's id is computed again, from the job's options and the record's weights, and must be that of the record.
    """
    return finished_record(job_folder(out, job), job)


def finished_record(folder, job):
    """As :func:`finished`, for a job's files in any folder."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        weights = [SimpleNamespace(**file) for file in record["weights"]]
        category = next((name for name in record["categories"] if same_name(name) == same_name(job.category)), None)
        if category is None or record["failed"] or "metrics" not in record["categories"][category]:
            return None
        parsed = parse_arguments(job.words(folder))
        if record["id"] != run_id(deciding_options(recorded_options(parsed)), weights):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, incomplete, or from elsewhere
        return None
    options = dict(job.options)
    marks = [
        (option, where)
        for option, where in (("save_preds", "pred_maps"), ("save_feature", "features"))
        if options.get(option)
    ]
    if any(not (folder / where / f".{category}.unit").is_file() for _, where in marks):
        return None
    if options.get("save_maps"):
        suffix = ".train" if options.get("save_train_maps") else ""
        if not all((folder / "maps" / name).is_file() for name in (f".{category}{suffix}.unit", f"{category}.npz")):
            return None
    return record if (folder / f"scores_{category}.csv").is_file() else None


def category_of(record, job):
    """The job's category in the spelling of its record and files."""
    return next(name for name in record["categories"] if same_name(name) == same_name(job.category))
