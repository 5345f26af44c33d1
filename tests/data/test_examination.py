"""Data sets as users have them: what carries the promise is examined; what differs in more than defects is named."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import main
from data.examination import examine, examine_scan
from data.findings import Options
from data.organised_clouds import Reading, find_missing
from data.part_facts import Job, read_part
from data.scans import find_parts
from dataset import TestDataset, TrainDataset
from runs.before_work import settle_readings
from tests.command_lines import parse
from tests.field.parts import add, add_split, lock, save
from tests.make_data import add_part, picture_of, scan
from tools import check_dataset


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
    """A category: five parts in train/good, five in validation/good, two in test/good and one in test/dent."""
    folder = tmp_path_factory.mktemp("normal") / "knob"
    for split, first, count in (("train/good", 0, 5), ("validation/good", 100, 5), ("test/good", 200, 2)):
        add_split(folder / split, first, count)
    add_split(folder / "test/dent", 300, 1, dented=True)
    return folder


@pytest.fixture
def knob(tmp_path, normal):
    """A copy of the category; its folder."""
    return shutil.copytree(normal, tmp_path / "ds/knob")


@pytest.fixture
def check(capsys):
    """Function: run check_dataset.py; returns (exit code, its errors, its warnings)."""

    def run(root, *flags):
        code = check_dataset.main([str(root), "--workers", "1", *flags])
        out = capsys.readouterr().out.splitlines()
        return code, *([x for x in out if x.startswith(f"{level}: ")] for level in ("error", "warning"))

    return run


def examined(root, **settings):
    return next(examine(root, ["knob"], options=Options(min_points=128), **settings))


def rewritten(folder, change):
    """Write each cloud below ``folder`` anew as ``change(path, points)``."""
    for path in sorted(folder.rglob("xyz/*.tiff")):
        tifffile.imwrite(path, change(path, tifffile.imread(path)), photometric="rgb")


def test_normal_parts_are_sound(knob, check):
    assert check(knob.parent) == (0, [], [])
    shutil.rmtree(knob / "test")
    code, errors, _ = check(knob.parent)
    assert code == 1 and len(errors) == 1 and "missing or empty: the category's test parts" in errors[0]


def test_processes_find_the_same(knob):
    assert examined(knob.parent, workers=2) == examined(knob.parent)


def test_a_value_too_rare_in_one_file_is_taken_from_the_others(knob):
    def change(path, points):
        holes = ~points.any(2)
        if path.match("train/good/xyz/000.tiff"):
            holes[1:], holes[:, 9:] = False, False
        return np.where(holes[..., None], np.float32(-1), points)

    rewritten(knob, change)
    rare = tifffile.imread(knob / "train/good/xyz/000.tiff")
    assert (rare == -1).any() and find_missing(rare[rare.any(2)], rare.size // 3) == ()
    reading = examined(knob.parent).reading
    assert reading.missing == ((-1.0, -1.0, -1.0),)
    assert not TrainDataset("knob", 64, knob.parent, 1, reading=reading)[0][0][1][:, 0].any()


def test_surfaces_are_not_taken_for_missing():
    whole = scan(200)
    surface = whole[whole.any(2)]
    flat = surface.copy()
    flat[:, 2] = 0.5
    up = np.repeat(surface, 16, axis=0)
    for points in (surface, flat, np.round(surface, 2), up, np.full_like(surface, 0.3), surface - surface.mean(0)):
        assert find_missing(points, 40000) == ()


def test_outlines_that_cannot_be_seen(tmp_path):
    """A picture without a plain border, a cloud without one, and a picture that says nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    hidden = [(noise, scan()[:, ::-1]), (picture_of(scan()), scan() + 0.01), (np.full((64, 64, 3), 77), scan())]
    for rgb, xyz in hidden:
        files = add_part(tmp_path, "train/good", "0", rgb.astype(np.uint8), np.ascontiguousarray(xyz))
        assert read_part(Job(str(files[0]), str(files[1]), None, 224, None, False)).misfit is None


# ---------------------------------------------------------------- validation/good, --calibration_dir, scans to judge


def without_points(path, points):
    return np.where(points.any(2, keepdims=True), points, np.float32(-1)) if path.stem == "002" else points


WRONG = {  # what is done to validation/good, what is said of it
    "millimetres": (lambda place: add(place, "002", 102, metres=1), "mixes units", "error"),
    "background -1": (lambda place: rewritten(place, without_points), "(-1, -1, -1) fills", "warning"),
    "unreadable": (lambda place: (place / "xyz/002.tiff").write_bytes(b"II*"), "cannot be read", "error"),
    "no cloud": (lambda place: (place / "xyz/002.tiff").unlink(), "has no 002.tiff", "error"),
    "a test part": (lambda place: add(place, "002", 200), "the same part in", "warning"),
}


@pytest.mark.parametrize("where", ["validation/good", "calibration_dir"])
@pytest.mark.parametrize("wrong", WRONG)
def test_parts_that_calibrate_are_examined(tmp_path, knob, check, where, wrong):
    place, (change, words, level) = knob / "validation/good", WRONG[wrong]
    change(place)
    if where == "calibration_dir":
        extra = shutil.move(place, tmp_path / "more")
        assert check(knob.parent, "--calibration_dir", str(extra))[0] == (level == "error")
        found = examined(knob.parent, calibration_dir=extra)
        told = found.texts("fault" if level == "error" else "warning")
        words = "there is no cloud yet" if wrong == "no cloud" else words
    else:
        code, errors, warnings = check(knob.parent)
        assert code == (level == "error")
        told = errors if level == "error" else warnings
    assert len(told) == 1 and words in told[0] and "002" in told[0], told
    if where == "validation/good" and level == "error":
        words = ["--dataset_type", "folder", "--dataset_path", str(knob.parent), "--output_dir", str(tmp_path / "out")]
        (tmp_path / "out").mkdir()
        for flags, refused in ((["--save_model", "m", "--eval_mode"], True), ([], False)):
            *_, faulty = settle_readings(parse(*words, "--num_group", "128", "--device", "cpu", *flags), ["knob"])
            assert bool(faulty) == refused


def test_scans_to_judge_are_examined(tmp_path, normal):
    usual = examined(normal.parent).usual
    for name, options in (("0", {}), ("1", {}), ("2", {"metres": 1}), ("3", {})):
        add(tmp_path / "line", name, int(name), **options)
    (tmp_path / "line/xyz/1.tiff").write_bytes(b"")
    xyz = tifffile.imread(tmp_path / "line/xyz/3.tiff")
    tifffile.imwrite(tmp_path / "line/xyz/3.tiff", np.ascontiguousarray(xyz[:, ::-1]), photometric="rgb")
    found = [examine_scan(part, Reading(), Options(min_points=128), usual) for part in find_parts(tmp_path)]
    assert [[finding[:2] for finding in findings] for findings in found] == [
        [],
        [("fault", "cloud")],
        [("fault", "unit")],
        [("warning", "outline")],
    ]
    assert "2.tiff: coordinates are 1,0" in found[2][0][2] or "2.tiff: coordinates are 99" in found[2][0][2]


# ---------------------------------------------------------------- splits that differ, parts that stretch a range


@pytest.mark.parametrize("where", ["test/other", "validation/good"])
@pytest.mark.parametrize(
    "options, words",
    [
        ({"change": lambda p: np.asarray(Image.fromarray(p).convert("L"))}, "no colour"),
        ({"change": lambda p: p[..., ::-1].copy()}, "red and blue seem to be exchanged"),
        ({"size": (240, 320)}, "240×320 pixels, those of train/good 120×160"),
        ({"change": lambda p: p // 2}, "the mean colour is"),
    ],
)
def test_a_split_recorded_in_another_way_is_named(knob, check, options, words, where):
    shutil.rmtree(knob / where, ignore_errors=True)
    add_split(knob / where, 400, 3, dented=where == "test/other", **options)
    code, errors, warnings = check(knob.parent)
    assert code == 0 and errors == [] and any(words in text and where in text for text in warnings), warnings


def test_another_camera_of_the_same_size_is_named(knob):
    """The same picture and depth, with rays that spread 1.1 times as far."""
    rewritten(knob / "test/good", lambda path, points: points * np.float32((1.1, 1.1, 1)))
    told = examined(knob.parent).texts("warning")
    assert len(told) == 1 and "test/good: seen by another camera (fx fy cx cy 272.7 272.7" in told[0]


@pytest.mark.parametrize("where", ["train/good", "validation/good"])
@pytest.mark.parametrize("what", ["far", "large", "black"])
def test_one_part_that_stretches_a_range_is_named(knob, where, what):
    def change(path, points):
        moved = points * 2 if what == "large" else points + np.float32((0, 0, 0.4))
        return np.where(points.any(2, keepdims=True), moved, 0).astype(np.float32) if path.stem == "003" else points

    if what == "black":
        save(knob / where / "rgb/003.png", np.full((120, 160, 3), 3, np.uint8))
    else:
        rewritten(knob / where, change)
    told = examined(knob.parent).texts("warning")
    words = {"far": "distance 0.8", "large": "extent 0.2", "black": "brightness 3"}[what]
    assert [text for text in told if words in text and f"{where}/xyz/003.tiff" in text], told


# ---------------------------------------------------------------- links, locked folders, tags


def test_links_and_locked_folders(knob, check, monkeypatch, tmp_path):
    shutil.move(knob / "test/good", tmp_path / "good")
    (knob / "test/good").symlink_to(tmp_path / "good")
    assert check(knob.parent) == (0, [], [])
    lock(monkeypatch, "test/dent")
    code, errors, _ = check(knob.parent)
    assert code == 1 and len(errors) == 1 and "test/dent: this folder cannot be read" in errors[0]


def test_pictures_with_an_orientation_tag_are_named(knob):
    path = knob / "test/good/rgb/000.png"
    exif = Image.Exif()
    exif[274] = 3
    picture = Image.open(path).copy()
    path.unlink()
    picture.save(path.with_suffix(".jpg"), quality=95, exif=exif)
    told = examined(knob.parent).texts("warning")
    assert (
        len(told) == 1 and "000.jpg: a tag says that viewers show it turned or mirrored (Exif orientation 3)" in told[0]
    )


@pytest.mark.parametrize("count, flag", [(1, "mm"), (10, "0.0001"), (4, "0.00025")])
def test_the_advice_on_units_names_the_true_factor(tmp_path, check, count, flag):
    for split, first in (("train/good", 0), ("test/good", 9)):
        add_split(tmp_path / "ds/knob" / split, first, 2, metres=count)
    code, errors, _ = check(tmp_path / "ds")
    assert code == 1 and f"--unit {flag} (factor {float(flag) if flag != 'mm' else 0.001:g})" in errors[0]
    assert "0.1" in errors[0].split(f"--unit {flag} ")[1] and check(tmp_path / "ds", "--unit", flag)[0] == 0
    (tmp_path / "ds/preprocessing.json").write_text('{"coordinates": "millimetres"}')  # as Real-IAD D3 is converted
    assert check(tmp_path / "ds")[:2] == (0, [])


# ---------------------------------------------------------------- no clouds


def test_folders_without_clouds(tmp_path, check, capsys):
    """check_dataset.py says for whom they are; main.py runs on them with a method that reads none."""
    for split, first, dented in (("train/good", 0, False), ("test/good", 10, False), ("test/dent", 20, True)):
        add_split(tmp_path / "ds/knob" / split, first, 2, dented=dented, clouds=False)
    code = check_dataset.main([str(tmp_path / "ds"), "--workers", "1"])
    assert code == 0 and "note: " in (out := capsys.readouterr().out) and "--method_name DINO" in out
    words = ["--dataset_type", "folder", "--dataset_path", str(tmp_path / "ds"), "--output_dir", str(tmp_path / "out")]
    found = next(examine(tmp_path / "ds", ["knob"], options=Options(min_points=0)))
    assert found.texts("fault") == found.texts("warning") == []
    (rgb, xyz, _), mask, label, _ = TestDataset("knob", 224, tmp_path / "ds", reading=found.reading)[0]
    assert rgb.any() and not xyz.any() and mask.any() and label == 1
    code = main.main(["--method_name", "Point_MAE", *words])
    assert code == 2 and "has no point clouds (xyz/)" in capsys.readouterr().err
