"""Turns a fitted method into arrays and JSON, and back.

They hold everything the method has learned: its banks, its late fusion and its training statistics. They do not hold
the networks (the saved model names their weight files by sha256) nor the rows that the coresets dropped.
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
HALF_MAX = float(np.finfo(np.float16).max)
BOUND = ("centre", "directions", "z")


def state_of(method: Features, name: str, precision: str = "full") -> tuple[dict[str, NDArray[Any]], Meta]:
    """(arrays, JSON-able facts) of a fitted method in eval mode.

    Args:
        method: its banks are finished and its late fusion is fitted.
        name: its name, a key of ``METHODS``.
        precision: "full"; "half" stores the banks' rows as float16.

    Raises:
        InputError: the method is in train mode, or a row exceeds what float16 holds.
    """
    if not method.fixes.eval_mode:
        raise InputError(TRAIN_MODE)
    arrays: dict[str, NDArray[Any]] = {}
    banks, place = {}, None
    for bank_name, bank in method.banks.items():
        rows, bound = bank.rows.cpu().numpy(), None
        of = {key: getattr(bank, key).numpy().astype(np.int32) for key in ("part", "place")}
        if precision == "half":
            if len(rows) and np.abs(rows).max() > HALF_MAX:
                text = f"the {bank_name} bank holds values beyond half precision"
                raise InputError(f"{text}; use --model_precision full")
            of["rows"] = rows.astype(np.float16)
        else:
            of["rows"], of["norms"], bound = rows, bank.search.norms.cpu().numpy(), bank.search.bound
            if bound is not None:
                of.update({f"bound.{key}": getattr(bound, key).numpy() for key in BOUND})
        arrays.update({f"bank.{bank_name}.{key}": value for key, value in of.items()})
        banks[bank_name] = {key: getattr(bank, key) for key in ("mean", "std", "weight_eps", "divisor")}
        banks[bank_name]["largest_norm"] = None if bound is None else bound.largest_norm
    if method.reference is not None:
        placement: Any = method.placement
        of_place, place = placement.state()
        arrays.update({f"placement.{key}": value for key, value in of_place.items()})
        arrays.update({f"place.{key}": value for key, value in method.reference.state().items()})
    late_fusion = getattr(method, "late_fusion", None)
    if late_fusion is not None and late_fusion.score_model is not None:
        arrays.update({f"late_fusion.{key}": value for key, value in late_fusion.state().items()})
    training = method.training
    if training is not None:
        arrays["training.statistics"] = np.stack(training.statistics, axis=1)
    settings = {key: value for key, value in vars(method.settings).items() if key not in NOT_KEPT}
    return arrays, {
        "method": name,
        "fixes": method.fixes.names,
        "settings": {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()},
        "banks": banks,
        "class_name": method.class_name,
        "added": method.added,
        "precision": precision,
        "training": training
        and {
            "path": list(training.path),
            "for": list(training.statistics_for),
            "calibrated": training.calibrated and training.calibrated._asdict(),
        },
        "placement": place,
    }


def restored_method(arrays: Arrays, facts: Meta, extractor: PatchExtractor) -> Features:
    """Rebuild a method from its :func:`state_of`, with the networks of ``extractor``.

    Args:
        arrays: {name: array}; they are copied, so they may be views of a file.
        facts: dict.
        extractor: has the networks that the method was fitted with.

    Raises:
        InputError: the networks give patches of another width, or the method was in train mode.
        KeyError, TypeError, ValueError: something is missing or does not fit.
    """
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
    learned = _below("late_fusion.", arrays)
    if learned:
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


def bank_bytes(arrays: Arrays) -> int:
    """Bytes that the banks' rows take in memory, as float32."""
    return sum(4 * a.size for key, a in arrays.items() if key.startswith("bank.") and key.endswith(".rows"))


def _bank(own: Arrays, of: Meta, device: torch.device) -> MemoryBank:
    """The finished MemoryBank of its arrays and facts; what a search needs is made anew where it was not kept."""
    rows, search = _tensor(own["rows"], torch.float32).to(device), None
    bounded = "bound.z" in own
    if "norms" in own and (bounded or len(rows) < FEWEST_BOUNDED or rows.is_cuda):
        bound = None
        if bounded and rows.device.type == "cpu":
            centre, directions, z = (_tensor(own[f"bound.{key}"]) for key in BOUND)
            bound = LowerBound(centre, directions, z, of["largest_norm"])
        search = RowSearch(rows, norms=_tensor(own["norms"]).to(rows.device), bound=bound)
    part, place = (_tensor(own[key], torch.long) for key in ("part", "place"))
    scaling = of["mean"], of["std"], of["weight_eps"], of["divisor"]
    return MemoryBank(rows, part, place, *scaling, search)


def _below(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _tensor(array: NDArray[Any], kind: torch.dtype | None = None) -> torch.Tensor:
    """A tensor with a copy of ``array``: torch needs writable memory, and model files are mapped read-only."""
    tensor = torch.from_numpy(np.array(array))
    return tensor if kind is None else tensor.to(kind)
