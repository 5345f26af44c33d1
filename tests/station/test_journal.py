"""What was acknowledged is in the journal, in order, unchanged, and comes out again."""

import contextlib
import csv
import json
import sqlite3

import pytest

from common.errors import InputError
from station.journal import Journal, JournalError
from tests.station.conftest import send
from tools import journal as command


def test_events_are_only_appended(tmp_path):
    journal = Journal(tmp_path / "a.db")
    first = journal.append("verdict", {"a": 1}, key="k", verdict="fail", score=2, chance=0.5)
    assert journal.newest("v.key = 'k'") == first and journal.part(first.number) == first
    with pytest.raises(JournalError, match="UNIQUE"):
        journal.append("verdict", {}, key="k")
    for change in ("UPDATE events SET verdict = 'pass'", "DELETE FROM events"):
        with pytest.raises(JournalError, match="append only"):
            journal.execute(change)
    assert journal.rows("PRAGMA journal_mode") == [("wal",)] and journal.rows("PRAGMA synchronous") == [(2,)]
    assert journal.part(-1) is journal.part(2**70) is None


def test_what_is_no_journal_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to be read as its header" * 100)
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as db:
        db.execute("PRAGMA user_version = 9")
    for name, write, words in (
        ("text", True, "text: cannot be used as journal"),
        ("missing.db", False, "no such journal"),
        ("new.db", True, "version 9; this program uses version 2"),
    ):
        with pytest.raises(InputError, match=words):
            Journal(tmp_path / name, write)


def test_a_clock_that_is_set_back_is_said_and_loses_nothing(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "a.db")
    monkeypatch.setattr("station.journal.time.time", lambda: 2_000_000_000.0)
    journal.append("verdict", {}, verdict="pass")
    monkeypatch.setattr("station.journal.time.time", lambda: 1_999_990_000.0)
    late = journal.append("verdict", {}, verdict="fail")
    assert late.content == {"clock": "set back by 10000 s"}
    assert [event.verdict for event in journal.parts()] == ["fail", "pass"]


def test_export(place, tmp_path, capsys):
    station, out = place.start(), tmp_path / "out.csv"
    answers = [send(station, score, serial=serial) for score, serial in ((1, "=1+1"), (50, "B"), (3, None))]
    station.review(answers[1]["id"], "defect", "Ali")
    station.review(answers[1]["id"], "good", "Eva", note="scratch\nonly")
    export = ["export", str(place.journal_path), "-o"]
    assert command.main([*export, str(out)]) == 0
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["verdict"], row["check"]) for row in rows] == [("pass", "False"), ("fail", "False"), ("pass", "False")]
    assert rows[0]["serial"] == "'=1+1" and (rows[1]["review"], rows[1]["reviewed_by"]) == ("good", "Eva")
    assert rows[1]["review_note"] == "scratch\nonly" and rows[2]["sampling_probability"] == rows[2]["serial"] == ""
    assert float(rows[1]["score"]) == 50 and json.loads(rows[1]["regions"])[0]["area_mm2"] == 2.5
    assert [row["time"] for row in rows] == [answer["time"] for answer in answers]
    assert command.main([*export, str(out), "--since", "2999-01-01"]) == 0
    assert "0 verdicts" in capsys.readouterr().err and command.main([*export, "a.txt"]) == 2
    arrow = pytest.importorskip("pyarrow.parquet")
    assert command.main([*export, str(out.with_suffix(".parquet"))]) == 0
    table = arrow.read_table(out.with_suffix(".parquet")).to_pylist()
    assert [row["score"] for row in table] == [1, 50, 3] and table[0]["serial"] == "=1+1"
    assert table[1]["review_note"] == "scratch\nonly" and table[2]["sampling_probability"] is None
