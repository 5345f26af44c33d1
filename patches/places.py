"""Where scoring_addon.py has to be called in an M3DM checkout, found by syntax; what is not certain is a fault.

1. ``add_arguments``: before the entry script parses the command line.
2. ``check``: at the end of the ``__init__`` of each runner, a class in which a method object's ``calculate_metrics`` is
   called, and where a round of test samples begins in it.
3. ``record``: after the assignments of the single-bank maps ``self.compute_single_s_s_map(..., modal=...)`` for "rgb" and
   "xyz", and "fusion" if there is one, in a function that the runner's test pass runs and its training does not.
4. ``apply``: first statement of the ``calculate_metrics`` of the classes recorded.
"""

import ast
from collections import namedtuple

from patches.edit import ADDON, Source, python_files

MODALS = ("rgb", "xyz", "fusion")
RELEASED = ("TripleFeatures", "DoubleRGBPointFeatures", "DoubleRGBPointFeatures_add")
MOST_LINES = 10
HINTS = (b"compute_single_s_s_map", b"calculate_metrics")  # a file with a place contains one
LISTS = ("image_preds", "predictions")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

Place = namedtuple("Place", "source line indent code")  # line: index of the line before which it goes
Found = namedtuple("Found", "places faults notes")  # faults: what is missing or not certain; notes: what to know


class Fault(Exception):
    """A place is missing or not certain; ``absent``: it may lie in a file that was not read."""

    def __init__(self, why, where, code, absent=False):
        super().__init__("{}; by hand, insert {}: import scoring_addon; scoring_addon.{}".format(why, where, code))
        self.absent = absent


class Class:
    """A class of the checkout: ``name``, ``source``, ``methods`` {name: function node}, ``bases`` [last name]."""

    def __init__(self, source, node):
        self.source, self.node, self.name = source, node, node.name
        self.methods = {item.name: item for item in node.body if isinstance(item, FUNCTIONS)}
        self.bases = [getattr(base, "attr", getattr(base, "id", None)) for base in node.bases]

    def at(self, name):
        return "{}: line {}: {}.{}".format(self.source.name, self.methods[name].lineno, self.name, name)


def find_places(root, entry, wanted=()):
    """The places in the files that the entry script imports; if one is not there, in all files of the checkout.

    Args:
        root: folder of the checkout.
        entry: name of the script that parses the options.
        wanted: names of the classes to record; empty: all that fit, as far as ten lines allow.

    Raises:
        InputError: a file that may hold a place cannot be parsed.
    """
    found = _find(Tree(root, entry), wanted)
    if any(fault.absent for fault in found.faults):
        found = min(found, _find(Tree(root, entry, everything=True), wanted), key=lambda f: len(f.faults))
    return Found(found.places, [str(fault) for fault in found.faults], found.notes)


class Tree:
    """The files that are searched, as they were before lines were inserted."""

    def __init__(self, root, entry, everything=False):
        self.root, self.sources, waiting = root, {}, [root / entry]
        if everything:
            waiting += [p for p in python_files(root) if p.name != ADDON and any(h in p.read_bytes() for h in HINTS)]
        while waiting:
            path = waiting.pop(0)
            if path not in self.sources:
                self.sources[path] = Source(path, path.relative_to(root).as_posix()).without_our_lines()
                waiting += self._imported(path)
        self.entry = self.sources[root / entry]
        nodes = [(source, node) for source in self.sources.values() for node in ast.walk(source.tree)]
        self.classes = [Class(source, node) for source, node in nodes if isinstance(node, ast.ClassDef)]
        self.by_hand = {hook: [] for hook in ("add_arguments", "check", "record", "apply")}
        for source, node in nodes:
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "scoring_addon":
                self.by_hand.get(node.attr, []).append((source, node))

    def _imported(self, path):
        """The checkout's files that a file imports by name."""
        files = []
        for node in ast.walk(self.sources[path].tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                level = getattr(node, "level", 0)
                start = path.parents[min(level, len(path.parents)) - 1] if level else self.root
                base = (getattr(node, "module", None) or "").split(".")
                for alias in node.names:
                    parts = [part for part in [*base, *alias.name.split(".")] if part]
                    stems = [start.joinpath(*parts[: i + 1]) for i in range(len(parts))]
                    files += [f for stem in stems for f in (stem.with_name(stem.name + ".py"), stem / "__init__.py")]
        return [f for f in files if f.name != ADDON and self.root in f.parents and f.is_file()]

    def lineage(self, cls, seen=()):
        """The class and its bases by name, nearest first; a class of the same file goes before one elsewhere."""
        out = [cls]
        for name in cls.bases:
            named = [c for c in self.classes if c.name == name and c is not cls and c not in seen]
            near = [c for c in named if c.source is cls.source]
            near = near or [c for c in named if c.source.path in self._imported(cls.source.path)] or named
            for base in near[-1:]:  # of several definitions the last counts
                out += [c for c in self.lineage(base, (*seen, cls)) if c not in out]
        return out


def _find(tree, wanted):
    places, faults, notes = [], [], _fixed_methods(tree)

    def add(find, *args):
        try:
            places.extend(place for place in find(*args) if place not in places)
        except Fault as fault:
            faults.append(fault)

    add(_parser_place, tree)
    runners = [c for c in tree.classes if _test_functions(c)]
    chosen = []  # (class, function, its places)
    try:
        chosen, unclear = _recorded(tree, runners, wanted)
        notes += ["not recorded: {}".format(fault) for fault in unclear]
    except Fault as fault:
        faults.append(fault)
    metrics = {id(cls): tree.lineage(cls) for cls, _, _ in chosen}
    tops = {id(cls): [c for c in metrics[id(cls)] if "calculate_metrics" in c.methods][-1:] for cls, _, _ in chosen}
    count = 1 + 2 * len(runners) + len({id(top) for of in tops.values() for top in of})
    for cls, name, of in sorted(chosen, key=lambda one: _rank(one[0], runners)):
        if count + len(of) > MOST_LINES:
            notes.append(
                "{}: is not recorded, {} lines are the most; --classes chooses".format(cls.at(name), MOST_LINES)
            )
            continue
        count += len(of)
        places.extend(of)
        add(_metrics_place, tree, cls, tops[id(cls)])
        if of:
            notes.append("{}: is recorded".format(cls.at(name)))
    if not tree.by_hand["check"]:
        for runner in runners:
            add(_runner_places, runner, {name for _, name, _ in chosen}, chosen, tree)
    return Found(places, faults, notes)


def _rank(cls, runners):
    built = {getattr(n, "attr", getattr(n, "id", None)) for r in runners for n in ast.walk(r.source.tree)}
    return cls.name not in built, cls.name not in RELEASED


def _fixed_methods(tree):
    """Notes on an entry script that works with one method, whatever the command line says."""
    notes = []
    for node in ast.walk(tree.entry.tree):
        target = node.targets[0] if isinstance(node, ast.Assign) else node
        fixed = isinstance(node, ast.Assign) and getattr(target, "attr", "") == "method_name"
        fixed = fixed and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Subscript) and getattr(node.value, "attr", "") == "methods":
            index = node.slice.value if type(node.slice).__name__ == "Index" else node.slice  # Python 3.8 wraps it
            fixed = isinstance(index, ast.Constant)
        if fixed:
            notes.append("{}: line {}: works with a fixed method".format(tree.entry.name, node.lineno))
    return notes[:1]


# ---------------------------------------------------------------- 1: the parser


def _parser_place(tree):
    code, where = "add_arguments(PARSER)", "before the options are parsed (PARSER: your parser)"
    if tree.by_hand["add_arguments"]:
        return []
    for sources in ([tree.entry], [source for source in tree.sources.values() if source is not tree.entry]):
        calls = [(s, n) for s in sources for n in ast.walk(s.tree) if _called(n) in ("parse_args", "parse_known_args")]
        if calls:
            break
    else:
        raise Fault("{}: neither it nor a file it imports calls parse_args()".format(tree.entry.name), where, code)
    source, call = calls[0]
    at = "; ".join("{}: line {}".format(s.name, n.lineno) for s, n in calls)
    chains = [blocks_around(source.tree, node) for s, node in calls if s is source]
    around = {id(_function(chain)) for chain in chains}
    receivers = {ast.dump(node.func.value) for _, node in calls}
    if len(receivers) > 1 or len(around) > 1 or len(chains) < len(calls):
        raise Fault(at + ": options are parsed in several places; it is not certain which are wanted", where, code)
    parser = call.func.value
    if isinstance(parser, ast.Call):  # get_parser().parse_args(): before its return
        named = getattr(parser.func, "id", getattr(parser.func, "attr", None))
        made = [(s, n) for s in tree.sources.values() for n in ast.walk(s.tree)]
        made = [(s, n) for s, n in made if isinstance(n, ast.FunctionDef) and n.name == named]
        ends = [(s, r) for s, n in made for r in ast.walk(n) if isinstance(r, ast.Return)]
        if len(ends) != 1 or not isinstance(ends[0][1].value, ast.Name):
            raise Fault(at + ": the parser has no name there", where, code)
        source, statement, name = ends[0][0], ends[0][1], ends[0][1].value.id
    else:
        common = [level for level in chains[0] if all(any(level[0] is o[0] for o in chain) for chain in chains)][-1]
        statement, name = common[1], dotted(parser)
    bound = [n for n in ast.walk(source.tree) if isinstance(n, ast.Assign) and name in map(dotted, n.targets)]
    inside = blocks_around(source.tree, call) if parser is not None else []
    here = [n for n in bound if _function(blocks_around(source.tree, n)) is _function(inside)] or bound
    makers = [(_called(n.value) or "").lower() for n in here]
    if name is None or len(here) != 1 or not ("parser" in makers[0] or "options" in makers[0]):
        raise Fault("{}: it is not certain that {} is an ArgumentParser".format(at, name or "this"), where, code)
    for node in ast.walk(source.tree):
        if _called(node) == "add_argument":
            taken = [a.value for a in node.args if isinstance(a, ast.Constant) and str(a.value).startswith("--scoring")]
            if taken:
                text = "{}: line {}: has an option {} of its own; rename it"
                raise Fault(text.format(source.name, node.lineno, taken[0]), where, code)
    return [before(source, statement, "add_arguments({})".format(name), where)]


# ---------------------------------------------------------------- 2: the runner


def _test_functions(cls):
    """Names of a class's functions that call ``calculate_metrics`` of another object."""
    return [
        name
        for name, function in cls.methods.items()
        if any(_called(n) == "calculate_metrics" and not _own(n.func.value, function) for n in ast.walk(function))
    ]


def _runner_places(runner, recorded, chosen, tree):
    where, name = "as last line of the runner's __init__", "__init__"
    if name not in runner.methods:
        raise Fault("{}: {} has no __init__".format(runner.source.name, runner.name), where, "check(self)")
    last = runner.methods[name].body[-1]
    if isinstance(last, (ast.Return, ast.Raise)):
        raise Fault("{}: ends with a return".format(runner.at(name)), where, "check(self)")
    own = runner.methods[name].args.args[0].arg
    places = [after(runner.source, last, "check({})".format(own), where)]
    for name in _test_functions(runner):
        function, where = runner.methods[name], "where a round of test samples begins"
        calls = [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
        metrics = [n for n in calls if n.func.attr == "calculate_metrics"]
        starts = {n.func.attr for n in calls} & _starters(tree, chosen)
        chains = [blocks_around(function, n) for n in metrics + [n for n in calls if n.func.attr in starts]]
        common = [level for level in chains[0] if all(any(level[0] is o[0] for o in chain) for chain in chains)][-1]
        names = [arg.arg for arg in function.args.args[1:2]]
        objects = {dotted(n.func.value) for n in calls}
        for block, statement in blocks_around(function, common[1])[:-1]:
            if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name):
                names += [statement.target.id] if statement.target.id not in objects else []
        block = common[0][1:] if _is_text(common[0][0]) and len(common[0]) > 1 else common[0]
        code = "check({})".format(", ".join([function.args.args[0].arg, *names]))
        places.append(before(runner.source, block[0], code, where))
    return places


def _starters(tree, chosen):
    """Names of the functions of the recorded classes that lead to a recording."""
    out = set()
    for cls, name, _ in chosen:
        functions = _functions(tree, cls)
        out |= {start for start in functions if name in _reach(functions, [start])}
    return out


# ---------------------------------------------------------------- 3: the maps


def _recorded(tree, runners, wanted):
    """([(Class, function name, [Place])] of the classes that can be recorded, [Fault] of those that are not certain).

    There are no places where the user wrote the call.
    """
    code, where = "record(self, RGB_MAP, XYZ_MAP, FUSION_MAP_OR_NONE)", "where the maps of a test sample are known"
    if tree.by_hand["record"]:
        return [
            (cls, name, [])
            for cls in tree.classes
            for name, function in cls.methods.items()
            if any(node is call for node in ast.walk(function) for _, call in tree.by_hand["record"])
        ], []
    if not runners:
        why = "no class calls calculate_metrics of a method object in what {} imports".format(tree.entry.name)
        raise Fault(why, where, code, absent=True)
    tests, trains = set(), set()
    for runner in runners:
        inner = _reach(runner.methods, _test_functions(runner))
        for name, function in runner.methods.items():
            calls = {n.func.attr for n in ast.walk(function) if isinstance(n, ast.Call) and hasattr(n.func, "attr")}
            (tests if name in inner else trains).update(calls)
    found, unreached, faults = [], [], []
    for cls in tree.classes:
        functions = _functions(tree, cls)
        testing, training = _reach(functions, tests & set(functions)), _reach(functions, trains & set(functions))
        for name, function in cls.methods.items():
            groups = _groups(function)
            if not groups or (wanted and cls.name not in wanted) or name in training - testing:
                continue
            if name in training & testing:
                starts = [start for start in trains & set(functions) if name in _reach(functions, [start])]
                text = "{}: is run by {} in training too, so the test samples' maps cannot be told apart"
                faults.append(Fault(text.format(cls.at(name), ", ".join(sorted(starts))), where, code))
            elif name not in testing:
                unreached.append(cls.at(name))
            else:
                try:
                    found.append((cls, name, [_record_place(cls, name, group, where, code) for group in groups]))
                except Fault as fault:
                    faults.append(fault)
    if faults and not found:
        raise faults[0]
    if not found and unreached:
        called = sorted(t for t in tests if t.startswith("predict")) or ["no predict"]
        text = "{}: calls {}, which does not run {}"
        raise Fault(
            text.format(runners[0].source.name, ", ".join(called), "; ".join(unreached)), where, code, absent=True
        )
    if not found:
        text = "{}: no function that assigns the maps of compute_single_s_s_map(..., modal='rgb') and modal='xyz'"
        raise Fault(text.format(", ".join(wanted) or runners[0].source.name), where, code, absent=True)
    return found, faults


def _functions(tree, cls):
    """{name: function node} of an object of the class, nearest definitions first."""
    return {name: node for c in reversed(tree.lineage(cls)) for name, node in c.methods.items()}


def _reach(functions, starts):
    """Names of the functions that ``starts`` may run, directly or not, through ``self`` or ``super()``."""
    reached, waiting = set(), list(starts)
    while waiting:
        name = waiting.pop()
        if name in functions and name not in reached:
            reached.add(name)
            nodes = ast.walk(functions[name])
            waiting += [n.attr for n in nodes if isinstance(n, ast.Attribute) and _own(n.value, functions[name])]
    return reached


def _groups(function):
    """[{modal: (statement, expression of the map)}]: the statement lists of a function that know the RGB and xyz map."""
    groups = {}
    for node in ast.walk(function):
        if _called(node) == "compute_single_s_s_map" and _own(node.func.value, function):
            values = [k.value for k in node.keywords if k.arg == "modal"] or node.args
            modal = next((v.value for v in values if isinstance(v, ast.Constant) and v.value in MODALS), None)
            if modal:
                block, statement = blocks_around(function, node)[-1]
                groups.setdefault(id(block), (block, []))[1].append((modal, statement, _map_of(statement, node)))
    wanted = {"rgb", "xyz"}
    return [group for group in groups.values() if wanted <= {modal for modal, _, _ in group[1]}]


def _map_of(statement, call):
    """The expression that holds the map after the tuple (score, map) was assigned; None if it is not clear."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) and statement.value is call else None
    if isinstance(target, (ast.Tuple, ast.List)):
        return dotted(target.elts[1]) if len(target.elts) == 2 else None
    return dotted(target) and dotted(target) + "[1]"


def _record_place(cls, name, group, where, code):
    block, calls = group
    maps = {modal: expression for modal, _, expression in calls}
    last = max((statement for _, statement, _ in calls), key=lambda node: node.lineno)
    first = min(statement.lineno for _, statement, _ in calls)
    function = cls.methods[name]
    around = [statement for level, statement in blocks_around(function, last) if level is not block]
    names = {expression.split("[")[0] for expression in maps.values() if expression}
    stored = [dotted(n) for n in ast.walk(function) if isinstance(getattr(n, "ctx", None), ast.Store)
              and first <= n.lineno <= last.end_lineno and dotted(n) in names]  # fmt: skip
    if None in maps.values() or not len(maps) == len(calls) == len(names) == len(stored):
        text = "{}: line {}: the maps have to be assigned once each, to names of their own"
        raise Fault(text.format(cls.at(name), first), where, code)
    if any(isinstance(node, (ast.For, ast.While, *FUNCTIONS)) for node in around):
        raise Fault("{}: line {}: stands in a loop".format(cls.at(name), first), where, code)
    values = [function.args.args[0].arg, *(str(maps.get(modal)) for modal in MODALS)]
    return after(cls.source, last, "record({})".format(", ".join(values)), where)


# ---------------------------------------------------------------- 4: the metrics


def _metrics_place(tree, cls, tops):
    name, code, where = "calculate_metrics", "apply(self)", "as first statement of calculate_metrics"
    if tree.by_hand["apply"]:
        return []
    if not tops:
        text = "{}: {} has no calculate_metrics"
        raise Fault(text.format(cls.source.name, cls.name), where, code, absent=True)
    top = tops[0]
    other = [c for c in tree.classes if c is not top and name in c.methods and top in tree.lineage(c)]
    if other:
        raise Fault("{}: overrides {}".format("; ".join(c.at(name) for c in other), top.at(name)), where, code)
    function = top.methods[name]
    body = function.body[1:] if _is_text(function.body[0]) else function.body
    own = function.args.args[0].arg
    read = {n.attr for n in ast.walk(function) if isinstance(n, ast.Attribute) and _own(n.value, function)}
    if not body or not set(LISTS) <= read:
        text = "{}: does not compute its metrics of self.{}"
        raise Fault(text.format(top.at(name), " and self.".join(LISTS)), where, code)
    given, extra = [a.arg for a in function.args.args], function.args
    given += ["*" + extra.vararg.arg] if extra.vararg else []
    given += ["{0}={0}".format(a.arg) for a in extra.kwonlyargs] + (["**" + extra.kwarg.arg] if extra.kwarg else [])
    kept = any(
        dotted(t) == f.args.args[0].arg + ".args"
        for c in tree.lineage(cls)
        for f in c.methods.values()
        for n in ast.walk(f)
        if isinstance(n, ast.Assign) and f.args.args
        for t in n.targets
    )
    if not kept:
        raise Fault("{}: {} does not keep the options in {}.args".format(cls.source.name, cls.name, own), where, code)
    return [before(top.source, body[0], "apply({})".format(", ".join(given)), where)]


# ---------------------------------------------------------------- syntax


def blocks_around(tree, wanted):
    """[(list of statements, the statement in it that contains ``wanted``)], outermost first."""
    for _, block in ast.iter_fields(tree):
        for item in block if isinstance(block, list) else [block]:
            if isinstance(item, ast.AST) and any(node is wanted for node in ast.walk(item)):
                return ([(block, item)] if isinstance(item, ast.stmt) else []) + blocks_around(item, wanted)
    return []


def _function(chain):
    return next((statement for _, statement in reversed(chain) if isinstance(statement, FUNCTIONS)), None)


def _called(node):
    """Name of the attribute or function that a call calls; None for anything but a call."""
    return getattr(node.func, "attr", getattr(node.func, "id", None)) if isinstance(node, ast.Call) else None


def _own(node, function):
    """Whether an expression is the function's ``self`` or ``super()``."""
    arguments = function.args.args
    return _called(node) == "super" or bool(arguments) and getattr(node, "id", None) == arguments[0].arg


def _is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def dotted(node):
    """``a`` or ``a.b`` as text, None for anything else."""
    if isinstance(node, ast.Attribute):
        return dotted(node.value) and dotted(node.value) + "." + node.attr
    return getattr(node, "id", None)


def before(source, statement, code, where):
    """The Place of ``code`` on a line of its own before a statement; Fault if the statement shares its line."""
    first = min([statement.lineno] + [d.lineno for d in getattr(statement, "decorator_list", [])])
    if not source.begins_line(statement):
        raise Fault("{}: line {}: shares its line with others".format(source.name, statement.lineno), where, code)
    return Place(source, first - 1, source.indent(statement), code)


def after(source, statement, code, where):
    """The Place of ``code`` on a line of its own after a statement; Fault if the statement shares its line."""
    if not source.begins_line(statement) or not source.ends_line(statement):
        raise Fault("{}: line {}: shares its line with others".format(source.name, statement.lineno), where, code)
    return Place(source, statement.end_lineno, source.indent(statement), code)
