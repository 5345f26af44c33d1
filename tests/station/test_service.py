"""One part at a time, a bounded queue, a verdict for everything, nothing lost, nothing without bound."""

import random
import time

import pytest

from station import drift
from station.journal import JournalError
from station.service import READY, STOPPING, STUCK, Busy
from tests.station.conftest import send, until


def test_queue_is_bounded_and_stop_finishes_the_part_at_hand(place):
    station = place.start(waiting=3)
    at_hand = send(station, 1, wait=False, sleep=0.6)
    until(lambda: not station.waiting)
    waiting = [send(station, 2 + i, wait=False) for i in range(3)]
    with pytest.raises(Busy, match="3 parts are waiting already") as info:
        send(station, 9)
    assert info.value.seconds >= 1 and station.waiting == 3
    station.begin_stop()
    assert at_hand.result(5)["verdict"] == "pass"
    for result in (*(future.result for future in waiting), lambda _: send(station, 9)):
        with pytest.raises(Busy, match="stopping"):
            result(5)
    assert station.state == STOPPING and len(station.journal.parts()) == 1


@pytest.mark.parametrize("full", [False, True], ids=["recorded", "the journal is full"])
def test_a_part_that_takes_too_long_gets_an_answer_and_can_come_again(place, monkeypatch, full):
    station = place.start(part_seconds=0.3)
    if full:
        monkeypatch.setattr(station.journal, "append", lambda *_, **__: (_ for _ in ()).throw(JournalError("full")))
    future = send(station, 50, wait=False, sleep=1.2)
    if full:
        with pytest.raises(JournalError, match="full"):
            future.result(5)
    else:
        told = future.result(5)
        assert told["verdict"] == "cannot judge" and "longer than 0.3 s" in told["explanation"]
    assert station.state == STUCK and list(station.store._arriving.iterdir())  # the judge still reads its files
    with pytest.raises(Busy, match="stuck"):
        send(station, 1)
    until(lambda: station.state == READY)
    monkeypatch.undo()
    assert [event.verdict for event in station.journal.parts()] == ([] if full else ["cannot judge"])
    station.settings.part_seconds = 60
    assert send(station, 50, sleep=1.2)["verdict"] == "fail" and not list(station.store._arriving.iterdir())


def test_a_judge_that_breaks_ends_no_station(place, monkeypatch):
    station = place.start()
    monkeypatch.setattr(type(station.recipes.get()), "judge", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send(station, 1)
    monkeypatch.undo()
    assert send(station, 1)["verdict"] == "pass" and not list(station.store._arriving.iterdir())


def test_a_full_disk_stops_pictures_before_verdicts(place):
    station = place.start(free_gib=2**40)
    answer = send(station, 50, draw=True)
    assert answer["verdict"] == "fail" and answer["pictures"] == {} and "nearly full" in answer["note"]
    assert station.store.files_of(answer["id"]) == {}


def test_files_are_kept_by_rules(place, monkeypatch):
    station = place.start(sample=3, keep_days=1, keep_passed=2, keep_drawn=3)
    answers = [send(station, score) for score in [*range(18), *range(50, 68)]]
    kept = lambda of: [a["id"] for a in of if station.store.files_of(a["id"])]
    assert len(kept(answers)) == len(answers)
    station.store.tidy()
    drawn = [a for a in answers if a["drawn_for_review"]]
    passed = [a for a in answers if a["verdict"] == "pass" and a not in drawn]
    failed = [a for a in answers if a["verdict"] == "fail" and a not in drawn]
    assert len(drawn) > 3 and kept(drawn) == [a["id"] for a in drawn[-3:]]
    assert kept(passed) == [a["id"] for a in passed[-2:]] and len(kept(failed)) == len(failed) > 3
    assert [event.number for event in station.journal.to_review()] == [a["id"] for a in (*drawn, *failed[::-1])]
    later = time.time() + 2 * 86400
    monkeypatch.setattr("station.store.time.time", lambda: later)
    station.store.tidy()
    assert kept(failed) == station.journal.to_review() == [] and len(kept(drawn)) == 3
    station.settings.keep_gib = 0
    station.store.tidy()
    assert kept(answers) == [] and station.journal.rows("SELECT * FROM kept") == []
    assert len(station.journal.parts()) == len(answers)  # verdicts stay


def test_what_is_watched_goes_on_after_a_restart_and_begins_anew_each_year(place, monkeypatch):
    station = place.start()
    for score, light in ((3, 0.1), (3, 0.2), (7, 0.3), (50, 0.1), (1, 0.4)):
        send(station, score, light=light)
    send(station, 12, check=True)  # a master part is not watched
    before = station.watches.of(station.recipes.get())
    place.stop(station)
    station = place.start()
    after = station.watches.of(station.recipes.get())
    assert after.parts == before.parts == 5 and after.started == before.started
    assert after.state() == before.state() and len(station.journal.events("v.kind = 'drift start'")) == 1
    later = after.started + drift.YEAR + 1
    monkeypatch.setattr("station.drift.time.time", lambda: later)
    assert station.watches.of(station.recipes.get()).parts == 0
    assert station.journal.last("drift start").content["reason"] == "a year is over"


def test_a_drift_alarm_is_an_event_that_names_the_statistic(place):
    station, heard, rng = place.start(), [], random.Random(0)
    station.listen(heard.append)
    for light in (0.5, 0.3):
        for _ in range(60):
            send(station, rng.uniform(0, 18), light=rng.gauss(light, 0.01))
    alarms = [event for event in heard if event.kind == "drift alarm"]
    assert alarms and alarms[0].content["statistics"] == ["light"]
    assert station.watches.of(station.recipes.get()).alarmed == ("light",)


def test_a_journal_on_a_full_disk_acknowledges_nothing_and_goes_on_later(place):
    station = place.start()
    acknowledged = [send(station, 1)["id"]]
    limit = station.journal._db.execute("PRAGMA page_count").fetchone()[0] + 3
    station.journal._db.execute(f"PRAGMA max_page_count = {limit}")  # SQLite's own "database or disk is full"
    with pytest.raises(JournalError, match="full"):
        for score in range(2, 200):
            acknowledged.append(send(station, score)["id"])
    station.journal._db.execute("PRAGMA max_page_count = 100000000")
    acknowledged.append(send(station, 300)["id"])
    watch = station.watches.of(station.recipes.get())
    assert watch.parts == len(acknowledged)  # the lost part was not ranked
    assert [e.number for e in station.journal.parts(1000)] == acknowledged[::-1]
