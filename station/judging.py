"""The only module of the station that knows the Inspector: it loads a model's file and judges a recording's files."""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.files import sha256_of
from inspection import verdict

MOST_REGIONS = 20  # of a part; a map can fall into hundreds


class Files(NamedTuple):
    """A recording: picture, and organised cloud or depth picture."""

    rgb: Path
    xyz: Path | None
    depth: Path | None


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model says about one recording.

    Attributes:
        verdict, p_value, score, threshold: as in ``inspection.judgement.Judgement``.
        peak: the map's largest value; None if the part cannot be judged.
        regions: [dict] of text (what is wrong there, in words), pixels, area_mm2, depth_mm, peak, place, box, shares,
            nearest, and in_place, where the model has a frame; the highest peak first.
        explanation: a sentence.
        statistics: {name: number} in which drift is looked for; empty if the part cannot be judged.
        milliseconds: to read the files and judge them.
        draw: function of a folder that writes the pictures and returns their names; None: there is nothing to draw.
    """

    verdict: str
    p_value: float | None
    score: float | None
    threshold: float
    peak: float | None
    regions: list
    explanation: str
    statistics: dict
    milliseconds: float
    draw: Callable | None = None


class Model:
    """One version of a recipe, loaded.

    Attributes:
        recipe: name by which it is asked for.
        sha256: of the model's file.
        alpha, promise, gate_promise: promised rate of false alarms, and sentences on what is promised.
        scores, peaks: [n] of the calibration parts that decide now.
        own_scores, own_peaks: [n] of the calibration parts in the file; empty if these were its training parts.
        known: fingerprints of the file's training and calibration parts.
        options: what else decides a verdict, as a dict.
        memory: bytes of the model's arrays.
    """

    def __init__(self, recipe, sha256, inspector, memory=0):
        self.recipe, self.sha256, self._inspector, self.memory = recipe, sha256, inspector, memory
        self.alpha, self.promise, self.gate_promise = inspector.alpha, inspector.promise, inspector.gate_promise
        arrays, meta = inspector.model.arrays, inspector.model.meta
        self.scores = np.asarray(arrays[f"calibration.score.{inspector.scoring}"])
        self.peaks = np.asarray(arrays[f"calibration.peak.{inspector.scoring}"])
        kept = len(self.scores) if inspector.promised else 0
        self.own_scores, self.own_peaks = self.scores[:kept], self.peaks[:kept]
        self.known = {"training": set(meta["training_parts"]["fingerprints"])}
        self.known["calibration"] = set(meta["calibration"]["fingerprints"]) - self.known["training"]
        self.options = {"false_alarm": inspector.alpha, "scoring": inspector.scoring, "calibration": 0}
        self.options["gate"] = inspector.preparation.ranges is not None

    @property
    def id(self):
        """Recipe and the first twelve digits of the file's SHA-256."""
        return f"{self.recipe}:{self.sha256[:12]}"

    def calibrated_with(self, scores, peaks, number):
        """This model with other calibration parts. Networks and banks are shared, so that it is instant, and verdicts
        are exactly those of a model that was saved with these parts.

        Args:
            scores, peaks: [n] of the calibration parts.
            number: of the journal's event that holds them.

        Raises:
            InputError: they are too few for the promised rate.
        """
        given = verdict.promise(len(scores), self.alpha)
        inspector = copy.copy(self._inspector)
        inspector._scores = np.asarray(scores, np.float64)
        inspector.threshold = verdict.threshold(scores, self.alpha)
        inspector.pixel_threshold = verdict.threshold(peaks, self.alpha)
        made = copy.copy(self)
        made._inspector, made.promise = inspector, verdict.promise_text(given)
        made.scores, made.peaks = inspector._scores, np.asarray(peaks, np.float64)
        made.options = {**self.options, "calibration": number}
        return made

    def judge(self, files):
        """:class:`Judged` of :class:`Files`; files that cannot be read give "cannot judge" and the reason."""
        from station.pictures import draw

        inspector = self._inspector
        start = time.perf_counter()
        spent = lambda: 1000 * (time.perf_counter() - start)
        try:
            if files.xyz is not None:
                scan = self._scan(files)
                statistics = _scan_statistics(scan.rgb, scan.xyz[..., 2])
                found = inspector.judge(scan.rgb, scan.xyz)
            else:
                rgb, depth = _read_depth(files, inspector)
                statistics = _scan_statistics(rgb, depth)
                found = inspector.judge_depth(rgb, depth)
        except InputError as error:
            text = str(error)
            for path in filter(None, files):
                text = text.replace(f"{path.parent}/", "")
            return self.refused(text, spent())
        shares = {f"{name} score": value for name, value in found.explanation.shares.items()}
        return Judged(
            found.verdict,
            found.p_value,
            found.score,
            found.threshold,
            None if found.map is None else float(np.max(found.map)),
            _regions(found),
            _with_plain_names(found.explanation.text, found),
            {} if found.score is None else {**statistics, "score": found.score, **shares},
            spent(),
            None if found.picture is None else lambda folder: draw(folder, found, inspector),
        )

    def fingerprint(self, files):
        """Of a recording's content, as in the model's file; "" if it cannot be read, or is a depth picture, of which no
        model keeps one."""
        from data.scans import fingerprint

        try:
            return fingerprint(self._scan(files)) if files.xyz is not None else ""
        except InputError:
            return ""

    def _scan(self, files):
        from data.scans import read_scan
        from inspection.saved_model import reading_of

        return read_scan(files.rgb, files.xyz, reading_of(self._inspector.model))

    def refused(self, reason, milliseconds=0.0):
        """:class:`Judged` of a recording that cannot be judged for a ``reason``."""
        limit = self._inspector.threshold
        return Judged(verdict.CANNOT_JUDGE, None, None, limit, None, [], reason, {}, milliseconds)


def load(path, recipe, sha256, checkpoint_dir, device, false_alarm, scoring, gate, fusion_module_path):
    """The :class:`Model` in a file whose SHA-256 is known.

    Raises:
        InputError: as ``Inspector.load``; or the file was replaced meanwhile.
    """
    from inspection.inspector import Inspector

    inspector = Inspector.load(path, checkpoint_dir, device, false_alarm, scoring, gate, fusion_module_path)
    if sha256_of(path) != sha256:
        raise InputError(f"{path}: was replaced while it was read; try again")
    return Model(recipe, sha256, inspector, path.stat().st_size)


def _read_depth(files, inspector):
    from data.pictures import load_picture, read_picture
    from inspection.saved_model import reading_of

    rgb = np.asarray(read_picture(files.rgb, "RGB", reading_of(inspector.model).picture_bits))
    return rgb, np.asarray(load_picture(files.depth).content)


def _scan_statistics(rgb, z):
    """Light and missing points of a scan, on every second row and column."""
    z = z[::2, ::2]
    missing = 1 - np.count_nonzero(np.isfinite(z) & (z != 0)) / z.size
    return {"light": float(rgb[::2, ::2].mean()) / 255, "missing points": missing}


def _regions(judgement):
    """The regions as JSON without contours; of the nearest normal parts only the names, not where they lie."""
    from inspection.judgement import region_text

    told = judgement.as_json()["regions"][:MOST_REGIONS]
    for region, found in zip(told, judgement.regions):
        region["text"] = _with_plain_names(region_text(found), judgement)
        del region["contours"]
        if region["nearest"]:
            region["nearest"]["name"] = Path(region["nearest"]["name"]).stem
    return json.loads(json.dumps(told, default=float))


def _with_plain_names(text, judgement):
    """A text with the names of normal parts, but not where they lie."""
    for region in judgement.regions:
        if region.nearest is not None and region.nearest.name:
            text = text.replace(region.nearest.name, f"part {Path(region.nearest.name).stem}")
    return text
