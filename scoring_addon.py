"""Cross-modal disagreement-guided, reliability-aware scoring for M3DM: Xu et al., Appl. Sci. 2026, 16, 5483.

``patches/apply.py`` copies this file into an M3DM checkout and inserts calls of the hooks below. Without
``--scoring disagreement`` they do nothing. Needs Python 3.8 and numpy 1.19. Maps are float arrays [H, W], larger = more
anomalous; n is the number of test samples; "(ours)" marks what the paper leaves open.
"""

import argparse
import contextlib
import inspect
import io
import os
import sys
import time
from collections import namedtuple
from copy import copy
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

RUN = time.strftime("%Y-%m-%d %H:%M:%S")
METRICS = {"image_rocauc": "Image ROCAUC", "pixel_rocauc": "Pixel ROCAUC", "au_pro": "AU-PRO"}
# λ, K, (α, β, γ), (η1, η2), δ; M_fusion is the "decision" or the fusion "bank"'s map; S_rec "printed" or "normalized"
Parameters = namedtuple("Parameters", "lam topk weights eta delta map_source recovery")
DEFAULTS = Parameters(0.5, 64, (0.60, 0.25, 0.15), (1.0, 1.0), 0.2, "decision", "printed")  # Table 1, final values
SampleMaps = namedtuple("SampleMaps", "rgb xyz bank")  # the banks' maps of a test sample; bank: fusion's, or None
Terms = namedtuple("Terms", "base robust base_n robust_n q95_n r c w rec final")  # arrays [n]; _n: normalised

# ---------------------------------------------------------------- the equations of sections 3.4 to 3.6


def normalise_map(m: Any) -> Any:
    """N(M) = (M - min M) / (max M - min M + ε), [H, W] in [0, 1] (section 3.4, first equation; ε = 1e-8 is ours)."""
    m = np.asarray(m, dtype=np.float64)
    return (m - m.min()) / (m.max() - m.min() + 1e-8)


def disagreement_map(m_rgb: Any, m_xyz: Any) -> Any:
    """M_dis = |N(M_rgb) - N(M_xyz)|, [H, W] in [0, 1] (section 3.4, second equation)."""
    return np.abs(normalise_map(m_rgb) - normalise_map(m_xyz))


def modulated_map(m_fusion: Any, m_dis: Any, lam: float = DEFAULTS.lam) -> Any:
    """M_pix = M_fusion · (1 + λ M_dis), element-wise [H, W] (section 3.4, third equation)."""
    return np.asarray(m_fusion, dtype=np.float64) * (1 + lam * np.asarray(m_dis, dtype=np.float64))


def base_score(m_pix: Any, topk: int = DEFAULTS.topk) -> float:
    """S_base: mean of the K largest values of M_pix [H, W] (section 3.5, first equation)."""
    values = np.ravel(m_pix)
    topk = min(int(topk), values.size)
    return float(np.mean(np.partition(values, values.size - topk)[values.size - topk :], dtype=np.float64))


def robust_score(q95: Any, mean: Any, mean_dis: Any, weights: Sequence[float] = DEFAULTS.weights) -> Any:
    """S_robust = α Q95(M_pix) + β mean(M_pix) + γ mean(M_dis), [n] (section 3.5, second equation)."""
    alpha, beta, gamma = weights
    return alpha * q95 + beta * mean + gamma * mean_dis


def final_score(base: Any, robust: Any, w: Any, rec: Any) -> Any:
    """S_final = (1 - w) S_base + w S_robust + S_rec, [n] (section 3.5, third equation)."""
    return (1 - w) * base + w * robust + rec


def blending_weight(c: Any, r: Any, eta: Sequence[float] = DEFAULTS.eta) -> Any:
    """w = σ(η1 C - η2 R), [n] in (0, 1) (section 3.5, fourth equation)."""
    return 0.5 * (1 + np.tanh(0.5 * (eta[0] * np.asarray(c) - eta[1] * np.asarray(r))))  # σ without overflow


def recovery_score(q95: Any, base: Any, delta: float = DEFAULTS.delta) -> Any:
    """S_rec = δ max(0, Q95 - S_base), [n] (section 3.5, fifth equation). It is 0 where K is below 5 % of the pixels."""
    return delta * np.maximum(0, np.asarray(q95) - np.asarray(base))


def normalise_statistic(values: Any, reference: Any = None) -> Any:
    """The ~ of section 3.6: min-max over ``reference``, by default the test set; [n] in [0, 1]; constant: 0 (ours)."""
    values = np.asarray(values, dtype=np.float64)
    reference = values if reference is None else np.asarray(reference, dtype=np.float64)
    span = reference.max() - reference.min() if reference.size else 0.0
    return np.clip((values - reference.min()) / span, 0, 1) if span > 0 else np.zeros_like(values)


def reliability(base_n: Any, q95_n: Any) -> Any:
    """R = 1 - |S̃_base - Q̃95|, [n] (section 3.6, first equation)."""
    return 1 - np.abs(base_n - q95_n)


def conflict(base_n: Any, robust_n: Any) -> Any:
    """C = |S̃_base - S̃_robust|, [n] (section 3.6, second equation)."""
    return np.abs(base_n - robust_n)


# ---------------------------------------------------------------- the score of a test set


def modulate(decision: Any, sample: Any, parameters: Any = DEFAULTS) -> Tuple[Any, Any]:
    """(M_pix, M_dis) of a sample; M_fusion is the released pixel map ``decision`` [H, W] (ours), or the bank's map."""
    m_dis = disagreement_map(sample.rgb, sample.xyz)
    m_fusion = sample.bank if parameters.map_source == "bank" else decision
    return modulated_map(m_fusion, m_dis, parameters.lam), m_dis


def final_terms(base: Any, q95: Any, robust: Any, parameters: Any = DEFAULTS, reference: Any = None) -> Any:
    """Terms of a test set; ``reference``: the base, q95 and robust that normalise, by default those of the test set."""
    ref = (base, q95, robust) if reference is None else reference
    base_n, q95_n, robust_n = map(normalise_statistic, (base, q95, robust), ref)
    r, c = reliability(base_n, q95_n), conflict(base_n, robust_n)
    w, rec = blending_weight(c, r, parameters.eta), recovery_score(q95, base, parameters.delta)
    if parameters.recovery == "normalized":  # (ours) the same of normalised statistics, in the units of S_base
        rec = parameters.delta * r * np.maximum(0, q95_n - base_n) * (np.ptp(ref[0]) if np.size(ref[0]) else 0.0)
    return Terms(base, robust, base_n, robust_n, q95_n, r, c, w, rec, final_score(base, robust, w, rec))


def score_test_set(decisions: Any, samples: Any, parameters: Any = DEFAULTS) -> Tuple[Any, List[Any]]:
    """S_final [n] and n maps M_pix [H, W], from n released pixel maps [H, W] and n SampleMaps."""
    pairs = [modulate(decision, sample, parameters) for decision, sample in zip(decisions, samples)]
    rows = [[base_score(p, parameters.topk), np.quantile(p, 0.95), np.mean(p), np.mean(d)] for p, d in pairs]
    base, q95, mean, mean_dis = np.array(rows).T
    robust = robust_score(q95, mean, mean_dis, parameters.weights)
    return final_terms(base, q95, robust, parameters).final, [m_pix for m_pix, _ in pairs]


# ---------------------------------------------------------------- the hooks


def add_arguments(parser: Any) -> None:
    """Hook 1, before the command line is parsed: add the options to an ``argparse`` parser."""
    text = "baseline: as released; disagreement: Xu et al. 2026 (default: baseline)"
    parser.add_argument("--scoring", choices=("baseline", "disagreement"), default="baseline", help=text)
    add_parameters(parser)
    parser.add_argument("--scoring_reference", choices=("test",), default="test", help="whose statistics normalise")


def _number(kind: Callable[[str], Any], low: float = -1e300) -> Callable[[str], Any]:
    def number(text: str) -> Any:
        if not low <= kind(text) <= 1e300:  # nan too; argparse says which option has an "invalid number value"
            raise ValueError
        return kind(text)

    return number


OPTIONS = (  # of the parameters, in their order: name, type or None, names of the values or choices, help
    ("lambda", _number(float, 0), "L", "strength of the disagreement modulation"),
    ("topk", _number(int, 1), "K", "number of largest pixels averaged in S_base"),
    ("weights", _number(float), "ALPHA BETA GAMMA", "weights of Q95, mean and mean disagreement in S_robust"),
    ("eta", _number(float), "ETA1 ETA2", "scales of conflict and reliability in the blending weight"),
    ("delta", _number(float, 0), "D", "strength of the recovery term, 0 whenever K is below 5%% of the pixels"),
    ("map", None, "decision bank", "M_fusion: the decision map (ours), or the fusion bank's own map"),
    ("recovery", None, "printed normalized", "the recovery term as printed, or (ours) of normalised statistics"),
)


def add_parameters(parser: Any) -> None:
    """Add the options of :func:`parameters_from` to an ``argparse`` parser or group."""
    for (flag, kind, words, text), default in zip(OPTIONS, DEFAULTS):
        names, several = tuple(words.split()), isinstance(default, tuple)
        form: Dict[str, Any] = {"nargs": len(names), "default": list(default)} if several else {"default": default}
        form.update({"type": kind, "metavar": names if several else words} if kind else {"choices": names})
        parser.add_argument("--scoring_" + flag, help=text + " (default: %(default)s)", **form)


def parameters_from(args: Any) -> Any:
    """Parameters from parsed options."""
    values = [getattr(args, "scoring_" + flag) for flag, *_ in OPTIONS]
    return Parameters(*(tuple(value) if isinstance(value, list) else value for value in values))


def check(runner: Any, *names: str) -> None:
    """Hook 2, where a runner has built its methods, and, with its names, where a round of test samples begins. Exits
    with code 2 if one of the methods cannot have the scoring that was asked for."""
    values = [of for value in vars(runner).values() for of in (value.values() if isinstance(value, dict) else [value])]
    methods = [value for value in values if hasattr(value, "calculate_metrics")]
    if not any(_asked(value) for value in [runner, *methods]):
        return
    why = "" if methods else "{} has built no method".format(type(runner).__name__)
    for method in methods:
        recorded, name = _source(type(method), "record"), type(method).__name__
        if not (recorded and _source(type(method), "apply")):
            why = "the maps of {} are not recorded, no line of patches/apply.py is in it".format(name)
        elif not _asked(method):
            why = "{} does not keep the options in self.args".format(name)
        elif _asked(method)["scoring_map"] == "bank" and ", None)" in recorded:
            why = "--scoring_map bank needs a fusion bank, {} has none".format(name)
        vars(method).update(scoring_samples=[], scoring_done=len(method.predictions), scoring_round=" ".join(names))
    if why:
        sys.stderr.write("error: --scoring disagreement: {}\n".format(why))
        sys.exit(2)


def record(method: Any, map_rgb: Any, map_xyz: Any, map_fusion: Any = None) -> None:
    """Hook 3, where a test sample's maps are known: keep copies, [H, W] or [1, H, W] arrays or tensors, or None."""
    if _asked(method):
        maps = [np.array(m.detach().cpu() if hasattr(m, "detach") else m) for m in (map_rgb, map_xyz, map_fusion)]
        sample = SampleMaps(*(m.reshape(m.shape[-2:]) if m.ndim else None for m in maps))
        vars(method).setdefault("scoring_samples", []).append(sample)


def apply(method: Any, *args: Any, **kwargs: Any) -> None:
    """Hook 4, at the start of ``calculate_metrics`` and with its arguments: score what was recorded since the last.

    Replaces the ``image_preds``, ``predictions`` and ``pixel_preds`` of these samples, and adds both rows to
    ``results/scoring.md``. ValueError if there are test samples whose maps were not recorded.
    """
    of, options = vars(method), _asked(method)
    if not options or of.get("scoring_busy"):
        return
    samples, start, count = of.pop("scoring_samples", []), of.get("scoring_done", 0), len(method.predictions)
    start = 0 if count == len(samples) else start  # the checkout may have emptied its lists
    if not count - start == len(samples) == len(method.image_preds) - start:
        raise ValueError("{} new test samples, but {} with recorded maps".format(count - start, len(samples)))
    if samples:
        before = _metrics(method, args, kwargs)
        parameters = parameters_from(argparse.Namespace(**options))
        scores, maps = score_test_set(method.predictions[start:], samples, parameters)
        method.image_preds = [*method.image_preds[:start], *(np.array([score]) for score in scores)]
        method.predictions = [*method.predictions[:start], *maps]
        if hasattr(method, "pixel_preds"):
            pixels = np.ravel(maps).tolist()
            method.pixel_preds = [*method.pixel_preds[: len(method.pixel_preds) - len(pixels)], *pixels]
        method.scoring_done = count
        _write(of.get("scoring_round", ""), before, _metrics(method, args, kwargs))


def _asked(owner: Any) -> Dict[str, Any]:
    """The options that an object keeps in ``args``, if they ask for a scoring; else {}."""
    args = getattr(owner, "args", None)
    options = args if isinstance(args, dict) else getattr(args, "__dict__", {})
    return options if options.get("scoring", "baseline") != "baseline" else {}


def _source(cls: Any, hook: str) -> str:
    """Source of the function with a hook's inserted call that objects of ``cls`` run; "" if there is none."""
    for name in {name for base in cls.__mro__ for name in vars(base)}:
        for function in (inspect.unwrap(vars(base)[name]) for base in cls.__mro__ if name in vars(base)):
            used = getattr(getattr(function, "__code__", None), "co_names", ())
            if "scoring_addon" in used and hook in used:
                return inspect.getsource(function)
            if not ("super" in used and name in used):
                break  # it hides those of the bases
    return ""


def _metrics(method: Any, args: Any, kwargs: Any) -> List[float]:
    """The metrics that the checkout computes of the method's present lists; the method stays as it is."""
    kept = {key: copy(value) if isinstance(value, (list, dict, set)) else value for key, value in vars(method).items()}
    vars(method).update(scoring_busy=True, predictions=[np.array(m) for m in method.predictions])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            method.calculate_metrics(*args, **kwargs)
        return [round(float(getattr(method, name, "nan")), 3) for name in METRICS]
    finally:
        vars(method).clear()
        vars(method).update(kept)


def _write(name: str, before: List[float], after: List[float]) -> None:
    """Add a table of both rows to ``results/scoring.md``."""
    text = "\n## {}, run of {} ({})\n\n".format(name, RUN, os.getpid())
    rows = [("baseline", before, "%.3f"), ("disagreement", after, "%.3f")]
    rows += [("difference", [b - a for a, b in zip(before, after)], "%+.3f")]
    text += "| Method | {} |\n|:---|---:|---:|---:|\n".format(" | ".join(METRICS.values()))
    text += "".join("| {} | {} |\n".format(row, " | ".join(form % value for value in of)) for row, of, form in rows)
    os.makedirs("results", exist_ok=True)
    with open(os.path.join("results", "scoring.md"), "a", encoding="utf-8") as file:
        file.write(text)
