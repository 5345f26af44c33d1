"""Turns what a fitted method has learned into arrays and JSON, and back. The networks are not in it (the saved model
names their weight files by sha256), nor the rows that the coresets dropped.

    arrays   bank.<name>.*        rows, norms, part; bound.* of a large bank; SCALING lies in the facts
             placement.*, place.* the frame, and the normal parts in it
             late_fusion.*        of the methods that have one
             training.statistics  [t, 6] of the training parts, for scorings that normalise by them
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.errors import InputError
from feature_extractors.extraction import PatchExtractor
from feature_extractors.features import Features
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.multiple_features import METHODS
from feature_extractors.nearest_rows import FEWEST_BOUNDED, LowerBound, RowSearch
from feature_extractors.settings import TRAIN_MODE, Fixes
from inspection.model_file import Arrays, Meta
from part_frame.placement import Placement
from part_frame.reference import PlaceReference
from scoring.ablation import Statistics
from scoring.calibrated import restored
from scoring.evaluation import TrainingParts

# settings that change how a fit runs, but not its result
NOT_KEPT = ("spool_dir", "training_maps")
GONE = ("coreset_partitions", "half_coreset")  # settings of earlier versions that decided which rows are in the banks
BOUND = ("centre", "directions", "z")
SCALING = ("mean", "std", "weight_eps", "divisor")


def state_of(method: Features, name: str) -> tuple[dict[str, NDArray[Any]], Meta]:
    """(arrays, JSON-able facts) of a fitted method; ``name``: its key in ``METHODS``. InputError in train mode."""
    if not method.fixes.eval_mode:
        raise InputError(TRAIN_MODE)
    learned: dict[str, dict[str, Any]] = {}  # {prefix: {name: array or tensor}}
    banks, place, training = {}, None, method.training
    for bank_name, bank in method.banks.items():
        bound = bank.search.bound
        own = {"part": bank.part.int(), "rows": bank.rows, "norms": bank.search.norms}
        of_bound = {} if bound is None else {f"bound.{key}": getattr(bound, key) for key in BOUND}
        learned[f"bank.{bank_name}"] = {**own, **of_bound}
        banks[bank_name] = {key: getattr(bank, key) for key in SCALING}
        banks[bank_name]["largest_norm"] = None if bound is None else bound.largest_norm
    if method.reference is not None:
        placement: Any = method.placement
        learned["placement"], place = placement.state()
        learned["place"] = method.reference.state()
    late_fusion = getattr(method, "late_fusion", None)
    if late_fusion is not None and late_fusion.score_model is not None:
        learned["late_fusion"] = late_fusion.state()
    if training is not None:
        learned["training"] = {"statistics": np.stack(training.statistics, axis=1)}
    settings = {key: value for key, value in vars(method.settings).items() if key not in NOT_KEPT}
    arrays = {
        f"{prefix}.{key}": of.cpu().numpy() if isinstance(of, torch.Tensor) else of
        for prefix, own in learned.items()
        for key, of in own.items()
    }
    return arrays, {
        "method": name,
        "fixes": method.fixes.names,
        "settings": {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()},
        "banks": banks,
        "class_name": method.class_name,
        "added": method.added,
        "precision": "full",  # version 0.9 could also write "half": rows as float16
        "training": training
        and {
            "path": list(training.path),
            "for": list(training.statistics_for),
            "calibrated": training.calibrated and training.calibrated._asdict(),
        },
        "placement": place,
    }


def restored_method(arrays: Arrays, facts: Meta, extractor: PatchExtractor) -> Features:
    """Rebuild a method from its :func:`state_of`, with the networks of ``extractor``. The arrays are copied.
    Raises InputError: the networks give patches of another width, or the method was in train mode; KeyError,
    TypeError, ValueError: something is missing or does not fit."""
    fixes = Fixes.of(facts["fixes"])
    if not fixes.eval_mode:
        raise InputError(TRAIN_MODE)
    settings = {key: value for key, value in facts["settings"].items() if key not in GONE}
    make: Any = METHODS[facts["method"]]
    method = make(extractor, fixes, **settings)
    method.class_name, method.added = facts["class_name"], facts["added"]
    for name, of in facts["banks"].items():
        own = _below(f"bank.{name}.", arrays)
        if own["rows"].shape[1] != extractor.widths[name]:
            told = f"{own['rows'].shape[1]} columns, the networks give {extractor.widths[name]}"
            raise InputError(f"the {name} bank has {told}")
        method.banks[name] = _bank(own, of, extractor.device)
    if learned := _below("late_fusion.", arrays):
        method.late_fusion.restore(learned)
    if facts.get("placement") is not None:
        method.placement = Placement.restored(_below("placement.", arrays), facts["placement"])
        method.reference = PlaceReference.restored(_below("place.", arrays))
    training = facts["training"]
    if training is not None:
        known = training.get("calibrated")  # missing in models older than this scoring
        statistics = Statistics(*np.array(arrays["training.statistics"]).T)
        units = known and restored(known)
        method.training = TrainingParts(tuple(training["path"]), statistics, tuple(training["for"]), calibrated=units)
    restored_one: Features = method
    return restored_one


def _bank(own: Arrays, of: Meta, device: torch.device) -> MemoryBank:
    """The finished MemoryBank; what a search needs is made anew where it was not kept."""
    # copied: torch needs writable memory, and model files are mapped read-only
    known = {key: torch.from_numpy(np.array(array)) for key, array in own.items()}
    rows, search, bounded = known["rows"].float().to(device), None, "bound.z" in known
    if "norms" in known and (bounded or len(rows) < FEWEST_BOUNDED or rows.is_cuda):
        bound = None
        if bounded and rows.device.type == "cpu":
            centre, directions, z = (known[f"bound.{key}"] for key in BOUND)
            bound = LowerBound(centre, directions, z, of["largest_norm"])
        search = RowSearch(rows, norms=known["norms"].to(rows.device), bound=bound)
    mean, std, weight_eps, divisor = (of[key] for key in SCALING)
    return MemoryBank(rows, known["part"].long(), mean, std, weight_eps, divisor, search)


def _below(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
