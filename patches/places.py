"""Where scoring_addon.py has to be called in an M3DM checkout, found by syntax; what is not certain is a fault.

1. ``add_arguments``: before the entry script parses the command line.
2. ``check``: at the end of ``__init__`` of each runner, a class that calls ``calculate_metrics`` of its methods, and
   where a round of test samples begins in it.
3. ``record``: after the assignments of the maps ``self.compute_single_s_s_map(..., modal=...)`` for "rgb", "xyz" and,
   if there is one, "fusion", in a function that the runner's test pass runs and its training does not.
4. ``apply``: first statement of the ``calculate_metrics`` of the classes recorded.

A line that the user inserted by hand counts like an inserted one.
"""

import ast
from collections import namedtuple

from patches.edit import ADDON, Source, python_files

MODALS = ("rgb", "xyz", "fusion")
RELEASED = ("TripleFeatures", "DoubleRGBPointFeatures", "DoubleRGBPointFeatures_add")
MOST_LINES = 10
MAP, METRICS = "compute_single_s_s_map", "calculate_metrics"
HINTS = MAP.encode(), METRICS.encode()  # a file with a place contains one
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

Place = namedtuple("Place", "source line indent code")  # line: index of the line before which it goes
WHERE = {
    "add_arguments(PARSER)": "before your parser PARSER parses the options",
    "check(self)": "as last line of the runner's __init__",
    "check(self, CATEGORY)": "where a round of test samples begins",
    "record(self, RGB_MAP, XYZ_MAP, FUSION_MAP_OR_NONE)": "where the maps of a test sample are known",
    "apply(self)": "as first statement of calculate_metrics",
}
PARSER, CHECK, START, RECORD, APPLY = WHERE


class Fault(Exception):
    """A place is missing or not certain; ``code``: what a user can insert there."""

    def __init__(self, why, code=None):
        text = "; by hand, insert {}: import scoring_addon; scoring_addon.{}"
        super().__init__(why + (text.format(WHERE[code], code) if code else ""))


class Class:
    """A class of the checkout: ``name``, ``source``, ``methods`` {name: function node}, ``bases`` [last name]."""

    def __init__(self, source, node):
        self.source, self.name = source, node.name
        self.methods = {item.name: item for item in node.body if isinstance(item, FUNCTIONS)}
        self.bases = [last_name(base) for base in node.bases]

    def at(self, name):
        return "{}: line {}: {}.{}".format(self.source.name, self.methods[name].lineno, self.name, name)


class Tree:
    """The files that are searched, as they were before lines were inserted: those that the script imports; if they
    compute no maps or measure nothing, all of the checkout that do."""

    def __init__(self, root, entry):
        self.root, self.sources, self.imports = root, {}, {}
        self._read([root / entry])
        if not all(any(hint in source.data for source in self.sources.values()) for hint in HINTS):
            files = [path for path in python_files(root) if path.name != ADDON]
            self._read([path for path in files if any(hint in path.read_bytes() for hint in HINTS)])
        self.entry = self.sources[root / entry]
        self.nodes = [(source, node) for source in self.sources.values() for node in ast.walk(source.tree)]
        self.classes = [Class(source, node) for source, node in self.nodes if isinstance(node, ast.ClassDef)]

    def _read(self, waiting):
        while waiting:
            path = waiting.pop(0)
            if path not in self.sources:
                self.sources[path] = Source(path, path.relative_to(self.root).as_posix()).without_our_lines()
                self.imports[path] = self._imported(path)
                waiting += self.imports[path]

    def _imported(self, path):
        files = []
        for node in ast.walk(self.sources[path].tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                level, base = getattr(node, "level", 0), getattr(node, "module", None)
                start = path.parents[min(level, len(path.parents)) - 1] if level else self.root
                for alias in node.names:
                    parts = ".".join(filter(None, [base, alias.name])).split(".")
                    stems = [start.joinpath(*parts[: i + 1]) for i in range(len(parts))]
                    files += [f for stem in stems for f in (stem.with_name(stem.name + ".py"), stem / "__init__.py")]
        return [f for f in files if f.name != ADDON and self.root in f.parents and f.is_file()]

    def by_hand(self, hook):
        """The calls of a hook that the user has written."""
        return {n for _, n in self.nodes if called(n) == hook and dotted(n.func) == "scoring_addon." + hook}

    def lineage(self, cls, seen=()):
        """The class and its bases, nearest first; a base is looked for in the same file and those that it imports."""
        out = [cls]
        for name in cls.bases:
            files = [cls.source.path, *self.imports[cls.source.path]]
            named = [c for c in self.classes if c.name == name and c.source.path in files and c not in (cls, *seen)]
            for base in named[-1:]:  # of several definitions the last counts
                out += [c for c in self.lineage(base, (*seen, cls)) if c not in out]
        return out

    def functions(self, cls):
        """{name: function node} of an object of the class."""
        return {name: node for c in reversed(self.lineage(cls)) for name, node in c.methods.items()}


def find_places(root, entry):
    """([Place] in the checkout of the script ``entry``, [what to know]): of all classes that fit, as far as ten lines
    allow; those that the runner names and the release's come first. InputError: a file that may hold a place cannot be
    parsed. Fault: a place is missing or not certain."""
    tree = Tree(root, entry)
    places = [] if tree.by_hand("add_arguments") else [_parser_place(tree)]
    runners = [cls for cls in tree.classes if _test_functions(cls)]
    recorded, starters, notes = _recorded(tree, runners)
    for runner in runners if not tree.by_hand("check") else ():
        places += _check_places(runner, starters)
    built = {last_name(node) for runner in runners for node in ast.walk(runner.source.tree)}
    named, left = [], []
    for cls in sorted(recorded, key=lambda cls: (cls.name not in built, cls.name not in RELEASED)):
        apply = [] if tree.by_hand("apply") else [_metrics_place(tree, cls)]
        new = [place for place in recorded[cls] + apply if place not in places]
        if len(places) + len(new) > MOST_LINES:
            left.append(cls.name)
            continue
        places += new
        named.append(cls.name)
    notes.append("recorded: {}; --scoring refuses other methods".format(", ".join(named)))
    if left:
        notes.append("not recorded, since {} lines are the most: {}".format(MOST_LINES, ", ".join(left)))
    return places, notes


# ---------------------------------------------------------------- 1: the parser


def _parser_place(tree):
    calls = [(s, n) for s, n in tree.nodes if called(n) in ("parse_args", "parse_known_args")]
    calls = [(s, n) for s, n in calls if isinstance(n.func, ast.Attribute)]
    calls = [(s, n) for s, n in calls if s is tree.entry] or calls
    at = "; ".join("{}: line {}".format(s.name, n.lineno) for s, n in calls) or tree.entry.name
    if len(calls) != 1 or dotted(calls[0][1].func.value) is None:
        raise Fault(at + ": PARSER.parse_args() has to stand in one place, is in several places or in none", PARSER)
    source, call = calls[0]
    for node in ast.walk(source.tree):
        words = [str(getattr(a, "value", "")) for a in node.args] if called(node) == "add_argument" else []
        if any(word.startswith("--scoring") for word in words):
            text = "{}: line {}: has an option {} of its own; rename it"
            raise Fault(text.format(source.name, node.lineno, words[0]), PARSER)
    return place(
        source, statements_around(source.tree, call)[-1], "add_arguments({})".format(dotted(call.func.value)), PARSER
    )


# ---------------------------------------------------------------- 2: the runner


def _test_functions(cls):
    """Names of a class's functions that call ``calculate_metrics`` of another object."""
    calls = ((name, f, n) for name, f in cls.methods.items() for n in ast.walk(f) if called(n) == METRICS)
    return list(dict.fromkeys(name for name, f, n in calls if not own(getattr(n.func, "value", n), f)))


def _check_places(runner, starters):
    """The places of ``check``; ``starters``: names of the functions with which a test pass makes a method predict."""
    init = runner.methods.get("__init__")
    if init is None or isinstance(init.body[-1], (ast.Return, ast.Raise)):
        why = "{}: {} has no __init__, or one that ends with a return"
        raise Fault(why.format(runner.source.name, runner.name), CHECK)
    places = [place(runner.source, init.body[-1], "check({})".format(self_of(init)), CHECK, after=True)]
    for name in _test_functions(runner):
        function = runner.methods[name]
        if not starters & calls_in(function):
            raise Fault("{}: measures what another function predicts".format(runner.at(name)), START)
        loops = [n for n in ast.walk(function) if isinstance(n, ast.For) and METRICS in calls_in(n)]
        rounds = [loop for loop in loops if starters & calls_in(loop)]  # outermost first
        if any(inner not in ast.walk(outer) for outer, inner in zip(rounds, rounds[1:])):
            raise Fault("{}: measures in several loops".format(runner.at(name)), START)
        objects = {dotted(n.func.value) for n in ast.walk(function) if called(n) == METRICS}
        names = [arg.arg for arg in function.args.args[:2]] + [dotted(loop.target) for loop in rounds]
        body = [function, *rounds][-1].body
        first = body[is_text(body[0]) and len(body) > 1]
        code = "check({})".format(", ".join(name for name in names if name and name not in objects))
        places.append(place(runner.source, first, code, START))
    return places


# ---------------------------------------------------------------- 3: the maps


def _recorded(tree, runners):
    """({Class: [Place]} of those whose maps the test pass computes, names of the functions with which it does so,
    [why a class is not certain]). There are no places where the user wrote the call.

    Training may run the same functions: what it records is dropped where a round of test samples begins.
    """
    tests, by_hand = set(), tree.by_hand("record")
    for runner in runners:
        for name in reach(runner.methods, _test_functions(runner)):
            tests |= calls_in(runner.methods[name])
    found, starters, other, faults = {}, set(), [], []
    for cls, name, function in [(cls, name, f) for cls in tree.classes for name, f in cls.methods.items()]:
        functions = tree.functions(cls)
        calls = by_hand & set(ast.walk(function)) if by_hand else _map_calls(function)
        starts = {start for start in tests if calls and name in reach(functions, [start])}
        try:
            if starts:
                new = [] if by_hand else [_record_place(cls, name, calls)]
                found[cls] = found.get(cls, []) + new
                starters |= starts
            elif calls:
                other.append(cls.at(name))
        except Fault as fault:
            faults.append(fault)
    if not found and faults:
        raise faults[0]
    if not found:
        starts = ", ".join(sorted(name for name in tests if name.startswith("predict"))) or "nothing"
        why = "the functions with which {} tests methods ({}) run none that assigns the maps of "
        why += "compute_single_s_s_map(..., modal='rgb') and (..., modal='xyz'); such are: {}"
        where = ", ".join(runner.source.name for runner in runners)
        where = where or "{} (no class it imports calls calculate_metrics)".format(tree.entry.name)
        raise Fault(why.format(where, starts, ", ".join(other) or "none"), RECORD)
    return found, starters, ["not recorded: {}".format(fault) for fault in faults]


def _map_calls(function):
    """[(modal, call)] of the maps that a function computes; [] unless those of the RGB and xyz bank are among them."""
    found = []
    for node in ast.walk(function):
        if called(node) == MAP and own(getattr(node.func, "value", None), function):
            values = [k.value for k in node.keywords if k.arg == "modal"] or node.args
            modals = [v.value for v in values if isinstance(v, ast.Constant) and v.value in MODALS]
            found += [(modal, node) for modal in modals[:1]]
    return found if {"rgb", "xyz"} <= {modal for modal, _ in found} else []


def _record_place(cls, name, calls):
    """The place after the last of the assignments ``score, map = call``."""
    function, maps, statements = cls.methods[name], {}, []
    for modal, call in calls:
        statements.append(statements_around(function, call)[-1])
        assigned = isinstance(statements[-1], ast.Assign) and statements[-1].value is call
        target = statements[-1].targets[0] if assigned else None
        maps[modal] = dotted(target.elts[1]) if isinstance(target, ast.Tuple) and len(target.elts) == 2 else None
    first, last = (of(statements, key=lambda statement: statement.lineno) for of in (min, max))
    nodes = [n for n in ast.walk(function) if isinstance(getattr(n, "ctx", None), ast.Store)]
    stored = [n for n in nodes if first.lineno <= n.lineno <= last.end_lineno and dotted(n) in maps.values()]
    blocks = [block for node in ast.walk(function) for _, block in ast.iter_fields(node) if isinstance(block, list)]
    together = any(all(statement in block for statement in statements) for block in blocks)
    at = "{}: line {}".format(cls.at(name), first.lineno)
    if None in maps.values() or not together or not len(maps) == len(calls) == len(set(maps.values())) == len(stored):
        raise Fault(at + ": the maps have to be assigned once each, together, to names of their own", RECORD)
    if any(isinstance(s, (ast.For, ast.While, *FUNCTIONS)) for s in statements_around(function, last)[1:]):
        raise Fault(at + ": stands in a loop", RECORD)
    values = [self_of(function), *(str(maps.get(modal)) for modal in MODALS)]
    return place(cls.source, last, "record({})".format(", ".join(values)), RECORD, after=True)


# ---------------------------------------------------------------- 4: the metrics


def _metrics_place(tree, cls):
    lineage = tree.lineage(cls)
    definers = [c for c in lineage if METRICS in c.methods]
    if len(definers) != 1:
        at = ", ".join(c.at(METRICS) for c in definers) or "none"
        raise Fault("{}: {} needs one calculate_metrics, has {}".format(cls.source.name, cls.name, at), APPLY)
    top = definers[0]
    function = top.methods[METRICS]
    body, given = function.body[is_text(function.body[0]) :], function.args
    read = {n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute) and own(n.value, function)}
    if not body or not {"image_preds", "predictions"} <= read or given.vararg or given.kwonlyargs or given.kwarg:
        text = "{}: does not compute its metrics of self.image_preds and self.predictions, or has * in its arguments"
        raise Fault(text.format(top.at(METRICS)), APPLY)
    return place(top.source, body[0], "apply({})".format(", ".join(a.arg for a in given.args)), APPLY)


# ---------------------------------------------------------------- syntax


def reach(functions, starts):
    """Names of the functions that ``starts`` may run, directly or not, through ``self`` or ``super()``."""
    reached, waiting = set(), list(starts)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in reached:
            reached.add(name)
            nodes = ast.walk(functions[name])
            waiting += [n.attr for n in nodes if isinstance(n, ast.Attribute) and own(n.value, functions[name])]
    return reached


def statements_around(tree, wanted):
    """The statements that contain a node, outermost first."""
    return [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and any(inner is wanted for inner in ast.walk(n))]


def last_name(node):
    """``b`` of ``a.b`` and of ``b``; None for anything else."""
    return getattr(node, "attr", getattr(node, "id", None))


def called(node):
    """Last name of what a call calls; None for anything but a call."""
    return last_name(node.func) if isinstance(node, ast.Call) else None


def calls_in(node):
    """Last names of all that is called in a node."""
    return {called(n) for n in ast.walk(node)} - {None}


def self_of(function):
    """Name of a function's first argument; "" if it has none."""
    return function.args.args[0].arg if function.args.args else ""


def own(node, function):
    """Whether an expression is the function's ``self`` or ``super()``."""
    return called(node) == "super" or getattr(node, "id", None) == self_of(function)


def is_text(statement):
    """Whether a statement is a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def dotted(node):
    """``a`` or ``a.b`` as text, None for anything else."""
    if isinstance(node, ast.Attribute):
        return dotted(node.value) and dotted(node.value) + "." + node.attr
    return getattr(node, "id", None)


def place(source, statement, code, hook, after=False):
    """The Place of ``code`` on a line of its own before or after a statement; Fault if that shares its line."""
    if not source.begins_line(statement) or (after and not source.ends_line(statement)):
        raise Fault("{}: line {}: shares its line with others".format(source.name, statement.lineno), hook)
    first = min([statement.lineno] + [d.lineno for d in getattr(statement, "decorator_list", [])])
    return Place(source, statement.end_lineno if after else first - 1, source.indent(statement), code)
