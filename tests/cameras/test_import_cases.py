"""Recordings as users have them, through the command line: each is imported right, or what is wrong is said by name."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cameras.recordings import Files, part_names
from tests.camera_files import write_ply
from tests.field.parts import lock, part, points_of, record, save, save_camera, save_depth
from tools import import_parts

OUT = "ds/knob/test/dent"


@pytest.fixture
def bring(tmp_path, capsys):
    """Function: import tmp_path/rec; returns (exit code, what was printed, the names of the parts that are there)."""

    def run(*flags, split="test/dent", source="rec", camera=True):
        words = [str(tmp_path / source), "-o", str(tmp_path / "ds"), "--category", "knob", "--split", split]
        words += ["--no_sheet", "--workers", "1", *flags]
        if camera:
            words += ["--intrinsics", str(tmp_path / "camera.json")]
        code = import_parts.main(words)
        there = sorted(p.stem for p in (tmp_path / "ds/knob" / split / "rgb").glob("*.png"))
        return code, "".join(capsys.readouterr()), there

    return run


def cloud(root, name, where=OUT):
    return tifffile.imread(root / where / "xyz" / f"{name}.tiff")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "picture, depth, names",
    [
        ("part_{}_color.png", "part_{}_depth.png", ["part_7", "part_10"]),
        ("part_{:0>4}_color.png", "part_{:0>4}_depth.png", ["part_0007", "part_0010"]),
        ("color/{}.png", "depth/{:0>4}.png", ["7", "10"]),
        ("rs_Color_{}.png", "rs_Depth_{}.png", ["rs_7", "rs_10"]),
        ("frame_{}.png", "frame_{}_depth.png", ["frame_7", "frame_10"]),
        ("{}/rgb.png", "{}/depth.png", ["7", "10"]),
        ("a/scan {}.png", "a/scan {}.depth.png", ["scan 7", "scan 10"]),
    ],
)
def test_a_part_is_called_what_its_files_share(tmp_path, bring, picture, depth, names):
    record(tmp_path / "rec", ["7", "10"], picture, depth)
    code, text, there = bring("--unit", "mm")
    assert code == 0 and there == sorted(names), text
    told = json.loads((tmp_path / OUT / "preprocessing.json").read_text())["parts"]
    assert [told[name]["files"] for name in names] == [[picture.format(n), depth.format(n)] for n in ("7", "10")]


def test_parts_of_one_name_get_those_of_their_folders(tmp_path):
    parts = [Files(tmp_path / f"{day}/1.png", tmp_path / f"{day}/1.ply") for day in ("monday", "tuesday")]
    assert list(part_names(tmp_path, parts)) == ["monday_1", "tuesday_1"]
    assert list(part_names(tmp_path, parts[:1], taken=("1", "monday_1"))) == ["monday_1_2"]


@pytest.mark.parametrize(
    "name", ["20240503101502{}{}_{}.png", "{2}/2024-05-03_10-15-{0}.{1}.png", "{2}/17147312{0}{1}.png"]
)
def test_names_that_are_times(tmp_path, bring, name):
    """Picture and scan some milliseconds apart; the scans' last numbers are those of other parts."""
    save_camera(tmp_path / "camera.json")
    moments, seen = [("02.031", "02.044"), ("03.044", "03.031"), ("04.100", "04.099")], []
    for seed, (one, other) in enumerate(moments):
        rgb, mm, _ = part(seed)
        save(tmp_path / "rec" / name.format(*one.split("."), "color"), rgb)
        save_depth(tmp_path / "rec" / name.format(*other.split("."), "depth"), mm)
        seen.append(np.rint(mm))
    code, text, there = bring("--unit", "mm")
    assert code == 0 and len(there) == 3 and "nearest in time" in text, text
    for stem, mm in zip(there, seen):
        np.testing.assert_allclose(cloud(tmp_path, stem)[..., 2] * 1000, mm, atol=0.01)


def test_times_that_fit_no_other_are_named(tmp_path, bring):
    record(tmp_path / "rec", ["20240503101502", "20240503101503"], depth="x{}_depth.png")
    (tmp_path / "rec/x20240503101503_depth.png").rename(tmp_path / "rec/x20240503101603_depth.png")
    code, text, there = bring("--unit", "mm")
    assert code == 1 and len(there) == 1 and "20240503101503_color.png: no depth image" in text


# ---------------------------------------------------------------- what changes between two imports


def test_masks_that_come_later(tmp_path, bring):
    defects = record(tmp_path / "rec", dented=True)
    assert bring("--unit", "mm")[0] == 0
    for name, defect in defects.items():
        save(tmp_path / "rec/mask" / f"{name}.png", defect.astype(np.uint8) * 255)
    code, text, there = bring("--unit", "mm")
    assert code == 0 and there == ["000", "001", "002"] and "3 samples written" in text
    for name, defect in defects.items():
        written = tmp_path / OUT / "gt" / f"{name}.png"
        assert np.array_equal(np.asarray(Image.open(written)) > 0, defect)
        Image.open(written).convert("RGB").save(written)  # as a person's program may save it
    assert bring("--unit", "mm")[0] == 0  # the contact sheet shows it
    shutil.rmtree(tmp_path / "rec/mask")
    assert bring("--unit", "mm")[0] == 0 and not list((tmp_path / OUT / "gt").iterdir())


def test_a_file_that_changed_but_not_in_size(tmp_path, bring):
    """A line that always writes the same file; the times of the two files are the same as well."""
    path = tmp_path / "rec/current.ply"
    for seed in (500, 501):
        rgb, mm, _ = part(seed)
        write_ply(path, points_of(mm), rgb, head_lines=("obj_info num_cols 160", "obj_info num_rows 120"))
        os.utime(path, (1, 1))
        code, text, there = bring("--unit", "mm", split="test/new", camera=False)
        assert code == 0 and there == ["current"] and ("imported anew" in text) == (seed == 501)
        np.testing.assert_allclose(cloud(tmp_path, "current", "ds/knob/test/new")[..., 2], mm / 1000, atol=1e-6)
    assert "0 samples written, 1 were there" in bring("--unit", "mm", split="test/new", camera=False)[1]


def test_a_part_that_is_no_longer_there_is_named(tmp_path, bring):
    record(tmp_path / "rec")
    bring("--unit", "mm", split="test/good")
    for path in (tmp_path / "rec").glob("001*"):
        path.unlink()
    code, text, there = bring("--unit", "mm", split="test/good")
    assert code == 0 and there == ["000", "001", "002"] and "001: its files (001_color.png" in text
    record(tmp_path / "rec", ["003"])
    assert bring("--unit", "mm", split="test/good")[2] == ["000", "001", "002", "003"]


def test_parts_keep_the_names_that_an_earlier_import_gave_them(tmp_path, bring):
    record(tmp_path / "rec", ["7"])
    bring("--unit", "mm")
    folder = tmp_path / OUT
    for kind in ("rgb/{}.png", "xyz/{}.tiff"):
        (folder / kind.format("7")).rename(folder / kind.format("000"))
    told = (folder / "preprocessing.json").read_text()
    (folder / "preprocessing.json").write_text(told.replace('"7":', '"000":'))
    code, text, there = bring("--unit", "mm")
    assert code == 0 and there == ["000"] and "0 samples written, 1 were there" in text


# ---------------------------------------------------------------- what is not read


@pytest.mark.parametrize("kind", ["json", "classes"])
def test_what_labelling_tools_export(tmp_path, bring, kind):
    defects = record(tmp_path / "rec", ["007", "010", "013"], dented=True)
    for name, defect in defects.items():
        if kind == "json":
            (tmp_path / "rec" / f"{name}_color.json").write_text("{}")
        for folder in ("SegmentationClass", "SegmentationObject") if kind == "classes" else ():
            save(tmp_path / "rec" / folder / f"{name}_color.png", defect[..., None] * np.uint8((250, 50, 83)))
    code, text, there = bring("--unit", "mm")
    assert code == 0 and there == ["007", "010", "013"], text
    assert "3 .json" in text or "6 pictures in SegmentationClass, SegmentationObject" in text, text
    assert "not read" in text and "--mask_glob" in text
    if kind == "classes":
        assert bring("--unit", "mm", "--mask_glob", "SegmentationClass/*.png")[::2] == (0, there)
        for name, defect in defects.items():
            assert np.array_equal(np.asarray(Image.open(tmp_path / OUT / "gt" / f"{name}.png")) > 0, defect)


@pytest.mark.parametrize("suffix", [".npz", ".exr", ".zdf", ".xyz"])
def test_kinds_that_are_not_read_are_named(tmp_path, bring, suffix):
    (tmp_path / "rec").mkdir()
    for n in range(3):
        (tmp_path / "rec" / f"{n}{suffix}").write_bytes(b"x")
    code, text, _ = bring(camera=False)
    assert code == 2 and f"3 {suffix}" in text and "PLY" in text


# ---------------------------------------------------------------- folders


def test_links_are_followed_and_folders_that_cannot_be_read_are_named(tmp_path, bring, monkeypatch):
    record(tmp_path / "nas/line", ["5"])
    save_camera(tmp_path / "camera.json")
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec/line").symlink_to("../nas/line")
    (tmp_path / "nas/line/back").symlink_to("..")  # a link in a circle
    assert bring("--unit", "mm")[::2] == (0, ["5"])
    lock(monkeypatch, "line")
    code, text, _ = bring("--unit", "mm", source="rec")
    assert code == 2 and "rec/line: this folder cannot be read (Permission denied)" in text


# ---------------------------------------------------------------- units


@pytest.mark.parametrize("count", [1.0, 0.25, 0.1])
def test_depth_of_whole_numbers_fits_several_units(tmp_path, bring, count):
    record(tmp_path / "rec", count=count, table=False)
    code, text, there = bring()
    assert code == 2 and there == [] and "fits several units" in text
    assert re.search(rf"--unit {'mm' if count == 1 else count / 1000:} if it is 0.43\d* m away", text), text
    code, text, there = bring("--unit", str(count / 1000))
    assert code == 0 and len(there) == 3
    seen = part(0, table=False)[1]
    np.testing.assert_allclose(cloud(tmp_path, "000")[..., 2], np.nan_to_num(seen) / 1000, atol=6e-4)


def test_the_depth_scale_of_the_camera_is_taken_and_a_unit_that_contradicts_it_refused(tmp_path, bring):
    record(tmp_path / "rec", count=0.1, table=False)
    save_camera(tmp_path / "camera.json", depth_scale=0.0001)
    code, text, there = bring("--unit", "mm")
    assert code == 2 and there == [] and "depth scale" in text and "0.1 mm" in text
    assert bring()[0] == 0 and bring("--unit", "0.0001", split="test/new")[0] == 0
    np.testing.assert_allclose(cloud(tmp_path, "000")[..., 2], np.nan_to_num(part(0, table=False)[1]) / 1000, atol=6e-4)


@pytest.mark.parametrize("mark", [65535, 4095, 10000, 3000])
def test_marks_for_missing_values_at_the_end_of_a_range(tmp_path, bring, mark):
    save_camera(tmp_path / "camera.json")
    rgb, mm, _ = part(0, table=False)
    save(tmp_path / "rec/1_color.png", rgb)
    save_depth(tmp_path / "rec/1_depth.png", np.where(np.isnan(mm), mark, mm))
    code, text, _ = bring("--unit", "mm")
    assert code == 0 and f"hold {mark}" in text
    assert np.array_equal(cloud(tmp_path, "1").any(2), np.isfinite(mm))


# ---------------------------------------------------------------- pictures and clouds in another order, or turned


@pytest.mark.parametrize("size", [(120, 160), (120, 120)])
@pytest.mark.parametrize("kind", ["columns", "transposed"])
def test_the_rays_decide_on_the_order_of_rows_and_columns(tmp_path, bring, size, kind):
    rgb, mm, _ = part(0, size)
    points = points_of(mm).transpose(1, 0, 2)
    save(tmp_path / "rec/1_color.png", rgb)
    np.save(tmp_path / "rec/1_xyz.npy", points.reshape(-1, 3) if kind == "columns" else points)
    code, text, _ = bring("--unit", "mm", camera=False)
    assert code == 0 and ("column by column" in text or "exchanged" in text), text
    np.testing.assert_allclose(cloud(tmp_path, "1")[..., 2], mm / 1000, atol=1e-6)


def test_a_portrait_picture_with_a_landscape_scan_is_named(tmp_path, bring):
    rgb, mm, _ = part(0)
    save_camera(tmp_path / "camera.json")
    save(tmp_path / "rec/1_color.png", np.ascontiguousarray(np.rot90(rgb)))
    save_depth(tmp_path / "rec/1_depth.png", mm)
    code, text, there = bring("--unit", "mm")
    assert code == 1 and there == [] and "1_color.png" in text and "turn one of them by 90°" in text


@pytest.mark.parametrize("tag, stored", [(3, Image.ROTATE_180), (6, Image.ROTATE_90), (8, Image.ROTATE_270)])
def test_pictures_are_turned_as_their_tag_says(tmp_path, bring, tag, stored):
    save_camera(tmp_path / "camera.json")
    rgb, mm, _ = part(0)
    exif = Image.Exif()
    exif[274] = tag
    (tmp_path / "rec").mkdir()
    Image.fromarray(rgb).transpose(stored).save(tmp_path / "rec/1_color.jpg", quality=95, exif=exif)
    save_depth(tmp_path / "rec/1_depth.png", mm)
    code, text, _ = bring("--unit", "mm")
    found = np.asarray(Image.open(tmp_path / OUT / "rgb/1.png")).astype(int)
    assert code == 0 and "orientation tag" in text and np.abs(found - rgb).mean() < 4


@pytest.mark.parametrize("kind", ["same view", "wider depth", "no outline"])
def test_pictures_of_another_size_are_named_where_they_do_not_fit(tmp_path, bring, kind):
    """A warning that is always there says nothing: where picture and scan show the part at one place, there is none."""
    picture, mm, _ = part(0)
    save_camera(tmp_path / "camera.json")
    shown = Image.fromarray(picture * 0 if kind == "no outline" else picture)
    box = (26, 15, 145, 104) if kind == "wider depth" else (0, 0, 160, 120)
    save(tmp_path / "rec/1_color.png", np.asarray(shown.crop(box).resize((240, 180))))
    save_depth(tmp_path / "rec/1_depth.png", mm)
    code, text, _ = bring("--unit", "mm")
    warning = {"wider depth": "with the scan's 1.3 times as large", "no outline": "no outline of a part"}
    assert code == 0 and warning.get(kind, "") in text and ("warning" in text) == (kind in warning), text


@pytest.mark.skipif(os.name != "posix", reason="needs names of bytes")
def test_names_of_another_code_page(tmp_path, bring):
    record(tmp_path / "rec", ["0"])
    for path in (tmp_path / "rec").iterdir():
        os.rename(path, os.fsencode(path.parent) + b"/Geh\xe4use_" + os.fsencode(path.name))
    code, text, _ = bring("--unit", "mm")
    assert code == 0 and os.listdir(os.fsencode(tmp_path / OUT / "rgb")) == [b"Geh\xe4use_0.png"]
    assert "1 were there" in bring("--unit", "mm")[1]
