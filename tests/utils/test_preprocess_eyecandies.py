"""Eyecandies preprocessing: against a pixel-by-pixel version, against known points, and from download to loader."""

import json

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.errors import InputError
from dataset import TestDataset, TrainDataset
from tests.data.test_preprocess_common import snapshot
from tests.downloads import EYECANDIES_FOCAL, candy, make_eyecandies, turned
from tools import check_dataset
from utils import preprocess_eyecandies
from utils.preprocess_eyecandies import drop_background, read_depth, read_pose, read_range, to_points


def slow(depth, pose):
    """Pixel by pixel, with the rotation there and back, as the conversion is described; [H, W, 3] float64."""
    height, width = depth.shape
    intrinsics = np.diag([EYECANDIES_FOCAL, EYECANDIES_FOCAL, 1.0, 1.0])
    intrinsics[:2, 2] = width / 2, height / 2
    inverse = np.linalg.inv(intrinsics @ pose)
    points = []
    for v in range(height):
        for u in range(width):
            d = depth[v, u]
            points.append((inverse @ np.array([u, v, 1, 1 / d]) * d)[:3])
    first, last = points[width // 2], points[-(width // 2)]
    angle = np.arctan2(first[1] - last[1], first[2] - last[2])
    there, origin = turned(angle), np.array([0, last[1], last[2]])
    assert np.allclose((there @ (first - last))[1], 0) and (there @ (first - last))[2] > 0
    out = []
    for point in points:
        x, y, z = there @ (point - origin)
        if y > -0.02 or z > 1.8 or abs(x) > 1:
            out.append((0, 0, 0))
        else:
            x, y, z = there.T @ np.array([x, y, z]) + origin
            out.append((0.1 * x, -0.1 * z, 0.1 * y))
    return np.array(out).reshape(height, width, 3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(2, 9), width=st.integers(2, 9))
def test_equals_the_slow_version_on_any_picture(seed, height, width):
    """Random depth and pose, pictures that are not square."""
    rng = np.random.default_rng(seed)
    depth, pose = rng.uniform(0.3, 3, (height, width)), np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=3)
    wanted = slow(depth, pose)
    try:
        np.testing.assert_allclose(drop_background(to_points(depth, pose)), wanted, atol=1e-6, rtol=0)
    except InputError as error:
        assert "nothing is left" in str(error) and not wanted.any()


def test_known_points_come_back(tmp_path):
    """A ball on a ground at the data set's size, through the 16-bit depth picture: the ball's points, to within the
    depth's steps."""
    make_eyecandies(tmp_path, side=512, train=1, test=())
    thing, stem = candy(512, 0.1), tmp_path / "CandyCane" / "train" / "data" / "000"
    low, high = read_range(stem.with_name("000_info_depth.yaml"))
    depth, pose = read_depth(stem.with_name("000_depth.png"), low, high), read_pose(stem.with_name("000_pose.txt"))
    assert low == thing.depth.min() and high == thing.depth.max()
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


def test_download_to_loader(tmp_path, name="Candy Cane"):
    """Whatever the folder's spelling, the result has the official one; splits follow the masks; a second run changes
    nothing."""
    make_eyecandies(tmp_path / "src", name, train=3, test=(False, True, True))
    command = ["--dataset_path", str(tmp_path / "src"), "--target_dir", str(tmp_path / "out"), "--workers", "1"]
    assert preprocess_eyecandies.main(command) == 0
    root = tmp_path / "out" / "CandyCane"
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    wanted = [f"train/good/{kind}" for i in range(3) for kind in (f"rgb/{i:03d}.png", f"xyz/{i:03d}.tiff")]
    wanted += ["test/good/rgb/000.png", "test/good/xyz/000.tiff"]
    bad = ("rgb/{}.png", "xyz/{}.tiff", "gt/{}.png")
    assert files == sorted([*wanted, *(f"test/bad/{kind.format(n)}" for n in ("001", "002") for kind in bad)])
    train, test = (of("CandyCane", 224, tmp_path / "out", 1) for of in (TrainDataset, TestDataset))
    assert len(train) == 3 and all((train[i][0][1] != 0).any() for i in range(3))
    assert [test[i][2] for i in range(3)] == [1, 1, 0]
    assert [bool(test[i][1].any()) for i in range(3)] == [True, True, False]
    for rgb, xyz, gt in test.files:
        points = tifffile.imread(xyz)
        assert points.shape == (64, 64, 3) and points.dtype == np.float32
        source = tmp_path / "src" / name / "test_public" / "data" / rgb.stem[1:]
        np.testing.assert_array_equal(np.asarray(Image.open(rgb)), np.asarray(Image.open(f"{source}_image_4.png")))
        if gt:
            mask = Image.open(gt)
            assert mask.mode == "L"
            np.testing.assert_array_equal(np.asarray(mask), np.asarray(Image.open(f"{source}_mask.png")))
    assert check_dataset.main([str(tmp_path / "out"), "--workers", "1", "--num_group", "64"]) == 0
    after = snapshot(tmp_path / "out")
    assert preprocess_eyecandies.main(command) == 0 and snapshot(tmp_path / "out") == after
    assert json.loads((tmp_path / "out" / "preprocessing.json").read_text())["counts"]["written"] == 6


def test_bad_samples_are_named(tmp_path, capsys):
    data = make_eyecandies(tmp_path / "src", train=6, test=(True,)) / "train" / "data"
    (data / "000_image_4.png").unlink()
    (data / "001_info_depth.yaml").write_text("normalization: {min: 2}")
    (data / "002_pose.txt").write_text("1 0 0\n")
    Image.open(data / "003_depth.png").convert("L").save(data / "003_depth.png")
    (data / "004_info_depth.yaml").write_text("normalization: {min: 2, max: .nan}")
    (data.parents[1] / "test_public" / "data" / "00_mask.png").write_bytes(b"")
    words = ["--dataset_path", str(tmp_path / "src"), "--target_dir", str(tmp_path / "out"), "--workers", "1"]
    assert preprocess_eyecandies.main(words) == 1
    failures = json.loads((tmp_path / "out" / "preprocessing.json").read_text())["failures"]
    reasons = {
        "train/000": "000_image_4.png missing",
        "train/001": "KeyError",
        "train/002": "4×4",
        "train/003": "16 bits",
        "train/004": "min < max",
        "test/000": "cannot be read as picture",
    }
    assert set(failures) == {f"CandyCane/{name}" for name in reasons}
    err = capsys.readouterr().err
    for name, text in reasons.items():
        assert text in failures[f"CandyCane/{name}"] and f"failed: CandyCane/{name}: " in err


def test_without_a_ground_it_is_refused():
    with pytest.raises(InputError, match="ground"):
        drop_background(np.ones((4, 4, 3)))
