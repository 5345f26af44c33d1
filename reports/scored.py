"""A file of saved maps, read and scored, which the report's page and the tables are made of; and a table as files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

import scoring_addon
from common.errors import InputError
from common.files import atomic_write_text
from runs.results import UNDEFINED, csv_text, escaped
from scoring.evaluation import Evaluation, extra_metrics, metrics, read, score
from scoring.scorings import CALIBRATED, scoring_names

PRINTED = 80  # rows; of a longer table only the caption is printed


class ScoredCategory(NamedTuple):
    """A scored category: its Evaluation, the parameters and reference used, {scoring: Scored}, {scoring: Metrics},
    {scoring: {further metric: value}}, and why calibrated is not among the scorings ("" if it is)."""

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


class Table(NamedTuple):
    """A table; None in a row is an undefined value."""

    name: str
    caption: str
    header: list
    rows: list

    def write(self, folder):
        """Write <name>.md and .csv (unrounded) into ``folder``. Print the markdown; of a long table only the
        caption."""

        def shown(place, value):
            if value is None and place > 1:
                return UNDEFINED
            return f"{value:.3f}" if isinstance(value, float) else escaped(str(value))

        path = Path(folder) / self.name
        texts = [[shown(place, value) for place, value in enumerate(row)] for row in self.rows]
        table = tabulate(texts, map(escaped, self.header), tablefmt="pipe", disable_numparse=True)
        atomic_write_text(f"{path}.md", f"{self.caption}\n\n{table}\n")
        atomic_write_text(f"{path}.csv", csv_text([self.header, *self.rows]))
        shown_rows = f"\n{table}" if len(texts) <= PRINTED else f"({len(texts)} rows: {path}.csv)"
        print(f"{self.caption}\n{shown_rows}\n", flush=True)


def scored_category(path, asked=("all",), choose=lambda _: (scoring_addon.DEFAULTS, "test"), further=()):
    """The ScoredCategory of a file of saved maps.

    Args:
        asked: names of scorings; "all": all that the maps allow.
        choose: function of the Evaluation that returns the parameters and the reference.

    Raises InputError: the file cannot be read or scored.
    """
    saved, lacks = read(path), ""
    try:
        parameters, reference = choose(saved)
        names = scoring_names(asked, list(saved.bank_map), parameters.map_source)
        if "all" in asked:
            try:
                saved.units
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
    missing = {name: why for name, why in missing.items() if why}
    return f"{CALIBRATED} is left out of {', '.join(missing)}: {next(iter(missing.values()))}" if missing else ""
