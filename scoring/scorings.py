"""The scorings: what each needs, its pixel maps and its image scores.

A scoring is one entry of ``SCORINGS``, which commands, tables, saved models and --help read. The paper's equations are
in ``scoring_addon.py``, those of the scoring ``calibrated`` in ``scoring/calibrated.py``.

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
from scoring.ablation import Statistics, final_terms, modulate_all
from scoring.measured import Evaluation
from scoring_addon import Parameters

Array = NDArray[Any]
Maps = list[Array]  # one map [S, S] per part; scorings with the same pixel map share the list
Terms = dict[str, Array]  # {bank: [S, S]}
Shares = dict[str, float]  # {bank: share of a score}

# what a scoring can need
RGB_AND_XYZ = "an RGB and an xyz bank"
REFERENCE = "a set of parts over which statistics are normalised"  # the test set, or training parts
UNITS = "training parts, from which the banks' units are learned"
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class ScoringInput:
    """n measured parts, and with what they are scored; maps and statistics are computed when a scoring reads them."""

    parts: Evaluation
    parameters: Parameters  # of the paper's scorings
    reference: str = "test"  # whose minima and maxima normalise the statistics: "test" (the n parts) or "train"

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
    def _modulation(self) -> tuple[Maps, Statistics]:
        return modulate_all(self.decision_maps, self.parts.samples, self.parameters)

    @property
    def modulated_maps(self) -> Maps:
        """M_pix of each part."""
        return self._modulation[0]

    @property
    def statistics(self) -> Statistics:
        """Statistics of M_pix, arrays [n]."""
        return self._modulation[1]

    @cached_property
    def reference_statistics(self) -> Statistics | None:
        """Statistics of the training parts that normalise; None: those of the n parts do. InputError: those of training
        parts are not at hand."""
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
        """Each part's map in the banks' units; InputError if there are no units."""
        banks, units = self.parts.bank_map, self.parts.units
        return [banks_in_units.calibrated_map(dict(zip(banks, maps)), units) for maps in zip(*banks.values())]


class Scoring(NamedTuple):
    """A scoring: ``score`` computes the image scores [n] from the input and its pixel maps.

    ``maps``: the name of the pixel maps, an attribute of ScoringInput. ``described``: its pixel map, its image score
    and its source in words, for --help and tables.
    """

    name: str
    needs: frozenset[str]
    maps: str
    score: Callable[[ScoringInput, Maps], Array]
    described: tuple[str, str, str]


# ---------------------------------------------------------------- image scores


def decision_scores(of: ScoringInput, maps: Maps) -> Array:
    """The released decision scores."""
    return np.ravel(np.asarray(of.parts.decision_score, np.float64))


def per_map(value: Callable[[Array, Parameters], float]) -> Callable[[ScoringInput, Maps], Array]:
    """The ``score`` of a scoring that looks at each map alone."""
    return lambda of, maps: np.array([value(one, of.parameters) for one in maps])


def final_scores(of: ScoringInput, maps: Maps, variant: str = "") -> Array:
    """S_final and its variants, see ``ablation.final_terms``."""
    scores: Array = final_terms(of.statistics, of.parameters, of.reference_statistics, variant).final
    return scores


def scores_in_units(of: ScoringInput, maps: Maps) -> Array:
    """The image scores of ``calibrated``."""
    return np.array([banks_in_units.image_score(m, of.parts.units.topk) for m in maps])


# ---------------------------------------------------------------- the registry

BASELINE, CALIBRATED = "baseline", "calibrated"
DECISION, FUSION, MODULATED, IN_UNITS = "decision_maps", "fusion_maps", "modulated_maps", "calibrated_maps"
BANKS, FINAL = frozenset((RGB_AND_XYZ,)), frozenset((RGB_AND_XYZ, REFERENCE))
PEAK = per_map(lambda m, _: float(np.max(m)))
LARGEST = per_map(lambda m, parameters: scoring_addon.base_score(m, parameters.topk))
S_PARTIAL, S_FULL = partial(final_scores, variant="partial"), partial(final_scores, variant="full")
RELEASED_TEXT = "the released decision score"
BASE_TEXT = "Table 8, Disagreement + Score Calibration"
PARTIAL_TEXT = "(1-w) S_base + w S_robust with gamma = 0 (ours)"
FULL_TEXT = "as disagreement, S_robust with gamma (Q99 - Q95) added (ours)"
IN_UNITS_TEXT = (
    "larger of the banks' maps, each in units of its normal training parts' maps",
    "mean of its 64 largest pixels, with --frame 32",
    "ours, not the paper's; docs/scoring.md",
)

SCORINGS = {  # described: pixel map, image score, table of the paper; "ours": the paper leaves it open
    scoring.name: scoring
    for scoring in (
        Scoring(BASELINE, NOTHING, DECISION, decision_scores, ("M_fusion", RELEASED_TEXT, "Tables 3-8")),
        Scoring("pixel_max", NOTHING, FUSION, PEAK, ("M_fusion", "max of the map", "Table 3")),
        Scoring("pixel_topk", NOTHING, FUSION, LARGEST, ("M_fusion", "mean of the K largest", "Table 3")),
        Scoring("disagreement_only", BANKS, MODULATED, PEAK, ("M_pix", "max of M_pix (ours)", "Tables 7, 8")),
        Scoring("disagreement_base", BANKS, MODULATED, LARGEST, ("M_pix", "S_base", BASE_TEXT)),
        Scoring("partial", FINAL, MODULATED, S_PARTIAL, ("M_pix", PARTIAL_TEXT, "Table 8, Partial; Table 7")),
        Scoring("full", FINAL, MODULATED, S_FULL, ("M_pix", FULL_TEXT, "Table 8, Full")),
        Scoring("disagreement", FINAL, MODULATED, final_scores, ("M_pix", "S_final", "Tables 3-7, Proposed")),
        Scoring(CALIBRATED, frozenset((UNITS,)), IN_UNITS, scores_in_units, IN_UNITS_TEXT),
    )
}


def terms_and_shares(scoring: str, part: Evaluation, weights: Mapping[str, float]) -> tuple[Terms, Shares]:
    """What makes one part's map, {bank: [S, S] float64}, and its score, {bank: share}.

    The terms of ``calibrated`` add up to its map, and the shares to its score. Of any other scoring the terms are those
    of the decision map, ``weights`` {bank: factor} times the banks' maps, and there are no shares.
    """
    maps = {bank: np.asarray(maps[0], np.float64) for bank, maps in part.bank_map.items()}
    if scoring != CALIBRATED:
        return {bank: values * weights[bank] for bank, values in maps.items()}, {}
    terms = banks_in_units.terms(maps, part.units)
    return terms, banks_in_units.shares(terms, part.units.topk)


def region_shares(terms: Terms, mask: Array, box: tuple[int, int, int, int]) -> Shares:
    """{bank: share} of a region's mean value; ``mask``: bool [h, w] in ``box`` (left, top, right, bottom)."""
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
    """Text on why a method with these banks cannot have this scoring; None if it can. ``map_source``: where M_fusion
    comes from, "decision" or "bank" (--scoring_map)."""
    banks = ", ".join(bank_names)
    if name not in SCORINGS:
        return f"--scoring {name} is unknown; known: {', '.join(SCORINGS)}"
    if map_source == "bank" and "fusion" not in bank_names:
        return f"--scoring_map bank needs a fusion bank, the method has only: {banks}"
    reads_single_banks = RGB_AND_XYZ in SCORINGS[name].needs or SCORINGS[name].maps == FUSION and map_source == "bank"
    if reads_single_banks and not {"rgb", "xyz"} <= set(bank_names):
        what = f"--scoring {name}" + (" --scoring_map bank" if map_source == "bank" else "")
        return f"{what} needs an RGB and an xyz bank, the method has only: {banks}"
    return None
