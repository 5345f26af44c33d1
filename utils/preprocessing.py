"""Convert MVTec 3D-AD as downloaded into what M3DM reads: the part without plane and surroundings, padded to a square.

    python utils/preprocessing.py DOWNLOAD -o datasets/mvtec3d
    python utils/preprocessing.py DOWNLOAD --in_place

A stopped run continues where it was; finished samples are left as they are.
"""

import shutil
import sys
from pathlib import Path

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
from data.units import WrongUnit, unit

PROGRAM = "preprocessing.py"
SPLITS = ("train", "validation", "test")
LOOKED_FOR = "train, validation and test, each with <defect>/rgb/*.png and <defect>/xyz/*.tiff"
STAGE = ".preprocessing"  # folder in the download: holds results of --in_place until a category is complete
COMPLETE = "complete"  # file in a category's stage: all results are there, and moving them has begun


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    return common.run(PROGRAM, build_parser(), argv, preprocess)


def build_parser():
    """The argument parser."""
    parser = common.build_parser(PROGRAM, __doc__, "mvtec3d")
    parser.add_argument("source", type=Path, metavar="SRC", help="the download: folder of the categories")
    where = parser.add_mutually_exclusive_group(required=True).add_argument
    where("-o", "--output", type=Path, metavar="DST", help="folder for the result")
    text = "replace the download's files, a category at a time and only when all of its samples could be done"
    where("--in_place", action="store_true", help=text)
    add = parser.add_argument
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the search for the plane")
    text = "of the download's coordinates: m, cm, mm, um, or the metres of one count; metres are written (default: "
    text += "metres, and refused if they do not look like it)"
    add("--unit", type=unit, metavar="UNIT", help=text)
    text = "parts that touch the frame are done with a warning (else they are failures)"
    add("--keep_touching", action="store_true", help=text)
    return parser


def preprocess(args, command):
    """Convert what the options ask for; returns the exit code.

    In place, results first go to a hidden folder beside the categories. When all samples of a category are there, the
    file COMPLETE is written and the results are moved. If this is interrupted, the next run moves the rest. So no file
    is preprocessed twice.
    """
    source, stage = args.source, args.source / STAGE
    categories = common.find_categories(source, args.categories, "mvtec3d", args.output)
    record = common.Record(args.output or source, PROGRAM, command, vars(args), ("seed", "unit"))
    finished = set(common.read_record(source).get("in_place", ()))
    replaced = finished | {name for name in categories if (stage / name / COMPLETE).exists()}
    if args.output and replaced & set(categories):
        folder = next(folder for name, folder in categories.items() if name in replaced)
        mend = "fetch it again, or leave it out with --categories"
        raise InputError(f"{folder}: is preprocessed in place already, or was begun; {mend}")
    settings = args.seed, args.keep_touching, args.unit
    jobs, unpaired = common.list_jobs(
        categories, lambda *of: list_category(*of, stage if args.in_place else args.output, settings), LOOKED_FOR
    )
    check_unit([job for job in jobs if _category(job.name) not in replaced], args.unit)
    if not args.in_place:
        return common.convert(record, args.output, categories, jobs, unpaired, args.workers)[0]
    # of a replaced category nothing is converted, since this mark exists
    jobs = [job._replace(mark=job.files[0]) if _category(job.name) in replaced else job for job in jobs]

    def publish(outcome):
        done, names = {*outcome.written, *outcome.skipped}, {job.name for job in jobs}
        lacking = {_category(name) for name in {*outcome.failed, *names} - done}
        for name in set(categories) - finished - lacking:
            replace_files(stage, name, [job for job in jobs if _category(job.name) == name])
            finished.add(name)
            record.finish(outcome, categories, {"in_place": sorted(finished)})
        for name in finished:
            shutil.rmtree(stage / name, ignore_errors=True)
        if stage.is_dir() and not any(stage.iterdir()):
            stage.rmdir()
        for name in sorted(lacking):
            left = f"left as it was, since not all of its samples are done; the others wait in {stage}"
            print(f"{categories[name]}: {left}", file=sys.stderr)
        return {"in_place": sorted(finished)}

    return common.convert(record, source, categories, jobs, unpaired, args.workers, publish)[0]


def list_category(category, folder, target, settings):
    """([Job], {sample: what it lacks}) of the category in ``folder``; ``settings``: of ``convert``."""
    # imported here, so that --help answers at once, and before processes are forked, which then share it
    from data import foreground  # noqa: F401

    jobs, unpaired = [], {}
    for split in SPLITS:
        defects, notes = defect_folders(folder / split)
        for defect in defects:
            masked, where = split == "test" and defect.name != GOOD, f"{category}/{split}/{defect.name}"
            found = pair(defect, with_masks=masked)
            for _, text in (*notes, *found.notes):
                print(f"warning: {text}", file=sys.stderr)
            notes, own = (), {} if masked else {path.stem: path for path in part_files(defect, "gt")}
            for part in (*found.parts, *found.incomplete):
                stem = next(path for path in part if path).stem
                part = part if masked else part._replace(gt=own.get(stem))
                lacking = [kind for kind in ("rgb", "xyz", "gt")[: 2 + masked] if getattr(part, kind) is None]
                if lacking:
                    unpaired[f"{where}/{stem}"] = f"{defect}: {stem} has no file in {' and '.join(lacking)}"
                else:
                    jobs.append(common.job_of(target, f"{where}/{stem}", convert, part, *settings))
            if found.problems and not found.incomplete:
                unpaired[where] = found.problems[0]
    return jobs, unpaired


def convert(files, folder, name, seed, keep_touching, unit=None):
    """Preprocess one sample's ``files`` (rgb, xyz, gt or None) into ``folder``; returns warnings.
    Raises InputError: a file cannot be used, sizes differ, or ``isolate`` refuses the scan."""
    from data.foreground import isolate, pad_square

    rgb = np.asarray(read_picture(files[0], "RGB"))
    xyz, broken, notes = read_unexamined(files[1], unit)
    gt = None if files[2] is None else mask_values(files[2])
    common.check_sizes(files[0], rgb, (files[1], xyz), (files[2], gt))
    try:
        part = isolate(rgb, xyz, seed, keep_touching)
    except InputError as error:
        raise InputError(f"{files[1]}: {error}") from None
    gt = None if gt is None else pad_square(gt)
    common.save_sample(folder, name, pad_square(part.rgb), pad_square(part.xyz), gt)
    if broken:
        notes.append(f"{files[1]}: {broken} pixels with NaN or inf are taken as background")
    if part.touching:
        notes.append(f"{files[1]}: the part touches the frame with {part.touching} points")
    return notes


def mask_values(path):
    """Mask [H, W] uint8: the file's own grey values if they agree with ``read_defect``; else 0 and 255, since grey
    values would lose what a palette, colours, class numbers or transparency mean."""
    defect, grey = read_defect(path), np.asarray(read_picture(path, "L"))
    return grey if np.array_equal(grey > 127, defect) else defect.astype(np.uint8) * 255


def check_unit(jobs, unit):
    """Refuse, before any work, a category whose coordinates are in another unit.
    Raises WrongUnit: the category's first, middle and last sample all do not look like ``unit``."""
    for category in dict.fromkeys(_category(job.name) for job in jobs):
        own = [job for job in jobs if _category(job.name) == category]
        refusals = [_refusal(own[at].files[1], unit) for at in {0, len(own) // 2, len(own) - 1}]
        if all(refusals):
            raise min(refusals, key=str)


def _refusal(path, unit):
    try:
        read_unexamined(path, unit)
    except WrongUnit as error:
        return error
    except InputError:  # the file's own job will tell
        pass
    return None


def replace_files(stage, category, jobs):
    """Move a category's staged files over those of the download. It can be repeated after an interruption."""
    (stage / category).mkdir(parents=True, exist_ok=True)
    (stage / category / COMPLETE).touch()
    for job in jobs:
        rgb, xyz, gt = job.files
        for path, suffix in ((gt, ".png"), (xyz, ".tiff"), (rgb, ".png")):
            if path is None:
                continue
            written = Path(job.name).name + suffix  # even if the download's suffix or name differs
            staged = stage / Path(job.name).parent / path.parent.name / written
            if staged.exists():  # else an interrupted run has moved it
                staged.replace(path.with_name(written))
            if path.name != written and path.with_name(written).exists():
                path.unlink(missing_ok=True)


def _category(name):
    return name.split("/")[0]


if __name__ == "__main__":
    run_to_the_end(main)
