"""Train and evaluate M3DM on every category of a data set, and print the result tables."""

import logging
import sys
import time
import traceback
from functools import partial
from pathlib import Path

from common.commands import FAILED, FINE, run_command
from common.errors import InputError, show_warnings
from common.files import check_writable, remove_leftovers
from common.progress import note
from common.signals import raise_if_stopping, run_to_the_end
from runs.options import (
    changed_options,
    deciding_options,
    extractor_options,
    parse_arguments,
    parts_used,
    recorded_options,
    too_few_parts,
    two_parts_for,
)
from runs.run_extras import RunExtras
from runs.seeds import run_seeds

INTERRUPTED = "(interrupted)"  # key in ``failed`` that stands for all categories that were not run


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    args = parse_arguments(argv)
    show_warnings()
    command = sys.argv[1:] if argv is None else argv

    def work(args):
        return run_seeds(args, partial(run_once, command=command)) if args.seeds else run_once(args, command)[0]

    return run_command("main.py", args, work, "interrupted before any category was begun")


def run_once(args, command, extractor=None):
    """One run; returns (exit code, the Run)."""
    run = Run(args, command, extractor)
    try:
        for category in run.categories:
            raise_if_stopping()
            run.one(category)
    except KeyboardInterrupt:
        run.interrupt()
    return run.finish(), run


class Run:
    """One call of the command line: it runs the categories, keeps finished ones of earlier calls, and notes failures.

    Args:
        args, command: the parsed options, and the words of the command line.
        extractor: PatchExtractor of an earlier run with the same networks, or None.

    Attributes:
        metrics: {category: {scoring: Metrics}} of the finished categories.
        failed: {category or output that failed: reason}.
        interrupted: whether the user stopped the run.

    Raises:
        InputError: the output folder, the data or the checkpoints cannot be used; found before any work.
    """

    def __init__(self, args, command, extractor=None):
        # imported here and below, only after the options were checked, since importing torch takes seconds
        from models.weights import used_weights
        from runs import results, run_output, runs

        self.args, self.extractor, self._results, self._runs = args, extractor, results, runs
        self.metrics, self.failed, self.started, self.interrupted = {}, {}, time.time(), False
        for folder in (
            args.output_dir,
            args.spool_dir,
            args.save_maps,
            args.save_model,
            args.save_feature and args.save_feature_path,
        ):
            if folder:
                check_writable(folder)
                remove_leftovers(folder)
        self._calibration, self._extras = {}, RunExtras(args)
        self.categories, data = self._find_categories()
        weights = used_weights(extractor_options(args), self._build)
        options = recorded_options(args)
        self.id = runs.run_id(deciding_options(options), weights)
        self._units = {name: runs.Unit(args.output_dir, self.id, name, data[name]) for name in self.categories}
        records = {name: None if args.overwrite else self._finished(name) for name in self.categories}
        self._kept = {name: record for name, record in records.items() if record}
        self._leave_out_busy()
        untrained = results.untrained_note([file.path for file in weights if file.standin])
        self._output = run_output.RunOutput(
            args.output_dir,
            self.id,
            list(self._units.values()),
            args.method_name,
            time.strftime("%Y-%m-%d %H:%M:%S"),
            {"seed": args.seed, **changed_options(options)},
            untrained,
            args.overwrite,
        )
        self.record = {
            "id": self.id,
            "command": list(command),
            "options": options,
            "versions": results.environment(),
            "seed": args.seed,
            "weights": [file._asdict() for file in weights],
            "categories": {},
            "failed": self.failed,
        }
        if len(self._kept) < len(self.categories):
            self.record["device"] = str(self._build().device)
        if untrained:
            print(untrained, flush=True)
        self._write()

    # ------------------------------------------------------------ before any work

    def _find_categories(self):
        """(categories to run, {category: id of its data}); categories with unusable files go into ``failed``."""
        from data.calibration_parts import calibration_files
        from dataset import TestDataset, TrainDataset, find_categories
        from runs.before_work import settle_readings

        args, data = self.args, {}
        names, missing = find_categories(args.dataset_path, args.dataset_type, args.category)
        self.failed.update(missing)
        readings, faulty = settle_readings(args, names)
        self.failed.update(faulty)
        args.readings = readings
        for name, reading in readings.items():
            try:
                parts = [
                    TrainDataset(
                        name,
                        args.img_size,
                        args.dataset_path,
                        shots=args.shots,
                        seed=args.seed,
                        held_out_share=args.held_out,
                    )
                ]
                if not args.fit_only:
                    parts.append(TestDataset(name, args.img_size, args.dataset_path))
                if parts_used(args, len(parts[0])) < 2 and two_parts_for(args):
                    raise InputError(
                        f"{Path(args.dataset_path) / name / 'train'}: {too_few_parts(two_parts_for(args))}"
                        "; give at least two"
                    )
                files = [path for split in parts for files in split.files for path in files]
                if args.save_model:
                    self._calibration[name] = calibration_files(
                        args.dataset_path,
                        name,
                        args.calibration,
                        args.calibration_dir,
                        parts[0].held_out_files,
                        bool(args.min_points),
                    )
                data[name] = self._runs.data_id(
                    [self._runs.file_facts(files, args.dataset_path), reading._replace(examined=False)]
                )
            except InputError as error:
                self.failed[name] = str(error)
        if not data:
            first, *rest = self.failed.values()
            raise InputError(first + (f" (and {len(rest)} more categories without usable files)" if rest else ""))
        for name, reason in self.failed.items():
            print(f"main.py: {name} is left out: {reason}", file=sys.stderr)
        return list(data), data

    def _build(self):
        """The run's PatchExtractor, built at the first call."""
        from m3dm_runner import build_extractor

        if self.extractor is None:
            self.extractor = build_extractor(self.args)
        return self.extractor

    def _finished(self, category):
        """The record of a category if an earlier run finished it with every output asked for now; else None."""
        record = self._units[category].finished()
        if record is None:
            return None
        lacking = self._extras.lacking(category, self._units[category].name, self._calibration.get(category))
        if lacking:
            note(f"{category}: is finished, but its {' and '.join(lacking)} are not there: it is computed again")
            return None
        return record

    def _leave_out_busy(self):
        """Put categories that another process is computing into ``failed``; raise InputError if no other is left."""
        for name in [name for name in self.categories if name not in self._kept]:
            try:
                self._units[name].refuse_if_busy()
            except self._runs.Busy as error:
                self.failed[name] = str(error)
                self.categories.remove(name)
                if not self.categories:
                    raise
                print(f"main.py: {name} is left out: {error}", file=sys.stderr)

    # ------------------------------------------------------------ one category

    def one(self, category):
        """Fit, evaluate and write one category, or keep an earlier run's result.

        A failure goes into ``failed``; it does not stop the run.
        """
        unit = self._units[category]
        try:
            if category in self._kept:
                self._keep(category, self._kept[category])
                return
            with unit.lock():
                record = (
                    None if self.args.overwrite else self._finished(category)
                )  # another process may have done it meanwhile
                if record:
                    self._keep(category, record)
                    return
                note(f"{category}: {self.args.method_name}")
                self._compute(category, unit)
        except InputError as error:
            self._fail(category, str(error))
        except OSError as error:
            self._fail(
                category,
                f"{error.filename or f'{self.args.output_dir} or {self.args.spool_dir}'}: {error.strerror or error}",
            )
        except Exception as error:  # an error in one category must not stop the others
            traceback.print_exc()
            self._fail(category, f"{type(error).__name__}: {error}")

    def _compute(self, category, unit):
        from m3dm_runner import M3DM

        args = self.args
        runner = M3DM(args, self._build())
        self._fit(category, unit, runner)
        if args.fit_only:
            if f"{category}: model" in self.failed:
                return  # nothing is left of the fit, so the category is not finished
            self.metrics[category], entry = {}, runner.record()
            self.record["categories"][category] = entry
            unit.finish(entry)
            self._publish(category, unit)
            return
        runner.evaluate(
            category,
            {
                "method_name": args.method_name,
                "options": self.record["options"],
                "seed": args.seed,
                "run": self.id,
                "weights": self.record["weights"],
                "training_parts": runner.method.added,
                "training_paths": runner.training_paths,
            },
        )
        self.metrics[category] = runner.metrics  # set first, so the tables have it even if writing fails
        entry = runner.record()
        self.record["categories"][category] = entry
        self._warn_of_one_class(runner.evaluation)
        self._results.write_scores(unit.scores, runner.evaluation, runner.scored)
        unit.finish(entry)
        self._publish(category, unit)
        if args.save_feature:
            self._extras.mark("features", category, unit.name)
        if args.save_preds:  # from here on a failure can cost map images and saved maps, but no result
            from reports.pred_maps import save_pictures

            folder = Path(args.output_dir) / "pred_maps"
            self._extra(
                category, "pictures", runner, lambda: save_pictures(folder / category, runner.evaluation, runner.scored)
            )
        if args.save_maps:
            from scoring.evaluation import SUFFIX, write

            training_maps = args.save_train_maps or args.scoring_reference == "train"
            self._extra(
                category,
                "maps",
                runner,
                lambda: write(runner.evaluation, Path(args.save_maps) / f"{category}{SUFFIX}", training_maps),
            )
        self._write()

    def _fit(self, category, unit, runner):
        """Fit the category, or restore the fit from a model that a killed run left; write the model if asked for."""
        if not self.args.save_model:
            runner.fit(category)
            return
        path, calibration = self._extras.model_path(category), self._calibration[category]
        about = {"run": unit.name, "calibrated_with": self._extras.calibrated_with(calibration)}
        if not self.args.overwrite and path.is_file() and runner.restore(path, about):
            note(f"{category}: {path} holds the fit of an earlier run")
        else:
            runner.read_parts(category, calibration)
            runner.fit(category)
            self._extra(category, "model", runner, lambda: runner.save(path, category, self.record["weights"], about))
            return
        self._extras.mark("model", category, unit.name, calibration)

    @staticmethod
    def _warn_of_one_class(evaluation):
        labels = set(evaluation.label.tolist())
        if len(labels) == 1:
            logging.warning(
                "%s: the test split has no %s part: metrics that need one are undefined",
                evaluation.category,
                "defective" if labels == {0} else "good",
            )

    def _keep(self, category, record):
        note(f"{category}: kept, finished {record.get('finished', 'earlier')}")
        self.metrics[category] = self._results.metrics_of(record)
        self.record["categories"][category] = {**record, "kept": True}
        self._publish(category, self._units[category])

    def _publish(self, category, unit):
        """Print the category's metrics, and update its scores, the tables and the record in the output folder."""
        if self.args.fit_only:
            print(f"{category}: {self._extras.model_path(category)}", flush=True)
        else:
            self._output.publish(category, unit, self.metrics[category])
            self._update_tables()
        self._write()

    def _extra(self, category, what, runner, write):
        """Write an additional output, such as maps; the category stays finished if that fails."""
        problem, seconds = self._extras.write(
            category, what, self._units[category].name, write, self._calibration.get(category)
        )
        if problem:
            self.failed[f"{category}: {what}"] = problem
        runner.timings["saved maps" if what == "maps" else what] = seconds

    def _fail(self, category, reason):
        self.failed[category] = reason
        print(f"main.py: {category} failed: {reason}", file=sys.stderr)
        self._write()

    # ------------------------------------------------------------ tables and records

    def _finished_metrics(self):
        return {name: self.metrics[name] for name in self.categories if self.metrics.get(name)}

    def _update_tables(self):
        """Update the tables with the categories finished so far."""
        self.failed.pop("tables", None)
        try:
            self._output.update_tables(self._finished_metrics())
        except OSError as error:
            self.failed["tables"] = f"{error.filename or self.args.output_dir}: {error.strerror or error}"

    def _write(self):
        """Write the record, see ``RunOutput.write_record``."""
        self.record["seconds"] = time.time() - self.started
        self.record["peak_memory_mib"] = self._results.peak_memory_mib()
        try:
            self._output.write_record(self.record, self._finished_run)
        except OSError as error:  # such as a full disk: the results can still be printed
            self.failed["run.json"] = f"{error.filename or self.args.output_dir}: {error.strerror or error}"

    _finished_run = False  # True once every category was tried

    def interrupt(self):
        """Note that the user stopped the run, and which categories were not finished."""
        self.interrupted = True
        left = [name for name in self.categories if name not in self.metrics and name not in self.failed]
        self.failed[INTERRUPTED] = "stopped by the user; the finished categories are kept" + (
            f"; not finished: {', '.join(left)}; the same command goes on with them" if left else ""
        )

    def finish(self):
        """Print the tables and list the failures; returns the exit code."""
        self._finished_run = not self.interrupted
        metrics = self._finished_metrics()
        if metrics:
            self._update_tables()
            print("\n" + self._output.tables(metrics), flush=True)
        if len(self._kept) == len(self.categories) and not self.failed:
            there = f"the models in {self.args.save_model} are" if self.args.fit_only else "its tables are"
            note(f"complete already: nothing was computed, {there} there; --overwrite computes it anew")
        self._write()
        for category, reason in self.failed.items():
            print(reason if category == INTERRUPTED else f"not finished: {category}: {reason}", file=sys.stderr)
        return FAILED if self.failed else FINE


if __name__ == "__main__":
    run_to_the_end(main)
