"""Scores and metrics of one category, computed from the maps and scores of its test parts.

Runs, rescoring of saved maps, map images and reports call :func:`score` and :func:`metrics`. The input is an
``Evaluation`` (``scoring/measured.py``; its names can be imported from here as well).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import scoring_addon
from common.errors import InputError
from scoring.ablation import Scored
from scoring.au_pro import area_up_to, calculate_au_pro
from scoring.measured import SUFFIX, Array, Evaluation, TrainingParts, find_saved, read, units_from, write
from scoring.metrics import Metrics, compute_metrics
from scoring.scorings import BASELINE, SCORINGS, ScoringInput, scoring_problem
from scoring_addon import Parameters

__all__ = ["SUFFIX", "Evaluation", "TrainingParts", "extra_metrics", "find_saved", "metrics", "read", "score"]
__all__ += ["units_from", "write"]
EXTRA_METRICS = {f"au_pro_{percent}": percent / 100 for percent in (1, 5, 30)}  # highest false-positive rate


def score(
    evaluation: Evaluation,
    names: Iterable[str],
    parameters: Parameters = scoring_addon.DEFAULTS,
    reference: str = "test",
) -> dict[str, Scored]:
    """Image scores and maps of several scorings.

    Args:
        names: keys of ``scoring.scorings.SCORINGS``.
        parameters: of the paper's scorings.
        reference: the parts whose minima and maxima normalise the statistics: "test" (as in the paper) or "train".

    Returns:
        {name: Scored}: the baseline first, then ``names`` in order; scorings with the same pixel maps share one list.

    Raises InputError: the method cannot have a scoring, or the training parts that a scoring needs were not saved.
    """
    names = list(dict.fromkeys([BASELINE, *names]))
    for name in names:
        problem = scoring_problem(name, list(evaluation.bank_map), parameters.map_source)
        if problem:
            raise InputError(f"{evaluation.category}: {problem}")
    measured = ScoringInput(evaluation, parameters, reference)
    maps = {name: getattr(measured, SCORINGS[name].maps) for name in names}
    return {name: Scored(SCORINGS[name].score(measured, own), own) for name, own in maps.items()}


def metrics(evaluation: Evaluation, scored: Mapping[str, Scored]) -> dict[str, Metrics]:
    """{name: Metrics} of {name: Scored} from :func:`score`; pixel metrics are None where a defective part has no mask.

    The pixel metrics of a shared list of maps are computed once.
    """
    known: dict[int, Metrics] = {}
    out = {}
    for name, (scores, maps) in scored.items():
        masks = None if id(maps) in known else evaluation.masks
        own = compute_metrics(evaluation.label, scores, masks, maps, evaluation.path)
        out[name] = replace(known.setdefault(id(maps), own), image_rocauc=own.image_rocauc)
    return out


def extra_metrics(
    evaluation: Evaluation, scored: Mapping[str, Scored], names: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """{scoring: {name: AU-PRO with all distinct thresholds}} for ``names`` of EXTRA_METRICS; None if a mask is missing.

    The curve of a shared list of maps is computed once.
    """
    curves: dict[int, tuple[Array, Array]] = {}
    out: dict[str, dict[str, float | None]] = {}
    for scoring, (_, maps) in scored.items():
        if evaluation.masks is not None and names and id(maps) not in curves:
            curves[id(maps)] = calculate_au_pro(evaluation.masks, maps, num_thresholds="exact")[1]
        fprs, pros = curves.get(id(maps), ((), ()))
        out[scoring] = {
            name: float(area_up_to(fprs, pros, EXTRA_METRICS[name]) / EXTRA_METRICS[name]) if len(fprs) else None
            for name in names
        }
    return out
