"""Chooses the classes whose maps are recorded: those that compute the three maps and are built for the full setting."""

from collections import namedtuple

from patches.follow import references
from patches.methods import FULL, Methods, plain

Candidate = namedtuple("Candidate", "cls name calls")
Candidate.__doc__ = """A method that computes the three maps: its Class, its name, [(modal, call)]."""

Choice = namedtuple("Choice", "candidates why others used")
Choice.__doc__ = """What was chosen.

candidates: [Candidate]. why: one line of explanation per candidate. others: method names for which --scoring is
refused, since the classes that they build are not recorded. used: {class} that main.py can build; None if unknown."""


class Unclear(Exception):
    """The class that is built is not certain; the message says why."""


def choose(checkout, found):
    """Choose the candidates that are built for the full setting's method name.

    Args:
        checkout: Checkout.
        found: [Candidate], at least one.

    Returns:
        Choice.

    Raises:
        Unclear: the class that is built is not certain, is no candidate, or has several such methods.
    """
    methods = Methods(checkout)
    anyhow = references(checkout, methods, None, checkout.sources.values())
    sources = dict.fromkeys(ref.source for ref in anyhow if "predict" in _methods(checkout, ref.cls))
    built = references(checkout, methods, methods.full, sources)
    if not _runners(checkout, built):
        built = anyhow  # the program has no such setting, or another name for it
    uses, why = _uses(checkout, found, built), []
    if not uses:
        return _not_followed(checkout, found, built)
    for cls, candidates, refs in uses:
        if len(candidates) > 1:
            raise Unclear(
                "{}: several methods compute the three maps for {}, and it is not certain which is used".format(
                    _at(candidates), cls.name
                )
            )
        through = "" if cls is candidates[0].cls else " (as {})".format(cls.name)
        why.append(
            "{}: is recorded, since {} builds it{} {}".format(
                _at(candidates), _place(refs[0]), through, _label(refs[0])
            )
        )
    chosen = [c for c in found if any(c in candidates for _, candidates, _ in uses)]
    others = []
    for other in sorted(word for word in methods.known.values() if plain(word) != plain(methods.full)):
        theirs = [c for _, cs, _ in _uses(checkout, found, references(checkout, methods, other, sources)) for c in cs]
        if theirs and not any(c in chosen for c in theirs):
            others.append(other)
            why.append(
                "{}: is not recorded: it is built for {} only, which --scoring refuses".format(_at(theirs), other)
            )
    used = {c for ref in anyhow for c in checkout.lineage(ref.cls)}
    return Choice(chosen, list(dict.fromkeys(why)), others, used)


def _not_followed(checkout, found, built):
    """The Choice if no candidate is known to be built: the only candidate, unless another class is built."""
    runners = _runners(checkout, built)
    if runners:
        raise Unclear(
            "{}: builds {} {}, in which no method that predict calls has the three calls; it is not certain "
            "that {} is used".format(_place(runners[0]), runners[0].cls.name, _label(runners[0]), _at(found))
        )
    if len(found) > 1:
        raise Unclear(
            "{}: each computes the three maps, and it cannot be told which main.py builds for {}".format(
                _at(found), FULL
            )
        )
    return Choice(
        found,
        [
            "{}: is recorded, since no other method computes the three maps; where it is built cannot be told".format(
                _at(found)
            )
        ],
        [],
        None,
    )


def _uses(checkout, found, built):
    """One tuple per built class: the class, the [Candidate] that its ``predict`` runs, the [Reference] that name it.

    References that belong to a method name come first.
    """
    out = []
    for cls in dict.fromkeys(ref.cls for ref in built):
        nearest = {name: c for c in reversed(checkout.lineage(cls)) for name in c.methods}
        candidates = [c for c in found if nearest.get(c.name) is c.cls]
        if candidates:
            out.append((cls, candidates, sorted((r for r in built if r.cls is cls), key=lambda r: r.word is None)))
    return out


def _runners(checkout, built):
    """[Reference] of built classes that have predict and calculate_metrics, their own or inherited."""
    return [ref for ref in built if {"predict", "calculate_metrics"} <= _methods(checkout, ref.cls)]


def _methods(checkout, cls):
    return {name for c in checkout.lineage(cls) for name in c.methods}


def _place(ref):
    return "{}: line {}".format(ref.source.name, ref.line)


def _label(ref):
    return "for {}".format(ref.word) if ref.word else "whichever the method name"


def _at(candidates):
    return "; ".join(c.cls.at(c.name) for c in candidates)
