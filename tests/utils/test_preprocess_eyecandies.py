"""Eyecandies preprocessing: against known points, and from download to loader."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from common.errors import InputError
from tests.downloads import candy, make_eyecandies, turned
from tests.utils.checks import check_failures, check_written
from utils import preprocess_eyecandies
from utils.preprocess_eyecandies import drop_background, read_scene, to_points


def test_known_points_come_back(tmp_path):
    """A ball on a ground at the data set's size, through the 16-bit depth picture: the ball's points, to within the
    depth's steps."""
    make_eyecandies(tmp_path, side=512, train=1, test=())
    thing, stem = candy(512, 0.1), tmp_path / "CandyCane" / "train" / "data" / "000"
    depth, pose = read_scene(*(stem.with_name("000" + end) for end in ("_depth.png", "_info_depth.yaml", "_pose.txt")))
    low, high = thing.depth.min(), thing.depth.max()
    step = (high - low) / 65535 / 2 * 1.2  # a ray is up to 1.2 times as long as its depth
    points = to_points(depth, pose)
    np.testing.assert_allclose(points, thing.points, atol=step, rtol=0)
    xyz = drop_background(points)
    near = thing.points[-1, 256]
    along = (thing.points - near) @ turned(0.1)  # the ground's frame: x, down, ahead
    kept = (along[..., 1] <= -0.02) & (along[..., 2] <= 1.8) & (np.abs(thing.points[..., 0]) <= 1)
    edges = along[..., 1] + 0.02, along[..., 2] - 1.8, np.abs(thing.points[..., 0]) - 1
    unsure = np.any([np.abs(edge) < 1e-3 for edge in edges], axis=0)
    np.testing.assert_array_equal(xyz.any(axis=2)[~unsure], kept[~unsure])
    assert kept.sum() > 10_000 and thing.ball[kept].all()
    both = kept & xyz.any(axis=2)
    wanted = thing.points[both][:, [0, 2, 1]] * (0.1, -0.1, 0.1)
    np.testing.assert_allclose(xyz[both], wanted, atol=step / 10 + 1e-7, rtol=0)


def test_download_to_loader(tmp_path, capsys, name="Candy Cane"):
    """Whatever the folder's spelling, the result has the official one; splits follow the masks."""
    make_eyecandies(tmp_path / "src", name, train=3, test=(False, True, True))
    command = ["--dataset_path", tmp_path / "src", "--target_dir", tmp_path / "out"]
    test = check_written(preprocess_eyecandies.main, command, tmp_path / "out", {"CandyCane": (3, 2)}, capsys)
    root = tmp_path / "out" / "CandyCane"
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    wanted = [f"train/good/{kind}" for i in range(3) for kind in (f"rgb/{i:03d}.png", f"xyz/{i:03d}.tiff")]
    wanted += ["test/good/rgb/000.png", "test/good/xyz/000.tiff"]
    bad = ("rgb/{}.png", "xyz/{}.tiff", "gt/{}.png")
    assert files == sorted([*wanted, *(f"test/bad/{kind.format(n)}" for n in ("001", "002") for kind in bad)])
    for rgb, xyz, gt in test["CandyCane"].files:
        source = tmp_path / "src" / name / "test_public" / "data" / rgb.stem[1:]
        np.testing.assert_array_equal(np.asarray(Image.open(rgb)), np.asarray(Image.open(f"{source}_image_4.png")))
        if gt:
            assert Image.open(gt).mode == "L"
            np.testing.assert_array_equal(np.asarray(Image.open(gt)), np.asarray(Image.open(f"{source}_mask.png")))
        assert tifffile.imread(xyz).dtype == np.float32


def test_bad_samples_are_named(tmp_path, capsys):
    data = make_eyecandies(tmp_path / "src", train=6, test=(True,)) / "train" / "data"
    (data / "000_image_4.png").unlink()
    (data / "001_info_depth.yaml").write_text("normalization: {min: 2}")
    (data / "002_pose.txt").write_text("1 0 0\n")
    Image.open(data / "003_depth.png").convert("L").save(data / "003_depth.png")
    (data / "004_info_depth.yaml").write_text("normalization: {min: 2, max: .nan}")
    (data.parents[1] / "test_public" / "data" / "00_mask.png").write_bytes(b"")
    reasons = {
        "CandyCane/train/000": "000_image_4.png missing",
        "CandyCane/train/001": "KeyError",
        "CandyCane/train/002": "4×4",
        "CandyCane/train/003": "16 bits",
        "CandyCane/train/004": "min < max",
        "CandyCane/test/000": "cannot be read as picture",
    }
    words = ["--dataset_path", tmp_path / "src", "--target_dir", tmp_path / "out"]
    check_failures(preprocess_eyecandies.main, words, tmp_path / "out", reasons, capsys)


def test_without_a_ground_it_is_refused():
    with pytest.raises(InputError, match="ground"):
        drop_background(np.ones((4, 4, 3)))
