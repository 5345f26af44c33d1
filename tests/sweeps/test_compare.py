"""sweeps/compare.py against definitions and SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scoring.significance import delong_test, image_rocauc
from sweeps.compare import MEAN, RESAMPLES, JobScores, SweepRow, differences, holm, means, over_seeds, part_weights

A, B, A_MAX, B_MAX = (SweepRow((("shots", n),), s) for s in ("baseline", "pixel_max") for n in (1, 5))
SEEDS = (0, 1, 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values):
    """Marcus, Peritz and Gabriel: a hypothesis falls where every intersection that holds it does."""
    numbers = range(len(p_values))
    groups = [g for size in numbers for g in itertools.combinations(numbers, size + 1)]
    expected = [max(min(1.0, len(g) * min(p_values[i] for i in g)) for g in groups if n in g) for n in numbers]
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-15)


def test_over_seeds_is_students_interval():
    values = [0.7, 0.75, 0.9, 0.71]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    expected = [np.mean(values), np.std(values, ddof=1), *interval]
    np.testing.assert_allclose(over_seeds(values)[1:5], expected, rtol=1e-12)
    assert over_seeds([0.5]) == (1, 0.5, None, None, None, None, None)


def scores(seed, n=40, lift=1.0):
    rng = np.random.default_rng(seed)
    return np.arange(n) % 2, rng.normal(size=n) + lift * (np.arange(n) % 2)


def test_delong_of_several_trainings():
    """By the definition: covariances of all four AUCs' components, and the contrast of the means."""
    (label, a), (_, b), (_, c), (_, d) = (scores(seed) for seed in range(4))
    kernel = [np.subtract.outer(s[label == 1], s[label == 0]) for s in (a, c, b, d)]
    wins = [(k > 0) + (k == 0) / 2 for k in kernel]
    contrast = np.array([0.5, 0.5, -0.5, -0.5])
    covariance = sum(np.cov([w.mean(axis) for w in wins]) / w.shape[1 - axis] for axis in (1, 0) for w in wins[:1])
    difference, error, _ = delong_test(label, [a, c], [b, d])
    assert difference == pytest.approx(contrast @ [w.mean() for w in wins], abs=1e-12)
    assert error == pytest.approx(np.sqrt(contrast @ covariance @ contrast), rel=1e-9)


def scored(category, seed, lift, pixels=True, n=40, paths=None):
    label, values = scores(seed + 100 * len(category), n, lift)
    resampled = {"image_rocauc": image_rocauc(label != 0, values, part_weights(category, label))}
    au_pro = np.random.default_rng(seed).normal(0.5 + 0.1 * lift, 0.01, RESAMPLES + 1)
    resampled.update({"au_pro": au_pro} if pixels else {})
    metrics = {"image_rocauc": resampled["image_rocauc"][0], "pixel_rocauc": None, "au_pro": float(au_pro[0])}
    return JobScores(metrics, paths or tuple(map(str, range(n))), label, values, resampled, "" if pixels else "no maps")


def table(**options):
    lifts = {A: 0.5, B: 0.6, A_MAX: 2.0, B_MAX: 2.2}
    return {
        row: {c: {seed: scored(c, seed, lift, **options) for seed in SEEDS} for c in ("one", "three")}
        for row, lift in lifts.items()
    }


def test_differences_of_image_scores():
    full = table()
    found = {(d.row, d.reference, d.category): d for d in differences(full, "image_rocauc")}
    assert set(found) == {
        (*pair, c) for pair in ((A_MAX, A), (B_MAX, B), (B, A), (B_MAX, A_MAX)) for c in ("one", "three", MEAN)
    }
    expected = {}
    for category in ("one", "three"):
        a, b = ([full[row][category][seed].scores for seed in SEEDS] for row in (A_MAX, A))
        value, error, p = expected[category] = delong_test(full[A][category][0].label, a, b)
        d, other = found[A_MAX, A, category], found[B_MAX, B, category]
        assert (d.value, d.p, d.test) == (pytest.approx(value, abs=1e-12), pytest.approx(p), "DeLong")
        assert (d.high - d.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6) and d.parts == 40 and d.seeds == 3
        assert [d.holm, other.holm] == pytest.approx(holm([d.p, other.p]))
    mean, (values, errors, _) = found[A_MAX, A, MEAN], zip(*expected.values())
    assert mean.value == pytest.approx(np.mean(values)) and mean.categories == 2 and mean.parts == 80
    assert (mean.high - mean.low) / 2 == pytest.approx(1.959964 * np.hypot(*errors) / 2, rel=1e-6)


def test_differences_of_pixel_metrics():
    full = table()
    d = next(d for d in differences(full, "au_pro") if (d.row, d.reference, d.category) == (B, A, "one"))
    spread = np.mean([full[B]["one"][s].resampled["au_pro"] - full[A]["one"][s].resampled["au_pro"] for s in SEEDS], 0)
    assert d.test == "bootstrap" and d.value == pytest.approx(spread[0])
    assert (d.low, d.high) == tuple(np.quantile(spread[1:], (0.025, 0.975)))
    assert d.p == min(1, 2 * (1 + min((spread[1:] <= 0).sum(), (spread[1:] >= 0).sum())) / 1001)
    same = {A: full[A], B: full[A]}
    assert all(d.p == 1 and d.value == 0 for metric in ("au_pro", "image_rocauc") for d in differences(same, metric))
    assert differences(full, "pixel_rocauc") == []  # undefined in every job


def test_what_cannot_be_tested_says_why():
    found = differences(table(pixels=False), "au_pro")
    assert found and all(d.p is None and d.holm is None and d.note == "no maps" and d.category != MEAN for d in found)
    few = differences(table(n=3), "image_rocauc")
    assert all(d.note == "fewer than two good or two defective test parts" and d.low is None for d in few)
    one, apart = {0: scored("one", 0, 1)}, {1: scored("one", 1, 1)}
    (d,) = differences({A: {"one": one}, B: {"one": {0: scored("one", 0, 1, paths=("a", "b") * 20)}}}, "image_rocauc")
    assert d.note == "the jobs' test parts differ" and d.p is None
    assert differences({A: {"one": one}, B: {"one": apart}}, "image_rocauc") == []  # no seed in common


def test_the_mean_is_of_complete_categories():
    full, planned = table()[A], {"one": SEEDS, "three": SEEDS}
    found, complete = means(full, "image_rocauc", planned)
    by_seed = [np.mean([full[c][seed].metrics["image_rocauc"] for c in full]) for seed in SEEDS]
    assert complete == ["one", "three"] and found[MEAN][:3] == over_seeds(by_seed)[:3]
    assert found[MEAN].parts_low < found[MEAN].mean < found[MEAN].parts_high
    part = {"one": full["one"], "three": {0: full["three"][0]}}
    found, complete = means(part, "image_rocauc", planned)
    assert complete == ["one"] and found[MEAN] == found["one"] and found["three"].seeds == 1
