"""A sound category, and changes to it; each change is a function of the category's folder."""

import shutil

import numpy as np
import tifffile
from PIL import Image

from tests.make_data import make_scans, write_tiff

MASK = np.zeros((64, 64), np.uint8)
MASK[30:40, 30:40] = 255
ROWS, COLUMNS = ((np.mgrid[:64, :64] + 0.5) / 64 - 0.5) * 0.1
RAYS = np.stack([COLUMNS + 1e-5, ROWS + 1e-5, np.ones((64, 64))], -1).astype(np.float32)


# ---------------------------------------------------------------- changes to a sound category


def clouds(change, where="", **options):
    """A change: write each tiff (below ``where``) anew with ``change(points)``."""

    def apply(folder):
        for path in sorted((folder / where).rglob("*.tiff")):
            changed = change(tifffile.imread(path))
            if options:
                tifffile.imwrite(path, changed, **options)
            else:
                tifffile.imwrite(path, changed, photometric="rgb" if changed.shape[-1] == 3 else "minisblack")

    return apply


def background(value):
    """A change: pixels without a point get ``value``: a number, (x, y, z), or an array of pixels."""
    return clouds(lambda p: np.where((p == 0).all(-1, keepdims=True), np.float32(value), p))


def with_z(z):
    """A change: pixels without a point get the x and y of their ray, and ``z``."""
    return background(np.where(np.arange(3) == 2, np.float32(z), RAYS))


def masks(make, suffix=".png", **options):
    """A change: write each mask anew as ``make(mask)``, an array or a PIL picture."""

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
    """A change: rename the files of ``kinds`` by ``pattern``, which has ``n``, the part's number, and ``s``, the
    suffix."""

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
    """A change: add files that programs leave behind; a name that ends in "/" is a folder."""

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
    """A change: add the files that macOS writes beside each file on a foreign drive."""
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
            shutil.copy(
                folder / source.format(kind=kind, suffix=suffix), folder / target.format(kind=kind, suffix=suffix)
            )

    return apply


def one(number, change):
    """A change: write the cloud of this ``number`` anew with ``change(points)``."""

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
    """The cloud with a random share ``kept`` of its pixels; the others are NaN."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(cloud.shape[:2])[..., None] < kept, cloud, np.nan)


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
