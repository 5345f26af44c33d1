"""Add the scoring add-on to an M3DM checkout: scoring_addon.py beside its main.py, and at most ten lines that call it.

    python patches/apply.py PATH_TO_M3DM

No line of the checkout is changed or removed. If a place for a line is not certain, nothing is changed at all.
Runs on the release's Python 3.8 with the standard library alone; --selftest needs what the checkout needs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.errors import InputError  # noqa: E402
from patches import selftest  # noqa: E402
from patches.edit import ADDON, MARKER, PROJECT, Source, digest, python_files, write_all  # noqa: E402
from patches.places import Fault, find_places  # noqa: E402

FINE, FAILED, REFUSED = 0, 1, 2
NOTHING = "nothing was changed"


def main(argv=None):
    """Run the command line; returns the exit code.

    0: fine; 1: --check found that it cannot be done, --selftest failed, --revert left a file, or the report could not
    be written; 2: refused.
    """
    args = build_parser().parse_args(argv)
    try:
        root = Path(os.path.abspath(args.path))
        if root.resolve() == PROJECT:
            raise InputError("{}: has the scoring built in; give the folder of another M3DM checkout".format(args.path))
        if not root.is_dir():
            raise InputError("{}: no such folder; give the folder of an M3DM checkout".format(args.path))
        code, lines, errors = _run(root, args)
    except InputError as error:
        code, lines, errors = REFUSED, [], [str(error)]
    except OSError as error:
        code, lines, errors = REFUSED, [], ["{}: {}; {}".format(error.filename, error.strerror, NOTHING)]
    except KeyboardInterrupt:
        code, lines, errors = FAILED, [], ["interrupted; " + NOTHING]
    for error in errors:
        print("apply.py: {}".format(error), file=sys.stderr)
    try:  # what was done is done, whoever reads of it
        print("\n".join(lines), end="\n" if lines else "", flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more when it ends
        text = "apply.py: {} (the report could not be written: {})"
        print(text.format(lines[-1], error.strerror), file=sys.stderr)
        return code or FAILED
    return code


def build_parser():
    """The argument parser."""
    example = "Example:\n    python patches/apply.py ~/M3DM --check"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=example
    )
    parser.add_argument("path", metavar="PATH_TO_M3DM", help="folder of the checkout's main.py")
    parser.add_argument("--main", default="main.py", metavar="NAME", help="the script that parses the options")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say what would be done; code 1 if it cannot be done")
    what.add_argument("--revert", action="store_true", help="remove what was inserted, nothing else")
    text = "run a patched copy on generated samples, on the CPU, without weights; OPTIONS: for main.py, in quotes"
    what.add_argument("--selftest", nargs="?", const="", metavar="OPTIONS", help=text)
    what.add_argument("--workflow", action="store_true", help="write a GitHub workflow with the self-test into it")
    return parser


def _run(root, args):
    """(exit code, lines for stdout, lines for stderr)."""
    if args.revert:
        return _revert(root, args)
    if args.workflow:
        new = {path: data for path, data in selftest.workflow_files(root, args.main).items() if not path.exists()}
        write_all(new)
        return FINE, ["{}: written".format(path) for path in new] or ["both files are there, nothing to do"], []
    if not (root / args.main).is_file():
        scripts = [path.name for path in sorted(root.glob("*.py")) if b".parse_args(" in path.read_bytes()]
        found = "; --main names the script that parses the options: " + ", ".join(scripts) if scripts else ""
        raise InputError("{}: no {} in it{}; give the folder of an M3DM checkout".format(args.path, args.main, found))
    try:
        changes, lines = _plan(root, args)
    except Fault as fault:
        return (FAILED if args.check else REFUSED), [], ["not applicable: {}".format(fault), NOTHING]
    if args.selftest is not None:
        new = {name: data for name, (_, data) in changes.items()}
        return (*selftest.run(root, args.main, args.selftest.split(), changes=new), [])
    if args.check:
        return FINE, [*lines, NOTHING + "; without --check this is inserted" if changes else "already applied"], []
    made = not (root / "results").exists()
    write_all(dict(changes.values()))
    (root / "results").mkdir(exist_ok=True)  # the release appends its tables there, at the very end
    lines += ["results: made, for the tables"] if made else []
    last = "done; now: python {} ... --scoring disagreement".format(args.main)
    return FINE, [*lines, last if changes else "{}: already applied, nothing to do".format(args.path)], []


def _plan(root, args):
    """({name: (real path, new bytes)}, [what is inserted where, and notes]); Fault if it cannot be done."""
    ours, target, changes, lines = (PROJECT / ADDON).read_bytes(), root / ADDON, {}, []
    if os.path.lexists(str(target)) and not _is_ours(target, root):
        raise Fault(
            "{}: is there and is not the file that is copied (or was edited since); move it away".format(target)
        )
    places, notes = find_places(root, args.main)
    for source in dict.fromkeys(place.source for place in places):
        own = sorted((place for place in places if place.source is source), key=lambda place: place.line)
        data = _inserted(source, own, digest(ours))
        if data != source.path.read_bytes():
            changes[source.name] = Path(os.path.realpath(str(source.path))), data
            text = "{}: line {}: scoring_addon.{}"
            lines += [text.format(source.name, place.line + 1 + i, place.code) for i, place in enumerate(own)]
    if not target.exists() or target.read_bytes() != ours:
        changes[ADDON] = target, ours  # it has to be the last entry, see write_all
        lines.append("{}: copy".format(ADDON))
    for folder in sorted({path.parent for path, _ in changes.values()} | {root}):
        try:
            tempfile.TemporaryFile(dir=str(folder)).close()
        except OSError as error:
            raise Fault("{}: cannot be written ({})".format(folder, error.strerror)) from None
    return changes, lines + notes


def _inserted(source, places, version):
    """The bytes of ``source`` with the lines of all places inserted.

    Raises:
        InputError: the lines would not be statements of their own, between those that are there.
    """
    form = "import scoring_addon; scoring_addon.{}  " + MARKER + " " + version
    lines = {place.line: place.indent + form.format(place.code).encode() for place in places}
    new = Source(source.path, source.name, source.with_lines(lines))
    if len(new.our_lines()) != len(places) or new.without_our_lines().data != source.data:
        raise InputError("{}: lines inserted would change more than they should; {}".format(source.name, NOTHING))
    return new.data


def _patched(root):
    """[Source] of the checkout's files that contain inserted lines."""
    paths = [path for path in python_files(root) if MARKER.encode() in path.read_bytes()]
    sources = [Source(path, path.relative_to(root).as_posix()) for path in paths]
    return [source for source in sources if source.our_lines()]


def _revert(root, args):
    """Remove the inserted lines, and the copied files if nothing else needs them."""
    patched, target, errors = _patched(root), root / ADDON, []
    changes = {Path(os.path.realpath(str(source.path))): source.without_our_lines().data for source in patched}
    lines = ["{}: line {}: removed".format(s.name, i + 1) for s in patched for i in sorted(s.our_lines())]
    workflow = selftest.workflow_files(root, args.main).items()
    copied = [path for path, data in workflow if path.is_file() and path.read_bytes() == data]
    if os.path.lexists(str(target)):
        after = {
            path: changes.get(Path(os.path.realpath(str(path)))) or path.read_bytes() for path in python_files(root)
        }
        after = {path: data for path, data in after.items() if path != target and b"scoring_addon" in data}
        left = [path for path, data in after.items() if Source(path, str(path), data).addon_imports()]
        ours, why = _is_ours(target, root), "it is not the file that was copied, or was edited since"
        if ours and not left:
            copied.append(target)
        elif ours or patched:
            why = "{} imports it in a line that was not inserted".format(left[0]) if ours else why
            errors.append("{} is kept: {}".format(target, why))
    changes.update(dict.fromkeys(copied))
    write_all(changes)
    lines += ["{}: removed".format(path) for path in copied]
    return (FAILED if errors else FINE), lines or ["{}: nothing to remove".format(root)], errors


def _is_ours(target, root):
    """Whether the file is a scoring_addon.py copied by this project: the present version, or one that lines name."""
    versions = {version for source in _patched(root) for version in source.our_lines().values()}
    return target.is_file() and digest(target.read_bytes()) in versions | {digest((PROJECT / ADDON).read_bytes())}


if __name__ == "__main__":
    sys.exit(main())
