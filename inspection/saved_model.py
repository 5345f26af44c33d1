"""The saved model of a category: one file with the fitted method and everything else that a verdict needs.

    arrays   bank.*, late_fusion.*, training.*     see inspection/fitted.py
             calibration.score.<scoring>           [n] scores of the calibration parts
             calibration.peak.<scoring>            [n] largest values of their maps
             rgb_onnx                              bytes of the RGB backbone, if ONNX Runtime ran it at the fit
             parts.depth                           [t, 56, 56] depth of the training parts' patches in metres
             parts.pictures, parts.picture_ends    the training parts' images as JPEG, concatenated; the end of each
    meta     fitted, weights, extractor, reading, scoring, calibration, training_parts, scan, versions, run, options

The training parts' images are only displayed, so JPEG is enough.
"""

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.commands import available_cores
from common.errors import InputError
from common.machine import environment
from common.progress import track
from data.calibration_parts import NONE
from data.findings import Options
from data.organised_clouds import Reading
from data.part_facts import Facts
from data.scans import Scan, fingerprint, read_scan
from dataset import MM, sample_of
from inspection import gate, history
from inspection.fitted import restored_method, state_of
from inspection.model_file import read_model, write_model
from inspection.one_part import DEPTH_GRID, Scorer, depth_grid, method_sample, small_picture
from inspection.outlying import check_outlying
from inspection.verdict import check_apart
from part_frame.framed import framed
from part_frame.placement import CannotPlace

LAYOUT = 1  # version of this module's part of the file
JPEG_QUALITY = 90
AT_ONCE = 8  # scans that are read into memory at once
ESTIMATE = "leave-one-out"


class PartRecord(NamedTuple):
    """Facts about one training or calibration part that the saved model uses, apart from its rows."""

    name: str
    fingerprint: str
    statistics: gate.ScanStatistics
    dead: str  # which sensor gave no data; "" if none
    depth: np.ndarray  # [56, 56] metres
    picture: bytes  # JPEG
    unplaced: str = ""  # why the part cannot be laid into the frame; "" if it can, or there is none


class SavedModel(NamedTuple):
    """The content of a model's file: its path, arrays and JSON metadata."""

    path: Path
    arrays: dict
    meta: dict


def read_records(parts, reading, img_size, label="reading", placement=None, poses=None):
    """Read PartFiles in threads: [PartRecord].

    Args:
        placement: ``part_frame.placement.Placement`` in which the parts are shown; None: as they were recorded.
        poses: {number of a part: its Pose}, where it is known.

    Raises:
        InputError: a file cannot be read.
    """

    def record(number, part):
        scan = read_scan(part.rgb, part.xyz, reading)
        mark, shown, unplaced = fingerprint(scan), scan, ""
        if placement is not None:
            try:
                placed = placement.place(scan.rgb, scan.xyz * MM, (poses or {}).get(number))
                shown = Scan(*framed(placed, placement))
            except CannotPlace as error:
                unplaced = str(error)
        statistics, dead = None, ""
        try:
            statistics = gate.measure(scan.rgb, scan.xyz)
        except gate.DeadSensor as error:
            dead = str(error)
        stream = io.BytesIO()
        Image.fromarray(small_picture(sample_of(shown, img_size))).save(stream, "JPEG", quality=JPEG_QUALITY)
        return PartRecord(part.name, mark, statistics, dead, depth_grid(shown.xyz), stream.getvalue(), unplaced)

    found = []
    with ThreadPoolExecutor(min(AT_ONCE, available_cores())) as pool:
        for start in track(range(0, len(parts), AT_ONCE), -(-len(parts) // AT_ONCE), label, "batch"):
            some = parts[start : start + AT_ONCE]
            found += pool.map(record, range(start, start + len(some)), some)
    return found


def check_records(training, calibration):
    """Refuse unsuitable calibration parts.

    Raises:
        InputError: a calibration part is also a training part, is there twice, or has no data from a sensor.
    """
    check_apart({r.name: r.fingerprint for r in training}, {r.name: r.fingerprint for r in calibration})
    seen = {}
    for r in calibration:
        if r.dead:
            raise InputError(f"{r.name}: cannot calibrate: {r.dead}; remove this part")
        if r.fingerprint in seen:
            raise InputError(
                f"{r.name}: is the same part as {seen[r.fingerprint]}: a calibration part counts "
                "once; remove one of them"
            )
        seen[r.fingerprint] = r.name


def write_fitted(
    path,
    method,
    name,
    training,
    calibration,
    files,
    *,
    scorings,
    parameters,
    reference,
    reading,
    extractor,
    weights,
    precision="full",
    about=None,
    training_files=(),
    poses=None,
    strict=False,
):
    """Calibrate a fitted method, and write its model.

    Args:
        path: file to write.
        method: fitted Features in eval mode.
        name: the method's name, a key of ``METHODS``.
        training, calibration: [PartRecord] from :func:`read_records`; the training parts in the banks' order.
        files: ``data.calibration_parts.CalibrationFiles`` of ``calibration``.
        scorings, parameters, reference: as in the run; scorings that need a test set are left out.
        reading: ``data.organised_clouds.Reading`` of the files.
        extractor: {option: value} of ``PatchExtractor.from_checkpoints``, without the folder.
        weights: [dict], one per WeightFile.
        precision: "full" or "half".
        about: {name: value} of further metadata: run, options, seed.
        training_files: [PartFiles] of the training parts, in the banks' order. If there are no calibration parts, the
            training parts replace them, each measured without its own rows.
        poses: {number of a training part: its Pose in the frame}, where it is known.
        strict: refuse training and calibration parts that score far from the others, instead of warning.

    Returns:
        [text], warnings of what the model lacks.

    Raises:
        InputError: nothing can be written, the method is in train mode, or ``strict`` refuses.
    """
    warnings = []
    arrays, facts = state_of(method, name, precision)
    if precision == "half":  # calibrate with the rounded rows that the model will judge with
        rounded = restored_method(arrays, facts, method.extractor)
        rounded.reference, method = method.reference, rounded  # it still knows the single training parts
    if method.extractor.rgb_onnx is not None:
        arrays["rgb_onnx"] = np.frombuffer(method.extractor.rgb_onnx, np.uint8)
    scorer = Scorer(method, scorings, parameters, reference)
    parts, estimated = files.parts, files.source == NONE
    if estimated:
        parts = training_files
    results, note = _measure(scorer, parts, reading, estimated, poses or {})
    if note:
        warnings.append(note)
    for scoring in scorer.names if results else ():
        arrays[f"calibration.score.{scoring}"] = np.array([of[scoring][0] for of in results])
        arrays[f"calibration.peak.{scoring}"] = np.array([of[scoring][1] for of in results])
    scan = None
    alive = [r.statistics for r in (*training, *calibration) if r.statistics is not None]
    try:
        scan = gate.learn(alive).as_json() if method.placement is None else None
    except InputError as error:
        warnings.append(f"no health gate: {error}")
    warnings += [f"{r.name}: {r.dead}: this training scan is left out of the health gate" for r in training if r.dead]
    arrays["parts.depth"] = np.stack([r.depth for r in training]) if training else np.zeros((0, DEPTH_GRID, DEPTH_GRID))
    arrays["parts.pictures"] = np.frombuffer(b"".join(r.picture for r in training), np.uint8)
    arrays["parts.picture_ends"] = np.cumsum([len(r.picture) for r in training], dtype=np.int64)
    meta = {
        "layout": LAYOUT,
        "fitted": facts,
        "extractor": extractor,
        "weights": weights,
        "reading": reading._asdict(),
        "scoring": {"names": scorer.names, "parameters": parameters._asdict(), "reference": reference},
        "calibration": {
            "source": ESTIMATE if estimated else files.source,
            "where": files.where,
            "promised": not estimated,
            "parts": len(results),
            "names": [part.name for part in parts[: len(results)]],
            "fingerprints": [r.fingerprint for r in (training if estimated else calibration)][: len(results)],
        },
        "training_parts": {"names": [r.name for r in training], "fingerprints": [r.fingerprint for r in training]},
        "scan": scan,
        "versions": {**environment(), "rgb": method.extractor.rgb_runtime},
        "written": history.now(),
        **(about or {}),
    }
    if method.training is not None and method.training.calibrated is not None:
        check_outlying(method.training.path, method.training.calibrated.scores, strict)
    if results and not estimated:
        check_outlying([part.name for part in parts], arrays[f"calibration.score.{scorer.names[0]}"], strict)
    history.keep(path)
    write_model(path, arrays, meta)
    return warnings


def _measure(scorer, parts, reading, without_own_rows, poses):
    """([{scoring: (score, largest pixel)}], warning or ""): calibration parts, or training parts without own rows."""
    found, method = [], scorer.method
    if without_own_rows and len(parts) < 2:
        return [], "no calibration parts, and one training part alone cannot be measured without its own rows"
    label = f"{method.class_name}: {'leave-one-out' if without_own_rows else 'calibration'}"
    for number, part in enumerate(track(parts, len(parts), label)):
        scan = read_scan(part.rgb, part.xyz, reading)
        try:
            sample = method_sample(scan, method, poses.get(number))
            result = scorer.judge(sample, number if without_own_rows else None)
        except InputError as error:
            if not without_own_rows:
                raise InputError(f"{part.rgb}: cannot calibrate: {error}") from None
            return [], f"no calibration parts, and no leave-one-out scores: {error}"
        found.append({name: (score, float(np.max(pixels))) for name, (score, pixels) in result.scored.items()})
    return found, ""


# ---------------------------------------------------------------- reading


def read_saved(path):
    """Read and check the SavedModel in a file.

    Raises:
        InputError: the file cannot be read, is cut off, damaged, no model, of a newer format, or contradicts itself.
    """
    path = Path(path)
    arrays, meta = read_model(path)
    layout = meta.get("layout")
    if isinstance(layout, int) and layout > LAYOUT:
        raise InputError(
            f"{path}: has layout {layout}, newer than the {LAYOUT} that this program reads; use a newer program"
        )
    try:
        _check(arrays, meta)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise damaged(path, error) from None
    return SavedModel(path, arrays, meta)


def damaged(path, error):
    """The InputError of a model with a correct checksum but wrong content."""
    return InputError(f"{path}: is no sound model ({type(error).__name__}: {error}); write it again with --save_model")


def _check(arrays, meta):
    if meta["layout"] != LAYOUT:
        raise ValueError(f"layout {meta['layout']!r}")
    fitted, calibration, count = meta["fitted"], meta["calibration"], len(meta["training_parts"]["names"])
    for name in fitted["banks"]:
        rows, part, place = (arrays[f"bank.{name}.{key}"] for key in ("rows", "part", "place"))
        if rows.ndim != 2 or not len(rows) == len(part) == len(place) or not np.isfinite(rows).all():
            raise ValueError(f"the {name} bank")
        if len(part) and not -1 <= part.min() <= part.max() < count:
            raise ValueError(f"the {name} bank's parts")
    if len(arrays["parts.depth"]) != count or len(arrays["parts.picture_ends"]) != count:
        raise ValueError("the training parts")
    for scoring in meta["scoring"]["names"] if calibration["parts"] else ():
        for kind in ("score", "peak"):
            values = arrays[f"calibration.{kind}.{scoring}"]
            if values.shape != (calibration["parts"],) or not np.isfinite(values).all():
                raise ValueError(f"calibration of {scoring}")


def check_weights(model, weights):
    """Refuse weights other than those that the model was fitted with.

    Args:
        model: SavedModel.
        weights: [WeightFile] on this machine.

    Raises:
        InputError: a file differs; the message names it.
    """
    fitted = {file["network"]: file["sha256"] for file in model.meta["weights"]}
    for file in weights:
        if fitted.get(file.network) != file.sha256:
            raise InputError(
                f"{file.path or file.network}: other weights than {model.path} was fitted with "
                f"({file.network}, sha256 {file.sha256[:12]}…, expected {fitted.get(file.network, 'none')[:12]}…); "
                "give the right --checkpoint_dir, or fit again"
            )


def reading_of(model):
    """The Reading with which the model's files were read; it is marked as examined."""
    values = dict(model.meta["reading"])
    if values["missing"] is not None:
        values["missing"] = tuple(tuple(point) for point in values["missing"])
    return Reading(**values)


def examined_with(model):
    """(Options, Facts of what the training parts have in common) with which scans to be judged are examined; models of
    version 0.9 know nothing of the latter."""
    meta, settings = model.meta, model.meta["fitted"]["settings"]
    known = {key: tuple(of) if isinstance(of, list) else of for key, of in (meta.get("usual") or {}).items()}
    return Options(settings["img_size"], meta.get("min_points", 1)), Facts(**known)


def picture_of_part(model, number):
    """Image [224, 224, 3] uint8 of a training part."""
    ends = model.arrays["parts.picture_ends"]
    start = int(ends[number - 1]) if number else 0
    data = model.arrays["parts.pictures"][start : int(ends[number])].tobytes()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def as_dicts(weights):
    """[WeightFile] as JSON-able dicts."""
    return [file._asdict() if hasattr(file, "_asdict") else dataclasses.asdict(file) for file in weights]
