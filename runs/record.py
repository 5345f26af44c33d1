"""The record of a run while it works: metrics, failures, and the tables, scores and run.json in its output folder."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import atomic_write_text
from common.machine import environment, peak_memory_mib
from common.progress import note
from runs import results, runs
from runs.before_work import Prepared
from runs.options import changed_options, recorded_options, short_hash
from runs.runs import Unit
from scoring.metrics import Metrics

INTERRUPTED = "(interrupted)"  # key in ``failed`` that stands for all categories that were not run


class RunRecord:
    """What a run has achieved so far; ``command``: words of the command line. Every call that changes it also updates
    the files in the output folder.

    Attributes:
        content: what run.json holds.
        failed: {category or output that failed: reason}.
    """

    def __init__(self, prepared: Prepared, command: Sequence[str]):
        self.options, self.id, self.units = prepared.options, prepared.id, prepared.units
        self.folder, self.failed = Path(self.options.output_dir), prepared.failed
        self._ended, self._began = False, time.time()
        options = recorded_options(self.options)
        block = f"{self.id}-{short_hash([unit.name for unit in self.units], 8)}"
        changed = {"seed": self.options.seed, **changed_options(options)}
        untrained = results.untrained_note([file.path for file in prepared.weights if file.standin])
        comment = results.comment_of(block, time.strftime("%Y-%m-%d %H:%M:%S"), changed)
        self._tables = results.Tables(self.options.method_name, block, comment, untrained)
        self.content: dict[str, Any] = {
            "id": self.id,
            "command": list(command),
            "options": options,
            "versions": environment(),
            "seed": self.options.seed,
            "weights": [file._asdict() for file in prepared.weights],
            "categories": {},
            "failed": self.failed,
        }
        if untrained:
            print(untrained, flush=True)

    # ------------------------------------------------------------ one category

    def keep(self, unit: Unit, record: dict[str, Any]) -> None:
        """Take over the record of an earlier run that finished the category."""
        note(f"{unit.category}: kept, finished {record.get('finished', 'earlier')}")
        self.content["categories"][unit.category] = {**record, "kept": True}
        self._publish(unit)

    def finish_category(self, unit: Unit, entry: dict[str, Any], write_scores: Callable[[], None]) -> None:
        """Write the scores and the record ``entry`` of a category that was computed; from now on it is finished."""
        self.content["categories"][unit.category] = entry  # first, so the tables have it even if writing fails
        write_scores()
        unit.finish(entry)
        self._publish(unit)

    def extra(self, unit: Unit, output: str, seconds: dict[str, float], write: Callable[[], None]) -> None:
        """Write another output, such as maps, and add the time that takes to ``seconds``. The category stays finished
        if that fails."""
        start, mark = time.perf_counter(), unit.marks[output]
        try:
            write()
            mark.set()
        except (OSError, InputError) as error:
            reason = reason_of(error, mark.path.parent)
            if output != "model":
                reason += "; its scores and metrics are complete"
            print(f"main.py: {unit.category}: {output} could not be written: {reason}", file=sys.stderr)
            self.failed[f"{unit.category}: {output}"] = reason
        seconds["saved maps" if output == "maps" else output] = time.perf_counter() - start

    def fail(self, unit: Unit, reason: str) -> None:
        """Note and print that the category failed."""
        self.failed[unit.category] = reason
        print(f"main.py: {unit.category} failed: {reason}", file=sys.stderr)
        self.write()

    # ------------------------------------------------------------ the run

    def finish(self, interrupted: bool) -> bool:
        """Print the tables and list the failures; returns whether all went well. ``interrupted``: by the user."""
        if interrupted:
            names = [unit.category for unit in self.units]
            left = [name for name in names if name not in {**self.content["categories"], **self.failed}]
            self.failed[INTERRUPTED] = "stopped by the user; the finished categories are kept" + (
                f"; not finished: {', '.join(left)}; the same command goes on with them" if left else ""
            )
        self._ended = not interrupted
        metrics = self._finished_metrics()
        if metrics:
            try:
                with runs.tables_lock(self.folder):  # other processes wait meanwhile
                    self._tables.append(self.folder, metrics, self.options.overwrite)
            except OSError as error:
                self.failed["tables"] = reason_of(error, self.folder)
            print("\n" + self._tables.text(metrics), flush=True)
        if all(unit.kept for unit in self.units) and not self.failed:
            there = f"the models in {self.options.save_model} are" if self.options.fit_only else "its tables are"
            note(f"complete already: nothing was computed, {there} there; --overwrite computes it anew")
        self.write()
        for category, reason in self.failed.items():
            print(reason if category == INTERRUPTED else f"not finished: {category}: {reason}", file=sys.stderr)
        return not self.failed

    def write(self) -> None:
        """Write run.json in the run's folder, with the categories that earlier runs of the same id finished, and at the
        top of the output folder. There the record of another run is replaced only once every category was tried."""
        self.content["seconds"] = time.time() - self._began
        self.content["peak_memory_mib"] = peak_memory_mib()
        try:
            with runs.tables_lock(self.folder):
                own = self.folder / runs.FOLDER / self.id
                before = results.read_run(own).get("categories", {})
                results.write_run(own, {**self.content, "categories": {**before, **self.content["categories"]}})
                if self._ended or results.read_run(self.folder).get("id", self.id) == self.id:
                    results.write_run(self.folder, self.content)
        except OSError as error:  # such as a full disk: the results can still be printed
            self.failed["run.json"] = reason_of(error, self.folder)

    def _publish(self, unit: Unit) -> None:
        """Print the category's metrics, and update its scores and the record in the output folder."""
        if self.options.fit_only:
            print(f"{unit.category}: {unit.model}", flush=True)
        else:
            text = unit.scores.read_text(encoding="utf-8", errors="surrogateescape")
            atomic_write_text(self.folder / f"scores_{unit.category}.csv", text)
            for line in results.metric_lines(self._finished_metrics()[unit.category]):
                print(f"{unit.category}: {line}", flush=True)
        self.write()

    def _finished_metrics(self) -> dict[str, dict[str, Metrics]]:
        entries = {unit.category: self.content["categories"].get(unit.category) for unit in self.units}
        return {name: results.metrics_of(entry) for name, entry in entries.items() if entry and entry["metrics"]}


def reason_of(error: Exception, place: object) -> str:
    """Text of an error: for an OSError the file, or ``place`` where the system names none, and what is wrong."""
    if isinstance(error, OSError):
        return f"{error.filename or place}: {error.strerror or error}"
    return str(error)
