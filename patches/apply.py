"""Add the scoring add-on to an M3DM checkout: scoring_addon.py beside its main.py, and at most ten lines that call it.

    python patches/apply.py PATH_TO_M3DM

No line of the checkout is changed or removed. If a place for a line is not certain, nothing is changed at all.
Runs on the release's Python 3.8 with the standard library alone; --selftest needs what the checkout needs.
"""

import argparse
import ast
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.errors import InputError  # noqa: E402
from patches import selftest  # noqa: E402
from patches.edit import ADDON, MARKER, PROJECT, Source, digest, python_files, write_all  # noqa: E402
from patches.places import find_places  # noqa: E402

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
    text = "record these classes (default: those that fit, the release's first, as far as ten lines allow)"
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help=text)
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
    changes, lines, faults = _plan(root, args)
    if faults:
        return (FAILED if args.check else REFUSED), [], [*("not applicable: " + f for f in faults), NOTHING]
    if args.selftest is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = selftest.copy_of(root, Path(folder) / "checkout", python_files(root))
            for path, (_, data) in changes.items():
                (copy / path).write_bytes(data)
            code, lines = selftest.run(copy, args.main, args.selftest.split())
        return code, lines, []
    if args.check:
        return FINE, [*lines, NOTHING + "; without --check this is inserted" if changes else "already applied"], []
    made = not (root / "results").exists()
    write_all(dict(changes.values()))
    (root / "results").mkdir(exist_ok=True)  # the release appends its tables there, at the very end
    lines += ["results: made, for the tables"] if made else []
    last = "done; now: python {} ... --scoring disagreement".format(args.main)
    return FINE, [*lines, last if changes else "{}: already applied, nothing to do".format(args.path)], []


def _plan(root, args):
    """({name: (real path, new bytes)}, [what is inserted where, and notes], [why it cannot be done])."""
    ours, target, changes, lines = (PROJECT / ADDON).read_bytes(), root / ADDON, {}, []
    found = find_places(root, args.main, args.classes)
    faults = list(found.faults)
    if os.path.lexists(str(target)) and not _is_ours(target, root):
        text = "{}: is there and is not the file that is copied (or was edited since); move it away"
        faults.append(text.format(target))
    if faults:
        return {}, [], faults
    for source in dict.fromkeys(place.source for place in found.places):
        places = sorted((place for place in found.places if place.source is source), key=lambda place: place.line)
        data = _inserted(source, places, digest(ours))
        if data != source.path.read_bytes():
            changes[source.name] = Path(os.path.realpath(str(source.path))), data
            text = "{}: line {}: scoring_addon.{}"
            lines += [text.format(source.name, place.line + 1 + i, place.code) for i, place in enumerate(places)]
    if not target.exists() or target.read_bytes() != ours:
        changes[ADDON] = target, ours  # it has to be the last entry, see write_all
        lines.append("{}: copy".format(ADDON))
    for folder in sorted({path.parent for path, _ in changes.values()} | {root}):
        try:
            tempfile.TemporaryFile(dir=str(folder)).close()
        except OSError as error:
            faults.append("{}: cannot be written ({})".format(folder, error.strerror))
    return changes, lines + list(found.notes), faults


def _inserted(source, places, version):
    """The bytes of ``source`` with the lines of all places inserted.

    Raises:
        InputError: without the inserted lines, the result would not be the same program.
    """
    form = "import scoring_addon; scoring_addon.{}  " + MARKER + " " + version
    lines = {place.line: place.indent + form.format(place.code).encode() for place in places}
    new = Source(source.path, source.name, source.with_lines(lines))
    ours, without = new.our_lines(), new.without_our_lines().data
    for node in ast.walk(new.tree):
        for field, block in list(ast.iter_fields(node)):
            if isinstance(block, list):
                setattr(node, field, [item for item in block if getattr(item, "lineno", 0) - 1 not in ours])
    if len(ours) != len(places) or ast.dump(new.tree) != ast.dump(source.tree) or without != source.data:
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
    copied = [path for path, data in selftest.workflow_files(root, args.main).items() if _bytes(path) == data]
    if os.path.lexists(str(target)):
        left = [path for path in python_files(root) if path != target and _imports(path, changes)]
        if not _is_ours(target, root):
            errors += (
                ["{} is kept: it is not the file that was copied, or was edited since".format(target)]
                if patched
                else []
            )
        elif left:
            errors.append("{} is kept: {} imports it in a line that was not inserted".format(target, left[0]))
        else:
            copied.append(target)
    changes.update(dict.fromkeys(copied))
    write_all(changes)
    lines += ["{}: removed".format(path) for path in copied]
    return (FAILED if errors else FINE), lines or ["{}: nothing to remove".format(root)], errors


def _imports(path, changes):
    """Whether a file imports scoring_addon after the changes."""
    data = changes.get(Path(os.path.realpath(str(path)))) or path.read_bytes()
    nodes = ast.walk(Source(path, str(path), data).tree) if b"scoring_addon" in data else []
    names = [(getattr(n, "module", None), *(a.name for a in n.names)) for n in nodes if hasattr(n, "names")]
    return any("scoring_addon" in [getattr(name, "name", name) for name in of] for of in names)


def _is_ours(target, root):
    """Whether the file is a scoring_addon.py copied by this project: the present version, or one that lines name."""
    versions = {version for source in _patched(root) for version in source.our_lines().values()}
    return target.is_file() and digest(target.read_bytes()) in versions | {digest((PROJECT / ADDON).read_bytes())}


def _bytes(path):
    return path.read_bytes() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
