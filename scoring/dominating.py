"""Detects a test part that alone sets the scale on which the add-on normalises statistics over the test set."""

from collections.abc import Mapping, Sequence

import numpy as np

import scoring_addon
from scoring.ablation import Scored
from scoring.scorings import REFERENCE, SCORINGS

LEFT = 0.1  # warn if all other parts together take less than this share of the scale
FEWEST = 4  # test parts: with fewer, a defective part may well lie far from the others


def dominating_part(
    paths: Sequence[str], scored: Mapping[str, Scored], topk: int = scoring_addon.DEFAULTS.topk
) -> str | None:
    """A warning that names the part which alone sets the scale of all other parts' scores; None if no part does.

    The add-on maps the smallest value of a statistic in the test set to 0 and the largest to 1 (section 3.6 of the
    paper). Beside one huge value all others end up close to 0, so they hardly differ.

    Args:
        paths: names of the n parts.
        scored: {scoring: Scored} of the same parts; only of scorings that normalise there is a warning.
        topk: number of largest pixels that S_base averages.
    """
    maps = next((of.predictions for name, of in scored.items() if REFERENCE in SCORINGS[name].needs), None)
    if maps is None or len(maps) < FEWEST:
        return None
    found: dict[str, list[str]] = {}
    for name, values in (
        ("S_base", np.array([scoring_addon.base_score(m, topk) for m in maps])),
        ("Q95", np.array([np.quantile(m, 0.95) for m in maps])),
    ):
        order, span = np.argsort(values, kind="stable"), np.ptp(values)
        for part in order[[-1, 0]] if span > 0 else ():
            share = np.ptp(np.delete(values, part)) / span
            if share < LEFT:
                found.setdefault(paths[part], []).append(f"{name} ({share:.0%})")
    if not found:
        return None
    part, shares = next(iter(found.items()))
    return (
        f"{part}: this part alone sets the scale on which statistics are normalised over the test set; all other parts "
        f"lie within a small share of it: {' and '.join(shares)}; look at its files, or normalise with "
        "--scoring_reference train"
    )
