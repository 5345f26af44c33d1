"""How much of a part's score, or of a region, comes from each bank and from the disagreement of RGB and xyz.

Every pixel map is a sum of terms, each of which is a map: a bank's map times its factor, and for M_pix the modulation
M_fusion · λ · M_dis, called ``disagreement``. In the calibrated map, each pixel belongs to the bank that is largest
there. Every image score is a weighted sum of some pixels of that map (the largest, the K largest, all, or those at a
quantile) and of the mean disagreement. So the shares of the terms add up to the score, except for rounding.
"""

import numpy as np

import scoring_addon
from scoring import ablation, calibrated

DISAGREEMENT = "disagreement"


def map_terms(scoring, maps, weights, parameters, statistics=None):
    """{term: [S, S] float64} that add up to the scoring's pixel map.

    Args:
        scoring: its name.
        maps: {bank: [S, S]} of one part.
        weights: {bank: factor} of the decision map.
        parameters: ``scoring_addon.Parameters``.
        statistics: ``scoring.calibrated.TrainingStatistics``, for "calibrated".
    """
    if scoring == "calibrated":
        stack = calibrated.calibrated_banks(maps, statistics)
        largest = calibrated.calibrated_map(maps, statistics)
        owners = {bank: values == largest for bank, values in stack.items()}
        count = np.maximum(sum(owner.astype(int) for owner in owners.values()), 1)
        return {bank: np.where(owner, largest / count, 0.0) for bank, owner in owners.items()}
    chosen = maps if parameters.map_source == "decision" or scoring == "baseline" else {"fusion": maps["fusion"]}
    factors = weights if chosen is maps else {"fusion": 1.0}
    terms = {bank: np.asarray(of, np.float64) * factors[bank] for bank, of in chosen.items()}
    if ablation.SCORINGS[scoring][0] == "M_pix":
        m_dis = scoring_addon.disagreement_map(maps["rgb"], maps["xyz"])
        terms[DISAGREEMENT] = sum(terms.values()) * parameters.lam * m_dis
    return terms


def score_shares(scoring, terms, maps, scores, weights, parameters, reference=None, statistics=None):
    """{term: share} of an image score; the shares add up to it, except for rounding.

    Args:
        scoring, parameters: as in :func:`map_terms`.
        terms: result of :func:`map_terms`.
        maps, scores: {bank: [S, S]} and {bank: score} of the part.
        weights: {bank: factor} of the decision score.
        reference: ``ablation.Statistics`` of training parts, for the scorings that need it.
        statistics: ``scoring.calibrated.TrainingStatistics``, for "calibrated".
    """
    if scoring == "baseline":
        return {bank: weights[bank] * score for bank, score in scores.items()}
    m_pix = sum(terms.values())

    def of_pixels(*parts):
        """{term: share} of a sum over ``parts``: each (factor, indices) adds factor times the mean of these pixels."""
        return {name: float(sum(f * term.ravel()[index].mean() for f, index in parts)) for name, term in terms.items()}

    topk = _largest(m_pix, parameters.topk)
    everywhere = slice(None)
    if scoring == "calibrated":
        return of_pixels((1.0, _largest(m_pix, min(statistics.topk, max(1, m_pix.size // 8)))))
    if scoring in ("pixel_max", "disagreement_only"):
        return of_pixels((1.0, _largest(m_pix, 1)))
    if scoring in ("pixel_topk", "disagreement_base"):
        return of_pixels((1.0, topk))
    m_dis = scoring_addon.disagreement_map(maps["rgb"], maps["xyz"])
    alpha, beta, gamma = parameters.weights
    used, tail = parameters, scoring == "full"
    if scoring == "partial":
        gamma, used = 0.0, parameters._replace(weights=(alpha, beta, 0.0), delta=0.0)
    stats = ablation.Statistics(
        *(np.array([value]) for value in ablation.map_statistics(m_pix, m_dis, parameters.topk))
    )
    found = ablation.calibrate(stats, used, reference, tail)
    w = float(found.w[0])
    upper = gamma if tail else 0.0  # weight of Q99 - Q95
    parts = [(1 - w, topk), (w * beta, everywhere)]
    parts += [(w * (alpha - upper) * f, index) for f, index in _at_quantile(m_pix, 0.95)]
    parts += [(w * upper * f, index) for f, index in _at_quantile(m_pix, 0.99)]
    shares = of_pixels(*parts)
    shares[DISAGREEMENT] += w * gamma * float(m_dis.mean()) + float(found.rec[0])
    return shares


def region_shares(terms, mask, box):
    """{term: share} of a region's mean value; ``mask``: bool [h, w] in ``box`` (left, top, right, bottom)."""
    left, top, right, bottom = box
    return {name: float(term[top:bottom, left:right][mask].mean()) for name, term in terms.items()}


def _largest(values, count):
    values = np.ravel(values)
    count = min(int(count), values.size)
    return np.argpartition(values, values.size - count)[values.size - count :]


def _at_quantile(values, q):
    """[(factor, [index])] of the two pixels between which the linearly interpolated quantile lies."""
    order = np.argsort(np.ravel(values), kind="stable")
    at = q * (len(order) - 1)
    low = int(at)
    high = min(low + 1, len(order) - 1)
    return [(1 - (at - low), order[[low]]), (at - low, order[[high]])]
