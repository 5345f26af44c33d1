"""New calibration parts for a saved model, without a fit: their scores replace those of the parts before."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.progress import track
from data.calibration_parts import FOLDER
from data.examination import examine_scans
from data.pairing import GOOD
from data.scans import PartFiles, find_parts, fingerprint, read_scan
from feature_extractors.extraction import PatchExtractor
from inspection import history
from inspection.inspector import loaded
from inspection.model_file import Meta
from inspection.outlying import check_outlying
from inspection.saved_model import SavedModel, calibration_arrays, examined_with, reading_of
from inspection.verdict import check_apart


def good_parts(folder: Path, with_clouds: bool = True) -> list[PartFiles]:
    """The parts below ``folder``: those in folders called good if there are any, else all; without ``with_clouds``
    their clouds are not read.

    Raises:
        InputError: there is none, or a part lacks a file.
    """
    parts = find_parts(folder, with_clouds=with_clouds)
    good = [part for part in parts if part.rgb.parent.parent.name == GOOD]
    if good and len(good) < len(parts):
        out = len(parts) - len(good)
        logging.warning("%s: %d parts do not lie in a folder called good: they are left out", folder, out)
    return [part if with_clouds else part._replace(xyz=None) for part in good or parts]


def check_files(model: SavedModel, parts: Sequence[PartFiles]) -> None:
    """Examine the files of ``parts`` as those of training parts.

    Raises:
        InputError: a part cannot be read, or is in another unit; the message names the first.
    """
    found = [finding for of in examine_scans(parts, reading_of(model), *examined_with(model)) for finding in of]
    for level, _, text in found:
        if level == "warning":
            logging.warning("%s", text)
    faults = [text for level, _, text in found if level == "fault"]
    if faults:
        raise InputError(faults[0] + (f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""))


def recalibrated(
    model: SavedModel,
    extractor: PatchExtractor,
    folder: Path,
    parts: Sequence[PartFiles],
    add: bool = False,
    strict: bool = False,
) -> tuple[dict[str, NDArray[Any]], Meta]:
    """Measure new calibration parts; returns (arrays, meta) of the new model.

    Args:
        model: the one before.
        extractor: has the networks that the model was fitted with.
        folder: where the parts were found, for the record.
        parts: those that could not be judged are left out, with a warning.
        add: keep the calibration parts before, too.
        strict: refuse parts that score far from the others.

    Raises:
        InputError: a part is a training part, or there twice; none can be judged; ``strict`` refuses.
    """
    before, training = model.meta["calibration"], model.meta["training_parts"]
    if add and not before["promised"]:
        raise InputError(f"{model.path}: has no calibration parts to which others can be added; leave out --add")
    scorer, prepare = loaded(model, extractor)
    seen = dict(zip(before["fingerprints"], before["names"])) if add else {}
    new, values = {}, []
    for part in track(parts, len(parts), f"{scorer.method.class_name}: calibration"):
        scan = read_scan(part.rgb, part.xyz, reading_of(model))
        prepared, mark = prepare(scan), fingerprint(scan)
        if prepared.problem:
            logging.warning("%s: cannot be judged, so it does not calibrate: %s", part.rgb, prepared.problem)
            continue
        if mark in seen:
            text = f"is the same part as {seen[mark]}, which calibrates already: a part counts once"
            raise InputError(f"{part.name}: {text}")
        seen[mark], new[part.name] = part.name, mark
        values.append(scorer.judge(prepared.sample).values())
    if not values:
        raise InputError(f"{folder}: none of its parts can be judged, so none can calibrate")
    check_apart(dict(zip(training["names"], training["fingerprints"])), new)
    measured = calibration_arrays(scorer.names, values)
    if add:
        measured = {key: np.concatenate([model.arrays[key], of]) for key, of in measured.items()}
    check_outlying(list(seen.values()), measured[f"calibration.score.{scorer.names[0]}"], strict)
    calibration = {
        "source": FOLDER,
        "where": str(folder),
        "promised": True,
        "parts": len(seen),
        "names": list(seen.values()),
        "fingerprints": list(seen),
    }
    return {**model.arrays, **measured}, {**model.meta, "calibration": calibration, "written": history.now()}
