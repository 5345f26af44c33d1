"""Add the scoring add-on to an M3DM checkout: scoring_addon.py beside its main.py, and the lines that call it.

    python patches/apply.py PATH_TO_M3DM

No line of the checkout is changed or removed. If a place for a line is not certain, nothing is changed at all.
Runs on the release's Python 3.8 with the standard library alone.
"""

import argparse
import ast
import difflib
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.errors import InputError
from patches.anchors import find_places
from patches.checkout import ADDON, PROJECT, patched_files, python_files
from patches.edit import MARKER, Source, digest, write_all

FINE, FAILED, REFUSED = 0, 1, 2


def main(argv=None):
    """Run the command line; returns the exit code.

    0: fine; 1: --check found that it cannot be done, or --revert left a file; 2: refused.
    """
    args = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if sys.version_info < (3, 8):
            raise InputError("Python 3.8 or newer is needed")
        root = Path(os.path.abspath(args.path))
        if root.resolve() == PROJECT:
            raise InputError(
                "{}: this project has the scoring built in; give the folder of another M3DM checkout".format(args.path)
            )
        if not root.is_dir():
            raise InputError("{}: no such folder; give the folder of an M3DM checkout".format(args.path))
        return revert(root) if args.revert else add(root, args)
    except InputError as error:
        print("apply.py: {}".format(error), file=sys.stderr)
        return REFUSED
    except OSError as error:
        print("apply.py: {}: {}; nothing was changed".format(error.filename, error.strerror), file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("apply.py: interrupted; nothing was changed", file=sys.stderr)
        return FAILED


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH_TO_M3DM", help="folder of the checkout's main.py")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--check", action="store_true", help="only say what would be done; exit code 1 if it cannot be done"
    )
    what.add_argument("--diff", action="store_true", help="only print what would be done as a unified diff")
    what.add_argument("--revert", action="store_true", help="remove what was inserted, nothing else")
    return parser


def _interrupt(*_):
    raise KeyboardInterrupt


def add(root, args):
    """Insert the missing lines and copy scoring_addon.py; returns the exit code."""
    checkout, places, faults, why = find_places(root)
    changes, report, target, ours = {}, [], root / ADDON, (PROJECT / ADDON).read_bytes()
    if os.path.lexists(str(target)) and not _is_ours(target, root, ours):
        faults.append(
            "{}: is there and is not the file that is copied (or was edited since); move it away and run "
            "this again".format(target)
        )
    if faults:
        for fault in faults:
            print("apply.py: not applicable: {}".format(fault), file=sys.stderr)
        print("apply.py: {}: nothing was changed".format(args.path), file=sys.stderr)
        return FAILED if args.check else REFUSED
    for source in checkout.sources.values():
        data, lines = _inserted(source, [place for place in places if place.source is source], digest(ours))
        if data != source.path.read_bytes():
            changes[Path(os.path.realpath(str(source.path)))] = data
            report.extend("{}: line {}: scoring_addon.{}".format(source.name, line, code) for line, code in lines)
    if not target.exists() or target.read_bytes() != ours:
        changes[target] = ours  # it has to be the last entry, see write_all
        report.append("{}: copy".format(ADDON))
    if args.diff:
        sys.stdout.buffer.write(b"".join(_diff(root, path, data) for path, data in changes.items()))
        sys.stdout.flush()
        return FINE
    if not args.check:
        write_all(changes)
    last = (
        "nothing was changed; without --check this is inserted"
        if args.check
        else "done; now: python main.py ... --scoring disagreement"
    )
    done = [*report, last] if changes else ["{}: already applied, nothing to do".format(args.path)]
    print("\n".join([*why, *done]))
    return FINE


def revert(root):
    """Remove the inserted lines, and the copied file if nothing else needs it; returns the exit code."""
    target, patched = root / ADDON, patched_files(root)
    changes = {Path(os.path.realpath(source.path)): source.without_our_lines().data for source in patched}
    report = [
        "{}: line {}: removed".format(source.name, line + 1)
        for source in patched
        for line in sorted(source.our_lines())
    ]
    kept = None
    if os.path.lexists(str(target)):
        users = [name for path in python_files(root) if path != target for name in _own_imports(path, root)]
        if not _is_ours(target, root, (PROJECT / ADDON).read_bytes()):
            kept = "it is not the file that was copied, or was edited since" if patched else ""
        elif users:
            kept = "{} imports it in a line that was not inserted by this command".format(users[0])
        else:
            changes[target] = None
            report.append("{}: removed".format(ADDON))
    write_all(changes)
    print("\n".join(report or ["{}: nothing to remove".format(root)]))
    if kept:
        print("apply.py: {} is kept: {}".format(target, kept), file=sys.stderr)
        return FAILED
    return FINE


def _inserted(source, places, version):
    """(bytes of ``source`` with the lines of all places inserted, [(line number, call)]).

    Raises:
        InputError: without the inserted lines, the result would not be the same program.
    """
    lines = {
        p.line: (p.indent, "import scoring_addon; scoring_addon.{}  {} {}".format(p.code, MARKER, version).encode())
        for p in places
    }
    new = Source(source.path, source.name, source.with_lines(lines))
    ours, without = set(new.our_lines()), new.without_our_lines().data
    for node in ast.walk(new.tree):
        for field, block in list(ast.iter_fields(node)):
            if isinstance(block, list):
                setattr(node, field, [item for item in block if getattr(item, "lineno", 0) - 1 not in ours])
    if len(ours) != len(places) or ast.dump(new.tree) != ast.dump(source.tree) or without != source.data:
        raise InputError(
            "{}: a line inserted at line {} would change more than it should; insert by hand: {}".format(
                source.name,
                min(p.line for p in places) + 1,
                "; ".join("import scoring_addon; scoring_addon." + p.code for p in places),
            )
        )
    return new.data, [(i + 1, next(p.code for p in places if p.code.encode() in new.lines[i])) for i in sorted(ours)]


def _is_ours(target, root, ours):
    """Whether the file is a scoring_addon.py copied by this project: the present version, or one that lines name."""
    versions = {digest(ours)} | {version for source in patched_files(root) for version in source.our_lines().values()}
    return target.is_file() and digest(target.read_bytes()) in versions


def _own_imports(path, root):
    """["file: line n"] of a file's imports of scoring_addon, without the inserted lines."""
    data = path.read_bytes()
    if b"scoring_addon" not in data:
        return []
    source = Source(path, path.relative_to(root).as_posix(), data)
    ours = source.our_lines()
    lines = [
        node.lineno
        for node in ast.walk(source.tree)
        if node.__class__ in (ast.Import, ast.ImportFrom)
        and node.lineno - 1 not in ours
        and "scoring_addon" in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    ]
    return ["{}: line {}".format(source.name, line) for line in lines]


def _diff(root, path, data):
    """Unified diff of one file as bytes, in the form that ``git apply`` takes."""
    name = (
        os.path.relpath(str(path), os.path.realpath(str(root)) if path.name != ADDON else str(root))
        .replace(os.sep, "/")
        .encode()
    )
    before = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        before,
        data.splitlines(keepends=True),
        b"a/" + name if path.exists() else b"/dev/null",
        b"b/" + name,
        lineterm=b"\n",
    )
    return b"".join(
        line if line.endswith((b"\n", b"\r")) else line + b"\n\\ No newline at end of file\n" for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
