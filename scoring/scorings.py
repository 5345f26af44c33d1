"""The scorings: what each needs, its pixel maps, its image scores, and what a part's score is made of.

A scoring is one entry of ``SCORINGS``. Commands, tables, saved models and --help read the registry, so a new scoring
changes this file and its test, nothing else. The paper's equations are in ``scoring_addon.py``, those of the scoring
``calibrated`` in ``scoring/calibrated.py``.

A pixel map is a sum of terms: a bank's map times its weight, and for M_pix the modulation M_fusion · λ · M_dis, called
"disagreement". An image score is a weighted sum of some pixels of that map (the largest, the K largest, all, or those
at a quantile) and of the mean disagreement. So each term has a share of the score, and the shares add up to it, except
for rounding.

Maps are [S, S], larger = more anomalous; n is the number of parts; {bank: …} names "xyz", "rgb", "fusion".
"""

from argparse import ArgumentParser, _ArgumentGroup
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import scoring_addon
from common.errors import InputError
from scoring import calibrated as banks_in_units
from scoring.ablation import Statistics, final_terms, map_statistics, modulate_all, variant_of
from scoring.measured import Evaluation
from scoring_addon import Parameters

Array = NDArray[Any]
Maps = list[Array]  # one map [S, S] per part; scorings with the same pixel map share the list
Terms = dict[str, Array]  # {term: [S, S]}
Shares = dict[str, float]  # {term: share of a score}

# what a scoring can need
RGB_AND_XYZ = "an RGB and an xyz bank"
REFERENCE = "a set of parts over which statistics are normalised"  # the test set, or training parts
UNITS = "training parts, from which the banks' units are learned"
NOTHING: frozenset[str] = frozenset()
DISAGREEMENT = "disagreement"  # the term of M_pix that comes from M_dis


@dataclass(frozen=True, eq=False)
class ScoringInput:
    """n measured parts, and with what they are scored; maps and statistics are computed when a scoring reads them.

    Attributes:
        parts: the parts, and what normal training parts taught.
        parameters: of the paper's scorings.
        reference: the parts whose minima and maxima normalise the statistics: "test" (the n parts) or "train".
        weights: {bank: weight} of the scores and of the maps in the decision; only to explain the first part's score.
    """

    parts: Evaluation
    parameters: Parameters
    reference: str = "test"
    weights: Sequence[Mapping[str, float]] = ({}, {})

    @cached_property
    def first(self) -> Terms:
        """{bank: [S, S] float64} of the first part."""
        return {bank: np.asarray(maps[0], np.float64) for bank, maps in self.parts.bank_map.items()}

    @cached_property
    def decision_maps(self) -> Maps:
        """The released map of each part."""
        return list(self.parts.decision_map)

    @cached_property
    def fusion_maps(self) -> Maps:
        """M_fusion of each part: the decision map itself, or the fusion bank's."""
        from_bank = self.parameters.map_source == "bank"
        return [sample.bank for sample in self.parts.samples] if from_bank else self.decision_maps

    @cached_property
    def modulated(self) -> tuple[Maps, Statistics]:
        """(M_pix of each part, Statistics of arrays [n])."""
        return modulate_all(self.decision_maps, self.parts.samples, self.parameters)

    @cached_property
    def reference_statistics(self) -> Statistics | None:
        """Statistics of the training parts that normalise; None: those of the n parts do.

        Raises:
            InputError: those of training parts are not at hand.
        """
        if self.reference == "test":
            return None
        training = self.parts.training
        known = None if training is None else training.reference(self.parameters)
        if known is None:
            raise InputError(
                f"{self.parts.category}: no training parts' maps are at hand, which --scoring_reference train needs "
                "with these parameters; save with --save_train_maps"
            )
        return known

    @cached_property
    def calibrated_maps(self) -> Maps:
        """Each part's map in the banks' units.

        Raises:
            InputError: there are no units.
        """
        banks, units = self.parts.bank_map, self.parts.units
        return [banks_in_units.calibrated_map(dict(zip(banks, maps)), units) for maps in zip(*banks.values())]


class PixelMap(NamedTuple):
    """A kind of pixel map: ``maps`` computes those of all parts, ``terms`` splits the first part's into terms."""

    maps: Callable[[ScoringInput], Maps]
    terms: Callable[[ScoringInput], Terms]


class Scoring(NamedTuple):
    """A scoring.

    ``score``: function of the input and its pixel maps that returns the image scores [n].
    ``attribution``: function of the input and the terms of the first part's map that returns {term: share}, which add
    up to its score.
    ``described``: its pixel map, its image score and its source in words, for --help and tables.
    """

    name: str
    needs: frozenset[str]
    map: PixelMap
    score: Callable[[ScoringInput, Maps], Array]
    attribution: Callable[[ScoringInput, Terms], Shares]
    described: tuple[str, str, str]


# ---------------------------------------------------------------- pixel maps


def decision_terms(of: ScoringInput) -> Terms:
    """The banks' maps, weighted as in the released decision map."""
    return {bank: values * of.weights[1][bank] for bank, values in of.first.items()}


def fusion_terms(of: ScoringInput) -> Terms:
    """The terms of M_fusion."""
    return decision_terms(of) if of.parameters.map_source == "decision" else {"fusion": of.first["fusion"]}


def modulated_terms(of: ScoringInput) -> Terms:
    """The terms of M_pix: those of M_fusion, and the modulation."""
    terms = fusion_terms(of)
    m_dis = scoring_addon.disagreement_map(of.first["rgb"], of.first["xyz"])
    return {**terms, DISAGREEMENT: sum(terms.values()) * of.parameters.lam * m_dis}


def calibrated_terms(of: ScoringInput) -> Terms:
    """The calibrated map, each pixel credited to the bank that is largest there; equal banks share it."""
    stack = banks_in_units.calibrated_banks(of.first, of.parts.units)
    largest = banks_in_units.calibrated_map(of.first, of.parts.units)
    owners = {bank: values == largest for bank, values in stack.items()}
    count = np.maximum(sum(owner.astype(int) for owner in owners.values()), 1)
    return {bank: np.where(owner, largest / count, 0.0) for bank, owner in owners.items()}


DECISION = PixelMap(lambda of: of.decision_maps, decision_terms)
FUSION = PixelMap(lambda of: of.fusion_maps, fusion_terms)
MODULATED = PixelMap(lambda of: of.modulated[0], modulated_terms)
IN_UNITS = PixelMap(lambda of: of.calibrated_maps, calibrated_terms)


# ---------------------------------------------------------------- image scores, and what they are made of


def per_map(value: Callable[[Array, Parameters], float]) -> Callable[[ScoringInput, Maps], Array]:
    """The ``score`` of a scoring that looks at each map alone."""
    return lambda of, maps: np.array([value(one, of.parameters) for one in maps])


def final_scores(of: ScoringInput, maps: Maps, variant: str = "") -> Array:
    """The ``score`` of S_final and its variants, which ``ablation.variant_of`` names."""
    scores: Array = final_terms(of.modulated[1], of.parameters, of.reference_statistics, variant).final
    return scores


def pixels_at(terms: Terms, *parts: tuple[float, Any]) -> Shares:
    """{term: its share in a sum over ``parts``}: each (factor, indices) adds the factor times these pixels' mean."""
    return {name: float(sum(f * term.ravel()[index].mean() for f, index in parts)) for name, term in terms.items()}


def shares_of_largest(of: ScoringInput, terms: Terms, count: int | None = None) -> Shares:
    """The ``attribution`` of the mean of the ``count`` largest pixels; None: K."""
    return pixels_at(terms, (1.0, _largest(sum(terms.values()), count or of.parameters.topk)))


def shares_of_decision(of: ScoringInput, terms: Terms) -> Shares:
    """The ``attribution`` of the released decision score."""
    return {bank: of.weights[0][bank] * float(scores[0]) for bank, scores in of.parts.bank_score.items()}


def shares_in_units(of: ScoringInput, terms: Terms) -> Shares:
    """The ``attribution`` of "calibrated"."""
    return shares_of_largest(of, terms, min(of.parts.units.topk, max(1, next(iter(terms.values())).size // 8)))


def shares_of_final(of: ScoringInput, terms: Terms, variant: str = "") -> Shares:
    """The ``attribution`` of S_final and its variants."""
    parameters, tail = variant_of(of.parameters, variant)
    alpha, beta, gamma = parameters.weights
    m_pix: Array = np.sum(list(terms.values()), axis=0)
    m_dis = scoring_addon.disagreement_map(of.first["rgb"], of.first["xyz"])
    own = Statistics(*(np.array([value]) for value in map_statistics(m_pix, m_dis, parameters.topk)))
    found = final_terms(own, of.parameters, of.reference_statistics, variant)
    w = float(found.w[0])
    pixels = [(1 - w, _largest(m_pix, parameters.topk)), (w * beta, slice(None))]
    for factor, q in ((alpha - tail, 0.95), (tail, 0.99)):
        pixels += [(w * factor * f, index) for f, index in _at_quantile(m_pix, q)]
    shares = pixels_at(terms, *pixels)
    shares[DISAGREEMENT] += w * gamma * float(m_dis.mean()) + float(found.rec[0])
    return shares


def _largest(values: Any, count: int) -> Array:
    values = np.ravel(values)
    count = min(int(count), values.size)
    return np.argpartition(values, values.size - count)[values.size - count :]


def _at_quantile(values: Any, q: float) -> list[tuple[float, Array]]:
    """[(factor, [index])] of the two pixels between which the linearly interpolated quantile lies."""
    order = np.argsort(np.ravel(values), kind="stable")
    at = q * (len(order) - 1)
    low = int(at)
    high = min(low + 1, len(order) - 1)
    return [(1 - (at - low), order[[low]]), (at - low, order[[high]])]


# ---------------------------------------------------------------- the registry

BASELINE, CALIBRATED = "baseline", "calibrated"
BANKS, FINAL = frozenset((RGB_AND_XYZ,)), frozenset((RGB_AND_XYZ, REFERENCE))
# image scores, each with what it is made of
RELEASED = lambda of, _: np.ravel(np.asarray(of.parts.decision_score, np.float64)), shares_of_decision
PEAK = per_map(lambda m, _: float(np.max(m))), partial(shares_of_largest, count=1)
LARGEST = per_map(lambda m, parameters: scoring_addon.base_score(m, parameters.topk)), shares_of_largest
S_FINAL = final_scores, shares_of_final
S_PARTIAL = partial(final_scores, variant="partial"), partial(shares_of_final, variant="partial")
S_FULL = partial(final_scores, variant="full"), partial(shares_of_final, variant="full")
S_UNITS = lambda of, maps: np.array([banks_in_units.image_score(m, of.parts.units.topk) for m in maps]), shares_in_units
PARTIAL_TEXT = "(1-w) S_base + w S_robust with gamma = 0 (ours)"
FULL_TEXT = "as disagreement, S_robust with gamma (Q99 - Q95) added (ours)"
UNITS_TEXT = "larger of the banks' maps, each in units of its normal training parts' maps"

SCORINGS = {  # described: pixel map, image score, table of the paper; "ours": the paper leaves it open
    scoring.name: scoring
    for scoring in (
        Scoring(BASELINE, NOTHING, DECISION, *RELEASED, ("M_fusion", "the released decision score", "Tables 3-8")),
        Scoring("pixel_max", NOTHING, FUSION, *PEAK, ("M_fusion", "max of the map", "Table 3")),
        Scoring("pixel_topk", NOTHING, FUSION, *LARGEST, ("M_fusion", "mean of the K largest", "Table 3")),
        Scoring("disagreement_only", BANKS, MODULATED, *PEAK, ("M_pix", "max of M_pix (ours)", "Tables 7, 8")),
        Scoring(
            *("disagreement_base", BANKS, MODULATED, *LARGEST),
            ("M_pix", "S_base", "Table 8, Disagreement + Score Calibration"),
        ),
        Scoring("partial", FINAL, MODULATED, *S_PARTIAL, ("M_pix", PARTIAL_TEXT, "Table 8, Partial; Table 7")),
        Scoring("full", FINAL, MODULATED, *S_FULL, ("M_pix", FULL_TEXT, "Table 8, Full")),
        Scoring("disagreement", FINAL, MODULATED, *S_FINAL, ("M_pix", "S_final", "Tables 3-7, Proposed")),
        Scoring(
            *(CALIBRATED, frozenset((UNITS,)), IN_UNITS, *S_UNITS),
            (UNITS_TEXT, "mean of its 64 largest pixels, with --frame 32", "ours, not the paper's; docs/scoring.md"),
        ),
    )
}


def terms_and_shares(scoring: str, of: ScoringInput) -> tuple[Terms, Shares]:
    """({term: [S, S] float64} that add up to the first part's pixel map, {term: share} that add up to its score)."""
    terms = SCORINGS[scoring].map.terms(of)
    return terms, SCORINGS[scoring].attribution(of, terms)


def region_shares(terms: Terms, mask: Array, box: tuple[int, int, int, int]) -> Shares:
    """{term: share} of a region's mean value; ``mask``: bool [h, w] in ``box`` (left, top, right, bottom)."""
    left, top, right, bottom = box
    return {name: float(term[top:bottom, left:right][mask].mean()) for name, term in terms.items()}


# ---------------------------------------------------------------- what a method can have, and the command line


def add_scoring_arguments(group: ArgumentParser | _ArgumentGroup, default: str = BASELINE) -> None:
    """Add --scoring, which takes several names, and its parameters to an ``argparse`` parser or group."""
    group.add_argument(
        "--scoring",
        nargs="+",
        choices=[*SCORINGS, "all"],
        metavar="NAME",
        default=[default],
        help=f"one or more of: {', '.join(SCORINGS)}; or all; scored from one feature pass; the table at the end "
        f"describes them (default: {default})",
    )
    scoring_addon.add_parameters(group)
    group.add_argument(
        "--scoring_reference",
        choices=("test", "train"),
        default="test",
        help="whose minima and maxima normalise the statistics: the test set's, or those of training parts measured "
        "without their own rows (default: %(default)s)",
    )


def scoring_names(asked: Sequence[str], bank_names: Collection[str], map_source: str = "decision") -> list[str]:
    """The scorings asked for, each once; of "all" those that a method with these banks can have."""
    return available_scorings(bank_names, map_source) if "all" in asked else list(dict.fromkeys(asked))


def available_scorings(bank_names: Collection[str], map_source: str = "decision") -> list[str]:
    """Names of the scorings that a method with these banks can have."""
    return [name for name in SCORINGS if scoring_problem(name, bank_names, map_source) is None]


def needs_test_set(name: str, reference: str) -> bool:
    """Whether a scoring normalises over the test parts; ``reference``: --scoring_reference."""
    return reference == "test" and REFERENCE in SCORINGS[name].needs


def needs_training_parts(names: Iterable[str], reference: str, bank_names: Collection[str]) -> str:
    """The flag, as on the command line, for which training parts must be measured without their own rows; "" if none
    needs it. ``reference``: --scoring_reference, which one-bank methods do not use."""
    for name in names:
        if UNITS in SCORINGS[name].needs:
            return f"--scoring {name}"
    return "--scoring_reference train" if reference == "train" and {"rgb", "xyz"} <= set(bank_names) else ""


def scoring_problem(name: str, bank_names: Collection[str], map_source: str = "decision") -> str | None:
    """Text on why a method with these banks cannot have this scoring; None if it can.

    Args:
        name: name of the scoring.
        bank_names: the method's banks, some of "xyz", "rgb" and "fusion".
        map_source: where M_fusion comes from, "decision" or "bank" (--scoring_map).
    """
    banks = ", ".join(bank_names)
    if name not in SCORINGS:
        return f"--scoring {name} is unknown; known: {', '.join(SCORINGS)}"
    if map_source == "bank" and "fusion" not in bank_names:
        return f"--scoring_map bank needs a fusion bank, the method has only: {banks}"
    reads_single_banks = RGB_AND_XYZ in SCORINGS[name].needs or SCORINGS[name].map is FUSION and map_source == "bank"
    if reads_single_banks and not {"rgb", "xyz"} <= set(bank_names):
        what = f"--scoring {name}" + (" --scoring_map bank" if map_source == "bank" else "")
        return f"{what} needs an RGB and an xyz bank, the method has only: {banks}"
    return None
