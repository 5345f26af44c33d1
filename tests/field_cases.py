"""Data sets as users have them: each case changes a sound category and states the right answer to it. A change is a
function of the category's folder."""

import re
import shutil

import numpy as np
import tifffile
from PIL import Image

from tests.make_data import make_scans, write_tiff

MASK = np.zeros((64, 64), np.uint8)
MASK[30:40, 30:40] = 255
ROWS, COLUMNS = ((np.mgrid[:64, :64] + 0.5) / 64 - 0.5) * 0.1
RAYS = np.stack([COLUMNS + 1e-5, ROWS + 1e-5, np.ones((64, 64))], -1).astype(np.float32)


def change(function):
    """``function`` of a folder and more, as a function of the more that returns a change: a function of the folder."""
    return lambda *args, **options: lambda folder: function(folder, *args, **options)


@change
def clouds(folder, edit, where="", **options):
    """Write each tiff (below ``where``) anew with ``edit(points)``."""
    for path in sorted((folder / where).rglob("*.tiff")):
        edited = edit(tifffile.imread(path))
        kind = {"photometric": "rgb" if edited.shape[-1] == 3 else "minisblack"}
        tifffile.imwrite(path, edited, **(options or kind))


def background(value):
    """A change: pixels without a point get ``value``: a number, (x, y, z), or an array of pixels."""
    return clouds(lambda p: np.where((p == 0).all(-1, keepdims=True), np.float32(value), p))


def with_z(z):
    """A change: pixels without a point get the x and y of their ray, and ``z``."""
    return background(np.where(np.arange(3) == 2, np.float32(z), RAYS))


@change
def masks(folder, make, suffix=".png", **options):
    """Write each mask anew as ``make(mask)``, an array or a PIL picture."""
    for path in sorted(folder.glob("test/hole/gt/*")):
        path.unlink()
        made, path = make(MASK), path.with_suffix(suffix)
        if suffix.startswith(".tif") and isinstance(made, np.ndarray):
            tifffile.imwrite(path, made, **options)
        else:
            (made if isinstance(made, Image.Image) else Image.fromarray(made)).save(path, **options)


def palette(*colours):
    """A function that makes a picture with a palette of a mask."""

    def make(mask):
        image = Image.fromarray(mask // 255)
        image.putpalette([value for colour in colours for value in colour])
        return image

    return make


@change
def renamed(folder, pattern, kinds, where="*/*"):
    """Rename the files of ``kinds`` by ``pattern``, which has ``n``, the part's number, and ``s``, the suffix."""
    for path in (path for kind in kinds for path in sorted(folder.glob(f"{where}/{kind}/*"))):
        path.rename(path.with_name(pattern.format(n=int(path.stem), s=path.suffix)))


@change
def pictures(folder, save, where="*/*"):
    """Call ``save(path, picture)`` for each picture."""
    for path in sorted(folder.glob(f"{where}/rgb/*")):
        save(path, Image.open(path).copy())


def resaved(suffix, **options):
    """A change: write each picture with another suffix."""
    return pictures(lambda path, image: path.unlink() or image.save(path.with_suffix(suffix), **options))


@change
def both(folder, *changes):
    """Several changes."""
    for one_of_them in changes:
        one_of_them(folder)


@change
def left_behind(folder, *names):
    """Add files that programs leave behind; a name that ends in "/" is a folder."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"left behind")


def doubles(folder):
    """A change: add the files that macOS writes beside each file on a foreign drive."""
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")


@change
def removed(folder, pattern):
    """Remove what fits ``pattern``."""
    for path in sorted(folder.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@change
def copied(folder, source, target):
    """Copy a part's picture and cloud."""
    for kind, suffix in (("rgb", "png"), ("xyz", "tiff")):
        shutil.copy(*(folder / path.format(kind=kind, suffix=suffix) for path in (source, target)))


@change
def one(folder, number, edit):
    """Write the cloud of this ``number`` anew with ``edit(points)``."""
    (path,) = folder.glob(f"*/*/xyz/{number:03}.tiff")
    write_tiff(path, edit(tifffile.imread(path)).astype(np.float32))


def pages(points):
    return np.ascontiguousarray(np.moveaxis(points, 2, 0))


def write_pages(folder):
    for path in sorted(folder.rglob("*.tiff")):
        planes = pages(tifffile.imread(path))
        with tifffile.TiffWriter(path) as file:
            for plane in planes:
                file.write(plane, contiguous=False, photometric="minisblack")


def scattered(cloud, kept):
    """The cloud with a random share ``kept`` of its pixels; the others are NaN."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(cloud.shape[:2])[..., None] < kept, cloud, np.nan)


def height_map(points):
    """Heights beside rows and columns: some coordinates are exactly 0."""
    rows, columns = np.mgrid[:64, -32:32] * 1e-4
    height = np.round(points[..., 2] * 1e5 - 4e4 + 2) * 1e-5 * (points[..., 2] > 0)
    return np.stack([columns, rows, height], -1).astype(np.float32)


def make(root):
    """Write a sound category whose parts have outlines without symmetry; returns its folder."""

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


# ---------------------------------------------------------------- cases

SAME, ANYTHING = "reads the same", None


def same(change, *flags, reads=SAME):
    """A case: nothing is said, and a run with ``flags`` reads what the sound set holds."""
    return change, flags, ("", ""), reads


def noted(words, change, *flags):
    """A case: the pattern ``words`` is in a note, and a run reads what the sound set holds."""
    return change, flags, ("note", words), SAME


def warned(words, change, *flags, reads=ANYTHING):
    """A case: the pattern ``words`` is in a warning."""
    return change, flags, ("warning", words), reads


def refused(words, change, *flags):
    """A case: the pattern ``words`` is in an error."""
    return change, flags, ("error", words), ANYTHING


CASES = {
    "sound": same(lambda folder: None),
    # units
    "millimetres": refused("look like millimetres.*--unit mm", clouds(lambda p: p * 1000)),
    "millimetres, said": same(clouds(lambda p: p * 1000), "--unit", "mm"),
    "whole millimetres": refused("int16.*--unit", clouds(lambda p: np.rint(p * 1000).astype(np.int16))),
    "centimetres": refused("look like centimetres.*--unit cm", clouds(lambda p: p * 100)),
    "centimetres, said": same(clouds(lambda p: p * 100), "--unit", "cm"),
    "micrometres": refused("micrometres", clouds(lambda p: p * 1e6)),
    "micrometres as millimetres": refused("--unit mm", clouds(lambda p: p * 1e6), "--unit", "mm"),
    "metres, said to be millimetres": refused("--unit mm", lambda folder: None, "--unit", "mm"),
    "test in millimetres": refused("1,?000 times as large.*mixes", clouds(lambda p: p * 1000, "test")),
    "one training part in millimetres": refused("mixes units", one(1, lambda p: p * 1000)),
    "mixed, one unit said": refused("mixes units|--unit mm", clouds(lambda p: p * 1000, "test"), "--unit", "mm"),
    "coordinates of a map": refused(
        "from the origin.*take the offset away",
        clouds(lambda p: np.where(p == 0, 0, p.astype(np.float64) + np.array([4.5e6, 6e5, 0]))),
    ),
    # masks
    "red": same(masks(lambda m: np.stack([m, 0 * m, 0 * m], -1))),
    "class two": same(masks(lambda m: m // 255 * 2)),
    "palette": same(masks(palette((0, 0, 0), (128, 0, 0)))),
    "white on transparent": same(masks(lambda m: np.dstack([m * 0 + 255] * 3 + [m]))),
    "black on transparent": same(masks(lambda m: np.dstack([m * 0] * 3 + [m]))),
    "red, half transparent": same(masks(lambda m: np.dstack([m, m * 0, m * 0, m // 2]))),
    "grey and alpha": same(masks(lambda m: np.dstack([m * 0 + 255, m]))),
    "1 bit": same(masks(lambda m: Image.fromarray(m).convert("1"))),
    "1 bit tiff, white is zero": same(masks(lambda m: m == 0, ".tiff", photometric="miniswhite")),
    "16 bits, white is zero": same(
        masks(lambda m: 65535 - m.astype(np.uint16) * 257, ".tiff", photometric="miniswhite")
    ),
    "16 bits": same(masks(lambda m: m.astype(np.uint16) * 257)),
    "32-bit numbers": same(masks(lambda m: (m // 255).astype(np.int32), ".tif")),
    "floats 0 and 1": same(masks(lambda m: (m // 255).astype(np.float32), ".tif")),
    "compressed tiff": same(masks(lambda m: m, ".TIF", compression="lzw")),
    "jpeg": same(masks(lambda m: m, ".jpg", quality=95), reads=ANYTHING),
    "a photo with the mask as alpha": same(
        masks(lambda m: np.dstack([np.random.default_rng(0).integers(1, 255, (64, 64, 3)), m]).astype(np.uint8))
    ),
    "masks as arrays": warned("1 .npy not read", both(removed("test/hole/gt/*"), left_behind("test/hole/gt/006.npy"))),
    "another class number in each mask": same(
        lambda folder: [
            Image.fromarray(MASK // 255 * (n + 1)).save(p) for n, p in enumerate(sorted(folder.glob("test/hole/gt/*")))
        ]
    ),
    "mask with a suffix": noted("paired by the number", renamed("{n:03}_mask{s}", ["gt"])),
    "inverted": warned("inverted", masks(lambda m: 255 - m)),
    "inverted alpha": warned("inverted", masks(lambda m: np.dstack([m * 0] * 3 + [255 - m]))),
    "all white": warned("covers 100%", masks(lambda m: m * 0 + 255)),
    "empty": warned("mask of a defective part is empty", masks(lambda m: m * 0)),
    "a dark ramp": same(masks(lambda m: (m // 255 * np.arange(1, 65)).astype(np.uint8))),
    "one mask missing": refused("006.png|007.png", removed("test/hole/gt/007.png")),
    "no mask": warned("pixel metrics are undefined", removed("test/hole/gt")),
    "no mask in an empty folder": warned("pixel metrics are undefined", removed("test/hole/gt/*")),
    # points that were not measured
    **{
        f"missing is {name}": warned(re.escape(said), background(value), reads=SAME)
        for name, value, said in (
            ("-1", -1, "(-1, -1, -1)"),
            ("-9999", -9999, "(-9999, -9999, -9999)"),
            ("0 0 65.535", (0, 0, 65.535), "(0, 0, 65.535)"),
            ("the largest float", np.finfo(np.float32).max, "3.40282e+38"),
            ("0 0 10", (0, 0, 10), "(0, 0, 10)"),
            ("0 0 -1", (0, 0, -1), "(0, 0, -1)"),
        )
    },
    **{
        f"missing is z = {z}": warned(re.escape(f"z = {z}") + " fills", with_z(z), reads=SAME)
        for z in (-1, 65.535, -9999, 0, -0.001)
    },
    "missing is NaN": warned("NaN or inf.*points are left", background(np.nan), reads=SAME),
    "z is NaN": warned("NaN or inf", with_z(np.nan), reads=SAME),
    "missing is 65535 in millimetres": warned(
        re.escape("(0, 0, 65535)"),
        both(clouds(lambda p: p * 1000), background((0, 0, 65535))),
        "--unit",
        "mm",
        reads=SAME,
    ),
    "missing is -1 in millimetres": warned(
        re.escape("(-1, -1, -1)"), both(clouds(lambda p: p * 1000), background(-1)), "--unit", "mm", reads=SAME
    ),
    "two values": warned(
        re.escape("(-1, -1, -1), (0, 0, 65.535)"),
        both(background(-1), clouds(lambda p: np.where(np.arange(64)[:, None] < 3, np.float32([0, 0, 65.535]), p))),
        reads=SAME,
    ),
    "a plate far behind": warned("z = 1.5 fills", with_z(1.5), reads=SAME),
    # coordinates 0
    "height map": warned("exactly 0 and are lost.*--fix zero_points", clouds(height_map)),
    # points
    "all points equal": warned("1 distinct", clouds(lambda p: np.where(p == 0, p, np.float32([0.1, 0.1, 0.4])))),
    "a coarse grid": warned(
        "distinct, fewer than the", clouds(lambda p: np.where(p == 0, p, np.round(p * 50) / 50 + np.float32(0.001)))
    ),
    "no point": refused("no valid point", one(4, lambda p: p * 0)),
    "nearly empty": warned("nearly empty: .* points are left", one(4, lambda p: scattered(p, 0.005))),
    "far away": warned(
        "004.tiff: its centre lies 100 m from", one(4, lambda p: np.where(p == 0, 0, p + np.float32([100, 0, 0])))
    ),
    "a few points far off": warned(
        "004.tiff: its points reach over 65.* m",
        clouds(lambda p: np.where(np.arange(4096).reshape(64, 64, 1) % 400 == 9, np.float32([0, 0, 65.535]), p)),
    ),
    # the same twice
    "in train and test": warned(
        "000.png = .*004.png: the same part in training and test",
        copied("train/good/{kind}/000.{suffix}", "test/good/{kind}/004.{suffix}"),
    ),
    "twice in training": warned(
        "000.png = .*001.png: the same part", copied("train/good/{kind}/000.{suffix}", "train/good/{kind}/001.{suffix}")
    ),
    # cloud and picture
    "mirrored": warned("mirrored left to right", clouds(lambda p: np.ascontiguousarray(p[:, ::-1]))),
    "shifted": warned("shifted by", clouds(lambda p: np.roll(p, 9, 1))),
    "cropped": warned("different aspect", clouds(lambda p: np.ascontiguousarray(p[:, :58]))),
    "another size, the same view": same(pictures(lambda path, image: image.resize((100, 101)).save(path))),
    # names
    "padded on one side": noted(
        "paired by the number", both(renamed("img_{n}{s}", ["rgb"]), renamed("{n:04}{s}", ["xyz"]))
    ),
    "two numbers": noted(
        "paired by the number", both(renamed("cam1_part{n}_v2{s}", ["rgb"]), renamed("part{n:05}_xyz{s}", ["xyz"]))
    ),
    "numbered from 1 on one side": noted("number", renamed("c_{n:03}{s}", ["xyz"], "test/good")),
    "other numbers": refused(
        "same number",
        both(
            renamed("a{n}{s}", ["rgb"]),
            lambda f: [
                p.rename(p.with_name(f"b{int(p.stem) + 1}.tiff")) for p in sorted(f.glob("*/*/xyz/*"), reverse=True)
            ],
        ),
    ),
    # suffixes and formats
    "tif": same(renamed("{n:03}.tif", ["xyz"])),
    "upper case": same(both(renamed("{n:03}.TIFF", ["xyz"]), renamed("{n:03}.PNG", ["rgb", "gt"]))),
    "JPEG": same(resaved(".JPEG")),
    "tiff pictures": same(resaved(".tif", compression="tiff_lzw")),
    "webp": refused("no pictures.*webp", resaved(".webp")),
    "mixed suffixes": same(
        pictures(lambda path, image: image.save(path.with_suffix(".bmp")) or path.unlink(), "test/good")
    ),
    "grey pictures": same(pictures(lambda path, image: image.convert("L").save(path))),
    "pictures with alpha": same(pictures(lambda path, image: image.convert("RGBA").save(path))),
    "16-bit pictures": noted(
        "16 bits",
        pictures(lambda path, image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16).save(path)),
    ),
    **{
        f"{name} tiff": same(clouds(lambda p: p, **options))
        for name, options in (
            ("lzw", {"compression": "lzw", "photometric": "rgb"}),
            ("big-endian", {"byteorder": ">", "photometric": "rgb"}),
        )
    },
    "double tiff": same(clouds(lambda p: p.astype(np.float64))),
    "planes": noted("planes or pages", clouds(pages, photometric="rgb", planarconfig="separate")),
    "pages": noted("planes or pages", write_pages),
    "intensity": noted(
        "fourth of the channels",
        clouds(lambda p: np.concatenate([p, p[..., :1] * 0 + 7], -1), photometric="minisblack"),
    ),
    "depth": refused("depth only.*tools/import_parts.py", clouds(lambda p: p[..., 2])),
    "two channels": refused("import_parts.py", clouds(lambda p: p[..., :2], photometric="minisblack")),
    "a list of points": refused(
        "list of points.*tools/import_parts.py", clouds(lambda p: p.reshape(-1, 3), photometric="minisblack")
    ),
    "small": refused("48×64 pixels.*tools/import_parts.py", clouds(lambda p: p[:48])),
    "ply": refused("ply.*tools/import_parts.py", renamed("{n:03}.ply", ["xyz"])),
    "a picture for a cloud": refused("uint8", clouds(lambda p: (p * 255).astype(np.uint8))),
    "cut short": refused(
        "004.tiff: cannot be read",
        lambda f: [p.write_bytes(p.read_bytes()[:5000]) for p in f.glob("test/good/xyz/004*")],
    ),
    "no bytes": refused(
        "004.png: cannot be read", lambda f: [p.write_bytes(b"") for p in f.glob("test/good/rgb/004*")]
    ),
    # what programs leave behind
    **{
        name: warned(f"{re.escape(name)}: is no defect folder", left_behind(f"test/{name}/"), reads=SAME)
        for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN")
    },
    "an empty defect folder": warned(
        "scratch: is empty", left_behind("test/scratch/rgb/", "test/scratch/gt/"), reads=SAME
    ),
    "thumbnails": same(left_behind("test/good/rgb/Thumbs.db", "train/good/xyz/desktop.ini", "test/.DS_Store")),
    "doubles": same(doubles),
    "folders inside": same(left_behind("test/good/rgb/@eaDir/004.png", "train/good/xyz/.ipynb_checkpoints/000.tiff")),
    "a defect folder of something else": refused("notes", left_behind("test/notes/readme.txt")),
}
