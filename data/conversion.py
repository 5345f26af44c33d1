"""Shared by the preprocessing commands and the import: jobs, their conversion in processes, and preprocessing.json.

A command lists its samples as jobs. A job is done if its mark exists, the file that it writes last. So a stopped run
continues where it was. A sample that cannot be converted is recorded; the others are still converted.
"""

import functools
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

from common.commands import FAILED, FINE, Parser, add_workers, prose_and_examples, run_command
from common.errors import InputError, tell
from common.files import atomic_path, atomic_write_text, check_writable
from common.progress import is_quiet
from common.signals import begin_worker, beginning_workers, held
from data import names
from data.names import CATEGORIES, find_folder, same_name

RECORD = "preprocessing.json"
PACKAGES = ("numpy", "scipy", "pillow", "tifffile")
SHOWN = 20  # failures and warnings that are printed; preprocessing.json has all
GOES_ON = "interrupted; the same command goes on from here"


class Job(NamedTuple):
    """One sample to convert."""

    name: str  # "<category>/<split>/<defect>/<sample>" as written
    mark: Path  # the file that is written last
    work: Callable  # takes no arguments and can be pickled; returns a list of warnings; raises InputError or OSError
    files: tuple = ()  # of the download


class Outcome(NamedTuple):
    """The results of the jobs."""

    written: list  # names of converted samples
    skipped: list  # names of samples that were done before
    failed: dict  # {name: reason}
    warnings: dict  # {name: text}
    stopped: bool  # whether the user stopped the run


def build_parser(prog, text, dataset_type):
    """Parser with the options that all preprocessing commands have; ``text``: the command's docstring."""
    parser = command_parser(prog, text)
    text = 'only these; case, "-", "_" and blanks do not matter (default: those of the official list that are there: '
    text += f"{', '.join(CATEGORIES[dataset_type])})"
    parser.add_argument("--category", "--categories", dest="categories", nargs="+", metavar="NAME", help=text)
    add_workers(parser)
    return parser


def command_parser(prog, text):
    """Parser of a command whose docstring is ``text``: its first line is the description, the rest the epilog."""
    description, epilog = text.splitlines()[0], prose_and_examples(text)[1]
    return Parser(prog=prog, description=description, epilog=epilog)


def run(program, parser, argv, work):
    """Run ``work(args, command)`` with the words ``argv`` (None: those of the process); returns the exit code."""
    command = sys.argv[1:] if argv is None else argv
    return run_command(program, parser.parse_args(argv), functools.partial(work, command=command), GOES_ON)


def find_categories(root, asked, dataset_type, target=None):
    """{official name, or the user's own: folder} of the categories ``asked`` for; by default of all official ones in
    ``root``.
    Raises InputError: as ``data.names.find_categories``; ``root`` has no category; or ``target`` lies in the download.
    """
    official = {same_name(name): name for name in CATEGORIES[dataset_type]}
    asked = asked or [name for name in official.values() if find_folder(root, name)]  # refuses two of one name
    folders = names.find_categories(root, dataset_type, asked)[0]
    found = {official.get(same_name(name), name): root / name for name in folders}
    if not found:
        wanted = f"give the folder that holds {', '.join(CATEGORIES[dataset_type][:3])} …"
        none = "none of the data set's categories is in it"
        raise InputError(f"{root}: {none}: {wanted}, or name folders with --category")
    for name, folder in found.items() if target else ():
        place, own = target.resolve(), folder.resolve()
        if own in (place, *place.parents) or place == root.resolve() or (target / name).resolve() == own:
            raise InputError(f"{target}: would write into the download at {root}; give another folder for the result")
    return found


def list_jobs(categories, of_category, looked_for):
    """([Job], {sample: what it lacks}) of the categories {name: folder}. ``of_category`` returns the same for a name
    and a folder; ``looked_for``: text on the files that are samples."""
    jobs, unpaired = [], {}
    for category, folder in categories.items():
        own, lacking = of_category(category, folder)
        jobs += own
        none = {} if own else {category: f"{folder}: no sample found in {looked_for}"}
        unpaired.update(lacking or none)
    return jobs, unpaired


def job_of(target, name, convert, files, *settings):
    """The Job that calls ``convert(files, folder, name, *settings)`` for the sample ``name`` below ``target``."""
    folder, own = Path(target, name).parent, Path(name).name
    return Job(name, mark_of(folder, own), functools.partial(convert, files, folder, own, *settings), tuple(files))


def check_sizes(path, rgb, *others):
    """Make sure that the ``others``, each (path, array [H, W, ...] or None), have the size of ``rgb`` from ``path``.
    Raises InputError: they have not."""
    for other, array in others:
        if array is not None and array.shape[:2] != rgb.shape[:2]:
            own, wanted = (f"{of.shape[0]}×{of.shape[1]}" for of in (array, rgb))
            raise InputError(f"{other}: has {own} pixels, {path} {wanted}; they have to be equal")


def save_sample(folder, name, rgb, xyz, gt=None):
    """Write a sample's ``rgb`` [H, W, 3] uint8, ``xyz`` [H, W, 3] and ``gt`` [H, W] uint8 or None under the defect
    folder ``folder``; the picture comes last and marks the sample as done."""
    if gt is not None:
        _save_png(mark_of(folder, name, "gt"), gt)
    with atomic_path(Path(folder) / "xyz" / f"{name}.tiff") as temporary:
        points = np.ascontiguousarray(xyz, dtype=np.float32)
        tifffile.imwrite(temporary, points, photometric="rgb", planarconfig="contig")
    _save_png(mark_of(folder, name), rgb)


def mark_of(folder, name, kind="rgb"):
    """Path of a sample's picture, or with ``kind`` "gt" of its mask."""
    return Path(folder) / kind / f"{name}.png"


def _save_png(path, picture):
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def run_jobs(jobs, workers):
    """Do the jobs whose mark does not exist; returns the Outcome.

    After SIGINT or SIGTERM, samples already begun are completed and no other is begun.
    """
    there = {job: job.mark.exists() for job in jobs}
    pending, skipped = [job for job in jobs if not there[job]], [job.name for job in jobs if there[job]]
    run = _run_here if workers == 1 or len(pending) < 2 else _run_in_processes
    done, stopped = run(pending, min(workers, len(pending)))
    failed = {name: reason for name, (reason, _) in done.items() if reason}
    warnings = {name: "; ".join(texts) for name, (_, texts) in done.items() if texts}
    return Outcome([name for name in done if name not in failed], skipped, failed, warnings, stopped)


def _run_here(pending, _):
    done = {}
    try:
        with threadpool_limits(1):  # as in the workers, so that results agree to the last bit
            for job in tqdm(pending, disable=is_quiet() or None, unit="sample", dynamic_ncols=True):
                with held():
                    done[job.name] = _attempt(job)
    except KeyboardInterrupt:
        return done, True
    return done, False


def _run_in_processes(pending, workers):
    # fork shares modules that are imported already; outside Linux it is unsafe or missing
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    stopped, broken, futures = False, False, {}
    with ProcessPoolExecutor(workers, context, _begin_worker) as pool:
        try:
            for job in pending:
                with beginning_workers():
                    futures[pool.submit(_attempt, job)] = job
            hidden, done = is_quiet() or None, as_completed(futures)
            for future in tqdm(done, total=len(futures), disable=hidden, unit="sample", dynamic_ncols=True):
                future.result()
        except KeyboardInterrupt:
            stopped = True
        except BrokenProcessPool:
            broken = True
        pool.shutdown(wait=True, cancel_futures=True)
    killed = "a worker process was killed, most likely for want of memory: run again with fewer --workers", []
    done = {}
    for future, job in futures.items():
        if not future.cancelled() and future.exception() is None:
            done[job.name] = future.result()
        elif broken:
            done[job.name] = killed
    return done, stopped


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


def read_record(folder):
    """Content of preprocessing.json in ``folder``; {} if there is none.
    Raises InputError: the file cannot be read."""
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
    """preprocessing.json of ``folder``: program, command and options, versions of packages, and the results.

    ``decisive``: names of the options that change what is written; ``coordinates``: metres, millimetres or pixels, on
    which an examination relies.
    Raises InputError: another command, or other decisive options, wrote the folder, or its record cannot be read.
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
        """Write the options, and an import's names of parts, before the first sample: even a killed run leaves them."""
        if not self.earlier or "parts" in self.content:
            self.earlier = {**self.earlier, **self.content, "state": "running"}
            self._write(self.earlier)

    def finish(self, outcome, categories, extra):
        """Write the counts, failures and warnings of a run over ``categories``, and what is ``extra``, unless the run
        changed nothing. Those of other categories are kept, and warnings of samples done before."""

        def kept(key, skipped=()):
            earlier = self.earlier.get(key, {}).items()
            return {name: text for name, text in earlier if name in skipped or name.split("/")[0] not in categories}

        content = {
            **self.content,
            "state": "interrupted" if outcome.stopped else "finished",
            "seconds": round(time.time() - self.started, 1),
            "counts": {"written": len(outcome.written), "skipped": len(outcome.skipped), "failed": len(outcome.failed)},
            "failures": {**kept("failures"), **outcome.failed},
            "warnings": {**kept("warnings", set(outcome.skipped)), **outcome.warnings},
            **extra,
        }
        compared = ("state", "failures", "warnings", *extra)
        if outcome.written or any(content[key] != self.earlier.get(key) for key in compared):
            self._write(content)

    def _write(self, content):
        atomic_write_text(self.path, json.dumps(content, indent=2, default=str) + "\n")


def convert(record, target, categories, jobs, unpaired, workers, publish=None):
    """Do ``jobs``, write to ``target``, keep the ``record`` and print the results; returns (exit code, Outcome).
    ``unpaired``: {sample: reason} for samples that could not become a job; ``publish``: function of the Outcome, called
    before the record is written, that returns more of its content.
    Raises InputError: there is no sample, or ``target`` cannot be written to."""
    if not jobs:
        raise InputError(next(iter(unpaired.values()), None) or "no sample found")
    if not all(job.mark.exists() for job in jobs):
        check_writable(target)
        record.begin()
    outcome = run_jobs(jobs, workers)
    outcome.failed.update(unpaired)
    more = publish(outcome) if publish else {}
    _print_results(record.content["program"], outcome, target)  # before the record, which a full disk may refuse
    record.finish(outcome, categories, more)
    return (FAILED if outcome.failed or outcome.stopped else FINE), outcome


def _print_results(program, outcome, target):
    for kind, texts in (("warning", outcome.warnings), ("failed", outcome.failed)):
        for name, text in list(texts.items())[:SHOWN]:
            print(f"{kind}: {name}: {text}", file=sys.stderr)
        if len(texts) > SHOWN:
            print(f"{kind}: and {len(texts) - SHOWN} more, see {RECORD}", file=sys.stderr)
    written, skipped, failed = len(outcome.written), len(outcome.skipped), len(outcome.failed)
    print(f"{target}: {written} samples written, {skipped} were there, {failed} failed")
    if outcome.stopped:
        tell(program, GOES_ON)
