"""Read every file of a data set as a run would, and say what would stop the run or spoil its results.

    python tools/check_dataset.py datasets/mvtec3d
"""
import argparse
import os
import signal
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import tifffile
import torch
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset import GOOD, PATTERNS, RGB_SIZE, find_categories, part_files, read_points, unpaired_files  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.mvtec3d_util import read_mask, read_picture  # noqa: E402
from utils.names import CATEGORIES  # noqa: E402
from utils.options import HelpFormatter, Parser, add_workers, number  # noqa: E402

FINE, FAULTS, REFUSED = 0, 1, 2


class Job(NamedTuple):
    """The files of one part to read; None: not there, or not read by a run."""

    rgb: Path | None
    xyz: Path | None
    gt: Path | None
    defective: bool
    img_size: int
    num_group: int


class Findings(NamedTuple):
    """What the files of one part hold. Kinds are texts like "800×800 RGB", None where there is no readable file."""

    errors: list
    warnings: list
    picture: str | None = None
    tiff: str | None = None
    points: int | None = None  # valid points at the run's resolution


class Row(NamedTuple):
    """A defect folder: which it is, how many files of each kind it has, whether a run reads it, and the Findings of its parts."""

    split: str
    defect: str
    counts: dict
    used: bool
    findings: list


def main(argv=None):
    """Run the command line; returns the exit code: 0 a run would go through, 1 it would not, 2 there is no data set."""
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return check(args)
    except InputError as error:
        print(f"check_dataset.py: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("check_dataset.py: interrupted; categories not shown were not checked", file=sys.stderr)
    except BrokenPipeError:  # whoever read the output, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except BrokenProcessPool:
        print("check_dataset.py: a process that read files was killed (too little memory?); try fewer --workers", file=sys.stderr)
    return FAULTS


def build_parser():
    """The argument parser."""
    parser = Parser(prog="check_dataset.py", formatter_class=HelpFormatter,
                    description="Read every file of a data set as main.py does. Errors would stop a run, warnings would not. "
                                "Exit code: 0 no errors, 1 errors, 2 no data set.")
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of the categories")
    parser.add_argument("--dataset_type", default="folder", choices=("folder", *CATEGORIES), metavar="NAME",
                        help="mvtec3d, eyecandies or realiad_d3: a missing category of the official list is an error; "
                             "folder: every folder that has train or test")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--img_size", type=number(int, 56), default=224, metavar="N", help="side at which valid points are counted, main.py's --img_size")
    parser.add_argument("--num_group", type=number(int, 3), default=1024, metavar="N", help="parts with fewer valid points are named, main.py's --num_group")
    add_workers(parser)
    return parser


def check(args):
    """Check and print category by category; returns the exit code."""
    names, missing = categories(args)
    errors, warnings = [f"{name}: {reason}" for name, reason in missing.items()], 0
    pool = ProcessPoolExecutor(args.workers, initializer=_start_worker)
    try:
        for name in names:
            rows, category_errors, category_warnings = check_category(args.path / name, args, pool)
            print(report(name, rows, category_errors, category_warnings, args), flush=True)
            errors += category_errors
            warnings += len(category_warnings)
    finally:
        pool.shutdown(cancel_futures=True)  # not "with": after an interruption that would read all the rest
    for reason in missing.values():
        print(f"error: {reason}")
    print(f"categories: {len(names)}; errors: {len(errors)}; warnings: {warnings}: "
          + ("a run would fail or leave categories out" if errors else "ready to run"))
    return FAULTS if errors else FINE


def categories(args):
    """(folder names, {missing name: reason}); raises InputError where there is no data set."""
    if not args.path.is_dir():
        raise InputError(f"{args.path}: no such folder")
    if args.category or args.dataset_type != "folder":
        names, missing = find_categories(args.path, args.dataset_type, args.category)
        if not names:
            raise InputError(f"{args.path}: none of the {len(missing)} categories of {args.dataset_type} is there")
        return names, missing
    # also folders without train/good, which a run leaves out
    names = sorted(p.name for p in args.path.iterdir() if not p.name.startswith(".") and ((p / "train").is_dir() or (p / "test").is_dir()))
    return (names, {}) if names else find_categories(args.path, args.dataset_type)


def check_category(folder, args, pool):
    """([Row], errors, warnings) of one category."""
    errors, warnings, rows, jobs = [], [], [], []
    for split, needed in (("train", folder / "train" / GOOD), ("test", folder / "test")):
        if not needed.is_dir() or not any(p.is_dir() for p in needed.iterdir()):
            errors.append(f"{needed}: missing or empty folder; a run needs " + ("normal training parts there" if split == "train" else
                                                                                "test parts there, one folder a defect, and good"))
    for defect in sorted(p for p in folder.glob("*/*") if p.is_dir()):
        split = defect.parent.name
        counts = {kind: len(part_files(defect, kind)) for kind in PATTERNS}
        used = split == "test" or (split == "train" and defect.name == GOOD)
        rows.append(Row(split, defect.name, counts, used, []))
        if not used:
            continue
        defective = defect.name != GOOD
        errors += unpaired_files(defect, with_masks=defective)
        for kind, pattern in PATTERNS.items():
            others = [p for p in (defect / kind).glob("[!.]*") if not p.match(pattern)]
            if others:
                warnings.append(f"{defect / kind}: {len(others)} files that are not {pattern} are not read, for instance {min(others).name}")
        jobs += [(rows[-1], Job(*files, defective, args.img_size, args.num_group)) for files in grouped(defect, split)]
    tested = {row.defect != GOOD for row in rows if row.split == "test"}
    if len(tested) == 1:
        warnings.append(f"{folder / 'test'}: no {'good' if True in tested else 'defective'} parts: metrics that need them are undefined")
    order = {"train": 0, "test": 1}
    bar = tqdm(jobs, desc=folder.name, disable=None, leave=False, unit="part")
    for (row, _), found in zip(bar, pool.map(examine, [job for _, job in jobs])):
        row.findings.append(found)
        errors += found.errors
        warnings += found.warnings
    return sorted(rows, key=lambda row: order.get(row.split, 2)), errors, warnings


def grouped(defect, split):
    """(rgb, xyz, gt), each a path or None, of every part of a defect folder; where a run would refuse to pair, files that stand alone."""
    rgb, xyz, gt = (part_files(defect, kind) for kind in ("rgb", "xyz", "gt"))
    masks = split == "test"
    if not unpaired_files(defect, with_masks=defect.name != GOOD):
        if defect.name != GOOD:
            return list(zip(rgb, xyz, gt))
        own = {p.stem: p for p in gt} if masks else {}  # a run does not read masks of good parts; look at those that are there
        return [(a, b, own.get(a.stem)) for a, b in zip(rgb, xyz)]
    by_name = [{p.stem: p for p in files} for files in (rgb, xyz, gt if masks else [])]
    return [tuple(files.get(name) for files in by_name) for name in sorted(set().union(*by_name))]


def examine(job):
    """Findings of one part, read with the functions that a run uses."""
    errors, warnings, sizes = [], [], {}
    picture = tiff = points = None
    if job.rgb:
        try:
            read_picture(job.rgb, "RGB")
            with Image.open(job.rgb) as file:
                sizes["picture"], picture = file.size[::-1], f"{file.height}×{file.width} {file.mode}"
        except InputError as error:
            errors.append(str(error))
    if job.xyz:
        try:
            points, notes = read_points(job.xyz, job.img_size, job.num_group)[1:]
            with tifffile.TiffFile(job.xyz) as file:
                kind = file.series[0]
                sizes["point cloud"], tiff = kind.shape[:2], f"{kind.shape[0]}×{kind.shape[1]} {kind.dtype}"
            if notes:
                warnings.append(f"{job.xyz}: {'; '.join(notes)}")
        except InputError as error:
            errors.append(str(error))
    if job.gt:
        try:
            defect = bool(read_mask(job.gt, RGB_SIZE).any())
            with Image.open(job.gt) as file:
                sizes["mask"] = file.size[::-1]
            if defect != job.defective:
                warnings.append(f"{job.gt}: " + (f"mask of a defective part is empty at {RGB_SIZE}×{RGB_SIZE}, as a run reads it" if job.defective else
                                                 "mask of a good part is not empty; a run takes the part as good"))
        except InputError as error:
            (errors if job.defective else warnings).append(str(error))
    if len({height / width for height, width in sizes.values()}) > 1:
        shown = ", ".join(f"{what} {height}×{width}" for what, (height, width) in sizes.items())
        warnings.append(f"{job.rgb or job.xyz}: {shown}: different aspect, so pixels do not lie on each other")
    return Findings(errors, warnings, picture, tiff, points)


def report(name, rows, errors, warnings, args):
    """The text that is printed of a category."""
    lines = []
    for row in rows:
        counts = [row.counts["rgb"], row.counts["xyz"], row.counts["gt"]]
        if not row.used:
            lines.append([row.split, row.defect, *counts, "not read by a run"])
            continue
        points = sorted(f.points for f in row.findings if f.points is not None)
        middle = (points[(len(points) - 1) // 2] + points[len(points) // 2]) / 2 if points else None
        shares = " / ".join(f"{p / args.img_size ** 2:.3f}" for p in (points[0], middle, points[-1])) if points else "-"
        lines.append([row.split, row.defect, *counts, kinds(f.picture for f in row.findings), kinds(f.tiff for f in row.findings), shares,
                      sum(p < args.num_group for p in points)])
    header = ["split", "defect", "rgb", "xyz", "gt", "pictures", "tiffs", f"valid share at {args.img_size}×{args.img_size}, min / median / max",
              f"below {args.num_group}"]
    return "\n".join([f"## {name}", "", tabulate(lines, header, tablefmt="pipe", disable_numparse=True), "",
                      *(f"error: {text}" for text in errors), *(f"warning: {text}" for text in warnings), *([""] if errors or warnings else [])])


def kinds(texts):
    """ "800×800 RGB", or with counts where there are several."""
    counts = Counter(text for text in texts if text)
    return ", ".join(text if len(counts) == 1 else f"{text} ({count})" for text, count in counts.most_common()) or "-"


def _start_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the pool
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
