"""MVTec 3D-AD preprocessing: plane, padding, the part that is kept, failures, and the way from download to loader."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from common.errors import InputError
from data.foreground import EPS, FRAME, MIN_POINTS, PLANE_BAND, PLANE_THRESHOLD, isolate, pad_square
from data.pictures import read_defect
from tests.data.test_preprocess_common import content, snapshot
from tests.downloads import make_mvtec3d, scene
from tests.make_data import write_png, write_tiff
from tests.utils.checks import check_failures, check_written
from utils import preprocessing


@pytest.mark.parametrize("size, seed", [((400, 400), 0), ((240, 320), 1), ((360, 160), 2)])
def test_exactly_the_larger_object_is_kept(size, seed):
    part = scene(size, seed)
    rgb, xyz, touching, *_ = isolate(part.rgb, part.xyz)
    kept, noise = xyz.any(axis=2), 6 * 0.0002
    assert kept.sum() > 1000 and touching == 0
    surely = part.larger & part.measured & (part.height > PLANE_BAND + noise)
    assert kept[surely].all()
    assert not kept[~(part.larger & part.measured & (part.height > PLANE_BAND - noise))].any()
    np.testing.assert_array_equal(xyz[kept], part.xyz[kept])
    shown = kept | ~part.measured  # without a measurement the picture stays
    np.testing.assert_array_equal(rgb[shown], part.rgb[shown])
    assert not rgb[part.measured & ~kept].any()
    assert xyz.dtype == np.float32 and rgb.dtype == np.uint8


@pytest.mark.parametrize("size, side, top, left", [((600, 800), 800, 100, 0), ((501, 333), 600, 49, 133)])
def test_padding(size, side, top, left):
    array = np.random.default_rng(0).uniform(1, 2, (*size, 3)).astype(np.float32)
    out = pad_square(array)
    assert out.shape == (side, side, 3) and out.dtype == array.dtype
    np.testing.assert_array_equal(out[top : top + size[0], left : left + size[1]], array)
    assert np.count_nonzero(out) == array.size
    # the odd one is at the bottom or right
    assert 0 <= side - size[0] - 2 * top <= 1 and 0 <= side - size[1] - 2 * left <= 1
    np.testing.assert_array_equal(pad_square(array[..., 0]), out[..., 0])


def curved(part):
    part.xyz[..., 2] -= 2 * (part.xyz[..., 0] ** 2).astype(np.float32)
    return part.xyz


def unmeasured_frame(part):
    keep = np.zeros(part.measured.shape, bool)
    keep[FRAME:-FRAME, FRAME:-FRAME] = True
    return np.where(keep[..., None], part.xyz, 0)


FAILURES = {
    "no plane: 0 of the frame's pixels": lambda: unmeasured_frame(scene((120, 120))),
    "% of the frame's": lambda: curved(scene((120, 120), view=0.5)),
    "nothing is left": lambda: scene((120, 120))._replace(xyz=scene((120, 120), shift=1.0).xyz * (1, 1, 1)).xyz[:70],
    "touches the frame": lambda: scene((120, 120), shift=0.03).xyz,
}


@pytest.mark.parametrize("reason", FAILURES)
def test_a_scene_that_cannot_be_done(reason):
    xyz = FAILURES[reason]().astype(np.float32)
    with pytest.raises(InputError, match=reason):
        isolate(np.full(xyz.shape, 9, np.uint8), xyz)


def test_download_to_loader(tmp_path, capsys):
    """Every sample is there, in the layout the loader reads."""
    source, out = tmp_path / "xyz.tiff", tmp_path / "out"  # a path that holds both words
    make_mvtec3d(source, "bagel", (120, 160), defects=("hole", "crack"))
    make_mvtec3d(source, "Cable-Gland", (140, 100), defects=("bent",))
    before, parts = snapshot(source), {"bagel": (2, 2), "cable_gland": (2, 1)}
    for test in check_written(preprocessing.main, [source, "-o", out], out, parts, capsys, 0.8).values():
        for rgb, xyz, gt in test.files:
            points = tifffile.imread(xyz)
            assert points.shape == (200, 200, 3) and points.dtype == np.float32
            assert Image.open(rgb).size == (200, 200)
            if gt:
                mask = np.asarray(Image.open(gt))
                assert mask.shape == (200, 200) and set(np.unique(mask)) == {0, 255}
    assert snapshot(source) == before
    record = json.loads((out / "preprocessing.json").read_text())
    assert record["counts"] == {"written": 11, "skipped": 0, "failed": 0}
    assert record["options"]["seed"] == 0 and record["state"] == "finished"
    assert (out / "bagel" / "validation" / "good" / "rgb" / "000.png").is_file()


def test_bad_samples_are_named_and_the_others_written(tmp_path, capsys):
    folder = make_mvtec3d(tmp_path / "src", "tire", train=5)
    good = folder / "train" / "good"
    write_tiff(good / "xyz" / "000.tiff", scene((120, 120), shift=0.03).xyz)
    (good / "xyz" / "001.tiff").write_bytes(b"no tiff")
    write_png(good / "rgb" / "002.png", np.zeros((60, 60, 3), np.uint8))
    (good / "rgb" / "003.png").unlink()
    (folder / "test" / "hole" / "gt" / "000.png").unlink()
    xyz = tifffile.imread(good / "xyz" / "004.tiff")
    xyz[60, 60] = np.nan
    write_tiff(good / "xyz" / "004.tiff", xyz)
    reasons = {
        "tire/train/good/000": "touches",
        "tire/train/good/001": "cannot be read",
        "tire/train/good/002": "have to be equal",
        "tire/train/good/003": "no file in rgb",
        "tire/test/hole/000": "no file in gt",
    }
    run = preprocessing.main, [tmp_path / "src", "-o", tmp_path / "out"], tmp_path / "out", reasons, capsys
    record, err = check_failures(*run)
    assert record["counts"] == {"written": 3, "skipped": 0, "failed": 5}
    assert "1 pixels with NaN" in record["warnings"]["tire/train/good/004"] and "warning: tire/train/good/004" in err
    after = snapshot(tmp_path / "out")
    check_failures(*run)
    assert snapshot(tmp_path / "out") == after


class Stop:
    """Stands in for a function: raises KeyboardInterrupt at call number ``at``."""

    def __init__(self, function, at):
        self.function, self.left = function, at

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("place, at", [("save", 2), ("move", 5), ("finish", 1)])
def test_in_place_survives_an_interruption(tmp_path, monkeypatch, place, at):
    """Wherever it is stopped, the next run ends with what a run to another folder gives, and a third changes
    nothing."""
    source = tmp_path / "src"
    for category in ("bagel", "Tire"):
        make_mvtec3d(source, category)
    command = [str(source), "--workers", "1"]
    assert preprocessing.main([*command, "-o", str(tmp_path / "out")]) == 0
    with monkeypatch.context() as patch:
        if place == "save":
            patch.setattr(preprocessing.common, "save_sample", Stop(preprocessing.common.save_sample, at))
        elif place == "move":
            replace, stop = preprocessing.Path.replace, Stop(lambda: None, at)
            patch.setattr(preprocessing.Path, "replace", lambda path, target: (stop(), replace(path, target))[1])
        else:
            patch.setattr(preprocessing.common.Record, "finish", Stop(preprocessing.common.Record.finish, at))
        assert preprocessing.main([*command, "--in_place"]) == 1
    if place == "move":
        assert preprocessing.main([*command, "-o", str(tmp_path / "other")]) == 2  # it would read a mixture
    assert preprocessing.main([*command, "--in_place"]) == 0
    wanted = {path.replace("tire/", "Tire/"): data for path, data in content(tmp_path / "out").items()}
    assert content(source) == wanted and not (source / preprocessing.STAGE).exists()
    assert (source / "bagel" / "calibration" / "camera_parameters.json").is_file()
    after = snapshot(source)
    assert preprocessing.main([*command, "--in_place"]) == 0
    assert snapshot(source) == after
    assert preprocessing.main([*command, "-o", str(tmp_path / "other")]) == 2


def test_in_place_leaves_a_category_with_failures_as_it_is(tmp_path, capsys):
    source = tmp_path / "src"
    bagel, tire = make_mvtec3d(source, "bagel"), make_mvtec3d(source, "tire")
    broken = bagel / "train" / "good" / "xyz" / "000.tiff"
    raw = broken.read_bytes()
    broken.write_bytes(b"no tiff")
    before, untouched = content(bagel), content(tire)
    assert preprocessing.main([str(source), "--in_place", "--workers", "1"]) == 1
    assert content(bagel) == before and content(tire) != untouched and "left as it was" in capsys.readouterr().err
    broken.write_bytes(raw)
    assert preprocessing.main([str(source), "--in_place", "--workers", "1"]) == 0
    assert content(bagel) != before and not (source / preprocessing.STAGE).exists()


@pytest.mark.open3d
@pytest.mark.parametrize("size, seed", [((400, 400), 0), ((300, 400), 1)])
def test_masks_equal_open3d(size, seed):
    """Plane search and DBSCAN of Open3D on the same scene leave the same pixels."""
    open3d = pytest.importorskip("open3d")
    part = scene(size, seed)
    frame = np.ones(size, bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False

    def cloud(mask):
        return open3d.geometry.PointCloud(open3d.utility.Vector3dVector(part.xyz[mask].astype(float)))

    open3d.utility.random.seed(0)
    plane, _ = cloud(part.measured & frame).segment_plane(
        distance_threshold=PLANE_THRESHOLD, ransac_n=50, num_iterations=1000
    )
    above = part.measured & (np.abs(part.xyz.astype(float) @ plane[:3] + plane[3]) > PLANE_BAND)
    label = np.asarray(cloud(above).cluster_dbscan(eps=EPS, min_points=MIN_POINTS))
    wanted = np.zeros(size, bool)
    wanted[above] = label == np.bincount(label[label >= 0]).argmax()
    np.testing.assert_array_equal(isolate(part.rgb, part.xyz)[1].any(axis=2), wanted)


def scaled(folder, change):
    """Change the coordinates of all of a download's tiffs."""
    for path in folder.rglob("*.tiff"):
        write_tiff(path, change(tifffile.imread(path)).astype(np.float32))


def test_another_unit_is_refused_before_any_work(tmp_path, capsys):
    for name in ("metres", "millimetres"):
        make_mvtec3d(tmp_path / name, "bagel")
    scaled(tmp_path / "millimetres", lambda points: points * 1000)
    command = [str(tmp_path / "millimetres"), "--workers", "1", "-o", str(tmp_path / "out")]
    assert preprocessing.main(command) == 2
    error = capsys.readouterr().err
    assert "--unit mm" in error and ".tiff" in error and not (tmp_path / "out" / "bagel").exists()
    assert preprocessing.main([*command, "--unit", "mm"]) == 0
    assert preprocessing.main([str(tmp_path / "metres"), "--workers", "1", "-o", str(tmp_path / "plain")]) == 0
    for path in (tmp_path / "plain").rglob("*.tiff"):
        found = tifffile.imread(tmp_path / "out" / path.relative_to(tmp_path / "plain"))
        np.testing.assert_allclose(found, tifffile.imread(path), rtol=0, atol=2e-4)


def test_masks_of_class_numbers_keep_their_meaning(tmp_path):
    """Read again after preprocessing, the mask is that of the download."""
    folder = make_mvtec3d(tmp_path / "src", size=(120, 120), train=1)
    (path,) = folder.glob("test/hole/gt/*.png")
    mask = np.asarray(Image.open(path))
    Image.fromarray(mask // 255 * 2).save(path)
    assert preprocessing.main([str(tmp_path / "src"), "-o", str(tmp_path / "dst"), "--workers", "1"]) == 0
    written = read_defect(tmp_path / "dst/bagel/test/hole/gt/000.png")
    assert mask.any() and np.array_equal(written[40:160, 40:160], mask > 0) and written.sum() == (mask > 0).sum()
