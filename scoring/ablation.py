"""The paper's ablation rows (Tables 3, 7 and 8) and its proposed scoring, of one category from one feature pass.

The equations are those of ``scoring_addon.py``. Maps are [H, W], larger = more anomalous; n is the number of test
parts.
"""

from typing import Any, NamedTuple, Optional

import numpy as np

import scoring_addon
from scoring_addon import DEFAULTS, base_score, robust_score

# name → (pixel map, image score, table of the paper); "ours": the paper leaves it open, and this project chose
SCORINGS = {
    "baseline": ("M_fusion", "the released decision score", "Tables 3-8"),
    "pixel_max": ("M_fusion", "max of the map", "Table 3"),
    "pixel_topk": ("M_fusion", "mean of the K largest", "Table 3"),
    "disagreement_only": ("M_pix", "max of M_pix (ours)", "Tables 7, 8"),
    "disagreement_base": ("M_pix", "S_base", "Table 8, Disagreement + Score Calibration"),
    "partial": ("M_pix", "(1-w) S_base + w S_robust with gamma = 0 (ours)", "Table 8, Partial; Table 7"),
    "full": ("M_pix", "as disagreement, S_robust with gamma (Q99 - Q95) added (ours)", "Table 8, Full"),
    "disagreement": ("M_pix", "S_final", "Tables 3-7, Proposed"),
}


class Scored(NamedTuple):
    """One scoring of a test set: image scores [n] float64, and a list of n maps [H, W]."""

    image_preds: Any
    predictions: list


class Statistics(NamedTuple):
    """S_base, Q95, Q99, mean and maximum of M_pix, mean of M_dis: of one part, or arrays [n]."""

    base: Any
    q95: Any
    q99: Any
    mean: Any
    mean_dis: Any
    peak: Any


def fusion_map(decision, sample, parameters=DEFAULTS):
    """M_fusion [H, W]: the released decision map, or the fusion bank's own.

    Raises:
        ValueError: the fusion bank's is wanted, and there is none.
    """
    if parameters.map_source == "bank" and sample.bank is None:
        raise ValueError("--scoring_map bank needs a fusion bank")
    return sample.bank if parameters.map_source == "bank" else decision


def map_statistics(m_pix, m_dis, topk=DEFAULTS.topk):
    """Statistics of one part's M_pix and M_dis, [H, W] each."""
    q95, q99 = np.quantile(np.asarray(m_pix, dtype=np.float64), (0.95, 0.99))
    base, mean, mean_dis, peak = base_score(m_pix, topk), np.mean(m_pix), np.mean(m_dis), np.max(m_pix)
    return Statistics(base, float(q95), float(q99), float(mean), float(mean_dis), float(peak))


def modulate_all(decision_maps, samples, parameters=DEFAULTS):
    """(M_pix of every part, Statistics of arrays [n]) for n decision maps [H, W] and n ``scoring_addon.SampleMaps``."""
    maps, rows = [], []
    for decision, sample in zip(decision_maps, samples):
        fusion_map(decision, sample, parameters)  # refuses a missing one
        m_pix, m_dis = scoring_addon.modulate(decision, sample, parameters)
        maps.append(m_pix)
        rows.append(map_statistics(m_pix, m_dis, parameters.topk))
    return maps, Statistics(*np.array(rows, dtype=np.float64).reshape(-1, len(Statistics._fields)).T)


def calibrate(stats, parameters=DEFAULTS, reference: Optional[Statistics] = None, tail=False):
    """S_final and its terms, from statistics alone (sections 3.5 and 3.6).

    Args:
        stats: Statistics of arrays [n], the test set's.
        parameters: ``scoring_addon.Parameters``.
        reference: Statistics [m] of normal training parts that give minima and maxima; None: those of the test set.
        tail: add γ (Q99 - Q95) to S_robust (the variant "full").

    Returns:
        ``scoring_addon.Terms``.
    """

    def robust_of(s):
        tail_cue = parameters.weights[2] * (s.q99 - s.q95) if tail else 0.0
        return robust_score(s.q95, s.mean, s.mean_dis, parameters.weights) + tail_cue

    known = None if reference is None else (reference.base, reference.q95, robust_of(reference))
    return scoring_addon.final_terms(stats.base, stats.q95, robust_of(stats), parameters, known)


def needs_maps(names, map_source="decision"):
    """Whether any of the scorings reads the single-bank maps."""
    return any(SCORINGS[name][0] == "M_pix" or (map_source == "bank" and name != "baseline") for name in names)


def image_scores(name, stats, parameters=DEFAULTS, reference=None):
    """Image scores [n] of a scoring that uses M_pix (one of SCORINGS), from Statistics of arrays [n]."""
    if name == "disagreement_only":
        return stats.peak
    if name == "disagreement_base":
        return stats.base
    if name == "partial":
        alpha, beta, _ = parameters.weights
        return calibrate(stats, parameters._replace(weights=(alpha, beta, 0.0), delta=0.0), reference).final
    return calibrate(stats, parameters, reference, tail=name == "full").final


def score_all(names, image_preds, predictions, samples, parameters=DEFAULTS, reference=None):
    """Several scorings of one category; common steps are computed once.

    Args:
        names: keys of SCORINGS.
        image_preds: [n] released image scores.
        predictions: n released pixel maps [H, W].
        samples: n ``scoring_addon.SampleMaps`` (not read by "baseline").
        parameters: ``scoring_addon.Parameters``.
        reference: (decision maps, SampleMaps) of normal training parts, or their Statistics; None: the test set
            itself.

    Returns:
        {name: Scored} in the order of ``names``; scorings with the same pixel maps share one list.

    Raises:
        ValueError: a name is unknown, or the samples do not have all maps that the scorings need.
    """
    unknown = [name for name in names if name not in SCORINGS]
    if unknown:
        raise ValueError(f"unknown scoring {unknown[0]!r}; known: {', '.join(SCORINGS)}")
    others = [name for name in names if name != "baseline"]
    if needs_maps(others, parameters.map_source) and len(samples) != len(predictions):
        raise ValueError(
            f"scoring {others[0]!r} needs the RGB and xyz banks' maps of all {len(predictions)} test parts, there are "
            f"{len(samples)}: the method has to have both banks"
        )
    scored = {"baseline": Scored(np.ravel(np.asarray(image_preds, dtype=np.float64)), list(predictions))}
    plain = scored["baseline"].predictions
    if parameters.map_source != "decision":
        plain = [fusion_map(d, s, parameters) for d, s in zip(predictions, samples)]
    if any(SCORINGS[name][0] == "M_pix" for name in others):
        maps, stats = modulate_all(predictions, samples, parameters)
        if reference is not None and not isinstance(reference, Statistics):
            reference = modulate_all(reference[0], reference[1], parameters)[1]
    for name in others:
        if name == "pixel_max":
            scored[name] = Scored(np.array([float(np.max(m)) for m in plain]), plain)
        elif name == "pixel_topk":
            scored[name] = Scored(np.array([base_score(m, parameters.topk) for m in plain]), plain)
        else:
            scored[name] = Scored(image_scores(name, stats, parameters, reference), maps)
    return {name: scored[name] for name in names}
