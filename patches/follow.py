"""Which classes a checkout's main.py builds for a method name: followed from main.py through imports, functions,
dictionaries, aliases and branches, without running anything.

What cannot be evaluated counts as possible. So rather too many classes are found than too few; a recording in a class
that does not run does nothing.
"""
import ast
import operator
from collections import namedtuple

from patches.methods import index
from patches.names import FUNCTIONS, Names, Where, alternatives, assigned, dotted

UNKNOWN = object()
METHODS_OF_TEXT = ("lower", "upper", "strip", "split", "startswith", "endswith", "replace", "casefold")
COMPARE = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.eq, ast.IsNot: operator.ne,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}
ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)

Unit = namedtuple("Unit", "source node scopes")


class Builds:
    """The classes that can be built.

    Args:
        checkout: Checkout.
        methods: Methods, the checkout's method names.
        name: the method name, or None for whichever.

    Attributes:
        built: {class node: ["file: line n" where it is referred to]}.
        dynamic: whether something is looked up by a name that could not be read here.
    """

    def __init__(self, checkout, methods, name):
        self.checkout, self.methods, self.name = checkout, methods, name
        self.names = Names(checkout, self.reach)
        self.classes = {id(cls.node): cls for cls in checkout.classes}
        self.built, self.dynamic = {}, False
        self._seen, self._waiting, self._words, self._keys = set(), [], [], {}
        self._add_file(checkout.sources[checkout.main])
        while self._waiting:
            while self._waiting:
                self._run(self._waiting.pop(0))
            for word, at in self._words:  # all of them again: a class may have been registered since
                self._build_by_name(word, at)

    # ------------------------------------------------------------ code that can run

    def reach(self, block, where, sure=True):
        """Yield (statement or condition, whether it runs for certain) of a list of statements; returns whether what
        follows the list cannot run."""
        for node in block:
            ended = False
            if isinstance(node, ast.If):
                yield node.test, sure
                truth = self._truth(node.test, where)
                ends = []
                for branch, dead in ((node.body, truth is False), (node.orelse, truth is True)):
                    if not dead:
                        ends.append((yield from self.reach(branch, where, sure and truth is not None)))
                ended = all(ends)
            elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
                yield node.test if isinstance(node, ast.While) else node.iter, sure
                for branch in (node.body, node.orelse):
                    yield from self.reach(branch, where, False)
            elif isinstance(node, (ast.With, ast.AsyncWith)):
                for item in node.items:
                    yield item.context_expr, sure
                ended = yield from self.reach(node.body, where, sure)
            elif type(node).__name__ in ("Try", "TryStar"):
                for branch in [node.body, *(handler.body for handler in node.handlers), node.orelse]:
                    yield from self.reach(branch, where, False)
                yield from self.reach(node.finalbody, where, sure)
            elif type(node).__name__ == "Match":
                yield node.subject, sure
                value = self._value(node.subject, where)
                for case in node.cases:
                    fits = self._fits(case.pattern, value, where) if case.guard is None else None
                    if fits is not False:
                        yield from self.reach(case.body, where, sure and fits is True)
                    if fits:
                        break
            else:
                yield node, sure
                ended = isinstance(node, ENDS)
            if ended:
                return True
        return False

    def _truth(self, node, where):
        value = self._value(node, where)
        return None if value is UNKNOWN else bool(value)

    def _fits(self, pattern, value, where):
        kind = type(pattern).__name__
        if kind == "MatchValue":
            other = self._value(pattern.value, where)
            return None if UNKNOWN in (value, other) else value == other
        if kind == "MatchOr":
            found = [self._fits(one, value, where) for one in pattern.patterns]
            return True if True in found else None if None in found else False
        return True if kind == "MatchAs" and pattern.pattern is None else None

    def _value(self, node, where):
        """The value of an expression of constants and the method name, else UNKNOWN."""
        if isinstance(node, ast.Constant):
            return node.value
        if self.name is not None and self.methods.is_name(node, where):
            return self.name
        try:
            return self._computed(node, where)
        except Exception:  # whatever a wrong type or index raises: the program would fail there too
            return UNKNOWN

    def _computed(self, node, where):
        def of(*nodes):
            values = [self._value(n, where) for n in nodes]
            if any(value is UNKNOWN for value in values):
                raise LookupError
            return values

        if isinstance(node, ast.Name):
            constants = self.names.resolve([node.id], where) or []
            return constants[0].node.value if [t.kind for t in constants] == ["constant"] else UNKNOWN
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return tuple(of(*node.elts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not of(node.operand)[0]
        if isinstance(node, ast.BoolOp):
            truths, stop = [self._truth(n, where) for n in node.values], isinstance(node.op, ast.Or)
            return stop if stop in truths else UNKNOWN if None in truths else not stop
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return operator.add(*of(node.left, node.right))
        if isinstance(node, ast.Compare):
            values = of(node.left, *node.comparators)
            return all(COMPARE[type(op)](a, b) for op, a, b in zip(node.ops, values, values[1:]))
        if isinstance(node, ast.Subscript):
            return operator.getitem(*of(node.value, index(node)))
        if isinstance(node, ast.Call) and not node.keywords:
            if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS_OF_TEXT:
                return getattr(of(node.func.value)[0], node.func.attr)(*of(*node.args))
            if isinstance(node.func, ast.Name) and node.func.id in ("len", "str"):
                return {"len": len, "str": str}[node.func.id](*of(*node.args))
        return UNKNOWN

    # ------------------------------------------------------------ what it refers to

    def _add(self, source, node, scopes):
        if id(node) not in self._seen:
            self._seen.add(id(node))
            self._waiting.append(Unit(source, node, scopes))

    def _add_file(self, source):
        self._add(source, source.tree, (source.tree,))

    def _run(self, unit):
        where = Where(unit.source, unit.scopes)
        for node, _ in self.reach(unit.node.body, where):
            if isinstance(node, FUNCTIONS):
                self._function(node, where, isinstance(unit.node, ast.ClassDef))
            elif isinstance(node, ast.ClassDef):
                for decorator in node.decorator_list:
                    self._decorator(node, decorator, where)
            else:
                self._statement(node, where, isinstance(unit.node, ast.ClassDef))

    def _function(self, node, where, method):
        for expression in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            self._expression(expression, where)
        if method or len(where.scopes) > 1 or node.decorator_list:
            self._add(where.source, node, where.scopes + (node, ))

    def _decorator(self, node, decorator, where):
        """A class that a decorator registers: under a method name, or under a key that is looked up elsewhere."""
        self._expression(decorator.func if isinstance(decorator, ast.Call) else decorator, where)
        for value in decorator.args + [k.value for k in decorator.keywords] if isinstance(decorator, ast.Call) else []:
            word = self._value(value, where)
            if self.methods.same(word, self.name) or (self.name is None and word in self.methods.known):
                self._build(node, self._at(where, decorator))
            elif isinstance(word, str):
                self._keys.setdefault(word, []).append(node)

    def _statement(self, node, where, in_class):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node, where)
            return
        pairs = assigned(node)
        if not pairs:
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                for child in ast.iter_child_nodes(node) if isinstance(node, ast.stmt) else [node]:
                    self._expression(child, where)
            return
        plain = not in_class and not any(isinstance(n, (ast.Global, ast.Nonlocal)) for n in where.scopes[-1].body)
        for target, value in pairs:
            if isinstance(target, ast.Name) and (target.id == "__all__" or (plain and alternatives(value))):
                continue  # an alias: what uses it counts
            if isinstance(target, ast.Subscript) and self._is_other(self._value(index(target), where)):
                continue
            self._expression(value, where)

    def _import(self, node, where):
        if isinstance(node, ast.Import):
            stems = [s for alias in node.names for s in self.names.stems(self.checkout.root, alias.name.split("."))]
        else:
            stems = self.names.stems(*self.checkout.origin(where.source.path, node))
            stems = stems + [stem / alias.name for stem in stems for alias in node.names]
        for stem in stems:
            for source in self.names.files(stem):
                self._add_file(source)

    def _expression(self, node, where):
        if isinstance(node, (ast.Name, ast.Attribute)):
            if isinstance(node.ctx, ast.Load):
                self._reference(node, where)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self._words.append((node.value, self._at(where, node)))
        elif isinstance(node, ast.IfExp):
            truth = self._truth(node.test, where)
            for part, dead in ((node.test, False), (node.body, truth is False), (node.orelse, truth is True)):
                if not dead:
                    self._expression(part, where)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                self._expression(value, where)
                if self._truth(value, where) is isinstance(node.op, ast.Or):
                    break
        elif isinstance(node, ast.Dict):
            self._dictionary(node, where)
        elif isinstance(node, ast.Compare):
            for part in [node.left, *node.comparators]:
                if not isinstance(part, (ast.Name, ast.Attribute, ast.Constant)):
                    self._expression(part, where)
        elif isinstance(node, ast.Call):
            self._call(node, where)
        elif isinstance(node, (ast.Tuple, ast.List)) and node.elts and self._is_other(
                self._value(node.elts[0], where)) and not all(isinstance(e, ast.Constant) for e in node.elts):
            pass  # a pair of another method's name and what belongs to it
        elif node is not None:
            for child in ast.iter_child_nodes(node):
                self._expression(child, where)

    def _dictionary(self, node, where):
        keys = [self._value(key, where) if key is not None else UNKNOWN for key in node.keys]
        full = self.name is not None and any(self.methods.same(key, self.name) for key in keys)
        for key, value in zip(keys, node.values):
            other = isinstance(key, str) and not self.methods.same(key, self.name)
            if not (other and full or self._is_other(key)):
                self._expression(value, where)

    def _call(self, node, where):
        parts = dotted(node.func)
        last = parts[-1] if parts else None
        if last in ("isinstance", "issubclass", "super"):
            return
        if last in ("import_module", "__import__"):
            word = self._value(node.args[0], where) if node.args else UNKNOWN
            self.dynamic = self.dynamic or word is UNKNOWN
            for stem in self.names.stems(self.checkout.root, word.split(".")) if isinstance(word, str) else []:
                for source in self.names.files(stem):
                    self._add_file(source)
            return
        if last == "getattr" and len(node.args) > 1:
            word = self._value(node.args[1], where)
            if isinstance(word, str):
                self._words.append((word, self._at(where, node)))
            self.dynamic = self.dynamic or word is UNKNOWN
        self.dynamic = self.dynamic or last in ("eval", "exec", "globals")
        self._expression(node.func, where)
        values = node.args + [keyword.value for keyword in node.keywords]
        if node.args and self._is_other(self._value(node.args[0], where)):
            values = []  # registers something for another method's name
        for value in values:
            self._expression(value, where)

    def _reference(self, node, where):
        parts = dotted(node)
        targets = self.names.resolve(parts, where) if parts else None
        if targets is None:
            self._words.append((node.attr if isinstance(node, ast.Attribute) else node.id, self._at(where, node)))
            if not parts:
                self._expression(node.value, where)
        for target in targets or []:
            if target.kind == "class":
                self._build(target.node, self._at(where, node))
            elif target.kind == "function":
                self._add(target.source, target.node, (target.source.tree, target.node))
            elif target.kind == "constant" and isinstance(target.node.value, str):
                self._words.append((target.node.value, self._at(where, node)))
            elif target.kind == "member":
                cls, member = target.node
                methods = [c.methods[member] for c in self.checkout.lineage(self.classes[id(cls)])
                           if member in c.methods]
                if not methods or methods[0].decorator_list:  # not a plain method: may well be a constructor
                    self._build(cls, self._at(where, node))

    def _build_by_name(self, word, at):
        """The classes of this name, or registered under it; those of files that are imported, if there are any."""
        found = [cls.node for cls in self.checkout.classes if cls.name == word.split(".")[-1]]
        trees = {id(self.classes[id(node)].source.tree): node for node in found}
        imported = [node for tree, node in trees.items() if tree in self._seen]
        for node in (imported or found) + self._keys.get(word, []):
            self._build(node, at)

    def _build(self, node, at):
        cls = self.classes[id(node)]
        places = self.built.setdefault(node, [])
        if at not in places:
            places.append(at)
        for c in self.checkout.lineage(cls):
            self._add(c.source, c.node, (c.source.tree, ))

    def _is_other(self, value):
        return self.name is not None and isinstance(value, str) and self.methods.is_other(value, self.name)

    def _at(self, where, node):
        return "{}: line {}".format(where.source.name, node.lineno)
