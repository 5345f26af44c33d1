"""Finds the parts that calibrate a saved model: the validation split, a folder, a share of training parts, or none."""

from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from data.names import find_folder, printable
from data.pairing import GOOD
from data.scans import PartFiles, find_parts

VALIDATION, FOLDER, SHARE, NONE = "validation", "folder", "share", "none"


class CalibrationFiles(NamedTuple):
    """The source of the calibration parts, and their files: none if the source is NONE."""

    source: str
    where: str
    parts: tuple  # PartFiles of each


def calibration_choice(text):
    """The value of --calibration: "validation", "none", or a share between 0 and 1.
    Raises ValueError: the text is none of these."""
    if text in (VALIDATION, NONE):
        return text
    share = float(text)
    if not 0 < share < 1:
        raise ValueError(text)
    return share


def calibration_files(dataset_path, category, choice=None, folder=None, held_out=(), with_clouds=True):
    """CalibrationFiles of a category in the folder ``dataset_path``.

    ``choice``: of :func:`calibration_choice`; None: the validation split, if there is one. ``folder``:
    --calibration_dir, or its sub-folder of the category's name; None: not given. ``held_out``: [(rgb, xyz, gt)] of
    held-out training parts, if ``choice`` is a share. Without ``with_clouds``, clouds may be missing.
    Raises InputError: the calibration parts are missing, or their files do not pair.
    """
    root = Path(dataset_path)
    if folder is not None:
        place = find_folder(folder, category) or Path(folder)
        return CalibrationFiles(FOLDER, str(place), tuple(find_parts(place, with_clouds=with_clouds)))
    if isinstance(choice, float):
        parts = tuple(PartFiles(printable(Path(rgb).relative_to(root)), rgb, xyz) for rgb, xyz, *_ in held_out)
        return CalibrationFiles(SHARE, f"{choice:g} of the training parts", parts)
    place = root / category / "validation" / GOOD
    if choice == NONE or (choice is None and not place.is_dir()):
        return CalibrationFiles(NONE, "", ())
    if not place.is_dir():
        raise InputError(
            f"{place}: missing: --calibration validation needs normal parts there; use --calibration_dir DIR, a "
            "share as --calibration 0.2, or --calibration none"
        )
    found = find_parts(place, with_clouds=with_clouds)
    parts = (p._replace(name=printable(p.rgb.relative_to(root))) for p in found)
    return CalibrationFiles(VALIDATION, str(place), tuple(parts))
