"""Shares of a score: they add up for every scoring, whatever the maps; the largest term is the one that was raised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring_addon
from scoring import calibrated
from scoring.ablation import Statistics
from scoring.measured import TrainingParts
from scoring.scorings import DISAGREEMENT, SCORINGS, PartInput, region_shares, terms_and_shares
from tests.scoring.reference_scoring import score_maps

BANKS = ("xyz", "rgb", "fusion")


def part(seed, size=24, parts=4):
    """A random PartInput, with what training parts taught."""
    rng = np.random.default_rng(seed)
    maps = {bank: rng.gamma(2, 1 + 3 * i, (size, size)).astype(np.float32) for i, bank in enumerate(BANKS)}
    scores = {bank: float(rng.gamma(2)) for bank in BANKS}
    weights = [dict(zip(BANKS, rng.normal(0.5, 0.5, 3))) for _ in range(2)]
    training = {bank: rng.gamma(2, 1 + 3 * i, (parts, size, size)) for i, bank in enumerate(BANKS)}
    reference, units = Statistics(*rng.gamma(3, 2, (6, parts))), calibrated.bank_units(training, topk=5)
    return PartInput(maps, scores, *weights, scoring_addon.DEFAULTS, reference, units)


@pytest.mark.parametrize("recovery", ["printed", "normalized"])
@pytest.mark.parametrize("source", ["decision", "bank"])
@pytest.mark.parametrize("scoring", SCORINGS)
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), topk=st.integers(1, 200))
def test_shares_add_up(scoring, source, recovery, seed, topk):
    of = part(seed)
    of = of._replace(parameters=of.parameters._replace(topk=topk, map_source=source, recovery=recovery))
    decision = sum(of.map_weights[bank] * of.maps[bank].astype(np.float64) for bank in BANKS)
    total = sum(of.score_weights[bank] * of.scores[bank] for bank in BANKS)
    known = TrainingParts(("a",), of.reference, (0.5, topk, source), calibrated=of.units)
    banks = {bank: of.maps[bank][None] for bank in BANKS}
    found = score_maps([scoring], decision[None], banks, of.parameters, known, [total])[scoring]
    terms, shares = terms_and_shares(scoring, of)
    np.testing.assert_allclose(sum(terms.values()), found.predictions[0], rtol=1e-9, atol=1e-9)
    size = sum(map(abs, shares.values())) + 1
    assert sum(shares.values()) == pytest.approx(float(found.image_preds[0]), abs=1e-9 * size)
    assert (DISAGREEMENT in shares) == (SCORINGS[scoring].described[0] == "M_pix")


def test_the_bank_that_is_raised_has_the_largest_share():
    of = part(0)
    mask, box = np.ones((5, 5), bool), (4, 6, 9, 11)
    for bank in BANKS:
        raised = {name: np.array(values) for name, values in of.maps.items()}
        raised[bank][6:11, 4:9] += 1000
        alike = dict.fromkeys(BANKS, 1.0)
        changed = of._replace(
            maps=raised, map_weights=alike, score_weights=alike, parameters=of.parameters._replace(topk=5)
        )
        for scoring in ("pixel_topk", "calibrated"):
            terms, whole = terms_and_shares(scoring, changed)
            for shares in (whole, region_shares(terms, mask, box)):
                assert max(shares, key=shares.get) == bank
