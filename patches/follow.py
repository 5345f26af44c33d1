"""Finds the classes that a checkout builds for a method name, by reading its source; nothing is run.

A class counts as built if a place in the source names it, unless that place is clearly for another method:

    if args.method_name == "other": A()     # A is not built for "mine": the branch is for another method
    TABLE = {"other": B, "mine": C}         # B is not built, C is
    return D()                              # D is built: nothing says for which method

Functions are not followed to their callers, and everything uncertain counts as possible. So too many classes may be
found, but not too few. That does no harm: a recording in a class that does not run does nothing.
"""

import ast
from collections import namedtuple

from patches.methods import FUNCTIONS, LISTS, index, last, pattern_words, plain

ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)

Reference = namedtuple("Reference", "cls source line word")
Reference.__doc__ = """A place in the source that names a class.

cls: the Class. source, line: where the place is. word: the method name that the place belongs to, such as the key of
a dictionary; None if it may belong to any method."""


def references(checkout, methods, name, sources):
    """[Reference] in ``sources`` to classes that can be built for the method ``name``; None: for any method."""
    return [found for source in sources for found in _File(checkout, methods, name, source).found()]


class _File:
    """One file of a checkout, read for one method name."""

    def __init__(self, checkout, methods, name, source):
        self.checkout, self.methods, self.name, self.source, self.scope = checkout, methods, plain(name), source, None
        self.classes = {id(c.node): c for c in checkout.classes if c.source is source}

    def found(self):
        """Yield the file's References."""
        yield from self._block([node for node in self.source.tree.body if not self.checkout.alias(node)], None)

    def _block(self, nodes, word):
        """References in a block, up to a statement that ends it; ``word``: the method that the block is for."""
        for node in nodes:
            yield from self._references(node, word)
            if self._ends(node):
                return

    def _references(self, node, word):
        if isinstance(node, (ast.If, ast.IfExp)):
            yield from self._references(node.test, word)
            truth, *told = self._truth(node.test)
            for branch, other, now in ((node.body, False, told[0]), (node.orelse, True, told[1])):
                if truth is not other:
                    yield from self._block(branch if isinstance(branch, list) else [branch], now or word)
        elif type(node).__name__ == "Match":
            yield from self._cases(node, word)
        elif isinstance(node, ast.Dict):
            keys = [self.methods.words(key) for key in node.keys]
            listed = self.name in [plain(w) for words in keys for w in words]
            for words, value in zip(keys, node.values):
                yield from self._keyed(words, [value], word, listed)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            yield from self._keyed(self.methods.words(index(node.targets[0])), [node.value], word)
        elif isinstance(node, ast.Call):
            if last(node.func) not in ("isinstance", "issubclass", "super"):
                yield from self._references(node.func, word)
                values = node.args + [keyword.value for keyword in node.keywords]
                yield from self._keyed(self.methods.words(ast.List(node.args[:1])), values, word)
        elif isinstance(node, LISTS) and len(node.elts) > 1 and not all(self.methods.words(e) for e in node.elts):
            yield from self._keyed(self.methods.words(node.elts[0]), node.elts, word)
        elif isinstance(node, ast.Compare):  # a class that is only compared is not built
            for part in [node.left] + node.comparators:
                if not isinstance(part, (ast.Name, ast.Attribute, ast.Constant)):
                    yield from self._references(part, word)
        elif isinstance(node, (ast.Name, ast.Attribute, ast.Constant)):
            yield from self._named(node, word)
        elif isinstance(node, ast.ClassDef):
            yield from self._class(node, word)
        elif isinstance(node, FUNCTIONS):
            outer, self.scope = self.scope, node
            yield from self._block(node.decorator_list + node.args.defaults + node.body, word)
            self.scope = outer
        elif not isinstance(node, (ast.Import, ast.ImportFrom)):
            for field, value in ast.iter_fields(node):
                if field != "annotation":
                    yield from self._block(
                        [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, ast.AST)], word
                    )

    def _keyed(self, words, values, word, certain=False):
        """References in values that belong to keys; a key may be a method's name.

        Inside a branch that is for the wanted method, a key is only a label, unless the method's name is one of the
        keys (``certain``).
        """
        names = [w for w in words if plain(w) in self.methods.known]
        other = self.name is not None and self.name not in map(plain, names)
        if other and words and (certain or names and plain(word) != self.name):
            return
        for value in values:
            yield from self._references(value, word or (names[0] if names and not other else None))

    def _cases(self, node, word):
        holds = self.methods.holds(node.subject, self.scope)
        for case in node.cases:
            words = pattern_words(case.pattern) if holds else []
            hit = self.name in map(plain, words)
            if not words or hit or self.name is None:
                yield from self._block(case.body, words[0] if words else word)
            if hit and case.guard is None:
                return

    def _class(self, node, word):
        """References in the body of a class, and in decorators that register the class for a method's name."""
        for decorator in node.decorator_list:
            words = [w for w in decorator_words(decorator, self.methods) if plain(w) in self.methods.known]
            if words and self.name in [None] + [plain(w) for w in words]:
                yield Reference(self.classes[id(node)], self.source, decorator.lineno, words[0])
        yield from self._block(node.body, word)

    def _named(self, node, word):
        if isinstance(node, ast.Constant):
            text = node.value if isinstance(node.value, str) else ""
            near = [
                c
                for c in self.checkout.classes
                if c.name == text.split(".")[-1]
                or text in [w for d in c.node.decorator_list for w in decorator_words(d, self.methods)]
            ]
            near = [] if plain(text) in self.methods.known else near
            near = [c for c in near if c.source.path in self.checkout.imported] or near
        elif isinstance(node.ctx, ast.Load):
            near = self.checkout.named(self.source, node)
        else:
            near = []
        for cls in near:
            yield Reference(cls, self.source, node.lineno, word)
        if not near and isinstance(node, ast.Attribute):  # a plain Class.method builds nothing, a classmethod may
            for found in self._references(node.value, word):
                method = next(
                    (c.methods[node.attr] for c in self.checkout.lineage(found.cls) if node.attr in c.methods), None
                )
                if method is None or method.decorator_list:
                    yield found

    def _truth(self, test):
        """(truth of a condition, method's name if it holds, method's name if it does not); each None if not known."""
        if isinstance(test, ast.Constant):
            return bool(test.value), None, None
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            truth, holding, failing = self._truth(test.operand)
            return None if truth is None else not truth, failing, holding
        if isinstance(test, ast.BoolOp):
            parts, stop = [self._truth(value) for value in test.values], isinstance(test.op, ast.Or)
            truths, told = [part[0] for part in parts], next((part[1] for part in parts if part[1]), None)
            return stop if stop in truths else None if None in truths else not stop, told, None
        if not isinstance(test, ast.Compare) or len(test.ops) > 1:
            return None, None, None
        left, right, op = test.left, test.comparators[0], type(test.ops[0])
        if last(left) == "__name__":
            return self.source.path == self.checkout.main, None, None
        if op in (ast.Eq, ast.NotEq) and self.methods.words(left):
            left, right = right, left
        words = self.methods.words(right)
        if (
            not words
            or not self.methods.holds(left, self.scope)
            or op not in (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
            or op in (ast.In, ast.NotIn)
            and not isinstance(right, LISTS)
        ):
            return None, None, None
        asked = op in (ast.Eq, ast.In)
        told = next((word for word in words if plain(word) == self.name), words[0])
        truth = None if self.name is None else (self.name in map(plain, words)) is asked
        return (truth, told, None) if asked else (truth, None, told)

    def _ends(self, node):
        if isinstance(node, ast.If):
            truth = self._truth(node.test)[0]
            ends = [any(map(self._ends, block)) for block in (node.body, node.orelse)]
            return all(ends) if truth is None else ends[0 if truth else 1]
        return isinstance(node, ENDS)


def decorator_words(decorator, methods):
    """The strings that a decorator is called with."""
    values = decorator.args + [k.value for k in decorator.keywords] if isinstance(decorator, ast.Call) else []
    return methods.words(ast.List(values))
