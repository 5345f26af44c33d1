"""Find the folders of a split that hold parts, and the files of a folder that belong to one part.

A part's picture, point cloud and mask lie in ``rgb``, ``xyz`` and ``gt`` of one defect folder. Files are paired by
name; if names differ, by the numbers in them, or by the words that differ; by position only if nothing else fits.
"""

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Optional

GOOD = "good"
# folder of a kind of file → its suffixes, upper or lower case; the suffix of the data sets comes first
SUFFIXES = {
    "rgb": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    "xyz": (".tiff", ".tif"),
    "gt": (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg"),
}
NAMES = {"rgb": "picture", "xyz": "tiff", "gt": "mask"}
CLOUDS = {
    ".ply",
    ".pcd",
    ".npy",
    ".npz",
    ".xyz",
    ".obj",
    ".stl",
    ".csv",
    ".txt",
    ".exr",
    ".zdf",
    ".png",
}  # suffixes of clouds in other formats
CONVERT = "tools/import_parts.py converts it"
JUNK_FOLDERS = {
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "lost+found",
    "System Volume Information",
    "Network Trash Folder",
    "Temporary Items",
}
JUNK_FILES = {"thumbs.db", "desktop.ini"}
REMEDY = "add or remove files until each part has all of its own"
SHOWN_PAIRS = 2


class Part(NamedTuple):
    """The files of one part; None: the file is missing, or a run does not read it."""

    rgb: Optional[Path]
    xyz: Optional[Path]
    gt: Optional[Path]


class Note(NamedTuple):
    """A message about a file or folder: its kind, and the text, which names the path."""

    kind: str
    text: str


class Pairing(NamedTuple):
    """The parts of a defect folder, and the problems in it."""

    parts: tuple  # of Part: complete ones, in the order of a run
    problems: tuple  # of texts, one per file without a partner; empty if a run can read the folder
    notes: tuple  # of Note: how files were paired, if not by name; which files are not read
    incomplete: tuple  # of Part: those that lack a file


class _Match(NamedTuple):
    partner: dict  # picture → its file
    how: str  # "name", "number", "word" or "position"; "" if the files do not match
    missing: tuple  # pictures without a file
    extra: tuple  # files without a picture
    reason: str


def defect_folders(split):
    """(folders, notes) of a split: the folders that hold parts, sorted, and a Note on each folder that is skipped.

    Empty folders are skipped, and those that notebooks, network drives and archives leave behind
    (``.ipynb_checkpoints``, ``@eaDir``, ``__MACOSX``).
    """
    split = Path(split)
    folders, notes = [], []
    for folder in sorted(p for p in split.iterdir() if p.is_dir()) if split.is_dir() else []:
        if is_junk_folder(folder.name):
            notes.append(
                Note("folder skipped", f"{folder}: is no defect folder (a program left it behind) and is skipped")
            )
        elif not any(p.is_file() and not _is_junk(p) for p in folder.rglob("*")):
            notes.append(Note("folder skipped", f"{folder}: is empty and is skipped"))
        else:
            folders.append(folder)
    return folders, notes


def is_junk_folder(name):
    """Whether programs, not users, make folders of this name."""
    return name.startswith((".", "@", "__")) or name in JUNK_FOLDERS


def part_files(folder, kind):
    """The files of ``kind`` (rgb, xyz or gt) of a defect folder, sorted."""
    return sorted(p for p in _entries(folder, kind) if p.suffix.lower() in SUFFIXES[kind])


def pair(folder, with_masks):
    """The Pairing of a defect folder: which files belong to one part.

    Args:
        folder: the folder that has ``rgb``, ``xyz`` and ``gt``.
        with_masks: whether parts have masks. A folder without any mask is accepted; one that lacks some is a problem.
    """
    folder, kinds, notes = Path(folder), ("rgb", "xyz", "gt") if with_masks else ("rgb", "xyz"), []
    files = {kind: part_files(folder, kind) for kind in kinds}
    found = _pair(folder, {kind: _one_a_name(paths, kind) for kind, paths in files.items()})
    if found.problems:  # files with other suffixes, such as previews, may lie beside the parts
        plain = {
            kind: [p for p in paths if p.suffix.lower() == SUFFIXES[kind][0]] or paths for kind, paths in files.items()
        }
        again = _pair(folder, plain) if plain != files else found
        found = again if not again.problems and not any(n.kind == "paired by position" for n in again.notes) else found
    used = {path for part in (*found.parts, *found.incomplete) for path in part if path}
    for kind in kinds:
        unread = sorted(p for p in _entries(folder, kind) if p not in used)
        if unread and (files[kind] or kind == "gt"):  # if there is nothing else, a problem names them
            notes.append(
                Note("files not read", f"{folder / kind}: {_count(unread)} not read, for instance {unread[0].name}")
            )
    twice = [text for kind, paths in files.items() for text in _same_name(paths)]
    if folder.name != GOOD and folder.name.casefold() == GOOD:
        twice.append(
            f"{folder}: a folder of this name counts as a defect; call it {GOOD}, or give the defect another name"
        )
    return found._replace(problems=(*twice, *found.problems), notes=(*found.notes, *notes))


def too_few_shots(folder, count, shots):
    """The text that refuses ``count`` training parts in ``folder``."""
    return f"{folder}: {count} training parts, fewer than --shots {shots}; lower it or add parts"


def natural(text):
    """Sort key of a name or path: 9 comes before 10, "scan.png" before "scan2.png", and case does not count."""
    return [
        (1, int(piece), "") if piece.isdecimal() else (0 if piece in "./\\" else 2, 0, piece.lower())
        for piece in re.split(r"(\d+|[./\\])", str(text))
        if piece
    ]


def _entries(folder, kind):
    """Files and broken links in the folder of a kind, without hidden files (macOS writes ._NAME beside NAME)."""
    place = folder / kind
    return (
        [p for p in place.iterdir() if not _is_junk(p) and (p.is_file() or (p.is_symlink() and not p.exists()))]
        if place.is_dir()
        else []
    )


def _is_junk(path):
    return path.name.startswith(".") or path.name.lower() in JUNK_FILES


def _stem(path):
    return unicodedata.normalize("NFC", path.stem)  # macOS stores a letter and its accent separately


def _one_a_name(paths, kind):
    """One file per name: of files that differ only in their suffix, the one whose suffix is first in SUFFIXES."""
    best = {}
    for path in sorted(paths, key=lambda p: (SUFFIXES[kind].index(p.suffix.lower()), p.name)):
        best.setdefault(_stem(path), path)
    return sorted(best.values())


def _same_name(paths):
    """Texts on files of one kind whose names are the same once accents and the suffix's case are normalised."""
    seen = {}
    for path in paths:
        seen.setdefault((_stem(path), path.suffix.lower()), []).append(path.name)
    return [
        f"{paths[0].parent}: {' and '.join(map(ascii, names))} are the same name in two spellings; remove or rename "
        f"all but one"
        for names in seen.values()
        if len(names) > 1
    ]


def _pair(folder, files):
    rgb = files["rgb"]
    if not rgb:
        there = _entries(folder, "rgb")
        shown = f"; there are {_count(there)}, for instance {there[0].name}" if there else ""
        alone = tuple(
            Part(None, path if kind == "xyz" else None, path if kind == "gt" else None)
            for kind in ("xyz", "gt")
            for path in files.get(kind, ())
        )
        return Pairing(
            (),
            (f"{folder / 'rgb'}: no pictures ({', '.join(s[1:] for s in SUFFIXES['rgb'])}) found{shown}",),
            (),
            alone,
        )
    matches, problems, notes = {}, [], []
    for kind in files:
        if kind == "rgb" or (kind == "gt" and not files["gt"]):
            continue
        match = matches[kind] = _match(rgb, files[kind])
        problems += _problems(folder, kind, files, match)
        if match.how in ("number", "word", "position") and len(match.partner):
            shown = ", ".join(
                f"{p.name} with {match.partner[p].name}"
                for p in sorted(match.partner, key=lambda p: natural(p.name))[:SHOWN_PAIRS]
            )
            how = {"number": "the number in their names", "word": "what differs in their names"}.get(
                match.how, "their position alone"
            )
            notes.append(
                Note(
                    "paired by position" if match.how == "position" else "paired by number",
                    f"{folder}: pictures and {NAMES[kind]}s are paired by {how}: {shown}"
                    + (" …" if len(match.partner) > SHOWN_PAIRS else ""),
                )
            )
    if "gt" in files and not files["gt"]:
        notes.append(Note("no masks", f"{folder}: has no masks: its parts are scored, pixel metrics are undefined"))
    by_name = matches["xyz"].how in ("name", "")
    ordered = rgb if by_name else sorted(rgb, key=lambda p: natural(p.name))
    parts = [
        Part(p, *(matches[kind].partner.get(p) if kind in matches else None for kind in ("xyz", "gt"))) for p in ordered
    ]
    lacking = {p for match in matches.values() for p in match.missing}
    alone = [
        Part(None, path if kind == "xyz" else None, path if kind == "gt" else None)
        for kind, match in matches.items()
        for path in match.extra
    ]
    return Pairing(
        tuple(p for p in parts if p.rgb not in lacking),
        tuple(problems),
        tuple(notes),
        tuple(p for p in parts if p.rgb in lacking) + tuple(alone),
    )


def _match(pictures, others):
    """The _Match of ``others`` with ``pictures``: by name, number, differing word or position, whichever fits
    first."""
    stems, names = [_stem(p) for p in pictures], [_stem(p) for p in others]
    plain = _join(pictures, others, stems, names, "name")
    if plain.how:
        return plain
    numbered = [all(_usable(keys) for keys in pair_of) for pair_of in zip(_numbers(stems), _numbers(names))]
    for left, right in zip(_numbers(stems), _numbers(names)):
        found = _join(pictures, others, left, right, "number") if _usable(left) and _usable(right) else plain
        if found.how:
            return found
    if set(stems) & set(names):
        return plain
    if any(numbered):
        left, right = next(p for p, usable in zip(zip(_numbers(stems), _numbers(names)), numbered) if usable)
        return _join(pictures, others, left, right, "number")._replace(reason="number")
    if len(pictures) > 1:
        found = _join(pictures, others, _words(stems), _words(names), "word")
        if found.how:
            return found
    if len(pictures) != len(others):
        return _Match({}, "", tuple(pictures), tuple(others), "count")
    left, right = (sorted(paths, key=lambda p: natural(p.name)) for paths in (pictures, others))
    return _Match(dict(zip(left, right)), "position", (), (), "")


def _join(pictures, others, left, right, how):
    by_key = dict(zip(right, others))
    partner = {p: by_key[key] for p, key in zip(pictures, left) if key in by_key}
    fits = len(by_key) == len(others) and set(left) == set(right) and len(set(left)) == len(left)
    taken = set(partner.values())
    return _Match(
        partner,
        how if fits else "",
        tuple(p for p in pictures if p not in partner),
        tuple(p for p in others if p not in taken),
        "" if fits else how,
    )


def _numbers(stems):
    """Four lists of keys made from the numbers in names, the strictest first: all numbers, those that differ among the
    names, the last one, the first one."""
    found = [tuple(int(n) for n in re.findall(r"\d+", stem)) for stem in stems]
    columns = list(zip(*found)) if len({len(n) for n in found}) == 1 else []
    differing = [i for i, column in enumerate(columns) if len(set(column)) > 1]
    return found, [tuple(n[i] for i in differing) for n in found], [n[-1:] for n in found], [n[:1] for n in found]


def _usable(keys):
    return all(keys) and len(set(keys)) == len(keys)


def _words(stems):
    """The names without their common beginning and their common end."""
    start = len(_common(stems))
    rest = [stem[start:] for stem in stems]
    end = len(_common([text[::-1] for text in rest]))
    return [text[: len(text) - end] for text in rest]


def _common(texts):
    low, high = min(texts), max(texts)
    return low[: next((i for i, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))]


def _problems(folder, kind, files, match):
    """One text for each file without a partner."""
    if not match.reason:
        return []
    rgb, others = files["rgb"], files[kind]
    there = sorted(p for p in _entries(folder, kind) if p not in set(others))
    if not others:
        shown = f"; there are {_count(there)}, for instance {there[0].name}" if there else ""
        convert = f": {CONVERT}" if kind == "xyz" and any(p.suffix.lower() in CLOUDS for p in there) else f": {REMEDY}"
        return [
            f"{folder / kind}: 0 files ({', '.join(s[1:] for s in SUFFIXES[kind])}) for {len(rgb)} pictures in "
            f"{folder / 'rgb'}{shown}{convert}"
        ]
    if match.reason == "count":
        return [
            f"{folder / kind}: {len(others)} {NAMES[kind]} files for {len(rgb)} pictures in {folder / 'rgb'}, none of "
            f"the same name or number: {REMEDY}"
        ]
    what = f"a file of the same {match.reason}"
    if match.reason == "name":
        texts = [(p, f"has no {p.stem}{SUFFIXES[kind][0]} in {folder / kind}; {REMEDY}") for p in match.missing]
        texts += [
            (p, f"has no picture {p.stem}.png in {folder / 'rgb'}; add the picture or remove this file")
            for p in match.extra
        ]
    else:
        texts = [(p, f"{folder / kind} has no {what}; {REMEDY}") for p in match.missing]
        texts += [(p, f"{folder / 'rgb'} has no {what}; add the picture or remove this file") for p in match.extra]
    if not texts:
        return [f"{folder / kind}: several files answer to one {match.reason}; {REMEDY}"]
    return [f"{path}: {text}" for path, text in sorted(texts)]


def _count(paths):
    """Text with the most common suffixes, such as "3 .jpg, 1 .txt"."""
    return ", ".join(
        f"{n} {suffix or 'without suffix'}" for suffix, n in Counter(p.suffix for p in paths).most_common(3)
    )
