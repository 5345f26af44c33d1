"""Checks before the first network of main.py runs: there are enough training parts, and their files can be used."""

import logging
import sys
from pathlib import Path

from common.commands import available_cores
from data.calibration_parts import VALIDATION
from data.examination import examine, lines
from data.findings import Options
from data.organised_clouds import Reading
from data.pairing import GOOD, pair, too_few_shots


def settle_readings(args, names):
    """Examine the categories ``names``: ({category: Reading}, {category: why it is left out}).

    Every file is read unless ``args.no_check`` is set. The findings are printed, and kept in ``examination.json`` of
    the output folder, so that an unchanged data set is not read again. Categories with fewer training parts than
    ``args.shots`` are left out before any file is read.
    """
    faulty = {name: reason for name in names for reason in [_too_few(args, name)] if reason}
    names = [name for name in names if name not in faulty]
    if args.no_check:
        return {name: Reading(unit=args.unit or "m", zero_points=args.fixes.zero_points) for name in names}, faulty
    options = Options(args.img_size, args.min_points, args.unit, args.fixes.zero_points)
    cache = Path(getattr(args, "examination", args.output_dir)) / "examination.json"
    found = examine(
        args.dataset_path,
        names,
        splits=_splits(args),
        options=options,
        workers=available_cores(),
        cache_path=cache,
        calibration_dir=args.calibration_dir if args.save_model else None,
    )
    for text in lines(found.warnings):
        logging.warning("%s", text)
    print("".join(f"note: {text}\n" for text in lines(found.notes, shown=1)), end="", flush=True)
    if len(found.faulty) < len(found.categories) or sum(group.count for group in found.faults) > 1:
        for text in lines(found.faults):
            print(f"main.py: {text}", file=sys.stderr)
    return {n: reading for n, reading in found.readings.items() if n not in found.faulty}, {**faulty, **found.faulty}


def _splits(args):
    """The splits that the run reads: the validation parts where they calibrate a model."""
    calibrating = args.save_model and args.calibration_dir is None and args.calibration in (None, VALIDATION)
    return ("train", *(() if args.fit_only else ("test",)), *(("validation",) if calibrating else ()))


def _too_few(args, name):
    """Text if a category has too few training parts for ``args.shots``; None if it has enough, or files do not pair."""
    folder = Path(args.dataset_path) / name / "train" / GOOD
    if not args.shots or not folder.is_dir():
        return None
    found = pair(folder, with_masks=False, with_clouds=bool(args.min_points))
    if found.problems or len(found.parts) >= args.shots:
        return None
    return too_few_shots(folder, len(found.parts), args.shots)
