"""Judge parts with a saved model: pass, fail, or cannot judge, at a promised rate of false alarms.

    python tools/predict.py models/bagel.m3dm --rgb 000.png --xyz 000.tiff -o out
    python tools/predict.py models/bagel.m3dm FOLDER -o out --false_alarm 0.05 --pictures

FOLDER stands for the parts in every pair of rgb/ and xyz/ below it, at any depth. OUT gets verdicts.csv and
verdicts.jsonl. The same command continues after a stop. Exit code 0: all parts judged; 1: some could not be judged;
2: refused.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FAILED, FINE, HelpFormatter, Parser, add_device, prose_and_examples, run_command
from common.errors import InputError, show_warnings
from common.files import check_writable, remove_leftovers
from common.progress import note
from common.signals import run_to_the_end


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="predict.py", formatter_class=HelpFormatter, description=description, epilog=epilog)
    parser.add_argument("model", type=Path, metavar="MODEL", help="file that main.py --save_model wrote")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="parts: rgb/ and xyz/ anywhere below")
    parser.add_argument("--rgb", type=Path, metavar="FILE", help="one part's picture, with --xyz instead of FOLDER")
    parser.add_argument("--xyz", type=Path, metavar="FILE", help="its organised cloud, tiff")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="where verdicts go")
    parser.add_argument(
        "--false_alarm",
        type=number(float, 0, 1, True),
        default=0.05,
        metavar="A",
        help="promised share of good parts that fail",
    )
    parser.add_argument(
        "--checkpoint_dir",
        type=Path,
        default=Path("checkpoints"),
        metavar="DIR",
        help="folder of the networks' checkpoints",
    )
    parser.add_argument(
        "--fusion_module_path",
        type=Path,
        metavar="FILE",
        help="UFF checkpoint (default: in --checkpoint_dir, or where it was at the fit)",
    )
    add_device(parser)
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
        help="FOLDER is a test split (good, a folder per defect): rates of false rejects, escapes",
    )
    parser.add_argument("--overwrite", action="store_true", help="judge all parts anew")
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)  # FOLDER may stand behind options
    if (args.folder is None) == (args.rgb is None) or (args.rgb is None) != (args.xyz is None):
        parser.error("give FOLDER, or --rgb FILE and --xyz FILE")
    if args.evaluate and args.folder is None:
        parser.error("--evaluate needs FOLDER")
    show_warnings()
    return run_command("predict.py", args, run, "interrupted before any part was judged")


def run(args):
    """Judge the parts that the options name; returns the exit code.

    Raises:
        InputError: something cannot be used; raised before any work.
    """
    from inspection.inspector import check_rate
    from inspection.judged_parts import evaluation_text
    from inspection.predictions import Predictions
    from inspection.saved_model import read_saved

    parts = find(args)
    model = read_saved(args.model)
    scoring, _ = check_rate(model, args.false_alarm, args.scoring)
    check_writable(args.output)
    remove_leftovers(args.output)
    done = Predictions(args.output, tag_of(args, scoring), args.overwrite)
    done.keep([part.name for part in parts])
    left = [part for part in parts if not (done.known(part.name, facts_of(part)) and _drawn(args, part))]
    if len(left) < len(parts):
        note(
            f"predict.py: {len(parts) - len(left)} of {len(parts)} parts are judged already; --overwrite judges them "
            "anew",
            sys.stderr,
        )
    stopped = False
    try:
        if left:
            judge_parts(args, model, left, done)
    except KeyboardInterrupt:
        stopped = True
        print("predict.py: interrupted; the same command continues", file=sys.stderr)
    except BaseException:
        done.close()
        raise
    done.finish([part.name for part in parts])
    rows = [done.rows[part.name] for part in parts if part.name in done.rows]
    if args.evaluate and not stopped:
        print("\n" + evaluation_text(args.output, rows, args.false_alarm))
    unjudged = sum(row["verdict"] == "cannot judge" for row in rows)
    problems = unjudged or stopped or any(row.get("problem") for row in rows)
    print(
        f"predict.py: {len(rows)} parts: {sum(row['verdict'] == 'pass' for row in rows)} pass, "
        f"{sum(row['verdict'] == 'fail' for row in rows)} fail, {unjudged} cannot be judged",
        file=sys.stderr,
    )
    return FAILED if problems else FINE


def judge_parts(args, model, parts, done):
    """Judge ``parts`` [PartFiles] with a SavedModel; print one line per part and add its row to ``done``."""
    from common.machine import environment
    from common.progress import track
    from inspection.inspector import Inspector
    from inspection.judged_parts import label_of, load_parts, row_of, write_extras
    from runs.results import untrained_note

    inspector = Inspector.of_model(
        model,
        args.checkpoint_dir,
        args.device,
        args.false_alarm,
        args.scoring,
        not args.no_gate,
        args.fusion_module_path,
    )
    for text in (inspector.promise, inspector.gate_promise):
        print(f"predict.py: {inspector.category}: {text}", file=sys.stderr)
    note = untrained_note([file["path"] for file in inspector.model.meta["weights"] if file["standin"]])
    if note:
        print(f"predict.py: {note}", file=sys.stderr)
    fitted, here = inspector.model.meta["versions"], environment()
    other = [
        f"{name} {fitted.get(name)}, here {value}"
        for name, value in here.items()
        if name in ("torch", "timm", "numpy", "scikit-learn") and fitted.get(name) != value
    ]
    if other:
        print(
            f"predict.py: fitted with {'; '.join(other)}: scores may differ a little from the calibration's",
            file=sys.stderr,
        )
    loaded = load_parts(parts, inspector, args.num_workers)
    for part, (prepared, seconds) in track(zip(parts, loaded), len(parts), inspector.category):
        started = time.perf_counter()
        judgement = inspector.judge_prepared(prepared)
        milliseconds = 1000 * (seconds + time.perf_counter() - started)
        problem = write_extras(args, part, judgement, inspector)
        label = label_of(part) if args.evaluate else None
        row = row_of(part, judgement, milliseconds, facts_of(part), label, problem)
        done.add(row)
        print(line_of(row), flush=True)


def find(args):
    """[PartFiles] that the options name.

    Raises:
        InputError: a file or the folder is missing, files do not pair, or --evaluate finds no good part.
    """
    from data.scans import PartFiles, find_parts
    from inspection.judged_parts import label_of

    if args.folder is None:
        for path in (args.rgb, args.xyz):
            if not path.is_file():
                raise InputError(f"{path}: missing file")
        return [PartFiles(args.rgb.as_posix(), args.rgb, args.xyz)]
    parts = find_parts(args.folder, with_masks=args.evaluate)
    if args.evaluate and all(label_of(part) for part in parts):
        raise InputError(
            f"{args.folder}: --evaluate needs a test split: parts in good/rgb and good/xyz, and a folder "
            "per defect beside good; there is no good part"
        )
    return parts


def tag_of(args, scoring):
    """A hash of everything except the part that decides a verdict: the model's checksum and the options."""
    with open(args.model, "rb") as file:
        file.seek(-32, 2)
        checksum = file.read().hex()
    facts = [checksum, args.false_alarm, scoring, args.no_gate, args.evaluate]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def facts_of(part):
    """[[size, modification time in ns]] of a part's files."""
    return [[path.stat().st_size, path.stat().st_mtime_ns] for path in (part.rgb, part.xyz)]


def _drawn(args, part):
    from inspection.judged_parts import extra_paths

    return all(path.is_file() for path in extra_paths(args, part).values())


def line_of(row):
    """The line to print about a part, from its row."""
    if row["verdict"] == "cannot judge":
        return f"{row['path']}: cannot judge: {row['reason']} ({row['milliseconds']:.0f} ms)"
    return (
        f"{row['path']}: {row['verdict']}, p {row['p_value']:.4g}, score {row['score']:.6g}, threshold "
        f"{row['threshold']:.6g}, {row['milliseconds']:.0f} ms"
    )


if __name__ == "__main__":
    run_to_the_end(main)
