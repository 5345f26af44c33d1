"""Turns a fitted method into arrays and JSON, and back.

They hold everything the method has learned: its banks, its late fusion and its training statistics. They do not hold
the networks (the saved model names their weight files by sha256) nor the rows that the coresets dropped.
"""

import dataclasses

import numpy as np
import torch

from common.errors import InputError
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.multiple_features import METHODS
from feature_extractors.nearest_rows import FEWEST_BOUNDED, LowerBound, RowSearch
from feature_extractors.settings import TRAIN_MODE, Fixes
from part_frame.placement import Placement
from part_frame.reference import PlaceReference
from scoring.ablation import Statistics
from scoring.calibrated import restored
from scoring.evaluation import TrainingParts

PRECISIONS = ("full", "half")
# settings that change how a fit runs, but not its result
NOT_KEPT = ("spool_dir", "training_maps")
GONE = ("coreset_partitions",)  # settings of version 0.9 that decided which rows are in the banks, and no more
HALF_MAX = float(np.finfo(np.float16).max)


def state_of(method, name, precision="full"):
    """(arrays, facts) of a fitted method in eval mode.

    Args:
        method: Features whose banks are finished and whose late fusion is fitted.
        name: its name, a key of ``METHODS``.
        precision: "full"; "half" stores the banks' rows as float16.

    Returns:
        ({name: array}, JSON-able dict).

    Raises:
        InputError: the method is in train mode, or a row exceeds what float16 holds.
    """
    if not method.fixes.eval_mode:
        raise InputError(TRAIN_MODE)
    arrays, banks = {}, {}
    for bank_name, bank in method.banks.items():
        rows = bank.rows.cpu().numpy()
        if precision == "half" and len(rows) and np.abs(rows).max() > HALF_MAX:
            raise InputError(f"the {bank_name} bank holds values beyond half precision; use --model_precision full")
        of = {
            "rows": rows if precision == "full" else rows.astype(np.float16),
            "part": bank.part.numpy(),
            "place": bank.place.numpy(),
        }
        search = bank.search
        if precision == "full":
            of["norms"] = search.norms.cpu().numpy()
            if search.bound is not None:
                bound = search.bound
                of.update({f"bound.{key}": getattr(bound, key).numpy() for key in ("centre", "directions", "z")})
        of["part"], of["place"] = of["part"].astype(np.int32), of["place"].astype(np.int32)
        arrays.update({f"bank.{bank_name}.{key}": value for key, value in of.items()})
        banks[bank_name] = {
            "mean": bank.mean,
            "std": bank.std,
            "weight_eps": bank.weight_eps,
            "divisor": bank.divisor,
            "largest_norm": search.bound.largest_norm if "bound.z" in of else None,
        }
    place = None
    if method.reference is not None:
        of_place, place = method.placement.state()
        arrays.update({f"placement.{key}": value for key, value in of_place.items()})
        arrays.update({f"place.{key}": value for key, value in method.reference.state().items()})
    late_fusion = getattr(method, "late_fusion", None)
    if late_fusion is not None and late_fusion.score_model is not None:
        arrays.update({f"late_fusion.{key}": value for key, value in late_fusion.state().items()})
    settings = dataclasses.asdict(dataclasses.replace(method.settings, score_lambdas={}, map_lambdas={}))
    settings = {key: value for key, value in settings.items() if key not in NOT_KEPT}
    settings.update(score_lambdas=dict(method.settings.score_lambdas), map_lambdas=dict(method.settings.map_lambdas))
    facts = {
        "method": name,
        "fixes": method.fixes.names,
        "settings": settings,
        "banks": banks,
        "class_name": method.class_name,
        "added": method.added,
        "precision": precision,
        "training": None,
        "placement": place,
    }
    if method.training is not None:
        arrays["training.statistics"] = np.stack(method.training.statistics, axis=1)
        known = method.training.calibrated
        facts["training"] = {
            "path": list(method.training.path),
            "for": list(method.training.statistics_for),
            "calibrated": known and known._asdict(),
        }
    return arrays, facts


def restored_method(arrays, facts, extractor):
    """Rebuild a method from its :func:`state_of`, with the networks of ``extractor``.

    Args:
        arrays: {name: array}; they are copied, so they may be views of a file.
        facts: dict.
        extractor: PatchExtractor with the networks that the method was fitted with.

    Raises:
        InputError: the networks give patches of another width, or the method was in train mode.
        KeyError, TypeError, ValueError: something is missing or does not fit.
    """
    fixes = Fixes.of(facts["fixes"])
    if not fixes.eval_mode:
        raise InputError(TRAIN_MODE)
    settings = {key: value for key, value in facts["settings"].items() if key not in GONE}
    method = METHODS[facts["method"]](extractor, fixes, **settings)
    method.class_name, method.added = facts["class_name"], facts["added"]
    for name, of in facts["banks"].items():
        own = {
            key: arrays.get(f"bank.{name}.{key}")
            for key in ("rows", "part", "place", "norms", "bound.centre", "bound.directions", "bound.z")
        }
        width = own["rows"].shape[1]
        if width != extractor.widths[name]:
            raise InputError(f"the {name} bank has {width} columns, the networks give {extractor.widths[name]}")
        rows = _tensor(own["rows"], torch.float32).to(extractor.device)
        search = None
        if own["norms"] is not None and (own["bound.z"] is not None or len(rows) < FEWEST_BOUNDED or rows.is_cuda):
            bound = None
            if own["bound.z"] is not None and rows.device.type == "cpu":
                bound = LowerBound.of_known(
                    *(_tensor(own[f"bound.{key}"]) for key in ("centre", "directions", "z")), of["largest_norm"]
                )
            search = RowSearch.of_known(rows, _tensor(own["norms"]).to(rows.device), bound)
        method.banks[name] = MemoryBank.of_rows(
            rows,
            *(_tensor(own[key], torch.long) for key in ("part", "place")),
            of["mean"],
            of["std"],
            of["weight_eps"],
            of["divisor"],
            search,
        )
    learned = {key.removeprefix("late_fusion."): a for key, a in arrays.items() if key.startswith("late_fusion.")}
    if learned:
        method.late_fusion.restore(learned)
    if facts.get("placement") is not None:
        of_placement, of_place = (
            {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}
            for prefix in ("placement.", "place.")
        )
        method.placement = Placement.restored(of_placement, facts["placement"])
        method.reference = PlaceReference.restored(of_place)
    if facts["training"] is not None:
        method.training = _training(arrays, facts["training"])
    return method


def bank_bytes(arrays):
    """Bytes that the banks' rows take in memory, as float32."""
    return sum(4 * a.size for key, a in arrays.items() if key.startswith("bank.") and key.endswith(".rows"))


def _training(arrays, of):
    known = of.get("calibrated")  # missing in models older than this scoring
    return TrainingParts(
        tuple(of["path"]),
        Statistics(*np.array(arrays["training.statistics"]).T),
        tuple(of["for"]),
        calibrated=known and restored(known),
    )


def _tensor(array, kind=None):
    """A tensor with a copy of ``array``: torch needs writable memory, and model files are mapped read-only."""
    tensor = torch.from_numpy(np.array(array))
    return tensor if kind is None else tensor.to(kind)
