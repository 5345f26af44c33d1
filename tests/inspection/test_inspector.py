"""A saved model judges as the run that made it; what it says adds up; what is broken is refused in one line."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from data.scans import read_scan
from dataset import TestDataset, get_data_loader
from feature_extractors.multiple_features import METHODS
from inspection.inspector import Inspector, extractor_of
from inspection.judgement import explained
from inspection.model_file import read_model, write_model
from inspection.saved_model import check_weights, read_saved
from inspection.verdict import Decision
from models.weights import WeightFile
from runs.options import model_scorings
from scoring.scorings import MODULATED, SCORINGS
from tests.fakes import FakeExtractor, PoolingExtractor
from tests.make_data import picture_of, scan, write_png
from tests.make_models import CATEGORY, fitted_runner, make_parts, options_for

EVERY = ["--scoring", "all", "--scoring_reference", "train"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_parts(tmp_path_factory.mktemp("data"), validation=5)


@pytest.fixture(scope="module")
def fitted(data):
    """(runner, path) of two banks, with all scorings."""
    return fitted_runner(options_for(data, "DINO+Point_MAE", *EVERY))


@pytest.fixture(scope="module")
def inspector(fitted):
    return Inspector(read_saved(fitted[1]), PoolingExtractor(), false_alarm=0.2)


def scans_of(data):
    """[(picture, cloud)] of the test split, in its order."""
    return [read_scan(rgb, xyz) for rgb, xyz, _ in TestDataset(CATEGORY, 224, data).files]


@pytest.mark.parametrize("method", METHODS)
def test_the_scores_are_those_of_the_run(data, tmp_path, method):
    flags = ["--scoring", "all", *(EVERY[2:] if len(METHODS[method].bank_names) > 1 else [])]
    args = options_for(data, method, *flags, "--save_model", tmp_path)
    runner, path = fitted_runner(args)
    runner.evaluate(CATEGORY)
    made = Inspector(read_saved(path), PoolingExtractor(), false_alarm=0.2)
    assert list(made.scorings) == model_scorings(args) and made.scoring == "calibrated"
    for number, found in enumerate(scans_of(data)):
        judged = made.judge(*found)
        for name, score in judged.scores.items():
            assert score == runner.scored[name].image_preds[number], name
        assert np.array_equal(judged.map, runner.scored[made.scoring].predictions[number])


def test_scorings_that_need_the_test_set_are_left_out(data, tmp_path):
    _, path = fitted_runner(
        options_for(data, "DINO+Point_MAE", "--scoring", "disagreement", "full", "pixel_max", "--save_model", tmp_path)
    )
    assert read_saved(path).meta["scoring"]["names"] == ["pixel_max"]
    _, path = fitted_runner(options_for(data, "DINO+Point_MAE", "--scoring", "disagreement", "--save_model", tmp_path))
    assert read_saved(path).meta["scoring"]["names"] == ["baseline"]


def test_shares_add_up_to_the_score_and_to_each_region(data, fitted, inspector):
    model = read_saved(fitted[1])
    regions = 0
    for scoring in inspector.scorings:
        made = Inspector(model, PoolingExtractor(), 0.2, scoring)
        for found in scans_of(data):
            judged = made.judge(*found)
            shares = judged.explanation.shares
            assert bool(shares) == (scoring == "calibrated")
            assert not shares or sum(shares.values()) == pytest.approx(judged.score, rel=2e-6)
            assert (judged.verdict == "fail") == (judged.score > judged.threshold) == (judged.p_value <= 0.2)
            for region in judged.regions:
                regions += 1
                left, top, right, bottom = region.box
                mean = judged.map[top:bottom, left:right][region.mask].mean()
                if SCORINGS[scoring].maps != MODULATED:
                    assert sum(region.shares.values()) == pytest.approx(mean, rel=1e-5)
                assert region.peak > judged.pixel_threshold
    assert regions > 5


def test_a_dent_is_found_at_its_place(data, inspector):
    rgb, xyz = read_scan(*TestDataset(CATEGORY, 224, data).files[0][:2])
    clean = inspector.judge(rgb, xyz)
    dent = xyz.copy()
    dent[28:36, 28:36, 2] += np.where(dent[28:36, 28:36, 2] != 0, 0.03, 0).astype(np.float32)
    made = Inspector(read_saved(inspector.model.path), PoolingExtractor(), 0.2, "pixel_max")
    judged = made.judge(rgb, dent)
    assert judged.verdict == "fail" and judged.scores["pixel_max"] > clean.scores["pixel_max"]
    region = judged.regions[0]
    row, column = region.place
    assert 28 <= row * 64 / 224 <= 36 and 28 <= column * 64 / 224 <= 36
    assert f"{region.pixels} pixels at row {row}, column {column}, {region.area_mm2:.3g} mm²" in judged.explanation.text
    assert json.loads(json.dumps(judged.as_json()))["regions"][0]["place"] == [row, column]


def test_a_normal_part_is_shown_beside(data, inspector):
    first = data / inspector.model.meta["training_parts"]["names"][0]
    picture, known = inspector.normal_picture(), np.asarray(Image.open(first))
    small = np.asarray(Image.fromarray(picture).resize(known.shape[1::-1], Image.Resampling.BOX)).astype(float)
    assert picture.shape == (224, 224, 3) and np.abs(small - known).mean() < 12


def test_a_model_of_version_0_9_judges_as_before(data, fitted, inspector, tmp_path):
    """It holds ranges of the scans, the training parts' depth and pictures, and each row's place."""
    arrays, meta = read_model(fitted[1])
    picture = arrays["parts.pictures"]
    more = {"parts.depth": np.zeros((4, 56, 56)), "parts.picture_ends": len(picture) * np.arange(1, 5)}
    more |= {"parts.pictures": np.tile(picture, 4)}
    more |= {name.replace(".part", ".place"): of for name, of in arrays.items() if name.endswith(".part")}
    ranges = {"names": ["missing"], "low": [0.0], "high": [0.1], "scans": 9, "widening": 1.0}
    old = {key: of for key, of in meta.items() if key not in ("clouds", "light")} | {"layout": 1, "scan": ranges}
    write_model(tmp_path / "old.m3dm", {**arrays, **more}, old)
    made = Inspector(read_saved(tmp_path / "old.m3dm"), PoolingExtractor(), 0.2)
    assert made.preparation.clouds and made.preparation.light is None
    assert np.array_equal(made.normal_picture(), inspector.normal_picture())
    for found in scans_of(data):
        assert made.judge(*found).score == inspector.judge(*found).score


def test_nan_is_background_and_wrong_arrays_are_refused(inspector):
    cloud = scan(seed=5)
    rgb = picture_of(cloud)
    holes = np.where(cloud.any(2)[..., None], cloud, np.nan)
    assert inspector.judge(rgb, holes).score == inspector.judge(rgb, cloud).score
    for bad in ((rgb.astype(float), cloud), (rgb[..., 0], cloud), (rgb, cloud[..., :2]), (rgb, cloud.astype(str))):
        with pytest.raises(InputError, match="picture|cloud"):
            inspector.judge(*bad)


def test_values_are_immutable_and_threads_agree(data, inspector):
    scans = scans_of(data)
    alone = [inspector.judge(*found).score for found in scans]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda found: inspector.judge(*found).score, scans * 3))
    assert together == alone * 3
    judged = inspector.judge(*scans[0])
    for change in (
        lambda: setattr(judged, "score", 0.0),
        lambda: judged.map.__setitem__(0, 1.0),
        lambda: judged.scores.__setitem__("baseline", 1.0),
    ):
        with pytest.raises((AttributeError, ValueError, TypeError)):
            change()


def test_the_sentence_leaves_out_shares_of_nothing():
    shares = {"colour": 0.0, "height": 6.481, "missing": 0.0, "extra": -0.25}
    told = explained(Decision("fail", 0.02, 6.231, 1.162), shares, ())
    assert told.text == "score 6.231 above 1.162: height 6.481, extra -0.25" and told.shares == shares


# ---------------------------------------------------------------- promises and refusals


def test_without_calibration_parts_there_is_only_an_estimate(data, tmp_path):
    runner, path = fitted_runner(options_for(data, "DINO", "--calibration", "none", "--save_model", tmp_path))
    model = read_saved(path)
    assert model.meta["calibration"]["source"] == "leave-one-out" and not model.meta["calibration"]["promised"]
    made = Inspector(model, PoolingExtractor(), 0.2)
    assert not made.promised and "no guarantee, only an estimate" in made.promise
    training = get_data_loader("train", CATEGORY, 224, options_for(data))
    patches = [runner.method.extract(item[0]) for item in training]
    expected = [runner.method.judge_patches(p, i).score for i, p in enumerate(patches)]
    assert model.arrays["calibration.score.baseline"].tolist() == expected


def test_a_share_is_held_out_of_everything(data, tmp_path):
    args = options_for(data, "DINO+Point_MAE", "--calibration", "0.5", "--save_model", tmp_path, "--seed", "3")
    runner, path = fitted_runner(args)
    model = read_saved(path)
    names = model.meta["calibration"]["names"], model.meta["training_parts"]["names"]
    assert len(names[0]) == len(names[1]) == 2 and not set(names[0]) & set(names[1])
    assert runner.method.added == 2 and set(runner.training_paths) == set(names[1])


def test_which_parts_cannot_calibrate(tmp_path):
    root = make_parts(tmp_path, validation=3)
    inside = root / CATEGORY

    def copy(source):
        for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
            content = (inside / source / kind / f"002.{suffix}").read_bytes()
            (inside / "validation/good" / kind / f"001.{suffix}").write_bytes(content)

    copy("train/good")
    with pytest.raises(InputError, match=r"good/rgb/001.png: is a training part \(as toy/train/good/rgb/002"):
        fitted_runner(options_for(root))
    copy("validation/good")
    with pytest.raises(InputError, match="002.png: is the same part as .*001.png"):
        fitted_runner(options_for(root))
    write_png(inside / "validation/good/rgb/001.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match="001.png: cannot calibrate: the picture is black"):
        fitted_runner(options_for(root))


def test_a_part_that_cannot_be_judged_does_not_calibrate(tmp_path, caplog):
    root = make_parts(tmp_path, validation=4)
    path = root / CATEGORY / "validation/good/rgb/001.png"
    write_png(path, np.repeat(picture_of(scan(seed=1001))[..., :1], 3, 2))
    _, model = fitted_runner(options_for(root, "DINO"))
    assert len(read_saved(model).meta["calibration"]["names"]) == 3
    assert "001.png: cannot be judged, so it does not calibrate: the picture has no colour" in caplog.text


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda arrays, meta: meta.update(layout=99), "newer"),
        (lambda arrays, meta: meta.pop("calibration"), "no sound model"),
        (lambda arrays, meta: meta["fitted"].update(method="other"), "no sound model"),
        (lambda arrays, meta: meta["fitted"]["settings"].update(other=1), "no sound model"),
        (lambda arrays, meta: meta["fitted"]["banks"].update(fusion={}), "no sound model"),
        (lambda arrays, meta: arrays.update({"bank.rgb.part": arrays["bank.rgb.part"] + 100}), "no sound model"),
        (lambda arrays, meta: arrays.update({"bank.rgb.part": arrays["bank.rgb.part"][:-1]}), "no sound model"),
        (lambda arrays, meta: arrays.update({"calibration.score.baseline": np.array([np.nan] * 5)}), "no sound model"),
        (lambda arrays, meta: meta["calibration"].update(parts=50), "no sound model"),
        (lambda arrays, meta: meta["fitted"].update(fixes=[]), "train mode"),
    ],
)
def test_a_model_whose_checksum_was_made_to_fit_is_refused(fitted, tmp_path, change, words):
    arrays, meta = read_model(fitted[1])
    arrays = dict(arrays)
    change(arrays, meta)
    write_model(tmp_path / "edited.m3dm", arrays, meta)
    with pytest.raises(InputError, match=f"edited.m3dm: .*{words}"):
        Inspector(read_saved(tmp_path / "edited.m3dm"), PoolingExtractor(), 0.2)


def test_other_networks_are_refused(fitted):
    model = read_saved(fitted[1])
    model = model._replace(meta={**model.meta, "weights": [{"network": "DINO", "sha256": "a" * 64}]})
    file = WeightFile("DINO", "dino.pth", 1, "b" * 64, "file", False)
    with pytest.raises(InputError, match="dino.pth: other weights than .* was fitted with"):
        check_weights(model, [file])
    check_weights(model, [file._replace(sha256="a" * 64)])
    with pytest.raises(InputError, match="toy.m3dm: the xyz bank has 6 columns, the networks give 7"):
        Inspector(model, FakeExtractor(rgb=5, xyz=7), 0.2)


def test_histograms_of_a_radius_are_refused_with_the_models_name(fitted):
    """Models of version 0.9 may name one."""
    model = read_saved(fitted[1])
    model.meta["extractor"]["fpfh_feature_radius"] = 0.02
    with pytest.raises(InputError, match="toy.m3dm: its FPFH have a radius.*fit the model again"):
        extractor_of(model)
