"""The measurements of a category's parts as immutable values, and their file: saved maps, one npz, no pickles.

``Evaluation`` holds the test parts and contains ``TrainingParts``; :func:`write` and :func:`read` save and load it.
Layout of version 2, for n test parts, t training parts, b banks and maps [S, S], larger = more anomalous:

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
    train_calibrated      str, JSON: what ``calibrated`` learned from them; absent if it learned nothing
    train_statistics      float64 [t, 6]: S_base, Q95, Q99, mean, mean disagreement and maximum
    train_parameters      str, JSON: the lambda, K and source of M_fusion that the statistics are for
    train_map_decision, train_map_<bank>    maps of the training parts, if asked for

A test part takes about 1 MB, a training part 0.9 MB.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import InputError
from common.files import atomic_path
from scoring.ablation import Statistics, modulate_all
from scoring.calibrated import BankUnits, bank_units, restored
from scoring_addon import Parameters, SampleMaps

Array = NDArray[Any]
VERSION, SUFFIX = 2, ".npz"


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """Training parts, each measured against the banks without its own rows and scored by the finished method.

    Maps are None or {} if only the statistics were kept.
    """

    path: tuple[str, ...]  # t picture paths relative to the data set
    statistics: Statistics  # of arrays [t]
    statistics_for: tuple[Any, ...]  # (lambda, K, source of M_fusion) that the statistics are for
    decision_map: Array | None = None  # [t, S, S]
    bank_map: Mapping[str, Array] = field(default_factory=dict)  # {bank: [t, S, S] float32}
    calibrated: BankUnits | None = None  # None if they could not be computed

    @classmethod
    def of(
        cls,
        path: Iterable[str],
        decision_maps: Sequence[Array],
        bank_maps: Sequence[Mapping[str, Array]],
        parameters: Parameters,
    ) -> "TrainingParts":
        """Make it from t decision maps [S, S] and t dicts {bank: [S, S]}."""
        kept = {name: np.stack([maps[name] for maps in bank_maps]).astype(np.float32) for name in bank_maps[0]}
        decision = np.stack(decision_maps)
        statistics = modulate_all(decision, samples_of(kept), parameters)[1]
        return cls(tuple(path), statistics, _fitting(parameters), decision, kept, _units_or_none(kept))

    def reference(self, parameters: Parameters) -> Statistics | None:
        """Statistics of these parts for ``parameters``; None if only those for other parameters were kept."""
        if self.decision_map is not None:
            return modulate_all(self.decision_map, samples_of(self.bank_map), parameters)[1]
        return self.statistics if self.statistics_for == _fitting(parameters) else None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The measurements of a category's test parts. ValueError: the shapes of the arrays do not fit each other."""

    category: str
    path: tuple[str, ...]  # n picture paths relative to the data set, with forward slashes
    defect: tuple[str, ...]  # n names of defect folders
    label: Array  # [n] uint8, 1 = defective
    mask: Array  # [n, S, S] uint8, 1 where defective
    decision_score: Array  # [n] float64, the released image scores
    decision_map: Array  # [n, S, S], the released pixel maps
    bank_score: Mapping[str, Array]  # {bank: [n] float64}, before the late fusion's lambdas, as the maps
    bank_map: Mapping[str, Array]  # {bank: [n, S, S] float32}
    picture: Array | None = None  # [n, 224, 224, 3] uint8 RGB
    has_mask: Array | None = None  # [n] bool, False for a defective part whose folder has no masks
    training: TrainingParts | None = None  # None if they were not measured
    meta: Mapping[str, Any] = field(default_factory=dict)  # other facts about the run: options, seed, weights ...

    def __post_init__(self) -> None:
        if self.has_mask is None:
            object.__setattr__(self, "has_mask", np.ones(len(self.path), dtype=bool))
        single = (self.defect, self.label, self.mask, self.decision_score, self.decision_map, self.has_mask)
        picture = () if self.picture is None else (self.picture,)
        banks = (*self.bank_map.values(), *self.bank_score.values())
        fits = all(of is not None and len(of) == len(self.path) for of in (*single, *picture, *banks))
        if not fits or list(self.bank_map) != list(self.bank_score) or self.mask.shape != self.decision_map.shape:
            raise ValueError(f"evaluation of {self.category}: scores, maps or masks do not fit {len(self.path)} parts")

    @classmethod
    def of(
        cls,
        category: str,
        path: Iterable[str],
        defect: Iterable[str],
        label: ArrayLike,
        mask: ArrayLike,
        judged: Sequence[Any],
        **more: Any,
    ) -> "Evaluation":
        """Make it from n ``feature_extractors.features.Judged``, one per part; ``more``: further fields."""

        def stacked(kind: str, dtype: type) -> dict[str, Array]:
            values = [getattr(part.banks, kind) for part in judged]
            return {name: np.stack([np.asarray(of[name], dtype) for of in values]) for name in values[0]}

        score, maps = np.array([part.score for part in judged]), np.stack([part.map for part in judged])
        banks = stacked("scores", np.float64), stacked("maps", np.float32)
        labels = np.asarray(label, np.uint8)
        return cls(category, tuple(path), tuple(defect), labels, np.asarray(mask), score, maps, *banks, **more)

    def __len__(self) -> int:
        return len(self.path)

    @property
    def masks(self) -> Array | None:
        """``mask`` if every defective part has one, so that pixel metrics are defined; else None."""
        return self.mask if self.has_mask is None or self.has_mask.all() else None

    @property
    def samples(self) -> list[SampleMaps]:
        """[SampleMaps] of the single banks, one per test part; empty if the method lacks an RGB or an xyz bank."""
        return samples_of(self.bank_map)

    @property
    def units(self) -> BankUnits:
        """:func:`units_from` its training parts."""
        return units_from(self.category, self.training)

    @property
    def untrained(self) -> bool:
        """Whether any network's weights are marked as untrained stand-ins."""
        return any(file.get("standin") for file in self.meta.get("weights", ())) or bool(self.meta.get("untrained"))


def samples_of(bank_map: Mapping[str, Array]) -> list[SampleMaps]:
    """{bank: [n, S, S]} as a list of n SampleMaps; [] if the RGB or the xyz bank is missing."""
    if not {"rgb", "xyz"} <= set(bank_map):
        return []
    fusion = bank_map.get("fusion", [None] * len(bank_map["rgb"]))
    return [SampleMaps(*maps) for maps in zip(bank_map["rgb"], bank_map["xyz"], fusion)]


def units_from(category: str, training: TrainingParts | None) -> BankUnits:
    """The units of the banks that training parts taught; ``training``: None if there are no such parts. InputError:
    there are none; the message names the category and the reason."""
    if training is not None and training.calibrated is not None:
        return training.calibrated
    if training is None or not training.bank_map:
        raise InputError(
            f"{category}: calibrated: no statistics of training parts are at hand; save the maps again with "
            "main.py --scoring calibrated --save_maps DIR"
        )
    try:
        return bank_units(training.bank_map)
    except InputError as error:  # it says why there are none
        raise InputError(f"{category}: {error}") from None


def write(evaluation: Evaluation, path: str | Path, training_maps: bool = False) -> None:
    """Write an Evaluation to the file ``path``. ``training_maps``: write the training parts' maps too, not only their
    statistics."""
    training = evaluation.training
    arrays: dict[str, Any] = {
        "version": VERSION,
        "meta": json.dumps({**evaluation.meta, "category": evaluation.category}, default=str),
        **{name: getattr(evaluation, name) for name in ("path", "defect", "label", "has_mask", "mask")},
        "score_decision": evaluation.decision_score,
        "bank_names": list(evaluation.bank_score),
        "bank_scores": np.stack([*evaluation.bank_score.values()], axis=1),
        **_map_arrays("map", evaluation),
    }
    if evaluation.picture is not None:
        arrays["picture"] = evaluation.picture
    if training is not None:
        arrays["train_path"] = training.path
        arrays["train_statistics"] = np.stack(training.statistics, axis=1)
        arrays["train_parameters"] = json.dumps(training.statistics_for)
        if training.calibrated is not None:
            arrays["train_calibrated"] = json.dumps(training.calibrated._asdict())
        if training_maps and training.decision_map is not None:
            arrays.update(_map_arrays("train_map", training))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read(path: str | Path) -> Evaluation:
    """The Evaluation in the file ``path``. InputError: the file is missing, damaged, or of a version that this program
    does not know."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        version = int(arrays["version"])
        if version != VERSION:
            raise InputError(
                f"{path}: saved maps of version {version}, this program reads version {VERSION}; save them again"
            )
        meta = json.loads(str(arrays["meta"]))
        if not {"category", "options", "seed"} <= set(meta):
            raise InputError(f"{path}: its meta entry lacks category, options or seed; save the maps again")
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
    InputError: there are none, or one of the categories is missing."""
    files = {path.stem: path for path in sorted(Path(folder).glob(f"[!.]*{SUFFIX}"))}
    if not files:
        raise InputError(f"{folder}: no saved maps (*{SUFFIX}) found; write them with main.py --save_maps {folder}")
    missing = [name for name in categories or () if name not in files]
    if missing:
        raise InputError(f"{folder}: no saved maps of the category {missing[0]}; there are: {', '.join(files)}")
    return [files[name] for name in categories or files]


def _training(arrays: dict[str, Array], banks: list[str]) -> TrainingParts | None:
    if "train_statistics" not in arrays:
        return None
    maps = {name: arrays[f"train_map_{name}"] for name in banks if f"train_map_{name}" in arrays}
    known = arrays.get("train_calibrated")
    return TrainingParts(
        tuple(map(str, arrays["train_path"])),
        Statistics(*arrays["train_statistics"].T),
        tuple(json.loads(str(arrays["train_parameters"]))),
        arrays.get("train_map_decision"),
        maps,
        None if known is None else restored(json.loads(str(known))),
    )


def _map_arrays(prefix: str, of: Evaluation | TrainingParts) -> dict[str, Any]:
    return {f"{prefix}_decision": of.decision_map, **{f"{prefix}_{name}": maps for name, maps in of.bank_map.items()}}


def _fitting(parameters: Parameters) -> tuple[float, int, str]:
    """Those of ``parameters`` that Statistics depend on: (lambda, K, source of M_fusion)."""
    return parameters.lam, parameters.topk, parameters.map_source


def _units_or_none(maps: Mapping[str, Array]) -> BankUnits | None:
    """The units learned from training maps {bank: [t, S, S]}; None if there are none (:func:`units_from` says why)."""
    try:
        return bank_units(maps)
    except InputError:
        return None
