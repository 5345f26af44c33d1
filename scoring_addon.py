"""Cross-modal disagreement-guided, reliability-aware scoring for M3DM, in one file.

The scoring of Xu et al., "Cross-Modal Disagreement-Guided Reliability-Aware Scoring for RGB-3D Industrial
Anomaly Detection" (Appl. Sci. 2026, 16, 5483), sections 3.4 to 3.6, on top of the maps that M3DM computes anyway.
It needs numpy and the standard library only, and is called in three places:

* ``add_arguments(parser)`` where the command line is built;
* ``record(method, ...)`` after the RGB, xyz and fusion banks' maps of a test sample were computed;
* ``apply(method)`` at the start of ``calculate_metrics``: replaces ``image_preds``, ``predictions`` and
  ``pixel_preds`` by those of the first scoring asked for.

``patches/apply.py`` puts these calls into an M3DM checkout. There ``--scoring`` takes one name and needs the full
setting. With ``baseline``, or on a command line without these flags, the calls do nothing. Python 3.8, numpy 1.19.
Maps are float arrays [H, W], larger = more anomalous.
"""

import argparse
import math
from collections import namedtuple

import numpy as np

EPSILON = 1e-8
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
# methods whose maps are not recorded in a patched checkout
OTHER_METHODS = ("DINO", "Point_MAE", "Fusion", "DINO+Point_MAE", "DINO+Point_MAE+add")

Parameters = namedtuple("Parameters", "lam topk weights eta delta map_source recovery")
Parameters.__doc__ = """λ, K, (α, β, γ), (η1, η2), δ, the source of M_fusion ("decision" or "bank") and the
recovery term ("printed" or "normalized")."""
DEFAULTS = Parameters(
    lam=0.5, topk=64, weights=(0.60, 0.25, 0.15), eta=(1.0, 1.0), delta=0.2, map_source="decision", recovery="printed"
)

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
    return float(np.mean(np.partition(values, values.size - topk)[values.size - topk :], dtype=np.float64))


def quantile(m_pix, q):
    """The q quantile (0.95 for Q95) of M_pix [H, W], linearly interpolated (section 3.5)."""
    return float(np.quantile(np.asarray(m_pix, dtype=np.float64), q))


def robust_score(q95, mean, mean_dis, weights=DEFAULTS.weights):
    """S_robust = α Q95(M_pix) + β mean(M_pix) + γ mean(M_dis) (section 3.5, second equation)."""
    alpha, beta, gamma = weights
    return alpha * q95 + beta * mean + gamma * mean_dis


def normalise_statistic(values, reference=None):
    """Min-max normalisation, the ~ of section 3.6; a constant statistic gives 0.

    Args:
        values: [n] of the test set.
        reference: [m] of the set that gives minimum and maximum; None: the test set itself, as in the paper.

    Returns:
        [n] in [0, 1]; values outside the reference's range are clipped (ours).
    """
    values = np.asarray(values, dtype=np.float64)
    reference = values if reference is None else np.asarray(reference, dtype=np.float64)
    span = reference.max() - reference.min() if reference.size else 0.0
    return np.clip((values - reference.min()) / span, 0, 1) if span > 0 else np.zeros_like(values)


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

    With K below 5 % of the pixels, S_base averages values of at least Q95, so S_rec is 0 for every δ.
    """
    return delta * np.maximum(0, np.asarray(q95) - np.asarray(base))


def normalised_recovery_score(q95_n, base_n, r, scale, delta=DEFAULTS.delta):
    """S_rec = δ R max(0, Q̃95 - S̃_base) · scale, [n] (ours: the term of section 3.5 on normalised statistics).

    ``scale`` is maximum minus minimum of S_base over the reference set; it gives S_rec the units of S_base.
    """
    return delta * r * np.maximum(0, np.asarray(q95_n) - np.asarray(base_n)) * scale


def final_score(base, robust, w, rec):
    """S_final = (1 - w) S_base + w S_robust + S_rec, [n] (section 3.5, third equation)."""
    return (1 - w) * base + w * robust + rec


# ---------------------------------------------------------------- a test set


Statistics = namedtuple("Statistics", "base q95 q99 mean mean_dis peak")
Statistics.__doc__ = """S_base, Q95, Q99, mean and maximum of M_pix, mean of M_dis: of one sample, or arrays [n]."""

Terms = namedtuple("Terms", "base robust base_n robust_n q95_n r c w rec final")
Terms.__doc__ = """Everything that S_final is made of, arrays [n]; ``_n``: normalised."""


def fusion_map(decision, sample, parameters=DEFAULTS):
    """M_fusion [H, W]: the released decision map, or the fusion bank's own."""
    if parameters.map_source == "bank" and sample.bank is None:
        raise ValueError("--scoring_map bank needs a fusion bank")
    return sample.bank if parameters.map_source == "bank" else decision


def map_statistics(m_pix, m_dis, topk=DEFAULTS.topk):
    """Statistics of one sample's M_pix and M_dis, [H, W] each."""
    q95, q99 = np.quantile(np.asarray(m_pix, dtype=np.float64), (0.95, 0.99))
    base, mean, mean_dis, peak = base_score(m_pix, topk), np.mean(m_pix), np.mean(m_dis), np.max(m_pix)
    return Statistics(base, float(q95), float(q99), float(mean), float(mean_dis), float(peak))


def modulate_all(decision_maps, samples, parameters=DEFAULTS):
    """(M_pix of every sample, Statistics of arrays [n]) for n decision maps [H, W] and n SampleMaps."""
    maps, rows = [], []
    for decision, sample in zip(decision_maps, samples):
        m_dis = disagreement_map(sample.rgb, sample.xyz)
        m_pix = modulated_map(fusion_map(decision, sample, parameters), m_dis, parameters.lam)
        maps.append(m_pix)
        rows.append(map_statistics(m_pix, m_dis, parameters.topk))
    return maps, Statistics(*np.array(rows, dtype=np.float64).reshape(-1, len(Statistics._fields)).T)


def calibrate(stats, parameters=DEFAULTS, reference=None, tail=False):
    """S_final and its terms, from statistics alone (sections 3.5 and 3.6).

    Args:
        stats: Statistics of arrays [n], the test set's.
        parameters: Parameters.
        reference: Statistics [m] of normal training parts that give minima and maxima; None: those of the test set.
        tail: add γ (Q99 - Q95) to S_robust (the variant "full").

    Returns:
        Terms.
    """

    def robust_of(s):
        tail_cue = parameters.weights[2] * (s.q99 - s.q95) if tail else 0.0
        return robust_score(s.q95, s.mean, s.mean_dis, parameters.weights) + tail_cue

    ref = stats if reference is None else reference
    robust = robust_of(stats)
    base_n, q95_n = normalise_statistic(stats.base, ref.base), normalise_statistic(stats.q95, ref.q95)
    robust_n = normalise_statistic(robust, robust_of(ref))
    r, c = reliability(base_n, q95_n), conflict(base_n, robust_n)
    w = blending_weight(c, r, parameters.eta)
    if parameters.recovery == "normalized":
        scale = np.ptp(ref.base) if ref.base.size else 0.0
        rec = normalised_recovery_score(q95_n, base_n, r, scale, parameters.delta)
    else:
        rec = recovery_score(stats.q95, stats.base, parameters.delta)
    return Terms(stats.base, robust, base_n, robust_n, q95_n, r, c, w, rec, final_score(stats.base, robust, w, rec))


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
        samples: n SampleMaps (not read by "baseline").
        parameters: Parameters.
        reference: (decision maps, SampleMaps) of normal training parts, or their Statistics; None: the test set
            itself.

    Returns:
        {name: Scored} in the order of ``names``; scorings with the same pixel maps share one list.

    Raises:
        ValueError: a name is unknown, or the samples do not have all maps that the scorings need.
    """
    unknown = [name for name in names if name not in SCORINGS]
    if unknown:
        raise ValueError("unknown scoring {!r}; known: {}".format(unknown[0], ", ".join(SCORINGS)))
    others = [name for name in names if name != "baseline"]
    if needs_maps(others, parameters.map_source) and len(samples) != len(predictions):
        raise ValueError(
            "scoring {!r} needs the RGB and xyz banks' maps of all {} test samples, {} were recorded: the method "
            "has to have both banks".format(others[0], len(predictions), len(samples))
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


# ---------------------------------------------------------------- hooks


def _number(kind=float, low=-math.inf):
    """argparse type: a finite number of at least ``low``."""

    def parse(text):
        value = kind(text)
        if (kind is int and value > 2**31) or not math.isfinite(value) or value < low:
            bound = "" if low == -math.inf else " of at least %g" % low
            raise argparse.ArgumentTypeError("{} is not a finite number{}".format(text, bound))
        return value

    parse.__name__ = "number"  # argparse's message: "invalid number value"
    return parse


def add_arguments(parser, several=False, others=()):
    """Hook 1: add the flags to an ``argparse`` parser or group.

    Args:
        others: names of a checkout's own methods whose maps are not recorded; refused like OTHER_METHODS.
        several: accept several scorings at once (only for callers that show more than one). Without it the parser
            exits with code 2 where a method other than the full setting is combined with a scoring but baseline.
    """
    if not several and hasattr(parser, "parse_known_args"):
        _refuse_other_methods(parser, OTHER_METHODS + tuple(others))
    described = "; ".join("{}: {}, {} [{}]".format(name, *row) for name, row in SCORINGS.items())
    text = "how pixel maps and image scores are computed (Xu et al. 2026), name: pixel map, image score "
    text += "[row of the paper]: " + described
    text += ("; several names, or all, are scored from one feature pass" if several else "") + " (default: baseline)"
    names, default, nargs = ([*SCORINGS, "all"], ["baseline"], "+") if several else (list(SCORINGS), "baseline", None)
    parser.add_argument("--scoring", choices=names, metavar="NAME", default=default, nargs=nargs, help=text)
    add_parameters(parser, ("test", "train") if several else ("test",))


def add_parameters(parser, references=("test",)):
    """Add the flags of the parameters; ``references``: the choices of --scoring_reference."""

    def add(flag, text, **options):
        parser.add_argument("--scoring_" + flag, help=text + " (default: %(default)s)", **options)

    d, two, three = DEFAULTS, ("ETA1", "ETA2"), ("ALPHA", "BETA", "GAMMA")
    add("lambda", "strength of the disagreement modulation", type=_number(low=0), default=d.lam, metavar="L")
    add("topk", "number of largest pixels averaged in S_base", type=_number(int, 1), default=d.topk, metavar="K")
    text = "weights of Q95, map mean and disagreement mean in S_robust"
    add("weights", text, type=_number(), nargs=3, default=list(d.weights), metavar=three)
    text = "scales of conflict and reliability in the blending weight"
    add("eta", text, type=_number(), nargs=2, default=list(d.eta), metavar=two)
    text = "strength of the recovery term; as printed in the paper the term is 0 whenever K is below 5%% of the pixels"
    add("delta", text, type=_number(low=0), default=d.delta, metavar="D")
    text = "M_fusion: the late-fusion decision map (ours: the paper leaves it open), or the fusion bank's own map"
    add("map", text, choices=("decision", "bank"), default=d.map_source)
    text = "the recovery term as printed, or (ours) on the normalised scores"
    add("recovery", text, choices=("printed", "normalized"), default=d.recovery)
    text = "whose minima and maxima normalise the statistics: the test set's"
    text += ", or those of training parts measured without their own rows" if "train" in references else ""
    add("reference", text, choices=references, default="test")


_parsed = []  # type: list  # the parsed options of a patched checkout's command line


def _refuse_other_methods(parser, others):
    """Make ``parser`` check whether the scoring suits the method while it parses, so before any work."""
    parse = parser.parse_known_args

    def checked(*args, **kwargs):
        namespace, rest = parse(*args, **kwargs)
        _parsed[:] = [namespace]
        method = getattr(namespace, "method_name", None)
        if namespace.scoring != "baseline" and method in others:
            text = "{}: error: --scoring {}: in this checkout for --method_name DINO+Point_MAE+Fusion only, not {}\n"
            parser.exit(2, text.format(parser.prog, namespace.scoring, method))
        return namespace, rest

    parser.parse_known_args = checked  # parse_args calls it too


def parameters_from(args):
    """Parameters from a parsed namespace."""
    lam, topk, delta = args.scoring_lambda, args.scoring_topk, args.scoring_delta
    weights, eta = tuple(args.scoring_weights), tuple(args.scoring_eta)
    return Parameters(lam, topk, weights, eta, delta, args.scoring_map, args.scoring_recovery)


def names_from(args):
    """The scorings asked for, in order, each once."""
    names = [args.scoring] if isinstance(args.scoring, str) else args.scoring
    return list(SCORINGS) if "all" in names else list(dict.fromkeys(names))


def _asked(method):
    """The options, or None for the baseline; from ``_parsed`` if ``method.args`` is not what the parser returned."""
    args = getattr(method, "args", None)
    args = args if hasattr(args, "scoring") else next(iter(_parsed), None)
    return args if args is not None and args.scoring != "baseline" else None


def record(method, map_rgb, map_xyz, map_fusion=None):
    """Hook 2: store copies of a test sample's single-bank maps, [H, W] or [1, H, W] arrays or tensors."""
    if _asked(method) is None:
        return
    maps = SampleMaps(_flat_map(map_rgb), _flat_map(map_xyz), None if map_fusion is None else _flat_map(map_fusion))
    method.__dict__.setdefault("scoring_samples", []).append(maps)


def apply(method):
    """Hook 3: score the recorded test set.

    Sets ``method.scored``, {name: Scored} with "baseline" and every scoring asked for, and replaces
    ``image_preds`` (list of (1,) arrays), ``predictions`` and, if it exists, the flat ``pixel_preds`` by those of
    the first name. If the first name is "baseline", nothing is replaced.

    Raises:
        ValueError: see :func:`score_all`.
    """
    args = _asked(method)
    if args is None:
        return
    names, scores = names_from(args), [np.ravel(p)[0] for p in method.image_preds]
    wanted, samples = list(dict.fromkeys(["baseline"] + names)), getattr(method, "scoring_samples", [])
    reference = getattr(method, "scoring_reference", None) if args.scoring_reference == "train" else None
    method.scored = score_all(wanted, scores, method.predictions, samples, parameters_from(args), reference)
    if names[0] == "baseline":
        return
    chosen = method.scored[names[0]]
    method.image_preds = [np.array([value]) for value in chosen.image_preds]
    method.predictions = list(chosen.predictions)
    if hasattr(method, "pixel_preds"):
        method.pixel_preds = np.concatenate([np.ravel(m) for m in chosen.predictions])


def _flat_map(m):
    # a tensor may need a gradient or be on a GPU; copied, since the caller may change its own afterwards
    m = np.array(m.detach().cpu().numpy() if hasattr(m, "detach") else m)
    return m.reshape(m.shape[-2:])
