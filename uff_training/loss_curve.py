"""The loss curve of a training, as CSV and PNG."""

import csv
import math
import os
import time
from pathlib import Path
from typing import NamedTuple

from common.files import atomic_path, atomic_write_text


class Point(NamedTuple):
    """One optimiser step: epoch, number from 0, learning rate, mean loss, matching accuracy, pairs per batch."""

    epoch: int
    step: int
    lr: float
    loss: float
    accuracy: float
    pairs: float


class LossCurve:
    """Writes ``uff_loss.csv`` and ``uff_loss.png`` in ``folder``.

    Args:
        steps: number of steps done; later steps in the CSV file, left by a killed run, are dropped.
    """

    def __init__(self, folder: str | Path, steps: int = 0):
        self.csv, self.png = Path(folder) / "uff_loss.csv", Path(folder) / "uff_loss.png"
        self.points = [point for point in read_curve(self.csv) if point.step < steps] if steps else []
        lines = [",".join(Point._fields), *(",".join(map(repr, point)) for point in self.points)]
        atomic_write_text(self.csv, "\n".join(lines) + "\n")
        self._file = open(self.csv, "a", encoding="utf-8")
        self._drawn = -math.inf

    def add(self, point: Point) -> None:
        """Append one step; it is written to the file at once."""
        self.points.append(point)
        self._file.write(",".join(map(repr, point)) + "\n")
        self._file.flush()

    def draw(self, seconds: float = 0) -> None:
        """Sync the CSV file to disk; plot all steps so far, unless the last plot is less than ``seconds`` old."""
        from matplotlib.figure import Figure

        os.fsync(self._file.fileno())
        if self._drawn + seconds > time.monotonic():
            return
        self._drawn = time.monotonic()
        figure = Figure(figsize=(7, 5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        steps = [point.step + 1 for point in self.points]
        style = {"marker": "."} if len(steps) < 40 else {}
        upper.plot(steps, [point.loss for point in self.points], **style)
        lower.plot(steps, [100 * point.accuracy for point in self.points], **style)
        upper.set(title="UFF training", ylabel="loss")
        lower.set(xlabel="optimiser step", ylabel="pairs matched, %", ylim=(0, None))
        with atomic_path(self.png) as temporary:
            figure.savefig(temporary, format="png", dpi=120)

    def close(self) -> None:
        """Plot all steps, and close the files."""
        if self.points:
            self.draw()
        self._file.close()


def read_curve(path: str | Path) -> list[Point]:
    """[Point] of a CSV file, without a last line that was cut off; [] if there is no file."""
    if not Path(path).is_file():
        return []
    points = []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                points.append(Point(*(kind(row[name]) for name, kind in Point.__annotations__.items())))
            except (TypeError, ValueError, KeyError):
                break
    return points
