"""How much of a part's score, or of a region, comes from each bank and from the disagreement of RGB and xyz."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from scoring.ablation import Statistics
from scoring.calibrated import BankUnits
from scoring.scorings import DISAGREEMENT, SCORINGS, PartInput, Shares, Terms
from scoring_addon import Parameters

__all__ = ["DISAGREEMENT", "map_terms", "region_shares", "score_shares"]


def map_terms(
    scoring: str,
    maps: Mapping[str, NDArray[Any]],
    weights: Mapping[str, float],
    parameters: Parameters,
    units: BankUnits | None = None,
) -> Terms:
    """{term: [S, S] float64} that add up to the scoring's pixel map.

    Args:
        scoring: its name.
        maps: {bank: [S, S]} of one part.
        weights: {bank: weight} in the decision map.
        parameters: of the paper's scorings.
        units: of the banks, for the scorings that need them.
    """
    part = PartInput(maps, {}, weights, {}, parameters, None, units)
    return SCORINGS[scoring].map.terms(part)


def score_shares(
    scoring: str,
    terms: Terms,
    maps: Mapping[str, NDArray[Any]],
    scores: Mapping[str, float],
    weights: Mapping[str, float],
    parameters: Parameters,
    reference: Statistics | None = None,
    units: BankUnits | None = None,
) -> Shares:
    """{term: share} of an image score; the shares add up to it, except for rounding.

    Args:
        scoring, maps, parameters, units: as in :func:`map_terms`.
        terms: result of :func:`map_terms`.
        scores: {bank: score} of the part.
        weights: {bank: weight} in the decision score.
        reference: Statistics of training parts, for the scorings that normalise.
    """
    part = PartInput(maps, scores, {}, weights, parameters, reference, units)
    return SCORINGS[scoring].attribution(part, terms)


def region_shares(terms: Terms, mask: NDArray[Any], box: tuple[int, int, int, int]) -> Shares:
    """{term: share} of a region's mean value; ``mask``: bool [h, w] in ``box`` (left, top, right, bottom)."""
    left, top, right, bottom = box
    return {name: float(term[top:bottom, left:right][mask].mean()) for name, term in terms.items()}
