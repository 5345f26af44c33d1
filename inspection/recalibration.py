"""New calibration parts for a saved model, without a fit: their scores replace those of the parts before."""

import logging
from collections.abc import Sequence
from pathlib import Path

from common.errors import InputError
from common.progress import track
from data.calibration_parts import FOLDER
from data.examination import examine_scan
from data.pairing import GOOD
from data.scans import PartFiles, find_parts, fingerprint, read_scan
from feature_extractors.extraction import PatchExtractor
from inspection import history
from inspection.inspector import loaded
from inspection.outlying import check_outlying
from inspection.saved_model import SavedModel, calibration_arrays, calibration_meta, examined_with, reading_of
from inspection.verdict import check_calibration, needs_clouds


def good_parts(model: SavedModel, folder: Path) -> list[PartFiles]:
    """The parts below ``folder``, examined as training parts: those in folders called good if there are any, else all.
    InputError where there is none, or a part lacks a file, cannot be read, or is in another unit."""
    with_clouds = needs_clouds(model.meta)
    parts = find_parts(folder, with_clouds=with_clouds)
    good = [part for part in parts if part.rgb.parent.parent.name == GOOD]
    if good and len(good) < len(parts):
        out = len(parts) - len(good)
        logging.warning("%s: %d parts do not lie in a folder called good: they are left out", folder, out)
    parts = [part if with_clouds else part._replace(xyz=None) for part in good or parts]
    examined = [examine_scan(part, reading_of(model), *examined_with(model)) for part in parts]
    told = {kind: [text for of in examined for level, _, text in of if level == kind] for kind in ("warning", "fault")}
    for text in told["warning"]:
        logging.warning("%s", text)
    if told["fault"]:
        more = len(told["fault"]) - 1
        raise InputError(told["fault"][0] + (f" (and {more} more faults)" if more else ""))
    return parts


def recalibrated(
    model: SavedModel, extractor: PatchExtractor, folder: Path, parts: Sequence[PartFiles], strict: bool = False
) -> SavedModel:
    """The model with new calibration parts, the :func:`good_parts` of ``folder``. Those that cannot be judged are left
    out, with a warning. InputError where a part is a training part, or there twice; where none can be judged; where
    one scores far from the others, and ``strict`` is set."""
    scorer, prepare = loaded(model, extractor)
    known, values = [], []
    for part in track(parts, len(parts), f"{scorer.method.class_name}: calibration"):
        scan = read_scan(part.rgb, part.xyz, reading_of(model))
        prepared = prepare(scan)
        if prepared.problem:
            logging.warning("%s: cannot be judged, so it does not calibrate: %s", part.rgb, prepared.problem)
            continue
        known.append((part.name, fingerprint(scan)))
        values.append(scorer.judge(prepared.sample).values())
    if not values:
        raise InputError(f"{folder}: none of its parts can be judged, so none can calibrate")
    training = model.meta["training_parts"]
    check_calibration(dict(zip(training["fingerprints"], training["names"])), known)
    measured = calibration_arrays(scorer.names, values)
    check_outlying([name for name, _ in known], measured[f"calibration.score.{scorer.names[0]}"], strict)
    calibration = calibration_meta(FOLDER, str(folder), True, known)
    meta = {**model.meta, "calibration": calibration, "written": history.now()}
    return SavedModel(model.path, {**model.arrays, **measured}, meta)
