"""Where scoring_addon.py has to be called in an M3DM checkout, found by syntax; what is not certain is a fault.

1. ``add_arguments``: before the entry script parses the command line.
2. ``check``: at the end of ``__init__`` of each runner, a class that calls ``calculate_metrics`` of its methods, and
   where a round of test samples begins in it.
3. ``record``: after the assignments of the maps ``self.compute_single_s_s_map(..., modal=...)`` for "rgb", "xyz" and,
   if there is one, "fusion", in a function that the runner's test pass runs and its training does not.
4. ``apply``: first statement of the ``calculate_metrics`` of the classes recorded.
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
Found = namedtuple("Found", "places faults notes")  # faults: what is missing or not certain; notes: what to know
WHERE = {
    "add_arguments(PARSER)": "before your parser PARSER parses the options",
    "check(self)": "as last line of the runner's __init__",
    "check(self, CATEGORY)": "where a round of test samples begins",
    "record(self, RGB_MAP, XYZ_MAP, FUSION_MAP_OR_NONE)": "where the maps of a test sample are known",
    "apply(self)": "as first statement of calculate_metrics",
}
PARSER, CHECK, START, RECORD, APPLY = WHERE
HOOKS = ("add_arguments", "check", "record", "apply")


class Fault(Exception):
    """A place is missing or not certain."""

    def __init__(self, why, code):
        text = "{}; by hand, insert {}: import scoring_addon; scoring_addon.{}"
        super().__init__(text.format(why, WHERE[code], code))


class Class:
    """A class of the checkout: ``name``, ``source``, ``methods`` {name: function node}, ``bases`` [last name]."""

    def __init__(self, source, node):
        self.source, self.name = source, node.name
        self.methods = {item.name: item for item in node.body if isinstance(item, FUNCTIONS)}
        self.bases = [getattr(base, "attr", getattr(base, "id", None)) for base in node.bases]

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
        hooks = [n for _, n in self.nodes if isinstance(n, ast.Attribute) and dotted(n.value) == "scoring_addon"]
        self.by_hand = {hook: [n for n in hooks if n.attr == hook] for hook in HOOKS}

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

    def lineage(self, cls, seen=()):
        """The class and its bases by name, nearest first; one of the same or an imported file goes before others."""
        out = [cls]
        for name in cls.bases:
            named = [c for c in self.classes if c.name == name and c is not cls and c not in seen]
            near = [c for c in named if c.source.path in [cls.source.path, *self.imports[cls.source.path]]]
            for base in (near or named)[-1:]:  # of several definitions the last counts
                out += [c for c in self.lineage(base, (*seen, cls)) if c not in out]
        return out

    def functions(self, cls):
        """{name: function node} of an object of the class."""
        return {name: node for c in reversed(self.lineage(cls)) for name, node in c.methods.items()}


def find_places(root, entry, wanted=()):
    """The places in the checkout of the script ``entry``.

    Args:
        wanted: names of the classes to record; empty: all that fit, as far as ten lines allow.

    Returns:
        Found; faults and notes as texts.

    Raises:
        InputError: a file that may hold a place cannot be parsed.
    """
    tree = Tree(root, entry)
    places, faults, notes, chosen = [], [], _fixed_method(tree), []

    def add(find, *args):
        try:
            return [place for place in find(*args) if place not in places]
        except Fault as fault:
            faults.append(str(fault))
            return []

    places += add(_parser_place, tree)
    runners = [c for c in tree.classes if _test_functions(c)]
    try:
        chosen, unclear = _recorded(tree, runners, wanted)
        notes += ["not recorded: {}".format(fault) for fault in unclear]
    except Fault as fault:
        faults.append(str(fault))
    built = {last_name(node) for runner in runners for node in ast.walk(runner.source.tree)}
    left, kept = [], []
    for cls, _, of in sorted(chosen, key=lambda one: (one[0].name not in built, one[0].name not in RELEASED)):
        new = of + add(_metrics_place, tree, cls)
        fits = len(places) + len(new) + 2 * len(runners) <= MOST_LINES
        places += new if fits else []
        (kept if fits else left).append(cls.name)
    if kept:
        notes.append("recorded: {}; --scoring refuses other methods".format(", ".join(kept)))
    if left:
        text = "not recorded, since {} lines are the most: {}; --classes chooses"
        notes.append(text.format(MOST_LINES, ", ".join(left)))
    for runner in runners if not tree.by_hand["check"] else ():
        places += add(_runner_places, runner, tree, chosen)
    return Found(places, list(dict.fromkeys(faults)), notes)


def _fixed_method(tree):
    """A note on a script that works with one method, whatever the command line says."""
    for node in ast.walk(tree.entry.tree):
        fixed = isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        fixed = fixed and getattr(node.targets[0], "attr", "") == "method_name"
        if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "methods":
            fixed = isinstance(getattr(node.slice, "value", None), (str, ast.Constant))  # Python 3.8 wraps it
        if fixed:
            return ["{}: line {}: works with a fixed method".format(tree.entry.name, node.lineno)]
    return []


# ---------------------------------------------------------------- 1: the parser


def _parser_place(tree):
    if tree.by_hand["add_arguments"]:
        return []
    calls = [(s, n) for s, n in tree.nodes if called(n) in ("parse_args", "parse_known_args")]
    calls = [(s, n) for s, n in calls if s is tree.entry] or calls
    if not calls:
        raise Fault("{}: neither it nor a file it imports calls parse_args()".format(tree.entry.name), PARSER)
    at = "; ".join("{}: line {}".format(s.name, n.lineno) for s, n in calls)
    source, parser = calls[0][0], calls[0][1].func.value
    chains = [blocks_around(source.tree, node) for s, node in calls if s is source]
    within = {next((id(s) for _, s in reversed(chain) if isinstance(s, FUNCTIONS)), 0) for chain in chains}
    if len({ast.dump(n.func.value) for _, n in calls}) > 1 or len(within) > 1 or len(chains) < len(calls):
        raise Fault(at + ": options are parsed in several places; it is not certain which are wanted", PARSER)
    statement = common_level(chains)[1]
    if isinstance(parser, ast.Call):  # get_parser().parse_args(): before its return
        made = [(s, n) for s, n in tree.nodes if isinstance(n, ast.FunctionDef) and n.name == called(parser)]
        ends = [(s, r) for s, n in made for r in ast.walk(n) if isinstance(r, ast.Return)]
        source, statement, parser = (*ends[0], ends[0][1].value) if len(ends) == 1 else (source, statement, parser)
    if dotted(parser) is None:
        raise Fault(at + ": the parser has no name there", PARSER)
    for node in ast.walk(source.tree):
        words = [str(getattr(a, "value", "")) for a in node.args] if called(node) == "add_argument" else []
        if any(word.startswith("--scoring") for word in words):
            text = "{}: line {}: has an option {} of its own; rename it"
            raise Fault(text.format(source.name, node.lineno, words[0]), PARSER)
    return [place(source, statement, "add_arguments({})".format(dotted(parser)), PARSER)]


# ---------------------------------------------------------------- 2: the runner


def _test_functions(cls):
    """Names of a class's functions that call ``calculate_metrics`` of another object."""
    calls = ((name, f, n) for name, f in cls.methods.items() for n in ast.walk(f) if called(n) == METRICS)
    return list(dict.fromkeys(name for name, f, n in calls if not own(getattr(n.func, "value", n), f)))


def _runner_places(runner, tree, chosen):
    if "__init__" not in runner.methods:
        raise Fault("{}: {} has no __init__".format(runner.source.name, runner.name), CHECK)
    init = runner.methods["__init__"]
    if isinstance(init.body[-1], (ast.Return, ast.Raise)):
        raise Fault("{}: ends with a return".format(runner.at("__init__")), CHECK)
    places = [place(runner.source, init.body[-1], "check({})".format(self_of(init)), CHECK, after=True)]
    starters = {s for cls, name, _ in chosen for f in [tree.functions(cls)] for s in f if name in reach(f, [s])}
    for function in (runner.methods[name] for name in _test_functions(runner)):
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
        chains = [blocks_around(function, n) for n in calls if n.func.attr in starters | {METRICS}]
        block, statement = common_level(chains)
        names, objects = [arg.arg for arg in function.args.args[:2]], {dotted(n.func.value) for n in calls}
        for _, loop in blocks_around(function, statement)[:-1]:
            if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) and loop.target.id not in objects:
                names.append(loop.target.id)
        first = block[is_text(block[0]) and len(block) > 1]
        places.append(place(runner.source, first, "check({})".format(", ".join(names)), START))
    return places


# ---------------------------------------------------------------- 3: the maps


def _recorded(tree, runners, wanted):
    """([(Class, function name, [Place])] of the classes that can be recorded, [Fault] of those that are not certain).

    There are no places where the user wrote the call.
    """
    everything = [(cls, name, function) for cls in tree.classes for name, function in cls.methods.items()]
    if tree.by_hand["record"]:
        return [(c, name, []) for c, name, f in everything if set(tree.by_hand["record"]) & set(ast.walk(f))], []
    if not runners:
        why = "no class calls calculate_metrics of a method object in what {} imports".format(tree.entry.name)
        raise Fault(why, RECORD)
    tests, trains = set(), set()
    for runner in runners:
        inner = reach(runner.methods, _test_functions(runner))
        for name, function in runner.methods.items():
            (tests if name in inner else trains).update(map(called, ast.walk(function)))
    found, unreached, faults = [], [], []
    for cls, name, function in everything:
        groups, functions = _groups(function), tree.functions(cls)
        if not groups or (wanted and cls.name not in wanted):
            continue
        training = [start for start in sorted(functions) if start in trains and name in reach(functions, [start])]
        tested = name in reach(functions, tests & set(functions))
        try:
            if training and tested:
                text = "{}: is run by {} in training too, so the test samples' maps cannot be told apart"
                raise Fault(text.format(cls.at(name), ", ".join(training)), RECORD)
            if tested:
                found.append((cls, name, [_record_place(cls, name, *group) for group in groups]))
            elif not training:
                unreached.append(cls.at(name))
        except Fault as fault:
            faults.append(fault)
    if found:
        return found, faults
    if faults:
        raise faults[0]
    why = "{}: no function assigns the maps of compute_single_s_s_map(..., modal='rgb') and (..., modal='xyz')"
    why = why.format(", ".join(wanted) or runners[0].source.name)
    if unreached:
        starts = ", ".join(sorted(str(test) for test in tests if str(test).startswith("predict"))) or "no predict"
        why = "{}: calls {}, which does not run {}".format(runners[0].source.name, starts, ", ".join(unreached))
    raise Fault(why, RECORD)


def _groups(function):
    """[(statement list, [(modal, statement, expression of the map)])]: where a function knows the RGB and xyz map."""
    groups = {}
    for node in ast.walk(function):
        if called(node) == MAP and own(getattr(node.func, "value", None), function):
            values = [k.value for k in node.keywords if k.arg == "modal"] or node.args
            modal = next((v.value for v in values if isinstance(v, ast.Constant) and v.value in MODALS), None)
            block, statement = blocks_around(function, node)[-1]
            if modal:
                groups.setdefault(id(block), (block, []))[1].append((modal, statement, _map_of(statement, node)))
    return [group for group in groups.values() if {"rgb", "xyz"} <= {modal for modal, _, _ in group[1]}]


def _map_of(statement, call):
    """The expression that holds the map after the tuple (score, map) was assigned; None if it is not clear."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) and statement.value is call else None
    if isinstance(target, (ast.Tuple, ast.List)):
        return dotted(target.elts[1]) if len(target.elts) == 2 else None
    return dotted(target) and dotted(target) + "[1]"


def _record_place(cls, name, block, calls):
    function, maps = cls.methods[name], {modal: expression for modal, _, expression in calls}
    first, last = calls[0][1], max((statement for _, statement, _ in calls), key=lambda node: node.lineno)
    names = {expression.split("[")[0] for expression in maps.values() if expression}
    nodes = [n for n in ast.walk(function) if isinstance(getattr(n, "ctx", None), ast.Store)]
    stored = [n for n in nodes if first.lineno <= n.lineno <= last.end_lineno and dotted(n) in names]
    at = "{}: line {}".format(cls.at(name), first.lineno)
    if None in maps.values() or not len(maps) == len(calls) == len(names) == len(stored):
        raise Fault(at + ": the maps have to be assigned once each, to names of their own", RECORD)
    if any(isinstance(s, (ast.For, ast.While, *FUNCTIONS)) for _, s in blocks_around(function, last)[:-1]):
        raise Fault(at + ": stands in a loop", RECORD)
    values = [self_of(function), *(str(maps.get(modal)) for modal in MODALS)]
    return place(cls.source, last, "record({})".format(", ".join(values)), RECORD, after=True)


# ---------------------------------------------------------------- 4: the metrics


def _metrics_place(tree, cls):
    if tree.by_hand["apply"]:
        return []
    lineage = tree.lineage(cls)
    definers = [c for c in lineage if METRICS in c.methods]
    if not definers:
        raise Fault("{}: {} has no calculate_metrics".format(cls.source.name, cls.name), APPLY)
    top = definers[-1]
    other = [c for c in tree.classes if c is not top and METRICS in c.methods and top in tree.lineage(c)]
    if other:
        raise Fault("{}: overrides {}".format("; ".join(c.at(METRICS) for c in other), top.at(METRICS)), APPLY)
    function = top.methods[METRICS]
    body, given = function.body[is_text(function.body[0]) :], function.args
    read = {n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute) and own(n.value, function)}
    if not body or not {"image_preds", "predictions"} <= read:
        text = "{}: does not compute its metrics of self.image_preds and self.predictions"
        raise Fault(text.format(top.at(METRICS)), APPLY)
    nodes = [n for c in lineage for f in c.methods.values() for n in ast.walk(f)]
    if not any(getattr(n, "attr", "") == "args" and isinstance(n.ctx, ast.Store) for n in nodes):
        raise Fault("{}: {} does not keep the options in self.args".format(cls.source.name, cls.name), APPLY)
    values = [a.arg for a in given.args] + (["*" + given.vararg.arg] if given.vararg else [])
    values += ["{0}={0}".format(a.arg) for a in given.kwonlyargs] + (["**" + given.kwarg.arg] if given.kwarg else [])
    return [place(top.source, body[0], "apply({})".format(", ".join(values)), APPLY)]


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


def blocks_around(tree, wanted):
    """[(list of statements, the statement in it that contains ``wanted``)], outermost first."""
    for _, block in ast.iter_fields(tree):
        for item in block if isinstance(block, list) else [block]:
            if isinstance(item, ast.AST) and any(node is wanted for node in ast.walk(item)):
                return ([(block, item)] if isinstance(item, ast.stmt) else []) + blocks_around(item, wanted)
    return []


def common_level(chains):
    """The innermost (list of statements, statement of the first chain) that all chains of ``blocks_around`` share."""
    return [one for one in chains[0] if all(any(one[0] is other[0] for other in chain) for chain in chains)][-1]


def last_name(node):
    """``b`` of ``a.b`` and of ``b``; None for anything else."""
    return getattr(node, "attr", getattr(node, "id", None))


def called(node):
    """Last name of what a call calls; None for anything but a call."""
    return last_name(node.func) if isinstance(node, ast.Call) else None


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
