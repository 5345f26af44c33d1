"""The method names that a checkout knows, and the expressions that hold the name chosen on the command line."""

import ast

FULL = "DINO+Point_MAE+Fusion"
LISTS = (ast.Tuple, ast.List, ast.Set)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Methods:
    """The method names of a checkout.

    Attributes:
        full: the full setting's name as the checkout spells it; None if it does not occur.
        known: {name in the form of :func:`plain`: name as spelled}, for all names that occur beside the full setting's
            name in a list of choices, a dictionary or a registry, or are compared with the chosen name.
    """

    def __init__(self, checkout):
        self.constants, self.holders, self.full = {}, {"method_name"}, None
        nodes = [(node, scope) for source in checkout.sources.values() for node, scope in _scoped(source.tree)]
        for node, scope in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and scope is None:
                for name in map(last, node.targets):  # a name with two values is not a constant
                    self.constants[name] = node.value.value if name not in self.constants else None
            if isinstance(node, ast.Constant) and plain(node.value) == plain(FULL):
                self.full = self.full or node.value
        for _ in range(3):  # repeated, since copies of copies hold the name too
            for node, scope in nodes:
                self._note_holder(node, scope)
            self.holders.discard(None)
        groups = {}
        for node, scope in nodes:
            for key, words in self._groups(node, scope):
                groups.setdefault(key, {}).update((plain(word), word) for word in words)
        self.known = {
            plain(word): word
            for key, words in groups.items()
            if key == "holder" or plain(FULL) in words
            for word in words.values()
        }

    def _note_holder(self, node, scope):
        """Note a holder of the chosen name: it is compared with the full name, is its option, or copies a holder."""
        if isinstance(node, ast.Compare) and plain(FULL) in map(plain, self.words(node.comparators[0])):
            self.holders.add(self._holder(node.left, scope))
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and self.holds(node.value, scope):
            self.holders.add(self._holder(node.targets[0], scope))
        elif isinstance(node, ast.Call) and last(node.func) == "add_argument":
            words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            flags = [word for word in self.words(ast.List(node.args)) if word.startswith("--")]
            if plain(FULL) in map(plain, words) and flags:
                self.holders.add(flags[0].lstrip("-").replace("-", "_"))

    def _groups(self, node, scope):
        """[(key of the group, its words)] of a node; the words may be method names."""
        kind = type(node).__name__
        if kind == "Compare" and self.holds(node.left, scope):
            return [("holder", self.words(node.comparators[0]))]
        if kind == "Match" and self.holds(node.subject, scope):
            return [("holder", pattern_words(case.pattern)) for case in node.cases]
        if kind == "Dict":
            return [(node, [word for key in node.keys for word in self.words(key)])]
        if isinstance(node, LISTS):
            return [(node, self.words(node))]
        if kind == "Call" and last(node.func) not in ("add_argument", "print", "append"):
            return [(("call", last(node.func)), [word for arg in node.args[:1] for word in self.words(arg)])]
        if kind == "Subscript" and isinstance(node.ctx, ast.Store):
            return [(("item", last(node.value)), self.words(index(node)))]
        return []

    def _holder(self, node, scope):
        """The key of an expression in ``holders``: the name of an attribute or key; (name, function) for a variable."""
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "get":
            node = node.func.value  # skip .lower() and the like
        return (node.id, id(scope)) if isinstance(node, ast.Name) else last(node)

    def holds(self, node, scope):
        """Whether an expression in the function ``scope`` holds the method name that was chosen."""
        return self._holder(node, scope) in self.holders

    def words(self, node):
        """The strings of an expression: a constant, the name of a constant, or a list of those; else []."""
        if isinstance(node, LISTS):
            return [word for item in node.elts for word in self.words(item)]
        named = None if node is None or last(node) in self.holders else self.constants.get(last(node))
        value = node.value if isinstance(node, ast.Constant) else named
        return [value] if isinstance(value, str) else []


def plain(word):
    """A method's name in the form in which names are compared."""
    return word.strip().casefold() if isinstance(word, str) else word


def index(node):
    """The expression in the brackets of a subscript (Python 3.8 wraps it)."""
    return node.slice.value if type(node.slice).__name__ == "Index" else node.slice


def last(node):
    """The last part of ``a``, ``a.b``, ``a["b"]``, ``getattr(a, "b")`` or ``a.get("b")``; None for anything else."""
    if isinstance(node, ast.Call) and node.args and last(node.func) in ("getattr", "get"):
        node = node.args[1] if last(node.func) == "getattr" and len(node.args) > 1 else node.args[0]
        return node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Subscript):
        return index(node).value if isinstance(index(node), ast.Constant) else None
    return getattr(node, "attr", getattr(node, "id", None))


def pattern_words(pattern):
    """The strings in the pattern of a ``case``."""
    values = [node.value for node in ast.walk(pattern) if type(node).__name__ == "MatchValue"]
    return [node.value for node in values if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _scoped(tree, scope=None):
    """Yield (node, innermost function around it or None) of a tree."""
    for node in ast.iter_child_nodes(tree):
        yield node, scope
        yield from _scoped(node, node if isinstance(node, FUNCTIONS) else scope)
