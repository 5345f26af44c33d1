"""The statistics of M_pix, and the score that the paper's proposed scoring and its ablation rows make of them.

Sections 3.5 and 3.6 of Xu et al.; the equations are those of ``scoring_addon.py``. Maps are [H, W], larger = more
anomalous; n is the number of parts.
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


def modulate_all(
    decision_maps: Iterable[Array], samples: Iterable[SampleMaps], parameters: Parameters = DEFAULTS
) -> tuple[list[Array], Statistics]:
    """(M_pix of every part, Statistics of arrays [n]) for n decision maps [H, W] and n SampleMaps."""
    maps, rows = [], []
    for decision, sample in zip(decision_maps, samples):
        m_pix, m_dis = scoring_addon.modulate(decision, sample, parameters)
        q95, q99 = np.quantile(np.asarray(m_pix, dtype=np.float64), (0.95, 0.99))
        rows.append((base_score(m_pix, parameters.topk), q95, q99, np.mean(m_pix), np.mean(m_dis), np.max(m_pix)))
        maps.append(m_pix)
    columns = np.array(rows, dtype=np.float64).reshape(-1, len(Statistics._fields)).T
    return maps, Statistics(*columns)


def final_terms(
    stats: Statistics, parameters: Parameters = DEFAULTS, reference: Statistics | None = None, variant: str = ""
) -> Terms:
    """S_final and its terms, from the statistics of n parts (sections 3.5 and 3.6).

    ``reference``: Statistics of normal training parts that give minima and maxima; None: ``stats`` give them.
    ``variant``: "partial": γ = 0, and no recovery term; "full": S_robust has γ (Q99 - Q95) added; "": S_final itself.
    """
    alpha, beta, gamma = parameters.weights
    tail = gamma if variant == "full" else 0.0
    if variant == "partial":
        parameters = parameters._replace(weights=(alpha, beta, 0.0), delta=0.0)

    def known(s: Statistics) -> tuple[Any, Any, Any]:
        return s.base, s.q95, robust_score(s.q95, s.mean, s.mean_dis, parameters.weights) + tail * (s.q99 - s.q95)

    found: Terms = scoring_addon.final_terms(*known(stats), parameters, None if reference is None else known(reference))
    return found
