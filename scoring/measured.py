"""The measurements of a category's parts as immutable values: ``Evaluation``, which contains ``TrainingParts``.

``evaluation.py`` computes scores and metrics from them, ``scoring/saved_maps.py`` saves them in files. The module needs
numpy. Anomaly maps are [S, S], larger = more anomalous; n is the number of test parts, t that of training parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Optional

import numpy as np

from common.errors import InputError
from scoring import ablation
from scoring.ablation import Statistics
from scoring.calibrated import TrainingStatistics, training_statistics
from scoring_addon import SampleMaps


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """Training parts, each measured against the banks without its own rows and scored by the finished method.

    Attributes:
        path: t picture paths relative to the data set.
        statistics: Statistics of arrays [t], for the parameters ``statistics_for`` = [lambda, K, source of M_fusion].
        decision_map: [t, S, S]; None if only the statistics were kept.
        bank_map: {bank: [t, S, S] float32}; empty if only the statistics were kept.
        calibrated: ``scoring.calibrated.TrainingStatistics``; None if they could not be computed or were not kept.
    """

    path: tuple
    statistics: Statistics
    statistics_for: tuple
    decision_map: Optional[np.ndarray] = None
    bank_map: Mapping = field(default_factory=dict)
    calibrated: Optional[TrainingStatistics] = None

    def __post_init__(self):
        _freeze(self, "path", "statistics_for", "decision_map", "bank_map")

    @classmethod
    def of(cls, path, decision_maps, bank_maps, parameters):
        """Make it from t decision maps [S, S] and t dicts {bank: [S, S]}. ``parameters``: ``scoring_addon.Parameters``
        that the statistics are computed with."""
        kept = {name: np.stack([maps[name] for maps in bank_maps]).astype(np.float32) for name in bank_maps[0]}
        decision = np.stack(decision_maps)
        statistics = ablation.modulate_all(decision, samples_of(kept), parameters)[1]
        return cls(path, statistics, fitting(parameters), decision, kept, calibrated_or_none(kept))

    def reference(self, parameters):
        """The ``reference`` argument of ``ablation.score_all`` for these parameters; None if only statistics for
        other parameters were kept."""
        if self.decision_map is not None:
            return list(self.decision_map), samples_of(self.bank_map)
        return self.statistics if self.statistics_for == fitting(parameters) else None

    def without_maps(self):
        """A copy with the paths and the statistics only."""
        return TrainingParts(self.path, self.statistics, self.statistics_for)


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
    path: tuple
    defect: tuple
    label: np.ndarray
    mask: np.ndarray
    decision_score: np.ndarray
    decision_map: np.ndarray
    bank_score: Mapping
    bank_map: Mapping
    picture: Optional[np.ndarray] = None
    has_mask: Optional[np.ndarray] = None
    training: Optional[TrainingParts] = None
    meta: Mapping = field(default_factory=dict)

    def __post_init__(self):
        if self.has_mask is None:
            object.__setattr__(self, "has_mask", np.ones(len(self.path), dtype=bool))
        parts = {
            "defect": self.defect,
            "label": self.label,
            "mask": self.mask,
            "decision_score": self.decision_score,
            "decision_map": self.decision_map,
            "picture": self.path if self.picture is None else self.picture,
            "has_mask": self.has_mask,
            **{f"bank_map {name}": maps for name, maps in self.bank_map.items()},
            **{f"bank_score {name}": scores for name, scores in self.bank_score.items()},
        }
        unfit = [name for name, values in parts.items() if len(values) != len(self.path)]
        if unfit or list(self.bank_map) != list(self.bank_score) or self.mask.shape != self.decision_map.shape:
            raise ValueError(
                f"evaluation of {self.category}: {unfit[0] if unfit else 'maps'} do not fit {len(self.path)} parts"
            )
        _freeze(
            self,
            "path",
            "defect",
            "label",
            "mask",
            "decision_score",
            "decision_map",
            "bank_score",
            "bank_map",
            "picture",
            "has_mask",
            "meta",
        )

    def __len__(self):
        return len(self.path)

    @property
    def samples(self):
        """[SampleMaps] of the single banks, one per test part; empty if the method lacks an RGB or an xyz bank."""
        return samples_of(self.bank_map)

    @property
    def untrained(self):
        """Whether any network's weights are marked as untrained stand-ins."""
        return any(file.get("standin") for file in self.meta.get("weights", ())) or bool(self.meta.get("untrained"))


def samples_of(bank_map):
    """{bank: [n, S, S]} as a list of n SampleMaps; [] if the RGB or the xyz bank is missing."""
    if not {"rgb", "xyz"} <= set(bank_map):
        return []
    fusion = bank_map.get("fusion", [None] * len(bank_map["rgb"]))
    return [SampleMaps(*maps) for maps in zip(bank_map["rgb"], bank_map["xyz"], fusion)]


def fitting(parameters):
    """Those of ``parameters`` that Statistics depend on: (lambda, K, source of M_fusion)."""
    return parameters.lam, parameters.topk, parameters.map_source


def calibrated_or_none(maps):
    """The statistics that ``calibrated`` learns from training maps {bank: [t, S, S]}; None if it cannot learn any.
    ``evaluation.calibrated_statistics`` then says why."""
    try:
        return training_statistics(maps)
    except InputError:
        return None


def _freeze(value, *names):
    """Make fields of a frozen dataclass read-only: arrays, dicts of arrays and sequences."""
    for name in names:
        content = getattr(value, name)
        if isinstance(content, np.ndarray):
            content = content.view()
            content.setflags(write=False)
        elif isinstance(content, Mapping):
            content = dict(content)
            for key, array in content.items():
                if isinstance(array, np.ndarray):
                    content[key] = array.view()
                    content[key].setflags(write=False)
            content = MappingProxyType(content)
        elif content is not None:
            content = tuple(content)
        object.__setattr__(value, name, content)
