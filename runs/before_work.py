"""What main.py finds out before the first network runs: whether files can be used, what is finished already."""

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
from data.calibration_parts import VALIDATION, CalibrationFiles, calibration_files
from data.examination import examine
from data.findings import Options
from data.organised_clouds import Reading
from data.part_facts import Facts
from data.pictures import read_ignored
from runs.options import (
    RunOptions,
    deciding_options,
    extractor_options,
    parts_used,
    recorded_options,
    run_id,
    short_hash,
    too_few_parts,
    two_parts_for,
)
from runs.runs import Unit, file_facts

SHOWN = 3  # findings of a kind that are printed


class Prepared(NamedTuple):
    """A run before its work: the options with the categories' readings, the run's id, the weight files, a Unit per
    category, and {category left out: reason}."""

    options: RunOptions
    id: str
    weights: list[Any]
    units: list[Unit]
    failed: dict[str, str]


def prepare(options: RunOptions, names: list[str], missing: Mapping[str, str], networks: Callable[[], Any]) -> Prepared:
    """Examine the categories' files, and look up what is finished. ``names``, ``missing``: what
    ``data.names.find_categories`` found; ``networks`` builds the networks, and is called if a weight file is missing.
    Raises InputError: the output folders, the data or the checkpoints cannot be used, or no category is left."""
    from models.weights import used_weights

    features = options.save_feature_path if options.save_feature else None
    for folder in filter(
        None, (options.output_dir, options.spool_dir, options.save_maps, options.save_model, features)
    ):
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
        (_, first), *rest = failed.items()
        for name, reason in rest:
            if name not in missing:
                _leave_out(name, reason)
        raise InputError(first + (f" (and {len(rest)} more categories without usable files)" if rest else ""))
    for name, reason in failed.items():
        _leave_out(name, reason)
    weights = used_weights(extractor_options(options), networks)
    run = run_id(deciding_options(recorded_options(options)), weights)
    units = []
    for name, (facts, calibration) in data.items():
        unit = Unit(options, run, name, facts, calibration)
        unit.kept = None if options.overwrite else unit.finished()
        try:
            if not unit.kept:
                unit.refuse_if_busy()
            units.append(unit)
        except Busy as error:
            if not units and name == list(data)[-1]:  # so no category is left
                raise
            failed[name] = str(error)
            _leave_out(name, error)
    return Prepared(options, run, weights, units, failed)


def _leave_out(name: str, reason: object) -> None:
    print(f"main.py: {name} is left out: {reason}", file=sys.stderr)


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
    facts = [file_facts(files, options.dataset_path), options.readings[name]._replace(examined=False)]
    data = short_hash(facts, 8)
    if not options.save_model:
        return data, None
    choice, clouds = (options.calibration, options.calibration_dir), bool(options.min_points)
    return data, calibration_files(options.dataset_path, name, *choice, train.held_out_files, clouds)


def settle_readings(
    options: RunOptions, names: list[str]
) -> tuple[dict[str, Reading], dict[str, Facts], dict[str, str]]:
    """Examine the categories ``names``, unless ``options.no_check`` is set, and print what is found: ({category:
    Reading}, {category: what its training parts have in common}, {category: why it is left out})."""
    fixes = options.fixes
    if options.no_check:
        return {name: Reading(unit=options.unit or "m", zero_points=fixes.zero_points) for name in names}, {}, {}
    calibrating = options.save_model and options.calibration_dir is None and options.calibration in (None, VALIDATION)
    found = examine(
        options.dataset_path,
        names,
        splits=("train", *(() if options.fit_only else ("test",)), *(("validation",) if calibrating else ())),
        options=Options(options.img_size, options.min_points, options.unit, fixes.zero_points),
        workers=available_cores(),
        calibration_dir=options.calibration_dir if options.save_model else None,
    )
    readings, usual, faulty = {}, {}, {}
    for category in found:
        for text in category.texts("warning", SHOWN):
            logging.warning("%s", text)
        print("".join(f"note: {text}\n" for text in category.texts("note", 1)), end="", flush=True)
        if faults := category.texts("fault"):
            faulty[category.name] = faults[0] + (f" (and {len(faults) - 1} more faults)" if faults[1:] else "")
            for text in category.texts("fault", SHOWN) if faults[1:] else ():
                print(f"main.py: {text}", file=sys.stderr)
        else:
            readings[category.name] = category.reading
        usual[category.name] = category.usual
    return readings, usual, faulty
