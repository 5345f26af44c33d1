"""Edits Python files as bytes: finds inserted lines, inserts and removes whole lines, writes all files or none.

Only whole ASCII lines are added, and only lines that are recognised as ours removed. So a file's encoding (PEP 263
cookie, BOM), line endings and indentation stay as they are. Runs on Python 3.8.
"""

import ast
import hashlib
import io
import os
import re
import stat
import tokenize
import warnings
from pathlib import Path

from common.errors import InputError
from common.files import atomic_path

PROJECT = Path(__file__).resolve().parents[1]
ADDON = "scoring_addon.py"
MARKER = "# m3dm-disagreement"
# an inserted line ends with the digest of the scoring_addon.py that was copied with it; --revert knows the file by it
OUR_LINE = re.compile(
    rb"[ \t\f]*import scoring_addon; scoring_addon\.(?:add_arguments|check|record|apply)\([^#]*\)  "
    + MARKER.encode()
    + rb" ([0-9a-f]{12})\s*"
)


class Source:
    """A Python file: ``path``, ``name`` in messages, ``data`` and ``lines`` as bytes, syntax ``tree``. InputError: the
    file cannot be read or is not valid Python; the message names the line."""

    def __init__(self, path, name, data=None):
        self.path, self.name = path, name
        try:
            self.data = path.read_bytes() if data is None else data
            self.lines = self.data.splitlines(keepends=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the user's escape sequences may cause warnings
                self.tree = ast.parse(self.data, str(path))
            self.encoding = tokenize.detect_encoding(io.BytesIO(self.data).readline)[0]
        except OSError as error:
            raise InputError("{}: cannot be read ({})".format(name, error.strerror or error)) from None
        except (SyntaxError, ValueError) as error:
            line, why = getattr(error, "lineno", None) or "unknown", getattr(error, "msg", error)
            text = "{}: line {}: no valid Python ({}); mend it, or run this with the Python that the file is for"
            raise InputError(text.format(name, line, why)) from None

    def our_lines(self):
        """{index of an inserted line: the digest in it}; similar text inside a string does not count."""
        found = {i: OUR_LINE.fullmatch(self.lines[i]) for i in self.addon_imports()}
        return {i: match.group(1).decode() for i, match in found.items() if match}

    def addon_imports(self):
        """Indices of the lines that import scoring_addon, inserted or not."""
        nodes = [n for n in ast.walk(self.tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        names = [(n.lineno - 1, [getattr(n, "module", None), *(alias.name for alias in n.names)]) for n in nodes]
        return [i for i, of in names if "scoring_addon" in of]

    def without_our_lines(self):
        """A Source of the file as it was before lines were inserted; InputError if the rest is no valid Python."""
        ours = self.our_lines()
        if not ours:
            return self
        lines = [line for i, line in enumerate(self.lines) if i not in ours]
        if lines and len(self.lines) - 1 in ours and not self.lines[-1].endswith((b"\n", b"\r")):
            lines[-1] = lines[-1].rstrip(b"\r\n")  # a file without a final newline got one before the inserted line
        try:
            return Source(self.path, self.name, b"".join(lines))
        except InputError:
            text = "{}: line {}: without this inserted line the file is no valid Python; give its block a statement"
            raise InputError(text.format(self.name, min(ours) + 1)) from None

    def begins_line(self, node):
        """Whether nothing but white space comes before a statement on its first line."""
        return not self._text(node.lineno)[: node.col_offset].strip(b" \t\f")

    def ends_line(self, node):
        """Whether nothing but a comment follows a statement on its last line."""
        after = self._text(node.end_lineno)[node.end_col_offset :].strip()
        return not after or after.startswith(b"#")

    def indent(self, node):
        """The white space before a statement, as bytes."""
        return re.match(rb"[ \t\f]*", self.lines[node.lineno - 1]).group()

    def with_lines(self, insertions):
        """The bytes with lines inserted; ``insertions``: {index of the line to insert before: bytes, no newline}."""
        out = []
        for i in range(len(self.lines) + 1):
            if i in insertions:
                ending = self._ending(i)
                ended = i == 0 or self.lines[i - 1].endswith((b"\n", b"\r"))
                out.append(insertions[i] + ending if ended else ending + insertions[i])
            out.extend(self.lines[i : i + 1])
        return b"".join(out)

    def _ending(self, index):
        """The line ending at a place: that of the line before it, else that of the file's first line."""
        for line in (*self.lines[max(index - 1, 0) : index], *self.lines[:1]):
            if line.rstrip(b"\r\n") != line:
                return line[len(line.rstrip(b"\r\n")) :]
        return os.linesep.encode()

    def _text(self, lineno):
        """A line in UTF-8, since ``col_offset`` counts UTF-8 bytes."""
        return self.lines[lineno - 1].decode(self.encoding, "replace").encode("utf-8")


def digest(data):
    """Twelve characters that identify a version of scoring_addon.py, whatever its line endings."""
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()[:12]


def python_files(root):
    """The checkout's own Python files, without hidden folders, environments, inner repositories and this project."""
    out = []
    for folder, names, files in os.walk(str(root)):
        inner = [Path(folder, name) for name in sorted(names)]
        inner = [f for f in inner if not (f / "pyvenv.cfg").exists() and not (f / ".git").exists()]
        names[:] = [f.name for f in inner if f.name[0] != "." and f.name != "site-packages" and f.resolve() != PROJECT]
        paths = [Path(folder, name) for name in sorted(files) if name.endswith(".py")]
        out.extend(path for path in paths if path.is_file())
    return out


def write_all(changes):
    """Write or delete files, {path: new bytes, or None to delete}, in this order; if one fails, all are restored.
    InputError: a file cannot be written."""
    before = {path: path.read_bytes() if os.path.lexists(str(path)) else None for path in changes}
    done = []
    try:
        for path, data in changes.items():
            done.append(path)
            _put(path, data)
    except BaseException as error:
        for path in reversed(done):
            if before[path] != (path.read_bytes() if path.exists() else None):
                _put(path, before[path])
        if isinstance(error, OSError):
            text = "{}: cannot be written ({}); nothing was changed"
            raise InputError(text.format(error.filename or done[-1], error.strerror or error)) from None
        raise


def _put(path, data):
    """Write or delete a file in one step; its permissions stay."""
    if data is None:
        os.unlink(str(path))
        return
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(data)
    if mode is not None:
        os.chmod(str(path), mode)
