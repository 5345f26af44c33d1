"""The measurements of a category's parts as immutable values: ``Evaluation``, which contains ``TrainingParts``.

``evaluation.py`` computes scores and metrics from them, ``scoring/saved_maps.py`` saves them in files. The module needs
numpy. Anomaly maps are [S, S], larger = more anomalous; n is the number of test parts, t that of training parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from scoring.ablation import Statistics, modulate_all
from scoring.calibrated import BankUnits, bank_units
from scoring_addon import Parameters, SampleMaps

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """Training parts, each measured against the banks without its own rows and scored by the finished method.

    Attributes:
        path: t picture paths relative to the data set.
        statistics: Statistics of arrays [t], for the parameters ``statistics_for`` = [lambda, K, source of M_fusion].
        decision_map: [t, S, S]; None if only the statistics were kept.
        bank_map: {bank: [t, S, S] float32}; empty if only the statistics were kept.
        calibrated: the banks' units; None if they could not be computed or were not kept.
    """

    path: tuple[str, ...]
    statistics: Statistics
    statistics_for: tuple[Any, ...]
    decision_map: Array | None = None
    bank_map: Mapping[str, Array] = field(default_factory=dict)
    calibrated: BankUnits | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    @classmethod
    def of(
        cls,
        path: Iterable[str],
        decision_maps: Sequence[Array],
        bank_maps: Sequence[Mapping[str, Array]],
        parameters: Parameters,
    ) -> "TrainingParts":
        """Make it from t decision maps [S, S] and t dicts {bank: [S, S]}. ``parameters``: those that the statistics
        are computed with."""
        kept = {name: np.stack([maps[name] for maps in bank_maps]).astype(np.float32) for name in bank_maps[0]}
        decision = np.stack(decision_maps)
        statistics = modulate_all(decision, samples_of(kept), parameters)[1]
        return cls(tuple(path), statistics, fitting(parameters), decision, kept, units_or_none(kept))

    def reference(self, parameters: Parameters) -> Any:
        """(decision maps, SampleMaps), or the Statistics, of these parts; None if only statistics for other parameters
        were kept."""
        if self.decision_map is not None:
            return list(self.decision_map), samples_of(self.bank_map)
        return self.statistics if self.statistics_for == fitting(parameters) else None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The measurements of a category's test parts.

    Attributes:
        category: its name.
        path: n picture paths relative to the data set, with forward slashes.
        defect: n names of defect folders.
        label: [n] uint8, 1 = defective.
        mask: [n, S, S] uint8, 1 where defective.
        decision_score: [n] float64, the released image scores.
        decision_map: [n, S, S], the released pixel maps.
        bank_score: {bank: [n] float64}, before the late fusion's lambdas.
        bank_map: {bank: [n, S, S] float32}, before the late fusion's lambdas.
        picture: [n, 224, 224, 3] uint8 RGB, or None.
        has_mask: [n] bool, False for a defective part whose folder has no masks.
        training: TrainingParts; None if they were not measured.
        meta: other facts about the run: options, seed, weights ...

    Raises:
        ValueError: the shapes of the arrays do not fit each other.
    """

    category: str
    path: tuple[str, ...]
    defect: tuple[str, ...]
    label: Array
    mask: Array
    decision_score: Array
    decision_map: Array
    bank_score: Mapping[str, Array]
    bank_map: Mapping[str, Array]
    picture: Array | None = None
    has_mask: Array | None = None
    training: TrainingParts | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.has_mask is None:
            object.__setattr__(self, "has_mask", np.ones(len(self.path), dtype=bool))
        parts: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("defect", "label", "mask", "decision_score", "decision_map", "picture", "has_mask")
            if getattr(self, name) is not None
        }
        for kind, of in (("bank_map", self.bank_map), ("bank_score", self.bank_score)):
            parts |= {f"{kind} {name}": values for name, values in of.items()}
        unfit = [name for name, values in parts.items() if len(values) != len(self.path)]
        if unfit or list(self.bank_map) != list(self.bank_score) or self.mask.shape != self.decision_map.shape:
            raise ValueError(
                f"evaluation of {self.category}: {unfit[0] if unfit else 'maps'} do not fit {len(self.path)} parts"
            )
        _freeze(self)

    def __len__(self) -> int:
        return len(self.path)

    @property
    def complete_masks(self) -> bool:
        """Whether every defective part has a mask, so that pixel metrics are defined."""
        return self.has_mask is None or bool(self.has_mask.all())

    @property
    def samples(self) -> list[SampleMaps]:
        """[SampleMaps] of the single banks, one per test part; empty if the method lacks an RGB or an xyz bank."""
        return samples_of(self.bank_map)

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


def fitting(parameters: Parameters) -> tuple[float, int, str]:
    """Those of ``parameters`` that Statistics depend on: (lambda, K, source of M_fusion)."""
    return parameters.lam, parameters.topk, parameters.map_source


def units_or_none(maps: Mapping[str, Array]) -> BankUnits | None:
    """The banks' units learned from training maps {bank: [t, S, S]}; None if there are none to learn.
    ``evaluation.units_of`` then says why."""
    try:
        return bank_units(maps)
    except InputError:
        return None


def _freeze(value: Any) -> None:
    """Make the arrays of a frozen dataclass read-only, those in its dicts too, and its sequences tuples."""
    for name, content in list(vars(value).items()):
        if isinstance(content, np.ndarray):
            content = _read_only(content)
        elif isinstance(content, Mapping):
            kept = {key: _read_only(of) if isinstance(of, np.ndarray) else of for key, of in content.items()}
            content = MappingProxyType(kept)
        elif isinstance(content, list):
            content = tuple(content)
        object.__setattr__(value, name, content)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.setflags(write=False)
    return view
