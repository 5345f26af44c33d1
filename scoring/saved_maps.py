"""Saved maps: an ``Evaluation`` as a file; one npz file per category, no pickles.

Layout of version 2, for n test parts, t training parts, b banks and maps [S, S]:

    version               int, 2
    meta                  str, JSON: category, and what ``Evaluation.meta`` holds
    path, defect          str [n], as in scores_<category>.csv
    label                 uint8 [n];  has_mask  bool [n]
    mask                  uint8 [n, S, S], 1 where defective
    picture               uint8 [n, 224, 224, 3], RGB; absent if it was not kept
    map_decision          [n, S, S], the released map, as it was computed;  score_decision  float64 [n]
    bank_names            str [b];  bank_scores  float64 [n, b], before the lambdas
    map_<bank>            float32 [n, S, S], the map of each bank
    train_path            str [t]; this and all below are absent if training parts were not measured
    train_calibrated      str, JSON: what ``calibrated`` learned from them; absent in older files
    train_statistics      float64 [t, 6]: S_base, Q95, Q99, mean, mean disagreement and maximum
    train_parameters      str, JSON: the lambda, K and source of M_fusion that the statistics are for
    train_map_decision, train_map_<bank>    maps of the training parts, if asked for

Version 1, in which the fusion bank's map is called ``map_bank``, can be read too. A test part takes about 1 MB, a
training part 0.9 MB.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.files import atomic_path
from scoring.ablation import Statistics
from scoring.calibrated import restored
from scoring.measured import Evaluation, TrainingParts, units_or_none

VERSION, SUFFIX = 2, ".npz"


def write(evaluation: Evaluation, path: str | Path, training_maps: bool = False) -> None:
    """Write an Evaluation to the file ``path``. ``training_maps``: write the training parts' maps too, not only their
    statistics."""
    training = evaluation.training
    banks = list(evaluation.bank_map)
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "meta": np.array(json.dumps({**evaluation.meta, "category": evaluation.category}, default=str)),
        "path": np.array(evaluation.path),
        "defect": np.array(evaluation.defect),
        "label": evaluation.label,
        "has_mask": evaluation.has_mask,
        "mask": evaluation.mask,
        "score_decision": evaluation.decision_score,
        "bank_names": np.array(banks),
        "bank_scores": np.stack([evaluation.bank_score[name] for name in banks], axis=1),
        **_map_arrays("map", evaluation),
    }
    if evaluation.picture is not None:
        arrays["picture"] = evaluation.picture
    if training is not None:
        arrays["train_path"] = np.array(training.path)
        arrays["train_statistics"] = np.stack(training.statistics, axis=1)
        arrays["train_parameters"] = np.array(json.dumps(training.statistics_for))
        if training.calibrated is not None:
            arrays["train_calibrated"] = np.array(json.dumps(training.calibrated._asdict()))
        if training_maps and training.decision_map is not None:
            arrays.update(_map_arrays("train_map", training))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read(path: str | Path) -> Evaluation:
    """The Evaluation in the file ``path``.

    Raises:
        InputError: the file is missing, damaged, or of a version that this program does not know.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        version = int(arrays["version"])
        if version not in (1, VERSION):
            raise InputError(
                f"{path}: saved maps of version {version}, this program reads versions 1 and {VERSION}; save them again"
            )
        meta = json.loads(str(arrays["meta"]))
        if not {"category", "options", "seed"} <= set(meta):
            raise InputError(f"{path}: its meta entry lacks category, options or seed; save the maps again")
        if version == 1:
            _update(arrays, meta)
        banks = [str(name) for name in arrays["bank_names"]]
        return Evaluation(
            meta.pop("category"),
            tuple(map(str, arrays["path"])),
            tuple(map(str, arrays["defect"])),
            arrays["label"],
            arrays["mask"],
            arrays["score_decision"],
            arrays["map_decision"],
            dict(zip(banks, arrays["bank_scores"].T)),
            {name: arrays[f"map_{name}"] for name in banks},
            arrays.get("picture"),
            arrays.get("has_mask"),
            _training(arrays, banks),
            meta,
        )
    except InputError:
        raise
    except Exception as error:  # zip, numpy and JSON errors of damaged files
        raise InputError(
            f"{path}: cannot be read as saved maps ({error or type(error).__name__}); "
            "give a file that --save_maps wrote"
        ) from None


def find_saved(folder: str | Path, categories: Iterable[str] | None = None) -> list[Path]:
    """Paths of the files of saved maps in ``folder``, sorted by name; with ``categories`` only theirs, in that order.

    Raises:
        InputError: there are none, or one of the categories is missing.
    """
    files = {path.stem: path for path in sorted(Path(folder).glob(f"[!.]*{SUFFIX}"))}
    if not files:
        raise InputError(f"{folder}: no saved maps (*{SUFFIX}) found; write them with main.py --save_maps {folder}")
    missing = [name for name in categories or () if name not in files]
    if missing:
        raise InputError(f"{folder}: no saved maps of the category {missing[0]}; there are: {', '.join(files)}")
    return [files[name] for name in categories or files]


def _training(arrays: dict[str, NDArray[Any]], banks: list[str]) -> TrainingParts | None:
    if "train_statistics" not in arrays:
        return None
    maps = {name: arrays[f"train_map_{name}"] for name in banks if f"train_map_{name}" in arrays}
    lam, topk, source = json.loads(str(arrays["train_parameters"]))
    known = arrays.get("train_calibrated")
    return TrainingParts(
        tuple(map(str, arrays["train_path"])),
        Statistics(*arrays["train_statistics"].T),
        (lam, topk, source),
        arrays.get("train_map_decision"),
        maps,
        units_or_none(maps) if known is None else restored(json.loads(str(known))),
    )


def _update(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Change version 1's arrays into those of version 2."""
    for prefix in ("map", "train_map"):
        if f"{prefix}_bank" in arrays:
            arrays[f"{prefix}_fusion"] = arrays.pop(f"{prefix}_bank")
    if "train_statistics" in arrays:
        arrays["train_path"] = np.array(meta.get("training_paths", []))[: len(arrays["train_statistics"])]
        arrays["train_parameters"] = np.array(json.dumps(meta["train_parameters"]))


def _map_arrays(prefix: str, of: Any) -> dict[str, NDArray[Any]]:
    return {f"{prefix}_decision": of.decision_map, **{f"{prefix}_{name}": maps for name, maps in of.bank_map.items()}}
