"""Rates over draws of calibration parts: the promise is kept where it is owed, and counts what cannot be judged."""

import numpy as np
import pytest

from lab.promise import failed_shares


def test_good_parts_fail_as_promised_and_defects_are_found():
    rng = np.random.default_rng(0)
    found = [
        failed_shares(rng.normal(size=60), {"dent": rng.normal(size=30) + 9}, 20, draws=40, seed=i) for i in range(60)
    ]
    assert np.mean([of["good"] for of in found]) == pytest.approx(1 / 21, abs=0.006)
    assert all((of["dent"] == 1).all() and len(of["good"]) == 40 for of in found)


def test_parts_that_cannot_be_judged_and_parts_that_the_model_has_seen():
    pool = np.r_[np.full(20, 1.0), np.nan, np.nan]
    shares = failed_shares(pool, {"good": [0.5, np.inf], "dent": [2, -np.inf]}, 20, draws=3)
    assert (shares["good"] == 3 / 4).all() and (shares["dent"] == 0.5).all()
    seen = failed_shares(pool, {}, 20, draws=3, seen=range(20))
    assert (seen["good"] == 1).all()
    with pytest.raises(ValueError, match="20 good parts could be judged, 21 are needed"):
        failed_shares(pool, {}, 21)
    drawn = failed_shares(np.arange(40.0), {"dent": [1, 99]}, 20, draws=50, resample=True)["dent"]
    assert set(drawn) == {0, 0.5, 1}
