"""A category's result as a value: it cannot be changed, comes back from its file as it was, and gives the numbers."""

import dataclasses
import json

import numpy as np
import pytest

import scoring_addon
from common.errors import InputError
from scoring import evaluation
from scoring.calibrated import bank_units, calibrated_map
from scoring.evaluation import Evaluation, metrics, read, score, write
from scoring.metrics import compute_metrics
from scoring.scorings import CALIBRATED, SCORINGS
from tests.make_maps import make_evaluation
from tests.scoring.reference_scoring import score_all


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if hasattr(one, "items"):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("options", [{}, {"fusion": False}, {"train": 3}, {"train": 2, "fusion": False}])
def test_what_is_written_comes_back_bit_for_bit(tmp_path, options):
    before = make_evaluation(size=24, **options)
    write(before, tmp_path / "a.npz", training_maps=True)
    assert same(before, read(tmp_path / "a.npz"))
    write(before, tmp_path / "a.npz")  # without the training parts' maps: all else is the same
    slim = read(tmp_path / "a.npz")
    if before.training:
        assert slim.training.decision_map is None and same(slim.training.statistics, before.training.statistics)
        assert slim.training.reference(scoring_addon.DEFAULTS) is slim.training.statistics
        assert slim.training.reference(scoring_addon.DEFAULTS._replace(lam=0.1)) is None
    assert same(dataclasses.replace(before, training=None), dataclasses.replace(slim, training=None))


def test_it_cannot_be_changed():
    value = make_evaluation(size=16, train=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.label = None
    for array in (
        value.label,
        value.decision_map,
        value.bank_map["xyz"],
        value.picture,
        value.training.bank_map["rgb"],
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(TypeError):
        value.bank_map["new"] = value.label


def test_arrays_that_do_not_fit_are_refused():
    value = make_evaluation(size=16)
    for change in (
        {"label": value.label[1:]},
        {"mask": value.mask[:, :8]},
        {"bank_score": {"xyz": value.bank_score["xyz"]}},
    ):
        with pytest.raises(ValueError, match="cookie"):
            dataclasses.replace(value, **change)


def test_scores_and_metrics_are_those_of_the_add_on():
    value = make_evaluation(size=32, train=3)
    names = [name for name in SCORINGS if name != CALIBRATED]
    for reference in ("test", "train"):
        scored = score(value, names[::-1], reference=reference)
        assert list(scored) == ["baseline", *(name for name in names[::-1] if name != "baseline")]
        known = value.training.reference(scoring_addon.DEFAULTS) if reference == "train" else None
        expected = score_all(names, value.decision_score, value.decision_map, value.samples, known=known)
        for name, found in metrics(value, scored).items():
            own = expected[name]
            assert np.array_equal(scored[name].image_preds, own.image_preds)
            assert found == compute_metrics(value.label, own.image_preds, value.mask, own.predictions)


def test_calibrated_is_the_same_for_one_part_alone_and_within_a_set(tmp_path):
    whole = make_evaluation(size=32, train=3)
    write(whole, tmp_path / "a.npz")
    saved = read(tmp_path / "a.npz")
    scored = score(whole, ["full", "calibrated", "pixel_max"])
    assert list(scored) == ["baseline", "full", "calibrated", "pixel_max"]
    statistics = bank_units(whole.training.bank_map)
    assert whole.training.calibrated == saved.training.calibrated == statistics
    for i in range(len(whole)):
        picked = {
            name: getattr(saved, name)[i : i + 1]
            for name in ("path", "defect", "label", "mask", "decision_score", "decision_map", "picture", "has_mask")
        }
        banks = {
            name: {bank: of[i : i + 1] for bank, of in getattr(saved, name).items()}
            for name in ("bank_map", "bank_score")
        }
        alone = score(dataclasses.replace(saved, **picked, **banks), ["calibrated"], reference="train")["calibrated"]
        expected = calibrated_map({bank: maps[i] for bank, maps in whole.bank_map.items()}, statistics)
        assert np.array_equal(alone.predictions[0], expected)
        assert np.array_equal(alone.predictions[0], scored["calibrated"].predictions[i])
        assert alone.image_preds[0] == scored["calibrated"].image_preds[i]


def test_maps_of_before_calibrated_give_it_where_the_training_maps_are_there(tmp_path):
    value = make_evaluation(size=32, train=3)
    for training_maps in (True, False):
        write(value, tmp_path / "new.npz", training_maps)
        with np.load(tmp_path / "new.npz") as file:
            np.savez(tmp_path / "old.npz", **{key: file[key] for key in file if key != "train_calibrated"})
        old = read(tmp_path / "old.npz")
        if training_maps:
            assert old.training.calibrated == value.training.calibrated
        else:
            with pytest.raises(InputError, match="cookie: calibrated: no statistics of training parts"):
                score(old, ["calibrated"])
            assert list(score(old, ["disagreement"])) == ["baseline", "disagreement"]


def test_training_parts_that_teach_nothing_are_told():
    value = make_evaluation(size=32, train=3)
    flat = [{bank: np.ones((32, 32)) for bank in value.bank_map}] * 2
    training = evaluation.TrainingParts.of(["a", "b"], [np.ones((32, 32))] * 2, flat, scoring_addon.DEFAULTS)
    with pytest.raises(InputError, match="cookie: calibrated: the training parts' maps show no spread"):
        score(dataclasses.replace(value, training=training), ["calibrated"])
    with pytest.raises(InputError, match="no statistics"):
        score(dataclasses.replace(value, training=None), ["calibrated"])


def test_missing_masks_leave_pixel_metrics_undefined():
    value = make_evaluation(size=16)
    lacking = dataclasses.replace(value, has_mask=value.label == 0)
    scored = score(lacking, ["pixel_max"])
    assert [*metrics(lacking, scored)["pixel_max"]][1:] == [None, None]
    assert metrics(lacking, scored)["pixel_max"].image_rocauc == metrics(value, scored)["pixel_max"].image_rocauc
    extra = evaluation.extra_metrics(lacking, scored, ["au_pro_5", "image_ap", "pixel_ap"])["pixel_max"]
    assert extra["au_pro_5"][0] is None and extra["pixel_ap"][0] is None and extra["image_ap"][0] > 0


@pytest.mark.parametrize(
    "names, parameters, reference, message",
    [
        (["disagreement"], {}, "train", "--save_train_maps"),
        (["nonsense"], {}, "test", "unknown"),
        (["pixel_max"], {"map_source": "bank"}, "test", "needs a fusion bank"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(names, parameters, reference, message):
    value = make_evaluation(size=16, fusion=False)
    with pytest.raises(InputError, match=message):
        score(value, names, scoring_addon.DEFAULTS._replace(**parameters), reference)


def test_a_file_of_version_1_is_read(tmp_path):
    value = make_evaluation(size=16, train=2)
    meta = {
        "category": "cookie",
        "options": {},
        "seed": 0,
        "training_paths": list(value.training.path),
        "untrained": True,
    }
    arrays = {"version": np.array(1), "meta": np.array(json.dumps({**meta, "train_parameters": [0.5, 64, "decision"]}))}
    for name in ("path", "defect", "label", "mask", "picture"):
        arrays[name] = np.array(getattr(value, name))
    arrays["bank_names"], arrays["bank_scores"] = (
        np.array(list(value.bank_score)),
        np.stack([*value.bank_score.values()], 1),
    )
    arrays["score_decision"], arrays["train_statistics"] = (
        value.decision_score,
        np.stack(value.training.statistics, axis=1),
    )
    for prefix, of in (("map", value), ("train_map", value.training)):
        arrays[f"{prefix}_decision"] = of.decision_map.astype(np.float32)
        for bank, maps in of.bank_map.items():
            arrays[f"{prefix}_{'bank' if bank == 'fusion' else bank}"] = maps
    np.savez_compressed(tmp_path / "old.npz", **arrays)
    found = read(tmp_path / "old.npz")
    assert isinstance(found, Evaluation) and same(found.bank_map, value.bank_map) and found.untrained
    assert same(found.training.bank_map, value.training.bank_map) and found.training.path == value.training.path


def test_marked_weights_make_it_untrained():
    value = make_evaluation(size=16)
    assert value.untrained
    trained = {**value.meta, "weights": [{"path": "dino.pth", "standin": False}]}
    assert not dataclasses.replace(value, meta=trained).untrained
