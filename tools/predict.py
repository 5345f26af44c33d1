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
import time
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number, share
from common.commands import (
    FAILED,
    FINE,
    HelpFormatter,
    Parser,
    add_networks,
    add_threads,
    prose_and_examples,
    run_command,
)
from common.errors import InputError, show_warnings
from common.files import check_writable, remove_leftovers
from common.progress import note
from common.signals import run_to_the_end
from common.threads import set_threads

EXTRAS = {"pictures": ".png", "ply": ".ply"}  # folders of extra files, and what these end in


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="predict.py", formatter_class=HelpFormatter, description=description, epilog=epilog)
    parser.add_argument("model", type=Path, metavar="MODEL", help="file that main.py --save_model wrote")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="parts: rgb/ and xyz/ anywhere below")
    parser.add_argument("--rgb", type=Path, metavar="FILE", help="one part's picture, with --xyz instead of FOLDER")
    parser.add_argument(
        "--xyz", type=Path, metavar="FILE", help="its organised cloud, tiff; not for a model that reads none"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="where verdicts go")
    parser.add_argument(
        "--false_alarm",
        type=share,
        default=0.05,
        metavar="A",
        help="promised share of good parts that fail, as 0.01 or 1%%",
    )
    add_networks(parser)
    add_threads(parser)
    parser.add_argument("--scoring", metavar="NAME", help="which of the model's scorings decides (default: its first)")
    parser.add_argument(
        "--num_workers", type=number(int, 0, 1024), default=1, metavar="N", help="processes that read files"
    )
    parser.add_argument("--pictures", action="store_true", help="a PNG per part: picture, cloud, overlay, matched part")
    parser.add_argument("--ply", action="store_true", help="the coloured cloud of each part")
    parser.add_argument(
        "--no_gate",
        action="store_true",
        help="judge also scans unlike the training scans; a dead sensor is reported all the same",
    )
    parser.add_argument(
        "--evaluate",
        action="store_true",
        help="FOLDER is a test split (good, a folder per defect): rates of false rejects, escapes; "
        "parts that the model was fitted or calibrated with are left out of them",
    )
    parser.add_argument("--overwrite", action="store_true", help="judge all parts anew")
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
    """What the options name.

    ``parts``: [PartFiles]; ``files``: {part's name: sizes and times of its files}; ``waiting``: {path: what it lacks}
    of parts that are not complete yet; ``unreadable``: texts on folders; ``place``: the folder of them all.
    """

    parts: list
    files: dict
    waiting: dict
    unreadable: tuple
    place: Path


def run(args):
    """Judge the parts that the options name; returns the exit code.

    Raises:
        InputError: something cannot be used; raised before any work.
    """
    from inspection.model_file import read_meta
    from inspection.predictions import locked
    from inspection.promise import check_rate, needs_clouds

    meta, checksum = read_meta(args.model)
    try:
        scoring = check_rate(args.model, meta, args.false_alarm, args.scoring)
        with_clouds = needs_clouds(meta)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{args.model}: is no sound model ({type(error).__name__}: {error})") from None
    if args.rgb is not None and args.xyz is None and with_clouds:
        raise InputError(f"{args.model}: the model reads clouds: give --xyz FILE too")
    if args.ply and not with_clouds:
        raise InputError(f"{args.model}: the model reads no clouds: leave out --ply")
    found = find(args, with_clouds)
    check_writable(args.output)
    facts = [checksum, args.false_alarm, scoring, args.no_gate, args.evaluate]
    common = {
        "judged_with": hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12],
        "model": f"{args.model.name} {checksum[:12]}",
        "options": f"--false_alarm {args.false_alarm:g} --scoring {scoring}{' --no_gate' * args.no_gate}",
    }
    with locked(args.output):
        remove_leftovers(args.output)
        return run_alone(args, found, common)


def run_alone(args, found, common):
    """Judge what was ``found`` and is not judged yet, while no other process writes to the output folder.

    ``common``: see ``Predictions``. Returns the exit code.
    """
    from inspection.predictions import Predictions

    done, stopped = Predictions(args.output, found.place, common), False
    left = [
        part
        for part in found.parts
        if args.overwrite or not _drawn(args, done.known(part.name, found.files[part.name]))
    ]
    if len(left) < len(found.parts):
        judged = f"{len(found.parts) - len(left)} of {len(found.parts)} parts are judged already"
        note(f"predict.py: {judged}; --overwrite judges them anew", sys.stderr)
    again = sum(done.of(part.name, found.files[part.name]) is not None for part in left)
    if again:
        note(f"predict.py: {again} parts were judged before: their verdicts are replaced", sys.stderr)
    try:
        for path, lacks in found.waiting.items():
            row = {"path": path, "verdict": "cannot judge", "reason": lacks, "files": None}
            done.add({**row, "label": label_of(Path(path))} if args.evaluate else row)
            print(line_of(row), flush=True)
        if left:
            judge_parts(args, left, found.files, done)
    except KeyboardInterrupt:
        stopped = True
        print("predict.py: interrupted; the same command continues", file=sys.stderr)
    except BaseException:
        done.close()
        raise
    done.finish()
    keys = [(part.name, found.files[part.name]) for part in found.parts]
    keys += [(name, None) for name in (*found.waiting, *found.files)]
    rows = [row for key in keys for row in [done.of(*key)] if row is not None]
    if args.evaluate and not stopped:
        from inspection.judged_parts import evaluation_text

        print("\n" + evaluation_text(args.output, rows))
    told = [f"{row['path']}: {row['warning']}" for row in rows if row.get("warning")]
    more = f" (and {len(told) - 1} more parts: column warning)" if len(told) > 1 else ""
    for text in (*(f"predict.py: {text}" for text in found.unreadable), *(f"warning: {of}{more}" for of in told[:1])):
        print(text, file=sys.stderr)
    lacking = [row["problem"] for row in rows if row.get("problem")]
    if lacking:
        what = f"{len(lacking)} judged parts lack files: {lacking[0]}"
        print(f"predict.py: {what}; make room: the same command writes them", file=sys.stderr)
    passed, failed, unjudged = (sum(row["verdict"] == of for row in rows) for of in ("pass", "fail", "cannot judge"))
    counts = f"{passed} pass, {failed} fail, {unjudged} cannot be judged"
    print(f"predict.py: {done.recording}: {len(rows)} parts: {counts}", file=sys.stderr)
    return FAILED if unjudged or stopped or found.unreadable or lacking else FINE


def judge_parts(args, parts, files, done):
    """Judge ``parts`` [PartFiles]; print one line per part and add its row to ``done``; ``files``: see Found."""
    set_threads(args.threads)
    from common.machine import environment
    from common.progress import track
    from inspection.inspector import Inspector
    from inspection.judged_parts import fitted_with, load_parts, row_of, write_extras
    from runs.results import untrained_note

    networks = args.checkpoint_dir, args.device
    options = args.false_alarm, args.scoring, not args.no_gate, args.fusion_module_path
    inspector = Inspector.load(args.model, *networks, *options)
    meta, here = inspector.model.meta, {**environment(), "rgb": inspector.rgb_runtime}
    other = [
        f"{'RGB features by' if name == 'rgb' else name} {meta['versions'][name]}, here {here[name]}"
        for name in ("torch", "timm", "numpy", "scikit-learn", "rgb")
        if meta["versions"].get(name, here[name]) != here[name]
    ]
    for text in (
        f"{inspector.category}: {inspector.promise}",
        f"{inspector.category}: {inspector.gate_promise}",
        untrained_note([file["path"] for file in meta["weights"] if file["standin"]]),
        other and f"fitted with {'; '.join(other)}: scores may differ a little from the calibration's",
    ):
        if text:
            print(f"predict.py: {text}", file=sys.stderr)
    known = fitted_with(inspector.model) if args.evaluate else {}
    loaded = load_parts(parts, inspector, args.num_workers)
    for part, (prepared, read, seconds) in track(zip(parts, loaded), len(parts), inspector.category):
        started = time.perf_counter()
        judgement = inspector.judge_prepared(prepared)
        milliseconds = 1000 * (seconds + time.perf_counter() - started)
        facts = files[part.name] if read.complete else None
        name = part.name if args.folder is not None else Path(part.name).name
        extras = {
            kind: done.free_name(kind, part.name, facts, Path(name).with_suffix(suffix).as_posix())
            for kind, suffix in EXTRAS.items()
            if getattr(args, kind)
        }
        label = label_of(part.rgb) if args.evaluate else None
        row = {**row_of(part, judgement, milliseconds, prepared.placed, label), "files": facts, **extras}
        problem = write_extras(args.output, extras, part, judgement, inspector)
        if problem:
            row["problem"] = problem
        if read.warnings:
            row["warning"] = "; ".join(read.warnings)
            if row["reason"]:  # another resolution is the cause of what was found first
                row["reason"] = f"{row['warning']}: {row['reason']}"
        if read.fingerprint in known:
            row["known"] = known[read.fingerprint]
        done.add(row)
        print(line_of(row), flush=True)


def find(args, with_clouds):
    """What the options name: Found; ``with_clouds``: whether a part needs a cloud.

    Raises:
        InputError: a file or the folder is missing, there is no part, or --evaluate finds no good part.
    """
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
    files = {}
    for part in parts:
        try:
            files[part.name] = [[s.st_size, s.st_mtime_ns] for s in (p.stat() for p in (part.rgb, part.xyz) if p)]
        except OSError as error:
            waiting[part.name] = f"{error.filename}: {error.strerror}"
    return Found([part for part in parts if part.name in files], files, waiting, scans.unreadable, place)


def label_of(rgb):
    """0 for the picture of a part in the folder ``good``, 1 in any other (defect) folder."""
    return int(rgb.parent.parent.name != "good")


def _drawn(args, row):
    """Whether a part is judged (its row is known) with all extra files that the options ask for."""
    asked = [kind for kind in EXTRAS if getattr(args, kind)]
    return row is not None and all(kind in row and (args.output / kind / row[kind]).is_file() for kind in asked)


def line_of(row):
    """The line to print about a part, from its row."""
    if row["verdict"] == "cannot judge":
        spent = f" ({row['milliseconds']:.0f} ms)" if "milliseconds" in row else ""
        return f"{row['path']}: cannot judge: {row['reason']}{spent}"
    why = f": {row['explanation']}" if row["verdict"] == "fail" and row.get("explanation") else ""
    numbers = f"p {row['p_value']:.4g}, score {row['score']:.6g}, threshold {row['threshold']:.6g}"
    return f"{row['path']}: {row['verdict']}, {numbers}, {row['milliseconds']:.0f} ms{why}"


if __name__ == "__main__":
    run_to_the_end(main)
