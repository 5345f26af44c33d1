"""Statistics of a sweep's finished jobs: means over seeds, paired differences, Holm's correction.

Two kinds of chance are kept apart. Chance of the training (seeds): mean, standard deviation, and Student's interval of
the mean. Chance of the test parts, for the mean over the given seeds: DeLong's test for image ROCAUC, bootstrap for the
pixel metrics. Categories have different parts, so their errors are independent, and their mean has an error as well.
"""

import math
import zlib
from typing import NamedTuple

import numpy as np
from scipy import stats

from scoring.significance import LEVEL, METRICS, delong_test, resample_weights

IMAGE = METRICS[0]
RESAMPLES = 1000
MEAN = "Mean"
BY_SCORING, BY_SETTING = "scoring", "setting"  # compared with the setting's baseline; with the first setting


class SweepRow(NamedTuple):
    """A row of the tables: a setting of the grid and a scoring."""

    setting: tuple
    scoring: str


class JobScores(NamedTuple):
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


class SeedMean(NamedTuple):
    """Mean over seeds: their number, mean, standard deviation and Student's 95 % interval of the mean (None for a
    single seed), 95 % bootstrap interval over the test parts (None if unknown)."""

    seeds: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    parts_low: float | None = None
    parts_high: float | None = None


class SweepDifference(NamedTuple):
    """Row minus reference, for one category or the mean over categories; both have the same seeds and test parts.

    Attributes:
        family: BY_SCORING or BY_SETTING.
        categories, seeds, parts: numbers that the difference is made from; ``seeds`` is the smallest of a category.
        value, low, high: the difference and its 95 % interval over test parts.
        p, holm: the p value, and the p value corrected over the rows of one family, metric and category.
        test: "DeLong" or "bootstrap"; "" if neither was possible, then ``note`` says why.
    """

    family: str
    row: SweepRow
    reference: SweepRow
    metric: str
    category: str
    categories: int
    seeds: int
    parts: int
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    holm: float | None = None
    test: str = ""
    note: str = ""


def part_weights(category, label, resamples=RESAMPLES):
    """[1 + resamples, n]: how often each resample contains each test part (sorted by path) of a category. The first row
    is the full set, all 1. The draws are the same for every job of the category."""
    label = np.asarray(label) != 0
    drawn = resample_weights(label, resamples, zlib.crc32(category.encode("utf-8", "surrogateescape")))
    return np.vstack([np.ones(len(label)), drawn])


def over_seeds(values, resampled=()):
    """The SeedMean of values [s]; ``resampled``: s arrays [1 + RESAMPLES], for the interval over test parts."""
    values = np.asarray(values, dtype=float)
    n, mean = len(values), float(values.mean())
    parts = _interval(np.mean(resampled, axis=0)) if len(resampled) == n else (None, None)
    if n < 2:
        return SeedMean(n, mean, None, None, None, *parts)
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n)
    return SeedMean(n, mean, sd, mean - half, mean + half, *parts)


def means(found, metric, planned):
    """Means over seeds of one row.

    Args:
        found: {category: {seed: JobScores}}.
        planned: {category: seeds that the sweep has}; a category is complete if it has a value for all of them.

    Returns:
        ({category: SeedMean, MEAN: SeedMean over the complete categories}, [complete categories]). A category without
        a value is absent; MEAN is absent if the complete categories have different seeds.
    """
    out, complete = {}, []
    for category, of_seed in found.items():
        known = {seed: of for seed, of in of_seed.items() if of.metrics.get(metric) is not None}
        if known:
            arrays = [of.resampled[metric] for of in known.values() if metric in of.resampled]
            out[category] = over_seeds([of.metrics[metric] for of in known.values()], arrays)
            if set(known) == set(planned.get(category, known)):
                complete.append(category)
    seeds = [set(found[category]) for category in complete]
    if complete and all(of == seeds[0] for of in seeds):
        by_seed = [[found[category][seed] for category in complete] for seed in sorted(seeds[0])]
        resampled = [row for row in by_seed if all(metric in of.resampled for of in row)]
        arrays = [np.mean([of.resampled[metric] for of in row], axis=0) for row in resampled]
        out[MEAN] = over_seeds([np.mean([of.metrics[metric] for of in row]) for row in by_seed], arrays)
    return out, complete


def references(rows):
    """[(family, row, reference)] of the comparisons: every scoring with the baseline of its setting, and every setting
    with the grid's first setting under the same scoring."""
    rows = list(rows)
    pairs = [(BY_SCORING, row, SweepRow(row.setting, "baseline")) for row in rows]
    pairs += [(BY_SETTING, row, SweepRow(rows[0].setting, row.scoring)) for row in rows]
    return [(family, row, reference) for family, row, reference in pairs if row != reference and reference in rows]


def differences(table, metric):
    """[SweepDifference] of all comparisons, with Holm's correction.

    Args:
        table: {SweepRow: {category: {seed: JobScores}}}.
    """
    found = []
    for family, row, reference in references(table):
        parts = {}
        for category in table[row]:
            one = _difference(table[row][category], table[reference].get(category, {}), metric)
            if one is not None:
                parts[category] = one
        tested = [(of, spread) for of, spread in parts.values() if spread is not None]
        if tested and len(parts) > 1:
            parts[MEAN] = _mean_difference(tested, len(parts) - len(tested)), None
        found += [SweepDifference(family, row, reference, metric, c, **of) for c, (of, _) in parts.items()]
    return _corrected(found)


def _difference(ones, others, metric):
    """(fields of a SweepDifference, its spread: see :func:`_tested`) for one category; None if the rows share no
    seed. The spread is None if no test was possible."""
    seeds = [
        seed
        for seed in sorted(set(ones) & set(others))
        if None not in (ones[seed].metrics.get(metric), others[seed].metrics.get(metric))
    ]
    if not seeds:
        return None
    a, b = [ones[seed] for seed in seeds], [others[seed] for seed in seeds]
    value = float(np.mean([of.metrics[metric] for of in a]) - np.mean([of.metrics[metric] for of in b]))
    of = {"categories": 1, "seeds": len(seeds), "parts": len(a[0].paths), "value": value}
    if len({(job.paths, job.label.tobytes()) for job in a + b}) > 1:
        return {**of, "note": "the jobs' test parts differ"}, None
    if metric == IMAGE:
        tested = delong_test(a[0].label, [job.scores for job in a], [job.scores for job in b])
        if tested is None:
            return {**of, "note": "fewer than two good or two defective test parts"}, None
        spread = tested[1]
    else:
        lacking = next((job.lacks for job in a + b if metric not in job.resampled), None)
        if lacking is not None:
            return {**of, "note": lacking}, None
        spread = np.mean([x.resampled[metric] - y.resampled[metric] for x, y in zip(a, b)], axis=0)
    return {**of, **_tested(value, spread)}, spread


def _mean_difference(tested, left_out):
    fields, spreads = zip(*tested)
    value = float(np.mean([of["value"] for of in fields]))
    if isinstance(spreads[0], float):
        spread = math.sqrt(sum(error**2 for error in spreads)) / len(spreads)
    else:
        spread = np.mean(spreads, axis=0)
    return {
        "categories": len(tested),
        "seeds": min(of["seeds"] for of in fields),
        "parts": sum(of["parts"] for of in fields),
        "value": value,
        "note": f"without {left_out} categories that could not be tested" if left_out else "",
        **_tested(value, spread),
    }


def _tested(value, spread):
    """95 % interval, two-sided p and test of a difference.

    Args:
        spread: its standard error (DeLong), or its resamples [1 + r], the full set's first. Of resamples the interval
            is that of the percentiles, and p is at least 2 / (r + 1).
    """
    if isinstance(spread, float):
        half = float(stats.norm.ppf((1 + LEVEL) / 2)) * spread
        p = float(abs(value) < 1e-12) if spread == 0 else float(2 * stats.norm.sf(abs(value) / spread))
        return {"low": value - half, "high": value + half, "p": p, "test": "DeLong"}
    low, high = _interval(spread)
    drawn = spread[1:][~np.isnan(spread[1:])]
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return {"low": low, "high": high, "p": min(1.0, 2 * (1 + tail) / (1 + len(drawn))), "test": "bootstrap"}


def _interval(resampled):
    if np.isnan(resampled[0]):
        return None, None
    low, high = np.nanquantile(resampled[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def _corrected(found):
    groups = {}
    for number, one in enumerate(found):
        if one.p is not None:
            groups.setdefault((one.family, one.category), []).append(number)
    found = list(found)
    for numbers in groups.values():
        for number, p in zip(numbers, holm([found[number].p for number in numbers])):
            found[number] = found[number]._replace(holm=p)
    return found


def holm(p_values):
    """Holm's adjusted p values (Scandinavian Journal of Statistics 6, 1979), in the given order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[number] * (len(p_values) - rank)))
        adjusted[number] = largest
    return adjusted
