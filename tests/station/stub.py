"""A judge for tests that do not ask what the verdict is: a part's picture file is JSON that says its score.

{"score": 1.5}, and optionally "sleep": seconds, "light": brightness, "draw": whether there are pictures.

tools/station.py with this judge: python -m tests.station.stub WORDS OF THE COMMAND.
"""

import hashlib
import json
import sys
import time
from types import SimpleNamespace

import numpy as np
from PIL import Image

from common.signals import run_to_the_end
from inspection import verdict
from station import judging
from station.judging import Judged, Model
from tools.station import main


class StubModel(Model):
    """Scores as the file says; the calibration parts' scores are given."""

    def __init__(self, recipe, sha256, calibration=tuple(range(19)), offset=0.0):
        self.recipe, self.sha256, self.memory, self.alpha = recipe, sha256, 1000, 0.05
        self.scores = self.own_scores = np.asarray(calibration, float)
        self.peaks = self.own_peaks = self.scores
        self.promise, self.known = "at most 5 % of good parts fail", set()
        self.options = {"false_alarm": self.alpha, "calibration": 0}
        threshold = verdict.threshold(self.scores, self.alpha)
        self.offset, self._inspector = offset, SimpleNamespace(threshold=threshold)

    def judge(self, files):
        content = files["rgb"].read_bytes()
        try:
            told = json.loads(content)
            score = float(told["score"]) + self.offset
        except (ValueError, KeyError, TypeError):
            return self.refused(f"{files['rgb'].name}: cannot be read as picture")
        time.sleep(told.get("sleep", 0))
        found = verdict.decide(self.scores, score, self.alpha)
        statistics = {"score": score, "light": told.get("light", 0.5), "missing points": 0.1}
        region = {"text": "0.8 mm lower than good parts", "pixels": 9, "area_mm2": 2.5}
        regions = [region] if found.verdict == verdict.FAIL else []
        pictures = ("part", "normal", "depth") if told.get("draw") else ()
        content = {"threshold": found.threshold, "peak": score, "regions": regions, "explanation": f"score {score:g}"}
        content |= {"statistics": statistics, "milliseconds": 1.0}
        return Judged(found.verdict, found.p_value, score, content, pictures, self.draw)

    def fingerprint(self, files):
        return hashlib.sha256(files["rgb"].read_bytes()).hexdigest()

    @staticmethod
    def draw(folder):
        for name in ("part", "depth", "normal"):
            Image.new("RGB", (672, 672), (90, 110, 130)).save(folder / f"{name}.jpg")


def load(path, recipe, sha256, *_):
    """The StubModel whose file holds its offset."""
    return StubModel(recipe, sha256, offset=float(path.read_text()))


def part(score, **more):
    """The picture file of a part, and its cloud."""
    return json.dumps({"score": score, **more}).encode(), b"II*\0cloud"


if __name__ == "__main__":
    judging.load = load
    run_to_the_end(lambda: main(sys.argv[1:]))
