"""The promise of the drift alarm, over 1,000 streams; the naive ways break it; how soon drift is found."""

import numpy as np
import pytest

from station import drift
from station.charts import DECISION, cusum
from station.drift import DELTA, Jumper, Watch, rank

STREAMS, PARTS, CALIBRATION = 1000, 500, 20


def online_ranks(scores, rng):
    """[streams, parts] ranks of each stream's parts among its calibration parts and all parts before."""
    ranks = []
    for row in scores.tolist():
        seen = sorted(row[:CALIBRATION])
        ranks.append([rank(seen, value, rng.random()) for value in row[CALIBRATION:]])
    return np.array(ranks)


def alarms(ranks):
    """[streams] the part at which each stream raises the alarm; the number of parts where it never does."""
    jumper, values = Jumper(len(ranks)), []
    for column in ranks.T:
        jumper.bet(column)
        values.append(jumper.log_value)
    over = np.array(values) >= np.log(1 / DELTA)
    return np.where(over.any(0), over.argmax(0), ranks.shape[1])


@pytest.fixture(scope="module")
def streams():
    """Scores without drift."""
    return np.random.default_rng(5).normal(size=(STREAMS, CALIBRATION + PARTS))


@pytest.mark.parametrize("scores", [lambda x: x, np.round], ids=["continuous", "some seven different values"])
def test_without_drift_at_most_delta_of_the_streams_alarm(streams, scores):
    ranks = online_ranks(scores(streams), np.random.default_rng(1))
    assert abs(ranks.mean() - 0.5) < 0.002 and abs(np.corrcoef(ranks[:, 5], ranks[:, 6])[0, 1]) < 0.1
    assert np.mean(alarms(ranks) < PARTS) <= 2 * DELTA  # 10 of 1,000 are allowed on average, above 20 in 1 of 600 cases


def test_p_values_against_the_calibration_parts_alone_break_it(streams):
    ordered, rng = np.sort(streams[:, :CALIBRATION]), np.random.default_rng(3)
    above = np.stack([CALIBRATION - np.searchsorted(o, s) for o, s in zip(ordered, streams[:, CALIBRATION:])])
    fixed = (above + rng.random(above.shape)) / (CALIBRATION + 1)
    assert np.mean(alarms(fixed) < PARTS) > 0.3


def test_passed_parts_alone_break_it(streams):
    passed = []
    for row in streams:
        limit = np.sort(row[:CALIBRATION])[-2]  # fails 5 to 10 % of the parts
        passed.append(np.concatenate([row[:CALIBRATION], row[CALIBRATION:][row[CALIBRATION:] <= limit][:400]]))
    length = min(map(len, passed))
    ranks = online_ranks(np.stack([row[:length] for row in passed]), np.random.default_rng(4))
    assert np.mean(alarms(ranks) < length) > 3 * DELTA


@pytest.mark.parametrize("shift, most", [(1.0, 60), (2.0, 25)])
def test_drift_is_found_soon(streams, shift, most):
    drifting = streams[:200].copy()
    drifting[:, CALIBRATION + 200 :] += shift
    found = alarms(online_ranks(drifting, np.random.default_rng(6)))
    late = found[found >= 200] - 200
    assert np.mean(found < PARTS) > 0.98 and np.median(late) < most


def test_the_bet_never_overflows():
    jumper = Jumper(1)
    for _ in range(20_000):
        jumper.bet(1e-9)
    assert 1000 < jumper.log_value[0] < np.inf


def test_a_watch_shares_delta_and_names_what_drifts():
    rng = np.random.default_rng(0)
    watch = Watch(rng.normal(size=20), 0.0)
    for light in (0, -3):
        assert watch.alarmed == ()
        for _ in range(100):
            watch.add({"score": rng.normal(), "light": rng.normal() + light, "missing points": 0.0}, rng.random())
    limits = {name: limit for name, (_, limit) in watch.state().items()}
    assert limits["score"] == pytest.approx(np.log(200)) and limits["light"] == pytest.approx(np.log(400))
    assert sum(np.exp(-limit) for limit in limits.values()) == pytest.approx(DELTA)
    assert watch.alarmed == ("light",)


def test_a_long_stream_is_thinned_by_chance_alone(monkeypatch):
    monkeypatch.setattr(drift, "EVERY_PART", 100)
    watch, rng, ranked = Watch(range(5), 0.0), np.random.default_rng(0), []
    for _ in range(10_000):
        if watch.wants(rng.random()):
            ranked.append(watch.add({"score": rng.random()}, rng.random()))
        else:
            watch.parts += 1
    assert watch.parts == 10_000 and 450 < len(ranked) < 680  # 100 (1 + ln 100) = 561


def test_cusum():
    rng = np.random.default_rng(0)
    assert cusum(rng.random(100))[0] < DECISION < cusum([None, *rng.random(60) * 0.1])[0] and cusum([None])[0] == 0
