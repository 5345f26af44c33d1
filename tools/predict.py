"""Judge parts with a saved model: pass, fail, or cannot judge, at a promised rate of false alarms.

    python tools/predict.py fitted/knob.m3dm scans -o judged --pictures --false_alarm 5%
    python tools/predict.py fitted/knob.m3dm --rgb part_0001.png --xyz part_0001.tiff -o judged

FOLDER stands for the parts in every pair of rgb/ and xyz/ below it, at any depth, links included; xyz/ may be missing
where the model's training parts had none. A part whose cloud or picture is not there yet is judged by the next call.
OUT gets verdicts.csv and verdicts.jsonl; it may be the same for many days and cameras. The same command continues after
a stop. Exit code 0: all parts judged; 1: some could not be judged, or a folder could not be read; 2: refused.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number, share
from common.commands import (
    FAILED,
    FINE,
    Parser,
    add_networks,
    add_switches,
    add_threads,
    add_values,
    prose_and_examples,
    run_command,
)
from common.errors import InputError, show_warnings
from common.files import check_writable, remove_leftovers
from common.progress import note
from common.signals import run_to_the_end
from common.threads import set_threads


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="predict.py", description=description, epilog=epilog)
    parser.add_argument("model", type=Path, metavar="MODEL", help="file that main.py --save_model wrote")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="parts: rgb/ and xyz/ anywhere below")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="where verdicts go")
    add_values(
        parser,
        ("rgb", Path, None, "FILE", "one part's picture, with --xyz instead of FOLDER"),
        ("xyz", Path, None, "FILE", "its organised cloud, tiff; not for a model that reads none"),
        ("false_alarm", share, 0.05, "A", "promised share of good parts that fail, as 0.01 or 1%%"),
    )
    add_networks(parser)
    add_threads(parser)
    add_values(
        parser,
        ("scoring", str, None, "NAME", "which of the model's scorings decides (default: its first)"),
        ("num_workers", number(int, 0, 1024), 1, "N", "processes that read files"),
    )
    add_switches(
        parser,
        ("pictures", "a PNG per part: verdict, regions, deviation, a normal part"),
        (
            "evaluate",
            "FOLDER is a test split (good, a folder per defect): rates of false rejects, escapes; "
            "parts that the model was fitted or calibrated with are left out of them",
        ),
        ("overwrite", "judge all parts anew"),
    )
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)  # FOLDER may stand behind options
    if (args.folder is None) == (args.rgb is None) or (args.rgb is None and args.xyz is not None):
        parser.error("give FOLDER, or --rgb FILE and --xyz FILE")
    if args.evaluate and args.folder is None:
        parser.error("--evaluate needs FOLDER")
    show_warnings()
    return run_command("predict.py", args, run, "interrupted before any part was judged")


class Found(NamedTuple):
    """What the options name."""

    parts: dict  # {PartFiles: sizes and times of its files}
    waiting: dict  # {path: what it lacks} of parts that are not complete yet
    unreadable: tuple  # texts on folders
    place: Path  # the folder of them all


def run(args):
    """Judge the parts that the options name; returns the exit code."""
    from inspection.model_file import WRONG, damaged, read_meta
    from inspection.predictions import Predictions, hold_verdicts
    from inspection.verdict import check_rate, needs_clouds

    meta, checksum = read_meta(args.model)
    try:
        scoring = check_rate(args.model, meta, args.false_alarm, args.scoring)
        with_clouds = needs_clouds(meta)
    except WRONG as error:
        raise damaged(args.model, error) from None
    if args.rgb is not None and args.xyz is None and with_clouds:
        raise InputError(f"{args.model}: the model reads clouds: give --xyz FILE too")
    found = find(args, with_clouds)
    check_writable(args.output)
    facts = [checksum, args.false_alarm, scoring, args.evaluate]
    common = {
        "judged_with": hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12],
        "model": f"{args.model.name} {checksum[:12]}",
        "options": f"--false_alarm {args.false_alarm:g} --scoring {scoring}",
    }
    with hold_verdicts(args.output):
        remove_leftovers(args.output)
        done = Predictions(args.output, found.place, common)
        stopped = judge_what_is_left(args, found, done)
    rows = [done.of(part.name, files) for part, files in found.parts.items()]
    rows += [done.of(name, None) for name in (*found.waiting, *(part.name for part in found.parts))]
    return tell_of(args, found, done, [row for row in rows if row is not None], stopped)


def find(args, with_clouds):
    """Found; refuses where a file or the folder is missing, there is no part, or --evaluate finds no good part."""
    from data.scans import NO_PARTS, PartFiles, Scans, find_scans

    if args.folder is None:
        for path in (args.rgb, args.xyz):
            if path is not None and not path.is_file():
                raise InputError(f"{path}: missing file")
        place = args.rgb.parent.parent if args.rgb.parent.name == "rgb" else args.rgb.parent
        scans = Scans((PartFiles(args.rgb.as_posix(), args.rgb, args.xyz),), {}, ())
    else:
        place, scans = args.folder, find_scans(args.folder, with_clouds=with_clouds)
    if not scans.parts and not scans.incomplete:
        raise InputError(scans.unreadable[0] if scans.unreadable else f"{args.folder}: {NO_PARTS}")
    waiting = {path.relative_to(args.folder).as_posix(): reason for path, reason in scans.incomplete.items()}
    parts = [part if with_clouds else part._replace(xyz=None) for part in scans.parts]
    if args.evaluate:
        masks = {part.name: part.gt for part in find_scans(args.folder, True, with_clouds).parts}
        parts = [part._replace(gt=masks.get(part.name)) for part in parts]
        if all(label_of(part.rgb) for part in parts):
            raise InputError(
                f"{args.folder}: --evaluate needs a test split: parts in good/rgb and good/xyz, and a folder "
                "per defect beside good; there is no good part"
            )
    known = {}
    for part in parts:
        try:
            known[part] = [[s.st_size, s.st_mtime_ns] for s in (p.stat() for p in (part.rgb, part.xyz) if p)]
        except OSError as error:
            waiting[part.name] = f"{error.filename}: {error.strerror}"
    return Found(known, waiting, scans.unreadable, place)


def judge_what_is_left(args, found, done):
    """Judge what was ``found`` and is not ``done`` yet (Predictions); write the verdicts' files. Returns whether it was
    interrupted."""
    parts = found.parts.items()
    left = {part: files for part, files in parts if args.overwrite or not _finished(args, done, part, files)}
    if len(left) < len(found.parts):
        judged = f"{len(found.parts) - len(left)} of {len(found.parts)} parts are judged already"
        note(f"predict.py: {judged}; --overwrite judges them anew", sys.stderr)
    again = sum(done.of(part.name, files) is not None for part, files in left.items())
    if again:
        note(f"predict.py: {again} parts were judged before: their verdicts are replaced", sys.stderr)
    stopped = False
    try:
        for path, lacks in found.waiting.items():
            row = {"path": path, "verdict": "cannot judge", "reason": lacks, "files": None}
            done.add({**row, "label": label_of(Path(path))} if args.evaluate else row)
            print(line_of(row), flush=True)
        if left:
            judge_parts(args, left, done)
    except KeyboardInterrupt:
        print("predict.py: interrupted; the same command continues", file=sys.stderr)
        stopped = True
    done.finish()
    return stopped


def judge_parts(args, parts, done):
    """Judge ``parts``, as in Found; print one line per part and add its row to ``done``."""
    set_threads(args.threads)
    from common.progress import track
    from inspection.inspector import Inspector
    from inspection.judged_parts import load_parts, row_of
    from inspection.judged_pictures import draw_judgement

    options = args.checkpoint_dir, args.device, args.false_alarm, args.scoring, args.fusion_module_path
    inspector = Inspector.load(args.model, *options)
    tell_of_model(inspector)
    loaded = load_parts(list(parts), inspector, args.num_workers, args.evaluate)
    for (part, files), read in track(zip(parts.items(), loaded), len(parts), inspector.category):
        label = label_of(part.rgb) if args.evaluate else None
        row, judgement = row_of(part, read, inspector, label)
        row["files"] = files if read.complete else None
        if args.pictures:
            name = Path(part.name if args.folder is not None else Path(part.name).name).with_suffix(".png").as_posix()
            row["pictures"] = done.picture_name(part.name, row["files"], name)
            path = args.output / "pictures" / row["pictures"]
            try:
                if judgement.picture is not None:
                    draw_judgement(path, part.name, judgement, inspector.normal_picture())
            except OSError as error:
                row["problem"] = f"{error.filename or path}: {error.strerror or error}"
        done.add(row)
        print(line_of(row), flush=True)


def tell_of_model(inspector):
    """Print what the model promises, and what makes its scores doubtful here."""
    from common.machine import environment
    from runs.results import untrained_note

    meta, here = inspector.model.meta, {**environment(), "rgb": inspector.rgb_runtime}
    other = [
        f"{'RGB features by' if name == 'rgb' else name} {meta['versions'][name]}, here {here[name]}"
        for name in ("torch", "timm", "numpy", "scikit-learn", "faiss-cpu", "rgb")
        if meta["versions"].get(name, here[name]) != here[name]
    ]
    for text in (
        f"{inspector.category}: {inspector.promise}",
        untrained_note([file["path"] for file in meta["weights"] if file["standin"]]),
        other and f"fitted with {'; '.join(other)}: scores may differ a little from the calibration's",
    ):
        if text:
            print(f"predict.py: {text}", file=sys.stderr)


def tell_of(args, found, done, rows, stopped):
    """Print what all the ``rows`` say together; returns the exit code."""
    if args.evaluate and not stopped:
        from inspection.judged_parts import evaluation_text

        print("\n" + evaluation_text(args.output, rows))
    for text in found.unreadable:
        print(f"predict.py: {text}", file=sys.stderr)
    told = [f"{row['path']}: {row['warning']}" for row in rows if row.get("warning")]
    if told:
        more = f" (and {len(told) - 1} more parts: column warning)" if len(told) > 1 else ""
        print(f"warning: {told[0]}{more}", file=sys.stderr)
    lacking = [row["problem"] for row in rows if row.get("problem")]
    if lacking:
        what = f"{len(lacking)} judged parts lack files: {lacking[0]}"
        print(f"predict.py: {what}; make room: the same command writes them", file=sys.stderr)
    passed, failed, unjudged = (sum(row["verdict"] == of for row in rows) for of in ("pass", "fail", "cannot judge"))
    counts = f"{passed} pass, {failed} fail, {unjudged} cannot be judged"
    print(f"predict.py: {done.recording}: {len(rows)} parts: {counts}", file=sys.stderr)
    return FAILED if unjudged or stopped or found.unreadable or lacking else FINE


def label_of(rgb):
    """0 for the picture of a part in the folder ``good``, 1 in any other (defect) folder."""
    return int(rgb.parent.parent.name != "good")


def _finished(args, done, part, files):
    """Whether a part is judged, with its picture if the options ask for it."""
    row = done.known(part.name, files)
    drawn = row is not None and "pictures" in row and (args.output / "pictures" / row["pictures"]).is_file()
    return drawn if args.pictures else row is not None


def line_of(row):
    """The line to print about a part, from its row."""
    if row["verdict"] == "cannot judge":
        spent = f" ({row['milliseconds']:.0f} ms)" if "milliseconds" in row else ""
        return f"{row['path']}: cannot judge: {row['reason']}{spent}"
    why = f": {row['explanation']}" if row.get("explanation") else ""
    if row["verdict"] == "pass":  # a place stands out, yet the part as a whole does not
        why = f": look at it{why}" if row.get("regions") else ""
    numbers = f"p {row['p_value']:.4g}, score {row['score']:.6g}, threshold {row['threshold']:.6g}"
    return f"{row['path']}: {row['verdict']}, {numbers}, {row['milliseconds']:.0f} ms{why}"


if __name__ == "__main__":
    run_to_the_end(main)
