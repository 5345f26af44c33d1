"""Give a saved model new calibration parts without a fit, list its versions, or bring an earlier one back.

    python tools/recalibrate.py fitted/knob.m3dm scans/good
    python tools/recalibrate.py fitted/knob.m3dm --history
    python tools/recalibrate.py fitted/knob.m3dm --roll_back

FOLDER holds good parts that the model was not fitted with, in rgb/ and xyz/ at any depth; if it holds folders called
good, only their parts count. They alone calibrate from now on, and the banks stay as they are. The version before stays
in knob.history/. Parts that were chosen because they failed, or of another day, camera or light than those to be
judged, void the promise (docs/verdict.md).

Exit code 0: written; 1: stopped or a disk error; 2: refused, the model is as before.
"""

import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, add_networks, add_switches, prose_and_examples, run_command
from common.errors import InputError, show_warnings
from common.signals import run_to_the_end


def build_parser():
    """The argument parser."""
    description, epilog = prose_and_examples(__doc__)
    parser = Parser(prog="recalibrate.py", description=description, epilog=epilog)
    parser.add_argument("model", type=Path, metavar="MODEL", help="file that main.py --save_model wrote")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="good parts that shall calibrate")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write this file (default: replace MODEL)")
    add_switches(
        parser,
        ("strict", "refuse parts that score far from the others, instead of naming them"),
        ("history", "list the model's versions"),
    )
    text = "bring back the version before, or the one whose id begins with ID"
    parser.add_argument("--roll_back", nargs="?", const="", metavar="ID", help=text)
    add_networks(parser)
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = build_parser()
    args = parser.parse_intermixed_args(argv)
    if (args.folder is not None) + args.history + (args.roll_back is not None) != 1:
        parser.error("give FOLDER, --history or --roll_back")
    if args.folder is None and (args.output or args.strict):
        parser.error("-o and --strict need FOLDER")
    show_warnings()
    return run_command("recalibrate.py", args, run, "interrupted; the model is as before")


def run(args):
    """Do what the options ask for; returns the exit code."""
    from inspection import history

    if args.roll_back is not None:
        print(f"{args.model}: {_line(history.roll_back(args.model, args.roll_back or None))}")
        return FINE
    present = history.version_of(args.model)  # refuses what is no model before anything slow is imported
    if args.history:
        for version in history.versions(args.model):
            print(f"{_line(version)}{' (present)' * (version.id == present.id)}")
        return FINE
    if not args.folder.is_dir():
        raise InputError(f"{args.folder}: is no folder; give one with rgb/ and xyz/ in it or below it")
    from common.files import check_writable
    from inspection.inspector import extractor_of
    from inspection.model_file import write_model
    from inspection.recalibration import good_parts, recalibrated
    from inspection.saved_model import read_saved
    from inspection.verdict import lowest_rate, percent

    path = args.output or args.model
    check_writable(path.parent)
    model = read_saved(args.model)
    parts = good_parts(model, args.folder)
    extractor = extractor_of(model, args.checkpoint_dir, args.device, args.fusion_module_path)
    new = recalibrated(model, extractor, args.folder, parts, args.strict)
    before = history.keep(path)
    write_model(path, new.arrays, new.meta)
    count = new.meta["calibration"]["parts"]
    print(f"{path}: {count} calibration parts: false-alarm rates from {percent(lowest_rate(count))} can be promised")
    if before:
        print(f"recalibrate.py: the version before is {before}; --roll_back brings it back", file=sys.stderr)
    return FINE


def _line(version):
    return f"{version.written[:19].replace('T', ' ')}  {version.id}  {version.method}, {version.parts}"


if __name__ == "__main__":
    run_to_the_end(main)
