"""Import a camera's recording (pictures with depth images or organised clouds) into the layout that M3DM reads.

    python tools/import_parts.py GOOD -o datasets/mine --category cap --split train/good \\
        --intrinsics fx fy cx cy --unit mm
    python tools/import_parts.py BAD -o datasets/mine --category cap --split test/scratch \\
        --intrinsics camera.json --unit mm

It writes OUT/<category>/<split>/{rgb/NAME.png, xyz/NAME.tiff[, gt/NAME.png]}, a contact sheet to look at, and
preprocessing.json. What was added to the recording, or changed in it, is imported by the same command.
"""

import re
import sys
from functools import partial
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import add_workers
from common.errors import InputError
from common.signals import run_to_the_end
from data import conversion
from data.conversion import mark_of
from data.units import Unit, metres_of, unit

PROGRAM = "import_parts.py"
DECISIVE = ("intrinsics", "unit", "size", "crop", "remove_plane", "picture_bits")
ALIKE = ("picture_bits", "crop", "remove_plane", "fill_holes", "flip")  # the last two: options of version 0.9
PROBED = 5  # scans from which the unit is recognised


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    return conversion.run(PROGRAM, build_parser(), argv, import_parts)


def build_parser():
    """The argument parser."""
    parser = conversion.command_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="folder of the recording; its files may lie in it or below")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the data set")
    add("--category", required=True, metavar="NAME", help="name of the object")
    kinds = "train/good, test/good, test/ and the kind of defect, or validation/good, which is for calibration"
    add("--split", default="train/good", metavar="SPLIT/KIND", help=kinds)
    add = parser.add_argument_group("camera").add_argument
    text = "of depth images: focal lengths and principal point in pixels, or one file: JSON (RealSense, Open3D, Azure "
    text += "Kinect by Open3D), YAML (ROS camera_info, OpenCV, Zivid)"
    add("--intrinsics", nargs="+", metavar="FX FY CX CY", help=text)
    text = "of depth or coordinates: m, cm, mm, um, or metres of one count such as 0.00025 (default: that of the "
    text += "intrinsics' file, else metres or millimetres as recognised from the extents)"
    add("--unit", type=unit, metavar="UNIT", help=text)
    text = "of clouds whose files do not say it (default: the picture's)"
    add("--size", nargs=2, type=number(int, 1), metavar=("WIDTH", "HEIGHT"), help=text)
    text = "that pictures of more than 8 bits use, 12 for many cameras; the same for all splits (default: 16)"
    add("--picture_bits", type=number(int, 8, 16), default=16, metavar="N", help=text)
    add = parser.add_argument_group("the part").add_argument
    box = ("LEFT", "TOP", "WIDTH", "HEIGHT")
    add("--crop", nargs=4, type=number(int, 0), metavar=box, help="keep this rectangle, in pixels of the scan")
    text = "take away the plane that the part lies on and all but the largest cluster, and pad to a square, as the "
    text += "preprocessing of MVTec 3D-AD does"
    add("--remove_plane", action="store_true", help=text)
    add = parser.add_argument_group("which files, where their kind and names do not tell").add_argument
    add("--picture_glob", metavar="PATTERN", help="such as 'color/*.png', relative to SOURCE")
    add("--cloud_glob", metavar="PATTERN", help="of depth images or clouds")
    add("--mask_glob", metavar="PATTERN", help="of masks of defects")
    add("--by_order", action="store_true", help="pair files by their order; else by name, number or time in the name")
    parser.add_argument("--no_sheet", action="store_true", help="write no contact sheet")
    add_workers(parser)
    return parser


def import_parts(args, command):
    """Import what the options ask for; returns the exit code."""
    from cameras.import_record import PartsRecord
    from cameras.part_import import import_part
    from cameras.recordings import find_recording

    label, defective = f"{args.category}/{args.split}", args.split.startswith("test/") and args.split != "test/good"
    check_names(args)
    target, globs = args.output / label, (args.picture_glob, args.cloud_glob, args.mask_glob)
    found = find_recording(args.source, *globs, args.by_order, defective)
    parts = found.parts
    if not parts:
        raise InputError(next(iter(found.lonely.values())))
    record = PartsRecord(target, PROGRAM, command, vars(args), DECISIVE)
    check_alike(args)
    plan = make_plan(args, parts)
    if plan.camera is not None:  # a model keeps it, so that it can judge depth images as they come from the camera
        camera = {name: getattr(plan.camera, name) for name in ("fx", "fy", "cx", "cy", "size")}
        record.content["camera"] = {**camera, "unit": plan.unit.metres, "cropped": bool(args.crop or args.remove_plane)}
    warn(found.notes)
    named = record.name_parts(args.source, parts)
    jobs = [
        conversion.Job(f"{label}/{name}", mark_of(target, name), partial(import_part, files, target, name, plan))
        for name, files in named.items()
    ]
    shown = " with ".join(p.relative_to(args.source).as_posix() for p in parts[0].paths)
    print(f"{args.source}: {len(parts)} parts, for instance {shown}; unit {plan.unit.name} ({plan.unit.found})")
    warn(record.renew(target, args.source, named))
    lonely = {f"{label}/{name}": reason for name, reason in found.lonely.items()}
    code, outcome = conversion.convert(record, target, [args.category], jobs, lonely, args.workers)
    labels = {name: entry["files"][0] for name, entry in record.content["parts"].items()}
    labels = {name: text for name, text in labels.items() if mark_of(target, name).exists()}
    if labels and not outcome.stopped:
        failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
        title = f"{label} · {len(labels)} part{'s' * (len(labels) > 1)}{failed} · unit {plan.unit.name}"
        show(target, labels, None if args.no_sheet else title)
    if defective and not any(files.mask for files in parts):
        print(f"{target}: no masks of defects: images can be scored, pixels cannot")
    return code


def warn(texts):
    """Print each text as a warning."""
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)


def show(target, labels, title):
    """Print how large parts are, and write their contact sheet, unless ``title`` is None; ``labels``: {name: text
    beside it}."""
    import tifffile

    from cameras.alignment import part_pixels, size_text

    paths = [target / "xyz" / f"{name}.tiff" for name in _few(list(labels))]
    size = size_text(*(part_pixels(tifffile.imread(path)) for path in paths))
    print(f"{target}: what is measured of a part {size} (median of {len(paths)})")
    if title is None:
        return
    from cameras.contact_sheet import write_contact_sheet

    sheets = write_contact_sheet(target, list(labels), title, labels)
    more = f", and at {len(sheets) - 1} more pages" if len(sheets) > 1 else ""
    print(f"{sheets[0]}: look at it{more}: does the outline follow the part?")


def check_names(args):
    """Make sure that the result has a place.
    Raises InputError: --split or --category is no valid name, or the output lies inside the recording."""
    if not re.fullmatch(r"(train|validation)/good|test/[^/\\.][^/\\]*", args.split):
        kinds = "train/good, validation/good, test/good, or test/ and the kind of defect"
        raise InputError(f"--split {args.split}: has to be {kinds}")
    if not re.fullmatch(r"[^/\\.][^/\\]*", args.category):
        raise InputError(f"--category {args.category}: has to be the name of a folder")
    target = (args.output / args.category / args.split).resolve()
    if args.source.resolve() in (target, *target.parents):
        raise InputError(f"{args.output}: lies in the recording {args.source}; give another folder for the result")


def check_alike(args):
    """Make sure that all splits of the category are imported with the same options (ALIKE).
    Raises InputError: another split was imported with other options."""
    for path in sorted((args.output / args.category).glob(f"*/*/{conversion.RECORD}")):
        earlier = conversion.read_record(path.parent)
        for name in ALIKE if earlier.get("program") == PROGRAM else ():
            before, now = earlier["options"].get(name), getattr(args, name, None)
            if (before or None) != (now or None):
                why = "splits that are imported differently differ in more than defects"
                raise InputError(f"{path}: was imported with --{name} {before}, this is not ({now}): {why}")


def make_plan(args, parts):
    """The Plan of the import; its unit is the one given or recognised.
    Raises InputError: intrinsics or unit cannot be used, or none of a few parts can be read."""
    from cameras.intrinsics import intrinsics_from
    from cameras.part_import import Plan, probe, settle_unit

    camera = intrinsics_from(args.intrinsics) if args.intrinsics else None
    given = Unit(metres_of(args.unit), f"--unit {args.unit}") if args.unit else None
    own = Unit(camera.unit, f"depth scale of {args.intrinsics[0]}") if camera and camera.unit else None
    if given and own and not 0.99 < given.metres / own.metres < 1.01:
        raise InputError(
            f"--unit {args.unit}: one count is {1000 * given.metres:g} mm, but {args.intrinsics[0]} says "
            f"{1000 * own.metres:g} mm (its depth scale); leave out --unit, or correct the file"
        )
    size = args.size and tuple(args.size[::-1])
    chosen = {name: getattr(args, name) for name in ("crop", "remove_plane", "picture_bits")}
    plan = Plan(camera, given or own, size=size, **chosen)
    probes = probe(_few(parts), plan)
    plan, warnings = settle_unit(probes, plan)
    warn(warnings)
    return plan


def _few(items):
    return items[:: max(1, len(items) // PROBED)][:PROBED]


if __name__ == "__main__":
    run_to_the_end(main)
