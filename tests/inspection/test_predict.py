"""tools/predict.py: from main.py --save_model to verdicts, with networks once and without them for the rest."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data.scans
import main as run_main
from inspection.predictions import hold_verdicts
from inspection.saved_model import read_saved
from inspection.verdict import p_values
from tests.command_lines import TINY, flags  # noqa: F401 (flags is a fixture)
from tests.make_data import add_part, picture_of, scan
from tests.make_models import CATEGORY, make_parts
from tools.predict import main


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def predicted(toy_model, tmp_path, no_networks):
    """Function: run predict.py on a folder; returns (exit code, rows of verdicts.csv)."""

    def run(*words, out=tmp_path / "out", rate="0.2"):
        argv = [toy_model, "-o", out, "--device", "cpu", "--num_workers", "0", "--false_alarm", rate, *words]
        code = main(list(map(str, argv)))
        return code, read(out / "verdicts.csv") if (out / "verdicts.csv").is_file() else None

    return run


def test_end_to_end_with_networks(checkpoints, flags, tmp_path, capsys):  # noqa: F811
    data = make_parts(tmp_path / "data", train=3, test=1, validation=4)
    models, results = tmp_path / "models", tmp_path / "results"
    where = ["--dataset_path", str(data), "--category", CATEGORY, "--save_model", str(models)]
    fit = ["--method_name", "Point_MAE", *flags, *TINY, *where]
    assert run_main.main(fit) == 0
    capsys.readouterr()
    scores = {row["path"]: row for row in read(results / f"scores_{CATEGORY}.csv")}

    def judge(out, weights):
        words = [models / f"{CATEGORY}.m3dm", data / CATEGORY / "test", "-o", tmp_path / out]
        words += ["--checkpoint_dir", weights, "--device", "cpu", "--false_alarm", "0.2"]
        return main(list(map(str, words)))

    assert judge("out", checkpoints) == 0
    lines, err = capsys.readouterr()
    rows = read(tmp_path / "out" / "verdicts.csv")
    assert len(rows) == len(lines.splitlines()) == 2
    for row in rows:
        assert row["score"] == scores[f"{CATEGORY}/test/{row['path']}"]["baseline"]
    assert "at most 20 % of good parts fail" in err and "UNTRAINED" in err
    assert run_main.main(fit) == 0 and "kept, finished" in capsys.readouterr().out

    shutil.copytree(checkpoints, tmp_path / "other")  # other weights under the same name
    with open(tmp_path / "other" / "pointmae_pretrain.pth", "ab") as file:
        file.write(b"\0")
    assert judge("refused", tmp_path / "other") == 2
    err = capsys.readouterr().err
    assert "other weights than" in err and len(err.splitlines()) == 1


def test_a_folder_is_judged_with_everything(toy_model, predicted, tmp_path, capsys):
    test = toy_model.parent.parent / CATEGORY / "test"
    code, rows = predicted(test, "--pictures", "--evaluate")
    out, err = capsys.readouterr()
    assert code == (1 if any(row["verdict"] == "cannot judge" for row in rows) else 0)
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows) and len(rows) == 4
    assert list(rows[0])[:6] == ["path", "verdict", "p_value", "score", "threshold", "milliseconds"]
    calibration = read_saved(toy_model).arrays["calibration.score.pixel_max"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines()]
    for row, line in zip(rows, lines):
        assert row["path"] == line["path"] and float(row["p_value"]) == p_values(calibration, float(row["score"]))
        assert (row["verdict"] == "fail") == (float(row["p_value"]) <= 0.2)
        assert int(row["regions"]) == len(line["regions"])
        with Image.open(tmp_path / "out" / "pictures" / row["path"]) as picture:
            assert picture.size[0] > 1000
    assert "false rejects, of the good parts" in out and (tmp_path / "out" / "evaluation.md").read_text() in out
    assert f"{len(rows)} parts:" in err


def test_the_same_command_goes_on(toy_model, predicted, tmp_path, capsys):
    test = toy_model.parent.parent / CATEGORY / "test"
    whole = predicted(test)[1]
    lines = (tmp_path / "out" / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "verdicts.jsonl").write_text("".join(lines[:2]) + lines[2][:20])  # killed while writing
    (tmp_path / "out" / "verdicts.csv").unlink()
    capsys.readouterr()
    code, rows = predicted(test)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "2 of 4 parts are judged already" in err
    assert [(r["path"], r["score"]) for r in rows] == [(r["path"], r["score"]) for r in whole]

    predicted(test, "--overwrite")
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_full_disk_is_told_and_pictures_come_later(toy_model, predicted, monkeypatch, capsys):
    def full(path, *_):
        raise OSError(28, "No space left on device", str(path))

    test = toy_model.parent.parent / CATEGORY / "test"
    with monkeypatch.context() as patched:
        patched.setattr("inspection.judged_pictures.draw_judgement", full)
        code, rows = predicted(test, "--pictures")
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "lack files" in line]
    assert code == 1 and len(rows) == 4 and "4 judged parts lack files" in told and "No space left on device" in told
    code, again = predicted(test, "--pictures")
    assert code == 0 and [row["score"] for row in again] == [row["score"] for row in rows]
    assert "lack files" not in capsys.readouterr().err


def test_an_interruption_keeps_what_is_judged(toy_model, predicted, tmp_path, capsys, monkeypatch):
    from inspection.inspector import Inspector

    judge, done = Inspector.judge_prepared, []

    def stop(self, *args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(judge(self, *args))
        return done[-1]

    monkeypatch.setattr(Inspector, "judge_prepared", stop)
    code, rows = predicted(toy_model.parent.parent / CATEGORY / "test")
    assert code == 1 and len(rows) == 2 and "the same command continues" in capsys.readouterr().err


def test_what_cannot_be_judged(predicted, tmp_path, capsys):
    parts = tmp_path / "parts"
    cloud = scan(seed=3)
    add_part(parts, "a", "000", picture_of(cloud), cloud, category="line")
    add_part(parts, "a", "001", np.zeros((64, 64, 3), np.uint8), cloud, category="line")
    add_part(parts, "b", "000", picture_of(cloud), np.zeros_like(cloud), category="line")
    broken = add_part(parts, "b", "001", picture_of(cloud), cloud, category="line")[1]
    Path(broken).write_bytes(Path(broken).read_bytes()[:100])
    code, rows = predicted(parts, "--pictures")
    assert code == 1 and len(rows) == 4
    reasons = {row["path"]: row["reason"] for row in rows}
    assert reasons["line/a/rgb/000.png"] == "" and "black" in reasons["line/a/rgb/001.png"]
    assert "the cloud is empty" in reasons["line/b/rgb/000.png"] and str(broken) in reasons["line/b/rgb/001.png"]
    assert (tmp_path / "out/pictures/line/b/rgb/000.png").is_file()


def parts_in(folder, first, count):
    """Good parts 000, 001, … in a folder."""
    for number in range(count):
        cloud = scan(seed=first + number)
        add_part(folder.parent, "", f"{number:03d}", picture_of(cloud, first + number), cloud, category=folder.name)
    return folder


def test_one_folder_of_verdicts_for_many_recordings(predicted, tmp_path, capsys):
    monday, tuesday = parts_in(tmp_path / "monday", 3000, 3), parts_in(tmp_path / "tuesday", 3100, 2)
    before = predicted(monday, "--pictures")[1]
    pictures = {row["path"]: (tmp_path / "out/pictures" / row["pictures"]).read_bytes() for row in before}
    rows = predicted(tuesday, "--pictures")[1]
    assert rows[:3] == before and [row["recording"] for row in rows] == ["monday"] * 3 + ["tuesday"] * 2
    assert [row["path"] for row in rows[3:]] == ["rgb/000.png", "rgb/001.png"] == [row["path"] for row in rows[:2]]
    assert all((tmp_path / "out/pictures" / row["pictures"]).read_bytes() == pictures[row["path"]] for row in rows[:3])
    assert len({row["pictures"] for row in rows}) == 5
    assert all(row["model"].startswith("toy.m3dm ") and "--false_alarm 0.2" in row["options"] for row in rows)
    assert all(row["time"][:2] == "20" for row in rows)

    capsys.readouterr()
    assert predicted(monday, "--pictures")[1] == rows and "3 of 3 parts are judged already" in capsys.readouterr().err
    again = predicted(monday, rate="0.5")[1]  # the same files with other options: judged anew
    assert len(again) == 5 and again[3:] == rows[3:] and all("0.5" in row["options"] for row in again[:3])
    assert "3 parts were judged before: their verdicts are replaced" in capsys.readouterr().err

    cloud = scan(seed=3200)  # the same name, another part: both verdicts stay
    add_part(tmp_path, "", "000", picture_of(cloud, 3200), cloud, category="monday")
    rows = predicted(monday, "--pictures")[1]
    assert [row["path"] for row in rows[:2]] == ["rgb/000.png"] * 2 and len(rows) == 6
    assert rows[0]["score"] != rows[1]["score"] and len({row["pictures"] for row in rows}) == 6
    (tmp_path / "other").mkdir()
    rows = predicted(parts_in(tmp_path / "other/monday", 3300, 1))[1]  # another folder of the same name
    assert [row["recording"] for row in rows[5:]] == ["tuesday", "other/monday"]


def test_a_second_command_is_refused(predicted, tmp_path, capsys):
    monday, out = parts_in(tmp_path / "monday", 3000, 1), tmp_path / "out"
    with hold_verdicts(out):
        code, rows = predicted(monday)
    assert code == 2 and rows is None and "writes its verdicts there; wait for its end" in capsys.readouterr().err
    assert len(predicted(monday)[1]) == 1


def test_a_cloud_that_is_not_there_yet(predicted, tmp_path, capsys):
    hot = parts_in(tmp_path / "hot", 3000, 3)
    late = hot / "xyz/002.tiff"
    late.rename(tmp_path / "late.tiff")
    code, rows = predicted(hot)
    assert code == 1 and [row["verdict"] == "cannot judge" for row in rows] == [False, False, True]
    assert rows[2]["reason"] == "there is no cloud yet"
    late.write_bytes((tmp_path / "late.tiff").read_bytes()[:3000])  # half of it
    code, rows = predicted(hot)
    assert code == 1 and len(rows) == 3 and "002.tiff" in rows[2]["reason"]
    (tmp_path / "late.tiff").rename(late)
    capsys.readouterr()
    code, rows = predicted(hot)
    assert code == 0 and len(rows) == 3 and rows[2]["verdict"] != "cannot judge"
    assert "2 of 3 parts are judged already" in capsys.readouterr().err


def test_links_and_folders_that_cannot_be_read(predicted, tmp_path, capsys, monkeypatch):
    scans = tmp_path / "scans"
    parts_in(scans / "line1", 3000, 1)
    (scans / "line2").symlink_to(parts_in(tmp_path / "disk", 3100, 1))
    code, rows = predicted(scans)
    assert code == 0 and [row["path"] for row in rows] == ["line1/rgb/000.png", "line2/rgb/000.png"]
    walk = data.scans.walk
    monkeypatch.setattr("data.scans.walk", lambda place: walk(place)._replace(unreadable=("line3: cannot be read",)))
    capsys.readouterr()
    assert predicted(scans)[0] == 1 and "line3: cannot be read" in capsys.readouterr().err


def test_known_parts_do_not_count_as_evidence(toy_model, predicted, tmp_path, capsys):
    data = toy_model.parent.parent / CATEGORY
    test = predicted(data / "test", "--evaluate", out=tmp_path / "test")[1]
    rates = (tmp_path / "test/evaluation.md").read_text()
    capsys.readouterr()
    whole = predicted(data, "--evaluate", out=tmp_path / "whole")[1]
    text = (tmp_path / "whole/evaluation.md").read_text()
    assert len(whole) == len(test) + 4 + 5 and text.endswith(rates)
    assert text.startswith("9 parts that the model was fitted or calibrated with are left out of the rates: train/good")


def test_one_part(toy_model, predicted, tmp_path, capsys):
    cloud = scan(seed=3)
    rgb, xyz, _ = add_part(tmp_path, "one", "7", picture_of(cloud), cloud)
    code, rows = predicted("--rgb", rgb, "--xyz", xyz, "--pictures")
    assert code == 0 and len(rows) == 1 and (tmp_path / "out/pictures/7.png").is_file()
    assert capsys.readouterr().out.startswith(f"{rgb}: {rows[0]['verdict']}, p ")


@pytest.mark.parametrize(
    "words, rate, told",
    [
        (["FOLDER"], "0.05", "needs at least 19 calibration parts, there are 5"),
        (["FOLDER", "--scoring", "other"], "0.2", "does not know the scoring other"),
        (["EMPTY"], "0.2", "there are no parts in it"),
        (["missing"], "0.2", "is no folder"),
        (["--rgb", "missing.png", "--xyz", "missing.tiff"], "0.2", "missing.png: missing file"),
        (["FOLDER/hole", "--evaluate"], "0.2", "there is no good part"),
        (["FOLDER"], "1", "false-alarm rate of 1.0 makes no sense"),
    ],
)
def test_refusals(toy_model, predicted, tmp_path, capsys, words, rate, told):
    (tmp_path / "empty").mkdir()
    test = toy_model.parent.parent / CATEGORY / "test"
    words = [str(w).replace("FOLDER", str(test)).replace("EMPTY", str(tmp_path / "empty")) for w in words]
    code, rows = predicted(*words, rate=rate)
    err = capsys.readouterr().err
    assert code == 2 and rows is None and len(err.splitlines()) == 1 and told in err


@pytest.mark.parametrize("words", ["", "--xyz a.tiff", "folder --rgb a --xyz a", "--rgb a --xyz b --evaluate"])
def test_contradictions(capsys, words):
    with pytest.raises(SystemExit) as info:
        main(["m.m3dm", "-o", "out", *words.split()])
    assert info.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
