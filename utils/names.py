"""Names that are spelled in several ways: a category is the same in any case, with "-", "_", blanks or without."""
from pathlib import Path

from utils.errors import InputError


def same_name(text):
    """``text`` for comparison: lower case, no "-", "_" or blanks."""
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")


def find_folder(root, name):
    """The folder ``name`` of ``root``: the one spelled exactly so, else the only one whose :func:`same_name` agrees; None if there is none.

    Raises:
        InputError: several agree, and none exactly.
    """
    found = sorted(p for p in Path(root).iterdir() if same_name(p.name) == same_name(name) and p.is_dir())
    exact = [p for p in found if p.name == name]  # not root / name: some file systems would find another spelling
    if len(found) > 1 and not exact:
        raise InputError(f"{root}: {name} can be {' or '.join(p.name for p in found)}; give the exact name or rename one folder")
    return (exact or found or [None])[0]
