"""The outputs that a run writes beside its scores (pictures, features, maps, models), and whether they are there.

A hidden file beside each names the unit, see ``runs.runs.Unit``, that the output belongs to: a folder's pictures are
those of the last run that drew them.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from common.files import atomic_write_text
from data.calibration_parts import CalibrationFiles
from inspection.model_file import SUFFIX
from runs.options import RunOptions, model_scorings


class Mark(NamedTuple):
    """The hidden file of one output: its ``path``, the ``text`` that names the unit, and the output itself where it is
    a single ``file``."""

    path: Path
    text: str
    file: Path | None = None

    def is_set(self) -> bool:
        """Whether the output is there and belongs to the unit."""
        try:
            return self.path.read_text(encoding="utf-8").strip() == self.text and (not self.file or self.file.is_file())
        except OSError:
            return False

    def set(self) -> None:
        """Note that the output belongs to the unit."""
        atomic_write_text(self.path, self.text + "\n")


def marks(
    options: RunOptions, category: str, unit: str, calibration: CalibrationFiles | None = None
) -> dict[str, Mark]:
    """{output: Mark} of the outputs that the options ask for: pictures, features, maps, model.

    Args:
        unit: name of the category's unit.
        calibration: the files that calibrate its model, if one is asked for.
    """
    hidden = f".{category}.unit"
    found = {}
    if options.save_preds:
        found["pictures"] = Mark(Path(options.output_dir) / "pred_maps" / hidden, unit)
    if options.save_feature:
        found["features"] = Mark(Path(options.save_feature_path) / hidden, unit)
    if options.save_maps:
        name = f".{category}.train.unit" if options.save_train_maps else hidden
        found["maps"] = Mark(Path(options.save_maps) / name, unit)
    if options.save_model and calibration:
        path = model_path(options, category)
        text = f"{unit} {calibrated_with(options, calibration)}"
        found["model"] = Mark(path.with_name(f".{category}.model.unit"), text, path)
    return found


def model_path(options: RunOptions, category: str) -> Path:
    """Path of the category's saved model."""
    return Path(str(options.save_model)) / f"{category}{SUFFIX}"


def calibrated_with(options: RunOptions, calibration: CalibrationFiles) -> str:
    """A hash of everything that a model's calibration depends on: precision, source, scorings, and names, sizes and
    times of the files."""
    facts: list[object] = [options.model_precision, calibration.source, model_scorings(options)]
    for part in calibration.parts:
        for path in filter(None, (part.rgb, part.xyz)):
            stat = Path(path).stat()
            facts.append([part.name, stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()[:8]
