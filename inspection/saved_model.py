"""The saved model of a category: one file with the fitted method and everything else that a verdict needs.

    arrays   bank.*, late_fusion.*, training.*     see inspection/fitted.py
             calibration.score.<scoring>           [n] scores of the calibration parts
             calibration.peak.<scoring>            [n] largest values of their maps
             parts.depth                           [t, 56, 56] depth of the training parts' patches in metres
             parts.pictures, parts.picture_ends    the training parts' images as JPEG, concatenated; the end of each
    meta     fitted, weights, extractor, reading, scoring, calibration, training_parts, scan, versions, run, options

The training parts' images are only displayed, so JPEG is enough.
"""

import io
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.commands import available_cores
from common.errors import InputError
from common.machine import environment
from common.progress import track
from data.calibration_parts import NONE, CalibrationFiles
from data.findings import Options
from data.organised_clouds import Reading
from data.part_facts import Facts
from data.scans import PartFiles, Scan, fingerprint, read_scan
from dataset import MM, sample_of
from inspection import gate, history
from inspection.fitted import restored_method, state_of
from inspection.model_file import Arrays, Meta, read_model, write_model
from inspection.one_part import DEPTH_GRID, MethodFacts, Scorer, depth_grid, prepare, small_picture
from inspection.outlying import check_outlying
from inspection.verdict import check_apart
from models.weights import WeightFile
from part_frame.framed import framed
from part_frame.placement import CannotPlace, Placement

Values = dict[str, tuple[float, float]]  # {scoring: (score, largest value of the map)} of a part

LAYOUT = 1  # version of this module's part of the file
JPEG_QUALITY = 90
MOST_THREADS = 8
ESTIMATE = "leave-one-out"


class PartRecord(NamedTuple):
    """Facts about one training or calibration part that the saved model uses, apart from its rows."""

    name: str
    fingerprint: str
    statistics: gate.ScanStatistics | None
    dead: str  # which sensor gave no data; "" if none
    depth: NDArray[np.float32]  # [56, 56] metres
    picture: bytes  # JPEG
    unplaced: str = ""  # why the part cannot be laid into the frame; "" if it can, or there is none


class ModelParts(NamedTuple):
    """The parts of a model: training parts in the banks' order, and calibration parts; see :func:`read_parts`."""

    training: list[PartRecord]
    calibration: list[PartRecord]
    training_files: Sequence[PartFiles]
    calibration_files: CalibrationFiles
    reading: Reading
    poses: Mapping[int, Any]  # {number of a training part: its Pose in the frame}, where it is known


class SavedModel(NamedTuple):
    """The content of a model's file: its path, arrays and JSON metadata."""

    path: Path
    arrays: Arrays
    meta: Meta


# ---------------------------------------------------------------- writing


def read_parts(
    label: str,
    files: Sequence[PartFiles],
    calibration: CalibrationFiles,
    reading: Reading,
    img_size: int,
    placement: Placement | None = None,
    poses: Mapping[int, Any] | None = None,
) -> ModelParts:
    """Read training and calibration parts, before the fit. Calibration parts that cannot be laid into the frame are
    left out, with a warning.

    Args:
        label: what the progress is called.
        files: of the training parts.
        placement: where the parts are shown; None: as they were recorded.
        poses: see ModelParts.

    Raises:
        InputError: a file cannot be read; a calibration part is also a training part, is there twice, or has no data
            from a sensor.
    """
    if any(part.xyz is None for part in files):  # what is compared has to be read in one way
        files = [part._replace(xyz=None) for part in files]
        calibration = calibration._replace(parts=tuple(part._replace(xyz=None) for part in calibration.parts))
    known = poses or {}
    training = _records(files, reading, img_size, f"{label}: training scans", placement, known)
    calibrating = _records(calibration.parts, reading, img_size, f"{label}: calibration scans", placement, {})
    for record in calibrating:
        if record.unplaced:
            logging.warning("%s: cannot be judged, so it does not calibrate: %s", record.name, record.unplaced)
    left = [number for number, record in enumerate(calibrating) if not record.unplaced]
    calibration = calibration._replace(parts=tuple(calibration.parts[number] for number in left))
    calibrating = [calibrating[number] for number in left]
    check_apart(_marks(training), _marks(calibrating))
    seen: dict[str, str] = {}
    for r in calibrating:
        if r.dead:
            raise InputError(f"{r.name}: cannot calibrate: {r.dead}; remove this part")
        if r.fingerprint in seen:
            text = f"is the same part as {seen[r.fingerprint]}: a calibration part counts once; remove one of them"
            raise InputError(f"{r.name}: {text}")
        seen[r.fingerprint] = r.name
    return ModelParts(training, calibrating, files, calibration, reading, known)


def _marks(records: Sequence[PartRecord]) -> dict[str, str]:
    return {r.name: r.fingerprint for r in records}


def _records(
    parts: Sequence[PartFiles],
    reading: Reading,
    img_size: int,
    label: str,
    placement: Placement | None,
    poses: Mapping[int, Any],
) -> list[PartRecord]:
    """Read PartFiles in threads."""

    def record(number: int, part: PartFiles) -> PartRecord:
        scan = read_scan(part.rgb, part.xyz, reading)
        mark, shown, unplaced = fingerprint(scan), scan, ""
        if placement is not None:
            try:
                shown = Scan(*framed(placement.place(scan.rgb, scan.xyz * MM, poses.get(number)), placement))
            except CannotPlace as error:
                unplaced = str(error)
        statistics, dead = None, ""
        try:
            statistics = gate.measure(scan.rgb, scan.xyz, part.xyz is not None)
        except gate.DeadSensor as error:
            dead = str(error)
        stream = io.BytesIO()
        Image.fromarray(small_picture(sample_of(shown, img_size))).save(stream, "JPEG", quality=JPEG_QUALITY)
        return PartRecord(part.name, mark, statistics, dead, depth_grid(shown.xyz), stream.getvalue(), unplaced)

    with ThreadPoolExecutor(min(MOST_THREADS, available_cores())) as pool:
        return list(track(pool.map(record, range(len(parts)), parts), len(parts), label))


def write_fitted(
    path: str | Path,
    scorer: Scorer,
    name: str,
    parts: ModelParts,
    about: Meta,
    precision: str = "full",
    strict: bool = False,
) -> list[str]:
    """Calibrate a fitted method, and write its model. If there are no calibration parts, the training parts replace
    them, each measured without its own rows.

    Args:
        path: file to write.
        scorer: of the fitted method in eval mode.
        name: the method's name, a key of ``METHODS``.
        parts: of the model.
        about: further metadata: extractor ({option: value} of ``PatchExtractor.from_checkpoints``, without the folder),
            weights (a dict per WeightFile), run, options, seed.
        precision: "full" or "half".
        strict: refuse training and calibration parts that score far from the others, instead of warning.

    Returns:
        Warnings of what the model lacks.

    Raises:
        InputError: nothing can be written, the method is in train mode, or ``strict`` refuses.
    """
    method, warnings, training = scorer.method, [], parts.training
    arrays, facts = state_of(method, name, precision)
    if precision == "half":  # calibrate with the rounded rows that the model will judge with
        rounded = restored_method(arrays, facts, method.extractor)
        rounded.reference, method = method.reference, rounded  # it still knows the single training parts
        scorer = Scorer(method, scorer.names, scorer.parameters, scorer.reference)
    estimated = parts.calibration_files.source == NONE
    results, note = _measured(scorer, parts, estimated)
    warnings += [note] if note else []
    arrays.update(calibration_arrays(scorer.names, results))
    records, scan = (training if estimated else parts.calibration)[: len(results)], None
    alive = [r.statistics for r in (*training, *parts.calibration) if r.statistics is not None]
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
        "reading": parts.reading._asdict(),
        "scoring": {"names": scorer.names, "parameters": scorer.parameters._asdict(), "reference": scorer.reference},
        "calibration": {
            "source": ESTIMATE if estimated else parts.calibration_files.source,
            "where": parts.calibration_files.where,
            "promised": not estimated,
            "parts": len(results),
            "names": [r.name for r in records],
            "fingerprints": [r.fingerprint for r in records],
        },
        "training_parts": {"names": [r.name for r in training], "fingerprints": [r.fingerprint for r in training]},
        "scan": scan,
        "versions": environment(),
        "written": history.now(),
        **about,
    }
    if method.training is not None and method.training.calibrated is not None:
        check_outlying(method.training.path, method.training.calibrated.scores, strict, method.reference)
    if results and not estimated:
        check_outlying([r.name for r in records], arrays[f"calibration.score.{scorer.names[0]}"], strict)
    history.keep(Path(path))
    write_model(path, arrays, meta)
    return warnings


def calibration_arrays(names: Sequence[str], values: Sequence[Values]) -> dict[str, NDArray[np.float64]]:
    """{name in the file: [n] values} of n calibration parts, for each scoring; nothing without parts."""
    arrays = {}
    for name in names if values else ():
        for place, kind in enumerate(("score", "peak")):
            arrays[f"calibration.{kind}.{name}"] = np.array([of[name][place] for of in values])
    return arrays


def _measured(scorer: Scorer, parts: ModelParts, without_own_rows: bool) -> tuple[list[Values], str]:
    """(values, warning or "") of the calibration parts, or of the training parts without their own rows."""
    found: list[Values] = []
    files = parts.training_files if without_own_rows else parts.calibration_files.parts
    if without_own_rows and len(files) < 2:
        return [], "no calibration parts, and one training part alone cannot be measured without its own rows"
    facts = MethodFacts.of(scorer.method)
    label = f"{scorer.method.class_name}: {'leave-one-out' if without_own_rows else 'calibration'}"
    for number, part in enumerate(track(files, len(files), label)):
        scan = read_scan(part.rgb, part.xyz, parts.reading)
        prepared = prepare(scan, facts, pose=parts.poses.get(number) if without_own_rows else None)
        try:
            if prepared.problem:
                raise InputError(prepared.problem)
            found.append(scorer.judge(prepared.sample, number if without_own_rows else None).values())
        except InputError as error:
            if not without_own_rows:
                raise InputError(f"{part.rgb}: cannot calibrate: {error}") from None
            return [], f"no calibration parts, and no leave-one-out scores: {error}"
    return found, ""


# ---------------------------------------------------------------- reading


def read_saved(path: str | Path) -> SavedModel:
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


def damaged(path: Path, error: Exception) -> InputError:
    """The InputError of a model with a correct checksum but wrong content."""
    return InputError(f"{path}: is no sound model ({type(error).__name__}: {error}); write it again with --save_model")


def _check(arrays: Arrays, meta: Meta) -> None:
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


def check_weights(model: SavedModel, weights: Sequence[WeightFile]) -> None:
    """Refuse weights other than those that the model was fitted with; ``weights``: those on this machine.

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


def reading_of(model: SavedModel) -> Reading:
    """The Reading with which the model's files were read; it is marked as examined."""
    values = dict(model.meta["reading"])
    if values["missing"] is not None:
        values["missing"] = tuple(tuple(point) for point in values["missing"])
    return Reading(**values)


def examined_with(model: SavedModel) -> tuple[Options, Facts]:
    """(Options, Facts of what the training parts have in common) with which scans to be judged are examined; models of
    version 0.9 know nothing of the latter."""
    meta, settings = model.meta, model.meta["fitted"]["settings"]
    known: dict[str, Any] = {
        key: tuple(of) if isinstance(of, list) else of for key, of in (meta.get("usual") or {}).items()
    }
    return Options(settings["img_size"], meta.get("min_points", 1)), Facts(**known)


def picture_of_part(model: SavedModel, number: int) -> NDArray[np.uint8]:
    """Image [224, 224, 3] uint8 of a training part."""
    ends = model.arrays["parts.picture_ends"]
    start = int(ends[number - 1]) if number else 0
    data = model.arrays["parts.pictures"][start : int(ends[number])].tobytes()
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
