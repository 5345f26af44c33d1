"""Pass or fail at a promised rate of false alarms: p-values, thresholds, the promise, and the rates that were found.

A part's score is compared with the scores s_1 … s_n of normal calibration parts that are in no bank (split conformal
prediction: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; as a test for outliers: Bates et
al., Annals of Statistics 51, 2023):

    p = (1 + #{i : s_i >= s}) / (n + 1)        fail if p <= alpha

If the new part is exchangeable with the calibration parts, a good part fails with probability at most alpha, over the
draw of the calibration parts and of the new part. Ties raise p, so this holds with ties too. With k = floor(alpha (n +
1)), p <= alpha holds exactly if s is above the k-th largest calibration score. So a threshold can be used instead: for
scores, and, with the largest values of the calibration parts' maps, for pixels.

scipy is imported only when an interval is asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tabulate import tabulate

from common.errors import InputError
from inspection.model_file import Meta

PASS, FAIL, CANNOT_JUDGE = "pass", "fail", "cannot judge"
VERDICTS = (PASS, FAIL, CANNOT_JUDGE)
CONFIDENCE = 0.95


class Decision(NamedTuple):
    """The judgement of a score; a part fails above the threshold."""

    verdict: str
    p_value: float
    score: float
    threshold: float


class Rate(NamedTuple):
    """A share with its Clopper-Pearson interval; value, low, high and upper are None if nothing was counted."""

    events: int
    of: int
    value: float | None
    low: float | None  # low, high: two-sided interval
    high: float | None
    upper: float | None  # one-sided bound: the rate lies below it with the same confidence


class Outcome(NamedTuple):
    """Counts and rates of verdicts on parts that are known to be good or defective."""

    counts: dict[str, dict[str, int]]  # {"good" or "defective": {verdict: number}}
    false_reject: Rate  # share that failed, of the good parts that were judged
    escape: Rate  # share that passed, of the defective parts that were judged
    unjudged_good: Rate  # share of the good parts that could not be judged
    unjudged_defective: Rate  # share of the defective parts that could not be judged


def exact_rate(alpha: float | Fraction) -> Fraction:
    """``alpha`` as the exact Fraction of its decimal form: then 0.29 · 100 is 29, which floats miss. InputError where
    it is not between 0 and 1."""
    if not 0 < alpha < 1:
        raise InputError(f"a false-alarm rate of {alpha} makes no sense; give one between 0 and 1, as 0.05")
    return alpha if isinstance(alpha, Fraction) else Fraction(repr(float(alpha)))


def parts_needed(alpha: float | Fraction) -> int:
    """The smallest number n of calibration parts that can promise the rate ``alpha``: n >= 1/alpha - 1."""
    return max(1, math.ceil(1 / exact_rate(alpha) - 1))


def rank(parts: int, alpha: float | Fraction) -> int:
    """k = floor(alpha (n + 1)): a part fails above the k-th largest of n calibration scores. InputError where n parts
    are too few; it says how many are needed, and which rate n parts can promise."""
    k = math.floor(exact_rate(alpha) * (parts + 1))
    if k < 1:
        there = "there are none"
        if parts:
            there = f"there are {parts}; calibrate with more, or ask for a rate of {lowest_rate(parts)} or more"
        needed = f"{parts_needed(alpha)} calibration parts"
        raise InputError(f"a false-alarm rate of {percent(alpha)} needs at least {needed}, {there}")
    return k


def lowest_rate(parts: int) -> float:
    """The lowest rate that ``parts`` calibration parts can promise, 1/(n + 1), rounded up to 5 decimals."""
    return math.ceil(Fraction(10**5, parts + 1)) / 10**5


def bound(parts: int, alpha: float) -> float:
    """What the rate of false alarms with the calibration parts at hand is at most, with CONFIDENCE. Over draws of the
    calibration parts, it has the distribution Beta(k, n + 1 - k), k the :func:`rank`, if scores are continuous; with
    ties it is at most that."""
    from scipy.special import betaincinv  # scipy.stats, which has the same, takes 0.7 s to import

    k = rank(parts, alpha)
    return float(betaincinv(k, parts + 1 - k, CONFIDENCE))


def promise_text(parts: int, alpha: float) -> str:
    """One sentence that states the promise of calibration parts; refuses as :func:`rank` does."""
    return (
        f"at most {percent(alpha)} of good parts fail, on average over all sets of {parts} calibration "
        f"parts; with the set at hand at most {percent(bound(parts, alpha))}, with {percent(CONFIDENCE)} confidence"
    )


def percent(share: float | Fraction) -> str:
    """A share as people write it: 0.05 → "5 %", 0.0333 → "3.33 %"."""
    return f"{100 * float(share):.3g} %"


def needs_clouds(meta: Meta) -> bool:
    """Whether parts to be judged need a cloud: the method reads clouds, or its training parts had some."""
    fitted, ranges = meta["fitted"], meta.get("scan")  # version 0.9 kept the ranges of the training scans
    had = meta.get("clouds", ranges is not None and "missing" in ranges["names"])
    return had or fitted.get("placement") is not None or set(fitted["banks"]) != {"rgb"}


def check_rate(path: Path, meta: Meta, false_alarm: float, scoring: str | None = None) -> str:
    """The name of the scoring that decides: the one asked for, else the model's first. InputError where there are too
    few calibration parts for ``false_alarm``, or the model does not have the scoring."""
    names: list[str] = meta["scoring"]["names"]
    if scoring is not None and scoring not in names:
        raise InputError(f"{path}: does not know the scoring {scoring}; it knows: {', '.join(names)}")
    try:
        rank(meta["calibration"]["parts"], false_alarm)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return scoring or names[0]


def promise_of(meta: Meta, false_alarm: float) -> str:
    """A sentence on what the model guarantees at the rate ``false_alarm``, which :func:`check_rate` has accepted."""
    calibration = meta["calibration"]
    if calibration["promised"]:
        return promise_text(calibration["parts"], false_alarm)
    return (
        f"no guarantee, only an estimate: there are no calibration parts, so the {calibration['parts']} training parts "
        f"stand in for them, each measured without its own rows; about {percent(false_alarm)} of good parts fail if "
        "they are as unlike the banks as these. tools/recalibrate.py gives the model calibration parts, and with them "
        "a promise"
    )


def p_values(calibration: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """p-values of scores of any shape, larger = more abnormal; ``calibration``: [n] scores of the calibration parts.
    InputError where there are none, or a value is not finite."""
    known, new = np.sort(_finite(calibration, "calibration scores").ravel()), _finite(scores, "scores")
    if not len(known):
        raise InputError("there are no calibration scores")
    found: NDArray[np.float64] = (1 + len(known) - np.searchsorted(known, new, side="left")) / (len(known) + 1)
    return found


def threshold(calibration: ArrayLike, alpha: float | Fraction) -> float:
    """The k-th largest of calibration values [n]: of scores, that of a part; of the largest values of the calibration
    parts' maps, that of a pixel: at most a share ``alpha`` of good parts has any pixel above it. InputError where there
    are too few values (:func:`rank`), or one is not finite."""
    known = np.sort(_finite(calibration, "calibration values").ravel())
    return float(known[-rank(len(known), alpha)])


def decide(calibration: ArrayLike, score: float, alpha: float | Fraction) -> Decision:
    """The :class:`Decision` on one score, given calibration scores [n]; refuses as :func:`p_values` and
    :func:`threshold` do."""
    limit, p = threshold(calibration, alpha), float(p_values(calibration, float(score)))
    return Decision(FAIL if p <= alpha else PASS, p, float(score), limit)


def check_calibration(bank_parts: Mapping[str, str], calibration_parts: Sequence[tuple[str, str]]) -> None:
    """Refuse calibration parts, (name, fingerprint) each, that are in a bank, {fingerprint: name}, since their scores
    say nothing about new parts, or there twice."""
    known = [(name, bank_parts[mark]) for name, mark in calibration_parts if mark in bank_parts]
    if known:
        name, inside = known[0]
        same = "" if name == inside else f" (as {inside})"
        count = f"{len(known)} of the {len(calibration_parts)} calibration parts are"
        mend = "a part in the banks cannot calibrate, take it out of one of the two"
        raise InputError(f"{name}: is a training part{same}, {count}; {mend}")
    seen: dict[str, str] = {}
    for name, mark in calibration_parts:
        if mark in seen:
            text = f"is the same part as {seen[mark]}, which calibrates already: a part counts once"
            raise InputError(f"{name}: {text}; remove one of them")
        seen[mark] = name


def _finite(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    broken = np.count_nonzero(~np.isfinite(array))
    if broken:
        raise InputError(f"{broken} of {array.size} {name} are not finite")
    return array


def rate(events: int, of: int) -> Rate:
    """The :class:`Rate` with the exact interval of Clopper and Pearson (Biometrika 26, 1934)."""
    if not of:
        return Rate(events, of, None, None, None, None)
    from scipy.stats import binomtest

    interval = binomtest(events, of).proportion_ci(CONFIDENCE, "exact")
    upper = binomtest(events, of, alternative="less").proportion_ci(CONFIDENCE, "exact").high
    return Rate(events, of, events / of, float(interval.low), float(interval.high), float(upper))


def outcome(verdicts: Sequence[str], defective: Iterable[Any]) -> Outcome:
    """The :class:`Outcome` of verdicts [n] on n parts; ``defective`` [n]: truth values."""
    pairs = [(verdict, bool(bad)) for verdict, bad in zip(verdicts, defective, strict=True)]
    good, bad = ({name: pairs.count((name, kind)) for name in VERDICTS} for kind in (False, True))
    return Outcome(
        {"good": good, "defective": bad},
        rate(good[FAIL], good[PASS] + good[FAIL]),
        rate(bad[PASS], bad[PASS] + bad[FAIL]),
        rate(good[CANNOT_JUDGE], sum(good.values())),
        rate(bad[CANNOT_JUDGE], sum(bad.values())),
    )


def outcome_text(found: Outcome) -> str:
    """Markdown of an :class:`Outcome`: the confusion table and the rates with intervals."""
    confusion = [[name, *row.values(), sum(row.values())] for name, row in found.counts.items()]
    rows = []
    for name, r in (
        ("false rejects, of the good parts that were judged", found.false_reject),
        ("escapes, of the defective parts that were judged", found.escape),
        ("not judged, of the good parts", found.unjudged_good),
        ("not judged, of the defective parts", found.unjudged_defective),
    ):
        cells = ["-"] * 3
        if r.value is not None and r.low is not None and r.high is not None and r.upper is not None:
            cells = [percent(r.value), f"{percent(r.low)} to {percent(r.high)}", f"below {percent(r.upper)}"]
        rows.append([name, f"{r.events} of {r.of}", *cells])
    titles = ["rate", "parts", "share", f"{CONFIDENCE:.0%} interval", f"with {CONFIDENCE:.0%} confidence"]
    counts = tabulate(confusion, ["part", *VERDICTS, "all"], tablefmt="pipe")
    return f"{counts}\n\n{tabulate(rows, titles, tablefmt='pipe', disable_numparse=True)}\n"
