"""A method that reads no clouds, on folders without xyz/: fit, verdicts, new calibration parts, a picture alone."""

import csv

import numpy as np
import pytest
from PIL import Image

import m3dm_runner
import main as run_main
import models.weights
from common.errors import InputError
from inspection.inspector import Inspector
from inspection.saved_model import read_saved
from tests.fakes import PoolingExtractor
from tests.make_data import picture_of, scan
from tools import predict, recalibrate


def pictures(folder, first, count, stain=0):
    """Write ``count`` pictures into ``folder``/rgb; ``stain``: side of a square of another colour."""
    (folder / "rgb").mkdir(parents=True)
    for number in range(count):
        picture = picture_of(scan(seed=first + number), first + number)
        picture[26 : 26 + stain, 26 : 26 + stain] = 245, 75, 160
        Image.fromarray(picture).save(folder / "rgb" / f"{number:03d}.png")
    return folder


@pytest.fixture
def model(tmp_path, monkeypatch, no_networks):
    """Path of a model that main.py has written; its data lie in tmp_path/data/cell."""
    monkeypatch.setattr(m3dm_runner, "build_extractor", lambda args: PoolingExtractor())
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: [])
    data = tmp_path / "data" / "cell"
    for place, first, count, stain in (
        ("train/good", 1000, 5, 0),
        ("validation/good", 1100, 5, 0),
        ("test/good", 1200, 2, 0),
        ("test/stain", 1300, 2, 8),
    ):
        pictures(data / place, first, count, stain)
    paths = ["--dataset_path", data.parent, "--output_dir", tmp_path / "results", "--save_model", tmp_path / "models"]
    flags = "--preset best --method_name DINO --dataset_type folder --num_workers 0 --device cpu".split()
    assert run_main.main([*flags, *map(str, paths)]) == 0
    return tmp_path / "models" / "cell.m3dm"


def test_from_pictures_to_verdicts(model, tmp_path, capsys):
    test, out = tmp_path / "data/cell/test", tmp_path / "out"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(test / "good/rgb/black.png")
    words = [model, test, "-o", out, "--device", "cpu", "--num_workers", "0", "--false_alarm", "0.2"]
    assert predict.main(list(map(str, [*words, "--evaluate", "--pictures"]))) == 1  # one cannot be judged
    with open(out / "verdicts.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows["good/rgb/black.png"]["reason"].endswith("the picture is black: camera or light is off: rescan")
    assert [rows[f"stain/rgb/00{n}.png"]["verdict"] for n in (0, 1)] == ["fail", "fail"]
    assert "the first: " in rows["stain/rgb/000.png"]["explanation"]
    with Image.open(out / "pictures/stain/rgb/000.png") as picture:
        assert picture.size[0] > 1000
    capsys.readouterr()
    one = [model, "--rgb", test / "stain/rgb/000.png", "-o", tmp_path / "one", *words[4:]]
    assert predict.main(list(map(str, one))) == 0
    assert ": fail, p " in capsys.readouterr().out


def test_a_picture_alone_is_judged_or_refused(model):
    inspector = Inspector(read_saved(model), PoolingExtractor(), 0.2)
    good = picture_of(scan(seed=1200), 1200)
    assert inspector.judge(good).verdict == inspector.judge(good, scan(seed=1200)).verdict == "pass"
    judged = inspector.judge(np.repeat(good[..., :1], 3, 2))
    assert judged.verdict == "cannot judge" and "no colour" in judged.reason and judged.cloud is None


def test_new_pictures_calibrate(model, tmp_path):
    new = pictures(tmp_path / "new" / "good", 1400, 6)
    assert recalibrate.main([str(model), str(new), "--device", "cpu"]) == 0
    assert len(read_saved(model).arrays["calibration.score.calibrated"]) == 6


def test_a_model_of_parts_with_clouds_asks_for_them(tmp_path, capsys):
    from tests.make_models import fitted_runner, make_parts, options_for

    path = fitted_runner(options_for(make_parts(tmp_path, validation=5), "DINO"))[1]
    with pytest.raises(InputError, match="toy: the model reads clouds: give xyz too"):
        Inspector(read_saved(path), PoolingExtractor(), 0.2).judge(picture_of(scan(seed=5)))
    rgb = next((tmp_path / "toy/test").glob("*/rgb/*.png"))
    assert predict.main([str(path), "--rgb", str(rgb), "-o", str(tmp_path / "out"), "--false_alarm", "0.2"]) == 2
    assert "give --xyz FILE too" in capsys.readouterr().err
