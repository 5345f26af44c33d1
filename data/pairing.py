"""Find the folders of a split that hold parts, and the files in ``rgb``, ``xyz`` and ``gt`` that belong to one part."""

import re
from pathlib import Path
from typing import NamedTuple, Optional

from data.folders import by_suffix, is_junk_file, is_junk_folder, walk
from data.matching import match, stem

GOOD = "good"
# folder of a kind of file → its suffixes, upper or lower case; the suffix of the data sets comes first
SUFFIXES = {
    "rgb": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    "xyz": (".tiff", ".tif"),
    "gt": (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg"),
}
NAMES = {"rgb": "picture", "xyz": "tiff", "gt": "mask"}
CONVERT = "tools/import_parts.py converts it"
# suffixes of clouds in other formats
CLOUDS = set(".ply .pcd .npy .npz .xyz .obj .stl .csv .txt .exr .zdf .png".split())
REMEDY = "add or remove files until each part has all of its own"
SHOWN_PAIRS = 2
HOW = {"number": "the number in", "word": "what differs in", "time": "the time in"}


class Part(NamedTuple):
    """The files of one part; None: the file is missing, or a run does not read it."""

    rgb: Optional[Path] = None
    xyz: Optional[Path] = None
    gt: Optional[Path] = None


class Pairing(NamedTuple):
    """The parts of a defect folder, and the problems in it."""

    parts: tuple  # of Part: complete ones, in the order of a run
    problems: tuple  # of texts, one per file without a partner; empty if a run can read the folder
    notes: tuple  # of (kind, text that names the path): how files were paired, if not by name; what is not read
    incomplete: tuple  # of Part: those that lack a file


def defect_folders(split, needed=""):
    """(folders, notes) of a split: the folders that hold parts, sorted, and (kind, text) on each that is skipped: empty
    ones, but for the ``needed``, and those that programs leave behind. The kind "unreadable" is a fault: parts may be
    there."""
    split = Path(split)
    folders, notes = [], []
    try:
        inside = sorted(p for p in split.iterdir() if p.is_dir()) if split.is_dir() else []
    except OSError as error:
        return [], [("unreadable", f"{split}: this folder cannot be read ({error.strerror})")]
    for folder in inside:
        if is_junk_folder(folder.name):
            text = f"{folder}: is no defect folder (a program left it behind) and is skipped"
            notes.append(("folder skipped", text))
            continue
        tree = walk(folder)
        notes += [("unreadable", text) for text in tree.unreadable]
        if tree.files or folder.name == needed:
            folders.append(folder)
        elif not tree.unreadable:
            notes.append(("folder skipped", f"{folder}: is empty and is skipped"))
    return folders, notes


def part_files(folder, kind):
    """The files of ``kind`` (rgb, xyz or gt) of a defect folder, sorted."""
    return sorted(p for p in _entries(folder, kind) if p.suffix.lower() in SUFFIXES[kind])


def pair(folder, with_masks, with_clouds=True):
    """The Pairing of a defect folder: which of its files belong to one part.

    ``with_masks``: parts have masks; a folder without any is accepted, one that lacks some is a problem. Without
    ``with_clouds`` a folder without any tiff is accepted too.
    """
    folder = Path(folder)
    clouds = ("xyz",) if with_clouds or _entries(folder, "xyz") else ()
    kinds = ("rgb", *clouds, *(("gt",) if with_masks else ()))
    files = {kind: part_files(folder, kind) for kind in kinds}
    found = _pair(folder, {kind: _one_a_name(paths, kind) for kind, paths in files.items()})
    if found.problems:  # files with other suffixes, such as previews, may lie beside the parts
        first = {k: [p for p in paths if p.suffix.lower() == SUFFIXES[k][0]] for k, paths in files.items()}
        again = _pair(folder, {kind: first[kind] or paths for kind, paths in files.items()})
        found = found if again.problems else again
    used, notes = {path for part in (*found.parts, *found.incomplete) for path in part if path}, []
    for kind in kinds:
        unread = sorted(p for p in _entries(folder, kind) if p not in used)
        if unread and (files[kind] or kind == "gt"):  # if there is nothing else, a problem names them
            text = f"{folder / kind}: {by_suffix(unread)} not read, for instance {unread[0].name}"
            notes.append(("files not read", text))
    problems = found.problems
    if folder.name != GOOD and folder.name.casefold() == GOOD:
        mend = f"call it {GOOD}, or give the defect another name"
        problems = (f"{folder}: a folder of this name counts as a defect; {mend}", *problems)
    return found._replace(problems=problems, notes=(*found.notes, *notes))


def natural(text):
    """Sort key of a name or path: 9 comes before 10, "scan.png" before "scan2.png", and case does not count."""
    return [
        (1, int(piece), "") if piece.isdecimal() else (0 if piece in "./\\" else 2, 0, piece.lower())
        for piece in re.split(r"(\d+|[./\\])", str(text))
        if piece
    ]


def _entries(folder, kind):
    """Files and broken links in the folder of a kind, without hidden files."""
    place = folder / kind
    try:
        there = list(place.iterdir()) if place.is_dir() else []
    except OSError:  # told by defect_folders
        return []
    return [p for p in there if not is_junk_file(p.name) and (p.is_file() or (p.is_symlink() and not p.exists()))]


def _one_a_name(paths, kind):
    """Of files that differ only in their suffix, the one whose suffix is first in SUFFIXES."""
    best = {}
    for path in sorted(paths, key=lambda p: (SUFFIXES[kind].index(p.suffix.lower()), p.name)):
        best.setdefault(path.stem, path)
    return sorted(best.values())


def _pair(folder, files):
    rgb = files["rgb"]
    if not rgb:
        alone = tuple(Part(**{kind: path}) for kind in ("xyz", "gt") for path in files.get(kind, ()))
        suffixes = ", ".join(s[1:] for s in SUFFIXES["rgb"])
        text = f"{folder / 'rgb'}: no pictures ({suffixes}) found{_others(folder, 'rgb')}"
        return Pairing((), (text,), (), alone)
    matches, problems, notes = {}, [], []
    for kind in ("xyz", "gt"):
        if kind not in files or (kind == "gt" and not files["gt"]):
            continue
        found = matches[kind] = match(rgb, files[kind])
        if not found.complete:
            problems += _problems(folder, kind, files, found)
        elif found.how != "name":
            pairs = sorted(found.partner.items(), key=lambda pair: natural(pair[0].name))
            shown = ", ".join(f"{p.name} with {other.name}" for p, other in pairs[:SHOWN_PAIRS])
            more = " …" if len(pairs) > SHOWN_PAIRS else ""
            text = f"pictures and {NAMES[kind]}s are paired by {HOW[found.how]} their names: {shown}{more}"
            notes.append(("paired by number", f"{folder}: {text}"))
    if "gt" in files and not files["gt"]:
        notes.append(("no masks", f"{folder}: has no masks: its parts are scored, pixel metrics are undefined"))
    by_name = "xyz" not in matches or matches["xyz"].how in ("name", "")
    ordered = rgb if by_name else sorted(rgb, key=lambda p: natural(p.name))
    partners = [matches[kind].partner if kind in matches else {} for kind in ("xyz", "gt")]
    parts = [Part(picture, *(partner.get(picture) for partner in partners)) for picture in ordered]
    lacking = {picture for found in matches.values() for picture in found.missing}
    alone = [Part(**{kind: path}) for kind, found in matches.items() for path in found.extra]
    whole = tuple(part for part in parts if part.rgb not in lacking)
    lone = (*(part for part in parts if part.rgb in lacking), *alone)
    return Pairing(whole, tuple(problems), tuple(notes), lone)


def _problems(folder, kind, files, found):
    """One text for each file without a partner, or one for all if there is no file of the kind."""
    rgb, place, pictures = files["rgb"], folder / kind, folder / "rgb"
    if not files[kind]:
        there = {p.suffix.lower() for p in _entries(folder, kind)}
        mend = CONVERT if kind == "xyz" and there & CLOUDS else REMEDY
        none = f"0 files ({', '.join(s[1:] for s in SUFFIXES[kind])}) for {len(rgb)} pictures in {pictures}"
        return [f"{place}: {none}{_others(folder, kind)}: {mend}"]
    if not found.how and found.doubles:
        one, other = found.doubles
        # two spellings of one name look alike
        shown = ascii(other.name) if stem(one) == stem(other) else other.name
        return [f"{one}: it and {shown} answer to one name or number; {REMEDY}"]
    by_name, none = found.how == "name", f"has no file of the same {found.how or 'name or number'}"
    texts = [
        (p, f"has no {p.stem}{SUFFIXES[kind][0]} in {place}" if by_name else f"{place} {none}") for p in found.missing
    ]
    lone = [(p, f"has no picture {p.stem}.png in {pictures}" if by_name else f"{pictures} {none}") for p in found.extra]
    return [f"{p}: {text}; {REMEDY}" for p, text in sorted(texts + lone)]


def _others(folder, kind):
    """Text on what else lies in the folder of a kind."""
    there = sorted(_entries(folder, kind))
    return f"; there are {by_suffix(there)}, for instance {there[0].name}" if there else ""
