"""The files in the output folder that a run updates while it works: its scores, tables and record."""

from pathlib import Path

from common.files import atomic_write_text
from runs import results, runs


class RunOutput:
    """The tables and records of one run.

    Args:
        folder: the output folder.
        run: the run's id, see ``runs.runs.run_id``.
        units: [Unit] of the run. Their names and the id distinguish its table from those of other runs.
        method_name: shown in the tables.
        started: text with the date and time when the run began.
        options: {name: value} of the options that differ from the defaults.
        note: text after every table.
        again: append a new table even if an earlier run has left one (--overwrite).
    """

    def __init__(self, folder, run, units, method_name, started, options, note="", again=False):
        self.folder, self.run, self.method_name, self.note, self._again = Path(folder), run, method_name, note, again
        self.block = f"{run}-{runs.data_id([unit.name for unit in units])}"
        self.comment = results.comment_of(self.block, started, options)

    def publish(self, category, unit, metrics):
        """Copy the unit's scores to the category's file at the top of the folder, and print ``metrics`` {scoring:
        Metrics}.

        Raises:
            OSError: a file cannot be read or written.
        """
        text = unit.scores.read_text(encoding="utf-8", errors="surrogateescape")
        atomic_write_text(self.folder / f"scores_{category}.csv", text)
        for scoring, (image, pixel, au_pro) in metrics.items():
            shown = [
                f"{title} {'undefined' if value is None else format(value, '.3f')}"
                for title, value in (("image ROCAUC", image), ("pixel ROCAUC", pixel), ("AU-PRO", au_pro))
            ]
            print(f"{category}: {scoring}: {', '.join(shown)}", flush=True)

    def update_tables(self, metrics):
        """Update the three tables with ``metrics`` {category: {scoring: Metrics}}; other processes wait meanwhile.

        Raises:
            OSError: a file cannot be written.
        """
        with runs.tables_lock(self.folder):
            results.update_tables(
                self.folder, self.method_name, metrics, self.block, self.comment, self.note, self._again
            )
        self._again = False  # from now on this run's table exists

    def tables(self, metrics):
        """The three tables as one text, as they are in the files."""
        return results.all_tables(self.method_name, metrics, self.comment, self.note)

    def write_record(self, record, finished):
        """Write the record in the run's folder, with the categories that earlier runs of the same id finished, and at
        the top of the output folder.

        At the top, the record of another run is replaced only if this run is ``finished``.

        Raises:
            OSError: a file cannot be written.
        """
        with runs.tables_lock(self.folder):
            own = self.folder / runs.FOLDER / self.run
            before = results.read_run(own).get("categories", {})
            results.write_run(own, {**record, "categories": {**before, **record["categories"]}})
            if finished or results.read_run(self.folder).get("id", self.run) == self.run:
                results.write_run(self.folder, record)
