"""What main.py finds out before the first network runs: which categories, that their files can be used, what an earlier
run of the same id has finished."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from common.commands import available_cores
from common.errors import InputError
from common.files import check_writable, remove_leftovers
from common.locks import Busy
from common.progress import note
from data.calibration_parts import VALIDATION, CalibrationFiles, calibration_files
from data.examination import examine, lines
from data.findings import Options
from data.organised_clouds import Reading
from data.part_facts import Facts
from data.pictures import read_ignored
from runs.extra_outputs import Mark, marks
from runs.options import (
    RunOptions,
    deciding_options,
    extractor_options,
    parts_used,
    recorded_options,
    too_few_parts,
    two_parts_for,
)
from runs.runs import Unit, data_id, file_facts, run_id


class Category(NamedTuple):
    """A category to run.

    ``unit``: where its results lie; ``marks``: of its other outputs; ``calibration``: the files that calibrate its
    saved model, None without one; ``kept``: the record of an earlier run that finished it, or None.
    """

    name: str
    unit: Unit
    marks: dict[str, Mark]
    calibration: CalibrationFiles | None
    kept: dict[str, Any] | None = None

    def finished(self) -> dict[str, Any] | None:
        """The category's record if it is finished with every output that is asked for; else None."""
        record = self.unit.finished()
        lacking = [output for output, mark in self.marks.items() if not mark.is_set()]
        if record and lacking:
            note(f"{self.name}: is finished, but its {' and '.join(lacking)} are not there: it is computed again")
        return None if lacking else record


class Prepared(NamedTuple):
    """A run before its work: the options with the categories' readings, the run's id, the weight files, the categories,
    and {category left out: reason}."""

    options: RunOptions
    id: str
    weights: list[Any]
    categories: list[Category]
    failed: dict[str, str]


def prepare(options: RunOptions, names: list[str], missing: Mapping[str, str], networks: Callable[[], Any]) -> Prepared:
    """Examine the categories' files, and look up what is finished.

    Args:
        names, missing: what ``data.names.find_categories`` found.
        networks: function that builds the networks; called only if a weight file is missing.

    Raises:
        InputError: the output folders, the data or the checkpoints cannot be used, or no category is left.
    """
    from models.weights import used_weights

    features = options.save_feature_path if options.save_feature else None
    for folder in (options.output_dir, options.spool_dir, options.save_maps, options.save_model, features):
        if folder:
            check_writable(folder)
            remove_leftovers(folder)
    if options.ignore:
        read_ignored(options.ignore)
    readings, usual, faulty = settle_readings(options, names)
    failed = {**missing, **faulty}
    options = replace(options, readings=readings, usual=usual)
    data = {}
    for name in readings:
        try:
            data[name] = _files_of(options, name)
        except InputError as error:
            failed[name] = str(error)
    if not data:
        first, *rest = failed.values()
        raise InputError(first + (f" (and {len(rest)} more categories without usable files)" if rest else ""))
    for name, reason in failed.items():
        print(f"main.py: {name} is left out: {reason}", file=sys.stderr)
    weights = used_weights(extractor_options(options), networks)
    run = run_id(deciding_options(recorded_options(options)), weights)
    categories = []
    for name, (facts, calibration) in data.items():
        unit = Unit(options.output_dir, run, name, facts)
        category = Category(name, unit, marks(options, name, unit.name, calibration), calibration)
        categories.append(category._replace(kept=None if options.overwrite else category.finished()))
    return Prepared(options, run, weights, _without_busy(categories, failed), failed)


def _files_of(options: RunOptions, name: str) -> tuple[str, CalibrationFiles | None]:
    """(the id of a category's data, the files that calibrate its saved model or None)."""
    from dataset import TestDataset, TrainDataset

    place = (name, options.img_size, options.dataset_path)
    train = TrainDataset(*place, shots=options.shots, seed=options.seed, held_out_share=options.held_out)
    splits = [train] if options.fit_only else [train, TestDataset(*place)]
    needed_by = two_parts_for(options)
    if needed_by and parts_used(options, len(train)) < 2:
        raise InputError(
            f"{Path(options.dataset_path) / name / 'train'}: {too_few_parts(needed_by)}; give at least two"
        )
    files = [path for split in splits for part in split.files for path in part]
    calibration = None
    if options.save_model:
        calibration = calibration_files(
            options.dataset_path,
            name,
            options.calibration,
            options.calibration_dir,
            train.held_out_files,
            bool(options.min_points),
        )
    facts = [file_facts(files, options.dataset_path), options.readings[name]._replace(examined=False)]
    return data_id(facts), calibration


def _without_busy(categories: list[Category], failed: dict[str, str]) -> list[Category]:
    """The categories that no other process computes; the others go into ``failed``. Raises Busy if none is left."""
    free = []
    for number, category in enumerate(categories):
        try:
            if not category.kept:
                category.unit.refuse_if_busy()
            free.append(category)
        except Busy as error:
            failed[category.name] = str(error)
            if not free and number == len(categories) - 1:
                raise
            print(f"main.py: {category.name} is left out: {error}", file=sys.stderr)
    return free


def settle_readings(
    options: RunOptions, names: list[str]
) -> tuple[dict[str, Reading], dict[str, Facts], dict[str, str]]:
    """Examine the categories ``names``: ({category: Reading}, {category: what its training parts have in common},
    {category: why it is left out}).

    Every file is read unless ``options.no_check`` is set. The findings are printed, and kept in ``examination.json`` of
    the output folder, so that an unchanged data set is not read again.
    """
    fixes = options.fixes
    if options.no_check:
        return {name: Reading(unit=options.unit or "m", zero_points=fixes.zero_points) for name in names}, {}, {}
    asked = Options(options.img_size, options.min_points, options.unit, fixes.zero_points)
    cache = Path(options.output_dir) / "examination.json"
    found = examine(
        options.dataset_path,
        names,
        splits=_splits(options),
        options=asked,
        workers=available_cores(),
        cache_path=cache,
        calibration_dir=options.calibration_dir if options.save_model else None,
    )
    for text in lines(found.warnings):
        logging.warning("%s", text)
    print("".join(f"note: {text}\n" for text in lines(found.notes, shown=1)), end="", flush=True)
    if len(found.faulty) < len(found.categories) or sum(group.count for group in found.faults) > 1:
        for text in lines(found.faults):
            print(f"main.py: {text}", file=sys.stderr)
    usual = {category.name: category.usual for category in found.categories}
    readings = {name: reading for name, reading in found.readings.items() if name not in found.faulty}
    return readings, usual, dict(found.faulty)


def _splits(options: RunOptions) -> tuple[str, ...]:
    """The splits that the run reads: the validation parts where they calibrate a model."""
    calibrating = options.save_model and options.calibration_dir is None and options.calibration in (None, VALIDATION)
    return ("train", *(() if options.fit_only else ("test",)), *(("validation",) if calibrating else ()))
