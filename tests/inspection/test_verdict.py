"""The promise: p-values against a library and by counting, realised rates over many draws, intervals against their
definition."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from common.errors import InputError
from inspection import verdict
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS

FROZEN = json.loads((Path(__file__).parents[1] / "data" / "p_values.json").read_text())
SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=40)  # few values, hence many ties
ALPHAS = st.integers(1, 99).map(lambda hundredths: hundredths / 100)


def by_counting(calibration, score):
    return (1 + sum(1 for s in calibration if s >= score)) / (len(calibration) + 1)


# ---------------------------------------------------------------- p-values and thresholds


@pytest.mark.parametrize("case", FROZEN["cases"], ids=lambda case: len(case["calibration"]))
def test_p_values_are_those_of_nonconform(case):
    assert verdict.p_values(case["calibration"], case["scores"]).tolist() == case["p_values"]


@given(SCORES, SCORES, ALPHAS)
def test_above_the_threshold_is_p_at_most_alpha(calibration, scores, alpha):
    if len(calibration) < verdict.parts_needed(alpha):
        with pytest.raises(InputError, match=f"at least {verdict.parts_needed(alpha)} calibration"):
            verdict.threshold(calibration, alpha)
        return
    limit = verdict.threshold(calibration, alpha)
    for score in scores:
        decision = verdict.decide(calibration, score, alpha)
        assert decision == (FAIL if score > limit else PASS, by_counting(calibration, score), score, limit)
        assert (decision.p_value <= alpha) == (decision.verdict == FAIL)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_rates_that_make_no_sense(alpha):
    with pytest.raises(InputError, match="between 0 and 1"):
        verdict.threshold(range(100), alpha)


@pytest.mark.parametrize(
    "calibration, score", [([1, math.nan], 1), ([1, math.inf], 1), ([1, 2], math.nan), ([1, 2], math.inf), ([], 1)]
)
def test_values_that_cannot_be_ranked(calibration, score):
    with pytest.raises(InputError, match="not finite|no calibration"):
        verdict.p_values(calibration, score)


# ---------------------------------------------------------------- the promise itself


def draws(rng, kind, shape):
    """Exchangeable scores of each row: independent, rounded to ties, dependent within a row, or a drawn population
    without replacement."""
    if kind == "continuous":
        return rng.normal(size=shape)
    if kind == "ties":
        return rng.geometric(0.3, size=shape).astype(float)
    if kind == "equal":
        return np.ones(shape)
    if kind == "common shift":  # a day's sensor: all scores of a draw move together
        return rng.normal(size=shape) + 5 * rng.normal(size=(shape[0], 1))
    return rng.permuted(np.tile(rng.exponential(size=shape[1]), (shape[0], 1)), axis=1)


@pytest.mark.parametrize("kind", ["continuous", "ties", "equal", "common shift", "population"])
@pytest.mark.parametrize("parts, alpha", [(19, 0.05), (29, 0.05), (59, 0.05), (99, 0.01), (30, 0.29)])
def test_false_alarms_of_a_thousand_draws_keep_the_promise(kind, parts, alpha):
    """One new part a draw, so that the draws are independent: the failures are at most Binomial(1000, alpha)."""
    scores = draws(np.random.default_rng(parts), kind, (1000, parts + 1))
    failed = sum(verdict.decide(row[:-1], row[-1], alpha).verdict == FAIL for row in scores)
    assert failed <= binom.ppf(0.9999, 1000, alpha)
    if kind in ("continuous", "common shift", "population"):  # without ties the rate is k/(n + 1): no more cautious
        assert failed >= binom.ppf(0.0001, 1000, verdict.rank(parts, alpha) / (parts + 1))
    if kind == "equal":
        assert failed == 0


def test_the_bound_holds_for_all_but_a_twentieth_of_the_calibration_draws():
    """Scores of many new parts for each of 1,000 calibration sets: the true rate above a threshold is known for uniform
    scores."""
    rng, bound = np.random.default_rng(0), verdict.bound(59, 0.05)
    rates = np.array([1 - verdict.threshold(rng.random(59), 0.05) for _ in range(1000)])
    assert bound == pytest.approx(beta.ppf(0.95, 3, 57))
    above = np.count_nonzero(rates > bound)
    assert binom.ppf(0.0001, 1000, 0.05) <= above <= binom.ppf(0.9999, 1000, 0.05)
    assert rates.mean() == pytest.approx(3 / 60, abs=0.004)


# ---------------------------------------------------------------- what was found


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_by_its_tails(numbers):
    events, of = numbers
    assert verdict.rate(0, 0) == (0, 0, None, None, None, None)
    found = verdict.rate(events, of)
    assert found.value == events / of and found.low <= found.value <= found.high
    assert found.value <= found.upper <= found.high
    tails = (
        (found.low, events > 0, binom.sf(events - 1, of, found.low), 0.025),
        (found.high, events < of, binom.cdf(events, of, found.high), 0.025),
        (found.upper, events < of, binom.cdf(events, of, found.upper), 0.05),
    )
    for bound, inside, tail, wanted in tails:
        assert tail == pytest.approx(wanted, rel=1e-6) if inside else bound in (0, 1)


def test_outcome():
    verdicts = [PASS] * 8 + [FAIL] * 2 + [CANNOT_JUDGE] + [PASS] + [FAIL] * 6 + [CANNOT_JUDGE] * 3
    defective = [0] * 11 + [1] * 10
    found = verdict.outcome(verdicts, defective)
    assert found.counts == {
        "good": {PASS: 8, FAIL: 2, CANNOT_JUDGE: 1},
        "defective": {PASS: 1, FAIL: 6, CANNOT_JUDGE: 3},
    }
    assert [(r.events, r.of) for r in found[1:]] == [(2, 10), (1, 7), (1, 11), (3, 10)]
    text = verdict.outcome_text(found)
    assert "| defective |      1 |      6 |              3 |    10 |" in text and "2 of 10" in text and "| 20 %" in text
    assert "-" in verdict.outcome_text(verdict.outcome([PASS], [False])).splitlines()[-1]
