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
