"""What a name stands for in a checkout: a class, a function, a module or a constant, through imports and aliases.

Only what can run is looked at: a name may be bound under branches, and which of them run is asked of the ``reach``
that :class:`patches.follow.Builds` has for the method name at hand. Where several bindings can hold, all are told.
"""
import ast
from collections import namedtuple

Where = namedtuple("Where", "source scopes")
Where.__doc__ = """Where a piece of code stands: its Source, and the module and functions around it, outermost first."""

Target = namedtuple("Target", "kind source node")
Target.__doc__ = """What a name stands for. kind: "class", "function", "constant", or "member" for an attribute of a
class (``node`` is then (class node, attribute))."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LIMIT = 20  # of aliases of aliases: no more than a guard against circles


class Names:
    """The names of a checkout's files.

    Args:
        checkout: Checkout.
        reach: function (statements, Where) → iterable of (statement that can run, whether it runs for certain).
    """

    def __init__(self, checkout, reach):
        self.checkout, self.reach = checkout, reach
        self.trees = {id(source.tree): source for source in checkout.sources.values()}
        self._bound = {}

    def resolve(self, parts, where, depth=0):
        """[Target] of a dotted name, given as its parts; None where nothing of the checkout binds it."""
        if depth > LIMIT:
            return None
        for i in range(len(where.scopes), 0, -1):
            inside = Where(where.source, where.scopes[:i])
            found = self.bound(inside).get(parts[0])
            if found is not None:
                break
        else:
            for stem in self.bound(Where(where.source, where.scopes[:1])).get("*", []):
                found = self._of_module(stem, parts, depth + 1)
                if found is not None:
                    return found
            return None
        out, known = [], False
        for kind, value in found:
            targets = self._of_binding(kind, value, parts, inside, depth)
            known = known or targets is not None
            out.extend(target for target in targets or [] if target not in out)
        return out if known or not found else None

    def _of_binding(self, kind, value, parts, inside, depth):
        rest = parts[1:]
        if kind == "class":
            return [Target("member", inside.source, (value, rest[0])) if rest else
                    Target("class", inside.source, value)]
        if kind == "function":
            return [] if rest else [Target("function", inside.source, value)]
        if kind == "module":
            return self._of_module(value, rest, depth + 1) if rest else []
        if kind == "from":
            stems, name = value
            for stem in stems:
                targets = self._of_module(stem, [name] + rest, depth + 1)
                if targets is not None:
                    return targets
            return None
        if isinstance(value, ast.Constant):
            return [] if rest else [Target("constant", inside.source, value)]
        return self.resolve(dotted(value) + rest, inside, depth + 1)

    def _of_module(self, stem, parts, depth):
        """[Target] of a dotted name in a module, given as its path without the suffix; None if it is not there."""
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            source = self.checkout.sources.get(path)
            if source is not None:
                targets = self.resolve(parts, Where(source, (source.tree,)), depth)
                if targets is not None:
                    return targets
        if self._is_module(stem / parts[0]):
            return self._of_module(stem / parts[0], parts[1:], depth) if parts[1:] else []
        return None

    def bound(self, where):
        """{name: [(kind, value)]} of what is bound in the innermost scope, in the code that can run."""
        scope = where.scopes[-1]
        if id(scope) in self._bound:
            return self._bound[id(scope)]
        names = self._bound[id(scope)] = {}  # filled on the way, since what can run may hang on a constant above
        if isinstance(scope, FUNCTIONS):
            kinds = [scope.args.args, scope.args.kwonlyargs, getattr(scope.args, "posonlyargs", [])]
            names.update((arg.arg, []) for args in kinds for arg in args)
        for node, sure in self.reach(scope.body, where):
            for name, binding in self._bindings(node, where):
                if binding is None:
                    names.setdefault(name, [])
                elif sure and len(where.scopes) == 1 and name != "*":
                    names[name] = [binding]  # replaces what stood there
                else:
                    names.setdefault(name, []).append(binding)
        return names

    def _bindings(self, node, where):
        """[(name, (kind, value) or None for something else)] of a statement."""
        if isinstance(node, ast.ClassDef):
            return [(node.name, ("class", node))]
        if isinstance(node, FUNCTIONS):
            return [(node.name, ("function", node))]
        if isinstance(node, ast.Import):
            out = []
            for alias in node.names:
                parts = alias.name.split(".")
                for stem in self.stems(self.checkout.root, parts):
                    out.append((alias.asname, ("module", stem)) if alias.asname else
                               (parts[0], ("module", stem.parents[len(parts) - 2] if parts[1:] else stem)))
            return out
        if isinstance(node, ast.ImportFrom):
            stems = self.stems(*self.checkout.origin(where.source.path, node))
            if any(alias.name == "*" for alias in node.names):
                return [("*", stem) for stem in stems]
            return [(alias.asname or alias.name, ("from", (stems, alias.name))) for alias in node.names if stems]
        out = []
        for target, value in assigned(node):
            if isinstance(target, ast.Name):
                out.extend((target.id, ("value", v)) for v in alternatives(value))
                if not alternatives(value):
                    out.append((target.id, None))
        return out

    def stems(self, folder, parts):
        """The modules that a dotted name may mean, as paths without a suffix; a module of this name elsewhere in the
        checkout where there is none here, since a program may extend its search path."""
        stem = folder.joinpath(*parts)
        if self._is_module(stem):
            return [stem]
        if len(parts) != 1:
            return []
        return [path.with_suffix("") for path in self.checkout.sources if path.stem == parts[0]]

    def files(self, stem):
        """Sources that importing a module runs, with those of the packages around it."""
        stems = [stem] + [parent for parent in stem.parents if self.checkout.root in parent.parents]
        paths = [path for s in stems for path in (s.with_name(s.name + ".py"), s / "__init__.py")]
        return [self.checkout.sources[path] for path in paths if path in self.checkout.sources]

    def _is_module(self, stem):
        return stem.is_dir() or stem.with_name(stem.name + ".py") in self.checkout.sources


def dotted(node):
    """The parts of ``a.b.c``, [] for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    parts = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return parts + [node.attr] if parts else []


def assigned(node):
    """[(target, value)] of an assignment, a tuple's one by one; [] for other statements."""
    if isinstance(node, ast.AnnAssign):
        return [(node.target, node.value)] if node.value is not None else []
    if not isinstance(node, ast.Assign):
        return []
    out = []
    for target in node.targets:
        lists = (ast.Tuple, ast.List)
        if isinstance(target, lists) and isinstance(node.value, lists) and len(target.elts) == len(node.value.elts):
            out.extend(zip(target.elts, node.value.elts))
        else:
            out.append((target, node.value))
    return out


def alternatives(value):
    """The names or constants that an alias may stand for: ``A``, ``module.A``, ``A if c else B``; [] if it is none."""
    if isinstance(value, ast.IfExp):
        both = [alternatives(value.body), alternatives(value.orelse)]
        return both[0] + both[1] if all(both) else []
    return [value] if dotted(value) or isinstance(value, ast.Constant) else []
