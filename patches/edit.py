"""Edits Python files as bytes: finds inserted lines, inserts and removes whole lines, writes all files or none.

Only whole ASCII lines are added, and only lines that this module recognises as its own are removed. So a file's
encoding (PEP 263 cookie, BOM), line endings and indentation stay as they are. Runs on Python 3.8.
"""

import ast
import contextlib
import hashlib
import io
import os
import re
import stat
import tokenize
import warnings

from common.errors import InputError
from common.files import atomic_path

MARKER = "# m3dm-disagreement"
# an inserted line ends with the digest of the scoring_addon.py that was copied with it; --revert recognises the file by
# this digest
OUR_LINE = re.compile(
    rb"[ \t\f]*import scoring_addon; scoring_addon\.(?:add_arguments|record|apply)\([^#]*\)  "
    + MARKER.encode()
    + rb" ([0-9a-f]{12})\s*"
)


class Source:
    """A Python file.

    Attributes:
        path, name: the file's path; its name in messages.
        data, lines: its bytes; the bytes split into lines with their endings, as Python counts lines.
        tree: its syntax tree.

    Raises:
        InputError: the file cannot be read or is not valid Python; the message names the line.
    """

    def __init__(self, path, name, data=None):
        self.path, self.name = path, name
        if data is None:
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError as error:
                raise InputError("{}: cannot be read ({})".format(name, error.strerror or error)) from None
        self.data, self.lines = data, data.splitlines(keepends=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the user's escape sequences may cause warnings
                self.tree = ast.parse(data, str(path))
            self.encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError as error:
            raise InputError(
                "{}: line {}: no valid Python ({}); mend it, or run this with the Python that the file is for".format(
                    name, error.lineno or "unknown", error.msg
                )
            ) from None
        except ValueError as error:  # for example, a null byte
            raise InputError("{}: no valid Python ({})".format(name, error)) from None

    def our_lines(self):
        """{index of an inserted line: the digest in it}; similar text inside a string does not count."""
        starts = {
            node.lineno - 1
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Import) and node.names[0].name == "scoring_addon"
        }
        found = {i: OUR_LINE.fullmatch(self.lines[i]) for i in starts}
        return {i: match.group(1).decode() for i, match in found.items() if match}

    def without_our_lines(self):
        """A Source of the file as it was before lines were inserted.

        Raises:
            InputError: the rest is not valid Python, since the file was changed around the inserted lines.
        """
        ours = self.our_lines()
        if not ours:
            return self
        lines = [line for i, line in enumerate(self.lines) if i not in ours]
        if lines and len(self.lines) - 1 in ours and not self.lines[-1].endswith((b"\n", b"\r")):
            lines[-1] = lines[-1].rstrip(b"\r\n")  # a file without a final newline got one before the inserted line
        try:
            return Source(self.path, self.name, b"".join(lines))
        except InputError:
            raise InputError(
                "{}: line {}: without this inserted line the file is no valid Python; give the block a statement of "
                "your own".format(self.name, min(ours) + 1)
            ) from None

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
        """The file's bytes with lines inserted.

        Args:
            insertions: {index of the line to insert before: (indentation, text without a newline)}, bytes.
        """
        out = []
        for i in range(len(self.lines) + 1):
            if i in insertions:
                new = b"".join(insertions[i])
                ending = self._ending(i)
                out.append(new + ending if i == 0 or self.lines[i - 1].endswith((b"\n", b"\r")) else ending + new)
            out.extend(self.lines[i : i + 1])
        return b"".join(out)

    def _ending(self, index):
        """The line ending at a place: that of the line before it, else that of the file's first line."""
        for line in (*self.lines[max(index - 1, 0) : index], *self.lines[:1]):
            ending = line[len(line.rstrip(b"\r\n")) :]
            if ending:
                return ending
        return os.linesep.encode()

    def _text(self, lineno):
        """A line in UTF-8, since ``col_offset`` counts UTF-8 bytes."""
        return self.lines[lineno - 1].decode(self.encoding, "replace").encode("utf-8")


def digest(data):
    """Twelve characters that identify a version of scoring_addon.py, whatever its line endings."""
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()[:12]


def write_all(changes):
    """Write or delete several files, each in one step; if one fails, the others are restored.

    Args:
        changes: {path: new bytes, or None to delete}. The last file is written first and deleted last, so put the file
            that the others import last.

    Raises:
        InputError: a file cannot be written.
    """
    before = {path: _read(path) for path in changes}
    try:
        with contextlib.ExitStack() as stack:  # all temporary files are written before the first replaces its target
            for path, data in changes.items():
                if data is not None:
                    _stage(stack, path, data)
        for path, data in changes.items():
            if data is None:
                os.unlink(path)
    except BaseException as error:
        for path, data in before.items():
            if _read(path) != data:
                if data is None:
                    os.unlink(path)
                else:
                    with contextlib.ExitStack() as stack:
                        _stage(stack, path, data)
        if isinstance(error, OSError):
            raise InputError(
                "{}: cannot be written ({}); nothing was changed".format(
                    error.filename or list(changes)[0], error.strerror or error
                )
            ) from None
        raise


def _stage(stack, path, data):
    """Write ``data`` to a temporary file that becomes ``path``, with its permissions, when ``stack`` closes."""
    if os.path.exists(path):
        stack.callback(os.chmod, path, stat.S_IMODE(os.stat(path).st_mode))
    with open(stack.enter_context(atomic_path(path)), "wb") as file:
        file.write(data)


def _read(path):
    """A file's bytes, or None if there is no file."""
    if not os.path.lexists(path):
        return None
    with open(path, "rb") as file:
        return file.read()
