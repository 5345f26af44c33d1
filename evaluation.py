"""The result of one category as a value: what was measured of each test part, and how scores and metrics follow from
it.

``score`` and ``metrics`` are the only way to a number: a run, rescoring of saved maps, pictures and reports all use
them. Needs numpy, and scipy and scikit-learn for the metrics; no network and no command line. Maps are [S, S],
larger = more anomalous; n is the number of test parts, t of training parts.

Saved form (``write``, ``read``; one npz file per category, no pickles), version 2:

    version               int, 2
    meta                  str, JSON: category, and what ``Evaluation.meta`` holds
    path, defect          str [n], as in scores_<category>.csv
    label                 uint8 [n];  has_mask  bool [n]
    mask                  uint8 [n, S, S], 1 where defective
    picture               uint8 [n, 224, 224, 3], RGB; absent where it was not kept
    map_decision          [n, S, S], the released map, as it was computed;  score_decision  float64 [n]
    bank_names            str [b];  bank_scores  float64 [n, b], before the lambdas
    map_<bank>            float32 [n, S, S], the map of each bank
    train_path            str [t], absent, as all that follows, where training parts were not measured
    train_calibrated      str, JSON: what ``calibrated`` has learned from them; absent in older files
    train_statistics      float64 [t, 6]: S_base, Q95, Q99, mean, mean disagreement and maximum
    train_parameters      str, JSON: the lambda, K and source of M_fusion that the statistics are for
    train_map_decision, train_map_<bank>    maps of the training parts, where they were asked for

Version 1, which called the fusion bank's map ``map_bank``, is read too. A test part takes about 1 MB, a training
part 0.9 MB.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Optional

import numpy as np

import scoring_addon
import utils.extra_metrics
from scoring_addon import SampleMaps, Scored, Statistics
from utils.calibrated import TrainingStatistics, calibrated_map, image_score, restored, training_statistics
from utils.errors import InputError
from utils.files import atomic_path
from utils.metrics import Metrics, compute_metrics, roc_auc
from utils.scorings import CALIBRATED, scoring_problem

BASELINE = "baseline"
VERSION, SUFFIX = 2, ".npz"


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """Training parts, each measured against the banks without its own rows and scored by the finished method.

    Attributes:
        path: t picture paths relative to the data set.
        statistics: Statistics of arrays [t], for the parameters ``statistics_for`` = [lambda, K, source of M_fusion].
        decision_map: [t, S, S], or None where only the statistics were kept.
        bank_map: {bank: [t, S, S] float32}; empty where only the statistics were kept.
        calibrated: ``utils.calibrated.TrainingStatistics``; None where they could not be had.
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
        """From t decision maps [S, S] and t dicts {bank: [S, S]}; ``parameters``: those that the statistics are for."""
        kept = {name: np.stack([maps[name] for maps in bank_maps]).astype(np.float32) for name in bank_maps[0]}
        decision = np.stack(decision_maps)
        statistics = scoring_addon.modulate_all(decision, samples_of(kept), parameters)[1]
        return cls(path, statistics, fitting(parameters), decision, kept, _calibrated_or_none(kept))

    def reference(self, parameters):
        """What ``scoring_addon.score_all`` takes as reference for these parameters; None where it cannot be had."""
        if self.decision_map is not None:
            return list(self.decision_map), samples_of(self.bank_map)
        return self.statistics if self.statistics_for == fitting(parameters) else None

    def without_maps(self):
        """The same with the statistics alone."""
        return TrainingParts(self.path, self.statistics, self.statistics_for)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured of a category's test parts.

    Attributes:
        category: its name.
        path: n picture paths relative to the data set, with forward slashes.
        defect: n names of defect folders.
        label: [n] uint8, 1 = defective.
        mask: [n, S, S] uint8, 1 where defective.
        decision_score: [n] float64, the released image scores.
        decision_map: [n, S, S], the released pixel maps.
        bank_score: {bank: [n] float64}, before the late fusion's lambdas.
        bank_map: {bank: [n, S, S] float32}, likewise.
        picture: [n, 224, 224, 3] uint8 RGB, or None.
        has_mask: [n] bool, False for a defective part whose folder has no masks.
        training: TrainingParts, or None where they were not measured.
        meta: what else is known of the run: options, seed, weights ...

    Raises:
        ValueError: arrays that do not fit each other.
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
        """n SampleMaps of the single banks; empty where the method has not both an RGB and an xyz bank."""
        return samples_of(self.bank_map)

    @property
    def untrained(self):
        """Whether any network's weights are marked as untrained stand-ins."""
        return any(file.get("standin") for file in self.meta.get("weights", ())) or bool(self.meta.get("untrained"))


def samples_of(bank_map):
    """{bank: [n, S, S]} as n SampleMaps; [] without both an RGB and an xyz bank."""
    if not {"rgb", "xyz"} <= set(bank_map):
        return []
    fusion = bank_map.get("fusion", [None] * len(bank_map["rgb"]))
    return [SampleMaps(*maps) for maps in zip(bank_map["rgb"], bank_map["xyz"], fusion)]


def fitting(parameters):
    """The parameters that Statistics depend on: (lambda, K, source of M_fusion)."""
    return parameters.lam, parameters.topk, parameters.map_source


def score(evaluation, names, parameters=scoring_addon.DEFAULTS, reference="test"):
    """Image scores and maps of several scorings.

    Args:
        evaluation: Evaluation.
        names: of ``utils.scorings.ALL``.
        parameters: ``scoring_addon.Parameters``; "calibrated" has none of them.
        reference: whose minima and maxima normalise the statistics: "test" (the paper) or "train" (training parts).

    Returns:
        {name: Scored}: the baseline first, then ``names`` in order; scorings of the same pixel map share one list.

    Raises:
        InputError: a scoring that this method cannot have, or training parts that are not there.
    """
    for name in names:
        problem = scoring_problem(name, list(evaluation.bank_map), parameters.map_source)
        if problem:
            raise InputError(f"{evaluation.category}: {problem}")
    known = None
    names = list(dict.fromkeys([BASELINE, *names]))
    of_paper = [name for name in names if name != CALIBRATED]
    if reference == "train" and scoring_addon.needs_maps(of_paper):
        known = evaluation.training and evaluation.training.reference(parameters)
        if known is None:
            raise InputError(
                f"{evaluation.category}: no training parts' maps are at hand, which --scoring_reference train needs "
                "with these parameters; save with --save_train_maps"
            )
    statistics = calibrated_statistics(evaluation) if CALIBRATED in names else None
    scored = scoring_addon.score_all(
        of_paper, evaluation.decision_score, list(evaluation.decision_map), evaluation.samples, parameters, known
    )
    if statistics is not None:
        maps = [calibrated_map(one, statistics) for one in bank_maps(evaluation)]
        scored[CALIBRATED] = Scored(np.array([image_score(m, statistics.topk) for m in maps]), maps)
    return {name: scored[name] for name in names}


def bank_maps(evaluation):
    """n dicts {bank: [S, S]}, one a test part."""
    return [dict(zip(evaluation.bank_map, maps)) for maps in zip(*evaluation.bank_map.values())]


def calibrated_statistics(evaluation):
    """The ``utils.calibrated.TrainingStatistics`` of an evaluation.

    Raises:
        InputError: there are none; says why.
    """
    return training_units(evaluation.category, evaluation.training)


def training_units(category, training):
    """The ``utils.calibrated.TrainingStatistics`` that TrainingParts, or None, hold.

    Raises:
        InputError: there are none; says why, and names the category.
    """
    if training is not None and training.calibrated is not None:
        return training.calibrated
    try:
        if training is None or not training.bank_map:
            raise InputError(
                "calibrated: no statistics of training parts are at hand; maps that were saved before there was this "
                "scoring lack them: save them again with main.py --scoring calibrated --save_maps DIR"
            )
        return training_statistics(training.bank_map)  # says why there are none
    except InputError as error:
        raise InputError(f"{category}: {error}") from None


def metrics(evaluation, scored):
    """Image ROCAUC, pixel ROCAUC and AU-PRO of every scoring.

    Args:
        evaluation: Evaluation.
        scored: {name: Scored} of :func:`score`; scorings that share a list of maps share its pixel metrics.

    Returns:
        {name: Metrics}; pixel metrics are None where a defective part has no mask.
    """
    labels, masks = evaluation.label, evaluation.mask
    pixel_labels, known, out = masks.reshape(-1) != 0, {}, {}
    for name, (image_scores, maps) in scored.items():
        if not evaluation.has_mask.all():
            known[id(maps)] = None, None
        elif id(maps) not in known:
            found = compute_metrics(labels, image_scores, pixel_labels, _flat(maps), masks, maps, evaluation.path)
            known[id(maps)] = found.pixel_rocauc, found.au_pro
        out[name] = Metrics(roc_auc(labels, image_scores, evaluation.path), *known[id(maps)])
    return out


def extra_metrics(evaluation, scored, names):
    """{scoring: {name: (value, threshold)}} of ``utils.extra_metrics``; pixel metrics are None where masks are
    missing."""
    masks = evaluation.mask if evaluation.has_mask.all() else None
    return utils.extra_metrics.extra_metrics(evaluation.label, masks, scored, names)


# ---------------------------------------------------------------- saved form


def write(evaluation, path, training_maps=False):
    """Write an evaluation to the file ``path``; ``training_maps``: also the training parts' maps, not only their
    statistics."""
    e, training = evaluation, evaluation.training
    banks = list(e.bank_map)
    arrays = {
        "version": np.array(VERSION),
        "meta": np.array(json.dumps({**e.meta, "category": e.category}, default=str)),
        "path": np.array(e.path),
        "defect": np.array(e.defect),
        "label": e.label,
        "has_mask": e.has_mask,
        "mask": e.mask,
        "score_decision": e.decision_score,
        "bank_names": np.array(banks),
        "bank_scores": np.stack([e.bank_score[name] for name in banks], axis=1),
        **_map_arrays("map", e),
    }
    if e.picture is not None:
        arrays["picture"] = e.picture
    if training is not None:
        arrays.update(
            {
                "train_path": np.array(training.path),
                "train_statistics": np.stack(training.statistics, axis=1),
                "train_parameters": np.array(json.dumps(training.statistics_for)),
            }
        )
        if training.calibrated is not None:
            arrays["train_calibrated"] = np.array(json.dumps(training.calibrated._asdict()))
        if training_maps and training.decision_map is not None:
            arrays.update(_map_arrays("train_map", training))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def read(path):
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


def find_saved(folder, categories=None):
    """Paths of the saved evaluations of ``folder``, sorted by name; of ``categories`` alone where they are given.

    Raises:
        InputError: there are none, or one of the categories is not there.
    """
    files = {path.stem: path for path in sorted(Path(folder).glob(f"[!.]*{SUFFIX}"))}
    if not files:
        raise InputError(f"{folder}: no saved maps (*{SUFFIX}) found; write them with main.py --save_maps {folder}")
    missing = [name for name in categories or () if name not in files]
    if missing:
        raise InputError(f"{folder}: no saved maps of the category {missing[0]}; there are: {', '.join(files)}")
    return [files[name] for name in categories or files]


def _training(arrays, banks):
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
        _calibrated_or_none(maps) if known is None else restored(json.loads(str(known))),
    )


def _calibrated_or_none(maps):
    """What ``calibrated`` learns from {bank: [t, S, S]}; None where it cannot: :func:`calibrated_statistics` says why,
    should anybody ask for it."""
    try:
        return training_statistics(maps)
    except InputError:
        return None


def _update(arrays, meta):
    """Version 1's arrays as version 2 has them."""
    for prefix in ("map", "train_map"):
        if f"{prefix}_bank" in arrays:
            arrays[f"{prefix}_fusion"] = arrays.pop(f"{prefix}_bank")
    if "train_statistics" in arrays:
        arrays["train_path"] = np.array(meta.get("training_paths", []))[: len(arrays["train_statistics"])]
        arrays["train_parameters"] = np.array(json.dumps(meta["train_parameters"]))


def _map_arrays(prefix, of):
    return {f"{prefix}_decision": of.decision_map, **{f"{prefix}_{name}": maps for name, maps in of.bank_map.items()}}


def _flat(maps):
    return np.concatenate([np.ravel(m) for m in maps])


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
