"""A category's result as a value: it comes back from its file as it was, and gives the numbers."""

import dataclasses

import numpy as np
import pytest

import scoring_addon
from common.errors import InputError
from scoring.evaluation import read, score, write
from tests.make_maps import make_evaluation


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


def test_arrays_that_do_not_fit_are_refused():
    value = make_evaluation(size=16)
    few = {"xyz": value.bank_score["xyz"]}
    for change in ({"label": value.label[1:]}, {"mask": value.mask[:, :8]}, {"bank_score": few}):
        with pytest.raises(ValueError, match="cookie"):
            dataclasses.replace(value, **change)


def test_maps_of_before_calibrated_give_it_where_the_training_maps_are_there(tmp_path):
    value = make_evaluation(size=32, train=3)
    for training_maps in (True, False):
        write(value, tmp_path / "new.npz", training_maps)
        with np.load(tmp_path / "new.npz") as file:
            np.savez(tmp_path / "old.npz", **{key: file[key] for key in file if key != "train_calibrated"})
        old = read(tmp_path / "old.npz")
        if training_maps:
            assert old.units == value.training.calibrated
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
