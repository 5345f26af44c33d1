"""Shares of a score: they add up for every scoring, whatever the maps; the largest term is the one that was raised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scoring_addon
from scoring import calibrated
from scoring.ablation import Statistics
from scoring.scorings import CALIBRATED, SCORINGS
from scoring.shares import DISAGREEMENT, map_terms, region_shares, score_shares
from tests.scoring.reference_scoring import score_all

PAPER = [name for name in SCORINGS if name != CALIBRATED]
BANKS = ("xyz", "rgb", "fusion")


def part(seed, size=24, parts=4):
    """(maps, scores, weights of scores, weights of maps, reference, calibrated's statistics) of a random part."""
    rng = np.random.default_rng(seed)
    maps = {bank: rng.gamma(2, 1 + 3 * i, (size, size)).astype(np.float32) for i, bank in enumerate(BANKS)}
    scores = {bank: float(rng.gamma(2)) for bank in BANKS}
    weights = [dict(zip(BANKS, rng.normal(0.5, 0.5, 3))) for _ in range(2)]
    training = {bank: rng.gamma(2, 1 + 3 * i, (parts, size, size)) for i, bank in enumerate(BANKS)}
    reference = Statistics(*rng.gamma(3, 2, (6, parts)))
    return maps, scores, *weights, reference, calibrated.bank_units(training, topk=5)


@pytest.mark.parametrize("recovery", ["printed", "normalized"])
@pytest.mark.parametrize("source", ["decision", "bank"])
@pytest.mark.parametrize("scoring", PAPER)
@given(seed=st.integers(0, 2**32 - 1), topk=st.integers(1, 200))
def test_shares_add_up(scoring, source, recovery, seed, topk):
    maps, scores, of_scores, of_maps, reference, _ = part(seed)
    parameters = scoring_addon.DEFAULTS._replace(topk=topk, map_source=source, recovery=recovery)
    decision = sum(of_maps[bank] * maps[bank].astype(np.float64) for bank in BANKS)
    total = sum(of_scores[bank] * scores[bank] for bank in BANKS)
    sample = scoring_addon.SampleMaps(maps["rgb"], maps["xyz"], maps["fusion"])
    found = score_all([scoring], [total], [decision], [sample], parameters, reference)[scoring]
    terms = map_terms(scoring, maps, of_maps, parameters)
    np.testing.assert_allclose(sum(terms.values()), found.predictions[0], rtol=1e-9, atol=1e-9)
    shares = score_shares(scoring, terms, maps, scores, of_scores, parameters, reference)
    size = sum(map(abs, shares.values())) + 1
    assert sum(shares.values()) == pytest.approx(float(found.image_preds[0]), abs=1e-9 * size)
    assert (DISAGREEMENT in shares) == (SCORINGS[scoring].described[0] == "M_pix")


@given(seed=st.integers(0, 2**32 - 1))
def test_shares_of_calibrated(seed):
    maps, scores, of_scores, of_maps, _, statistics = part(seed)
    terms = map_terms("calibrated", maps, of_maps, scoring_addon.DEFAULTS, statistics)
    np.testing.assert_allclose(sum(terms.values()), calibrated.calibrated_map(maps, statistics), rtol=1e-12)
    shares = score_shares("calibrated", terms, maps, scores, of_scores, scoring_addon.DEFAULTS, None, statistics)
    score = calibrated.image_score(calibrated.calibrated_map(maps, statistics), statistics.topk)
    assert sum(shares.values()) == pytest.approx(score, rel=1e-9) and set(shares) == set(BANKS)


def test_the_bank_that_is_raised_has_the_largest_share():
    maps, scores, of_scores, of_maps, _, statistics = part(0)
    mask, box = np.ones((5, 5), bool), (4, 6, 9, 11)
    for bank in BANKS:
        raised = {name: np.array(values) for name, values in maps.items()}
        raised[bank][6:11, 4:9] += 1000
        of = dict.fromkeys(BANKS, 1.0)
        for scoring in ("pixel_topk", "calibrated"):
            terms = map_terms(scoring, raised, of, scoring_addon.DEFAULTS, statistics)
            few = scoring_addon.DEFAULTS._replace(topk=5)
            whole = score_shares(scoring, terms, raised, scores, of, few, None, statistics)
            for shares in (whole, region_shares(terms, mask, box)):
                assert max(shares, key=shares.get) == bank
