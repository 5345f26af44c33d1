"""Finds the files of a recording, and which of them belong to one part: picture, depth image or cloud, and masks."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import tifffile
from PIL import Image

from common.errors import InputError
from data.folders import by_suffix, walk
from data.matching import KIND_WORDS, MASK_WORDS, match, plain, stem, words
from data.pairing import natural

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
CLOUDS_ONLY = (".pcd", ".ply", ".npy")
UNREAD_SCANS = (".npz", ".exr", ".zdf", ".xyz", ".obj", ".stl", ".raw", ".bin", ".bag")
# folders of what labelling tools export beside masks: pictures of classes and of objects in their own colours
LABEL_WORDS = {"segmentation", "semantic", "instance", "instances", "overlay", "overlays", "visualization"}
CAMERA = {"camera", "intrinsics", "calibration", "settings"}  # words of files that hold no labels
LABEL_SUFFIXES = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml")
NO_NAME = {"color", "colour", "rgb", "depth", "xyz", "cloud", "clouds", "pointcloud", "pcd", "ply", *MASK_WORDS}
PICTURE, CLOUD, MASK, LABEL, OTHER = range(5)
SHOWN = 3


class Files(NamedTuple):
    """The files of one part; ``picture`` is None if the cloud has its own colours."""

    picture: Path | None
    cloud: Path
    mask: Path | None = None

    @property
    def paths(self) -> list:
        """All of the part's files."""
        return [path for path in self if path]


class Recording(NamedTuple):
    """The parts of a recording, and what is not one."""

    parts: tuple  # of Files
    lonely: dict  # {name of a file: why it belongs to no part}
    notes: tuple  # texts: files that are not read, parts that are paired by time


def find_recording(source, picture_glob=None, cloud_glob=None, mask_glob=None, by_order=False, with_masks=True):
    """The Recording below the folder ``source``, its parts in natural order; masks count only ``with_masks``.

    Without globs, a file's type tells its kind. PCD, PLY and .npy are clouds; grey PNG and tiff of 16 bits or more are
    depth; float tiffs are depth or points. Other images are masks if a word of their name or folder says so, labels
    that are not read if their folder says so, else pictures. Files belong together as ``data.matching`` finds it, or
    ``by_order`` by position.
    Raises InputError: no files are found, a folder cannot be read, or no rule pairs the files.
    """
    source = Path(source)
    if not source.is_dir():
        raise InputError(f"{source}: missing folder: give the folder of the recording")
    tree = walk(source)
    if tree.unreadable:
        raise InputError(tree.unreadable[0])
    *kinds, others = sort_files(source, tree.files, (picture_glob, cloud_glob, mask_glob))
    pictures, clouds, masks, labels = kinds
    masks = masks if with_masks else []
    if not clouds:
        read = "read are depth as PNG or tiff of 16 bits or floats, and clouds as PCD, PLY and .npy"
        none = f"; --cloud_glob {cloud_glob} fits none" if cloud_glob else ""
        there = f"no depth images or clouds in it ({by_suffix(tree.files)})"
        raise InputError(f"{source}: {there}; {read}: save the scans as one of these{none}")
    notes = _unread(source, others, labels if with_masks else [], with_masks and not masks)
    if by_order:
        for kind, files in (("pictures", pictures), ("masks", masks)):
            if files and len(files) != len(clouds):
                count = f"{len(clouds)} depth images or clouds, but {len(files)} {kind}"
                raise InputError(f"{source}: {count}; --by_order needs as many")
        absent = [None] * len(clouds)
        return Recording(tuple(map(Files, pictures or absent, clouds, masks or absent)), {}, tuple(notes))
    anchors, what, lonely = pictures, "picture", {}
    if pictures:
        found = _match(source, pictures, clouds, "depth image or cloud")
        cloud_of, lonely = found.partner, _lonely(source, found, what, "depth image or cloud")
        if found.how == "time":
            shown = " with ".join(path.name for path in next(iter(cloud_of.items())))
            notes.append(f"{source}: the names are times; each picture goes with the scan nearest in time: {shown} …")
    else:  # the clouds may have colours; reading them will show
        anchors, what, cloud_of = clouds, "depth image or cloud", {cloud: cloud for cloud in clouds}
    mask_of, unmasked = {}, {}
    if masks:
        found = _match(source, anchors, masks, "mask")
        mask_of, unmasked = found.partner, _lonely(source, found, what, "mask")
    parts = [
        Files(a if pictures else None, cloud_of[a], mask_of.get(a))
        for a in anchors
        if a in cloud_of and (not masks or a in mask_of)
    ]
    return Recording(tuple(parts), {**unmasked, **lonely}, tuple(notes))


def sort_files(source, files, globs=(None, None, None)):
    """(pictures, clouds, masks, labels, others) of the ``files`` below ``source``, each in natural order.
    ``globs``: a pattern for each of the first three, or None: the files' type says."""
    given = [None if pattern is None else set(source.glob(pattern)) for pattern in globs]
    kinds = [[], [], [], [], []]
    for path in sorted(files, key=lambda p: natural(p.relative_to(source))):
        asked = [kind for kind, wanted in enumerate(given) if wanted is not None and path in wanted]
        kind = asked[0] if asked else sniff(path, source)
        if asked or kind in (LABEL, OTHER) or given[kind] is None:
            kinds[kind].append(path)
    if given[PICTURE] is None and given[MASK] is None:
        scanned = [set(words(path.stem)) for path in kinds[CLOUD]]
        named = [path for path in kinds[MASK] if not _folder_words(path, source) & MASK_WORDS]
        # "label.png" with "label_depth.png": the word is part of the part's name
        named = [path for path in named if any(set(words(path.stem)) <= of for of in scanned)]
        kinds[MASK] = [path for path in kinds[MASK] if path not in named]
        kinds[PICTURE] = sorted([*kinds[PICTURE], *named], key=lambda p: natural(p.relative_to(source)))
    return kinds


def sniff(path, source):
    """Kind of a file: PICTURE, CLOUD, MASK, LABEL or OTHER."""
    suffix = path.suffix.lower()
    if suffix in CLOUDS_ONLY:
        return CLOUD
    if suffix not in PICTURES:
        return OTHER
    try:
        if suffix in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                kind = file.series[0]
                if kind.dtype.kind == "f" or (kind.dtype.itemsize > 1 and len(kind.shape) == 2):
                    return CLOUD
        elif suffix == ".png":
            with Image.open(path) as picture:
                if picture.mode[:1] in "IF":
                    return CLOUD
    except Exception:  # damaged: reading it later will report that
        if suffix != ".png":
            return CLOUD
    folders = _folder_words(path, source)
    if folders & LABEL_WORDS:
        return LABEL
    return MASK if (folders | set(words(path.stem))) & MASK_WORDS else PICTURE


def _folder_words(path, source):
    return {word for part in path.relative_to(source).parts[:-1] for word in words(part)}


def part_names(source, parts, taken=()):
    """{name: Files}: each part is called by what its files share, without a word for the kind.

    "part_0007_color.png" with "part_0007_depth.png" is "part_0007"; "color/7.png" with "depth/0007.png" is "7". Where
    parts would have one name, their folders' names come before it, and then a number after it. ``taken``: names of
    others.
    """
    plain_names = [_shared_name(files) for files in parts]
    often = Counter(plain_names) + Counter(taken)
    named = {}
    for files, name in zip(parts, plain_names):
        if often[name] > 1:
            name = "_".join([*_folders(source, files), name])
        tries = (name if n == 1 else f"{name}_{n}" for n in range(1, len(parts) + len(taken) + 2))
        named[next(text for text in tries if text not in named and text not in taken)] = files
    return named


def _shared_name(files):
    first = files.picture or files.cloud
    other = set(words(files.cloud.stem))
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+|[\W_]+", stem(first))
    kept = [p for p in pieces if p.lower() not in NO_NAME and (p.lower() not in KIND_WORDS or p.lower() in other)]
    name = re.sub(r"([\W_])\1+", r"\1", "".join(kept)).strip(" _-.")
    inside = [part for part in first.parent.parts[-2:] if plain(part)]
    return name or "_".join(inside[-1:]) or stem(first)


def _folders(source, files):
    parts = (files.picture or files.cloud).relative_to(source).parts[:-1]
    return [part for part in parts if plain(part)]


def _match(source, first, second, other):
    found = match(first, second, source)
    if found.how:
        return found
    if found.doubles:
        mend = "say which files to take, --picture_glob, --cloud_glob or --mask_glob 'PATTERN'"
        other = found.doubles[1].relative_to(source)
        raise InputError(f"{found.doubles[0]}: and {other} both belong to one part; {mend}")
    mend = "rename them, or pair them in natural order with --by_order"
    shown = f"{second[0].relative_to(source)} is the first"
    raise InputError(f"{first[0]}: no {other} has the same name or number ({shown}); {mend}")


def _lonely(source, found, one, other):
    told = {p.relative_to(source).as_posix(): f"{p}: no {other} of its name or number" for p in found.missing}
    told.update({p.relative_to(source).as_posix(): f"{p}: no {one} of its name or number" for p in found.extra})
    return told


def _unread(source, others, labels, unmasked):
    """Texts on files that are not read: label files, and scans of other kinds."""
    notes = []
    if labels:
        folders = sorted({p.parent.relative_to(source).as_posix() for p in labels})
        notes.append(
            f"{source}: {len(labels)} pictures in {', '.join(folders)} look like exports of a labelling tool and are "
            f"not read; to take a kind of them as masks: --mask_glob '{folders[0]}/*{labels[0].suffix}'"
        )
    told = [p for p in others if unmasked and p.suffix.lower() in LABEL_SUFFIXES and not CAMERA & set(words(p.stem))]
    if told:
        shown = ", ".join(p.relative_to(source).as_posix() for p in told[:SHOWN])
        notes.append(
            f"{source}: what may hold labels is not read ({by_suffix(told)}: {shown}); export masks as pictures, and "
            "name them with --mask_glob 'PATTERN' where their names do not say it"
        )
    scans = [p for p in others if p.suffix.lower() in UNREAD_SCANS]
    if scans:
        notes.append(f"{source}: {by_suffix(scans)} are of kinds that are not read, for instance {scans[0].name}")
    return notes
