"""AUPIMO, PG and PB against recorded numbers of their published implementation, and against plain forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.decision_metrics import aupimo, aupimo_per_image, defective_failed, good_passed

PIXELS = 4 * 48 * 48  # of the normal images


def small_maps(seed, ties):
    """(masks, maps) of four normal and four defective images, [8, 48, 48] each."""
    rng = np.random.RandomState(seed)  # a stream that numpy has frozen
    rows, columns = np.mgrid[:48, :48]
    masks, maps = np.zeros((8, 48, 48), np.uint8), rng.gamma(2.0, 1.0, (8, 48, 48))
    for mask, scores in zip(masks[4:], maps[4:]):
        row, column, radius, strength = rng.uniform((10, 10, 3, 2), (38, 38, 9, 9))
        mask[np.hypot(rows - row, columns - column) < radius] = 1
        scores += mask * strength
    return masks, np.round(4 * maps) / 4 if ties else maps


def plain_aupimo(mask, scores, normal, low, high, steps=4000):
    """The definition read plainly: overlap at the threshold of each of many rates, evenly spaced in their logarithm."""
    normal = np.sort(np.ravel(normal))
    rates = np.exp(np.linspace(np.log(low), np.log(high), steps))
    thresholds = normal[len(normal) - np.ceil(rates * len(normal) - 1e-9).astype(int)]
    return np.mean([(scores[mask != 0] >= t).mean() for t in thresholds])


# anomalib 2.7.0, anomalib.metrics.pimo.functional.aupimo_scores, 1,000,000 thresholds, at rates that the maps reach
@pytest.mark.parametrize(
    "seed, ties, pixels, recorded",
    [
        (0, False, (9, 921), (0.998501, 0.279385, 0.503966, 0.917438)),
        (1, False, (10, 92), (0.187646, 0.856411, 0.828029, 0.048588)),
        (2, True, (37, 634), (0.915286, 0.355829, 0.997307, 0.445872)),
    ],
)
def test_aupimo_is_the_published_one(seed, ties, pixels, recorded):
    masks, maps = small_maps(seed, ties)
    bounds = pixels[0] / PIXELS, pixels[1] / PIXELS
    found = aupimo_per_image(masks, maps, bounds)
    assert np.isnan(found[:4]).all()
    np.testing.assert_allclose(found[4:], recorded, atol=2e-6)
    assert aupimo(masks, maps, bounds) == pytest.approx(np.mean(recorded), abs=2e-6)


@pytest.mark.parametrize("bounds", [(1e-3, 1e-1), (0.002, 0.0307), (0.5, 1.0)])
def test_aupimo_at_rates_between_pixels(bounds):
    masks, maps = small_maps(5, ties=False)
    found = aupimo_per_image(masks, maps, bounds)
    for i in range(4, 8):
        assert found[i] == pytest.approx(plain_aupimo(masks[i], maps[i], maps[:4], *bounds), abs=0.01)


def test_undefined_and_wrong():
    masks, maps = small_maps(0, ties=False)
    assert aupimo(masks[4:], maps[4:]) is None and aupimo(masks[:4], maps[:4]) is None
    assert aupimo(masks, maps) is None  # 9216 normal pixels show no rate of 1e-5
    for bounds in ((0, 0.1), (0.2, 0.1), (0.1, 1.1)):
        with pytest.raises(ValueError, match="bounds"):
            aupimo(masks, maps, bounds)
    maps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        aupimo(masks, maps, (1e-3, 1e-1))
    for metric in (good_passed, defective_failed):
        assert metric([1, 1], [0.0, 1.0], 0.1) is None and metric([0], [0.0], 0.1) is None
        with pytest.raises(ValueError, match="rate"):
            metric([0, 1], [0.0, 1.0], 1.0)
        with pytest.raises(ValueError, match="NaN"):
            metric([0, 1], [0.0, np.nan], 0.1)


def graded_parts():
    """(labels [61], scores [61] float32): 26 good and 35 defective parts."""
    labels = np.repeat([0, 1], [26, 35])
    return labels, (np.random.RandomState(3).normal(size=61) + 1.4 * labels).astype(np.float32)


# anomalib 2.7.0, PGn and PBn. It interpolates the quantile, so at 5 % it lets 2 of 35 pass (5.7 %; PG 0.3077), at 10 %
# it fails 3 of 26 (11.5 %; PB 0.4286); those two are left out
@pytest.mark.parametrize(
    "rate, passed, failed",
    [(0.0, 0.230769, 0.342857), (0.05, None, 0.342857), (0.1, 0.384615, None), (0.2, 0.730769, 0.514286)],
)
def test_pg_and_pb_are_the_published_ones(rate, passed, failed):
    labels, scores = graded_parts()
    for metric, recorded in ((good_passed, passed), (defective_failed, failed)):
        assert recorded is None or metric(labels, scores, rate).share == pytest.approx(recorded, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=40),
    st.sampled_from([0.0, 0.05, 0.07, 0.2, 0.5]),
)
def test_pg_and_pb_are_the_best_threshold_that_keeps_the_rate(parts, rate):
    labels, scores = np.array(parts).T
    passed, failed = good_passed(labels, scores, rate), defective_failed(labels, scores, rate)
    if labels.min() == labels.max():
        assert passed is None and failed is None
        return
    good, bad = scores[labels == 0], scores[labels == 1]
    thresholds = np.append(np.unique(scores), 99)
    assert passed.share == max((good < t).mean() for t in thresholds if (bad < t).mean() <= rate + 1e-12)
    assert failed.share == max((bad >= t).mean() for t in thresholds if (good >= t).mean() <= rate + 1e-12)
    assert (bad < passed.threshold).mean() <= rate + 1e-12 and (good < passed.threshold).mean() == passed.share
    if failed.threshold is None:
        assert failed.share == 0
    else:
        assert (good >= failed.threshold).mean() <= rate + 1e-12 and (bad >= failed.threshold).mean() == failed.share


def test_rates_are_not_lost_to_binary_rounding():
    labels, scores = np.repeat([0, 1], [100, 100]), np.tile(np.arange(100.0), 2)
    assert 0.07 * 100 > 7 and 0.29 * 100 < 29
    assert good_passed(labels, scores, 0.07).share == 0.07 and good_passed(labels, scores, 0.29).share == 0.29
    assert defective_failed(labels, scores, 0.29).share == 0.29
