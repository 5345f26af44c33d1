"""Scores and metrics of one category, computed from the maps and scores of its test parts.

Every number comes from ``score`` and ``metrics``: runs, rescoring of saved maps, map images and reports all call them.
This module needs numpy, and scipy and scikit-learn for the metrics. It uses no network and no command line. Maps are
[S, S], larger = more anomalous; n is the number of test parts.

The input is an ``Evaluation`` (``scoring/measured.py``). ``write`` and ``read`` save and load it; ``saved_maps.py``
describes the file format. These names can be imported from here as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scoring_addon
from common.errors import InputError
from scoring import extra_metrics as _extra_metrics
from scoring.ablation import Scored
from scoring.calibrated import BankUnits, bank_units
from scoring.measured import Evaluation, TrainingParts
from scoring.metrics import Metrics, compute_metrics, roc_auc
from scoring.saved_maps import SUFFIX, find_saved, read, write
from scoring.scorings import BASELINE, CALIBRATED, REFERENCE, SCORINGS, UNITS, ScoringInput, score_all, scoring_problem
from scoring_addon import Parameters

__all__ = [
    "SUFFIX",
    "Evaluation",
    "TrainingParts",
    "bank_maps",
    "extra_metrics",
    "find_saved",
    "metrics",
    "read",
    "score",
    "units_of",
    "write",
]


def score(
    evaluation: Evaluation,
    names: Iterable[str],
    parameters: Parameters = scoring_addon.DEFAULTS,
    reference: str = "test",
) -> dict[str, Scored]:
    """Image scores and maps of several scorings.

    Args:
        evaluation: Evaluation.
        names: keys of ``scoring.scorings.SCORINGS``.
        parameters: of the paper's scorings.
        reference: the parts whose minima and maxima normalise the statistics: "test" (as in the paper) or "train".

    Returns:
        {name: Scored}: the baseline first, then ``names`` in order; scorings with the same pixel maps share one list.

    Raises:
        InputError: the method cannot have a scoring, or the training parts that a scoring needs were not saved.
    """
    names = list(dict.fromkeys([BASELINE, *names]))
    for name in names:
        problem = scoring_problem(name, list(evaluation.bank_map), parameters.map_source)
        if problem:
            raise InputError(f"{evaluation.category}: {problem}")
    needs = frozenset().union(*(SCORINGS[name].needs for name in names))
    known: Any = None
    if reference == "train" and REFERENCE in needs:
        known = evaluation.training and evaluation.training.reference(parameters)
        if known is None:
            raise InputError(
                f"{evaluation.category}: no training parts' maps are at hand, which --scoring_reference train needs "
                "with these parameters; save with --save_train_maps"
            )
    measured = ScoringInput(
        np.ravel(np.asarray(evaluation.decision_score, dtype=np.float64)),
        list(evaluation.decision_map),
        evaluation.bank_map,
        evaluation.samples,
        parameters,
        known,
        units_of(evaluation) if UNITS in needs else None,
    )
    return score_all(names, measured)


def bank_maps(evaluation: Evaluation) -> list[dict[str, NDArray[Any]]]:
    """n dicts {bank: [S, S]}, one per test part."""
    return [dict(zip(evaluation.bank_map, maps)) for maps in zip(*evaluation.bank_map.values())]


def units_of(evaluation: Evaluation) -> BankUnits:
    """:func:`units_from` of an evaluation."""
    return units_from(evaluation.category, evaluation.training)


def units_from(category: str, training: TrainingParts | None) -> BankUnits:
    """The units of the banks that training parts taught; ``training``: None if there are no such parts.

    Raises:
        InputError: there are none; the message names the category and the reason.
    """
    if training is not None and training.calibrated is not None:
        return training.calibrated
    try:
        if training is None or not training.bank_map:
            raise InputError(
                f"{CALIBRATED}: no statistics of training parts are at hand; maps that were saved before there was "
                f"this scoring lack them: save them again with main.py --scoring {CALIBRATED} --save_maps DIR"
            )
        return bank_units(training.bank_map)  # its InputError says why there are none
    except InputError as error:
        raise InputError(f"{category}: {error}") from None


def metrics(evaluation: Evaluation, scored: Mapping[str, Scored]) -> dict[str, Metrics]:
    """Image ROCAUC, pixel ROCAUC and AU-PRO of every scoring.

    Args:
        evaluation: Evaluation.
        scored: {name: Scored} from :func:`score`; the pixel metrics of a shared list of maps are computed once.

    Returns:
        {name: Metrics}; pixel metrics are None where a defective part has no mask.
    """
    labels, masks = evaluation.label, evaluation.mask if evaluation.complete_masks else None
    known: dict[int, Metrics] = {}
    out = {}
    for name, (scores, maps) in scored.items():
        if id(maps) not in known:
            known[id(maps)] = compute_metrics(labels, scores, masks, maps, evaluation.path)
        out[name] = replace(known[id(maps)], image_rocauc=roc_auc(labels, scores, evaluation.path))
    return out


def extra_metrics(
    evaluation: Evaluation, scored: Mapping[str, Scored], names: Sequence[str]
) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """{scoring: {name: (value, threshold)}} of ``extra_metrics.py``; pixel metrics are None if a mask is missing."""
    masks = evaluation.mask if evaluation.complete_masks else None
    return _extra_metrics.extra_metrics(evaluation.label, masks, scored, names)
