"""sweeps/compare.py against definitions and SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scoring.significance import delong_test, image_rocauc
from sweeps.compare import (
    BY_SCORING,
    BY_SETTING,
    MEAN,
    RESAMPLES,
    JobScores,
    SweepRow,
    differences,
    holm,
    means,
    over_seeds,
    part_weights,
    references,
)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p_values):
    """Marcus, Peritz and Gabriel: a hypothesis falls where every intersection that holds it does."""
    numbers = range(len(p_values))
    expected = [
        max(
            min(1.0, len(group) * min(p_values[i] for i in group))
            for size in range(1, len(p_values) + 1)
            for group in itertools.combinations(numbers, size)
            if number in group
        )
        for number in numbers
    ]
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-15)


def test_over_seeds_is_students_interval():
    values = [0.7, 0.75, 0.9, 0.71]
    mean = over_seeds(values)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean[1:5], [np.mean(values), np.std(values, ddof=1), *interval], rtol=1e-12)
    assert over_seeds([0.5])[:5] == (1, 0.5, None, None, None) and mean.parts_low is None


def scores(seed, n=40, lift=1.0):
    rng = np.random.default_rng(seed)
    return np.arange(n) % 2, rng.normal(size=n) + lift * (np.arange(n) % 2)


def test_delong_of_several_trainings():
    label, a = scores(0)
    b, c, d = (scores(seed)[1] for seed in (1, 2, 3))
    assert delong_test(label, [a], [b]) == delong_test(label, a, b)
    np.testing.assert_allclose(delong_test(label, [a, a], [b, b]), delong_test(label, a, b), rtol=1e-12)
    # by the definition: covariances of all four AUCs' components, and the contrast of the means
    kernel = [np.subtract.outer(s[label == 1], s[label == 0]) for s in (a, c, b, d)]
    wins = [(k > 0) + (k == 0) / 2 for k in kernel]
    contrast = np.array([0.5, 0.5, -0.5, -0.5])
    covariance = sum(np.cov([w.mean(axis) for w in wins]) / w.shape[1 - axis] for axis in (1, 0) for w in wins[:1])
    difference, error, p = delong_test(label, [a, c], [b, d])
    assert difference == pytest.approx(contrast @ [w.mean() for w in wins], abs=1e-12)
    assert error == pytest.approx(np.sqrt(contrast @ covariance @ contrast), rel=1e-9)
    assert p == pytest.approx(2 * stats.norm.sf(abs(difference) / error))


def measured(category, seed, lift, pixels=True, n=40, paths=None):
    label, values = scores(seed + 100 * len(category), n, lift)
    drawn = part_weights(category, label)
    resampled = {"image_rocauc": image_rocauc(label != 0, values, drawn)}
    au_pro = np.random.default_rng(seed).normal(0.5 + 0.1 * lift, 0.01, RESAMPLES + 1)
    if pixels:
        resampled["au_pro"] = au_pro
    metrics = {"image_rocauc": resampled["image_rocauc"][0], "pixel_rocauc": None, "au_pro": float(au_pro[0])}
    return JobScores(metrics, paths or tuple(map(str, range(n))), label, values, resampled, "" if pixels else "no maps")


A, B, A_MAX, B_MAX = (SweepRow((("shots", n),), s) for s in ("baseline", "pixel_max") for n in (1, 5))
SEEDS = (0, 1, 2)


def table(**options):
    lifts = {A: 0.5, B: 0.6, A_MAX: 2.0, B_MAX: 2.2}
    return {
        row: {c: {seed: measured(c, seed, lift, **options) for seed in SEEDS} for c in ("one", "three")}
        for row, lift in lifts.items()
    }


def test_what_is_compared():
    assert references([A, B, A_MAX, B_MAX]) == [
        (BY_SCORING, A_MAX, A),
        (BY_SCORING, B_MAX, B),
        (BY_SETTING, B, A),
        (BY_SETTING, B_MAX, A_MAX),
    ]
    assert references([A]) == [] == references([])


def test_differences_of_image_scores():
    full = table()
    found = {(d.row, d.reference, d.category): d for d in differences(full, "image_rocauc")}
    assert len(found) == 4 * 3
    expected = {}
    for category in ("one", "three"):
        for row, reference in ((A_MAX, A), (B_MAX, B)):
            a, b = ([full[r][category][seed].scores for seed in SEEDS] for r in (row, reference))
            label = full[row][category][0].label
            value, error, p = expected[row, category] = delong_test(label, a, b)
            d = found[row, reference, category]
            assert (d.value, d.p) == (pytest.approx(value, abs=1e-12), pytest.approx(p)) and d.test == "DeLong"
            assert (d.high - d.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6) and d.parts == 40 and d.seeds == 3
        pair = [found[A_MAX, A, category], found[B_MAX, B, category]]
        assert [d.holm for d in pair] == pytest.approx(holm([d.p for d in pair]))
    mean = found[A_MAX, A, MEAN]
    values, errors, _ = zip(*(expected[A_MAX, c] for c in ("one", "three")))
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
    mixed = {A: {"one": {0: measured("one", 0, 1)}}, B: {"one": {0: measured("one", 0, 1, paths=tuple("ab") * 20)}}}
    (d,) = differences(mixed, "image_rocauc")
    assert d.note == "the jobs' test parts differ" and d.p is None
    apart = {A: {"one": {0: measured("one", 0, 1)}}, B: {"one": {1: measured("one", 1, 1)}}}
    assert differences(apart, "image_rocauc") == []  # no seed in common


def test_the_mean_is_of_complete_categories():
    full = table()[A]
    planned = {"one": SEEDS, "three": SEEDS}
    found, complete = means(full, "image_rocauc", planned)
    by_seed = [np.mean([full[c][seed].metrics["image_rocauc"] for c in full]) for seed in SEEDS]
    assert complete == ["one", "three"] and found[MEAN][:3] == over_seeds(by_seed)[:3]
    assert found[MEAN].parts_low < found[MEAN].mean < found[MEAN].parts_high
    part = {"one": full["one"], "three": {0: full["three"][0]}}
    found, complete = means(part, "image_rocauc", planned)
    assert complete == ["one"] and found[MEAN] == found["one"] and found["three"].seeds == 1
    assert means(full, "pixel_rocauc", planned) == ({}, [])


def test_resamples_are_the_category_s_own():
    label = np.arange(30) % 3 == 0
    assert (part_weights("a", label) == part_weights("a", label)).all() and (part_weights("a", label)[0] == 1).all()
    assert (part_weights("a", label) != part_weights("b", label)).any()
    assert (part_weights("a", label)[:, label].sum(1) == 10).all()
