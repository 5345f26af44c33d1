"""Import a camera's recording (pictures with depth images or organised clouds) into the layout that M3DM reads.

    python tools/import_parts.py GOOD -o datasets/mine --category cap --split train/good \\
        --intrinsics fx fy cx cy --unit mm
    python tools/import_parts.py BAD -o datasets/mine --category cap --split test/scratch \\
        --intrinsics camera.json --unit mm

It writes OUT/<category>/<split>/{rgb/NAME.png, xyz/NAME.tiff[, gt/NAME.png]}, a contact sheet to look at, and
preprocessing.json, which records the files of each part. NAME is what a part's files share: part_0007 of
part_0007_color.png and part_0007_depth.png. A stopped run continues where it was. What was added to the recording, or
changed in it, is imported by the same command.
"""

import functools
import re
import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_workers, prose_and_examples
from common.errors import InputError
from common.files import sha256_of
from common.signals import run_to_the_end
from data import conversion as common

PROGRAM = "import_parts.py"
DECISIVE = ("intrinsics", "unit", "size", "flip", "crop", "fill_holes", "remove_plane", "seed", "picture_bits")
ALIKE = (
    "crop",
    "remove_plane",
    "fill_holes",
    "picture_bits",
)  # options that must be the same in all splits of a category; else the splits differ in more than defects
PROBED = 5  # scans from which the unit is recognised
UNLIKE = 5.0  # warn if the unit given and the unit recognised differ by at least this factor


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    args = build_parser().parse_args(argv)
    command = sys.argv[1:] if argv is None else argv
    return common.run_command(PROGRAM, args, functools.partial(import_parts, command=command))


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog=PROGRAM, description=description, formatter_class=HelpFormatter, epilog=epilog)
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder of the recording; pictures and depth images or clouds may lie in it or below",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder of the data set, which gets the category",
    )
    parser.add_argument("--category", required=True, metavar="NAME", help="name of the object")
    parser.add_argument(
        "--split",
        default="train/good",
        metavar="SPLIT/KIND",
        help="train/good, test/good, or test/ and the kind of defect; validation/good is for calibration",
    )
    camera = parser.add_argument_group("camera")
    camera.add_argument(
        "--intrinsics",
        nargs="+",
        metavar="FX FY CX CY",
        help="of depth images: focal lengths and principal point in pixels, or one "
        "file: JSON (RealSense, Open3D, Azure Kinect by Open3D), YAML (ROS camera_info, OpenCV, Zivid)",
    )
    camera.add_argument(
        "--unit",
        metavar="UNIT",
        help="of depth or coordinates: m, cm, mm, um, or metres of one count such as 0.00025 (default: that of "
        "the intrinsics' file, else metres or millimetres as recognised from the extents)",
    )
    camera.add_argument(
        "--size",
        nargs=2,
        type=number(int, 1),
        metavar=("WIDTH", "HEIGHT"),
        help="of clouds whose files do not say it (default: the picture's)",
    )
    camera.add_argument(
        "--flip",
        choices=("horizontal", "vertical", "both"),
        help="reverse the scan's columns, rows or both, where it is mirrored against the picture",
    )
    which = parser.add_argument_group("which files, where their kind and names do not tell")
    which.add_argument("--picture_glob", metavar="PATTERN", help="such as 'color/*.png', relative to SOURCE")
    which.add_argument("--cloud_glob", metavar="PATTERN", help="of depth images or clouds")
    which.add_argument("--mask_glob", metavar="PATTERN", help="of masks of defects")
    which.add_argument(
        "--by_order", action="store_true", help="pair files by their order; else by name, or by the number in the name"
    )
    camera.add_argument(
        "--picture_bits",
        type=number(int, 8, 16),
        default=16,
        metavar="N",
        help="that pictures of more than 8 bits use, 12 for many cameras; the same for all splits (default: 16)",
    )
    part = parser.add_argument_group("the part")
    part.add_argument(
        "--crop",
        nargs=4,
        type=number(int, 0),
        metavar=("LEFT", "TOP", "WIDTH", "HEIGHT"),
        help="keep this rectangle, in pixels of the scan",
    )
    part.add_argument(
        "--fill_holes",
        type=number(int, 0),
        default=0,
        metavar="PIXELS",
        help="fill holes of at most so many pixels, linear between the pixels around (default: none)",
    )
    part.add_argument(
        "--remove_plane",
        action="store_true",
        help="take away the plane that the part lies on and all but the largest cluster, and pad to "
        "a square, as the preprocessing of MVTec 3D-AD does",
    )
    part.add_argument(
        "--keep_touching",
        action="store_true",
        help="with --remove_plane: parts that touch the frame are done with a warning (else they are failures)",
    )
    part.add_argument(
        "--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the search for the plane"
    )
    parser.add_argument("--no_sheet", action="store_true", help="write no contact sheet")
    add_workers(parser)
    return parser


def import_parts(args, command):
    """Import what the options ask for; returns the exit code."""
    from cameras.recordings import find_recording

    target, label = check_target(args)
    defective = args.split.startswith("test/") and args.split != "test/good"
    globs = args.picture_glob, args.cloud_glob, args.mask_glob
    found = find_recording(args.source, *globs, args.by_order, defective)
    parts = found.parts
    if not parts:
        raise InputError(next(iter(found.lonely.values())))
    record = PartsRecord(target, PROGRAM, command, vars(args), DECISIVE)
    check_alike(args)
    plan = make_plan(args, parts)
    if plan.camera is not None:  # a model keeps it, so that it can judge depth images as they come from the camera
        record.content["camera"] = {
            **{name: getattr(plan.camera, name) for name in ("fx", "fy", "cx", "cy", "size")},
            "unit": plan.unit.metres,
            "cropped": bool(args.crop or args.flip),
        }
    warn(found.notes)
    named = record.name_parts(args.source, parts)
    jobs = [
        common.Job(
            f"{label}/{name}", common.mark_of(target, name), functools.partial(_import_one, files, plan, target, name)
        )
        for name, files in named.items()
    ]
    print(
        f"{args.source}: {len(parts)} parts, for instance {_shown(parts[0], args.source)}; unit {plan.unit.name} "
        f"({plan.unit.found})"
    )
    warn(record.renew(target, args.source, named))
    common.prepare(record, target, jobs, found.lonely)
    outcome = common.run_jobs(jobs, args.workers)
    outcome.failed.update({f"{label}/{name}": reason for name, reason in found.lonely.items()})
    code = common.report(PROGRAM, outcome, target)
    record.finish(outcome, [args.category])
    if not outcome.stopped:
        tell_size(target, named)
        if not args.no_sheet:
            write_sheet(target, label, record.content["parts"], plan, len(outcome.failed), args.workers)
    if defective and not any(files.masks for files in parts):
        print(f"{target}: no masks of defects: images can be scored, pixels cannot")
    return code


def warn(texts):
    """Print each text as a warning."""
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)


def tell_size(target, names):
    """Print how large the part is in the frame, from a few of the parts that were written."""
    from cameras.part_size import size_text, usual_size

    there = [target / "xyz" / f"{name}.tiff" for name in names if common.mark_of(target, name).exists()]
    some = there[:: max(1, len(there) // PROBED)][:PROBED]
    if some:
        print(f"{target}: what is measured of a part {size_text(usual_size(some))} (median of {len(some)})")


def check_target(args):
    """(folder of the split, its name "<category>/<split>/<kind>").

    Raises:
        InputError: --split or --category is no valid name, or the output lies inside the recording.
    """
    if not re.fullmatch(r"(train|validation)/good|test/[^/\\.][^/\\]*", args.split):
        raise InputError(
            f"--split {args.split}: has to be train/good, validation/good, test/good, or test/ and the kind of defect"
        )
    if not re.fullmatch(r"[^/\\.][^/\\]*", args.category):
        raise InputError(f"--category {args.category}: has to be the name of a folder")
    target = args.output / args.category / args.split
    if args.source.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(f"{args.output}: lies in the recording {args.source}; give another folder for the result")
    return target, f"{args.category}/{args.split}"


def check_alike(args):
    """Make sure that all splits of the category are imported with the same options (ALIKE).

    Raises:
        InputError: another split was imported with other options.
    """
    for path in sorted((args.output / args.category).glob(f"*/*/{common.RECORD}")):
        earlier = common.read_record(path.parent)
        for name in ALIKE if earlier.get("program") == PROGRAM else ():
            if earlier["options"].get(name) != getattr(args, name):
                raise InputError(
                    f"{path}: this split was imported with --{name} {earlier['options'].get(name)}, now it is "
                    f"{getattr(args, name)}; splits "
                    "that differ in this differ in more than defects: give the same, or another --category"
                )


def make_plan(args, parts):
    """Plan of the import. The extent, and the unit if it was not given, come from a few scans across the recording.

    Raises:
        InputError: the intrinsics or the unit cannot be used, or none of these scans can.
    """
    from cameras.intrinsics import intrinsics_from
    from cameras.part_import import Plan
    from data import foreground  # noqa: F401  imported before processes are forked, which then share it
    from data.units import Unit, unit_from

    camera = intrinsics_from(args.intrinsics) if args.intrinsics else None
    unit = unit_from(args.unit) if args.unit else None
    if camera and camera.unit:
        told = Unit(camera.unit, f"{camera.unit:g} m", f"depth scale of {args.intrinsics[0]}")
        if unit and not 0.99 < unit.metres / told.metres < 1.01:
            raise InputError(
                f"--unit {args.unit}: one count is {unit.metres:g} m, but {args.intrinsics[0]} says {told.metres:g} m "
                "(its depth scale); leave out --unit, or correct the file"
            )
        unit = unit or told
    plan = Plan(
        camera,
        unit,
        None,
        args.size and tuple(args.size[::-1]),
        args.flip,
        args.crop and tuple(args.crop),
        args.fill_holes,
        args.remove_plane,
        args.keep_touching,
        args.seed,
        args.picture_bits,
    )
    return _with_unit(plan, parts)


def _with_unit(plan, parts):
    from statistics import median

    from cameras.part_import import measure
    from data.pictures import load_picture
    from data.units import VIEW, recognise_unit
    from data.units import measure as size_of

    measures, whole, errors, used, scaled = [], False, [], None, None
    for files in parts[:: max(1, len(parts) // PROBED)][:PROBED]:
        try:
            size = files.picture and load_picture(files.picture).size
            scan = measure(files, plan, size)
        except (InputError, OSError) as error:
            errors.append(InputError(error))
            continue
        measures.append(size_of(scan.points[scan.measured]))
        whole, used = scan.whole_numbers, used or files.cloud
        if size and sorted(size) != sorted(scan.measured.shape):
            scaled = scaled or (size, scan.measured.shape)
    if not measures:
        raise errors[0]
    extent, distance = median(m.extent for m in measures), median(m.distance for m in measures)
    try:
        seen = recognise_unit(extent, distance, whole)
    except InputError as error:
        if plan.unit is None:
            raise InputError(f"{used}: {error}") from None
        seen = None
    plan = plan._replace(unit=plan.unit or seen)
    across = f"{extent * plan.unit.metres:.3g} m across and {distance * plan.unit.metres:.3g} m away"
    if seen and not 1 / UNLIKE < seen.metres / plan.unit.metres < UNLIKE:
        looks = f"looks like {seen.name}, {extent * seen.metres:.3g} m across"
        warn([f"{used}: {looks}; {plan.unit.found} makes it {across}"])
    elif not VIEW[0] <= extent * plan.unit.metres <= VIEW[1]:
        warn([f"{used}: {plan.unit.found} makes it {across}: is that the unit?"])
    if scaled:
        (tall, wide), (rows, columns) = scaled
        warn(
            [
                f"pictures of {tall}×{wide} pixels are scaled to scans of {rows}×{columns}: is the depth aligned to "
                "the picture (the camera's software can do it)? look at the contact sheet: the outline has to follow "
                "the part"
            ]
        )
    return plan._replace(extent=extent * plan.unit.metres if len(measures) > 1 else None)


class PartsRecord(common.Record):
    """preprocessing.json of a split; it also records the files of each part."""

    def name_parts(self, source, parts):
        """{name: Files} of ``parts``. Parts of earlier runs, known by their cloud, keep their names.

        Raises:
            InputError: the split holds parts of another recording.
        """
        from cameras.recordings import part_names

        whose, known = str(source.resolve()), dict(self.earlier.get("parts", {}))
        if self.earlier.get("source", whose) != whose:
            raise InputError(
                f"{self.path}: this split was imported from {self.earlier['source']}, not {whose}; put both recordings "
                "in one folder and import that into a new split, or choose another --output"
            )
        name_of = {path: name for name, entry in known.items() for path in entry["files"]}
        clouds = [files.cloud.relative_to(source).as_posix() for files in parts]
        new = [files for files, cloud in zip(parts, clouds) if cloud not in name_of]
        names = {files.cloud: name for name, files in part_names(source, new, tuple(known)).items()}
        named = {name_of.get(cloud) or names[files.cloud]: files for files, cloud in zip(parts, clouds)}
        self.content.update(source=whose, parts=known)
        return named

    def renew(self, folder, source, named):
        """Have parts written anew whose files are not those of their import; returns texts on them, and on parts whose
        files are no longer there."""
        known, told = self.content["parts"], []
        for name, files in named.items():
            paths = [p for p in (files.picture, files.cloud, *files.masks) if p]
            own = {"files": [p.relative_to(source).as_posix() for p in paths], "sha256": [_content(p) for p in paths]}
            before = known.get(name, own)
            known[name] = own
            mark = common.mark_of(folder, name)
            if not mark.exists() or _same(before, own, paths):
                continue
            changed = set(zip(before["files"], before.get("sha256", ()))) ^ set(zip(own["files"], own["sha256"]))
            shown = ", ".join(sorted({path for path, _ in changed}) or own["files"])
            told.append(f"{name}: imported anew, since its files are not those of its import: {shown}")
            mark.unlink()
        for name in known.keys() - named.keys():
            if common.mark_of(folder, name).exists():
                told.append(
                    f"{name}: its files ({', '.join(known[name]['files'])}) are no longer in {source}; it stays in "
                    f"{folder}: to take it out, remove its files there"
                )
        return told

    def begin(self):
        """Write the record before the first part is written, so that a killed run leaves the parts' numbers."""
        self.earlier = {**self.earlier, **self.content, "state": "running"}
        self._write(self.earlier)


def write_sheet(target, label, parts, plan, failed, workers):
    """Write the contact sheet of all parts in ``target``."""
    from cameras.contact_sheet import write_contact_sheet

    names = [name for name in parts if common.mark_of(target, name).exists()]
    if not names:
        return
    title = (
        f"{label} · {len(names)} part{'s' * (len(names) > 1)}"
        + (f", {failed} failed" if failed else "")
        + f" · unit {plan.unit.name}"
    )
    paths = write_contact_sheet(target, names, title, {name: parts[name]["files"][0] for name in names}, workers)
    print(
        f"{paths[0]}: look at it"
        + (f", and at {len(paths) - 1} more pages" if len(paths) > 1 else "")
        + ": does the outline follow the part?"
    )


def _content(path):
    try:
        return sha256_of(path)
    except OSError:  # reading the part will report that
        return ""


def _same(before, own, paths):
    """Whether a part's entry is still true; earlier versions recorded sizes in bytes."""
    if before["files"] != own["files"]:
        return False
    if "sha256" in before:
        return before["sha256"] == own["sha256"]
    return before.get("bytes") == [path.stat().st_size for path in paths]


def _import_one(files, plan, target, name):
    from cameras.part_import import import_part

    return import_part(files, plan, target, name)


def _shown(files, source):
    paths = [p for p in (files.picture, files.cloud, *files.masks) if p]
    return " with ".join(p.relative_to(source).as_posix() for p in paths)


if __name__ == "__main__":
    run_to_the_end(main)
