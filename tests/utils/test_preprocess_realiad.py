"""Real-IAD D3 preprocessing: pairing, both conventions for the points, sizes, and the way from download to loader."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from dataset import TestDataset
from tests.downloads import chip, make_realiad_d3
from tests.make_data import write_png, write_tiff
from tests.utils.checks import check_failures, check_written, convert
from utils import preprocess_realiad_d3


def preprocess(source, out, *flags):
    """Exit code of the command in this process."""
    return convert(preprocess_realiad_d3.main, source, "-o", out, *flags)


def background_zero(points):
    """Pixels without a measurement as 0, float32."""
    return np.where(np.isnan(points[..., 2:]), 0, points).astype(np.float32)


def test_files_are_paired_by_sample_not_by_position(tmp_path):
    """Eleven samples whose file names sort differently in each folder, and whose contents tell the number of the
    sample."""
    make_realiad_d3(tmp_path / "src", train=11, names={"rgb": "{id}_x_L05_y_RGB_0{seed}.jpg"})
    source = tmp_path / "src" / "knob-cap" / "train" / "GOOD"
    files = source.rglob("*L05*RGB*.jpg"), source.rglob("*.tiff")
    order = [[p.stem.split("_")[0] for p in sorted(of)] for of in files]
    assert order[0] != order[1] and set(order[0]) == set(order[1])
    assert preprocess(tmp_path / "src", tmp_path / "out") == 0
    good = tmp_path / "out" / "knob-cap" / "train" / "good"
    assert len(list((good / "rgb").iterdir())) == 11
    for number in range(1, 12):
        points = tifffile.imread(good / "xyz" / f"S{number}.tiff")
        np.testing.assert_array_equal(points, background_zero(chip((60, 80), number)))
        blue = np.asarray(Image.open(good / "rgb" / f"S{number}.png"))[30, 40, 2]
        assert abs(int(blue) - 10 * number) <= 4  # the JPEG's loss


def test_unpaired_and_ambiguous_files_are_named(tmp_path, capsys):
    category = make_realiad_d3(tmp_path / "src", train=4, defects=("scratch",))
    train, scratch = category / "train" / "GOOD", category / "test" / "scratch"
    next((train / "rgb").rglob("S1_*L05*.jpg")).unlink()  # the picture of another light stays
    next((train / "xyz").glob("S2_*")).unlink()
    write_tiff(train / "xyz" / "S3_again.tiff", chip((60, 80)))
    next((scratch / "gt" / "rgb").glob("S1_*")).unlink()
    write_png(scratch / "gt" / "rgb" / "S9_x.png", np.zeros((60, 80), np.uint8))
    write_tiff(train / "xyz" / "S4_4_cloud.tiff", chip((60, 80)) * (1, 1, np.nan))
    reasons = {
        "knob-cap/train/good/S1": "no file in rgb",
        "knob-cap/train/good/S2": "no file in xyz",
        "knob-cap/train/good/S3": "2 files in xyz",
        "knob-cap/train/good/S4": "no pixel",
        "knob-cap/test/scratch/S1": "no file in gt/rgb",
        "knob-cap/test/scratch/S9": "no file in rgb and no file in xyz",
    }
    words = [tmp_path / "src", "-o", tmp_path / "out"]
    check_failures(preprocess_realiad_d3.main, words, tmp_path / "out", reasons, capsys)
    assert len(list((tmp_path / "out").rglob("rgb/*.png"))) == 2


@pytest.mark.parametrize("size", [(60, 60), (60, 80)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conventions(tmp_path, size, dtype):
    """Sensor: as measured, in the file's unit, 0 where nothing was. Pixel: row, column, and the smallest z where
    nothing was measured."""
    make_realiad_d3(tmp_path / "src", rgb_size=size, xyz_size=size, dtype=dtype)
    for convention in ("sensor", "pixel"):
        assert preprocess(tmp_path / "src", tmp_path / convention, "--xyz", convention) == 0
    source = chip(size, 1, dtype)
    missing = np.isnan(source[..., 2])
    assert source.dtype == dtype and 0.2 < missing.mean() < 0.7
    sensor = tifffile.imread(tmp_path / "sensor" / "knob-cap" / "train" / "good" / "xyz" / "S1.tiff")
    # millimetres
    assert sensor.dtype == np.float32 and not sensor[missing].any() and sensor[~missing][:, 2].min() > 290
    np.testing.assert_array_equal(sensor[~missing], source[~missing].astype(np.float32))
    pixel = tifffile.imread(tmp_path / "pixel" / "knob-cap" / "train" / "good" / "xyz" / "S1.tiff")
    np.testing.assert_array_equal(pixel[..., 0], np.arange(size[0])[:, None].repeat(size[1], 1))
    np.testing.assert_array_equal(pixel[..., 1], np.arange(size[1])[None].repeat(size[0], 0))
    z = np.where(missing, np.nanmin(source[..., 2]), source[..., 2])
    np.testing.assert_array_equal(pixel[..., 2], z.astype(np.float32))
    assert (pixel != 0).all(axis=2).sum() == (size[0] - 1) * (
        size[1] - 1
    )  # row 0 and column 0 are lost, as in the fork
    assert preprocess(tmp_path / "src", tmp_path / "sensor", "--xyz", "pixel") == 2  # not both in one folder


@pytest.mark.parametrize(
    "rgb_size, xyz_size, gt_size, wanted_xyz, wanted_gt",
    [
        ((60, 80), (60, 80), (60, 80), (60, 80), (60, 80)),
        ((60, 80), (30, 40), (120, 160), (30, 40), (120, 160)),  # the same aspect: as they are
        ((60, 80), (60, 60), (90, 90), (60, 80), (90, 120)),
        ((60, 60), (30, 40), (60, 80), (40, 40), (80, 80)),
    ],
)
def test_points_and_masks_get_the_aspect_of_the_picture(tmp_path, rgb_size, xyz_size, gt_size, wanted_xyz, wanted_gt):
    """Stretched by the nearest-neighbour rules of loading, so that after loading all three agree as they did before."""
    make_realiad_d3(tmp_path / "src", rgb_size=rgb_size, xyz_size=xyz_size, gt_size=gt_size)
    assert preprocess(tmp_path / "src", tmp_path / "out") == 0
    folder = tmp_path / "out" / "knob-cap" / "test" / "scratch"
    source = background_zero(chip(xyz_size, 4))
    points, mask = tifffile.imread(folder / "xyz" / "S1.tiff"), Image.open(folder / "gt" / "S1.png")
    raw = Image.open(next((tmp_path / "src" / "knob-cap" / "test" / "scratch" / "gt" / "rgb").glob("S1_*")))
    assert Image.open(folder / "rgb" / "S1.png").size == rgb_size[::-1]
    assert points.shape[:2] == wanted_xyz and mask.size == wanted_gt[::-1]
    planes = torch.from_numpy(source).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size=wanted_xyz, mode="nearest")[0].permute(1, 2, 0)
    np.testing.assert_array_equal(points, resized.numpy())
    np.testing.assert_array_equal(np.asarray(mask), np.asarray(raw.resize(wanted_gt[::-1], Image.NEAREST)))
    # no measurement is lost
    assert {tuple(p) for p in source.reshape(-1, 3)} == {tuple(p) for p in points.reshape(-1, 3)}
    sample, gt = TestDataset("knob-cap", 224, tmp_path / "out", 1)[1][:2]
    part = (sample[1] != 0).all(0).numpy()
    bright = (sample[0][0] > -1).numpy()  # the picture's disc: where its red is not the dark background's
    assert (part == bright).mean() > 0.95 and part[gt[0].numpy() > 0].mean() > 0.9


def test_download_to_loader(tmp_path, capsys):
    """Any spelling of the category and of the files' names."""
    make_realiad_d3(tmp_path / "src", "Fork_Crimp-Terminal", defects=("scratch", "Bent"))
    names, size = {"rgb": "{id}_l05_{seed}_rgb.JPG", "xyz": "{id}.TIFF"}, (90, 90)
    make_realiad_d3(tmp_path / "src", "limit-switch", names=names, rgb_size=size, xyz_size=size)
    out, parts = tmp_path / "out", {"fork_crimp_terminal": (2, 4), "limit-switch": (2, 2)}
    tests = check_written(preprocess_realiad_d3.main, [tmp_path / "src", "-o", out], out, parts, capsys, 0.95)
    wanted = {"fork_crimp_terminal": ["Bent", "good", "scratch"], "limit-switch": ["good", "scratch"]}
    for category, defects in wanted.items():
        folder = out / category
        assert sorted(p.name for p in (folder / "test").iterdir()) == defects and not list(folder.rglob("*.jpg"))
        assert all(set(np.unique(Image.open(gt))) == {0, 255} for _, _, gt in tests[category].files if gt)
