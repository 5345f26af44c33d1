"""Convert MVTec 3D-AD as downloaded into what M3DM reads: the part without plane and surroundings, padded to a square.

    python utils/preprocessing.py DOWNLOAD -o datasets/mvtec3d
    python utils/preprocessing.py DOWNLOAD --in_place

A stopped run continues where it was; finished samples are left as they are.
"""

import functools
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.errors import InputError
from common.signals import run_to_the_end
from data import conversion as common
from data.organised_clouds import read_unexamined
from data.pairing import GOOD, defect_folders, pair, part_files
from data.pictures import read_defect, read_picture
from data.units import unit

PROGRAM = "preprocessing.py"
SPLITS = ("train", "validation", "test")
DECISIVE = ("seed", "unit")
STAGE = ".preprocessing"  # folder in the download: holds results of --in_place until a category is complete
COMPLETE = "complete"  # file in a category's stage: all results are there, and moving them has begun


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    args = build_parser().parse_args(argv)
    command = sys.argv[1:] if argv is None else argv
    work = preprocess_in_place if args.in_place else preprocess
    return common.run_command(PROGRAM, args, functools.partial(work, command=command))


def build_parser():
    """The argument parser."""
    parser = common.build_parser(PROGRAM, __doc__, "mvtec3d")
    parser.add_argument("source", type=Path, metavar="SRC", help="the download: folder of the categories")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, metavar="DST", help="folder for the result")
    where.add_argument(
        "--in_place",
        action="store_true",
        help="replace the download's files, a category at a time and only when all of its samples could be done",
    )
    parser.add_argument(
        "--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the search for the plane"
    )
    parser.add_argument(
        "--unit",
        type=unit,
        metavar="UNIT",
        help="of the download's coordinates: m, cm, mm, um, or the metres of one count; metres are written (default: "
        "metres, and refused if they do not look like it)",
    )
    parser.add_argument(
        "--keep_touching",
        action="store_true",
        help="parts that touch the frame are done with a warning (else they are failures)",
    )
    return parser


class Sample(NamedTuple):
    """The files of one sample in the download."""

    name: str  # "<category>/<split>/<defect>/<number>"
    rgb: Path
    xyz: Path
    gt: Path | None


def list_samples(categories):
    """([Sample], {sample: what it lacks}) of the categories {name: folder}."""
    samples, unpaired = [], {}
    for category, folder in categories.items():
        before = len(samples) + len(unpaired)
        for split in SPLITS:
            defects, skipped = defect_folders(folder / split)
            for defect in defects:
                masked = split == "test" and defect.name != GOOD
                found = pair(defect, with_masks=masked)
                for note in (*skipped, *found.notes):
                    print(f"warning: {note.text}", file=sys.stderr)
                skipped = ()
                where = f"{category}/{split}/{defect.name}"
                own = {} if masked else {p.stem: p for p in part_files(defect, "gt")}
                for part in (*found.parts, *found.incomplete):
                    stem = next(path for path in part if path).stem
                    part = part if masked else part._replace(gt=own.get(stem))
                    lacking = [
                        kind
                        for kind, path in zip(("rgb", "xyz", "gt"), part)
                        if path is None and (masked or kind != "gt")
                    ]
                    if lacking:
                        unpaired[f"{where}/{stem}"] = f"{defect}: {stem} has no file in {' and '.join(lacking)}"
                    else:
                        samples.append(Sample(f"{where}/{stem}", *part))
                if found.problems and not found.incomplete:
                    unpaired[where] = found.problems[0]
        if len(samples) + len(unpaired) == before:
            unpaired[category] = (
                f"{folder}: no sample found in train, validation and test, each with "
                "<defect>/rgb/*.png and <defect>/xyz/*.tiff"
            )
    return samples, unpaired


def convert(sample, target, seed, keep_touching, unit=None):
    """Preprocess one sample into the folder ``target``; returns warnings.

    Raises:
        InputError: a file cannot be used, sizes differ, or ``isolate`` refuses the scan.
    """
    from data.foreground import isolate, pad_square

    rgb = np.asarray(read_picture(sample.rgb, "RGB"))
    xyz, broken, notes = read_unexamined(sample.xyz, unit)
    gt = None if sample.gt is None else mask_values(sample.gt)
    for path, other in ((sample.xyz, xyz), (sample.gt, gt)):
        if other is not None and other.shape[:2] != rgb.shape[:2]:
            raise InputError(
                f"{path}: has {other.shape[0]}×{other.shape[1]} pixels, {sample.rgb} {rgb.shape[0]}×{rgb.shape[1]}; "
                "they have to be equal"
            )
    try:
        rgb, xyz, touching = isolate(rgb, xyz, seed, keep_touching)
    except InputError as error:
        raise InputError(f"{sample.xyz}: {error}") from None
    where = Path(sample.name)
    common.save_sample(
        target / where.parent, where.name, pad_square(rgb), pad_square(xyz), None if gt is None else pad_square(gt)
    )
    if broken:
        notes.append(f"{sample.xyz}: {broken} pixels with NaN or inf are taken as background")
    return notes + ([f"{sample.xyz}: the part touches the frame with {touching} points"] if touching else [])


def mask_values(path):
    """Mask [H, W] uint8: the file's own grey values if they agree with ``read_defect``; else 0 and 255, since grey
    values would lose what a palette, colours, class numbers or transparency mean."""
    defect, grey = read_defect(path), np.asarray(read_picture(path, "L"))
    return grey if np.array_equal(grey > 127, defect) else defect.astype(np.uint8) * 255


def make_jobs(samples, target, args):
    """The jobs that write ``samples`` to ``target``."""
    # imported here, so that --help answers at once, and before processes are forked, which then share it
    from data import foreground  # noqa: F401

    return [
        common.Job(
            s.name,
            common.mark_of(target / Path(s.name).parent, Path(s.name).name),
            functools.partial(convert, s, target, args.seed, args.keep_touching, args.unit),
        )
        for s in samples
    ]


def check_unit(samples, unit):
    """Refuse, before any work, a category whose coordinates are in another unit.

    Raises:
        InputError: the coordinates of the category's first, middle and last sample all do not look like ``unit``.
    """
    for category in dict.fromkeys(_category(s.name) for s in samples):
        own, refusals = [s for s in samples if _category(s.name) == category], []
        for sample in {own[0], own[len(own) // 2], own[-1]}:
            try:
                read_unexamined(sample.xyz, unit)
                break
            except InputError as error:
                refusals.append(str(error))
        else:
            told = [text for text in refusals if "--unit" in text]
            if len(told) == len(refusals):
                raise InputError(min(told))


def preprocess(args, command):
    """Preprocess the download into another folder; returns the exit code."""
    categories = common.find_categories(args.source, args.categories, "mvtec3d")
    common.check_apart(args.output, args.source, categories)
    record = common.Record(args.output, PROGRAM, command, vars(args), DECISIVE)
    for name in set(categories) & (finished_in_place(args.source) | moving(args.source, categories)):
        raise InputError(
            f"{categories[name]}: is preprocessed in place already, or was begun; fetch it again, or leave it out with "
            f"--categories"
        )
    samples, unpaired = list_samples(categories)
    check_unit(samples, args.unit)
    return common.convert(
        PROGRAM, record, args.output, categories, make_jobs(samples, args.output, args), unpaired, args.workers
    )


def finished_in_place(source):
    """Names of the categories that earlier runs of --in_place have replaced."""
    return set(common.read_record(source).get("in_place", ()))


def moving(source, categories):
    """Names of the categories whose files a run of --in_place had begun to replace when it was stopped."""
    return {name for name in categories if (source / STAGE / name / COMPLETE).exists()}


def preprocess_in_place(args, command):
    """Replace the download's files; returns the exit code.

    Results first go to a hidden folder beside the categories. When all samples of a category are there, the file
    COMPLETE is written and the results are moved. If this is interrupted, the next run moves the rest. So no file is
    preprocessed twice.
    """
    categories = common.find_categories(args.source, args.categories, "mvtec3d")
    record = common.Record(args.source, PROGRAM, command, vars(args), DECISIVE)
    stage, finished, begun = args.source / STAGE, finished_in_place(args.source), moving(args.source, categories)
    samples, unpaired = list_samples(categories)
    check_unit([s for s in samples if _category(s.name) not in finished | begun], args.unit)
    jobs = [
        job._replace(mark=sample.rgb)
        if _category(sample.name) in finished | begun
        else job  # for a finished category the mark exists, so nothing is converted
        for job, sample in zip(make_jobs(samples, stage, args), samples)
    ]
    common.prepare(record, args.source, jobs, unpaired)
    outcome = common.run_jobs(jobs, args.workers)
    outcome.failed.update(unpaired)
    lacking = {
        _category(name)
        for name in set(outcome.failed) | {s.name for s in samples} - {*outcome.written, *outcome.skipped}
    }
    for name in set(categories) - finished - lacking:
        publish(stage, name, [s for s in samples if _category(s.name) == name])
        finished.add(name)
        record.finish(outcome, categories, {"in_place": sorted(finished)})
    record.finish(outcome, categories, {"in_place": sorted(finished)})
    for folder in (stage / name for name in finished):
        if folder.is_dir():
            shutil.rmtree(folder)
    if stage.is_dir() and not any(stage.iterdir()):
        stage.rmdir()
    for name in sorted(lacking):
        print(
            f"{categories[name]}: left as it was, since not all of its samples are done; the others wait in {stage}",
            file=sys.stderr,
        )
    return common.report(PROGRAM, outcome, args.source)


def publish(stage, category, samples):
    """Move a category's staged files over those of the download. It can be repeated after an interruption."""
    (stage / category).mkdir(parents=True, exist_ok=True)
    (stage / category / COMPLETE).touch()
    for sample in samples:
        for path, suffix in ((sample.gt, ".png"), (sample.xyz, ".tiff"), (sample.rgb, ".png")):
            if path is None:
                continue
            written = Path(sample.name).name + suffix  # even if the download's suffix or name differs
            staged = stage / Path(sample.name).parent / path.parent.name / written
            if staged.exists():  # else an interrupted run has moved it
                staged.replace(path.with_name(written))
            if path.name != written and path.with_name(written).exists():
                path.unlink(missing_ok=True)


def _category(name):
    return name.split("/")[0]


if __name__ == "__main__":
    run_to_the_end(main)
