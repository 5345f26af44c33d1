"""Drawn before judging, weighted, and never replaced by the biased queue."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from inspection import verdict
from station import sampling
from station.api import make_app
from station.journal import Event
from tests.station.conftest import send, until
from tests.station.stub import StubModel


def event(number, score, truth=None, chance=0.1, role="calibration", model="m", answer="pass", mark=None):
    """A judged part as the journal has it."""
    content = {"peak": score, "role": role if chance else None, "fingerprint": mark or str(number)}
    known = dict.fromkeys(Event._fields) | {"number": number, "kind": "verdict", "epoch": 0.0, "recipe": "knob"}
    known |= {"model": model, "verdict": answer, "p_value": 0.5, "score": score, "chance": chance, "content": content}
    return Event(**{**known, "ranked": 0, "review": truth and {"truth": truth}})


def test_draws_depend_on_files_and_key_alone():
    draws = [sampling.draw(b"key", f"file{i}", 20) for i in range(20_000)]
    drawn = [d for d in draws if d.chance is not None]
    assert abs(len(drawn) - 1000) < 100 and {d.chance for d in drawn} == {0.05}
    assert 0.28 < sum(d.role == "comparison" for d in drawn) / len(drawn) < 0.39
    assert draws[:50] == [sampling.draw(b"key", f"file{i}", 20) for i in range(50)]
    assert draws[:50] != [sampling.draw(b"other", f"file{i}", 20) for i in range(50)]
    ties = np.array([d.tie for d in draws])
    assert 0 < ties.min() and ties.max() < 1 and abs(ties.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(ties, [d.thin for d in draws])[0, 1]) < 0.03
    assert sampling.draw(b"key", "file", 0).chance is None


def test_a_recording_counts_once_however_often_it_is_judged_and_by_which_version(place):
    station = place.start(sample=1)
    first, master = send(station, 50), send(station, 50, check=True)
    assert master["id"] != first["id"] and send(station, 50) == {**first, "repeated": True}
    place.add_model("knob.m3dm", -45.0)  # on the disk: another version at the next start
    assert send(station, 51)["model_id"] == first["model_id"]
    place.stop(station)
    station = place.start(sample=1)
    assert station.journal.last("promotion").content["note"] == "the version used before is not there any more"
    again = send(station, 50)
    assert (first["verdict"], again["verdict"]) == ("fail", "pass") and again["judged_before"] == first["id"]
    assert first["drawn_for_review"] and not again["drawn_for_review"] and not master["drawn_for_review"]
    assert [part.score for part in station.journal.sampled("knob")] == [50, 51]
    assert station.watches.of(station.recipes.get()).parts == 0  # of the new version's stream


def test_what_calibrates():
    model = StubModel("knob", "m", range(19))
    model.known = {"trained"}
    parts = [
        event(1, 1.0, "good"),
        event(2, 2.0, "defect"),
        event(3, 3.0, "unclear"),
        event(4, 4.0, "good", role="comparison"),
        event(5, 5.0, "good", mark="trained"),
        event(7, None, "good", answer="cannot judge"),
        event(8, 8.0, "good", model="older"),
        event(9, 9.0, "good", model="older"),
    ]
    found = sampling.chosen(parts, model, {9: (0.9, 0.8)})
    assert found.numbers == [1, 9] and found.scores[-2:] == [1.0, 0.9] and found.peaks[-1] == 0.8
    assert (found.from_file, found.waiting) == (19, 0)
    late = sampling.chosen([*parts[:1], event(1.5, 2.0), *parts[1:]], model, {})  # one waits for its review
    assert (late.numbers, late.waiting) == ([1], 8)
    assert [p.number for p in sampling.serving(parts, "comparison", (model,))] == [4]


def test_weighted_rates():
    equal = sampling.weighted_rate([True] * 3 + [False] * 57, [50.0] * 60)
    exact = verdict.rate(3, 60)
    assert (equal.value, equal.low, equal.high) == pytest.approx((exact.value, exact.low, exact.high))
    assert sampling.weighted_rate([], []) == (0, None, None, None)
    assert sampling.weighted_rate([False] * 5, [2.0] * 5).low == 0.0
    # one half of the line was sampled four times as densely: only the weights give the true share
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        counts = rng.binomial(500, (0.4, 0.1))
        events = [*(rng.random(counts[0]) < 0.3), *(rng.random(counts[1]) < 0.05)]
        found = sampling.weighted_rate(events, np.repeat((1 / 0.4, 1 / 0.1), counts))
        hits += found.low <= 0.175 <= found.high
    assert hits >= 0.94 * 400


def test_rates_of_the_line():
    parts = [event(i, 1.0, "good", answer="fail" if i < 2 else "pass") for i in range(40)]
    parts += [event(50, 1.0, "defect", answer="pass"), event(51, 1.0, "defect", answer="fail")]
    parts += [event(52, None, "good", answer="cannot judge"), event(53, 1.0, "unclear"), event(54, 1.0)]
    found = sampling.rates(parts)
    assert found["false rejects"].value == pytest.approx(2 / 40) and found["escapes"].value == pytest.approx(1 / 2)
    assert found["not judged"].value == pytest.approx(1 / 43) and found["defects"].value == pytest.approx(2 / 43)


def simulated(policy, seed, days=200, per_day=50):
    """(share of good parts that fail, share of defective parts that pass) at the end of a simulated line.

    Good parts score N(0, 1), defective ones N(3.3, 1); 2 % are defective; 40 calibration parts at first. ``policy``:
    which reviewed parts calibrate: "drawn" (as the station does), "queue" (good after all) or "none".
    """
    rng = np.random.default_rng(seed)
    model, parts, number = StubModel("knob", "m", rng.normal(size=40)), [], 0
    scores = own = list(model.own_scores)
    for _ in range(days):
        bad = rng.random(per_day) < 0.02
        limit = verdict.threshold(scores, 0.05)
        for value, defective in zip(rng.normal(size=per_day) + 3.3 * bad, bad):
            number += 1
            drawn = sampling.draw(b"key", f"{seed}:{number}", 20)
            if drawn.chance or value > limit:  # drawn, or in the queue of fails: reviewed
                truth, answer = "defect" if defective else "good", "fail" if value > limit else "pass"
                parts.append(event(number, float(value), truth, drawn.chance, drawn.role, answer=answer))
        if policy == "drawn":
            scores = sampling.chosen([p for p in parts if p.chance], model, {}).scores
        elif policy == "queue":
            scores = own + [p.score for p in parts if p.verdict == "fail" and p.review["truth"] == "good"]
    limit = verdict.threshold(scores, 0.05)
    return np.mean(rng.normal(size=20_000) > limit), np.mean(rng.normal(size=20_000) + 3.3 <= limit)


def test_the_biased_queue_raises_escapes_and_drawn_parts_do_not():
    means = lambda policy: np.mean([simulated(policy, seed) for seed in range(4)], axis=0)
    none, drawn, queue = map(means, ("none", "drawn", "queue"))
    assert drawn[1] < none[1] + 0.03 and 0.02 < drawn[0] <= 0.06
    assert queue[1] > 3 * drawn[1] and queue[0] < 0.015, (none, drawn, queue)


def test_a_drawn_review_changes_the_calibration(place):
    station = place.start(sample=1)
    assert send(station, 30)["verdict"] == "fail"
    for i in range(60):
        answer = send(station, 40 + i / 100)
        station.review(answer["id"], "good", "Eva")
    assert station.recipes.preview("knob").numbers == []  # the first drawn part still waits
    first = station.journal.sampled("knob")[0]
    station.review(first.number, "good", "Eva")
    found = station.recipes.recalibrate("knob", "Eva")
    assert len(found.numbers) > 20 and found.from_file == 19
    answer = send(station, 30)  # the same files, another calibration: another event
    assert answer["verdict"] == "pass" and "repeated" not in answer
    exact = verdict.decide(found.scores, 30.0, 0.05)
    assert (answer["p_value"], answer["threshold"]) == (exact.p_value, exact.threshold)
    place.stop(station)
    station = place.start(sample=1)
    assert send(station, 30)["repeated"]


def test_a_version_is_compared_before_it_is_promoted_and_rolled_back(place):
    station = place.start(sample=1)
    answers = [send(station, score) for score in [*np.arange(0, 18, 0.25), 25, 26, 27, 28, 60]]
    for answer in answers:
        station.review(answer["id"], "defect" if answer["score"] == 60 else "good", "Eva")
    old = station.recipes.get("knob")
    sha256 = place.add_model("knob@2.m3dm", -0.5)
    with TestClient(make_app(station)) as client:
        act = lambda action, **data: client.post(f"/quality/knob/{action}", data={"by": "Eva", **data}).text
        assert "1 in 1 parts" in client.get("/quality").text and "knob@2.m3dm" in client.get("/quality").text
        assert "compare this version" in act("promote", version=sha256) and "recalibrated" in act("recalibrate")
        act("compare", version=sha256)
        until(lambda: "Promote" in client.get("/quality").text)
        event = station.journal.last("comparison")
        roles = {a["id"]: station.journal.part(a["id"]).content["role"] for a in answers}
        assert event.content["parts"] == sum(role == "comparison" for role in roles.values()) > 10
        fresh = station.journal.last("calibration", "knob", sha256).content
        good = [a for a in answers if a["score"] != 60 and roles[a["id"]] == "calibration"]
        assert fresh["numbers"] == [a["id"] for a in good]
        assert fresh["scores"][19:] == [a["score"] - 0.5 for a in good]  # scored anew from the kept scans
        assert "promoted" in act("promote", version=sha256)
        assert "judges already" in act("promote", version=sha256)
        assert "no file of this version" in act("promote", version="0" * 64)
        assert station.recipes.get("knob").sha256 == sha256 and send(station, 3.1)["model_id"].endswith(sha256[:12])
        assert act("recalibrate", by=" ").startswith('{"detail"') and "no such" in act("nonsense")
        assert "starts anew" in act("restart")
    place.stop(station)
    station = place.start(sample=1)
    assert station.recipes.get("knob").sha256 == sha256
    with TestClient(make_app(station)) as client:
        assert "rolled back" in client.post("/quality/knob/rollback", data={"by": "Eva"}).text
    assert station.recipes.get("knob").sha256 == old.sha256
    promotions = [(e.model, e.content["by"]) for e in station.journal.events("v.kind = 'promotion'")]
    assert promotions == [(old.sha256, "the station's start"), (sha256, "Eva"), (old.sha256, "Eva")]
