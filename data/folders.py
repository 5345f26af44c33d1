"""Lists folders and files below a folder: links are followed, and folders that cannot be read are told."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

JUNK_FOLDERS = {
    *("#recycle", "#snapshot", "$RECYCLE.BIN", "lost+found"),
    *("System Volume Information", "Network Trash Folder", "Temporary Items"),
}
JUNK_FILES = {"thumbs.db", "desktop.ini"}


class Tree(NamedTuple):
    """What lies below a folder."""

    folders: tuple  # of Path, itself included
    files: tuple  # of Path, sorted
    unreadable: tuple  # texts that name folders which cannot be read


def walk(root) -> Tree:
    """The Tree below ``root``, without what programs leave behind. A folder with several links is there once."""
    folders, files, unreadable, seen = [], [], [], set()

    def failed(error):
        unreadable.append(f"{error.filename}: this folder cannot be read ({error.strerror}); give yourself access")

    for place, names, there in os.walk(root, followlinks=True, onerror=failed):
        real = os.path.realpath(place)
        if real in seen:  # a link back up, or a second one
            names.clear()
            continue
        seen.add(real)
        folders.append(Path(place))
        names[:] = sorted(name for name in names if not is_junk_folder(name))
        files += [Path(place, name) for name in there if not is_junk_file(name)]
    return Tree(tuple(folders), tuple(sorted(files)), tuple(unreadable))


def by_suffix(paths) -> str:
    """Text on how many files have which suffix, such as "3 .exr, 1 .txt"."""
    counts = Counter(path.suffix.lower() or "without suffix" for path in paths).most_common(6)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts) or "no files"


def is_junk_folder(name) -> bool:
    """Whether programs, not users, make folders of this name."""
    return name.startswith((".", "@", "__")) or name in JUNK_FOLDERS


def is_junk_file(name) -> bool:
    """Whether a file of this name is hidden, or left behind by a program (macOS writes ._NAME beside NAME)."""
    return name.startswith(".") or name.lower() in JUNK_FILES
