"""The Inspector behind the station: the same verdicts, exact recalibration, words for what cannot be read."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from common.errors import InputError
from common.files import sha256_of
from data.scans import read_scan
from inspection.inspector import Inspector
from inspection.saved_model import read_saved
from station.judging import Model, load
from tests.fakes import PoolingExtractor
from tests.inspection.test_inspector import data, fitted, inspector  # noqa: F401 (fixtures)
from tests.make_models import CATEGORY, fitted_runner, make_parts, options_for


@pytest.fixture(scope="module")
def model(inspector):
    return Model("toy", "a" * 64, inspector)


def recordings_in(folder):
    """[{kind: path}] of all parts below a folder."""
    return [{"rgb": p, "xyz": p.parents[1] / "xyz" / f"{p.stem}.tiff"} for p in sorted(folder.rglob("rgb/*.png"))]


@pytest.fixture(scope="module")
def recordings(data):
    return recordings_in(data / CATEGORY / "test")


def test_the_verdict_is_the_inspectors(model, inspector, recordings, data):
    verdicts = set()
    for files in recordings:
        found, expected = model.judge(files), inspector.judge(*read_scan(*files.values()))
        content, statistics = found.content, found.content["statistics"]
        assert (found.verdict, found.p_value, found.score) == (expected.verdict, expected.p_value, expected.score)
        assert content["peak"] == float(expected.map.max())
        assert len(content["regions"]) == min(20, len(expected.regions))
        assert statistics["score"] == found.score and 0 < statistics["light"] < 1
        shares = sum(value for name, value in statistics.items() if name.endswith(" score"))
        assert shares == pytest.approx(found.score, rel=1e-4)
        assert "/" not in content["explanation"]
        assert found.verdict == "pass" or content["regions"][0]["text"] in content["explanation"]
        verdicts.add(found.verdict)
    assert "fail" in verdicts
    assert {model.fingerprint(files) for files in recordings_in(data / CATEGORY / "train")} <= model.known


def test_a_depth_picture_is_judged_as_its_points(inspector, recordings, tmp_path):
    saved = read_saved(inspector.model.path)
    model = Model("toy", "a" * 64, Inspector(saved, PoolingExtractor(), false_alarm=0.2))
    files = {"rgb": recordings[0]["rgb"], "depth": tmp_path / "depth.png"}
    rgb, xyz = read_scan(*recordings[0].values())
    counts = np.round(xyz[..., 2] * 1e4)
    Image.fromarray(counts.astype(np.uint16)).save(files["depth"])
    assert "keeps no camera" in model.judge(files).content["explanation"]
    height, width = counts.shape
    camera = {"fx": 90.0, "fy": 80.0, "cx": 31.0, "cy": 33.0, "size": (height, width), "unit": 1e-4, "cropped": False}
    saved.meta["camera"] = camera
    v, u = np.mgrid[:height, :width]
    points = np.stack([(u - 31) * counts / 90, (v - 33) * counts / 80, counts], -1) * 1e-4
    found, expected = model.judge(files), model._inspector.judge(rgb, points.astype(np.float32))
    assert (found.verdict, found.score) == (expected.verdict, pytest.approx(expected.score, rel=1e-5))
    assert model.fingerprint(files) == "" and found.content["statistics"]["score"] == found.score


def test_recalibration_is_that_of_a_model_saved_with_these_parts(model, inspector, recordings):
    judged = [model.judge(files) for files in recordings]
    scores = [*model.own_scores, *(j.score for j in judged)]
    peaks = [*model.own_peaks, *(j.content["peak"] for j in judged)]
    made, saved = model.calibrated_with(scores, peaks, 7), read_saved(inspector.model.path)
    measured = zip(("score", "peak"), (scores, peaks))
    arrays = saved.arrays | {f"calibration.{kind}.{inspector.scoring}": np.array(of) for kind, of in measured}
    exact = Inspector(saved._replace(arrays=arrays), PoolingExtractor(), 0.2)
    for files in recordings:
        found, expected = made.judge(files), exact.judge(*read_scan(*files.values()))
        assert (found.verdict, found.p_value) == (expected.verdict, expected.p_value)
        assert found.content["threshold"] == expected.threshold
        assert [r["pixels"] for r in found.content["regions"]] == [r.pixels for r in expected.regions[:20]]
        assert f"{expected.threshold:.4g}" in found.content["explanation"]
    assert made.options["calibration"] == 7 and model.judge(recordings[0]).content["threshold"] == inspector.threshold
    assert any(before.p_value != made.judge(files).p_value for before, files in zip(judged, recordings))
    with pytest.raises(InputError, match="20 % needs at least 4"):
        model.calibrated_with(scores[:3], peaks[:3], 8)


def test_what_cannot_be_read_cannot_be_judged(model, recordings, tmp_path):
    good = recordings[0]
    (tmp_path / "empty").touch()
    tifffile.imwrite(tmp_path / "flat.tiff", np.zeros((64, 64), np.float32))
    for kind, name, words in (
        ("rgb", "empty", "empty: cannot be read as picture"),
        ("xyz", "empty", "empty"),
        ("xyz", "flat.tiff", "flat"),
    ):
        found = model.judge({**good, kind: tmp_path / name})
        told = found.content["explanation"]
        assert found.verdict == "cannot judge" and found.score is None and found.content["statistics"] == {}
        assert words in told and str(tmp_path) not in told and str(good["rgb"].parent) not in told
        assert found.pictures == ()


def test_pictures(model, recordings, tmp_path):
    found = next(j for j in map(model.judge, recordings) if j.content["regions"])
    found.draw(tmp_path)
    assert sorted(found.pictures) == sorted(path.stem for path in tmp_path.iterdir()) == ["depth", "normal", "part"]
    assert [Image.open(path).size for path in tmp_path.iterdir()] == [(672, 672)] * 3
    outlined = np.asarray(Image.open(tmp_path / "part.jpg")).astype(int)
    pink = (outlined[..., 0] > 180) & (outlined[..., 1] < 90) & (outlined[..., 2] > 120)
    assert pink.sum() > 100


def test_a_model_that_was_replaced_while_it_was_read(inspector, monkeypatch):
    monkeypatch.setattr(Inspector, "load", lambda *_: inspector)
    path = inspector.model.path
    words = ("checkpoints", "cpu", 0.2, None, None)
    assert load(path, "toy", sha256_of(path), *words).id == f"toy:{sha256_of(path)[:12]}"
    with pytest.raises(InputError, match="was replaced while it was read"):
        load(path, "toy", "0" * 64, *words)


def test_a_model_without_clouds_and_calibration_parts(recordings, tmp_path):
    data = make_parts(tmp_path)
    for folder in list(data.rglob("xyz")):
        shutil.rmtree(folder)
    _, path = fitted_runner(options_for(data, "DINO", "--calibration", "none"))
    model = Model("toy", "a" * 64, Inspector(read_saved(path), PoolingExtractor(), 0.2))
    assert len(model.scores) == 4 and len(model.own_scores) == 0 and len(model.known) == 4
    found = model.judge(recordings[0])
    found.draw(tmp_path)
    assert sorted(found.pictures) == sorted(path.stem for path in tmp_path.glob("*.jpg")) == ["normal", "part"]
