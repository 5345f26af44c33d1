"""Spread within and between parts against its definition and known generators; kappa against scikit-learn; the command
on a generated set."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from common.errors import InputError
from inspection.repeatability import kappa, part_of, same_verdicts, spread
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS

# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    "path, pattern, part",
    [
        ("set/part1/rgb/000.png", None, "set/part1"),
        ("part1/scan3.png", None, "part1"),
        ("set\\part1\\rgb\\000.png", None, "set/part1"),
        ("good/rgb/part07_scan2.png", r"part\d+", "part07"),
        ("good/rgb/part07_scan2.png", r"(part\d+)_scan\d", "part07"),
        ("000.png", None, "."),
    ],
)
def test_part_of(path, pattern, part):
    assert part_of(path, pattern) == part


@pytest.mark.parametrize(
    "pattern, words", [("(", "no regular expression"), ("piece", "finds no part"), ("(x)?", "finds no part")]
)
def test_patterns_that_name_no_part(pattern, words):
    with pytest.raises(InputError, match=words):
        part_of("part1/000.png", pattern)


# ---------------------------------------------------------------- spread


def by_definition(groups):
    """(standard deviation within, between) of lists of equal length, written out."""
    n, m = len(groups[0]), len(groups)
    within = sum(np.var(g, ddof=1) for g in groups) / m
    between = (n * np.var([np.mean(g) for g in groups], ddof=1) - within) / n
    return within**0.5, max(between, 0) ** 0.5


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 6))
def test_spread_by_definition(seed, parts, scans):
    rng = np.random.default_rng(seed)
    groups = rng.normal(size=(parts, scans)) + rng.normal(size=(parts, 1))
    order = rng.permutation(parts * scans)
    found = spread(groups.ravel()[order], np.repeat(np.arange(parts), scans)[order])
    within, between = by_definition(groups.tolist())
    assert (found.within, found.between) == pytest.approx((within, between)) and (found.scans, found.parts) == (
        parts * scans,
        parts,
    )
    assert found.grr == pytest.approx(within / np.hypot(within, between)) and found.categories == max(
        1, int(1.41 * between / within)
    )
    assert found.within_low < found.within < found.within_high and found.grr_low <= found.grr <= found.grr_high


def test_unequal_numbers_by_the_expectation():
    """Mean of many draws: variances within and between come out without bias for unequal numbers of scans too."""
    rng, parts = np.random.default_rng(0), np.repeat(np.arange(12), [1, 2, 3, 4, 5, 6] * 2)
    found = [spread(rng.normal(size=12)[parts] * 3 + rng.normal(size=len(parts)), parts) for _ in range(400)]
    assert np.mean([s.within**2 for s in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([s.between**2 for s in found]) == pytest.approx(9, abs=0.8)


def test_intervals_cover():
    rng, parts, hits = np.random.default_rng(0), np.repeat(np.arange(10), 4), np.zeros(2)
    for _ in range(600):
        s = spread(rng.normal(size=10)[parts] * 2 + rng.normal(size=40), parts)
        hits += s.within_low <= 1 <= s.within_high, s.grr_low <= 1 / 5**0.5 <= s.grr_high
    assert (abs(hits / 600 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600)).all()


def test_scans_that_are_equal():
    found = spread([0.1, 0.1, 0.1, 0.7, 0.7, 0.7], list("aaabbb"))
    assert (found.within, found.grr, found.grr_low, found.grr_high, found.categories) == (
        0,
        0,
        0,
        0,
        None,
    ) and found.between > 0.4
    found = spread([1.0] * 4, list("aabb"))
    assert (found.within, found.between, found.grr, found.categories) == (0, 0, None, None)


def test_what_cannot_be_told_is_none():
    one_part = spread([1.0, 2.0, 3.0], list("aaa"))
    assert one_part.within == 1 and one_part.between is one_part.grr is one_part.grr_low is one_part.categories is None
    single = spread([1.0, 2.0, 3.0], list("abc"))
    assert single.within is single.within_low is single.between is single.grr is None and single.mean == 2
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(InputError, match="finite"):
            spread(values, ["a"] * len(values))


# ---------------------------------------------------------------- verdicts


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_kappa_is_that_of_scikit_learn(pairs):
    failed, bad = zip(*pairs)
    parts = [f"part{i // 3}{b}" for i, b in enumerate(bad)]
    found = kappa([FAIL if f else PASS for f in failed], bad, parts, resamples=20)
    assert (
        found.agreement == np.mean(np.equal(failed, bad))
        and found.scans == len(pairs)
        and found.parts == len(set(parts))
    )
    if len(set(failed + bad)) == 1:
        assert found.value is found.low is None
    else:
        assert found.value == pytest.approx(cohen_kappa_score(failed, bad))


def test_kappa_interval_is_that_of_drawn_parts():
    rng = np.random.default_rng(1)
    parts, bad = np.repeat(np.arange(12), 3), np.repeat(np.arange(12) % 3 == 0, 3)
    failed = rng.random(36) < np.where(bad, 0.8, 0.2)
    found = kappa(np.where(failed, FAIL, PASS), bad, parts)
    drawn = []
    for _ in range(600):
        chosen = np.concatenate(
            [rng.choice(own, len(own)) for own in (np.arange(0, 12, 3), np.flatnonzero(np.arange(12) % 3))]
        )
        rows = np.concatenate([np.flatnonzero(parts == p) for p in chosen])
        drawn.append(cohen_kappa_score(failed[rows], bad[rows]))
    assert (found.low, found.high) == pytest.approx(np.nanquantile(drawn, (0.025, 0.975)), abs=0.08)
    assert found.low < found.value < found.high and found == kappa(np.where(failed, FAIL, PASS), bad, parts)


def test_scans_that_could_not_be_judged_are_left_out():
    found = kappa([PASS, FAIL, CANNOT_JUDGE, CANNOT_JUDGE], [0, 1, 1, 0], list("abba"))
    assert found == (1.0, 1.0, 1.0, 1.0, 2, 2)
    with pytest.raises(InputError, match="no scan"):
        kappa([CANNOT_JUDGE], [0], ["a"])
    with pytest.raises(InputError, match="b: some of its scans are labelled good"):
        kappa([PASS] * 3, [0, 0, 1], list("abb"))


def test_same_verdicts():
    found = same_verdicts([PASS, PASS, FAIL, PASS, CANNOT_JUDGE, FAIL], list("aabbcd"))
    assert (found.events, found.of) == (1, 2)
    assert same_verdicts([PASS], ["a"]).value is None
