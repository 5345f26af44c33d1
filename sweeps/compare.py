"""Statistics of a sweep's finished jobs: means over seeds, paired differences, Holm's correction.

Two kinds of chance are kept apart. Chance of the training (seeds): mean, standard deviation, and Student's interval of
the mean. Chance of the test parts, for the mean over the given seeds: DeLong's test for image ROCAUC, bootstrap for the
pixel metrics. Categories have different parts, so their errors are independent, and their mean has an error as well.
"""

import math
import zlib
from typing import NamedTuple, Optional

import numpy as np
from scipy import stats

from scoring.significance import LEVEL, METRICS, delong_test, resample_weights

IMAGE = METRICS[0]
RESAMPLES = 1000
MEAN = "Mean"
BY_SCORING, BY_SETTING = "scoring", "setting"  # compared with the setting's baseline; with the first setting


class Row(NamedTuple):
    """A row of the tables: a setting of the grid and a scoring."""

    setting: tuple
    scoring: str


class Measured(NamedTuple):
    """The results of one row, category and seed. Test parts are sorted by path.

    Attributes:
        metrics: {metric: value, None if undefined}.
        paths: n texts.
        label: [n] 0/1.
        scores: [n] image scores.
        resampled: {metric: [1 + RESAMPLES] values, the full set's first}, for the metrics that were resampled.
        lacks: why pixel metrics were not resampled; "" if they were.
    """

    metrics: dict
    paths: tuple
    label: np.ndarray
    scores: np.ndarray
    resampled: dict
    lacks: str


class Mean(NamedTuple):
    """Mean over seeds: their number, mean, standard deviation and Student's 95 % interval of the mean (None for a
    single seed), 95 % bootstrap interval over the test parts (None if unknown)."""

    seeds: int
    mean: float
    sd: Optional[float] = None
    low: Optional[float] = None
    high: Optional[float] = None
    parts_low: Optional[float] = None
    parts_high: Optional[float] = None


class Difference(NamedTuple):
    """Row minus reference, for one category or the mean over categories; both have the same seeds and test parts.

    Attributes:
        family: BY_SCORING or BY_SETTING.
        categories, seeds, parts: numbers that the difference is made from; ``seeds`` is the smallest of a category.
        value, low, high: the difference and its 95 % interval over test parts.
        p, holm: the p value, and the p value corrected over the rows of one family, metric and category.
        test: "DeLong" or "bootstrap"; "" if neither was possible, then ``note`` says why.
    """

    family: str
    row: Row
    reference: Row
    metric: str
    category: str
    categories: int
    seeds: int
    parts: int
    value: float
    low: Optional[float] = None
    high: Optional[float] = None
    p: Optional[float] = None
    holm: Optional[float] = None
    test: str = ""
    note: str = ""


def part_weights(category, label, resamples=RESAMPLES):
    """[1 + resamples, n]: how often each resample contains each test part (sorted by path) of a category. The first row
    is the full set, all 1. The draws are the same for every job of the category."""
    label = np.asarray(label) != 0
    drawn = resample_weights(label, resamples, zlib.crc32(category.encode("utf-8", "surrogateescape")))
    return np.vstack([np.ones(len(label)), drawn])


def over_seeds(values, resampled=()):
    """The Mean of values [s]; ``resampled``: s arrays [1 + RESAMPLES], for the interval over test parts."""
    values = np.asarray(values, dtype=float)
    n, mean = len(values), float(values.mean())
    parts = _interval(np.mean(resampled, axis=0)) if len(resampled) == n else (None, None)
    if n < 2:
        return Mean(n, mean, None, None, None, *parts)
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n)
    return Mean(n, mean, sd, mean - half, mean + half, *parts)


def means(measured, metric, planned):
    """Means over seeds of one row.

    Args:
        measured: {category: {seed: Measured}}.
        planned: {category: seeds that the sweep has}; a category is complete if it has a value for all of them.

    Returns:
        ({category: Mean, MEAN: Mean over the complete categories}, [complete categories]). A category without a value
        is absent; MEAN is absent if the complete categories have different seeds.
    """
    out, complete = {}, []
    for category, of_seed in measured.items():
        known = {seed: m for seed, m in of_seed.items() if m.metrics.get(metric) is not None}
        if known:
            arrays = [m.resampled[metric] for m in known.values() if metric in m.resampled]
            out[category] = over_seeds([m.metrics[metric] for m in known.values()], arrays)
            if set(known) == set(planned.get(category, known)):
                complete.append(category)
    seeds = [set(measured[category]) for category in complete]
    if complete and all(of == seeds[0] for of in seeds):
        found = [[measured[c][seed] for c in complete] for seed in sorted(seeds[0])]
        arrays = [
            np.mean([m.resampled[metric] for m in row], axis=0)
            for row in found
            if all(metric in m.resampled for m in row)
        ]
        out[MEAN] = over_seeds([np.mean([m.metrics[metric] for m in row]) for row in found], arrays)
    return out, complete


def references(rows):
    """[(family, row, reference)] of the comparisons: every scoring with the baseline of its setting, and every setting
    with the grid's first setting under the same scoring."""
    rows, found = list(rows), []
    first = rows[0].setting if rows else None
    for row in rows:
        if row.scoring != "baseline" and Row(row.setting, "baseline") in rows:
            found.append((BY_SCORING, row, Row(row.setting, "baseline")))
    for row in rows:
        if row.setting != first and Row(first, row.scoring) in rows:
            found.append((BY_SETTING, row, Row(first, row.scoring)))
    return found


def differences(table, metric):
    """[Difference] of all comparisons, with Holm's correction.

    Args:
        table: {Row: {category: {seed: Measured}}}.
    """
    found = []
    for family, row, reference in references(table):
        parts = []
        for category in table[row]:
            one = _difference(table[row][category], table[reference].get(category, {}), metric)
            if one is not None:
                parts.append((category, *one))
        for category, of, spread in parts:
            found.append(Difference(family, row, reference, metric, category, **of))
        tested = [(of, spread) for _, of, spread in parts if spread is not None]
        if tested and len(parts) > 1:
            left_out = len(parts) - len(tested)
            note = f"without {left_out} categories that could not be tested" if left_out else ""
            found.append(Difference(family, row, reference, metric, MEAN, **_mean_difference(tested, metric, note)))
    return _corrected(found)


def _difference(ones, others, metric):
    """(fields of a Difference, its error) for one category; None if the rows share no seed. The error is DeLong's
    standard error or the resampled differences; None if no test was possible."""
    seeds = [
        seed
        for seed in sorted(set(ones) & set(others))
        if None not in (ones[seed].metrics.get(metric), others[seed].metrics.get(metric))
    ]
    if not seeds:
        return None
    a, b = [ones[seed] for seed in seeds], [others[seed] for seed in seeds]
    value = float(np.mean([m.metrics[metric] for m in a]) - np.mean([m.metrics[metric] for m in b]))
    of = {"categories": 1, "seeds": len(seeds), "parts": len(a[0].paths), "value": value}
    if len({(m.paths, m.label.tobytes()) for m in a + b}) > 1:
        return {**of, "note": "the jobs' test parts differ"}, None
    if metric == IMAGE:
        tested = delong_test(a[0].label, [m.scores for m in a], [m.scores for m in b])
        if tested is None:
            return {**of, "note": "fewer than two good or two defective test parts"}, None
        return {**of, **_normal(value, tested[1]), "test": "DeLong"}, tested[1]
    lacking = next((m.lacks for m in a + b if metric not in m.resampled), None)
    if lacking is not None:
        return {**of, "note": lacking}, None
    spread = np.mean([x.resampled[metric] - y.resampled[metric] for x, y in zip(a, b)], axis=0)
    return {**of, **_bootstrapped(spread), "test": "bootstrap"}, spread


def _mean_difference(tested, metric, note):
    of = {
        "categories": len(tested),
        "seeds": min(of["seeds"] for of, _ in tested),
        "parts": sum(of["parts"] for of, _ in tested),
        "value": float(np.mean([of["value"] for of, _ in tested])),
        "note": note,
    }
    if metric == IMAGE:
        error = math.sqrt(sum(error**2 for _, error in tested)) / len(tested)
        return {**of, **_normal(of["value"], error), "test": "DeLong"}
    return {**of, **_bootstrapped(np.mean([spread for _, spread in tested], axis=0)), "test": "bootstrap"}


def _normal(value, error):
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * error
    p = float(abs(value) < 1e-12) if error == 0 else float(2 * stats.norm.sf(abs(value) / error))
    return {"low": value - half, "high": value + half, "p": p}


def _bootstrapped(spread):
    """Percentile interval and two-sided p of differences [1 + r], the full set's first; p is at least 2 / (r + 1)."""
    drawn = spread[1:][~np.isnan(spread[1:])]
    low, high = _interval(spread)
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return {"low": low, "high": high, "p": min(1.0, 2 * (1 + tail) / (1 + len(drawn)))}


def _interval(resampled):
    if np.isnan(resampled[0]):
        return None, None
    low, high = np.nanquantile(resampled[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _corrected(found):
    groups = {}
    for number, one in enumerate(found):
        groups.setdefault((one.family, one.metric, one.category), []).append(number)
    found = list(found)
    for numbers in groups.values():
        tested = [number for number in numbers if found[number].p is not None]
        for number, p in zip(tested, holm([found[number].p for number in tested])):
            found[number] = found[number]._replace(holm=p)
    return found


def holm(p_values):
    """Holm's adjusted p values (Scandinavian Journal of Statistics 6, 1979), in the given order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - rank)))
        adjusted[number] = largest
    return adjusted
