"""Shared by the preprocessing commands: choice of categories, conversion of samples in one or more processes, and
preprocessing.json.

A command lists its samples as jobs. A job is done if its mark exists, the file that it writes last. So a stopped run
continues where it was, and a second run finds nothing to do. A sample that cannot be converted is recorded; the others
are still converted.
"""

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Callable, NamedTuple

import numpy as np
import tifffile
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from common import commands
from common.commands import FAILED, FINE, HelpFormatter, Parser, add_workers, prose_and_examples
from common.errors import InputError, tell
from common.files import atomic_path, atomic_write_text, check_writable
from common.progress import is_quiet
from common.signals import begin_worker, beginning_workers, held
from data.names import CATEGORIES, find_folder, same_name

RECORD = "preprocessing.json"
PACKAGES = ("numpy", "scipy", "pillow", "tifffile")
SHOWN = 20  # failures and warnings that are printed; preprocessing.json has all


class Job(NamedTuple):
    """One sample to convert."""

    name: str  # "<category>/<split>/<defect>/<sample>" as written
    mark: Path  # the file that is written last
    work: Callable  # takes no arguments and can be pickled; returns a list of warnings; raises InputError or OSError


class Outcome(NamedTuple):
    """The results of the jobs."""

    written: list  # names of converted samples
    skipped: list  # names of samples that were done before
    failed: dict  # {name: reason}
    warnings: dict  # {name: text}
    stopped: bool  # whether the user stopped the run


def build_parser(prog, text, dataset_type):
    """Parser with the options that all preprocessing commands have; ``text``: the command's docstring."""
    description, epilog = text.splitlines()[0], prose_and_examples(text)[1]
    parser = Parser(prog=prog, description=description, formatter_class=HelpFormatter, epilog=epilog)
    text = 'only these; case, "-", "_" and blanks do not matter (default: those of the official list that are there: '
    text += f"{', '.join(CATEGORIES[dataset_type])})"
    parser.add_argument("--category", "--categories", dest="categories", nargs="+", metavar="NAME", help=text)
    add_workers(parser)
    return parser


def find_categories(root, asked, dataset_type):
    """{official name, or the user's own: folder} of the categories ``asked`` for; by default of all official ones that
    exist in ``root``.

    Raises:
        InputError: ``root`` or a category asked for is missing, or ``root`` has no category.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: missing folder: give the folder that holds the data set's categories")
    there = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))) or "none"
    official = {same_name(name): name for name in CATEGORIES[dataset_type]}
    found = {}
    for name in [n.rstrip("/\\") for n in asked or ()] or official.values():
        folder = find_folder(root, name)
        if folder:
            found[official.get(same_name(folder.name), folder.name)] = folder
        elif asked:
            lacks = "missing folder of the category given with --categories"
            raise InputError(f"{root / name}: {lacks}; there are: {there}")
    if not found:
        wanted = f"give the folder that holds {', '.join(CATEGORIES[dataset_type][:3])} …"
        none = "none of the data set's categories is in it"
        raise InputError(f"{root}: {none}; folders in it: {there}; {wanted}, or name folders with --categories")
    return found


def check_apart(target, root, categories):
    """Make sure that writing to ``target`` cannot change the download.

    Raises:
        InputError: ``target`` is the download itself or lies in one of its categories.
    """
    target = Path(target)
    for name, folder in categories.items():
        inside = folder.resolve() in (target.resolve(), *target.resolve().parents)
        if inside or target.resolve() == Path(root).resolve() or (target / name).resolve() == folder.resolve():
            raise InputError(f"{target}: would write into the download at {root}; give another folder for the result")


def save_sample(folder, name, rgb, xyz, gt=None):
    """Write a sample's files under the defect folder ``folder``; the picture comes last and marks the sample as done.

    Args:
        rgb: [H, W, 3] uint8.
        xyz: [H, W, 3] float32.
        gt: [H, W] uint8; None for a sample without a mask.
    """
    if gt is not None:
        _save_png(mark_of(folder, name, "gt"), gt)
    with atomic_path(Path(folder) / "xyz" / f"{name}.tiff") as temporary:
        points = np.ascontiguousarray(xyz, dtype=np.float32)
        tifffile.imwrite(temporary, points, photometric="rgb", planarconfig="contig")
    _save_png(mark_of(folder, name), rgb)


def mark_of(folder, name, kind="rgb"):
    """Path of a sample's picture, which marks the sample as done; with ``kind`` "gt" the path of its mask."""
    return Path(folder) / kind / f"{name}.png"


def _save_png(path, picture):
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def run_jobs(jobs, workers):
    """Do the jobs whose mark does not exist; returns the Outcome.

    After SIGINT or SIGTERM, samples already begun are completed and no other is begun.
    """
    pending = [job for job in jobs if not job.mark.exists()]
    names = {job.name for job in pending}
    outcome = Outcome([], [job.name for job in jobs if job.name not in names], {}, {}, False)
    run = _run_here if workers == 1 or len(pending) < 2 else _run_in_processes
    return outcome._replace(stopped=run(pending, min(workers, len(pending)), outcome))


def _bar(items, count):
    return tqdm(items, total=count, disable=is_quiet() or None, unit="sample", dynamic_ncols=True)


def _run_here(pending, _, outcome):
    try:
        with threadpool_limits(1):  # as in the workers, so that results agree to the last bit
            for job in _bar(pending, len(pending)):
                with held():
                    _note(outcome, job.name, *_attempt(job))
    except KeyboardInterrupt:
        return True
    return False


def _run_in_processes(pending, workers, outcome):
    # fork shares modules that are imported already; outside Linux it is unsafe or missing
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    stopped, broken, futures = False, False, {}
    with ProcessPoolExecutor(workers, context, _begin_worker) as pool:
        try:
            for job in pending:
                with beginning_workers():
                    futures[pool.submit(_attempt, job)] = job
            for future in _bar(as_completed(futures), len(futures)):
                future.result()
        except KeyboardInterrupt:
            stopped = True
        except BrokenProcessPool:
            broken = True
        pool.shutdown(wait=True, cancel_futures=True)
    for future, job in futures.items():
        if not future.cancelled() and future.exception() is None:
            _note(outcome, job.name, *future.result())
        elif broken:
            reason = "a worker process was killed, most likely for want of memory"
            outcome.failed[job.name] = f"{reason}: run again with fewer --workers"
    return stopped


def _begin_worker():
    begin_worker()
    threadpool_limits(1)


def _attempt(job):
    """(reason of failure or None, warnings)."""
    with held():
        try:
            return None, job.work()
        except InputError as error:
            return str(error), []
        except OSError as error:
            return f"{error.filename or job.mark}: {error.strerror or error}", []
        except Exception as error:  # one bad sample must not stop the others
            return f"{type(error).__name__}: {error}", []


def _note(outcome, name, reason, warnings):
    if reason:
        outcome.failed[name] = reason
    else:
        outcome.written.append(name)
        if warnings:
            outcome.warnings[name] = "; ".join(warnings)


def read_record(folder):
    """Content of preprocessing.json in ``folder``; {} if there is none.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(folder) / RECORD
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        return content
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it, then run again") from None


class Record:
    """preprocessing.json of a folder: the command and its options, versions of packages, and the results.

    Args:
        folder: where the file lies.
        program: the command's name.
        command: its arguments.
        options: the parsed options.
        decisive: names of the options that change what is written.
        coordinates: unit of the coordinates written: metres, millimetres or pixels. An examination relies on it.

    Raises:
        InputError: the folder was written by another command or with other decisive options, or its record cannot be
            read.
    """

    def __init__(self, folder, program, command, options, decisive=(), coordinates="metres"):
        self.path = Path(folder) / RECORD
        self.earlier = read_record(folder)
        before = self.earlier.get("options", {})
        if self.earlier.get("program", program) != program:
            whose = f"this folder was written by {self.earlier['program']}"
            raise InputError(f"{self.path}: {whose}; choose another folder for the result")
        for name in decisive:
            if before.get(name, options[name]) != options[name]:
                differs = f"this folder was written with --{name} {before[name]}, not {options[name]}"
                raise InputError(f"{self.path}: {differs}; choose another folder for the result, or remove this one")
        self.content = {
            "program": program,
            "command": [str(c) for c in command],
            "options": options,
            "coordinates": coordinates,
            "versions": {"python": python_version(), **{p: version(p) for p in PACKAGES}},
        }
        self.started = time.time()

    def begin(self):
        """Write the options before a folder's first sample, so that even a killed run leaves them."""
        if not self.earlier:
            self._write({**self.content, "state": "running"})

    def finish(self, outcome, categories, extra=None):
        """Write the counts, failures and warnings of a run over ``categories``, unless the run changed nothing.
        Failures and warnings of other categories are kept."""
        kept, skipped = {}, set(outcome.skipped)
        for key in ("failures", "warnings"):
            earlier = self.earlier.get(key, {}).items()
            others = {name: text for name, text in earlier if name.split("/")[0] not in categories}
            kept[key] = {**others, **{name: text for name, text in earlier if key == "warnings" and name in skipped}}
        content = {
            **self.content,
            "state": "interrupted" if outcome.stopped else "finished",
            "seconds": round(time.time() - self.started, 1),
            "counts": {"written": len(outcome.written), "skipped": len(outcome.skipped), "failed": len(outcome.failed)},
            "failures": {**kept["failures"], **outcome.failed},
            "warnings": {**kept["warnings"], **outcome.warnings},
            **(extra or {}),
        }
        compared = ("state", "failures", "warnings", *(extra or {}))
        if outcome.written or any(content[key] != self.earlier.get(key) for key in compared):
            self._write(content)

    def _write(self, content):
        atomic_write_text(self.path, json.dumps(content, indent=2, default=str) + "\n")


def run_command(program, args, work):
    """``common.commands.run_command`` for a command that continues where it was stopped."""
    return commands.run_command(program, args, work, "interrupted; the same command goes on from here")


def convert(program, record, target, categories, jobs, unpaired, workers):
    """Do ``jobs``, write the Record of ``target`` and print the results; returns the exit code.

    Args:
        categories: names of the categories of this run.
        unpaired: {sample: reason} for samples that could not become a job.
    """
    prepare(record, target, jobs, unpaired)
    outcome = run_jobs(jobs, workers)
    outcome.failed.update(unpaired)
    code = report(program, outcome, target)  # before the record, whose writing may fail on a full disk
    record.finish(outcome, categories)
    return code


def prepare(record, target, jobs, unpaired):
    """Check, before the first job, that there are samples and that ``target`` can be written to.

    Raises:
        InputError: there is no sample, or ``target`` cannot be written to.
    """
    if not jobs:
        raise InputError(next(iter(unpaired.values()), None) or "no sample found")
    if not all(job.mark.exists() for job in jobs):
        check_writable(target)
        record.begin()


def report(program, outcome, target):
    """Print the results of the jobs; returns the exit code."""
    for kind, texts in (("warning", outcome.warnings), ("failed", outcome.failed)):
        for name, text in list(texts.items())[:SHOWN]:
            print(f"{kind}: {name}: {text}", file=sys.stderr)
        if len(texts) > SHOWN:
            print(f"{kind}: and {len(texts) - SHOWN} more, see {RECORD}", file=sys.stderr)
    written, skipped, failed = len(outcome.written), len(outcome.skipped), len(outcome.failed)
    print(f"{target}: {written} samples written, {skipped} were there, {failed} failed")
    if outcome.stopped:
        tell(program, "interrupted; the same command goes on from here")
    return FAILED if outcome.failed or outcome.stopped else FINE
