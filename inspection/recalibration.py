"""New calibration parts for a saved model, without a fit: their scores replace those of the parts before."""

import logging
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.progress import track
from data.calibration_parts import FOLDER
from data.examination import examine_scans
from data.pairing import GOOD
from data.scans import find_parts, fingerprint, read_scan
from inspection import gate, history
from inspection.fitted import restored_method
from inspection.inspector import Preparation
from inspection.one_part import Scorer, facts_for
from inspection.outlying import check_outlying
from inspection.promise import needs_clouds
from inspection.saved_model import examined_with, reading_of
from inspection.verdict import check_apart
from scoring_addon import Parameters


def good_parts(folder, with_clouds=True):
    """[PartFiles] below ``folder``: those in folders called good if there are any, else all; without ``with_clouds``
    their clouds are not read.

    Raises:
        InputError: there is none, or a part lacks a file.
    """
    parts = find_parts(folder, with_clouds=with_clouds)
    good = [part for part in parts if part.rgb.parent.parent.name == GOOD]
    if good and len(good) < len(parts):
        logging.warning(
            "%s: %d parts do not lie in a folder called good: they are left out", folder, len(parts) - len(good)
        )
    return [part if with_clouds else part._replace(xyz=None) for part in good or parts]


def check_files(model, parts):
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


def recalibrated(model, extractor, folder, parts, add=False, strict=False):
    """Measure new calibration parts.

    Args:
        model: SavedModel.
        extractor: PatchExtractor with the networks that the model was fitted with.
        folder: where the parts were found, for the record.
        parts: [PartFiles]. Parts that could not be judged are left out, with a warning.
        add: keep the calibration parts before, too.
        strict: refuse parts that score far from the others.

    Returns:
        (arrays, meta) of the new model.

    Raises:
        InputError: a part is a training part, or there twice; none can be judged; ``strict`` refuses.
    """
    meta, known = model.meta, model.meta["scoring"]
    if add and not meta["calibration"]["promised"]:
        raise InputError(f"{model.path}: has no calibration parts to which others can be added; leave out --add")
    method = restored_method(model.arrays, meta["fitted"], extractor)
    parameters = Parameters(**{k: tuple(v) if isinstance(v, list) else v for k, v in known["parameters"].items()})
    scorer = Scorer(method, known["names"], parameters, known["reference"])
    ranges = meta["scan"] and gate.ScanRanges.from_json(meta["scan"])
    prepare, reading = Preparation(facts_for(method), ranges, needs_clouds(meta)), reading_of(model)
    names, marks, results = [], [], []
    for part in track(parts, len(parts), f"{method.class_name}: calibration"):
        scan = read_scan(part.rgb, part.xyz, reading)
        prepared = prepare(scan)
        if prepared.problem:
            logging.warning("%s: cannot be judged, so it does not calibrate: %s", part.rgb, prepared.problem)
            continue
        results.append(scorer.judge(prepared.sample).scored)
        names.append(part.name)
        marks.append(fingerprint(scan))
    if not results:
        raise InputError(f"{folder}: none of its parts can be judged, so none can calibrate")
    before = meta["calibration"] if add else {"names": [], "fingerprints": []}
    training = meta["training_parts"]
    check_apart(dict(zip(training["names"], training["fingerprints"])), dict(zip(names, marks)))
    seen = dict(zip(before["fingerprints"], before["names"]))
    for name, mark in zip(names, marks):
        if mark in seen:
            raise InputError(f"{name}: is the same part as {seen[mark]}, which calibrates already: a part counts once")
        seen[mark] = name
    arrays, names = dict(model.arrays), [*before["names"], *names]
    for scoring in scorer.names:
        of = [result[scoring] for result in results]
        for kind, values in (("score", [v[0] for v in of]), ("peak", [float(np.max(v[1])) for v in of])):
            key = f"calibration.{kind}.{scoring}"
            arrays[key] = np.concatenate([arrays[key] if add else np.zeros(0), values])
    check_outlying(names, arrays[f"calibration.score.{scorer.names[0]}"], strict)
    calibration = {
        "source": FOLDER,
        "where": str(Path(folder)),
        "promised": True,
        "parts": len(names),
        "names": names,
        "fingerprints": list(seen),
    }
    return arrays, {**meta, "calibration": calibration, "written": history.now()}
