"""Which categories a run takes, and what the three data sets' files look like to it."""

import numpy as np
import pytest
import torch

from common.errors import InputError
from data.organised_clouds import valid_points
from dataset import TrainDataset, find_categories, read_points
from tests.make_data import add_part, make_category, points


@pytest.fixture
def data(tmp_path):
    """Function: a data set with these categories; returns its folder."""

    def make(*names):
        for name in names:
            make_category(tmp_path, name)
        return tmp_path

    return make


def refusal(call, *words):
    with pytest.raises(InputError) as info:
        call()
    assert len(str(info.value).splitlines()) == 1 and [str(w) for w in words if str(w) not in str(info.value)] == []


def test_official_names_in_other_spellings(data):
    root = data("Candy Cane", "lollipop", "gummy_bear")
    names, missing = find_categories(root, "eyecandies")
    assert names == ["Candy Cane", "gummy_bear", "lollipop"] and len(missing) == 7
    assert str(root / "Confetto") in missing["Confetto"] and "--category" in missing["Confetto"]


def test_an_official_name_with_two_folders_is_missing_with_the_reason(data):
    names, missing = find_categories(data("Knob Cap", "knob_cap", "power-jack"), "realiad_d3")
    assert names == ["power-jack"] and "Knob Cap, knob_cap all answer to" in missing["knob-cap"]


def test_asked_for(data):
    root = data("bagel", "my part")
    for kind in ("folder", "mvtec3d"):
        assert find_categories(root, kind, ["My_Part", "BAGEL/", "my part", "bagel"]) == (["my part", "bagel"], {})


def test_refusals(data, tmp_path):
    refusal(lambda: find_categories(tmp_path / "nowhere", "folder"), tmp_path / "nowhere")
    refusal(lambda: find_categories(tmp_path, "folder"), tmp_path, "train/good")
    root = data("one", "two", "T-wo")
    refusal(lambda: find_categories(root, "folder", ["one", "three"]), root / "three", "one", "two")
    refusal(lambda: find_categories(root, "folder", ["TWO"]), "two", "T-wo")
    assert find_categories(root, "folder", ["T-wo"]) == (["T-wo"], {})  # the exact name wins
    refusal(lambda: find_categories(root, "folder", ["one/train"]), "one/train", "not a path")
    refusal(lambda: find_categories(root / "one", "folder"), root / "one", "--category one")


# ---------------------------------------------------------------- how the data sets' files arrive


def test_eyecandies_dropped_points_are_background(tmp_path):
    """The converter's dropped points have x exactly 0 and any y and z; its tiffs are float64."""
    cloud = points(224, 224).astype(np.float64)
    cloud[:100] = (0, 0.03, -0.2)
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    (_, xyz, _), _ = TrainDataset("toy", 224, tmp_path)[0]
    assert valid_points(xyz).tolist() == list(range(100 * 224, 224 * 224))
    assert len(valid_points(read_points(path, 224, 1))) == 124 * 224
    cloud[:] = (0, 0.03, -0.2)
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    refusal(lambda: TrainDataset("toy", 224, tmp_path, 1)[0], path, "no valid point")


def test_real_iad_holes_in_z_alone(tmp_path):
    """NaN in z, coordinates in millimetres, pictures of 4:3."""
    cloud = points(60, 80) * 1000
    cloud[::2, :, 2] = np.nan
    _, path, _ = add_part(tmp_path, "train/good", rgb=np.zeros((60, 80, 3), np.uint8), xyz=cloud)
    (_, xyz, _), _ = TrainDataset("toy", 60, tmp_path)[0]
    background = torch.ones(60, 60, dtype=torch.bool)
    background[1::2] = False
    assert torch.equal(xyz.any(dim=0), ~background) and not xyz[:, background].any()
