"""Train and evaluate M3DM on every category of a data set, and print the result tables."""

import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.commands import FAILED, FINE, run_command
from common.errors import InputError, show_warnings
from common.progress import note
from common.signals import raise_if_stopping, run_to_the_end
from common.threads import set_threads
from data.names import find_categories
from runs.options import RunOptions, parse_arguments

if TYPE_CHECKING:  # what imports torch is imported only after the options were checked, since that takes seconds
    from m3dm_runner import M3DM
    from runs.record import RunRecord
    from runs.runs import Unit


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    options = parse_arguments(argv)
    show_warnings()
    command = sys.argv[1:] if argv is None else argv

    def networks() -> Any:
        from m3dm_runner import build_extractor

        return build_extractor(options)

    def work(options: RunOptions) -> int:
        if options.seeds:
            from sweeps.seeds import run_seeds  # imported here, since scikit-learn takes a second

            return run_seeds(options)
        return run_once(options, command, cache(networks))

    return run_command("main.py", options, work, "interrupted before any category was begun")


def run_once(options: RunOptions, command: Sequence[str], networks: Callable[[], Any]) -> int:
    """One run; returns the exit code. ``networks`` returns the PatchExtractor, the same at each call.
    Raises InputError: the output folder, the data or the checkpoints cannot be used; found before any work."""
    # a wrong path ends here, before what is slow to import
    names, missing = find_categories(options.dataset_path, options.dataset_type, options.category)

    set_threads(options.threads)  # before torch is loaded
    from runs.before_work import prepare
    from runs.record import RunRecord

    record, interrupted = RunRecord(prepare(options, names, missing, networks), command), False
    if not all(unit.kept for unit in record.units):
        record.content["device"] = str(networks().device)
    record.write()
    try:
        for unit in record.units:
            raise_if_stopping()
            run_category(unit, record, networks)
    except KeyboardInterrupt:
        interrupted = True
    return FINE if record.finish(interrupted) else FAILED


def run_category(unit: "Unit", record: "RunRecord", networks: Callable[[], Any]) -> None:
    """Fit, evaluate and write one category, or keep an earlier run's result; a failure goes into the record."""
    options = record.options
    try:
        if unit.kept:
            record.keep(unit, unit.kept)
            return
        with unit.lock():
            kept = None if options.overwrite else unit.finished()  # another process may have done it meanwhile
            if kept:
                record.keep(unit, kept)
                return
            note(f"{unit.category}: {options.method_name}")
            compute(unit, record, networks)
    except InputError as error:
        record.fail(unit, str(error))
    except OSError as error:
        place = f"{options.output_dir} or {options.spool_dir}"
        record.fail(unit, f"{error.filename or place}: {error.strerror or error}")
    except Exception as error:  # an error in one category must not stop the others
        traceback.print_exc()
        record.fail(unit, f"{type(error).__name__}: {error}")


def compute(unit: "Unit", record: "RunRecord", networks: Callable[[], Any]) -> None:
    """Fit and evaluate a category, and write what the options ask for."""
    from m3dm_runner import M3DM
    from reports import pred_maps
    from runs.results import write_scores
    from scoring import evaluation

    options, name = record.options, unit.category
    runner = M3DM(options, networks())
    fit(unit, record, runner)
    if options.fit_only:
        if f"{name}: model" not in record.failed:  # else nothing is left of the fit, so the category is not finished
            record.finish_category(unit, runner.record(), lambda: None)
        return
    about = {
        "method_name": options.method_name,
        "options": record.content["options"],
        "seed": options.seed,
        "run": record.id,
        "weights": record.content["weights"],
        "training_parts": runner.method.added,
        "training_paths": runner.training_paths,
    }
    runner.evaluate(name, about)
    found, scored = runner.evaluation, runner.scored
    assert found is not None and scored is not None
    labels = set(found.label.tolist())
    if len(labels) == 1:
        lacking = "defective" if labels == {0} else "good"
        logging.warning("%s: the test split has no %s part: metrics that need one are undefined", name, lacking)
    record.finish_category(unit, runner.record(), lambda: write_scores(unit.scores, found, scored))
    if "features" in unit.marks:
        unit.marks["features"].set()
    if "pictures" in unit.marks:  # from here on a failure can cost map images and saved maps, but no result
        folder = Path(options.output_dir) / "pred_maps" / name
        record.extra(unit, "pictures", runner.timings, lambda: pred_maps.save_pictures(folder, found, scored))
    if "maps" in unit.marks:
        training_maps = options.save_train_maps or options.scoring_reference == "train"
        path = Path(str(options.save_maps)) / f"{name}{evaluation.SUFFIX}"
        record.extra(unit, "maps", runner.timings, lambda: evaluation.write(found, path, training_maps))
    record.write()


def fit(unit: "Unit", record: "RunRecord", runner: "M3DM") -> None:
    """Fit the category; write the model if asked for."""
    name = unit.category
    if unit.calibration is None:
        runner.fit(name)
        return
    runner.read_parts(name, unit.calibration)
    runner.fit(name)
    weights, about = record.content["weights"], {"run": unit.name}
    record.extra(unit, "model", runner.timings, lambda: runner.save(unit.model, name, weights, about))


if __name__ == "__main__":
    run_to_the_end(main)
