"""Scores and metrics of one category, computed from the maps and scores of its test parts.

Every number comes from ``score`` and ``metrics``: runs, rescoring of saved maps, map images and reports all call them.
This module needs numpy, and scipy and scikit-learn for the metrics. It uses no network and no command line. Maps are
[S, S], larger = more anomalous; n is the number of test parts.

The input is an ``Evaluation`` (``scoring/measured.py``). ``write`` and ``read`` save and load it; ``saved_maps.py``
describes the file format. These names can be imported from here as well.
"""

import numpy as np

import scoring.extra_metrics
import scoring_addon
from common.errors import InputError
from scoring.ablation import Scored, needs_maps, score_all
from scoring.calibrated import calibrated_map, image_score, training_statistics
from scoring.measured import Evaluation, TrainingParts
from scoring.metrics import Metrics, compute_metrics, roc_auc
from scoring.saved_maps import SUFFIX, find_saved, read, write
from scoring.scorings import CALIBRATED, scoring_problem

__all__ = [
    "SUFFIX",
    "Evaluation",
    "TrainingParts",
    "bank_maps",
    "calibrated_statistics",
    "extra_metrics",
    "find_saved",
    "metrics",
    "read",
    "score",
    "write",
]
BASELINE = "baseline"


def score(evaluation, names, parameters=scoring_addon.DEFAULTS, reference="test"):
    """Image scores and maps of several scorings.

    Args:
        evaluation: Evaluation.
        names: keys of ``scoring.scorings.ALL``.
        parameters: ``scoring_addon.Parameters``; "calibrated" uses none of them.
        reference: the parts whose minima and maxima normalise the statistics: "test" (as in the paper) or "train".

    Returns:
        {name: Scored}: the baseline first, then ``names`` in order; scorings with the same pixel maps share one list.

    Raises:
        InputError: the method cannot have a scoring, or the training parts that a scoring needs were not saved.
    """
    for name in names:
        problem = scoring_problem(name, list(evaluation.bank_map), parameters.map_source)
        if problem:
            raise InputError(f"{evaluation.category}: {problem}")
    known = None
    names = list(dict.fromkeys([BASELINE, *names]))
    of_paper = [name for name in names if name != CALIBRATED]
    if reference == "train" and needs_maps(of_paper):
        known = evaluation.training and evaluation.training.reference(parameters)
        if known is None:
            raise InputError(
                f"{evaluation.category}: no training parts' maps are at hand, which --scoring_reference train needs "
                "with these parameters; save with --save_train_maps"
            )
    statistics = calibrated_statistics(evaluation) if CALIBRATED in names else None
    scored = score_all(
        of_paper, evaluation.decision_score, list(evaluation.decision_map), evaluation.samples, parameters, known
    )
    if statistics is not None:
        maps = [calibrated_map(one, statistics) for one in bank_maps(evaluation)]
        scored[CALIBRATED] = Scored(np.array([image_score(m, statistics.topk) for m in maps]), maps)
    return {name: scored[name] for name in names}


def bank_maps(evaluation):
    """n dicts {bank: [S, S]}, one per test part."""
    return [dict(zip(evaluation.bank_map, maps)) for maps in zip(*evaluation.bank_map.values())]


def calibrated_statistics(evaluation):
    """The ``scoring.calibrated.TrainingStatistics`` of an evaluation.

    Raises:
        InputError: there are none; the message says why.
    """
    return training_units(evaluation.category, evaluation.training)


def training_units(category, training):
    """The ``scoring.calibrated.TrainingStatistics`` in ``training``, which is a TrainingParts or None.

    Raises:
        InputError: there are none; the message names the category and the reason.
    """
    if training is not None and training.calibrated is not None:
        return training.calibrated
    try:
        if training is None or not training.bank_map:
            raise InputError(
                "calibrated: no statistics of training parts are at hand; maps that were saved before there was this "
                "scoring lack them: save them again with main.py --scoring calibrated --save_maps DIR"
            )
        return training_statistics(training.bank_map)  # its InputError says why there are none
    except InputError as error:
        raise InputError(f"{category}: {error}") from None


def metrics(evaluation, scored):
    """Image ROCAUC, pixel ROCAUC and AU-PRO of every scoring.

    Args:
        evaluation: Evaluation.
        scored: {name: Scored} from :func:`score`; the pixel metrics of a shared list of maps are computed once.

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
    """{scoring: {name: (value, threshold)}} of ``extra_metrics.py``; pixel metrics are None if a mask is missing."""
    masks = evaluation.mask if evaluation.has_mask.all() else None
    return scoring.extra_metrics.extra_metrics(evaluation.label, masks, scored, names)


def _flat(maps):
    return np.concatenate([np.ravel(m) for m in maps])
