"""From a generated recording of each kind to the layout that a run reads, through the command line: against what the
camera saw."""

import json
import re
import shutil

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dataset import TestDataset
from tests.camera_files import KINDS, make_recording, record
from tests.field.parts import save_depth
from tools import check_dataset, import_parts

SIZE = (96, 128)
SPLITS = {"train_good": "train/good", "test_good": "test/good", "test_dent": "test/dent"}
INTRINSICS = {"depth_png": "camera.json", "depth_tiff": "camera_info.yaml"}
TOLERANCE = {"depth_png": 6e-4}  # metres: whole millimetres


def bring(source, output, *flags, split="train/good", kind="depth_png"):
    """Exit code of the import of one split."""
    camera = ["--intrinsics", str(source.parent / INTRINSICS[kind])] if kind in INTRINSICS else []
    camera += ["--unit", "mm"] if kind == "depth_png" and "--unit" not in flags else []
    camera += ["--no_sheet"] if split != "test/dent" else []
    return import_parts.main(
        [str(source), "-o", str(output), "--category", "knob", "--split", split, "--workers", "1", *camera, *flags]
    )


@pytest.fixture
def recording(tmp_path):
    """A recording of depth images: three training parts, two good and two dented test parts."""
    return make_recording(tmp_path / "recordings", "depth_png", 3, SIZE)


def read(folder, name="001"):
    """(rgb, xyz, gt or None) of an imported part."""
    gt = folder / f"gt/{name}.png"
    return (
        np.asarray(Image.open(folder / f"rgb/{name}.png")),
        tifffile.imread(folder / f"xyz/{name}.tiff"),
        np.asarray(Image.open(gt)) if gt.exists() else None,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_recording(tmp_path, capsys, kind):
    source = make_recording(tmp_path / "recordings", kind, 3, SIZE)
    for folder, split in SPLITS.items():
        assert bring(source / folder, tmp_path / "data", split=split, kind=kind) == 0
    assert "failed" in capsys.readouterr().out
    for first, (folder, split) in enumerate(SPLITS.items()):
        target = tmp_path / "data/knob" / split
        assert folder != "test_dent" or Image.open(target / "contact_sheet.png").size[0] > 500
        assert json.loads((target / "preprocessing.json").read_text())["counts"]["failed"] == 0
        for number in range(3 if first == 0 else 2):
            seen = record(1000 * first + number, SIZE, folder == "test_dent")
            rgb, xyz, gt = read(target, str(number + 1) if kind == "depth_tiff" else f"{number + 1:03d}")
            measured = np.isfinite(seen.depth)
            assert rgb.shape == xyz.shape == (*SIZE, 3) and np.array_equal(xyz.any(2), measured)
            np.testing.assert_allclose(xyz[measured], seen.points[measured], atol=TOLERANCE.get(kind, 1e-6))
            assert np.abs(rgb.astype(int) - seen.rgb).mean() < (6 if kind == "depth_tiff" else 0.5)
            assert (gt is not None) == (folder == "test_dent")
            assert gt is None or np.array_equal(gt > 0, seen.defect)
    assert check_dataset.main([str(tmp_path / "data"), "--workers", "1"]) == 0
    assert "errors: 0; warnings: 0" in capsys.readouterr().out
    assert all(gt or "good" in rgb.parts for rgb, _, gt in TestDataset("knob", 224, tmp_path / "data").files)


def test_it_goes_on_where_it_was(tmp_path, recording, capsys):
    source, target = recording / "train_good", tmp_path / "data/knob/train/good"
    kept = source / "depth/002.png"
    content = kept.read_bytes()
    kept.write_bytes(content[:200])
    assert bring(source, tmp_path / "data") == 1
    err = capsys.readouterr().err
    assert "002.png" in err and "knob/train/good/002" in err
    failures = json.loads((target / "preprocessing.json").read_text())["failures"]
    assert list(failures) == ["knob/train/good/002"]
    assert sorted(p.name for p in (target / "rgb").iterdir()) == ["001.png", "003.png"]
    before = (target / "xyz/001.tiff").stat().st_mtime_ns
    kept.write_bytes(content)
    for kind, number in (("color", "002"), ("depth", "002")):
        shutil.copy(source / kind / f"{number}.png", source / kind / "009.png")
    assert bring(source, tmp_path / "data") == 0
    assert "2 samples written, 2 were there, 0 failed" in capsys.readouterr().out
    assert (target / "xyz/001.tiff").stat().st_mtime_ns == before
    assert np.array_equal(read(target, "002")[1], read(target, "009")[1])
    assert json.loads((target / "preprocessing.json").read_text())["failures"] == {}


@pytest.mark.parametrize("pixels, told", [((240, 320), False), (SIZE, True)])  # of 0.8 and 1.9 mm
def test_the_plane_goes_and_the_largest_cluster_stays(tmp_path, capsys, pixels, told):
    recording = make_recording(tmp_path / "recordings", "depth_png", 3, pixels)
    assert bring(recording / "train_good", tmp_path / "data", "--remove_plane") == 0
    assert ("of the points off the plane, the others are taken away" in capsys.readouterr().err) == told
    rgb, xyz, _ = read(tmp_path / "data/knob/train/good")
    part, left = record(0, pixels).part, xyz.any(2)
    assert rgb.shape[:2] == left.shape == (left.shape[0], left.shape[0])
    assert told or 0.7 * part.sum() < left.sum() < 1.1 * part.sum()


CROP = ["--crop", "20", "10", "90", "70"]


def test_a_crop_is_that_of_the_whole_scan(tmp_path, recording):
    assert bring(recording / "test_dent", tmp_path / "all", split="test/dent") == 0
    assert bring(recording / "test_dent", tmp_path / "data", *CROP, split="test/dent") == 0
    (rgb, xyz, gt), whole = read(tmp_path / "data/knob/test/dent"), read(tmp_path / "all/knob/test/dent")
    for one, other in ((rgb, whole[0]), (xyz[..., 2], whole[1][..., 2]), (gt, whole[2])):
        assert np.array_equal(one, other[10:80, 20:110])


@pytest.mark.parametrize("flags", [CROP, ["--remove_plane"], ["--picture_bits", "12"]])
def test_splits_of_a_category_are_imported_alike(tmp_path, recording, capsys, flags):
    """The record says whether the scans are whole, which a model has to know to judge depth images."""
    for first, second in (([], flags), (flags, [])):
        assert bring(recording / "train_good", tmp_path / f"data{len(first)}", *first) == 0
        capsys.readouterr()
        content = json.loads((tmp_path / f"data{len(first)}/knob/train/good/preprocessing.json").read_text())
        assert content["camera"]["cropped"] == (first in (CROP, ["--remove_plane"]))
        assert bring(recording / "test_good", tmp_path / f"data{len(first)}", *second, split="test/good") == 2
        assert f"was imported with {flags[0]}" in capsys.readouterr().err
        assert bring(recording / "train_good", tmp_path / f"data{len(first)}", *second) == 2
    assert bring(recording / "test_good", tmp_path / f"data{len(flags)}", *flags, split="test/good") == 0


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "needs the camera's intrinsics"),
        (["--intrinsics", "600", "600", "64"], "needs four numbers"),
        (["--intrinsics", "600", "600", "6400", "48"], "lies outside"),
        (["--intrinsics", "CAMERA", "--split", "train/bad"], "has to be train/good"),
        (["--intrinsics", "CAMERA", "--crop", "100", "0", "90", "70"], "reaches over its edge"),
        (["--intrinsics", "CAMERA", "--crop", "0", "0", "90", "0"], "fewer than 56 pixels a side"),
        (["--intrinsics", "CAMERA", "--picture_glob", "ir/*.png"], "no picture|has no colours"),
    ],
)
def test_refused_in_one_line(tmp_path, recording, capsys, flags, words):
    flags = [flag.replace("CAMERA", str(recording / "camera.json")) for flag in flags]
    flags += ["--category", "knob", "--workers", "1", "--unit", "mm"]
    code = import_parts.main([str(recording / "train_good"), "-o", str(tmp_path / "data"), *flags])
    err = capsys.readouterr().err
    assert code in (1, 2) and re.search(words, err), err
    assert all(len(line) < 500 for line in err.splitlines())
    assert not list((tmp_path / "data").rglob("rgb/*.png"))


def test_another_unit_than_the_one_recognised(tmp_path, recording, capsys):
    """A warning for all scans, a failure for one of them."""
    assert bring(recording / "train_good", tmp_path / "data", "--unit", "cm") == 0
    assert "--unit cm makes it 2.3" in capsys.readouterr().err
    assert bring(recording / "train_good", tmp_path / "other", "--unit", "mm") == 0
    assert capsys.readouterr().err == ""
    save_depth(recording / "train_good/depth/002.png", record(1, SIZE).depth * 1000, 0.1)
    assert bring(recording / "train_good", tmp_path / "one") == 1
    err = capsys.readouterr().err
    assert "002.png" in err and "another unit" in err


def test_pictures_of_twelve_bits(tmp_path, recording, capsys):
    for path in (recording / "train_good/color").iterdir():
        deep = np.asarray(Image.open(path)).astype(np.uint16) * 16
        path.write_bytes(imagecodecs.png_encode(deep))
    assert bring(recording / "train_good", tmp_path / "data") == 0
    assert "--picture_bits 12" in capsys.readouterr().err and read(tmp_path / "data/knob/train/good")[0].max() < 20
    assert bring(recording / "train_good", tmp_path / "bits", "--picture_bits", "12") == 0
    assert capsys.readouterr().err == ""
    rgb, known = read(tmp_path / "bits/knob/train/good")[0], record(0, SIZE).rgb
    assert np.abs(rgb.astype(int) - known).max() <= 1
    assert bring(recording / "train_good", tmp_path / "eight", "--picture_bits", "8") == 2
    assert "more than --picture_bits 8" in capsys.readouterr().err
