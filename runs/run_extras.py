"""Extra outputs of a run (pictures, maps, features, models), and how a run knows which of them exist already."""

import hashlib
import json
import sys
import time
from pathlib import Path

from common.errors import InputError
from inspection.model_file import SUFFIX
from runs.options import model_scorings
from runs.runs import Marker


class RunExtras:
    """The extra outputs that the options ask for. A hidden marker file beside each names the unit that it belongs to.

    Args:
        args: options as ``runs.options.parse_arguments`` returns them.
    """

    def __init__(self, args):
        self._args = args
        self._folders = {
            "pictures": args.save_preds and Path(args.output_dir) / "pred_maps",
            "features": args.save_feature and args.save_feature_path,
            "maps": args.save_maps,
            "model": args.save_model,
        }

    def lacking(self, category, unit, calibration=None):
        """Names of the extra outputs that the options ask for and this unit lacks."""
        names = [
            n
            for n, folder in self._folders.items()
            if folder and not self._marker(n, category).same(self._mark(n, unit, calibration))
        ]
        if self._args.save_model and "model" not in names and not self.model_path(category).is_file():
            names.append("model")
        return names

    def mark(self, what, category, unit, calibration=None):
        """Record that the extra output ``what`` belongs to this unit."""
        self._marker(what, category).set(self._mark(what, unit, calibration))

    def write(self, category, what, unit, write, calibration=None):
        """Call ``write()`` and mark what it wrote; print a failure.

        Returns:
            (why it failed, or ""; seconds).
        """
        start, problem = time.perf_counter(), ""
        try:
            write()
            self.mark(what, category, unit, calibration)
        except (OSError, InputError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"{error.filename or self._folders[what]}: {error.strerror or error}"
            problem = f"{reason}; its scores and metrics are complete" if what != "model" else reason
            print(f"main.py: {category}: {what} could not be written: {problem}", file=sys.stderr)
        return problem, time.perf_counter() - start

    def model_path(self, category):
        """Path of the category's saved model."""
        return Path(self._args.save_model) / f"{category}{SUFFIX}"

    def calibrated_with(self, calibration):
        """A hash of everything that a model's calibration depends on: precision, source, scorings, and names, sizes and
        times of the files."""
        facts = [self._args.model_precision, calibration.source, model_scorings(self._args)]
        for part in calibration.parts:
            for path in filter(None, (part.rgb, part.xyz)):
                stat = Path(path).stat()
                facts.append([part.name, stat.st_size, stat.st_mtime_ns])
        return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()[:8]

    def _mark(self, what, unit, calibration):
        return f"{unit} {self.calibrated_with(calibration)}" if what == "model" else unit

    def _marker(self, what, category):
        training = what == "maps" and self._args.save_train_maps
        name = f"{category}{'.train' if training else '.model' if what == 'model' else ''}"
        return Marker(self._folders[what], name)
