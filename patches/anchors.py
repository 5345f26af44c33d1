"""Finds the three places in an M3DM checkout where scoring_addon.py has to be called, by syntax and without guessing.

1. ``add_arguments``: before the command line is parsed, in the file that defines main.py's options.
2. ``record``: after the three calls of ``self.compute_single_s_s_map`` with modal 'xyz', 'rgb' and 'fusion'. They have
   to be in a method that only ``predict`` runs, not for example the training pass. If several classes have such a
   method, the place is in each class that main.py can build for the full setting (``patches/choose.py``).
3. ``apply``: first statement of ``calculate_metrics``, in the class from which the classes of place 2 inherit it.

A place that is not certain is refused.
"""

import ast

from patches.checkout import Checkout, is_own
from patches.choose import Candidate, Unclear, choose
from patches.places import Missing, after, before, blocks_around, dotted, function_around

MODALS = ("xyz", "rgb", "fusion")
PARSE = ("parse_args", "parse_known_args")


def find_places(root):
    """Find the three places in the files that main.py imports.

    If one is not there, all files are searched, since a module may be loaded by name.

    Returns:
        (Checkout, [Place], [text of each Missing], [why a class is recorded]); calls that the user wrote get no Place.

    Raises:
        InputError: a file that may hold a place cannot be parsed.
    """
    checkout = Checkout(root)
    places, missing, why = _find(checkout)
    if any(error.absent for error in missing):
        everything = Checkout(root, everything=True)
        found = _find(everything)
        if len(found[1]) <= len(missing):
            checkout, (places, missing, why) = everything, found
    return checkout, places, [str(error) for error in missing], why


def _find(checkout):
    places, missing, recording, others, used, why = [], [], [], [], None, []
    for hook in ("record", "add_arguments", "apply"):
        written = checkout.written_by_user(hook)
        try:
            if hook == "add_arguments" and not written:
                places.append(parser_place(checkout, others))
            elif hook == "record" and written:
                recording = [c for c in (_class_around(checkout, *call) for call in written) if c]
                why = ["{}: records in a line of your own".format(c.at()) for c in recording]
            elif hook == "record":
                choice = record_choice(checkout)
                recording, others, used = [c.cls for c in choice.candidates], choice.others, choice.used
                places.extend(place for c in choice.candidates for place in record_places(checkout, c))
                why = choice.why
            elif hook == "apply" and not written:
                places.extend(metrics_places(checkout, recording, used))
        except Missing as error:
            missing.append(error)
    return places, missing, why


# ---------------------------------------------------------------- 1: the parser


def parser_place(checkout, others=()):
    """The Place before ``args = parser.parse_args()``, in main.py or in the one imported file that parses options.

    ``others``: further method names that are refused with --scoring.
    """
    code = "add_arguments(PARSER)"
    where = "before the options are parsed (PARSER: your parser)"
    for sources in ([checkout.sources[checkout.main]], [checkout.sources[path] for path in checkout.imported]):
        calls = [
            (source, node)
            for source in sources
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PARSE
        ]
        if calls:
            break
    if not calls:
        raise Missing("main.py: neither it nor a file it imports calls parse_args()", where, code)
    at = "; ".join("{}: line {}".format(source.name, node.lineno) for source, node in calls)
    source = calls[0][0]
    blocks = [blocks_around(s.tree, node) for s, node in calls]
    receivers = {dotted(node.func.value) for _, node in calls}
    # several calls on one parser are fine if the place comes before all of them, as with an if for a debug mode
    if (
        len(receivers) > 1
        or any(s is not source for s, _ in calls)
        or len({function_around(s.tree, node) for s, node in calls}) > 1
    ):
        raise Missing(
            "{}: options are parsed in several places, and it is not certain which are main.py's".format(at),
            where,
            code,
        )
    name = receivers.pop()
    if name is None:
        source, statement, name = _parser_of_function(
            checkout, source, calls[0][1], Missing(at + ": the parser has no name there", where, code)
        )
    else:
        common = [
            level for level in blocks[0] if all(any(level[0] is other[0] for other in chain) for chain in blocks)
        ][-1]
        statement = common[1]
        if not _is_parser(checkout, source, calls[0][1], name):
            raise Missing("{}: it is not certain that {} is an argparse.ArgumentParser".format(at, name), where, code)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            taken = [a.value for a in node.args if isinstance(a, ast.Constant) and str(a.value).startswith("--scoring")]
            if taken:
                raise Missing(
                    "{}: line {}: has an option {} of its own; rename it".format(source.name, node.lineno, taken[0]),
                    where,
                    code,
                )
    more = ", others=({},)".format(", ".join(ascii(other) for other in others)) if others else ""
    return before(source, statement, "add_arguments({}{})".format(name, more), where)


def _is_parser(checkout, source, call, name):
    """Whether a name is bound exactly once, to an ArgumentParser or to a call of something that makes one."""
    here, bound = function_around(source.tree, call), []
    for node in ast.walk(source.tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if name in [dotted(target) for target in targets]:
            bound.append(node)
    near = [node for node in bound if function_around(source.tree, node) is here] or bound
    if here is not None and not any(
        node in near for node in ast.walk(here)
    ):  # a function argument: certain only if its annotation says so
        for arg in here.args.args:
            if arg.arg == name:
                return arg.annotation is not None and (dotted(arg.annotation) or "").endswith("ArgumentParser")
    return len(near) == 1 and isinstance(near[0].value, ast.Call) and _makes_parser(checkout, near[0].value)


def _makes_parser(checkout, call):
    name = (dotted(call.func) or "").split(".")[-1]
    if name.endswith(("ArgumentParser", "ArgParser")):
        return True
    made = [
        node
        for source in checkout.sources.values()
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    ]
    return len(made) == 1 and any(
        (dotted(n) or "").endswith("ArgumentParser")
        for n in ast.walk(made[0])
        if isinstance(n, (ast.Name, ast.Attribute))
    )


def _parser_of_function(checkout, source, call, missing):
    """For ``get_parser().parse_args()``: (Source, the return statement of that function, the returned name)."""
    maker = call.func.value
    name = (dotted(maker.func) or "").split(".")[-1] if isinstance(maker, ast.Call) else None
    found = [
        (s, node)
        for s in checkout.sources.values()
        for node in ast.walk(s.tree)
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    if len(found) == 1:
        returns = [node for node in ast.walk(found[0][1]) if isinstance(node, ast.Return)]
        if (
            len(returns) == 1
            and isinstance(returns[0].value, ast.Name)
            and _is_parser(checkout, found[0][0], returns[0], returns[0].value.id)
        ):
            return found[0][0], returns[0], returns[0].value.id
    raise missing


# ---------------------------------------------------------------- 2: the three maps


RECORD = "record(self, RGB_MAP, XYZ_MAP, FUSION_MAP)"
KNOWN = "where predict knows the three maps of a test part"


def record_choice(checkout):
    """Choose among the methods that predict runs and that make all three calls: Choice."""
    found = []
    for cls in checkout.classes:
        for name, method in cls.methods.items():
            calls = [(modal, node) for node in ast.walk(method) for modal in [_modal(node, method)] if modal]
            if {modal for modal, _ in calls} == set(MODALS) and name in checkout.called_from(cls, ["predict"]):
                found.append(Candidate(cls, name, calls))
    if not found:
        raise Missing(
            "{}: no method that predict calls has self.compute_single_s_s_map(..., modal=...) for each of {}".format(
                _usually(checkout, "TripleFeatures", "multiple_features"), ", ".join(MODALS)
            ),
            KNOWN,
            RECORD,
            absent=True,
        )
    try:
        return choose(checkout, found)
    except Unclear as error:
        raise Missing(str(error), KNOWN, RECORD, absent=True) from None


def record_places(checkout, candidate):
    """[Place] after the last of the three assignments; one per branch that has all three."""
    (cls, name, calls), code, where = candidate, RECORD, KNOWN
    testing = checkout.called_from(cls, ["predict"])
    others = sorted(
        {
            other
            for c in checkout.family(cls)
            for other in c.methods
            if other not in testing and name in checkout.called_from(cls, [other], past=["predict"])
        }
    )
    if others:
        raise Missing(
            "{}: is run by {} as well as by predict, so the test parts' maps cannot be told apart".format(
                cls.at(name), ", ".join(others)
            ),
            where,
            code,
        )
    method = cls.methods[name]
    return [_record_place(cls, name, group) for group in _branches(method, calls)]


def _branches(method, calls):
    """The calls grouped by the branches of one ``if``, if each branch with a call has all three; else one group."""
    groups = {}
    for modal, call in calls:
        groups.setdefault(id(blocks_around(method, call)[-1][0]), []).append((modal, call))
    groups = list(groups.values())
    if len(groups) < 2 or any(sorted(modal for modal, _ in group) != sorted(MODALS) for group in groups):
        return [calls]
    chains = [blocks_around(method, group[0][1]) for group in groups]
    for i, chain in enumerate(chains):
        for other in chains[:i]:
            apart = next(k for k, (a, b) in enumerate(zip(chain, other)) if a[0] is not b[0])
            if chain[apart - 1][1] is not other[apart - 1][1] or not isinstance(chain[apart - 1][1], ast.If):
                return [calls]
    return groups


def _record_place(cls, name, calls):
    code, where, method, statements, maps = RECORD, KNOWN, cls.methods[name], {}, {}
    for modal, call in calls:
        blocks = blocks_around(method, call)
        expression = _map_expression(blocks[-1][1], call)
        if modal in maps or expression is None or expression in maps.values():
            raise Missing(
                "{}: line {}: the {} map has to be assigned once, to a name of its own".format(
                    cls.at(name), call.lineno, modal
                ),
                where,
                code,
            )
        statements[modal], maps[modal] = blocks, expression
    chains = list(statements.values())
    common = [level for level in chains[0] if all(any(level[0] is other[0] for other in chain) for chain in chains)][
        -1
    ][0]
    last = max(
        (next(level[1] for level in chain if level[0] is common) for chain in chains), key=lambda node: node.lineno
    )
    first = min(chain[-1][1].lineno for chain in chains)
    for chain in chains:
        around = [level[1] for level in chain[:-1]]
        depth = next(i for i, level in enumerate(chain) if level[0] is common)
        if any(
            isinstance(node, (ast.For, ast.While, ast.FunctionDef, ast.AsyncFunctionDef)) for node in around
        ) or not all(isinstance(node, ast.With) for node in around[depth:]):
            raise Missing(
                "{}: line {}: stands in a loop or a branch".format(cls.at(name), chain[-1][1].lineno), where, code
            )
    names = {expression.split("[")[0] for expression in maps.values()}
    stored = [
        target
        for node in ast.walk(method)
        for target in [dotted(node)]
        if target in names
        and first <= node.lineno <= last.end_lineno
        and isinstance(getattr(node, "ctx", None), ast.Store)
    ]
    if len(stored) != len(MODALS):
        raise Missing(
            "{}: {} is assigned again between the three calls".format(cls.at(name), " or ".join(sorted(names))),
            where,
            code,
        )
    own = method.args.args[0].arg
    return after(
        cls.source, last, "record({}, {}, {}, {})".format(own, maps["rgb"], maps["xyz"], maps["fusion"]), where
    )


def _modal(node, method):
    """The modal of a call ``self.compute_single_s_s_map(...)``, else None."""
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute) and called.attr == "compute_single_s_s_map" and is_own(called.value, method):
        values = [k.value for k in node.keywords if k.arg == "modal"] or node.args
        values = [v.value for v in values if isinstance(v, ast.Constant) and v.value in MODALS]
        return values[0] if len(values) == 1 else None
    return None


def _map_expression(statement, call):
    """The expression that holds the map after the call's tuple (score, map) was assigned, or None.

    It is the second target, or item 1 of a single target.
    """
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target, value = statement.targets[0], statement.value
    if value is call and isinstance(target, (ast.Tuple, ast.List)):
        return dotted(target.elts[1]) if len(target.elts) == 2 else None
    if value is call and dotted(target):
        return dotted(target) + "[1]"
    return None


# ---------------------------------------------------------------- 3: the metrics


def metrics_places(checkout, recording, used=None):
    """[Place] at the start of each ``calculate_metrics`` that a recording class inherits.

    ``used``: the classes that main.py can build, None if not known; only other classes may override the method.
    """
    code, name = "apply(self)", "calculate_metrics"
    where = "as first statement of the calculate_metrics that the full setting runs"
    places = []
    for start in recording or [c for c in checkout.classes if c.name == "Features"] or [None]:
        definers = [c for c in checkout.lineage(start) if name in c.methods] if start else []
        if not definers:
            raise Missing(
                "{}: has no method calculate_metrics".format(
                    start.at() if recording else _usually(checkout, "Features", "features")
                ),
                where,
                code,
                absent=True,
            )
        top = definers[-1]
        overrides = [
            c
            for c in definers[:-1] + checkout.descendants(top)
            if name in c.methods and c is not top and (used is None or c in used)
        ]
        if overrides:
            unique = [c for i, c in enumerate(overrides) if c not in overrides[:i]]
            raise Missing("{}: overrides {}".format("; ".join(c.at(name) for c in unique), top.at(name)), where, code)
        method = top.methods[name]
        body = method.body[1:] if ast.get_docstring(method) is not None else method.body
        if not body or not method.args.args:
            raise Missing("{}: is empty".format(top.at(name)), where, code)
        place = before(top.source, body[0], "apply({})".format(method.args.args[0].arg), where)
        if place not in places:
            places.append(place)
    return places


# ---------------------------------------------------------------- classes


def _usually(checkout, name, module):
    """Where a class is in the checkout; if it is not there, where the release has it."""
    return next(
        (c.at() for c in checkout.classes if c.name == name), "feature_extractors/{}.py: {}".format(module, name)
    )


def _class_around(checkout, source, wanted):
    found = [c for c in checkout.classes if c.source is source and any(node is wanted for node in ast.walk(c.node))]
    return found[-1] if found else None
