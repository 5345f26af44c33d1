"""A category's result as a value: it cannot be changed, comes back from its file as it was, and gives the numbers."""

import dataclasses
import json

import numpy as np
import pytest

import scoring_addon
from common.errors import InputError
from scoring.calibrated import bank_units, calibrated_map
from scoring.evaluation import metrics, read, score, write
from scoring.metrics import compute_metrics
from scoring.scorings import CALIBRATED, SCORINGS
from tests.make_maps import make_evaluation
from tests.scoring.reference_scoring import reference, score_maps


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
    for array in (value.label, value.bank_map["xyz"], value.picture, value.training.bank_map["rgb"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(TypeError):
        value.bank_map["new"] = value.label


def test_arrays_that_do_not_fit_are_refused():
    value = make_evaluation(size=16)
    few = {"xyz": value.bank_score["xyz"]}
    for change in ({"label": value.label[1:]}, {"mask": value.mask[:, :8]}, {"bank_score": few}):
        with pytest.raises(ValueError, match="cookie"):
            dataclasses.replace(value, **change)


def test_scores_and_metrics_are_those_of_the_paper():
    value = make_evaluation(size=32, train=3)
    names = [name for name in SCORINGS if name != CALIBRATED]
    scored = score(value, names[::-1])
    assert list(scored) == ["baseline", *(name for name in names[::-1] if name != "baseline")]
    banks = (value.bank_map[name].astype(np.float64) for name in ("rgb", "xyz"))
    scores, maps = reference(value.decision_map, *banks)
    np.testing.assert_allclose(scored["disagreement"].image_preds, scores)
    for name, found in metrics(value, scored).items():
        pixels = value.decision_map if name in ("baseline", "pixel_max", "pixel_topk") else maps
        expected = compute_metrics(value.label, scored[name].image_preds, value.mask, pixels)
        assert [*found] == pytest.approx([*expected], abs=1e-9)


def test_calibrated_is_the_same_for_one_part_alone_and_within_a_set(tmp_path):
    whole = make_evaluation(size=32, train=3)
    write(whole, tmp_path / "a.npz")
    saved = read(tmp_path / "a.npz")
    scored = score(whole, ["full", "calibrated", "pixel_max"])
    assert list(scored) == ["baseline", "full", "calibrated", "pixel_max"]
    statistics = bank_units(whole.training.bank_map)
    assert whole.training.calibrated == saved.training.calibrated == statistics
    for i, expected in enumerate(calibrated_map(whole.bank_map, statistics)):
        banks = {bank: of[i : i + 1] for bank, of in saved.bank_map.items()}
        alone = score_maps(["calibrated"], saved.decision_map[i : i + 1], banks, training=saved.training)["calibrated"]
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
    write(value, tmp_path / "new.npz", training_maps=True)
    with np.load(tmp_path / "new.npz") as file:
        arrays = {key: of for key, of in file.items() if key not in ("has_mask", "train_calibrated")}
    path, parameters = list(map(str, arrays.pop("train_path"))), json.loads(str(arrays.pop("train_parameters")))
    meta = {"category": "cookie", "options": {}, "seed": 0, "training_paths": path, "train_parameters": parameters}
    for prefix in ("map", "train_map"):
        arrays[f"{prefix}_bank"] = arrays.pop(f"{prefix}_fusion")
    arrays |= {"version": np.array(1), "meta": np.array(json.dumps({**meta, "untrained": True}))}
    np.savez_compressed(tmp_path / "old.npz", **arrays)
    found = read(tmp_path / "old.npz")
    assert same(found.bank_map, value.bank_map) and same(found.training, value.training) and found.untrained
