"""Knows the Inspector, alone in the station: judges a recording's files, and draws the pictures of the page."""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.errors import InputError
from common.files import sha256_of
from data.pictures import load_picture, read_picture
from data.scans import fingerprint, read_scan
from inspection import verdict
from inspection.inspector import Inspector
from inspection.judged_pictures import depth_picture, outlined
from inspection.judgement import region_text
from inspection.saved_model import reading_of

MOST_REGIONS = 20  # of a part; a map can fall into hundreds
SIDE = 672  # pixels of a picture; three times the networks' picture
QUALITY = 85  # of JPEG


class Judged(NamedTuple):
    """What a model says about one recording.

    ``content``: dict of ``threshold``; ``peak``, the map's largest value; ``regions`` [dict]; ``explanation``;
    ``statistics`` {name: number} in which drift is looked for, empty if the part cannot be judged; and
    ``milliseconds`` to read the files and judge them. ``pictures``: names of those that ``draw`` writes into a folder.
    """

    verdict: str
    p_value: float | None
    score: float | None
    content: dict
    pictures: tuple = ()
    draw: Callable | None = None


class Model:
    """One version of a recipe, loaded.

    ``scores``, ``peaks`` [n] of the calibration parts that decide now; ``own_scores``, ``own_peaks`` of those in the
    file, empty if these were its training parts; ``known``: fingerprints of the file's training and calibration parts;
    ``options``: what else decides a verdict; ``memory``: bytes of the model's arrays.
    """

    def __init__(self, recipe, sha256, inspector, memory=0):
        self.recipe, self.sha256, self._inspector, self.memory = recipe, sha256, inspector, memory
        self.alpha, self.promise = inspector.alpha, inspector.promise
        arrays, meta = inspector.model.arrays, inspector.model.meta
        self.scores = np.asarray(arrays[f"calibration.score.{inspector.scoring}"])
        self.peaks = np.asarray(arrays[f"calibration.peak.{inspector.scoring}"])
        kept = len(self.scores) if inspector.promised else 0
        self.own_scores, self.own_peaks = self.scores[:kept], self.peaks[:kept]
        self.known = {*meta["training_parts"]["fingerprints"], *meta["calibration"]["fingerprints"]}
        self.options = {"false_alarm": inspector.alpha, "scoring": inspector.scoring, "calibration": 0}

    @property
    def id(self):
        """Recipe and the first twelve digits of the file's SHA-256."""
        return f"{self.recipe}:{self.sha256[:12]}"

    def calibrated_with(self, scores, peaks, number):
        """This model with the calibration parts of the journal's event ``number``; refuses where they are too few.
        Networks and banks are shared, so that it is instant, and verdicts are exactly those of a model that was saved
        with these parts."""
        made, inspector = copy.copy(self), copy.copy(self._inspector)
        made.promise = verdict.promise_text(len(scores), self.alpha)
        made.scores, made.peaks = np.asarray(scores, np.float64), np.asarray(peaks, np.float64)
        inspector._scores, inspector.threshold = made.scores, verdict.threshold(scores, self.alpha)
        inspector.pixel_threshold = verdict.threshold(peaks, self.alpha)
        made._inspector, made.options = inspector, {**self.options, "calibration": number}
        return made

    def judge(self, files):
        """:class:`Judged` of files {kind: path}; those that cannot be read give "cannot judge" and the reason."""
        start = time.perf_counter()
        spent = lambda: round(1000 * (time.perf_counter() - start), 2)
        inspector = self._inspector
        try:
            if "xyz" in files:
                rgb, xyz = self._scan(files)
                z, found = xyz[..., 2], inspector.judge(rgb, xyz)
            else:
                rgb = np.asarray(read_picture(files["rgb"], "RGB", reading_of(inspector.model).picture_bits))
                z = np.asarray(load_picture(files["depth"]).content)
                found = inspector.judge_depth(rgb, z)
        except InputError as error:
            text = str(error)
            for path in files.values():
                text = text.replace(f"{path.parent}/", "")
            return self.refused(text, spent())
        shown = {"part": found.picture, "normal": found.picture, "depth": found.cloud}
        pictures = tuple(name for name, array in shown.items() if array is not None)
        regions = found.as_json()["regions"][:MOST_REGIONS]
        for told, region in zip(regions, found.regions):
            told["text"] = region_text(region)
        content = {
            "threshold": found.threshold,
            "peak": None if found.map is None else float(np.max(found.map)),
            "regions": regions,
            "explanation": found.explanation.text,
            "statistics": {} if found.score is None else _statistics(rgb, z, found),
            "milliseconds": spent(),
        }
        draws = lambda folder: draw(folder, found, inspector)
        return Judged(found.verdict, found.p_value, found.score, content, pictures, draws)

    def fingerprint(self, files):
        """Of a recording's content, as in the model's file; "" if it cannot be read, or is a depth picture."""
        try:
            return fingerprint(self._scan(files)) if "xyz" in files else ""
        except InputError:
            return ""

    def _scan(self, files):
        return read_scan(files["rgb"], files["xyz"], reading_of(self._inspector.model))

    def refused(self, reason, milliseconds=0.0):
        """:class:`Judged` of a recording that cannot be judged."""
        content = {"threshold": self._inspector.threshold, "peak": None, "regions": [], "explanation": reason}
        return Judged(verdict.CANNOT_JUDGE, None, None, {**content, "statistics": {}, "milliseconds": milliseconds})


def load(path, recipe, sha256, *options):
    """The :class:`Model` in a file, with the ``options`` of ``Inspector.load``; refuses as that does, and where the
    file was replaced meanwhile."""
    inspector = Inspector.load(path, *options)
    if sha256_of(path) != sha256:
        raise InputError(f"{path}: was replaced while it was read; try again")
    return Model(recipe, sha256, inspector, path.stat().st_size)


def draw(folder, judgement, inspector):
    """Write the pictures of a judgement into ``folder``: the part with outlined regions, its depth, a normal part."""
    normal = Image.fromarray(np.ascontiguousarray(inspector.normal_picture()))
    made = {"part": outlined(judgement, SIDE), "normal": normal.resize((SIDE, SIDE), Image.Resampling.BICUBIC)}
    if judgement.cloud is not None:
        made["depth"] = depth_picture(judgement.cloud, SIDE)
    for name, picture in made.items():
        temporary = Path(folder) / f".{name}"
        picture.save(temporary, "JPEG", quality=QUALITY)
        temporary.replace(Path(folder) / f"{name}.jpg")


def _statistics(rgb, z, judgement):
    """Light and missing points of a scan, on every second row and column, its score and each map's share of it."""
    z = z[::2, ::2]
    missing = 1 - np.count_nonzero(np.isfinite(z) & (z != 0)) / z.size
    found = {"light": float(rgb[::2, ::2].mean()) / 255, "missing points": missing, "score": judgement.score}
    return found | {f"{name} score": value for name, value in judgement.explanation.shares.items()}
