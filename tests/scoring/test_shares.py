"""Shares of a score: they add up for every scoring, whatever the maps; the largest term is the one that was raised."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring_addon
from scoring import calibrated, evaluation
from scoring.ablation import Statistics
from scoring.measured import TrainingParts
from scoring.scorings import DISAGREEMENT, SCORINGS, ScoringInput, region_shares, terms_and_shares
from tests.scoring.reference_scoring import parts_of

BANKS = ("xyz", "rgb", "fusion")


def part(seed, size=24, parts=4, topk=64, source="decision", recovery="printed", raised=None, alike=False):
    """The ScoringInput of a random part, with what training parts taught; ``raised``: a bank whose map has a defect."""
    rng = np.random.default_rng(seed)
    maps = {bank: rng.gamma(2, 1 + 3 * i, (1, size, size)).astype(np.float32) for i, bank in enumerate(BANKS)}
    scores = {bank: rng.gamma(2, size=1) for bank in BANKS}
    weights = [dict(zip(BANKS, [1.0] * 3 if alike else rng.normal(0.5, 0.5, 3))) for _ in range(2)]
    training = {bank: rng.gamma(2, 1 + 3 * i, (parts, size, size)) for i, bank in enumerate(BANKS)}
    reference, units = Statistics(*rng.gamma(3, 2, (6, parts))), calibrated.bank_units(training, topk=5)
    known = TrainingParts(("a",), reference, (0.5, topk, source), calibrated=units)
    if raised is not None:
        maps[raised][0, 6:11, 4:9] += 1000
    decision = sum(weights[1][bank] * maps[bank].astype(np.float64) for bank in BANKS)
    total = sum(weights[0][bank] * scores[bank] for bank in BANKS)
    measured = dataclasses.replace(parts_of(decision, maps, known, total), bank_score=scores)
    parameters = scoring_addon.DEFAULTS._replace(topk=topk, map_source=source, recovery=recovery)
    return ScoringInput(measured, parameters, "train", weights)


@pytest.mark.parametrize("recovery", ["printed", "normalized"])
@pytest.mark.parametrize("source", ["decision", "bank"])
@pytest.mark.parametrize("scoring", SCORINGS)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), topk=st.integers(1, 200))
def test_shares_add_up(scoring, source, recovery, seed, topk):
    of = part(seed, topk=topk, source=source, recovery=recovery)
    found = evaluation.score(of.parts, [scoring], of.parameters, of.reference)[scoring]
    terms, shares = terms_and_shares(scoring, of)
    np.testing.assert_allclose(sum(terms.values()), found.predictions[0], rtol=1e-9, atol=1e-9)
    size = sum(map(abs, shares.values())) + 1
    assert sum(shares.values()) == pytest.approx(float(found.image_preds[0]), abs=1e-9 * size)
    assert (DISAGREEMENT in shares) == (SCORINGS[scoring].described[0] == "M_pix")


@pytest.mark.parametrize("scoring", ["pixel_topk", "calibrated"])
@pytest.mark.parametrize("bank", BANKS)
def test_the_bank_that_is_raised_has_the_largest_share(bank, scoring):
    terms, whole = terms_and_shares(scoring, part(0, topk=5, raised=bank, alike=True))
    for shares in (whole, region_shares(terms, np.ones((5, 5), bool), (4, 6, 9, 11))):
        assert max(shares, key=shares.get) == bank
