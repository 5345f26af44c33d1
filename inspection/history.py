"""The versions of a saved model: what is replaced in ``knob.m3dm`` stays as ``knob.history/<date>_<id>.m3dm``, the id
being the start of its checksum. The version before is the newest that was written before the present one, so rolling
back twice goes two versions back. Nothing is ever deleted."""

import contextlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.files import atomic_path
from inspection.model_file import SUFFIX, WRONG, damaged, read_meta

ID_DIGITS = 12


class Version(NamedTuple):
    """One version of a model; ``written``: ISO time; ``parts``: training and calibration parts, in words."""

    path: Path
    id: str
    written: str
    parts: str
    method: str


def folder_of(path: Path) -> Path:
    """Where the versions before are."""
    return path.with_suffix(".history")


def version_of(path: Path) -> Version:
    """The Version in a model's file; InputError where it cannot be read, or is no model."""
    meta, checksum = read_meta(path)
    written = meta.get("written") or _changed(path)  # version 0.9 did not write it
    try:
        calibration, trained = meta["calibration"], len(meta["training_parts"]["names"])
        source = f"{calibration['parts']} calibration parts ({calibration['source']})"
        parts = f"{trained} training parts, {source if calibration['promised'] else 'no calibration parts'}"
        return Version(path, checksum[:ID_DIGITS], written, parts, meta["fitted"]["method"])
    except WRONG as error:
        raise damaged(path, error) from None


def keep(path: Path) -> Path | None:
    """Put the model in ``path`` into its history, before it is replaced; returns its path there, None if there is no
    model. A damaged one is kept too."""
    if not path.is_file():
        return None
    try:
        version = version_of(path)
        name, written = version.id, version.written
    except InputError:
        name, written = "damaged", _changed(path)
    target = folder_of(path) / f"{written.replace(':', '-')}_{name}{SUFFIX}"
    if not target.exists():
        _copy(path, target)
    return target


def versions(path: Path) -> list[Version]:
    """All versions of a model: the present one and those in its history, oldest first."""
    found = {}
    for file in (*sorted(folder_of(path).glob(f"*{SUFFIX}")), path):
        with contextlib.suppress(InputError):  # damaged, or there is no present one
            version = version_of(file)
            found[version.id] = version
    return sorted(found.values(), key=lambda version: version.written)


def roll_back(path: Path, wanted: str | None = None) -> Version:
    """Bring an earlier version back and return it: the one before, or the one whose id begins with ``wanted``. The
    present one stays in the history. InputError where there is no such version."""
    known = versions(path)
    present = next((version.written for version in known if version.path == path), None)
    if wanted is None:
        known = [version for version in known if present is None or version.written < present][-1:]
        told = "there is no version before this one"
    else:
        known = [version for version in known if version.id.startswith(wanted)]
        told = f"{len(known)} versions have an id that begins with {wanted}"
    if len(known) != 1:
        raise InputError(f"{path}: {told}; --history lists them")
    keep(path)
    if known[0].path != path:
        _copy(known[0].path, path)
    return known[0]


def now() -> str:
    """The present time as it stands in a model."""
    return datetime.now().astimezone().isoformat()


def _changed(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat()


def _copy(path: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copy2(path, temporary)  # with its time, which is all that version 0.9 knew
