"""Scans as arrays and as files are the same; fingerprints tell contents, not files; parts are found at any depth."""

import numpy as np
import pytest
import tifffile
import torch

from common.errors import InputError
from data.calibration_parts import calibration_files
from data.scans import find_parts, fingerprint, read_scan, scan_of
from dataset import TrainDataset, held_out, sample_of
from tests.make_data import add_part, make_category, picture_of, scan


def test_a_sample_of_arrays_is_that_of_the_files(tmp_path):
    make_category(tmp_path)
    data = TrainDataset("toy", 130, tmp_path)
    found = read_scan(*data.files[0][:2])
    for one, other in zip(sample_of(scan_of(*found), 130), data[0][0]):
        assert torch.equal(one[0], other)


def test_nan_and_infinity_are_background():
    cloud = scan()
    holes = cloud.copy()
    holes[0, 0], holes[1, 1, 2], holes[30, 30, 0] = np.nan, np.inf, -np.inf
    found = scan_of(picture_of(cloud), holes.astype(np.float64)).xyz
    assert found.dtype == np.float32 and not found[0, 0].any() and not found[1, 1].any() and not found[30, 30].any()
    assert np.array_equal(found[31:], cloud[31:])


def test_fingerprints_tell_contents(tmp_path):
    cloud = scan()
    rgb, xyz, _ = add_part(tmp_path, "a", "0", picture_of(cloud), cloud)
    own = fingerprint(read_scan(rgb, xyz))
    tifffile.imwrite(tmp_path / "other.tiff", cloud, compression="zlib")
    assert fingerprint(read_scan(rgb, tmp_path / "other.tiff")) == own == fingerprint(scan_of(picture_of(cloud), cloud))
    moved = cloud.copy()
    moved[30, 30, 2] = np.nextafter(moved[30, 30, 2], np.float32(1))
    assert fingerprint(scan_of(picture_of(cloud), moved)) != own
    turned = np.where(cloud == 0, np.float32(-0.0), cloud)
    assert fingerprint(scan_of(picture_of(cloud), turned)) == own


def test_parts_are_found_at_any_depth(tmp_path):
    add_part(tmp_path, "", "2", category="line")
    add_part(tmp_path, "deep/er", "10", category="line")
    add_part(tmp_path, "deep/er", "9", category="line")
    add_part(tmp_path, ".hidden", "1", category="line")
    add_part(tmp_path.parent, "nas", "0", category=tmp_path.name + "_other")
    (tmp_path / "link").symlink_to(f"../{tmp_path.name}_other/nas")
    assert [part.name for part in find_parts(tmp_path)] == [
        "line/deep/er/rgb/9.png",
        "line/deep/er/rgb/10.png",
        "line/rgb/2.png",
        "link/rgb/0.png",
    ]
    (tmp_path / "line/deep/er/xyz/9.tiff").unlink()
    with pytest.raises(InputError, match="9"):
        find_parts(tmp_path)


def test_the_share_that_is_held_out():
    drawn = held_out(20, 0.25, 0, "toy")
    assert len(drawn) == 5 and drawn == sorted(set(drawn)) and held_out(20, 0.25, 0, "TOY") == drawn
    assert held_out(20, 0.25, 1, "toy") != drawn and len(held_out(20, 0.001, 0, "toy")) == 1
    with pytest.raises(InputError, match="leaves none"):
        held_out(1, 0.5, 0, "toy")


def test_which_parts_calibrate(tmp_path):
    make_category(tmp_path)
    assert calibration_files(tmp_path, "toy").source == "none"
    with pytest.raises(InputError, match="validation/good: missing: --calibration validation needs"):
        calibration_files(tmp_path, "toy", "validation")
    add_part(tmp_path, "validation/good", "000")
    found = calibration_files(tmp_path, "toy")
    assert found.source == "validation" and [part.name for part in found.parts] == ["toy/validation/good/rgb/000.png"]
    assert calibration_files(tmp_path, "toy", "none").parts == ()
    add_part(tmp_path / "extra", "", "5", category="toy")
    add_part(tmp_path / "extra", "", "6", category="other")
    names = [calibration_files(tmp_path, name, folder=tmp_path / "extra").parts for name in ("toy", "elsewhere")]
    assert [len(parts) for parts in names] == [1, 2]
    with pytest.raises(InputError, match="is no folder"):
        calibration_files(tmp_path, "toy", folder=tmp_path / "nowhere")
