"""Finds the files of a recording, and which of them belong to one part: picture, depth image or cloud, and mask."""

import re
from pathlib import Path
from typing import NamedTuple

import tifffile
from PIL import Image

from cameras.readers import SUFFIXES
from common.errors import InputError
from data.pairing import natural

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
CLOUDS_ONLY = (".pcd", ".ply", ".npy", ".npz")
MASK_WORDS = {"gt", "mask", "masks", "groundtruth", "truth", "label", "labels", "annotation", "annotations"}
ROLE_WORDS = MASK_WORDS | {
    "ground",
    "rgb",
    "color",
    "colour",
    "image",
    "images",
    "img",
    "picture",
    "pictures",
    "depth",
    "aligned",
    "registered",
    "raw",
    "xyz",
    "points",
    "point",
    "cloud",
    "clouds",
    "pointcloud",
    "pcd",
    "ply",
    "left",
    "right",
    "rect",
    "data",
    "frame",
    "frames",
    "ir",
}


class Files(NamedTuple):
    """The files of one part; ``picture`` is None if the cloud has its own colours, ``mask`` if there is no mask."""

    picture: Path | None
    cloud: Path
    mask: Path | None = None


def find_parts(source, picture_glob=None, cloud_glob=None, mask_glob=None, by_order=False, with_masks=True):
    """Files of each part below the folder ``source``, in natural order.

    Without globs, the kind of a file follows from its type. PCD, PLY, .npy and .npz are clouds; grey PNG and tiff of
    16 bits or more are depth; float tiffs are depth or points. Other images are masks if a word of their name or folder
    says so, else pictures.

    Files belong together if their names are the same apart from words such as color and depth, or else if the numbers
    in their names are the same. With ``by_order`` they are paired by position. Masks are used only if ``with_masks``.

    Returns:
        (list of Files, {name of a file: why it has no partner}).

    Raises:
        InputError: no files are found, or no rule pairs them.
    """
    source = Path(source)
    if not source.is_dir():
        raise InputError(f"{source}: missing folder: give the folder of the recording")
    pictures, clouds, masks = sort_files(source, picture_glob, cloud_glob, mask_glob)
    masks = masks if with_masks else []
    if not clouds:
        there = ", ".join(sorted({p.suffix for p in _walk(source) if p.suffix})) or "no files"
        raise InputError(
            f"{source}: no depth images or clouds in it ({there}); known are 16-bit or float PNG and tiff, PCD, PLY, "
            f".npy and .npz" + (f"; --cloud_glob {cloud_glob} fits none" if cloud_glob else "")
        )
    if by_order:
        for kind, files in (("pictures", pictures), ("masks", masks)):
            if files and len(files) != len(clouds):
                raise InputError(
                    f"{source}: {len(clouds)} depth images or clouds, but {len(files)} {kind}; --by_order needs as many"
                )
        none = [None] * len(clouds)
        return [Files(*files) for files in zip(pictures or none, clouds, masks or none)], {}
    anchors, lonely, what = pictures, {}, "picture"
    if pictures:
        cloud_of, lonely = match(source, pictures, clouds, what, "depth image or cloud")
    else:  # the clouds may have colours; reading them will show
        anchors, what, cloud_of = clouds, "depth image or cloud", {cloud: cloud for cloud in clouds}
    mask_of, unmasked = match(source, anchors, masks, what, "mask") if masks else ({}, {})
    parts = [
        Files(a if pictures else None, cloud_of[a], mask_of.get(a))
        for a in anchors
        if a in cloud_of and (not masks or a in mask_of)
    ]
    return parts, {**unmasked, **lonely}


def sort_files(source, picture_glob=None, cloud_glob=None, mask_glob=None):
    """(pictures, clouds, masks) below ``source``, each in natural order."""
    given = [
        None if pattern is None else set(source.glob(pattern)) for pattern in (picture_glob, cloud_glob, mask_glob)
    ]
    kinds = [[], [], []]
    for path in _walk(source):
        asked = [kind for kind, files in enumerate(given) if files is not None and path in files]
        if asked:
            kinds[asked[0]].append(path)
            continue
        kind = sniff(path, source)
        if kind is not None and given[kind] is None:
            kinds[kind].append(path)
    return kinds


def sniff(path, source):
    """Kind of a file: 0 picture, 1 depth or cloud, 2 mask; None: none of these."""
    suffix = path.suffix.lower()
    if suffix in CLOUDS_ONLY:
        return 1
    if suffix not in PICTURES:
        return None
    if suffix in (".tif", ".tiff"):
        try:
            with tifffile.TiffFile(path) as file:
                kind = file.series[0]
                if kind.dtype.kind == "f" or (kind.dtype.itemsize > 1 and len(kind.shape) == 2):
                    return 1
        except Exception:  # damaged: reading it later will report that
            return 1
    elif suffix == ".png":
        try:
            with Image.open(path) as picture:
                if picture.mode[:1] in "IF":
                    return 1
        except Exception:
            pass  # damaged: reading it later will report that
    words = set(_words(path.stem)) | {word for part in path.relative_to(source).parts[:-1] for word in _words(part)}
    return 2 if words & MASK_WORDS else 0


def match(source, first, second, one, other):
    """Pair files by RULES: ({file of ``first``: file of ``second``}, {name: why a file has no partner}).

    ``one`` and ``other`` name the two kinds in messages.

    Raises:
        InputError: no rule finds a pair.
    """
    best, doubles = None, None
    for rule in RULES:
        keys = [{}, {}]
        for files, by_key in zip((first, second), keys):
            for path in files:
                key = rule(path.relative_to(source))
                if key is not None:
                    by_key.setdefault(key, []).append(path)
        common = keys[0].keys() & keys[1].keys()
        twice = next((by_key[key] for by_key in keys for key in common if len(by_key[key]) > 1), None)
        if twice:
            doubles = doubles or twice
            continue
        if best is None or len(common) > len(best):
            best = {keys[0][key][0]: keys[1][key][0] for key in common}
        if len(best) == len(first) == len(second):
            break
    if not best:
        if doubles:
            raise InputError(
                f"{doubles[0]}: and {doubles[1].relative_to(source)} both belong to one part; say which files to take, "
                "--picture_glob, --cloud_glob or --mask_glob 'PATTERN'"
            )
        raise InputError(
            f"{first[0]}: no {other} has the same name or number ({second[0].relative_to(source)} is the first); "
            f"rename them, or pair "
            "them in natural order with --by_order"
        )
    lonely = {
        p.relative_to(source).as_posix(): f"{p}: no {other} of its name or number" for p in first if p not in best
    }
    taken = set(best.values())
    lonely.update(
        {p.relative_to(source).as_posix(): f"{p}: no {one} of its name or number" for p in second if p not in taken}
    )
    return best, lonely


def _walk(source):
    """Files below ``source`` in natural order, without files that operating systems and notebooks create."""
    found = [
        p
        for p in source.rglob("*")
        if not any(part.startswith((".", "@", "__")) for part in p.relative_to(source).parts)
    ]
    return sorted(
        (p for p in found if p.suffix.lower() in PICTURES + SUFFIXES and p.is_file()),
        key=lambda p: natural(p.relative_to(source)),
    )


def _words(text):
    """Lower-case words and numbers of a name: "rs_ColorImage-007" → rs, color, image, 007."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", text)]


def _plain(text):
    return tuple(word for word in _words(text) if word not in ROLE_WORDS)


def _folder(path):
    return tuple(_plain(part) for part in path.parts[:-1] if _plain(part))


def _numbers(path):
    return tuple(int(word) for word in _words(path.stem) if word.isdecimal()) or None


RULES = (  # the first rule that pairs all files is used, else the one that pairs most
    lambda path: (_folder(path), path.stem),
    lambda path: (_folder(path), _plain(path.stem)) if _plain(path.stem) else None,
    lambda path: (_folder(path), _numbers(path)) if _numbers(path) else None,
    lambda path: (_folder(path), _numbers(path)[-1]) if _numbers(path) else None,
    lambda path: _plain(path.stem) or None,
    lambda path: _numbers(path),
    lambda path: _numbers(path)[-1] if _numbers(path) else None,
)
