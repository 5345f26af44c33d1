"""Whether one test part alone sets the scale on which the add-on's statistics are normalised over the test set."""

import numpy as np

import scoring_addon

LEFT = 0.1  # share of the scale that all other parts take together: less is worth a word
FEWEST = 4  # test parts: among fewer, a defective part may well lie far from the others
NORMALISED = ("partial", "full", "disagreement")  # scorings whose statistics are normalised


def dominating_part(paths, scored, topk=scoring_addon.DEFAULTS.topk):
    """A text that names the part which sets the scale of S_base or Q95 of M_pix; None where no part does.

    Statistics are normalised by their smallest and largest value over the test set (section 3.6 of the paper). Where
    one part is so far off that all others lie within a tenth of that range, the others are hardly told apart by what
    is computed from them.

    Args:
        paths: [n] the parts' names. scored: {scoring: Scored}. topk: of S_base.
    """
    maps = next((scored[name].predictions for name in NORMALISED if name in scored), None)
    if maps is None or len(maps) < FEWEST:
        return None
    found = {}
    for name, statistic in (
        ("S_base", lambda m: scoring_addon.base_score(m, topk)),
        ("Q95", lambda m: scoring_addon.quantile(m, 0.95)),
    ):
        values = np.array([statistic(m) for m in maps])
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        for part, low, high in ((order[-1], 0, -2), (order[0], 1, -1)):
            if span > 0 and values[order[high]] - values[order[low]] < LEFT * span:
                found.setdefault(paths[part], []).append((name, (values[order[high]] - values[order[low]]) / span))
    if not found:
        return None
    part, what = next(iter(found.items()))
    shown = " and ".join(f"{name} ({share:.0%})" for name, share in what)
    return (
        f"{part}: this part alone sets the scale on which statistics are normalised over the test set; all other parts "
        f"lie within a small share of it: {shown}; look at its files, or normalise with --scoring_reference train"
    )
