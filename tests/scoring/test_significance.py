"""Resampled metrics against those of explicitly duplicated images."""

import numpy as np
import pytest
from scipy.ndimage import label

from scoring.ablation import Scored
from scoring.metrics import compute_metrics
from scoring.significance import METRICS, PixelCounts, bootstrap_intervals, image_rocauc, resample_weights
from tests.scoring.test_metrics import slow_area


def category(seed=0, levels=0, size=16):
    """(labels, masks, {scoring: Scored}): 6 good and 5 defective images, three scorings of two lists of maps."""
    rng = np.random.default_rng(seed)
    labels = np.arange(11) % 2 == 1
    gts = ((rng.random((11, size, size)) > 0.85) & labels[:, None, None]).astype(np.uint8)
    gts[1] = 0
    gts[1, 2:8, 2:8] = 1

    def maps(gain):
        m = rng.random(gts.shape) + gain * gts
        return list(np.round(m * levels) / levels if levels else m)

    first, second = maps(0.3), maps(0.5)
    scores = [rng.random(11) + gain * labels for gain in (0.1, 0.2, 0.2)]
    named = zip(("baseline", "other", "best"), scores, (first, first, second))
    return labels, gts, {name: Scored(*of) for name, *of in named}


def slow_fixed_au_pro(gts, maps, order, limit=0.3, thresholds=100):
    """AU-PRO of the images ``order`` (with repeats) at the thresholds of the full set.

    Defect-free pixels that equal a threshold: the share of them that counts as above is the full set's.
    """
    normal = np.sort(np.concatenate([m[g == 0] for g, m in zip(gts, maps)]))
    drawn = np.concatenate([maps[i][gts[i] == 0] for i in order])
    x, y = [], []
    for position in reversed([int(p) for p in np.linspace(0, len(normal) - 1, thresholds)]):
        equal = np.flatnonzero(normal == normal[position])
        behind = np.mean(equal > position)
        x.append((np.sum(drawn > normal[position]) + behind * np.sum(drawn == normal[position])) / len(drawn))
        shares = []
        for i in order:
            regions, count = label(gts[i], np.ones((3, 3)))
            shares += [(maps[i][regions == k] > normal[position]).mean() for k in range(1, count + 1)]
        y.append(np.mean(shares))
    return slow_area(x + [1.0], y + [1.0], limit)


def metrics_of(labels, gts, scored, order):
    image_preds, maps = scored
    pixels, masks = [maps[i] for i in order], [gts[i] for i in order]
    return compute_metrics(labels[order], image_preds[order], masks, pixels)


@pytest.mark.parametrize("levels", [0, 8])
@pytest.mark.parametrize("seed", range(3))
def test_resamples_equal_the_duplicated_images(seed, levels):
    labels, gts, scored = category(seed, levels)
    weights = resample_weights(labels, 3, seed)
    assert (weights[:, labels].sum(axis=1) == labels.sum()).all() and (weights.sum(axis=1) == len(labels)).all()
    own = scored["best"]
    counts = PixelCounts(gts, own.predictions)
    found = image_rocauc(labels, own.image_preds, weights), counts.rocauc(weights), counts.au_pro(weights)
    for w, image, pixel, au_pro in zip(weights, *found):
        order = np.repeat(np.arange(len(labels)), w.astype(int))
        expected = metrics_of(labels, gts, own, order)
        assert (image, pixel) == pytest.approx((expected.image_rocauc, expected.pixel_rocauc), abs=1e-9)
        assert au_pro == pytest.approx(slow_fixed_au_pro(gts, own.predictions, order), abs=1e-9)


def test_intervals_contain_the_value_and_depend_on_the_seed_alone():
    labels, gts, scored = category()
    intervals = bootstrap_intervals(labels, gts, scored, resamples=200, seed=3)
    assert intervals == bootstrap_intervals(labels, gts, scored, resamples=200, seed=3)
    assert intervals != bootstrap_intervals(labels, gts, scored, resamples=200, seed=4)
    assert list(intervals) == list(scored)
    for own in intervals.values():
        for metric in METRICS:
            for interval in (own[metric], own["difference"][metric]):
                value, low, high = interval
                assert low - 1e-12 <= value <= high + 1e-12
        assert own["image_rocauc"][1] < own["image_rocauc"][2]
    zero = (0.0, 0.0, 0.0)
    assert intervals["baseline"]["difference"] == dict.fromkeys(METRICS, zero)
    assert intervals["other"]["difference"]["pixel_rocauc"] == intervals["other"]["difference"]["au_pro"] == zero
    assert 0 < intervals["best"]["difference"]["pixel_rocauc"][1]


def test_undefined_metrics_are_none():
    labels, gts, scored = category()
    good = bootstrap_intervals(np.zeros(11), np.zeros_like(gts), scored, resamples=5)["best"]
    none = dict.fromkeys(METRICS, (None, None, None))
    assert good == {**none, "difference": none}
    defective = bootstrap_intervals(np.ones(11), gts, scored, resamples=5)["best"]
    assert defective["image_rocauc"][0] is None and defective["pixel_rocauc"][0] and defective["au_pro"][0]
    gts[np.arange(11) != 1] = 0  # one image with a mask among five defective ones: resamples without it are left out
    interval = bootstrap_intervals(labels, gts, scored, resamples=50)["best"]["au_pro"]
    assert 0 < interval[1] <= interval[2] < 1
