"""Files as users have them: each case through check_dataset.py and main.py's examination, which have to agree, and then
what a run reads of it, which has to be what the sound data set holds."""

import re
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

import main
from dataset import TestDataset, TrainDataset
from tests.make_data import make_scans, write_tiff
from tests.test_cli import parse
from tools import check_dataset
from utils.before_run import settle_readings

MASK = np.zeros((64, 64), np.uint8)
MASK[30:40, 30:40] = 255
ROWS, COLUMNS = ((np.mgrid[:64, :64] + 0.5) / 64 - 0.5) * 0.1
RAYS = np.stack([COLUMNS + 1e-5, ROWS + 1e-5, np.ones((64, 64))], -1).astype(np.float32)


# ---------------------------------------------------------------- what is done to a sound category


def clouds(change, where="", **options):
    """Each tiff (below ``where``) rewritten with ``change(points)``."""

    def apply(folder):
        for path in sorted((folder / where).rglob("*.tiff")):
            changed = change(tifffile.imread(path))
            if options:
                tifffile.imwrite(path, changed, **options)
            else:
                tifffile.imwrite(path, changed, photometric="rgb" if changed.shape[-1] == 3 else "minisblack")

    return apply


def background(value):
    """Pixels without a point hold ``value``: a number, x y z, or an array of pixels."""
    return clouds(lambda p: np.where((p == 0).all(-1, keepdims=True), np.float32(value), p))


def with_z(z):
    """Pixels without a point have the ray's x and y, and ``z``."""
    return background(np.where(np.arange(3) == 2, np.float32(z), RAYS))


def masks(make, suffix=".png", **options):
    """Each mask written anew as ``make(mask)``: an array or a PIL picture."""

    def apply(folder):
        for path in sorted(folder.glob("test/hole/gt/*")):
            path.unlink()
            made, path = make(MASK), path.with_suffix(suffix)
            if suffix.startswith(".tif") and isinstance(made, np.ndarray):
                tifffile.imwrite(path, made, **options)
            else:
                (made if isinstance(made, Image.Image) else Image.fromarray(made)).save(path, **options)

    return apply


def palette(*colours, transparent=None, bits=None):
    def make(mask):
        image = Image.fromarray(mask // 255)
        image.putpalette([value for colour in colours for value in colour])
        if transparent is not None:
            image.info["transparency"] = transparent
        return image

    return make


def renamed(pattern, kinds, where="*/*"):
    """Files of ``kinds`` renamed: ``pattern`` with ``n``, the part's number, and ``s``, the suffix."""

    def apply(folder):
        for kind in kinds:
            for path in sorted(folder.glob(f"{where}/{kind}/*")):
                path.rename(path.with_name(pattern.format(n=int(path.stem), s=path.suffix)))

    return apply


def pictures(save, where="*/*"):
    def apply(folder):
        for path in sorted(folder.glob(f"{where}/rgb/*")):
            save(path, Image.open(path).copy())

    return apply


def resaved(suffix, **options):
    def save(path, image):
        path.unlink()
        image.save(path.with_suffix(suffix), **options)

    return pictures(save)


def both(*changes):
    def apply(folder):
        for change in changes:
            change(folder)

    return apply


def left_behind(*names):
    """Files that programs leave: a name that ends in "/" is a folder."""

    def apply(folder):
        for name in names:
            path = folder / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"left behind")

    return apply


def doubles(folder):
    """What macOS writes beside each file on a drive that is not its own."""
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")


def removed(*patterns):
    def apply(folder):
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return apply


def copied(source, target):
    def apply(folder):
        for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
            shutil.copy(folder / source.format(kind=kind, suffix=suffix),
                        folder / target.format(kind=kind, suffix=suffix))

    return apply


def one(number, change):
    """The first good test part's cloud changed."""

    def apply(folder):
        (path,) = folder.glob(f"*/*/xyz/{number:03}.tiff")
        write_tiff(path, change(tifffile.imread(path)).astype(np.float32))

    return apply


def pages(points):
    return np.ascontiguousarray(np.moveaxis(points, 2, 0))


def write_pages(folder):
    for path in sorted(folder.rglob("*.tiff")):
        planes = pages(tifffile.imread(path))
        with tifffile.TiffWriter(path) as file:
            for plane in planes:
                file.write(plane, contiguous=False, photometric="minisblack")


def scattered(cloud, kept):
    """NaN but for one of ``kept`` pixels."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(cloud.shape[:2])[..., None] < kept, cloud, np.nan)


SAME, ANYTHING = "reads the same", None
QUIET = ("", "")
# name: (change, flags, (level, words that are said), whether a run reads what the sound set holds)
CASES = {
    "sound": (lambda folder: None, [], QUIET, SAME),
    # units
    "millimetres": (clouds(lambda p: p * 1000), [], ("error", "look like millimetres.*--unit mm"), ANYTHING),
    "millimetres, said": (clouds(lambda p: p * 1000), ["--unit", "mm"], QUIET, SAME),
    "whole millimetres": (clouds(lambda p: np.rint(p * 1000).astype(np.int16)), [], ("error", "int16.*--unit"), ANYTHING),
    "whole millimetres as uint16": (clouds(lambda p: np.rint(np.abs(p) * 1000).astype(np.uint16)), [],
                                    ("error", "uint16.*--unit"), ANYTHING),
    "centimetres": (clouds(lambda p: p * 100), [], ("error", "look like centimetres.*--unit cm"), ANYTHING),
    "centimetres, said": (clouds(lambda p: p * 100), ["--unit", "cm"], QUIET, SAME),
    "micrometres": (clouds(lambda p: p * 1e6), [], ("error", "micrometres"), ANYTHING),
    "micrometres as millimetres": (clouds(lambda p: p * 1e6), ["--unit", "mm"], ("error", "--unit mm"), ANYTHING),
    "metres, said to be millimetres": (lambda folder: None, ["--unit", "mm"], ("error", "--unit mm"), ANYTHING),
    "test in millimetres": (clouds(lambda p: p * 1000, "test"), [], ("error", "1,?000 times as large.*mixes"), ANYTHING),
    "test in centimetres": (clouds(lambda p: p * 100, "test/good"), [], ("error", "100 times as large"), ANYTHING),
    "one training part in millimetres": (one(1, lambda p: p * 1000), [], ("error", "mixes units"), ANYTHING),
    "mixed, one unit said": (clouds(lambda p: p * 1000, "test"), ["--unit", "mm"], ("error", "mixes units|--unit mm"),
                             ANYTHING),
    # masks
    "red": (masks(lambda m: np.stack([m, 0 * m, 0 * m], -1)), [], QUIET, SAME),
    "class two": (masks(lambda m: m // 255 * 2), [], QUIET, SAME),
    "palette": (masks(palette((0, 0, 0), (128, 0, 0))), [], QUIET, SAME),
    "white on transparent": (masks(lambda m: np.dstack([m * 0 + 255] * 3 + [m])), [], QUIET, SAME),
    "black on transparent": (masks(lambda m: np.dstack([m * 0] * 3 + [m])), [], QUIET, SAME),
    "red, half transparent": (masks(lambda m: np.dstack([m, m * 0, m * 0, m // 2])), [], QUIET, SAME),
    "grey and alpha": (masks(lambda m: np.dstack([m * 0 + 255, m])), [], QUIET, SAME),
    "1 bit": (masks(lambda m: Image.fromarray(m).convert("1")), [], QUIET, SAME),
    "1 bit tiff": (masks(lambda m: m > 0, ".tiff", photometric="minisblack"), [], QUIET, SAME),
    "1 bit tiff, white is zero": (masks(lambda m: m == 0, ".tiff", photometric="miniswhite"), [], QUIET, SAME),
    "16 bits, white is zero": (masks(lambda m: 65535 - m.astype(np.uint16) * 257, ".tiff", photometric="miniswhite"), [],
                               QUIET, SAME),
    "16 bits": (masks(lambda m: m.astype(np.uint16) * 257), [], QUIET, SAME),
    "16 bits, class one": (masks(lambda m: (m // 255).astype(np.uint16)), [], QUIET, SAME),
    "16 bits, 255": (masks(lambda m: m.astype(np.uint16)), [], QUIET, SAME),
    "32-bit numbers": (masks(lambda m: (m // 255).astype(np.int32), ".tif"), [], QUIET, SAME),
    "floats 0 and 1": (masks(lambda m: (m // 255).astype(np.float32), ".tif"), [], QUIET, SAME),
    "compressed tiff": (masks(lambda m: m, ".TIF", compression="lzw"), [], QUIET, SAME),
    "bmp": (masks(lambda m: m, ".bmp"), [], QUIET, SAME),
    "jpeg": (masks(lambda m: m, ".jpg", quality=95), [], QUIET, ANYTHING),
    "mask with a suffix": (renamed("{n:03}_mask{s}", ["gt"]), [], ("note", "paired by the number"), SAME),
    "mask with a word before": (renamed("GT_{n}{s}", ["gt"]), [], ("note", "paired by the number"), SAME),
    "inverted": (masks(lambda m: 255 - m), [], ("warning", "inverted"), ANYTHING),
    "inverted 1 bit": (masks(lambda m: Image.fromarray(255 - m).convert("1")), [], ("warning", "inverted"), ANYTHING),
    "inverted palette": (masks(lambda m: palette((255, 255, 255), (0, 0, 0))(m)), [], ("warning", "inverted"), ANYTHING),
    "inverted classes": (masks(lambda m: 1 - m // 255), [], ("warning", "inverted"), ANYTHING),
    "inverted 16 bits": (masks(lambda m: 65535 - m.astype(np.uint16) * 257), [], ("warning", "inverted"), ANYTHING),
    "inverted alpha": (masks(lambda m: np.dstack([m * 0] * 3 + [255 - m])), [], ("warning", "inverted"), ANYTHING),
    "all white": (masks(lambda m: m * 0 + 255), [], ("warning", "covers 100%"), ANYTHING),
    "empty": (masks(lambda m: m * 0), [], ("warning", "empty.*largest value in the file is 0"), ANYTHING),
    "a dark ramp": (masks(lambda m: (m // 255 * np.arange(1, 65)).astype(np.uint8)), [], QUIET, SAME),
    "one mask missing": (removed("test/hole/gt/007.png"), [], ("error", "006.png|007.png"), ANYTHING),
    "no mask": (removed("test/hole/gt"), [], ("warning", "pixel metrics are undefined"), ANYTHING),
    "no mask in an empty folder": (removed("test/hole/gt/*"), [], ("warning", "pixel metrics are undefined"), ANYTHING),
    # points that were not measured
    **{
        f"missing is {name}": (background(value), [], ("warning", re.escape(said)), SAME)
        for name, value, said in (
            ("-1", -1, "(-1, -1, -1)"),
            ("-9999", -9999, "(-9999, -9999, -9999)"),
            ("1e5", 1e5, "(100000, 100000, 100000)"),
            ("0 0 65.535", (0, 0, 65.535), "(0, 0, 65.535)"),
            ("the largest float", np.finfo(np.float32).max, "3.40282e+38"),
            ("the smallest float", np.finfo(np.float32).min, "-3.40282e+38"),
            ("0 0 10", (0, 0, 10), "(0, 0, 10)"),
            ("0 0 -1", (0, 0, -1), "(0, 0, -1)"),
        )
    },
    **{
        f"missing is z = {z}": (with_z(z), [], ("warning", re.escape(f"z = {z}") + " fills"), SAME)
        for z in (-1, 65.535, -9999, 0, -0.001)
    },
    "missing is NaN": (background(np.nan), [], ("warning", "NaN or inf.*points are left"), SAME),
    "missing is inf": (background(np.inf), [], ("warning", "NaN or inf.*points are left"), SAME),
    "z is NaN": (with_z(np.nan), [], ("warning", "NaN or inf"), SAME),
    "missing is 65535 in millimetres": (
        both(clouds(lambda p: p * 1000), background((0, 0, 65535))), ["--unit", "mm"],
        ("warning", re.escape("(0, 0, 65535)")), SAME),
    "missing is -1 in millimetres": (both(clouds(lambda p: p * 1000), background(-1)), ["--unit", "mm"],
                                     ("warning", re.escape("(-1, -1, -1)")), SAME),
    # coordinates 0
    "height map": (
        clouds(lambda p: np.stack(np.broadcast_arrays(
            (np.arange(64) - 32) * 1e-4, np.arange(64)[:, None] * 1e-4,
            np.round(p[..., 2] * 1e5 - 4e4 + 2) * 1e-5 * (p[..., 2] > 0)), -1).astype(np.float32)), [],
        ("warning", "exactly 0 and are lost.*--fix zero_points"), ANYTHING),
    # points
    "all points equal": (clouds(lambda p: np.where(p == 0, p, np.float32([0.1, 0.1, 0.4]))), [],
                         ("warning", "1 distinct"), ANYTHING),
    "a coarse grid": (clouds(lambda p: np.where(p == 0, p, np.round(p * 50) / 50 + np.float32(0.001))), [],
                      ("warning", "distinct, fewer than the"), ANYTHING),
    "no point": (one(4, lambda p: p * 0), [], ("error", "no valid point"), ANYTHING),
    "no point but NaN": (one(4, lambda p: p * np.nan), [], ("error", "no valid point"), ANYTHING),
    "nearly empty": (one(4, lambda p: scattered(p, 0.005)), [], ("warning", "nearly empty: .* points are left"), ANYTHING),
    "far away": (one(4, lambda p: np.where(p == 0, 0, p + np.float32([100, 0, 0]))), [],
                 ("warning", "004.tiff: its centre lies 100 m from"), ANYTHING),
    "far away in depth": (one(4, lambda p: np.where(p == 0, 0, p + np.float32([0, 0, 100]))), [],
                          ("warning", "004.tiff: its centre lies 100 m from"), ANYTHING),
    "a far training part": (one(2, lambda p: np.where(p == 0, 0, p + np.float32([0, 100, 0]))), [],
                            ("warning", "002.tiff: its centre lies 100 m from"), ANYTHING),
    # the same twice
    "in train and test": (copied("train/good/{kind}/000.{suffix}", "test/good/{kind}/004.{suffix}"), [],
                          ("warning", "000.png = .*004.png: the same part in training and test"), ANYTHING),
    "good and defective": (copied("test/good/{kind}/004.{suffix}", "test/hole/{kind}/006.{suffix}"), [],
                           ("warning", "004.png = .*006.png: the same part"), ANYTHING),
    "twice in training": (copied("train/good/{kind}/000.{suffix}", "train/good/{kind}/001.{suffix}"), [],
                          ("warning", "000.png = .*001.png: the same part"), ANYTHING),
    # names
    "padded on one side": (both(renamed("img_{n}{s}", ["rgb"]), renamed("{n:04}{s}", ["xyz"])), [],
                           ("note", "paired by the number"), SAME),
    "two numbers": (both(renamed("cam1_part{n}_v2{s}", ["rgb"]), renamed("part{n:05}_xyz{s}", ["xyz"])), [],
                    ("note", "paired by the number"), SAME),
    "two numbers in another order": (both(renamed("2024_{n}{s}", ["rgb"]), renamed("{n:05}_2025{s}", ["xyz"])), [],
                                     ("note", "paired by the number"), SAME),
    "numbered from 1 on one side": (renamed("c_{n:03}{s}", ["xyz"], "test/good"), [], ("note", "number"), SAME),
    "other numbers": (both(renamed("a{n}{s}", ["rgb"]), lambda f: [p.rename(p.with_name(f"b{int(p.stem) + 1}.tiff")) for
                                                                     p in sorted(f.glob("*/*/xyz/*"), reverse=True)]),
                      [], ("error", "same number"), ANYTHING),
    # suffixes and formats
    "tif": (renamed("{n:03}.tif", ["xyz"]), [], QUIET, SAME),
    "upper case": (both(renamed("{n:03}.TIFF", ["xyz"]), renamed("{n:03}.PNG", ["rgb", "gt"])), [], QUIET, SAME),
    "jpg": (resaved(".jpg"), [], QUIET, SAME),
    "JPEG": (resaved(".JPEG"), [], QUIET, SAME),
    "bmp pictures": (resaved(".bmp"), [], QUIET, SAME),
    "tiff pictures": (resaved(".tif", compression="tiff_lzw"), [], QUIET, SAME),
    "webp": (resaved(".webp"), [], ("error", "no pictures.*webp"), ANYTHING),
    "mixed suffixes": (pictures(lambda path, image: image.save(path.with_suffix(".bmp")) or path.unlink(), "test/good"),
                       [], QUIET, SAME),
    "grey pictures": (pictures(lambda path, image: image.convert("L").save(path)), [], QUIET, SAME),
    "pictures with alpha": (pictures(lambda path, image: image.convert("RGBA").save(path)), [], QUIET, SAME),
    "16-bit pictures": (pictures(lambda path, image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) *
                                                                     16).save(path)), [], ("note", "16 bits"), SAME),
    **{
        f"{name} tiff": (clouds(lambda p: p, **options), [], QUIET, SAME)
        for name, options in (
            ("lzw", {"compression": "lzw", "photometric": "rgb"}),
            ("zstd", {"compression": "zstd", "photometric": "rgb"}),
            ("deflate with predictor", {"compression": "zlib", "predictor": 3, "photometric": "rgb"}),
            ("tiled", {"tile": (16, 16), "photometric": "rgb"}),
            ("big-endian", {"byteorder": ">", "photometric": "rgb"}),
            ("big", {"bigtiff": True, "photometric": "rgb"}),
        )
    },
    "double tiff": (clouds(lambda p: p.astype(np.float64)), [], QUIET, SAME),
    "planes": (clouds(pages, photometric="rgb", planarconfig="separate"), [], ("note", "planes or pages"), SAME),
    "stack": (clouds(pages, photometric="minisblack"), [], ("note", "planes or pages"), SAME),
    "pages": (write_pages, [], ("note", "planes or pages"), SAME),
    "intensity": (clouds(lambda p: np.concatenate([p, p[..., :1] * 0 + 7], -1), photometric="minisblack"), [],
                  ("note", "fourth of the channels"), SAME),
    "four planes": (clouds(lambda p: pages(np.concatenate([p, p[..., :1] * 0 + 7], -1)), photometric="minisblack"), [],
                    ("note", "fourth of the channels"), SAME),
    "depth": (clouds(lambda p: p[..., 2]), [], ("error", "depth only.*tools/import_parts.py"), ANYTHING),
    "depth of one channel": (clouds(lambda p: p[..., 2:], photometric="minisblack"), [],
                             ("error", "depth only.*tools/import_parts.py"), ANYTHING),
    "two channels": (clouds(lambda p: p[..., :2], photometric="minisblack"), [], ("error", "import_parts.py"), ANYTHING),
    "a list of points": (clouds(lambda p: p.reshape(-1, 3), photometric="minisblack"), [],
                         ("error", "list of points.*tools/import_parts.py"), ANYTHING),
    "small": (clouds(lambda p: p[:48]), [], ("error", "48×64 pixels.*tools/import_parts.py"), ANYTHING),
    "ply": (renamed("{n:03}.ply", ["xyz"]), [], ("error", "ply.*tools/import_parts.py"), ANYTHING),
    "a picture for a cloud": (clouds(lambda p: (p * 255).astype(np.uint8)), [], ("error", "uint8"), ANYTHING),
    "cut short": (lambda f: [p.write_bytes(p.read_bytes()[:5000]) for p in f.glob("test/good/xyz/004*")], [],
                  ("error", "004.tiff: cannot be read"), ANYTHING),
    "no bytes": (lambda f: [p.write_bytes(b"") for p in f.glob("test/good/rgb/004*")], [],
                 ("error", "004.png: cannot be read"), ANYTHING),
    # what programs leave behind
    **{
        name: (left_behind(f"test/{name}/"), [], ("warning", f"{re.escape(name)}: is no defect folder"), SAME)
        for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN")
    },
    "notebooks beside the good parts": (left_behind("train/.ipynb_checkpoints/rgb/000.png"), [],
                                        ("warning", "ipynb_checkpoints: is no"), SAME),
    "an empty defect folder": (left_behind("test/scratch/rgb/", "test/scratch/gt/"), [], ("warning", "scratch: is empty"),
                               SAME),
    "thumbnails": (left_behind("test/good/rgb/Thumbs.db", "train/good/xyz/desktop.ini", "test/.DS_Store"), [], QUIET, SAME),
    "doubles": (doubles, [], QUIET, SAME),
    "folders inside": (left_behind("test/good/rgb/@eaDir/004.png", "train/good/xyz/.ipynb_checkpoints/000.tiff"), [],
                       QUIET, SAME),
    "a defect folder of something else": (left_behind("test/notes/readme.txt"), [], ("error", "notes"), ANYTHING),
    # cloud and picture
    "mirrored": (clouds(lambda p: np.ascontiguousarray(p[:, ::-1])), [], ("warning", "mirrored left to right"), ANYTHING),
    "shifted": (clouds(lambda p: np.roll(p, 9, 1)), [], ("warning", "shifted by"), ANYTHING),
    "cropped": (clouds(lambda p: np.ascontiguousarray(p[:, :58])), [], ("warning", "different aspect"), ANYTHING),
    "another size, the same view": (pictures(lambda path, image: image.resize((100, 101)).save(path)), [], QUIET, SAME),
}


def make(root):
    """A sound category whose parts' outlines are not symmetric; returns its folder."""

    def cut(cloud):
        cloud = cloud.copy()
        cloud[:, 44:], cloud[40:, :24] = 0, 0
        return cloud

    folder = make_scans(root, cut)
    for path in folder.glob("*/*/rgb/*.png"):
        cloud = tifffile.imread(path.parents[1] / "xyz" / f"{path.stem}.tiff")
        picture = np.asarray(Image.open(path)) * cloud.any(-1)[..., None]
        Image.fromarray(np.maximum(picture, 3).astype(np.uint8)).save(path)
    for path in folder.glob("test/hole/gt/*.png"):
        Image.fromarray(MASK).save(path)
    return folder


def read_all(root, readings):
    """[(label, xyz, mask or None)] as a run reads them."""
    train, test = (kind("toy", 64, root, 0, reading=readings["toy"]) for kind in (TrainDataset, TestDataset))
    return [(0, item[0][1].numpy(), None) for item in train] + [
        (item[2], item[0][1].numpy(), item[1].numpy()) for item in test
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The sound data set's folder, and what a run reads of it."""
    root = tmp_path_factory.mktemp("sound")
    make(root)
    readings, faulty = settle_readings(arguments(root, root / "out"), ["toy"])
    assert not faulty
    return root, read_all(root, readings)


def arguments(data, out, *flags):
    return parse("--dataset_type", "folder", "--dataset_path", str(data), "--output_dir", str(out), "--num_group", "64",
                 "--device", "cpu", *flags)


def said(text, level):
    return [line[len(level) + 2:] for line in text.splitlines() if line.startswith(f"{level}: ")]


@pytest.mark.parametrize("name", CASES)
def test_field_cases(sound, tmp_path, capsys, caplog, name):
    change, flags, (level, words), reads = CASES[name]
    shutil.copytree(sound[0] / "toy", tmp_path / "data" / "toy")
    change(tmp_path / "data" / "toy")
    (tmp_path / "out").mkdir()
    code = check_dataset.main([str(tmp_path / "data"), "--num_group", "64", "--workers", "1", *flags])
    checked = capsys.readouterr().out
    assert code == (level == "error"), checked
    for other in {"error", "warning"} - {level}:
        assert said(checked, other) == [], checked
    if level:
        assert any(re.search(words, line) for line in said(checked, level)), checked
        assert all("\n" not in line and len(line) < 600 for line in said(checked, level))

    caplog.clear()
    readings, faulty = settle_readings(arguments(tmp_path / "data", tmp_path / "out", *flags), ["toy"])
    out, err = capsys.readouterr()
    assert bool(faulty) == (level == "error")
    told = {"error": err + "".join(faulty.values()), "warning": caplog.text, "note": out}  # the same examination
    for kind, text in told.items():
        for line in said(checked, kind)[:1]:
            assert line in text
    if level == "error":
        assert main.main(["--method_name", "Point_MAE", "--dataset_type", "folder", "--num_group", "64", *flags,
                          "--dataset_path", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]) == 2
        assert "toy" in capsys.readouterr().err
        return
    found = read_all(tmp_path / "data", readings)
    if reads is SAME:
        for (label, xyz, mask), (known_label, known_xyz, known_mask) in zip(found, sound[1], strict=True):
            assert label == known_label
            np.testing.assert_allclose(xyz, known_xyz, atol=1e-6)
            assert mask is None or np.array_equal(mask, known_mask)
