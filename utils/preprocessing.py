"""Convert MVTec 3D-AD as downloaded into what M3DM reads: the part without plane and surroundings, padded to a square.

    python utils/preprocessing.py DOWNLOAD -o datasets/mvtec3d

A stopped run continues where it was; finished samples are left as they are.
"""

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
KEPT = 0.8  # share of the points off the plane that the part should hold
LOOKED_FOR = "train, validation and test, each with <defect>/rgb/*.png and <defect>/xyz/*.tiff"


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    return common.run(PROGRAM, build_parser(), argv, preprocess)


def build_parser():
    """The argument parser."""
    parser = common.build_parser(PROGRAM, __doc__, "mvtec3d")
    parser.add_argument("source", type=Path, metavar="SRC", help="the download: folder of the categories")
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="DST", help="folder for the result")
    add("--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the search for the plane")
    text = "of the download's coordinates: m, cm, mm, um, or the metres of one count; metres are written (default: "
    text += "metres, and refused if they do not look like it)"
    add("--unit", type=unit, metavar="UNIT", help=text)
    text = "parts that touch the frame are done with a warning (else they are failures)"
    add("--keep_touching", action="store_true", help=text)
    return parser


def preprocess(args, command):
    """Convert what the options ask for; returns the exit code."""
    categories = common.find_categories(args.source, args.categories, "mvtec3d", args.output)
    record = common.Record(args.output, PROGRAM, command, vars(args), ("seed", "unit"))
    settings = args.seed, args.keep_touching, args.unit
    jobs, unpaired = common.list_jobs(categories, lambda *of: list_category(*of, args.output, settings), LOOKED_FOR)
    check_unit(jobs, args.unit)
    return common.convert(record, args.output, categories, jobs, unpaired, args.workers)[0]


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
    if part.share < KEPT:
        notes.append(
            f"{files[1]}: the largest cluster holds {part.share:.0%} of the points off the plane, the rest goes"
        )
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


def _category(name):
    return name.split("/")[0]


if __name__ == "__main__":
    run_to_the_end(main)
