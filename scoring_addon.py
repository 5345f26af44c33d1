"""Cross-modal disagreement-guided, reliability-aware scoring for M3DM, in one file.

The scoring of Xu et al., "Cross-Modal Disagreement-Guided Reliability-Aware Scoring for RGB-3D Industrial
Anomaly Detection" (Appl. Sci. 2026, 16, 5483), sections 3.4 to 3.6, on top of the maps that M3DM computes anyway.
It needs numpy and the standard library only, and is called in three places:

* ``add_arguments(parser)`` where the command line is built;
* ``record(method, ...)`` where the RGB, xyz and fusion banks' maps of a test sample are known;
* ``apply(method)`` at the start of ``calculate_metrics``: replaces ``image_preds``, ``predictions`` and
  ``pixel_preds`` by those of the first scoring asked for.

Maps are float arrays [H, W], larger = more anomalous.
"""
import argparse
import math
from collections import namedtuple

import numpy as np

EPSILON = 1e-8
SCORINGS = ("baseline", "disagreement")

Parameters = namedtuple("Parameters", "lam topk weights eta delta map_source")
Parameters.__doc__ = """λ, K, (α, β, γ), (η1, η2), δ and the source of M_fusion ("decision" or "bank")."""
DEFAULTS = Parameters(lam=0.5, topk=64, weights=(0.60, 0.25, 0.15), eta=(1.0, 1.0), delta=0.2, map_source="decision")

SampleMaps = namedtuple("SampleMaps", "rgb xyz bank")
SampleMaps.__doc__ = """The single-bank maps of one test sample, each [H, W]; ``bank`` is the fusion bank's, or None."""

Scored = namedtuple("Scored", "image_preds predictions")
Scored.__doc__ = """One scoring of a test set: image scores [n] float64, and a list of n maps [H, W]."""


# ---------------------------------------------------------------- equations, sections 3.4 to 3.6


def normalise_map(m):
    """N(M) = (M - min M) / (max M - min M + 1e-8), [H, W] in [0, 1] (section 3.4, first equation)."""
    m = np.asarray(m, dtype=np.float64)
    return (m - m.min()) / (m.max() - m.min() + EPSILON)


def disagreement_map(m_rgb, m_xyz):
    """M_dis = |N(M_rgb) - N(M_xyz)|, [H, W] in [0, 1] (section 3.4, second equation)."""
    return np.abs(normalise_map(m_rgb) - normalise_map(m_xyz))


def modulated_map(m_fusion, m_dis, lam=DEFAULTS.lam):
    """M_pix = M_fusion · (1 + λ M_dis), element-wise [H, W] (section 3.4, third equation)."""
    return np.asarray(m_fusion, dtype=np.float64) * (1 + lam * np.asarray(m_dis, dtype=np.float64))


def base_score(m_pix, topk=DEFAULTS.topk):
    """S_base: mean of the K largest values of M_pix [H, W] (section 3.5, first equation)."""
    values = np.ravel(m_pix)
    topk = min(int(topk), values.size)
    return float(np.mean(np.partition(values, values.size - topk)[values.size - topk:]))


def quantile_95(m_pix):
    """Q95: the 0.95 quantile of M_pix [H, W], linearly interpolated (section 3.5)."""
    return float(np.quantile(np.asarray(m_pix, dtype=np.float64), 0.95))


def robust_score(m_pix, m_dis, weights=DEFAULTS.weights):
    """S_robust = α Q95(M_pix) + β mean(M_pix) + γ mean(M_dis) (section 3.5, second equation)."""
    alpha, beta, gamma = weights
    return alpha * quantile_95(m_pix) + beta * float(np.mean(m_pix)) + gamma * float(np.mean(m_dis))


def normalise_statistic(values):
    """The ~ of section 3.6: min-max over the category's test set, [n] in [0, 1]; a constant statistic gives 0."""
    values = np.asarray(values, dtype=np.float64)
    span = values.max() - values.min() if values.size else 0.0
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def reliability(base_n, q95_n):
    """R = 1 - |S̃_base - Q̃95| of normalised statistics [n] (section 3.6, first equation)."""
    return 1 - np.abs(base_n - q95_n)


def conflict(base_n, robust_n):
    """C = |S̃_base - S̃_robust| of normalised statistics [n] (section 3.6, second equation)."""
    return np.abs(base_n - robust_n)


def blending_weight(c, r, eta=DEFAULTS.eta):
    """w = σ(η1 C - η2 R), [n] in (0, 1) (section 3.5, fourth equation)."""
    return 0.5 * (1 + np.tanh(0.5 * (eta[0] * np.asarray(c) - eta[1] * np.asarray(r))))  # σ without overflow


def recovery_score(q95, base, delta=DEFAULTS.delta):
    """S_rec = δ max(0, Q95 - S_base), [n] (section 3.5, fifth equation, as printed).

    With K below 5 % of the pixels S_base averages values of at least Q95, so this is 0 for every δ.
    """
    return delta * np.maximum(0, np.asarray(q95) - np.asarray(base))


def final_score(base, robust, w, rec):
    """S_final = (1 - w) S_base + w S_robust + S_rec, [n] (section 3.5, third equation)."""
    return (1 - w) * base + w * robust + rec


# ---------------------------------------------------------------- a test set


def score_disagreement(decision_maps, samples, parameters=DEFAULTS):
    """M_pix and S_final of every sample of one category.

    Args:
        decision_maps: n released pixel maps [H, W].
        samples: n SampleMaps.
        parameters: Parameters.

    Returns:
        Scored.
    """
    maps, rows = [], []
    for decision, sample in zip(decision_maps, samples):
        m_dis = disagreement_map(sample.rgb, sample.xyz)
        m_pix = modulated_map(sample.bank if parameters.map_source == "bank" else decision, m_dis, parameters.lam)
        maps.append(m_pix)
        rows.append((base_score(m_pix, parameters.topk), quantile_95(m_pix), robust_score(m_pix, m_dis, parameters.weights)))
    base, q95, robust = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    base_n, q95_n, robust_n = normalise_statistic(base), normalise_statistic(q95), normalise_statistic(robust)
    w = blending_weight(conflict(base_n, robust_n), reliability(base_n, q95_n), parameters.eta)
    return Scored(final_score(base, robust, w, recovery_score(q95, base, parameters.delta)), maps)


def score(name, image_preds, predictions, samples, parameters=DEFAULTS):
    """The scoring ``name`` (one of SCORINGS) of one category.

    Args:
        image_preds: [n] released image scores.
        predictions: n released pixel maps [H, W].
        samples: n SampleMaps (not read by "baseline").

    Returns:
        Scored.

    Raises:
        ValueError: unknown name, or the samples' maps do not fit the predictions.
    """
    if name == "baseline":
        return Scored(np.ravel(np.asarray(image_preds, dtype=np.float64)), list(predictions))
    if name != "disagreement":
        raise ValueError("unknown scoring {!r}; known: {}".format(name, ", ".join(SCORINGS)))
    if len(samples) != len(predictions):
        raise ValueError("scoring {!r} needs the RGB and xyz banks' maps of all {} test samples, {} were recorded: "
                         "the method has to have both banks".format(name, len(predictions), len(samples)))
    if parameters.map_source == "bank" and any(s.bank is None for s in samples):
        raise ValueError("--scoring_map bank needs a fusion bank")
    return score_disagreement(predictions, samples, parameters)


# ---------------------------------------------------------------- hooks


def _number(text, low=None, whole=False):
    value = int(text) if whole else float(text)
    if (value > 2**31 if whole else not math.isfinite(value)) or (low is not None and value < low):
        raise argparse.ArgumentTypeError("{} is not a finite number{}".format(text, "" if low is None else " of at least %g" % low))
    return value


def _non_negative(text):
    return _number(text, 0)


def _finite(text):
    return _number(text)


def _positive_int(text):
    return _number(text, 1, whole=True)


for _type in (_non_negative, _finite, _positive_int):
    _type.__name__ = "number"  # what argparse calls it in "invalid number value"


def add_arguments(parser, several=False):
    """Hook 1: add the flags to an ``argparse`` parser or group.

    Args:
        several: accept several scorings at once (only where the caller shows more than one).
    """
    parser.add_argument("--scoring", choices=SCORINGS, metavar="NAME", default=["baseline"] if several else "baseline",
                        **({"nargs": "+"} if several else {}),
                        help="how image scores and pixel maps are computed: baseline (as released) or disagreement "
                             "(Xu et al. 2026: regions where RGB and xyz disagree are amplified, image scores are calibrated)"
                             + ("; several names are scored from one feature pass" if several else "") + " (default: baseline)")
    d = DEFAULTS
    parser.add_argument("--scoring_lambda", type=_non_negative, default=d.lam, metavar="L",
                        help="strength of the disagreement modulation (default: %(default)s)")
    parser.add_argument("--scoring_topk", type=_positive_int, default=d.topk, metavar="K",
                        help="number of largest pixels averaged in S_base (default: %(default)s)")
    parser.add_argument("--scoring_weights", type=_finite, nargs=3, default=list(d.weights), metavar=("ALPHA", "BETA", "GAMMA"),
                        help="weights of Q95, map mean and disagreement mean in S_robust (default: %(default)s)")
    parser.add_argument("--scoring_eta", type=_finite, nargs=2, default=list(d.eta), metavar=("ETA1", "ETA2"),
                        help="scales of conflict and reliability in the blending weight (default: %(default)s)")
    parser.add_argument("--scoring_delta", type=_non_negative, default=d.delta, metavar="D",
                        help="strength of the recovery term; as printed in the paper the term is 0 whenever K is below "
                             "5%% of the pixels (default: %(default)s)")
    parser.add_argument("--scoring_map", choices=("decision", "bank"), default=d.map_source,
                        help="M_fusion: the late-fusion decision map, or the fusion bank's own map (default: %(default)s)")


def parameters_from(args):
    """Parameters from a parsed namespace."""
    return Parameters(args.scoring_lambda, args.scoring_topk, tuple(args.scoring_weights), tuple(args.scoring_eta),
                      args.scoring_delta, args.scoring_map)


def names_from(args):
    """The scorings asked for, in order, each once."""
    names = [args.scoring] if isinstance(args.scoring, str) else args.scoring
    return list(dict.fromkeys(names))


def record(method, map_rgb, map_xyz, map_fusion=None):
    """Hook 2: remember a test sample's single-bank maps, [H, W] or [1, H, W] arrays or CPU tensors."""
    if not hasattr(method, "scoring_samples"):
        method.scoring_samples = []
    method.scoring_samples.append(SampleMaps(_flat_map(map_rgb), _flat_map(map_xyz),
                                             None if map_fusion is None else _flat_map(map_fusion)))


def apply(method):
    """Hook 3: score the recorded test set.

    Sets ``method.scored``, {name: Scored} with "baseline" and every scoring asked for, and replaces
    ``image_preds`` (list of (1,) arrays), ``predictions`` and, where the tree keeps it, the flat ``pixel_preds``
    by those of the first name. With "baseline" first nothing is replaced.

    Raises:
        ValueError: see :func:`score`.
    """
    names, parameters = names_from(method.args), parameters_from(method.args)
    samples = getattr(method, "scoring_samples", [])
    method.scored = {name: score(name, [np.ravel(p)[0] for p in method.image_preds], method.predictions, samples, parameters)
                     for name in dict.fromkeys(["baseline"] + names)}
    if names[0] == "baseline":
        return
    chosen = method.scored[names[0]]
    method.image_preds = [np.array([value]) for value in chosen.image_preds]
    method.predictions = list(chosen.predictions)
    if hasattr(method, "pixel_preds"):
        method.pixel_preds = np.concatenate([np.ravel(m) for m in chosen.predictions])


def _flat_map(m):
    m = np.asarray(m)
    return m.reshape(m.shape[-2:])
