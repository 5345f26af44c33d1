"""Complete pairs only, each once, in order of arrival, moved away with a verdict file; whatever happens meanwhile."""

import json
import os
from pathlib import Path

import pytest

from station.folder import Folder, kind_and_name
from tests.station.conftest import send, until, write
from tests.station.stub import part


@pytest.fixture
def incoming(tmp_path):
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


def judge_all(folder):
    """Look until all is complete, and judge it; the names in the order of judging."""
    folder.look(0.0)
    pairs = folder.look(1e6)
    folder.judge_all(pairs)
    return [pair.name for pair in pairs]


def test_names():
    names = {
        "0001_rgb.png": ("rgb", "0001"),
        "0001_xyz.tiff": ("xyz", "0001"),
        "color-7.JPG": ("rgb", "7"),
        "7 depth.png": ("depth", "7"),
        "knob/lot 3/xyz/a.b.tiff": ("xyz", "knob/lot 3/a.b"),
        "0001.png": ("rgb", "0001"),
        "rgb.png": ("rgb", "rgb"),
        "notes.txt": None,
    }
    assert {path: kind_and_name(Path(path)) for path in names} == names


def test_pairs_are_judged_in_order_of_arrival_and_moved(station, incoming):
    write(incoming, "10", 1, when=3)
    write(incoming, "9", 2, when=3)
    write(incoming, "b", 50, when=1)
    write(incoming, "a", 4, when=2, pattern=("lot/rgb/{}.png", "lot/xyz/{}.tiff"))
    (incoming / "alone_rgb.png").write_bytes(part(1)[0])
    (incoming / "readme.txt").write_text("not a part")
    write(incoming, "bad", when=9)
    (incoming / "bad_rgb.png").write_bytes(b"")
    folder = Folder(incoming, station)
    assert judge_all(folder) == ["b", "lot/a", "9", "10", "bad"]
    left = sorted(p.relative_to(incoming).as_posix() for p in incoming.rglob("*") if p.is_file())
    done = [f"done/{name}{end}" for name in ("10", "9", "b") for end in (".verdict.json", "_rgb.png", "_xyz.tiff")]
    done += ["done/lot/a.verdict.json", "done/lot/rgb/a.png", "done/lot/xyz/a.tiff"]
    failed = ["failed/bad.verdict.json", "failed/bad_rgb.png", "failed/bad_xyz.tiff"]
    assert left == ["alone_rgb.png", *done, *failed, "readme.txt"]
    told = json.loads((incoming / "done/b.verdict.json").read_text())
    assert told["verdict"] == "fail" and told["files"] == ["done/b_rgb.png", "done/b_xyz.tiff"]
    assert [e.serial for e in station.journal.parts()] == ["bad", "10", "9", "a", "b"]
    assert judge_all(folder) == []


def test_a_file_is_complete_when_it_has_settled(station, incoming):
    folder = Folder(incoming, station, settle=1.0)
    write(incoming, "a")
    assert folder.look(0.0) == [] == folder.look(0.9)
    assert [pair.name for pair in folder.look(1.0)] == ["a"]
    with open(incoming / "a_xyz.tiff", "ab") as file:
        file.write(b"more")
    assert folder.look(1.5) == [] == folder.look(2.4) and len(folder.look(2.6)) == 1
    for name in (".hidden_rgb.png", "a_rgb.png.tmp", "a_rgb.png.part"):
        (incoming / name).write_bytes(b"x")
    assert len(folder.look(3.0)) == 1


def test_files_that_vanish_or_change_are_left(station, incoming):
    folder = Folder(incoming, station)
    for name in "abc":
        write(incoming, name, ord(name))
    folder.look(0.0)
    pairs = folder.look(9.0)
    (incoming / "a_xyz.tiff").unlink()
    (incoming / "b_rgb.png").write_bytes(part(7, more="longer")[0])
    folder.judge_all(pairs)
    assert [e.serial for e in station.journal.parts()] == ["c"] and (incoming / "b_rgb.png").exists()


def test_names_that_come_twice(station, incoming):
    folder = Folder(incoming, station)
    for score in (1, 50, 1):  # the third is the first again
        write(incoming, "a", score)
        judge_all(folder)
    told = [json.loads((incoming / f"done/a{mark}.verdict.json").read_text()) for mark in ("", "~2", "~3")]
    assert [t["verdict"] for t in told] == ["pass", "fail", "pass"]
    assert told[2]["repeated"] and told[2]["id"] == told[0]["id"] != told[1]["id"]
    assert (incoming / "done/a_rgb~2.png").read_bytes() == part(50)[0]


@pytest.mark.parametrize("moved", [0, 1])
def test_a_move_that_a_kill_cut_short_is_completed(place, incoming, moved, monkeypatch):
    station = place.start()
    write(incoming, "a", 50)
    replace, left = os.replace, [True] * moved

    def dying(source, target):
        if str(target).endswith((".png", ".tiff")) and not (left and left.pop()):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("station.folder.os.replace", dying)
    with pytest.raises(KeyboardInterrupt):
        judge_all(Folder(incoming, station))
    monkeypatch.undo()
    place.stop(station)
    station = place.start()
    Folder(incoming, station).finish_moves()
    assert judge_all(Folder(incoming, station)) == [] and len(station.journal.parts()) == 1
    left = [path.relative_to(incoming).as_posix() for path in incoming.rglob("*") if path.is_file()]
    assert sorted(left) == ["done/a.verdict.json", "done/a_rgb.png", "done/a_xyz.tiff"]


def test_what_cannot_be_moved_is_judged_once(station, incoming, monkeypatch, capsys):
    write(incoming, "a")
    folder = Folder(incoming, station)
    refused = PermissionError(13, "Permission denied", "a_rgb.png")
    monkeypatch.setattr("station.folder.os.replace", lambda *_: (_ for _ in ()).throw(refused))
    assert judge_all(folder) == ["a"]
    assert folder.look(2e6) == [] and "cannot be moved" in capsys.readouterr().err


def test_recipes_have_folders(place, incoming):
    place.add_model("gear.m3dm")
    station = place.start()
    write(incoming, "a", pattern=("gear/{}_rgb.png", "gear/{}_xyz.tiff"))
    write(incoming, "check_master", when=5, pattern=("knob/{}_rgb.png", "knob/{}_xyz.tiff"))
    judge_all(Folder(incoming, station))
    found = [(e.recipe, e.serial, e.content["check"]) for e in station.journal.parts()]
    assert found == [("gear", "a", False), ("knob", "check_master", True)]
    write(incoming, "lost")
    judge_all(Folder(incoming, station))  # two recipes, none named
    assert "name the model" in json.loads((incoming / "failed/lost.verdict.json").read_text())["explanation"]


def test_a_busy_station_is_waited_for(place, incoming):
    station = place.start(waiting=1)
    busy = [send(station, 90, wait=False, sleep=0.3)]
    until(lambda: not station.waiting)
    busy.append(send(station, 91, wait=False))
    write(incoming, "a")
    judge_all(Folder(incoming, station))
    assert [e.score for e in station.journal.parts()] == [1, 91, 90] and all(b.result(1) for b in busy)
