"""Scores and metrics of one category, computed from the maps and scores of its test parts.

Every number comes from :func:`score` and :func:`metrics`: runs, rescoring of saved maps, map images and reports call
them. The input is an ``Evaluation``, which ``write`` and ``read`` save and load (``scoring/measured.py``); those names
can be imported from here as well. No network, no command line. Maps are [S, S], larger = more anomalous; n is the
number of test parts.
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

__all__ = ["SUFFIX", "Evaluation", "TrainingParts", "bank_maps", "extra_metrics", "find_saved", "metrics", "read"]
__all__ += ["score", "units_from", "write"]
EXTRA_METRICS = {f"au_pro_{percent}": percent / 100 for percent in (1, 5, 30)}  # highest false-positive rate


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
    measured = ScoringInput(evaluation, parameters, reference)
    maps = {name: SCORINGS[name].map.maps(measured) for name in names}
    return {name: Scored(SCORINGS[name].score(measured, own), own) for name, own in maps.items()}


def bank_maps(evaluation: Evaluation) -> list[dict[str, Array]]:
    """n dicts {bank: [S, S]}, one per test part."""
    return [dict(zip(evaluation.bank_map, maps)) for maps in zip(*evaluation.bank_map.values())]


def metrics(evaluation: Evaluation, scored: Mapping[str, Scored]) -> dict[str, Metrics]:
    """Image ROCAUC, pixel ROCAUC and AU-PRO of every scoring.

    Args:
        evaluation: Evaluation.
        scored: {name: Scored} from :func:`score`; the pixel metrics of a shared list of maps are computed once.

    Returns:
        {name: Metrics}; pixel metrics are None where a defective part has no mask.
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

    def value(limit: float, maps: list[Array]) -> float | None:
        if evaluation.masks is None:
            return None
        if id(maps) not in curves:
            curves[id(maps)] = calculate_au_pro(evaluation.masks, maps, num_thresholds="exact")[1]
        fprs, pros = curves[id(maps)]
        return float(area_up_to(fprs, pros, limit) / limit) if len(fprs) else None

    return {
        scoring: {name: value(EXTRA_METRICS[name], of.predictions) for name in names} for scoring, of in scored.items()
    }
