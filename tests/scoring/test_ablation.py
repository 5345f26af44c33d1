"""The ablation rows against their definitions, written a second time."""

import numpy as np
import pytest

import scoring_addon as addon
from scoring import evaluation
from scoring.scorings import CALIBRATED, SCORINGS
from tests.scoring.reference_scoring import parts_of, reference, tilde

PAPER = [name for name in SCORINGS if name != CALIBRATED]


def random_maps(seed, n=5, size=32):
    return np.random.default_rng(seed).gamma(2.0, size=(3, n, size, size))


@pytest.mark.parametrize("source", ["decision", "bank"])
def test_variants_equal_their_definitions(source):
    decision, rgb, xyz = random_maps(7)
    bank = decision[::-1] * 2
    fusion = bank if source == "bank" else decision
    parameters = addon.DEFAULTS._replace(map_source=source, topk=20)
    released = np.arange(5.0)
    parts = parts_of(decision, {"xyz": xyz, "rgb": rgb, "fusion": bank}, released=released)
    got = evaluation.score(parts, PAPER, parameters)
    pix = reference(fusion, rgb, xyz)[1]
    top = np.sort(pix.reshape(5, -1))[:, -20:].mean(1)
    q95, q99 = np.quantile(pix, [0.95, 0.99], axis=(1, 2))
    dis = np.stack([addon.disagreement_map(a, b).mean() for a, b in zip(rgb, xyz)])
    robust = 0.6 * q95 + 0.25 * pix.mean((1, 2)) + 0.15 * (dis + q99 - q95)
    w = 1 / (1 + np.exp(-abs(tilde(top) - tilde(robust)) + 1 - abs(tilde(top) - tilde(q95))))
    expected = {
        "baseline": (released, decision),
        "pixel_max": (fusion.max((1, 2)), fusion),
        "pixel_topk": (np.sort(fusion.reshape(5, -1))[:, -20:].mean(1), fusion),
        "disagreement_only": (pix.max((1, 2)), pix),
        "disagreement_base": (top, pix),
        "partial": (reference(fusion, rgb, xyz, k=20, weights=(0.6, 0.25, 0), delta=0)[0], pix),
        "full": ((1 - w) * top + w * robust, pix),
        "disagreement": (reference(fusion, rgb, xyz, k=20)[0], pix),
    }
    assert list(got) == list(expected) == PAPER
    for name, (scores, maps) in expected.items():
        np.testing.assert_allclose(got[name].image_preds, scores, rtol=1e-9)
        np.testing.assert_allclose(np.stack(got[name].predictions), maps, rtol=1e-12)
    assert got["partial"].predictions is got["disagreement"].predictions
    samples = [addon.SampleMaps(*maps) for maps in zip(rgb, xyz, bank)]
    scores, maps = addon.score_test_set(list(decision), samples, parameters)
    assert np.array_equal(scores, got["disagreement"].image_preds)  # one arithmetic, to the last digit
    assert np.array_equal(np.stack(maps), np.stack(got["disagreement"].predictions))
