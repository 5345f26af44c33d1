"""Which of several classes that compute the three maps get the recording: those that main.py builds for the full
setting's method name."""
from collections import namedtuple

from patches.follow import Builds
from patches.methods import FULL, Methods

Candidate = namedtuple("Candidate", "cls name calls")
Candidate.__doc__ = """A method that computes the three maps: its Class, its name, [(modal, call)]."""

Choice = namedtuple("Choice", "candidates why others used")
Choice.__doc__ = """Chosen: [Candidate]; one line for each that says why; method names that are refused since what they
build is not recorded; {class} that main.py can build at all, None if that is not known."""


class Unclear(Exception):
    """It cannot be told which class is built: why."""


def choose(checkout, found):
    """Follow main.py to the classes that it builds.

    Args:
        checkout: Checkout.
        found: [Candidate], at least one.

    Returns:
        Choice.

    Raises:
        Unclear: what is built cannot be told, is none of them, or has several such methods.
    """
    methods = Methods(checkout)
    anyhow = Builds(checkout, methods, None)
    builds, name = anyhow, None
    if methods.full is not None:
        builds, name = Builds(checkout, methods, methods.full), methods.full
        if not _runners(checkout, builds) and not methods.decides:
            builds, name = anyhow, None  # the program knows its methods by other words
    label = "for {}".format(name) if name else "whichever the method name"
    uses, why = _uses(checkout, found, builds), []
    if not uses:
        return _not_followed(checkout, found, builds, anyhow, label)
    for cls, candidates, places in uses:
        if len(candidates) > 1:
            raise Unclear("{}: several methods compute the three maps for {}, and it is not certain which is used"
                          .format(_at(candidates), cls.name))
        through = "" if cls is candidates[0].cls else " (as {})".format(cls.name)
        why.append("{}: is recorded, since {} builds it{} {}".format(_at(candidates), places[0], through, label))
    chosen = [c for c in found if any(c in candidates for _, candidates, _ in uses)]
    others = []
    if name and len(chosen) < len(found):
        for other in sorted(methods.known):
            if not methods.same(other, name):
                theirs = [c for _, cs, _ in _uses(checkout, found, Builds(checkout, methods, other)) for c in cs]
                if theirs and not any(c in chosen for c in theirs):
                    others.append(other)
                    why.append("{}: is not recorded: it is built for {} only, which --scoring refuses".format(
                        _at(theirs), other))
    used = {c for node in anyhow.built for c in checkout.lineage(anyhow.classes[id(node)])}
    return Choice(chosen, list(dict.fromkeys(why)), others, used)


def _not_followed(checkout, found, builds, anyhow, label):
    """Where none of the candidates is seen to be built: the only one is taken, unless something else is built."""
    elsewhere, runners = _uses(checkout, found, anyhow), _runners(checkout, builds)
    if builds.dynamic and not checkout.everything:
        raise Unclear("{}: what is built is loaded by name".format(_at(found)))  # perhaps from a file not read so far
    if runners and not builds.dynamic:
        raise Unclear("{}: builds {} {}, in which no method that predict calls has the three calls; it is not certain "
                      "that {} is used".format(runners[0][1][0], runners[0][0].name, label, _at(found)))
    if len(found) > 1:
        only = " ({} builds {} for other method names)".format(
            elsewhere[0][2][0], elsewhere[0][0].name) if elsewhere else ""
        raise Unclear("{}: each computes the three maps, and it cannot be told which main.py builds {}{}".format(
            _at(found), label if label.startswith("for") else "for " + FULL, only))
    return Choice(found, ["{}: is recorded, since no other method computes the three maps; where it is built cannot be "
                          "told".format(_at(found))], [], None)


def _uses(checkout, found, builds):
    """[(class that is built, [Candidate] that its predict runs, ["file: line n" of the references])]."""
    out = []
    for node, places in builds.built.items():
        cls = builds.classes[id(node)]
        lineage = checkout.lineage(cls)
        nearest = {name: c for c in reversed(lineage) for name in c.methods}
        candidates = [c for c in found if nearest.get(c.name) is c.cls]
        if candidates:
            out.append((cls, candidates, places))
    return out


def _runners(checkout, builds):
    """[(class, places)] of what is built and has predict and calculate_metrics, its own or inherited."""
    return [(builds.classes[id(node)], places) for node, places in builds.built.items()
            if {"predict", "calculate_metrics"} <= {
                name for c in checkout.lineage(builds.classes[id(node)]) for name in c.methods}]


def _at(candidates):
    return "; ".join(c.cls.at(c.name) for c in candidates)
