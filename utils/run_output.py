"""What a run keeps up to date in its output folder while it goes on: its scores, tables and record."""

from pathlib import Path

from utils import results, runs
from utils.files import atomic_write_text


class RunOutput:
    """The tables and records of one run.

    Args:
        folder: the output folder.
        run: the run's id, see ``utils.runs.run_id``.
        units: [Unit] of the run; with the id they tell its table from those of other runs.
        method_name: shown in the tables.
        started: text, date and time of the run's beginning.
        options: {name: value} that differ from the defaults.
        note: text behind every table.
        again: append a new table even if an earlier run has left one (--overwrite).
    """

    def __init__(self, folder, run, units, method_name, started, options, note="", again=False):
        self.folder, self.run, self.method_name, self.note, self._again = Path(folder), run, method_name, note, again
        self.block = f"{run}-{runs.data_id([unit.name for unit in units])}"
        self.comment = results.comment_of(self.block, started, options)

    def publish(self, category, unit, metrics):
        """Bring the category's scores at the top of the folder up to date with its unit's file, and print its
        {scoring: Metrics}.

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
        """Bring the three tables up to date with {category: {scoring: Metrics}}; other processes wait meanwhile.

        Raises:
            OSError: a file cannot be written.
        """
        with runs.tables_lock(self.folder):
            results.update_tables(
                self.folder, self.method_name, metrics, self.block, self.comment, self.note, self._again
            )
        self._again = False  # from here on the table is there

    def tables(self, metrics):
        """The three tables as they stand in the files, as one text."""
        return results.all_tables(self.method_name, metrics, self.comment, self.note)

    def write_record(self, record, finished):
        """Write the record under the run's id, joined with what earlier runs of the same id have finished, and at
        the top.

        The record of another run at the top is replaced by that of a ``finished`` run only.

        Raises:
            OSError: a file cannot be written.
        """
        with runs.tables_lock(self.folder):
            own = self.folder / runs.FOLDER / self.run
            before = results.read_run(own).get("categories", {})
            results.write_run(own, {**record, "categories": {**before, **record["categories"]}})
            if finished or results.read_run(self.folder).get("id", self.run) == self.run:
                results.write_run(self.folder, record)
