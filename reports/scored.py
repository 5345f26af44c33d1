"""A file of saved maps, read and scored: what the report's page and the tables are made of."""

from typing import NamedTuple

import numpy as np

import scoring_addon
from common.errors import InputError
from scoring.evaluation import Evaluation, extra_metrics, metrics, read, score, units_of
from scoring.scorings import CALIBRATED, scoring_names


class ScoredCategory(NamedTuple):
    """A scored category: its Evaluation, the parameters and reference used, {scoring: Scored}, {scoring: Metrics},
    {scoring: {further metric: (value, threshold)}}, and why calibrated is not among the scorings ("" if it is)."""

    saved: Evaluation
    parameters: scoring_addon.Parameters
    reference: str
    scored: dict
    metrics: dict
    extra: dict
    lacks: str

    @property
    def name(self):
        """The category."""
        return self.saved.category


def scored_category(path, asked=("all",), choose=lambda _: (scoring_addon.DEFAULTS, "test"), further=()):
    """The ScoredCategory of a file of saved maps.

    Args:
        asked: names of scorings; "all": all that the maps allow.
        choose: function of the Evaluation that returns the parameters and the reference.
        further: names of further metrics.

    Raises:
        InputError: the file cannot be read or scored.
    """
    saved, lacks = read(path), ""
    try:
        parameters, reference = choose(saved)
        names = scoring_names(asked, list(saved.bank_map), parameters.map_source)
        if "all" in asked:
            try:
                units_of(saved)
            except InputError as error:
                lacks, names = str(error).split(": ", 2)[-1], [name for name in names if name != CALIBRATED]
        scored = score(saved, names, parameters, reference)
        unfit = [name for name, of in scored.items() if not np.isfinite(of.image_preds).all()]
        if unfit:
            raise ValueError(f"scoring {unfit[0]} gives scores that are not finite")
        extra = extra_metrics(saved, scored, further)
        return ScoredCategory(saved, parameters, reference, scored, metrics(saved, scored), extra, lacks)
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: cannot be scored: {error}") from None


def left_out_text(missing):
    """One line on the categories without calibrated, "" if there are none; ``missing``: {category: why}."""
    return f"{CALIBRATED} is left out of {', '.join(missing)}: {next(iter(missing.values()))}" if missing else ""


def calibrated_text(evaluations):
    """A sentence for a caption: how many normal training parts calibrated was computed from, and banks left out."""
    known = [(saved.category, units_of(saved)) for saved in evaluations]
    counts = sorted({units.parts for _, units in known})
    out = [
        f"{category} without its {' and '.join(units.left_out)} bank, whose training maps show no spread"
        for category, units in known
        if units.left_out
    ]
    return (
        f"{CALIBRATED} is ours, not the paper's: banks in units of {' / '.join(map(str, counts))} normal training "
        f"parts, no test part is read{'; ' + ', '.join(out) if out else ''}."
    )
