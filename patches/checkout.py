"""An M3DM checkout as syntax: which files its main.py uses, their classes, and which method overrides which."""

import ast
import os
from pathlib import Path

from patches.edit import MARKER, Source
from utils.errors import InputError

PROJECT = Path(__file__).resolve().parents[1]
ADDON = "scoring_addon.py"
HINTS = (
    b"compute_single_s_s_map",
    b"calculate_metrics",
)  # one of them is in every file that can hold a place in a class


class Class:
    """A class of the checkout: ``name``, the ``source`` it stands in, its ``node`` and {name: function node}
    ``methods``."""

    def __init__(self, source, node):
        self.source, self.node, self.name = source, node, node.name
        self.methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}

    def at(self, method=None):
        """Where it stands, for messages."""
        line = (self.methods[method] if method else self.node).lineno
        return "{}: line {}: {}".format(self.source.name, line, self.name + ("." + method if method else ""))


class Checkout:
    """The files of a checkout in which places are looked for, without the lines that were inserted before.

    Args:
        root: folder of main.py.
        everything: all Python files instead of those that main.py imports, directly or not. A file that is no Python
            is an error if main.py imports it or if it holds one of the names that are looked for; any other one is
            left out.

    Attributes:
        sources: {path: Source}; imported: paths of those that main.py imports, and its own.
        classes: [Class].
    """

    def __init__(self, root, everything=False):
        self.root, self.everything = Path(root), everything
        self.main = self.root / "main.py"
        if not self.main.is_file():
            raise InputError("{}: no main.py in it; give the folder of an M3DM checkout".format(root))
        self.sources, self.imports = {}, {}
        self._follow(self.main)
        self.imported = list(self.sources)
        if everything:
            for path in python_files(self.root):
                if path not in self.sources and path.name != ADDON and any(hint in path.read_bytes() for hint in HINTS):
                    self._follow(path)
        self.classes = [
            Class(source, node)
            for source in self.sources.values()
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ClassDef)
        ]

    def _follow(self, path):
        """Read a file and everything of the checkout that it imports."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            if path not in self.sources:
                self.sources[path] = Source(path, path.relative_to(self.root).as_posix()).without_our_lines()
                self.imports[path] = self._imports(path)
                waiting.extend(file for files, _ in self.imports[path] for file in files)

    def _imports(self, path):
        """[(files of the checkout that an import reads, {local name: imported name})] of a file; no files: a
        library's."""
        found = []
        for node in ast.walk(self.sources[path].tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found.append(
                        (
                            self._files(self.root, alias.name.split(".")),
                            {alias.asname or alias.name.split(".")[0]: alias.name},
                        )
                    )
            elif isinstance(node, ast.ImportFrom):
                folder, base = self.origin(path, node)
                files = [file for alias in node.names for file in self._files(folder, base + [alias.name])]
                found.append((files, {alias.asname or alias.name: alias.name for alias in node.names}))
            elif isinstance(node, ast.Call) and "import_module" in (
                    getattr(node.func, "attr", None), getattr(node.func, "id", None)):
                words = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
                found.extend((self._files(self.root, word.split(".")), {}) for word in words if isinstance(word, str))
        return found

    def origin(self, path, node):
        """(folder, parts of the dotted name below it) that a ``from`` import of the file reads from."""
        folder = path.parents[min(node.level, len(path.parents)) - 1] if node.level else self.root
        return folder, node.module.split(".") if node.module else []

    def _files(self, folder, parts):
        """The files that importing the dotted name reads: the packages' ``__init__`` and the module."""
        stems = [folder.joinpath(*parts[:i]) for i in range(1, len(parts) + 1)] + [folder]
        files = [file for stem in stems for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py")]
        return [file for file in files if self.root in file.parents and file.name != ADDON and file.is_file()]

    # ------------------------------------------------------------ classes

    def bases(self, cls):
        """The classes of the checkout that ``cls`` derives from directly; where no import tells which of several is
        meant, all."""
        out = []
        for expression in cls.node.bases:
            root = expression
            while isinstance(root, ast.Attribute):
                root = root.value
            name = expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", None)
            files, originals = [], set()
            for imported, names in self.imports[cls.source.path]:
                files.extend(imported)
                originals.update(original for local, original in names.items() if local == name and imported)
                if not imported and getattr(root, "id", None) in names:
                    name = None  # from a library
            near = [c for c in self.classes if c.name in (originals or {name}) and c.source.path in files]
            own = [c for c in self.classes if c.name == name and c.source is cls.source and c is not cls]
            out.extend(own or near or [c for c in self.classes if c.name in (originals or {name}) and c is not cls])
        return out

    def lineage(self, cls, seen=()):
        """``cls`` and all it derives from, nearest first."""
        out = [cls]
        for base in self.bases(cls):
            if base not in seen:
                out.extend(c for c in self.lineage(base, (*seen, *out)) if c not in out)
        return out

    def descendants(self, cls):
        """The classes that derive from ``cls``, directly or not."""
        return [c for c in self.classes if c is not cls and cls in self.lineage(c)]

    def called_from(self, cls, starts, past=()):
        """Names of the methods that an object of ``cls``, or of a class derived from it, may run from the methods
        ``starts``, not by way of ``past``."""
        reached, waiting = set(past), list(starts)
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            for method in (c.methods[name] for c in self.family(cls) if name in c.methods):
                waiting.extend(
                    node.attr
                    for node in ast.walk(method)
                    if isinstance(node, ast.Attribute) and is_own(node.value, method)
                )
        return reached - set(past)

    def family(self, cls):
        """The classes whose methods an object of ``cls``, or of a class derived from it, may have."""
        return self.lineage(cls) + self.descendants(cls)

    def written_by_user(self, hook):
        """[(Source, node)]: calls of ``scoring_addon.<hook>`` that were not inserted by us."""
        return [
            (source, node)
            for source in self.sources.values()
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == hook
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "scoring_addon"
        ]


def is_own(node, method):
    """Whether an expression is the method's ``self`` or ``super()``."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and bool(method.args.args) and node.id == method.args.args[0].arg


def python_files(root):
    """The checkout's own Python files: none of hidden folders, virtual environments, other repositories in it, or
    this project."""
    out = []
    for folder, names, files in os.walk(str(root)):
        inner = [Path(folder, name) for name in names]
        names[:] = sorted(
            f.name
            for f in inner
            if not (
                f.name.startswith(".")
                or f.name in ("site-packages", "node_modules", "__pycache__")
                or (f / "pyvenv.cfg").exists()
                or (f / ".git").exists()
                or f.resolve() == PROJECT
            )
        )
        out.extend(
            Path(folder, name) for name in sorted(files) if name.endswith(".py") and Path(folder, name).is_file()
        )
    return out


def patched_files(root):
    """[Source] of the checkout's files that hold our lines."""
    found = (
        Source(path, path.relative_to(root).as_posix())
        for path in python_files(root)
        if MARKER.encode() in path.read_bytes()
    )
    return [source for source in found if source.our_lines()]
