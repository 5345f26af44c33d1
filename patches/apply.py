"""Add the scoring add-on to an M3DM checkout: scoring_addon.py beside its main.py, and at most ten lines that call it.

    python patches/apply.py PATH_TO_M3DM

No line of the checkout is changed or removed. If a place for a line is not certain, nothing is changed at all.
Runs on the release's Python 3.8 with the standard library alone; --selftest needs what the checkout needs.
"""

import argparse
import os
import sys
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

    0: fine; 1: --check found that it cannot be done, --selftest failed, or --revert left a file; 2: refused.
    """
    args = build_parser().parse_args(argv)
    code, lines, errors = REFUSED, [], []
    try:
        root = Path(os.path.abspath(args.path))
        if root.resolve() == PROJECT:
            raise InputError("{}: has the scoring built in; give the folder of another M3DM checkout".format(args.path))
        if not root.is_dir():
            raise InputError("{}: no such folder; give the folder of an M3DM checkout".format(args.path))
        code, lines, errors = _run(root, args)
    except Fault as fault:
        code, errors = FAILED if args.check else REFUSED, ["not applicable: {}".format(fault), NOTHING]
    except InputError as error:
        errors = [str(error)]
    except OSError as error:
        errors = ["{}: {}; {}".format(error.filename, error.strerror, NOTHING)]
    except KeyboardInterrupt:
        code, errors = FAILED, ["interrupted; " + NOTHING]
    for error in errors:
        print("apply.py: {}".format(error), file=sys.stderr)
    for line in lines:
        print(line)
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
    changes, lines = _plan(root, args)
    if args.selftest is not None:
        new = {path.relative_to(root).as_posix(): data for path, data in changes.items()}
        return (*selftest.run(root, args.main, args.selftest.split(), changes=new), [])
    if args.check:
        return FINE, [*lines, NOTHING + "; without --check this is inserted" if changes else "already applied"], []
    made = not (root / "results").exists()
    write_all({_real(path): data for path, data in changes.items()})
    (root / "results").mkdir(exist_ok=True)  # the release appends its tables there, at the very end
    lines += ["results: made, for the tables"] if made else []
    last = "done; now: python {} ... --scoring disagreement".format(args.main)
    return FINE, [*lines, last if changes else "{}: already applied, nothing to do".format(args.path)], []


def _plan(root, args):
    """({path: new bytes}, [what is inserted where, and notes]); Fault if it cannot be done."""
    ours, target, changes, lines = (PROJECT / ADDON).read_bytes(), root / ADDON, {}, []
    if os.path.lexists(str(target)) and not _is_ours(target, root):
        text = "{}: is there and is not the file that is copied (or was edited since); move it away"
        raise Fault(text.format(target))
    places, notes = find_places(root, args.main)
    if not target.exists() or target.read_bytes() != ours:
        changes[target] = ours  # the first to be written, since the others import it
        lines.append("{}: copy".format(ADDON))
    for source in dict.fromkeys(place.source for place in places):
        own = sorted((place for place in places if place.source is source), key=lambda place: place.line)
        data = _inserted(source, own, digest(ours))
        if data != source.path.read_bytes():
            changes[source.path] = data
            text = "{}: line {}: scoring_addon.{}"
            lines += [text.format(source.name, place.line + 1 + i, place.code) for i, place in enumerate(own)]
    return changes, lines + notes


def _inserted(source, places, version):
    """The bytes of ``source`` with the lines of all places inserted, each a statement of its own between the others."""
    form = "import scoring_addon; scoring_addon.{}  " + MARKER + " " + version
    lines = {place.line: place.indent + form.format(place.code).encode() for place in places}
    new = Source(source.path, source.name, source.with_lines(lines))
    if len(new.our_lines()) != len(places) or new.without_our_lines().data != source.data:
        raise InputError("{}: lines inserted would change more than they should; {}".format(source.name, NOTHING))
    return new.data


def _revert(root, args):
    """Remove the inserted lines, and the copied files if nothing else needs them."""
    target, patched, errors = root / ADDON, _patched(root), []
    changes = {_real(source.path): source.without_our_lines().data for source in patched}
    lines = ["{}: line {}: removed".format(s.name, i + 1) for s in patched for i in sorted(s.our_lines())]
    workflow = selftest.workflow_files(root, args.main).items()
    copied = [path for path, data in workflow if path.is_file() and path.read_bytes() == data]
    if os.path.lexists(str(target)):
        files = {path: changes.get(_real(path)) or path.read_bytes() for path in python_files(root) if path != target}
        named = [Source(path, str(path), data) for path, data in files.items() if b"scoring_addon" in data]
        left = [source.name for source in named if source.addon_imports()]
        if not _is_ours(target, root):
            text = "{} is kept: it is not the file that was copied, or was edited since"
            errors = [text.format(target)] if patched else []
        elif left:
            errors = ["{} is kept: {} imports it in a line that was not inserted".format(target, left[0])]
        else:
            copied.append(target)
    write_all({**changes, **dict.fromkeys(copied)})
    lines += ["{}: removed".format(path) for path in copied]
    return (FAILED if errors else FINE), lines or ["{}: nothing to remove".format(root)], errors


def _patched(root):
    """[Source] of the checkout's files that contain inserted lines."""
    paths = [path for path in python_files(root) if MARKER.encode() in path.read_bytes()]
    sources = [Source(path, path.relative_to(root).as_posix()) for path in paths]
    return [source for source in sources if source.our_lines()]


def _is_ours(target, root):
    """Whether the file is a scoring_addon.py copied by this project: the present version, or one that lines name."""
    versions = {version for source in _patched(root) for version in source.our_lines().values()}
    return target.is_file() and digest(target.read_bytes()) in versions | {digest((PROJECT / ADDON).read_bytes())}


def _real(path):
    """The file behind a link."""
    return Path(os.path.realpath(str(path)))


if __name__ == "__main__":
    sys.exit(main())
