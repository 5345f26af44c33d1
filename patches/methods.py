"""The method names that a checkout knows, and the expressions that hold the one chosen on the command line."""
import ast

from patches.names import FUNCTIONS, assigned, dotted

FULL = "DINO+Point_MAE+Fusion"
LISTS = (ast.Tuple, ast.List, ast.Set)


class Methods:
    """The method names of a checkout and the expressions that hold the one chosen.

    Attributes:
        full: the full setting's name as the checkout spells it, None if it is nowhere.
        known: all names that stand beside it in a list of choices or a dictionary, or are compared with what holds it.
        decides: whether something is looked up by, or compared with, the full setting's name.
    """

    def __init__(self, checkout):
        self.options, self._texts, self.full = {"method_name"}, {}, None
        nodes = [node for path in checkout.imported for node in ast.walk(checkout.sources[path].tree)]
        for node in nodes:
            if self.full is None and isinstance(node, ast.Constant) and self.same(node.value, FULL):
                self.full = node.value
        tables = {}
        for node in nodes:
            table, words = _table(node)
            tables.setdefault(table, set()).update(words)
        keys = [words for words in tables.values() if any(self.same(word, FULL) for word in words)]
        self.decides = bool(keys)
        lists = [words for node in nodes if isinstance(node, LISTS) for words in [_strings(node.elts)]
                 if len(words) > 1 and any(self.same(word, FULL) for word in words)]
        self.known = {word for words in keys + lists for word in words}
        for node in nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                self._option(node)
        for path in checkout.imported:
            self._compared(checkout.sources[path])

    def _option(self, call):
        words = [n.value for n in ast.walk(call) if isinstance(n, ast.Constant)]
        flags = [word for word in _strings(call.args) if word.startswith("-")]
        named = [k.value.value for k in call.keywords if k.arg == "dest" and isinstance(k.value, ast.Constant)]
        long = [flag for flag in flags if flag.startswith("--")] or flags
        several = any(k.arg == "nargs" for k in call.keywords)
        if any(self.same(word, FULL) for word in words) and (named or long) and not several:
            self.options.add(named[0] if named else long[0].lstrip("-").replace("-", "_"))

    def _compared(self, source):
        """Note what is compared with the full setting's name, by function for plain names; and the names compared."""
        for scope in [node for node in ast.walk(source.tree) if isinstance(node, (ast.Module, *FUNCTIONS))]:
            texts = self._texts.setdefault(id(scope), set())
            for _ in range(2):  # a name may be compared further up than its alias is made
                for node in ast.walk(scope):
                    if isinstance(node, ast.Compare) and any(self.same(w, FULL) for w in _compared_words(node)):
                        text = _text(node.left)
                        if text and (isinstance(scope, FUNCTIONS) or "." in text):
                            texts.add(text)
                    if isinstance(scope, FUNCTIONS):
                        texts.update(target.id for target, value in assigned(node)
                                     if isinstance(target, ast.Name) and self._names(_text(value), texts))
                for node in ast.walk(scope):
                    if isinstance(node, ast.Compare) and self._names(_text(node.left), texts):
                        self.known.update(_compared_words(node))
                        self.decides = self.decides or any(self.same(w, FULL) for w in _compared_words(node))

    def is_name(self, node, where):
        """Whether an expression holds the method's name."""
        text = _text(node)
        return any(self._names(text, self._texts.get(id(scope), ())) for scope in where.scopes)

    def _names(self, text, texts):
        return bool(text) and (text in texts or text.split(".")[-1] in self.options)

    def same(self, word, name):
        return isinstance(word, str) and isinstance(name, str) and word.strip().casefold() == name.strip().casefold()

    def is_other(self, word, name):
        """Whether a word is a method's name, and not this one."""
        return not self.same(word, name) and any(self.same(word, known) for known in self.known)


def index(node):
    """The expression in the brackets of a subscript (Python 3.8 wraps it)."""
    return node.slice.value if type(node.slice).__name__ == "Index" else node.slice


def _strings(nodes):
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _table(node):
    """(what tells a table from others, [the words that it is looked up by]) of a dictionary, of calls and assignments
    that fill one, and of a ``case``."""
    if isinstance(node, ast.Dict):
        return node, _strings(key for key in node.keys if key is not None)
    if isinstance(node, ast.Call) and not {"add_argument", "print", "info", "warning"}.intersection(dotted(node.func)):
        return ("call", *dotted(node.func)), _strings(node.args[:1])
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        return ("item", *dotted(node.value)), _strings([index(node)])
    if type(node).__name__ == "Match":
        return node, _strings(n.value for n in ast.walk(node) if type(n).__name__ == "MatchValue")
    return None, []


def _compared_words(node):
    """The words that a comparison names on its right, also in a list."""
    return _strings(n for right in node.comparators for n in (right.elts if isinstance(right, LISTS) else [right]))


def _text(node):
    """An expression that may hold an option as dotted text: ``args.x``, ``args["x"]``, ``getattr(args, "x")``."""
    if isinstance(node, ast.Name):
        return node.id
    base, last = None, None
    if isinstance(node, ast.Attribute):
        base, last = node.value, node.attr
    elif isinstance(node, ast.Subscript):
        base, last = node.value, (_strings([index(node)]) or [None])[0]
    elif isinstance(node, ast.Call) and len(node.args) > 1 and getattr(node.func, "id", "") == "getattr":
        base, last = node.args[0], (_strings([node.args[1]]) or [None])[0]
    elif isinstance(node, ast.Call) and node.args and getattr(node.func, "attr", "") == "get":
        base, last = node.func.value, (_strings([node.args[0]]) or [None])[0]
    elif isinstance(node, ast.Call) and len(node.args) == 1 and getattr(node.func, "id", "") == "vars":
        return _text(node.args[0])
    head = _text(base) if last else None
    return head + "." + last if head else None
