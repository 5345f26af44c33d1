"""The recipes: which model versions there are, which one judges, and how the next one takes over.

The folder holds ``RECIPE.m3dm`` and further versions ``RECIPE@ANYTHING.m3dm``, known by the SHA-256 of their files.
Which one judges is in the journal: the newest promotion.
"""

import threading
from pathlib import Path
from typing import NamedTuple

from common.errors import InputError
from common.files import sha256_of
from inspection.model_file import SUFFIX
from station import sampling


class Version(NamedTuple):
    """A model's file."""

    recipe: str
    sha256: str
    path: Path


class Recipes:
    """All recipes of a folder, each with the version that judges loaded by ``loader(path, recipe, sha256)``."""

    def __init__(self, folder, journal, loader):
        self.folder, self._journal, self._loader = Path(folder), journal, loader
        self._active, self._lock, self._hashes = {}, threading.Lock(), {}
        if not self.versions():
            raise InputError(f"{folder}: is no folder with models (*{SUFFIX}); main.py --save_model writes them")

    def versions(self, recipe=None):
        """[Version] of the files that are there now, of all recipes or of one."""
        found = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            name = path.name.removesuffix(SUFFIX).partition("@")[0]
            if recipe in (None, name):
                facts = path, path.stat().st_size, path.stat().st_mtime_ns
                if facts not in self._hashes:
                    self._hashes[facts] = sha256_of(path)
                found.append(Version(name, self._hashes[facts], path))
        return found

    @property
    def names(self):
        """Names of the loaded recipes."""
        return sorted(self._active)

    def load_all(self):
        """Load the version of each recipe that the journal names, or ``RECIPE.m3dm`` where it names none."""
        for recipe in sorted({version.recipe for version in self.versions()}):
            there, last = self.versions(recipe), self._journal.last("promotion", recipe)
            named = [version for version in there if last and version.sha256 == last.model]
            plain = [version for version in there if version.path.name == f"{recipe}{SUFFIX}"]
            version = [*named, *plain, *there][0]
            model = self._load(version)
            if not named:
                why = "the version used before is not there any more" if last else "first start"
                self._record(version, "the station's start", why, last and last.model)
            self._active[recipe] = model

    def get(self, name=None):
        """The Model that judges; refuses where there is no such recipe, or several and no name is given."""
        if name is None and len(self._active) == 1:
            return next(iter(self._active.values()))
        if name not in self._active:
            what = "name the model" if name is None else f"there is no model {name!r}"
            raise InputError(f"{what}; there are: {', '.join(self.names) or 'none yet'}")
        return self._active[name]

    def _version(self, recipe, sha256):
        version = next((v for v in self.versions(recipe) if v.sha256 == sha256), None)
        if version is None:
            raise InputError(f"{recipe}: no file of this version is there any more; put it back to use it")
        return version

    def _load(self, version):
        """The Model of a version, with its newest calibration."""
        model = self._loader(version.path, version.recipe, version.sha256)
        last = self._journal.last("calibration", version.recipe, version.sha256)
        if last is None or not last.content["scores"]:
            return model
        return model.calibrated_with(last.content["scores"], last.content["peaks"], last.number)

    def _record(self, version, by, note, before):
        content = {"file": version.path.name, "by": by, "note": note, "before": before}
        self._journal.append("promotion", content, recipe=version.recipe, model=version.sha256)

    def promote(self, recipe, sha256, by, note=""):
        """Let another version judge from now on, if it was compared with the one that judges, which finishes the part
        at hand."""
        with self._lock:
            version, old = self._version(recipe, sha256), self._active[recipe]
            if old.sha256 == sha256:
                raise InputError(f"{recipe}: this version judges already")
            if not any(self._journal.last(kind, recipe, sha256) for kind in ("comparison", "promotion")):
                raise InputError(f"{recipe}: compare this version with the one that judges before you promote it")
            model = self._load(version)
            self._record(version, by, note, old.sha256)
            self._active[recipe] = model

    def roll_back(self, recipe, by):
        """Let the version judge that did so before."""
        last = self._journal.last("promotion", recipe)
        if last is None or not last.content["before"]:
            raise InputError(f"{recipe}: no other version has judged before this one")
        self.promote(recipe, last.content["before"], by, "roll back")

    def _rescored(self, model):
        """{number: (score, peak)} of drawn parts that ``model`` has scored anew from their kept scans."""
        last = self._journal.last("calibration", model.recipe, model.sha256)
        return {int(number): tuple(of) for number, of in last.content["rescored"].items()} if last else {}

    def preview(self, recipe):
        """The Calibration that a recalibration of the judging version would take."""
        model = self._active[recipe]
        return sampling.chosen(self._journal.sampled(recipe), model, self._rescored(model))

    def recalibrate(self, recipe, by):
        """Calibrate the judging version with all drawn parts that may; refuses where they are too few for the promised
        rate. Returns the Calibration."""
        with self._lock:
            model, found = self._active[recipe], self.preview(recipe)
            self._active[recipe] = self._calibrated(model, found, self._rescored(model), by)
        return found

    def _calibrated(self, model, found, rescored, by):
        trial = model.calibrated_with(found.scores, found.peaks, 0)  # refused before anything is written
        content = {**found._asdict(), "rescored": rescored, "by": by, "promise": trial.promise}
        event = self._journal.append("calibration", content, recipe=model.recipe, model=model.sha256)
        return model.calibrated_with(found.scores, found.peaks, event.number)

    def compare(self, recipe, sha256, by, files_of):
        """Prepare a version for promotion: score the calibrating scans anew, and judge the comparing ones with both;
        returns the journal's event. ``files_of``: function of a part's number that gives its kept files {kind: path};
        what it raises ends the comparison."""
        old, new = self._active[recipe], self._load(self._version(recipe, sha256))
        parts, rescored = self._journal.sampled(recipe), {}
        known = sampling.reviewed(parts)
        kept = lambda parts: ((part, files) for part in parts if (files := files_of(part.number)))
        for part, files in kept(sampling.calibrating(known, new)):
            judged = new.judge(files)
            if judged.score is not None:
                rescored[part.number] = judged.score, judged.content["peak"]
        found = sampling.chosen(parts, new, rescored)
        if found.numbers:
            new = self._calibrated(new, found, rescored, by)
        files = kept(sampling.serving(known, "comparison", (old, new)))
        judged = [(part, old.judge(paths).verdict, new.judge(paths).verdict) for part, paths in files]
        content = {**sampling.compared(judged), "by": by, "against": old.sha256, "promise": new.promise}
        return self._journal.append("comparison", content, recipe=recipe, model=sha256)
