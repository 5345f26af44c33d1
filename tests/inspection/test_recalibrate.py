"""tools/recalibrate.py: new calibration parts without a fit; versions of a model, and the way back."""

import shutil

import numpy as np
import pytest

from inspection import history
from inspection.inspector import Inspector
from inspection.saved_model import read_saved
from tests.make_data import add_part, picture_of, scan
from tests.make_models import CATEGORY, fitted_runner, make_parts, options_for
from tools.recalibrate import main

SCORE = "calibration.score.pixel_max"


@pytest.fixture
def model(toy_model, tmp_path, no_networks):
    """Path of a copy of the model."""
    return shutil.copy2(toy_model, tmp_path / "toy.m3dm")


def recordings(folder, first, count, defect="good", metres=1.0):
    for number in range(count):
        cloud = scan(seed=first + number)
        picture = picture_of(cloud, first + number)
        add_part(folder.parent, defect, f"{first + number}", picture, cloud * metres, category=folder.name)
    return folder


def test_the_scores_of_the_new_parts_calibrate(model, tmp_path, capsys):
    before = read_saved(model)
    new = recordings(tmp_path / "new", 3000, 7)
    recordings(new, 3900, 1, defect="dent")  # beside good: left out
    assert main([str(model), str(new), "--device", "cpu"]) == 0
    told = capsys.readouterr()
    after = read_saved(model)
    assert "7 calibration parts: false-alarm rates from 12.5 %" in told.out and "--roll_back" in told.err
    assert after.meta["calibration"]["names"] == [f"good/rgb/{3000 + n}.png" for n in range(7)]
    assert after.meta["calibration"]["promised"] and after.meta["calibration"]["where"] == str(new)
    inspector = Inspector.load(model, device="cpu", false_alarm=0.2)
    own = [inspector.judge(picture_of(scan(seed=n), n), scan(seed=n)).score for n in range(3000, 3007)]
    np.testing.assert_allclose(after.arrays[SCORE], own, rtol=1e-6)
    kept = [key for key in before.arrays if not key.startswith("calibration.")]
    assert kept and all(np.array_equal(before.arrays[key], after.arrays[key]) for key in kept)

    other = tmp_path / "other" / "night.m3dm"  # another file: the model stays
    assert main([str(model), str(new), "-o", str(other), "--device", "cpu"]) == 0
    assert len(read_saved(other).arrays[SCORE]) == 7 and not history.folder_of(other).exists()
    assert len(history.versions(model)) == 2

    assert main([str(model), str(recordings(new, 3100, 3)), "--device", "cpu"]) == 0
    both = read_saved(model)
    assert np.array_equal(both.arrays[SCORE][:7], after.arrays[SCORE]) and len(both.arrays[SCORE]) == 10
    assert len(both.meta["calibration"]["fingerprints"]) == both.meta["calibration"]["parts"] == 10

    ids = [version.id for version in history.versions(model)]
    capsys.readouterr()
    assert main([str(model), "--history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ids and len(ids) == 3 and lines[2].endswith("(present)")
    for wanted in ids[1::-1]:  # back, and back again
        assert main([str(model), "--roll_back"]) == 0 and history.version_of(model).id == wanted
    assert np.array_equal(read_saved(model).arrays[SCORE], before.arrays[SCORE])
    assert main([str(model), "--roll_back"]) == 2  # there is none before
    assert main([str(model), "--roll_back", ids[2][:6]]) == 0  # and forward
    assert np.array_equal(read_saved(model).arrays[SCORE], both.arrays[SCORE])
    assert [version.id for version in history.versions(model)] == ids


def test_refusals_leave_the_model_as_it_is(toy_model, model, tmp_path, capsys):
    content, data = model.read_bytes(), toy_model.parent.parent / CATEGORY
    cut = recordings(tmp_path / "cut", 3000, 6)
    (cut / "good/xyz/3001.tiff").unlink()
    far = recordings(tmp_path / "far", 3000, 6)
    cloud = scan(seed=9)
    picture = picture_of(cloud, 9)
    picture[26:34, 26:34] = 245, 75, 160  # as bright as before
    add_part(tmp_path, "good", "far", picture, cloud, category="far")
    (tmp_path / "empty").mkdir()
    twice = recordings(tmp_path / "twice", 3000, 2)
    for kind in ("rgb/{}.png", "xyz/{}.tiff"):
        shutil.copy(twice / "good" / kind.format(3000), twice / "good" / kind.format(4000))
    for words, told in (
        ([data / "train"], "is a training part"),
        ([twice], "which calibrates already"),
        ([cut], "there is no cloud yet"),
        ([tmp_path / "empty"], "there are no parts in it"),
        ([tmp_path / "missing"], "is no folder"),
        ([recordings(tmp_path / "mm", 3000, 2, metres=1000.0)], "in the unit of the training parts"),
        ([far, "--strict"], "good/rgb/far.png: scores"),
    ):
        code = main([str(model), *map(str, words), "--device", "cpu"])
        err = capsys.readouterr().err
        assert code == 2 and told in err, (words, err)
        assert model.read_bytes() == content and not history.folder_of(model).exists()
    with pytest.raises(SystemExit):
        main([str(model), "--history", "--roll_back"])


def test_a_fit_over_a_model_keeps_it(tmp_path):
    root = make_parts(tmp_path, train=3, test=1, validation=4)
    options = options_for(root, "DINO+Point_MAE", "--scoring", "pixel_max")
    path = fitted_runner(options)[1]
    first = path.read_bytes()
    fitted_runner(options)
    known = history.versions(path)
    assert len(known) == 2 and known[0].path.read_bytes() == first and known[1].path == path
    path.write_bytes(first[:-40])  # damaged: it is kept too, but is no version
    fitted_runner(options)
    assert any("damaged" in file.name for file in history.folder_of(path).iterdir())
    assert len(history.versions(path)) == 2
