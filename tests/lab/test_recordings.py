"""The generated recordings: their seed settles what is written, and a defect is where its mask says."""

import json

import numpy as np
import pytest
from PIL import Image

from lab.recordings.__main__ import main
from lab.recordings.kinds import KINDS
from lab.recordings.scan import scan
from lab.recordings.scene import Day
from lab.recordings.write import record_part, write_recording


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_recording_is_laid_out_as_a_plant_brings_it_and_its_seed_settles_every_byte(tmp_path):
    size = ["--train", "1", "--more", "1", "--judge", "2", "--batches", "darker30"]
    for folder in ("first", "again"):
        assert main(["tray", str(tmp_path / folder), "--seed", "3", *size]) == 0
    write_recording("tray", tmp_path / "other", 4, train=1, more=0, judge=0)
    first, again, other = (tree(tmp_path / f) for f in ("first", "again", "other"))
    assert first == again
    assert all(first[name] != content for name, content in other.items() if name.startswith("train_good/"))
    truth = json.loads(first["to_judge_truth.json"])
    wrong = [part for part, fault in truth.items() if fault != "good"]
    assert sorted(truth) == ["part_0001", "part_0002"] and len(wrong) == 1
    assert truth == json.loads(first["darker30_truth.json"])
    expected = {"camera.json"} | {f"{b}_{w}.json" for b in ("to_judge", "darker30") for w in ("truth", "sizes")}
    expected |= {f"{f}/part_0001_{w}.png" for f in ("train_good", "more_good") for w in ("color", "depth")}
    expected |= {f"{b}/{part}_{w}.png" for b in ("to_judge", "darker30") for part in truth for w in ("color", "depth")}
    expected |= {f"{b}_truth/{part}.png" for b in ("to_judge", "darker30") for part in wrong}
    assert set(first) == expected
    camera = json.loads(first["camera.json"])
    depth = np.asarray(Image.open(tmp_path / "first/train_good/part_0001_depth.png"))
    assert depth.dtype == np.uint16 and depth.shape == (camera["height"], camera["width"])
    assert np.median(depth[depth > 0]) * camera["depth_scale"] == pytest.approx(0.4, rel=0.1)
    shown = [Image.open(tmp_path / f"first/{b}/part_0001_color.png") for b in ("to_judge", "darker30")]
    bright = [np.asarray(picture).mean() for picture in shown]
    assert 0.7 < bright[1] / bright[0] < 0.92  # 30 % of the light is 18 % of the picture's values, and its gain varies


@pytest.mark.parametrize("name", KINDS)
def test_good_parts_differ_and_a_defect_changes_what_is_under_its_mask_and_little_else(name):
    kind, part = KINDS[name], [0, 3, 0]
    fault = sorted(kind.faults)[len(name) % 4]
    taken, size = record_part(kind, [*part, 0], fault)
    good = kind.part(np.random.default_rng([*part, 0]))
    same = scan(kind, good, Day(), np.random.default_rng([*part, 0, 2]))
    other, no_size = record_part(kind, [0, 3, 1, 0])
    assert not other.mask.any() and no_size is None
    assert (same.depth != other.depth).mean() > 0.3 and (same.picture != other.picture).mean() > 0.3
    assert 10 < same.picture.mean() < 230 and (same.picture > 250).mean() < 0.05 and (same.depth > 0).mean() > 0.85

    assert 8 < taken.mask.sum() < 0.35 * taken.mask.size and size.area_mm2 > 1
    both = (taken.depth > 0) & (same.depth > 0)
    height = np.abs(taken.depth.astype(float) - same.depth)[both] * kind.camera.count
    under = taken.mask[both]
    rows, columns = (
        np.linspace(0, n - 1, m).round().astype(int) for n, m in zip(taken.picture.shape, taken.mask.shape)
    )
    colour = np.abs(taken.picture.astype(float) - same.picture).max(-1)[np.ix_(rows, columns)]
    assert (under.any() and height[under].mean() > 2 * kind.camera.noise) or colour[taken.mask].mean() > 15, fault
    assert height[~under].mean() < 0.2 * kind.camera.noise and colour[~taken.mask].mean() < 4, fault


def test_a_defect_follows_its_size():
    kind = KINDS["housing"]
    small, large = (record_part(kind, [0, 5, 0, 0], "dent", *factors)[1] for factors in ((0.5, 1), (1, 1.5)))
    assert large.height_mm == pytest.approx(2 * small.height_mm, rel=0.05) and large.area_mm2 > 1.5 * small.area_mm2
