"""Each kind of wrong input gets its answer: in the examination, in check_dataset.py, and in what a run then reads."""

import json
import os
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from data import examination
from data.examination import examine, lines
from data.findings import Options, unusual_parts
from data.organised_clouds import find_missing, valid_points
from data.part_facts import Job, read_part
from dataset import TestDataset, TrainDataset
from tests.make_data import make_scans, picture_of, scan, write_png, write_tiff
from tools import check_dataset


def look(root, **options):
    """The Category "toy"."""
    return examine(root, ["toy"], options=Options(**options)).categories[0]


def kinds(groups):
    return {group.kind: group.count for group in groups}


def text_of(groups, kind):
    (group,) = [g for g in groups if g.kind == kind]
    return group.examples[0]


def hidden(value):
    return lambda cloud: np.where((cloud == 0).all(-1, keepdims=True), np.float32(value), cloud)


def z_hidden(value):
    """x and y everywhere, z only where something was measured."""

    def change(cloud):
        rows, columns = (np.mgrid[:64, :64] / 64 - 0.5) * 0.1
        flat = np.stack([columns + 1e-4, rows + 1e-4, np.full((64, 64), value)], -1).astype(np.float32)
        return np.where((cloud == 0).all(-1, keepdims=True), flat, cloud)

    return change


def test_sound(tmp_path):
    make_scans(tmp_path)
    found = look(tmp_path)
    assert (found.faults, found.warnings, found.notes) == ((), (), ()) and found.has_masks
    assert found.reading._replace(examined=False) == type(found.reading)()


@pytest.mark.parametrize(
    "extent, centre", [(0.005, (0, 0, 0)), (0.005, (0, 0, 0.1)), (1.5, (0, 0, 2)), (0.08, (0.5, -1, 3))]
)
def test_sizes_that_are_metres(tmp_path, extent, centre):
    make_scans(tmp_path, size=extent, centre=centre)
    assert look(tmp_path).faults == ()


@pytest.mark.parametrize(
    "factor, unit, dtype",
    [(1000, "mm", np.float32), (100, "cm", np.float32), (1000, "mm", np.float64), (1000, "mm", np.float16)],
)
def test_another_unit(tmp_path, factor, unit, dtype):
    make_scans(tmp_path, lambda cloud: (cloud * factor).astype(dtype))
    found = look(tmp_path)
    assert (
        kinds(found.faults) == {"unit": 1}
        and f"--unit {unit}" in text_of(found.faults, "unit")
        and "--unit m " in text_of(found.faults, "unit")
    )
    mended = look(tmp_path, unit=unit)
    assert mended.faults == () and look(tmp_path, unit="m").faults == ()
    (_, xyz, _), _ = TrainDataset("toy", 64, tmp_path, 1, reading=mended.reading)[0]
    np.testing.assert_allclose(
        xyz.numpy().transpose(1, 2, 0), scan(), rtol=0, atol=1e-6 if dtype != np.float16 else 3e-4
    )


def test_whole_millimetres(tmp_path):
    make_scans(tmp_path, lambda cloud: np.round(cloud * 1000).astype(np.int16))
    assert "--unit" in text_of(look(tmp_path).faults, "cloud")
    assert look(tmp_path, unit="mm", min_points=100).faults == ()


def test_a_unit_in_vain(tmp_path):
    make_scans(tmp_path)
    assert "leave out --unit" in text_of(look(tmp_path, unit="mm").faults, "unit")


@pytest.mark.parametrize("where, factor", [("test", 1000), ("test", 100), ("train", 1000), ("test/hole", 0.001)])
def test_mixed_units_are_always_refused(tmp_path, where, factor):
    files = sorted((make_scans(tmp_path, train=6) / where).rglob("*.tiff"))[:2]
    for path in files:
        write_tiff(path, tifffile.imread(path) * np.float32(factor))
    for unit in (None, "m", "mm"):
        assert kinds(look(tmp_path, unit=unit).faults) == {"mixed units": 2}


@pytest.mark.parametrize(
    "record", [{"coordinates": "millimetres"}, {"program": "preprocess_realiad_d3.py", "options": {"xyz": "sensor"}}]
)
def test_a_data_set_of_another_convention_passes(tmp_path, record):
    make_scans(tmp_path, lambda cloud: cloud * 1000)
    (tmp_path / "preprocessing.json").write_text(json.dumps(record))
    found = look(tmp_path)
    assert found.faults == () and found.reading.unit == "m" and "millimetres" in text_of(found.notes, "convention")


@pytest.mark.parametrize(
    "change, named",
    [
        (hidden(-1), "(-1, -1, -1)"),
        (hidden(-9999), "(-9999, -9999, -9999)"),
        (hidden(1e5), "(100000, 100000, 100000)"),
        (hidden([0, 0, 65.535]), "(0, 0, 65.535)"),
        (z_hidden(-1), "z = -1"),
        (z_hidden(65.535), "z = 65.535"),
        (z_hidden(-9999), "z = -9999"),
    ],
)
def test_values_that_stand_for_not_measured(tmp_path, change, named):
    make_scans(tmp_path, change)
    found = look(tmp_path)
    assert (
        kinds(found.warnings) == {"missing": 8} and named in text_of(found.warnings, "missing") and found.faults == ()
    )
    (_, xyz, _), _ = TrainDataset("toy", 64, tmp_path, 1, reading=found.reading)[0]
    np.testing.assert_array_equal(xyz.numpy().transpose(1, 2, 0), scan())


def test_a_value_too_rare_in_one_file_is_taken_from_the_others(tmp_path):
    folder = make_scans(tmp_path, hidden(-1))
    rare = np.where(scan().any(2, keepdims=True), scan(), 0)
    rare[0, :9] = -1
    write_tiff(folder / "train/good/xyz/000.tiff", rare)
    found = look(tmp_path)
    assert found.reading.missing == ((-1.0, -1.0, -1.0),)
    assert find_missing(rare[rare.any(2)], 4096) == ()
    assert not TrainDataset("toy", 64, tmp_path, 1, reading=found.reading)[0][0][1][:, 0].any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_warnings_count_the_points_left(tmp_path, value):
    make_scans(tmp_path, hidden(value))
    found = look(tmp_path)
    assert kinds(found.warnings) == {"broken": 8} and "points are left" in text_of(found.warnings, "broken")


def test_surfaces_are_not_taken_for_missing():
    whole = scan(200)
    surface = whole[whole.any(2)]
    flat = surface.copy()
    flat[:, 2] = 0.5
    coarse = np.round(surface, 2)
    up = np.repeat(surface, 16, axis=0)
    for points in (surface, flat, coarse, up, np.full_like(surface, 0.3), surface - surface.mean(0)):
        assert find_missing(points, 40000) == ()


def height(cloud):
    rows, columns = np.mgrid[:64, :64]
    rng = np.random.default_rng(int(cloud.sum() * 1e6) % 1000)
    return np.stack([(columns - 32) * 1e-4, rows * 1e-4, np.round(rng.normal(0, 3, (64, 64))) * 1e-5], -1).astype(
        np.float32
    )


def test_points_with_one_coordinate_zero(tmp_path):
    make_scans(tmp_path, height)
    found = look(tmp_path)
    assert kinds(found.warnings)["zero points"] == 8 and "--fix zero_points" in text_of(found.warnings, "zero points")
    kept = look(tmp_path, zero_points=True)
    assert "zero points" not in kinds(kept.warnings)
    xyz = TrainDataset("toy", 64, tmp_path, 1, reading=kept.reading)[0][0][1]
    lost, there = len(valid_points(xyz)), len(valid_points(xyz, kept.reading.zero_points))
    assert there - lost > 500 and there >= 4095


@pytest.mark.parametrize(
    "change, distinct",
    [
        (lambda c: np.where(c == 0, c, np.float32([0.1, 0.1, 0.4])), "1 distinct"),
        (lambda c: np.round(c, 2), "distinct"),
    ],
)
def test_few_distinct_points(tmp_path, change, distinct):
    make_scans(tmp_path, change)
    found = look(tmp_path)
    assert (
        kinds(found.warnings)["few points"] == 8
        and distinct in text_of(found.warnings, "few points")
        and "missing" not in kinds(found.warnings)
    )


MASKS = {
    "empty": (0, 0, "mask empty", "largest value in the file is 0"),
    "inverted": (255, 0, "mask large", "inverted"),
    "larger than the part": (0, 16, "mask large", "the part's points"),
}


@pytest.mark.parametrize("name", MASKS)
def test_odd_masks(tmp_path, name):
    folder = make_scans(tmp_path)
    background, side, kind, word = MASKS[name]
    mask = np.full((64, 64), background, np.uint8)
    mask[:2, :2] = 255 - background if background else 0
    mask[: side + 20, : side + 20] = 255 if side else mask[: side + 20, : side + 20]
    if name == "larger than the part":
        for path in folder.rglob("*.tiff"):
            cloud = tifffile.imread(path)
            cloud[:, :34] = 0
            write_tiff(path, cloud)
    write_png(folder / "test/hole/gt/006.png", mask)
    found = look(tmp_path, min_points=100)
    assert kinds(found.warnings) == {kind: 1} and word in text_of(found.warnings, kind)


def test_the_same_part_twice(tmp_path):
    folder = make_scans(tmp_path)
    shutil.copy(folder / "train/good/rgb/000.png", folder / "test/good/rgb/004.png")
    write_tiff(folder / "test/good/xyz/004.tiff", scan().astype(np.float64))  # the same content in another file
    text = text_of(look(tmp_path).warnings, "twice")
    assert "train/good/rgb/000.png" in text and "test/good/rgb/004.png" in text
    assert "training and test" in text and "the same part" in text
    write_png(folder / "test/good/rgb/004.png", picture_of(scan(), 99))
    assert "the same point cloud" in text_of(look(tmp_path).warnings, "twice")


def test_unusual_parts(tmp_path):
    folder = make_scans(tmp_path)
    far, empty, torn = (folder / f"test/{name}.tiff" for name in ("good/xyz/004", "good/xyz/005", "hole/xyz/006"))
    write_tiff(far, np.where(scan(seed=4) == 0, 0, scan(seed=4) + np.float32([100, 0, 0])))
    write_tiff(
        empty,
        np.where(np.arange(4096).reshape(64, 64, 1) % 300 == 7, np.nan_to_num(scan(seed=5)), np.nan).astype(np.float32),
    )
    cloud = scan(seed=6)
    cloud[32, 32] = 50
    write_tiff(torn, cloud)
    (group,) = [g for g in look(tmp_path).warnings if g.kind == "unusual"]
    assert group.count == 3
    for path, word in ((far, "100 m from"), (empty, "points are left"), (torn, "reach over")):
        assert [word in text for text in group.examples if str(path) in text] == [True]
    facts = [
        read_part(Job(None, str(p), None, 224, None, False)) for p in sorted(folder.rglob("train/good/xyz/*.tiff"))
    ]
    assert (
        unusual_parts([("a", f) for f in facts], [("b", facts[0])]) == [] and unusual_parts([], [("b", facts[0])]) == []
    )


LAYOUTS = {
    "planes": lambda c: dict(data=np.moveaxis(c, 2, 0), photometric="minisblack"),
    "four channels": lambda c: dict(
        data=np.dstack([c, c[..., :1] * 7]), photometric="minisblack", planarconfig="contig"
    ),
    "lzw": lambda c: dict(data=c, photometric="rgb", compression="lzw"),
    "zstd": lambda c: dict(data=c, photometric="rgb", compression="zstd"),
    "deflate with predictor": lambda c: dict(data=c, photometric="rgb", compression="zlib", predictor=True),
    "float64": lambda c: dict(data=c.astype(np.float64), photometric="rgb"),
}


@pytest.mark.parametrize("name", [*LAYOUTS, "pages"])
def test_tiffs_that_are_read(tmp_path, name):
    folder = make_scans(tmp_path)
    path = folder / "train/good/xyz/000.tiff"
    if name == "pages":
        with tifffile.TiffWriter(path) as file:
            for channel in np.moveaxis(scan(), 2, 0):
                file.write(channel, photometric="minisblack", contiguous=False)
    else:
        tifffile.imwrite(path, **LAYOUTS[name](scan()))
    found = look(tmp_path)
    assert found.faults == found.warnings == () and kinds(found.notes) == (
        {"tiff layout": 1} if name in ("planes", "four channels", "pages") else {}
    )
    np.testing.assert_array_equal(TrainDataset("toy", 64, tmp_path, 1)[0][0][1].numpy().transpose(1, 2, 0), scan())


@pytest.mark.parametrize("content", [scan()[..., 2], scan().reshape(-1, 3), scan(48)])
def test_clouds_that_have_to_be_converted(tmp_path, content):
    folder = make_scans(tmp_path)
    tifffile.imwrite(folder / "train/good/xyz/000.tiff", content, photometric="minisblack")
    text = text_of(look(tmp_path).faults, "cloud")
    assert "000.tiff" in text and "tools/import_parts.py" in text


def test_deep_pictures_share_their_range(tmp_path):
    folder = make_scans(tmp_path)
    for path in folder.rglob("rgb/*.png"):
        Image.fromarray(np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16).save(path)
    found = look(tmp_path)
    assert kinds(found.notes) == {"16-bit picture": 8} and found.warnings == () and found.reading.picture_bits == 12


def test_folders_and_masks(tmp_path):
    folder = make_scans(tmp_path)
    for name in (".ipynb_checkpoints", "@eaDir", "scratch"):
        (folder / "test" / name).mkdir()
    shutil.rmtree(folder / "test/hole/gt")
    found = look(tmp_path)
    assert kinds(found.warnings) == {"folder skipped": 3, "no masks": 1} and found.faults == () and not found.has_masks
    data = TestDataset("toy", 64, tmp_path)
    assert len(data) == 4 and not data.has_masks
    shutil.rmtree(folder / "train/good")
    assert "train/good" in text_of(look(tmp_path).faults, "folders")


def test_check_dataset_and_the_module_agree(tmp_path, capsys):
    """The command prints each finding of the module and nothing else."""
    folder = make_scans(tmp_path, hidden(-1), train=14)
    write_png(folder / "test/hole/gt/016.png", np.zeros((64, 64), np.uint8))
    (folder / "test/good/xyz/014.tiff").write_bytes(b"")
    code = check_dataset.main([str(tmp_path), "--workers", "1"])
    out = capsys.readouterr().out
    found = look(tmp_path)
    assert code == 1 and sum(line.startswith("error: ") for line in out.splitlines()) == len(found.faults) == 1
    assert "7 more point clouds with a value" in out and out.count("(-1, -1, -1)") == 10 and "016.png" in out
    assert all(text in out for group in (*found.faults, *found.warnings) for text in group.examples)
    texts = lines(found.warnings)
    assert len(texts) < 8 and any(
        "toy: point clouds with a value that stands for" in text and "17, for instance" in text for text in texts
    )


def test_what_was_found_is_kept(tmp_path, monkeypatch):
    folder = make_scans(tmp_path / "data", hidden(-1))
    cache = tmp_path / "results/examination.json"

    def run(workers=1, **options):
        return examine(tmp_path / "data", ["toy"], options=Options(**options), workers=workers, cache_path=cache)

    first = run(2)
    read, read_again = [], examination.read_part
    monkeypatch.setattr(examination, "read_part", lambda job: read.append(job) or read_again(job))
    assert run() == first and read == []
    write_tiff(folder / "test/good/xyz/004.tiff", scan(seed=50))
    os.utime(folder / "test/hole/gt/006.png", (1, 1))
    assert run() != first and {job.rgb[-7:-4] for job in read} == {"004", "006"}
    read.clear()
    assert run(min_points=5).warnings and read == []  # only a judgement changes
    assert run(img_size=100) and len(read) >= 8
    read.clear()
    cache.write_text(cache.read_text()[:-100])
    assert run() and len(read) >= 8


def test_categories_with_faults(tmp_path):
    """``faulty`` names each category with faults once."""
    make_scans(tmp_path)
    make_scans(tmp_path, lambda c: c * 1000, category="large")
    shutil.rmtree(make_scans(tmp_path, category="none") / "test")
    found = examine(tmp_path, ["toy", "large", "none"])
    assert set(found.faulty) == {"large", "none"} and set(found.readings) == {"toy", "large", "none"}
    assert "--unit mm" in found.faulty["large"] and "missing or empty" in found.faulty["none"]
