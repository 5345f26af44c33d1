"""A judge for tests that do not ask what the verdict is: a part's picture file is JSON that says its score.

{"score": 1.5}, and optionally "sleep": seconds, "missing": share of missing points, "light": brightness.
"""

import hashlib
import json
import time

import numpy as np

from inspection import verdict
from station.judging import Judged, Model


class StubModel(Model):
    """Scores as the file says; the calibration parts' scores are given."""

    def __init__(self, recipe, sha256, calibration=tuple(range(19)), offset=0.0):
        self.recipe, self.sha256, self.memory, self.alpha = recipe, sha256, 1000, 0.05
        self.scores = self.own_scores = np.asarray(calibration, float)
        self.peaks = self.own_peaks = self.scores
        self.promise, self.gate_promise = "at most 5 % of good parts fail", "no gate"
        self.known = set()
        self.options = {"false_alarm": self.alpha, "calibration": 0}
        self.offset, self._inspector = offset, StubInspector(self.scores)

    def judge(self, files):
        content = files.rgb.read_bytes()
        try:
            told = json.loads(content)
            score = float(told["score"]) + self.offset
        except (ValueError, KeyError, TypeError):
            return self.refused(f"{files.rgb.name}: cannot be read as picture")
        time.sleep(told.get("sleep", 0))
        found = verdict.decide(self.scores, score, self.alpha)
        statistics = {"score": score, "light": told.get("light", 0.5), "missing points": told.get("missing", 0.1)}
        region = {"text": "0.8 mm nearer", "pixels": 9, "area_mm2": 2.5, "depth_mm": -0.8}
        regions = [region] if found.verdict == verdict.FAIL else []
        draw = self.draw if told.get("draw") else None
        content = {"threshold": found.threshold, "peak": score, "regions": regions, "explanation": f"score {score:g}"}
        content |= {"statistics": statistics, "milliseconds": 1.0}
        return Judged(found.verdict, found.p_value, score, content, draw)

    def fingerprint(self, files):
        return hashlib.sha256(files.rgb.read_bytes()).hexdigest()

    @staticmethod
    def draw(folder):
        from PIL import Image

        for name in ("part", "depth", "normal"):
            Image.new("RGB", (672, 672), (90, 110, 130)).save(folder / f"{name}.jpg")


class StubInspector:
    def __init__(self, scores):
        self.alpha, self._scores, self.promise = 0.05, scores, ""
        self.threshold = self.pixel_threshold = verdict.threshold(scores, 0.05)


def part(score, **more):
    """The picture file of a part, and its cloud."""
    return json.dumps({"score": score, **more}).encode(), b"II*\0cloud"
