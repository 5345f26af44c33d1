"""The statistics of M_pix, and the score that the paper's proposed scoring and its ablation rows make of them.

Sections 3.5 and 3.6 of Xu et al.; the equations are those of ``scoring_addon.py``. Maps are [H, W], larger = more
anomalous; n is the number of test parts.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import scoring_addon
from scoring_addon import DEFAULTS, Parameters, SampleMaps, Terms, base_score, robust_score

Array = NDArray[Any]


class Scored(NamedTuple):
    """One scoring of a test set: image scores [n] float64, and a list of n maps [H, W]."""

    image_preds: Array
    predictions: list[Array]


class Statistics(NamedTuple):
    """S_base, Q95, Q99, mean and maximum of M_pix, mean of M_dis: of one part, or arrays [n]."""

    base: Any
    q95: Any
    q99: Any
    mean: Any
    mean_dis: Any
    peak: Any


def fusion_map(decision: Array, sample: SampleMaps, parameters: Parameters = DEFAULTS) -> Array:
    """M_fusion [H, W]: the released decision map, or the fusion bank's own.

    Raises:
        ValueError: the fusion bank's is wanted, and there is none.
    """
    if parameters.map_source == "bank" and sample.bank is None:
        raise ValueError("--scoring_map bank needs a fusion bank")
    chosen: Array = sample.bank if parameters.map_source == "bank" else decision
    return chosen


def map_statistics(m_pix: Array, m_dis: Array, topk: int = DEFAULTS.topk) -> Statistics:
    """Statistics of one part's M_pix and M_dis, [H, W] each."""
    q95, q99 = np.quantile(np.asarray(m_pix, dtype=np.float64), (0.95, 0.99))
    base, mean, mean_dis, peak = base_score(m_pix, topk), np.mean(m_pix), np.mean(m_dis), np.max(m_pix)
    return Statistics(base, float(q95), float(q99), float(mean), float(mean_dis), float(peak))


def modulate_all(
    decision_maps: Iterable[Array], samples: Iterable[SampleMaps], parameters: Parameters = DEFAULTS
) -> tuple[list[Array], Statistics]:
    """(M_pix of every part, Statistics of arrays [n]) for n decision maps [H, W] and n SampleMaps."""
    maps, rows = [], []
    for decision, sample in zip(decision_maps, samples):
        fusion_map(decision, sample, parameters)  # refuses a missing one
        m_pix, m_dis = scoring_addon.modulate(decision, sample, parameters)
        maps.append(m_pix)
        rows.append(map_statistics(m_pix, m_dis, parameters.topk))
    return maps, Statistics(*np.array(rows, dtype=np.float64).reshape(-1, len(Statistics._fields)).T)


def final_terms(
    stats: Statistics, parameters: Parameters = DEFAULTS, reference: Statistics | None = None, tail: bool = False
) -> Terms:
    """S_final and its terms, from statistics alone (sections 3.5 and 3.6).

    Args:
        stats: of arrays [n], the test set's.
        parameters: Parameters.
        reference: Statistics [m] of normal training parts that give minima and maxima; None: those of the test set.
        tail: add γ (Q99 - Q95) to S_robust (the variant "full").
    """

    def robust_of(s: Statistics) -> Any:
        tail_cue = parameters.weights[2] * (s.q99 - s.q95) if tail else 0.0
        return robust_score(s.q95, s.mean, s.mean_dis, parameters.weights) + tail_cue

    known = None if reference is None else (reference.base, reference.q95, robust_of(reference))
    found: Terms = scoring_addon.final_terms(stats.base, stats.q95, robust_of(stats), parameters, known)
    return found


def partial_parameters(parameters: Parameters) -> Parameters:
    """Those of the variant "partial": γ = 0, and no recovery term."""
    alpha, beta, _ = parameters.weights
    changed: Parameters = parameters._replace(weights=(alpha, beta, 0.0), delta=0.0)
    return changed
