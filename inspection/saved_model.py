"""The saved model of a category: one file with the fitted method and everything else that a verdict needs.

arrays   bank.*, late_fusion.*, placement.*, place.*, training.*     see inspection/fitted.py
         calibration.score.<scoring>           [n] scores of the calibration parts
         calibration.peak.<scoring>            [n] largest values of their maps
         rgb_onnx                              bytes of the RGB backbone, if ONNX Runtime ran it at the fit
         parts.pictures                        the first training part as JPEG, to show; layout 1: all of them
meta     fitted, weights, extractor, reading, scoring, calibration, training_parts, clouds, light, versions, run,
         options
"""

import io
import itertools
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
from data.scans import PartFiles, fingerprint, read_scan
from dataset import MM
from inspection import gate, history
from inspection.fitted import state_of
from inspection.model_file import WRONG, Arrays, Meta, damaged, read_model, tuples, write_model
from inspection.one_part import Preparation, Scorer
from inspection.outlying import alone, check_outlying
from inspection.verdict import check_calibration
from models.weights import WeightFile
from part_frame.light import Light, fault, light_of_view, usual
from part_frame.placement import CannotPlace, Placement

Values = dict[str, tuple[float, float]]  # {scoring: (score, largest value of the map)} of a part

LAYOUT = 2  # version of this module's part of the file
READ = (1, LAYOUT)  # 1: with ranges of the scans, the training parts' depth, and each row's place, which are ignored
JPEG_QUALITY = 90
MOST_THREADS = 8
ESTIMATE = "leave-one-out"


class PartRecord(NamedTuple):
    """What the saved model needs of one training or calibration part, apart from its rows."""

    name: str
    fingerprint: str
    dead: str  # which sensor gave no data; "" if none
    light: Light | None  # of the whole picture; None: it is looked at in the frame, or a sensor gave no data
    unplaced: str  # why the part cannot be laid into the frame or its picture compared; "" if it can


class ModelParts(NamedTuple):
    """The parts of a model: training parts in the banks' order, and calibration parts; see :func:`read_parts`."""

    training: list[PartRecord]
    calibration: list[PartRecord]
    training_files: Sequence[PartFiles]
    calibration_files: CalibrationFiles
    reading: Reading
    poses: Mapping[int, Any]  # {number of a training part: its Pose in the frame}, where it is known
    light: Light | None  # usual Light of the whole pictures; None with a frame


class SavedModel(NamedTuple):
    """The content of a model's file: its path, arrays and JSON metadata."""

    path: Path
    arrays: Arrays
    meta: Meta


def read_parts(
    label: str,
    files: Sequence[PartFiles],
    calibration: CalibrationFiles,
    reading: Reading,
    placement: Placement | None = None,
    poses: Mapping[int, Any] | None = None,
) -> ModelParts:
    """Read training and calibration parts, before the fit. Calibration parts that cannot be judged are left out, with a
    warning; those that are also training parts, there twice, or without data from a sensor are refused."""
    if any(part.xyz is None for part in files):  # what is compared has to be read in one way
        files, calibrating = ([part._replace(xyz=None) for part in of] for of in (files, calibration.parts))
        calibration = calibration._replace(parts=tuple(calibrating))

    def record(part: PartFiles, calibrates: bool) -> PartRecord:
        scan = read_scan(part.rgb, part.xyz, reading)
        light, unplaced = None, ""
        if calibrates and placement is not None:
            try:
                placement.place(scan.rgb, scan.xyz * MM)
            except CannotPlace as error:
                unplaced = str(error)
        dead = gate.dead_sensor(scan.rgb, scan.xyz, part.xyz is not None)
        if placement is None and not dead:
            light = light_of_view(scan.rgb)
        return PartRecord(part.name, fingerprint(scan), dead, light, unplaced)

    with ThreadPoolExecutor(min(MOST_THREADS, available_cores())) as pool:
        training, records = (
            list(track(pool.map(record, of, itertools.repeat(calibrates)), len(of), f"{label}: {kind} scans"))
            for of, calibrates, kind in ((files, False, "training"), (calibration.parts, True, "calibration"))
        )
    lights = [r.light for r in training if r.light is not None]
    light = usual(lights) if lights else None
    if light is not None:
        records = [r._replace(unplaced=fault(r.light, light)) if r.light is not None else r for r in records]
    kept = [(part, r) for part, r in zip(calibration.parts, records) if not r.unplaced]
    for r in records:
        if r.unplaced:
            logging.warning("%s: cannot be judged, so it does not calibrate: %s", r.name, r.unplaced)
    check_calibration({r.fingerprint: r.name for r in training}, [(r.name, r.fingerprint) for _, r in kept])
    for _, r in kept:
        if r.dead:
            raise InputError(f"{r.name}: cannot calibrate: {r.dead}; remove this part")
    calibration = calibration._replace(parts=tuple(part for part, _ in kept))
    return ModelParts(training, [r for _, r in kept], files, calibration, reading, poses or {}, light)


def write_fitted(
    path: str | Path, scorer: Scorer, name: str, parts: ModelParts, about: Meta, strict: bool = False
) -> list[str]:
    """Calibrate a fitted method, write its model, and return warnings of what it lacks. If there are no calibration
    parts, the training parts replace them, each measured without its own rows.

    Args:
        name: the method's key in ``METHODS``.
        about: further metadata: extractor ({option: value} of ``PatchExtractor.from_checkpoints``, without the folder),
            weights (a dict per WeightFile), run, options, seed.
        strict: refuse training and calibration parts that score far from the others, instead of warning.
    """
    method, training = scorer.method, parts.training
    arrays, facts = state_of(method, name)
    if method.extractor.rgb_onnx is not None:
        arrays["rgb_onnx"] = np.frombuffer(method.extractor.rgb_onnx, np.uint8)
    estimated = parts.calibration_files.source == NONE
    results, note = _measured(scorer, parts, estimated)
    warnings = [note] if note else []
    arrays.update(calibration_arrays(scorer.names, results))
    records = (training if estimated else parts.calibration)[: len(results)]
    warnings += [f"{r.name}: {r.dead}: look at this training scan" for r in training if r.dead]
    first = parts.training_files[0]
    scan, stream = read_scan(first.rgb, first.xyz, parts.reading), io.BytesIO()
    shown: Any = Preparation.of(method).prepare(scan, pose=parts.poses.get(0)).picture
    Image.fromarray(shown).save(stream, "JPEG", quality=JPEG_QUALITY)
    arrays["parts.pictures"] = np.frombuffer(stream.getvalue(), np.uint8)
    source = (ESTIMATE if estimated else parts.calibration_files.source), parts.calibration_files.where
    meta = {
        "layout": LAYOUT,
        "fitted": facts,
        "reading": parts.reading._asdict(),
        "scoring": {"names": scorer.names, "parameters": scorer.parameters._asdict(), "reference": scorer.reference},
        "calibration": calibration_meta(*source, not estimated, [(r.name, r.fingerprint) for r in records]),
        "training_parts": {"names": [r.name for r in training], "fingerprints": [r.fingerprint for r in training]},
        "clouds": all(part.xyz is not None for part in parts.training_files),
        "light": parts.light and parts.light._asdict(),
        "versions": {**environment(), "rgb": method.extractor.rgb_runtime},
        "written": history.now(),
        **about,
    }
    if method.training is not None and method.training.calibrated is not None:
        check_outlying(method.training.path, method.training.calibrated.scores, strict, method.reference)
    if results and not estimated:
        of_calibration = [r.name for r in records], arrays[f"calibration.score.{scorer.names[0]}"]
        check_outlying(*of_calibration, strict)
        warnings += [text for text in (alone(*of_calibration),) if text]
    history.keep(Path(path))
    write_model(path, arrays, meta)
    return warnings


def calibration_arrays(names: Sequence[str], values: Sequence[Values]) -> dict[str, NDArray[np.float64]]:
    """{name in the file: [n] values} of n calibration parts, for each scoring; nothing without parts."""
    kinds = enumerate(("score", "peak")) if values else ()
    return {
        f"calibration.{kind}.{name}": np.array([of[name][i] for of in values]) for i, kind in kinds for name in names
    }


def calibration_meta(source: str, where: str, promised: bool, parts: Sequence[tuple[str, str]]) -> Meta:
    """What the metadata say of the calibration parts; ``parts``: (name, fingerprint) of each."""
    of_parts = {"names": [name for name, _ in parts], "fingerprints": [mark for _, mark in parts]}
    return {"source": source, "where": where, "promised": promised, "parts": len(parts), **of_parts}


def _measured(scorer: Scorer, parts: ModelParts, without_own_rows: bool) -> tuple[list[Values], str]:
    """(values, warning or "") of the calibration parts, or of the training parts."""
    found: list[Values] = []
    files = parts.training_files if without_own_rows else parts.calibration_files.parts
    if without_own_rows and len(files) < 2:
        return [], "no calibration parts, and one training part alone cannot be measured without its own rows"
    preparation, label = Preparation.of(scorer.method), "leave-one-out" if without_own_rows else "calibration"
    for number, part in enumerate(track(files, len(files), f"{scorer.method.class_name}: {label}")):
        own = number if without_own_rows else None
        scan = read_scan(part.rgb, part.xyz, parts.reading)
        prepared = preparation.prepare(scan, pose=None if own is None else parts.poses.get(own))
        try:
            if prepared.problem:
                raise InputError(prepared.problem)
            found.append(scorer.judge(prepared.sample, own).values())
        except InputError as error:
            if not without_own_rows:
                raise InputError(f"{part.rgb}: cannot calibrate: {error}") from None
            return [], f"no calibration parts, and no leave-one-out scores: {error}"
    return found, ""


def read_saved(path: str | Path) -> SavedModel:
    """The SavedModel in a file; InputError where it cannot be read, is cut off, damaged, no model, of a newer format,
    or contradicts itself."""
    path = Path(path)
    arrays, meta = read_model(path)
    layout = meta.get("layout")
    if isinstance(layout, int) and layout > LAYOUT:
        newer = f"has layout {layout}, newer than the {LAYOUT} that this program reads"
        raise InputError(f"{path}: {newer}; use a newer program")
    try:
        if meta["layout"] not in READ:
            raise ValueError(f"layout {meta['layout']!r}")
        calibration, count = meta["calibration"], len(meta["training_parts"]["names"])
        for name in meta["fitted"]["banks"]:
            rows, part = (arrays[f"bank.{name}.{key}"] for key in ("rows", "part"))
            if rows.ndim != 2 or len(rows) != len(part) or not np.isfinite(rows).all():
                raise ValueError(f"the {name} bank")
            if len(part) and not -1 <= part.min() <= part.max() < count:
                raise ValueError(f"the {name} bank's parts")
        if not len(arrays["parts.pictures"]):
            raise ValueError("the picture of a training part")
        for scoring in meta["scoring"]["names"] if calibration["parts"] else ():
            for kind in ("score", "peak"):
                values = arrays[f"calibration.{kind}.{scoring}"]
                if values.shape != (calibration["parts"],) or not np.isfinite(values).all():
                    raise ValueError(f"calibration of {scoring}")
    except WRONG as error:
        raise damaged(path, error) from None
    return SavedModel(path, arrays, meta)


def check_weights(model: SavedModel, weights: Sequence[WeightFile]) -> None:
    """Refuse ``weights`` of this machine that are not those of the fit: InputError."""
    fitted = {file["network"]: file["sha256"] for file in model.meta["weights"]}
    for file in weights:
        wanted = fitted.get(file.network, "none")
        if wanted != file.sha256:
            told = f"{file.network}, sha256 {file.sha256[:12]}…, expected {wanted[:12]}…"
            other = f"{file.path or file.network}: other weights than {model.path} was fitted with ({told})"
            raise InputError(f"{other}; give the right --checkpoint_dir, or fit again")


def reading_of(model: SavedModel) -> Reading:
    """The Reading with which the model's files were read; it is marked as examined."""
    return Reading(**tuples(model.meta["reading"]))


def examined_with(model: SavedModel) -> tuple[Options, Facts]:
    """(Options, Facts of what the training parts have in common) with which scans to be judged are examined."""
    meta, settings = model.meta, model.meta["fitted"]["settings"]
    # models of earlier states know more facts
    usual = {name: of for name, of in tuples(meta.get("usual") or {}).items() if name in Facts._fields}
    return Options(settings["img_size"], meta.get("min_points", 1)), Facts(**usual)
