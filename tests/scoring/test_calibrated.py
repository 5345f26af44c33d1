"""The calibrated scoring: its arithmetic against plain forms, its invariants, and the edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.errors import InputError
from scoring import calibrated as c
from scoring.measured import TrainingParts
from scoring.scorings import region_shares, terms_and_shares
from tests.scoring.reference_scoring import parts_of

BANKS = ("xyz", "rgb", "fusion")
UNITS = {"xyz": (0.1, 0.12), "rgb": (2.4, 1.5), "fusion": (2.2, 2.1)}  # mean and spread of the banks' maps on real runs


def normal_maps(parts, seed=0, size=24, banks=BANKS):
    """{bank: [parts, size, size]} of normal parts, each bank in its own unit."""
    rng = np.random.default_rng(seed)
    return {bank: UNITS[bank][0] + UNITS[bank][1] * rng.gamma(2.0, 0.5, (parts, size, size)) for bank in banks}


def one(maps, i=0):
    return {bank: values[i] for bank, values in maps.items()}


def terms_of(maps, units):
    """(terms, shares) of a part."""
    known = TrainingParts((), None, (), calibrated=units)
    measured = parts_of(np.zeros((1, *maps["rgb"].shape)), {bank: of[None] for bank, of in maps.items()}, known)
    return terms_and_shares("calibrated", measured, {})


def plain_statistics(maps, topk):
    """(level, scale) of each bank, written step by step."""
    level, deviation, ratio = {}, {}, {}
    for bank, parts in maps.items():
        pixels = [float(x) for part in parts for x in part.flat]
        level[bank] = sum(pixels) / len(pixels)
        deviation[bank] = (sum((x - level[bank]) ** 2 for x in pixels) / len(pixels)) ** 0.5
        peaks = [sum(sorted(part.flat)[-topk:]) / topk for part in parts]
        ratio[bank] = (sum(peaks) / len(peaks) - level[bank]) / deviation[bank]
    pooled = np.prod(list(ratio.values())) ** (1 / len(ratio))
    weight = len(parts) / (len(parts) + 2)
    return level, {bank: deviation[bank] * ratio[bank] ** weight * pooled ** (1 - weight) for bank in maps}


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_statistics_and_map_are_what_the_text_says(parts):
    maps, test = normal_maps(parts, size=12), one(normal_maps(1, seed=9, size=12))
    statistics = c.bank_units(maps, topk=7)
    level, scale = plain_statistics(maps, 7)
    assert statistics.banks == BANKS and statistics.left_out == ()
    assert statistics.parts == parts and statistics.topk == 7
    np.testing.assert_allclose(statistics.level, [level[bank] for bank in BANKS])
    np.testing.assert_allclose(statistics.scale, [scale[bank] for bank in BANKS])
    found = c.calibrated_map(test, statistics)
    for y, x in np.ndindex(12, 12):
        assert found[y, x] == pytest.approx(max((test[bank][y, x] - level[bank]) / scale[bank] for bank in BANKS))
    assert c.image_score(found, 7) == pytest.approx(np.mean(sorted(found.flat)[-7:]))
    own = [c.image_score(c.calibrated_map(one(maps, i), statistics), 7) for i in range(parts)]
    assert statistics.scores == pytest.approx(own)


finite = st.floats(-1e4, 1e4, width=32)
odd = st.sampled_from([np.nan, np.inf, -np.inf, 1e300])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(0, 1000),
    st.sampled_from(BANKS),
    st.integers(1, 80),
    arrays(np.float64, (12, 12), elements=finite),
    arrays(np.float64, (12, 12), elements=st.floats(0, 1e9)),
)
def test_adding_a_defect_never_lowers_a_pixel(parts, seed, bank, topk, test, defect):
    statistics = c.bank_units(normal_maps(parts, seed, size=12), topk)
    maps = {**one(normal_maps(1, seed + 1, size=12)), bank: test}
    before = c.calibrated_map(maps, statistics)
    after = c.calibrated_map({**maps, bank: test + defect}, statistics)
    assert (after >= before).all() and c.image_score(after, topk) >= c.image_score(before, topk)
    assert np.abs(after).max() <= c.LIMIT


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (3, 12, 12), elements=st.one_of(finite, odd)), st.integers(1, 80))
def test_any_map_gives_bounded_values_and_shares_that_add_up(test, topk):
    statistics, maps = c.bank_units(normal_maps(3, size=12), topk), dict(zip(BANKS, test))
    found = c.calibrated_map(maps, statistics)
    assert np.isfinite(found).all() and np.abs(found).max() <= c.LIMIT
    terms, shares = terms_of(maps, statistics)
    np.testing.assert_allclose(sum(terms.values()), found, rtol=1e-9, atol=1e-9)
    assert sum(shares.values()) == pytest.approx(c.image_score(found, topk), rel=1e-9, abs=1e-9)


def test_a_bank_without_spread_is_left_out_and_named():
    maps, two = normal_maps(4), ("rgb", "fusion")
    maps["xyz"] = np.full_like(maps["xyz"], 0.3)
    statistics, test = c.bank_units(maps), one(normal_maps(1, seed=2))
    assert statistics.left_out == ("xyz",) and statistics.banks == two
    without = c.bank_units({bank: maps[bank] for bank in two})
    expected = c.calibrated_map({bank: test[bank] for bank in two}, without)
    np.testing.assert_array_equal(c.calibrated_map(test, statistics), expected)
    assert "xyz" not in terms_of(test, statistics)[1]


@pytest.mark.parametrize("bank", BANKS)
def test_the_bank_that_is_raised_has_the_largest_share(bank):
    test = one(normal_maps(1, seed=3))
    test[bank][6:11, 4:9] += 1000
    terms, whole = terms_of(test, c.bank_units(normal_maps(4)))
    for shares in (whole, region_shares(terms, np.ones((5, 5), bool), (4, 6, 9, 11))):
        assert max(shares, key=shares.get) == bank


def test_nan_pixels_are_left_to_the_other_banks():
    statistics, test = c.bank_units(normal_maps(4)), one(normal_maps(1, seed=2))
    z = c.calibrated_banks(test, statistics)
    test["fusion"][0, 0] = np.nan
    assert c.calibrated_map(test, statistics)[0, 0] == max(z["xyz"][0, 0], z["rgb"][0, 0])
    for bank in BANKS:
        test[bank][0, 0] = np.nan
    assert c.calibrated_map(test, statistics)[0, 0] == 0
    maps = normal_maps(4)
    whole = c.bank_units(maps)
    maps["rgb"][1, :5] = np.nan
    np.testing.assert_allclose(c.bank_units(maps).scale, whole.scale, rtol=0.1)


def test_what_is_refused():
    with pytest.raises(InputError, match="no spread"):
        c.bank_units({bank: np.ones((3, 8, 8)) for bank in BANKS})
    for nothing in ({}, {"rgb": np.zeros((0, 8, 8))}):
        with pytest.raises(InputError, match="no training part"):
            c.bank_units(nothing)
    statistics = c.bank_units(normal_maps(2))
    for wrong in (("rgb",), (*BANKS, "thermal")):
        with pytest.raises(ValueError, match="banks"):
            c.calibrated_map({bank: np.zeros((8, 8)) for bank in wrong}, statistics)
