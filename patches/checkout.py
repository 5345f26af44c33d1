"""Reads an M3DM checkout as syntax: the files that its main.py imports, their classes, and which overrides which."""

import ast
import os
from pathlib import Path

from common.errors import InputError
from patches.edit import MARKER, Source

PROJECT = Path(__file__).resolve().parents[1]
ADDON = "scoring_addon.py"
HINTS = (
    b"compute_single_s_s_map",
    b"calculate_metrics",
)  # every file with a class that needs a line contains one of them


class Class:
    """A class of the checkout: its ``name``, ``source``, syntax ``node`` and ``methods`` {name: function node}."""

    def __init__(self, source, node):
        self.source, self.node, self.name = source, node, node.name
        self.methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}

    def at(self, method=None):
        """File, line and name of the class or of one of its methods, for messages."""
        line = (self.methods[method] if method else self.node).lineno
        return "{}: line {}: {}".format(self.source.name, line, self.name + ("." + method if method else ""))


class Checkout:
    """The files of a checkout in which places are searched, without lines inserted earlier.

    Args:
        root: folder of main.py.
        everything: search all Python files, not only those that main.py imports, directly or not. A file with invalid
            syntax is an error if main.py imports it, or if it contains one of HINTS; other such files are ignored.

    Attributes:
        sources: {path: Source}.
        imported: paths of main.py and of the files that it imports.
        classes: [Class].
    """

    def __init__(self, root, everything=False):
        self.root, self.everything = Path(root), everything
        self.main = self.root / "main.py"
        if not self.main.is_file():
            raise InputError("{}: no main.py in it; give the folder of an M3DM checkout".format(root))
        self.sources, self.imports, self._named = {}, {}, {}
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
        """Read a file, and all files of the checkout that it imports, directly or not."""
        waiting = [path]
        while waiting:
            path = waiting.pop()
            if path not in self.sources:
                self.sources[path] = Source(path, path.relative_to(self.root).as_posix()).without_our_lines()
                self.imports[path] = self._imports(path)
                waiting.extend(file for files, _, _ in self.imports[path] for file in files)

    def _imports(self, path):
        """The imports of a file: [(files, names, top)].

        ``files``: the checkout's files that the import reads; ``names``: {local name: imported name}; ``top``: the
        outermost module, "" for a relative import.
        """
        found = []
        for node in ast.walk(self.sources[path].tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    local, parts = alias.asname or alias.name.split(".")[0], alias.name.split(".")
                    found.append((self._files(self.root, parts), {local: alias.name}, parts[0]))
            elif isinstance(node, ast.ImportFrom):
                folder, base = self._origin(path, node)
                found.extend(
                    (
                        self._files(folder, base + [alias.name]),
                        {alias.asname or alias.name: alias.name},
                        "" if node.level else base[0],
                    )
                    for alias in node.names
                )
            elif isinstance(node, ast.Call) and "import_module" in (
                getattr(node.func, "attr", None),
                getattr(node.func, "id", None),
            ):
                words = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
                found.extend((self._files(self.root, w.split(".")), {}, "") for w in words if isinstance(w, str))
        return found

    def _origin(self, path, node):
        """(folder, parts of the dotted name below it): where a ``from`` import of the file reads from."""
        folder = path.parents[min(node.level, len(path.parents)) - 1] if node.level else self.root
        return folder, node.module.split(".") if node.module else []

    def _files(self, folder, parts):
        """The files that an import of the dotted name reads: each package's ``__init__``, and the module."""
        stems = [folder.joinpath(*parts[:i]) for i in range(1, len(parts) + 1)] + [folder]
        files = [file for stem in stems for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py")]
        return [file for file in files if self.root in file.parents and file.name != ADDON and file.is_file()]

    # ------------------------------------------------------------ classes

    def bases(self, cls):
        """The direct base classes of ``cls`` in the checkout; if imports do not tell which class is meant, all."""
        found = (self.named(cls.source, expression, past=cls) for expression in cls.node.bases)
        return [c for classes in found for c in classes if c is not cls]

    def named(self, source, expression, past=None, seen=()):
        """The classes that a name or dotted name in a file may stand for, also through aliases and imports.

        If imports do not tell which class is meant, these are all classes of that name. ``past``: a class to leave out.
        """
        root, parts = expression, []
        while isinstance(root, ast.Attribute):
            root, parts = root.value, [root.attr, *parts]
        parts = (root.id if isinstance(root, ast.Name) else None, *parts)
        key = (source.path, parts, past, seen)
        if key not in self._named:
            self._named[key] = self._look_up(source, parts, past, seen) if parts[-1] else []
        return self._named[key]

    def _look_up(self, source, parts, past, seen):
        root, name = parts[0], parts[-1]
        bound = [(files, top) for files, names, top in self.imports[source.path] if root in names]
        if len(parts) == 1:
            found = self._in_file(source.path, name, past, seen)
        else:  # the last part is a name in the module that the other parts stand for
            found = [c for files, _ in bound for c in self._in_files(files, name, past, seen)]
        if not found and not any(not files and self._is_library(top) for files, top in bound):
            found = [c for c in self.classes if c.name == name and c is not past]
            near = [file for files, _, _ in self.imports[source.path] for file in files]
            found = [c for c in found if c.source.path in near] or found
        return found

    def _is_library(self, top):
        """Whether a module with the outermost name ``top`` is a library: the checkout has no such file or folder."""
        return bool(top) and not (self.root / top).is_dir() and all(path.stem != top for path in self.sources)

    def alias(self, node):
        """{name: [names that it stands for]} if a statement only defines aliases, else {}."""
        target, value = (
            node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None),
            getattr(node, "value", None),
        )
        tuples = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)
        names = {}
        for one, other in zip(target.elts, value.elts) if tuples else [(target, value)]:
            values = [other.body, other.orelse] if isinstance(other, ast.IfExp) else [other]
            if not isinstance(one, ast.Name) or not all(isinstance(v, (ast.Name, ast.Attribute)) for v in values):
                return {}
            names[one.id] = values
        return names

    def _in_file(self, path, name, past=None, seen=()):
        """The classes that a name in a module stands for: a class defined there, an alias, or an import."""
        if (path, name) in seen or path not in self.sources:
            return []
        own = [c for c in self.classes if c.name == name and c.source.path == path and c is not past]
        if own:
            return own[-1:] if own[-1].node in own[-1].source.tree.body else own  # the last definition counts
        seen, found = (*seen, (path, name)), []
        for node in self.sources[path].tree.body:
            for value in self.alias(node).get(name, []):
                found.extend(self.named(self.sources[path], value, past, seen))
        for files, names, _ in self.imports[path]:
            if name in names or "*" in names:
                found.extend(self._in_files(files, names.get(name, name), past, seen))
        return [c for i, c in enumerate(found) if c not in found[:i]]

    def _in_files(self, files, name, past=None, seen=()):
        """As :meth:`_in_file`, for the innermost of an import's files that knows the name."""
        for file in sorted(files, key=lambda file: (len(file.parts), file.name != "__init__.py"), reverse=True):
            found = self._in_file(file, name, past, seen)
            if found:
                return found
        return []

    def lineage(self, cls, seen=()):
        """``cls`` and all its base classes, nearest first."""
        out = [cls]
        for base in self.bases(cls):
            if base not in seen:
                out.extend(c for c in self.lineage(base, (*seen, *out)) if c not in out)
        return out

    def descendants(self, cls):
        """The classes that derive from ``cls``, directly or not."""
        return [c for c in self.classes if c is not cls and cls in self.lineage(c)]

    def called_from(self, cls, starts, past=()):
        """Names of the methods that the methods ``starts`` may run, directly or not, but not through ``past``.

        The object is of ``cls`` or of a class derived from it.
        """
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
        """All classes whose methods an object of ``cls``, or of a class derived from it, may have."""
        return self.lineage(cls) + self.descendants(cls)

    def written_by_user(self, hook):
        """[(Source, node)]: calls of ``scoring_addon.<hook>`` that the user wrote."""
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
    """The checkout's own Python files, without hidden folders, environments, inner repositories and this project."""
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
    """[Source] of the checkout's files that contain inserted lines."""
    found = (
        Source(path, path.relative_to(root).as_posix())
        for path in python_files(root)
        if MARKER.encode() in path.read_bytes()
    )
    return [source for source in found if source.our_lines()]
