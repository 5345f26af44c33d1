"""What tools/report.py shows about the scoring ``calibrated``, which this project adds to the paper's."""

from reports import figures as figures
from scoring.evaluation import bank_maps, units_of
from scoring.scorings import CALIBRATED
from scoring.shares import map_terms, score_shares
from scoring_addon import DEFAULTS

NAMES = {"xyz": "3D", "rgb": "RGB", "fusion": "fusion"}


def caption(page, summaries, note):
    """Add a paragraph that explains calibrated, if any category has it; ``note``: why some category lacks it, or ""."""
    if any(CALIBRATED in of.metrics for of in summaries):
        page.tag(
            "p",
            "Calibrated (ours, not the paper's): each bank's map in a unit of its own, 0 the mean and 1 the "
            "hottest spots of the maps of normal training parts, each measured without its own rows; per pixel "
            "the larger of the banks, as image score the mean of the 64 largest pixels. It reads no test part.",
        )
    if note:
        page.tag("p", f"{note[0].upper()}{note[1:]}.", style="warning")


def panel(category, index):
    """(heading, calibrated map [S, S]) of part ``index`` for the figure of its maps; None without calibrated."""
    if CALIBRATED not in category.scored:
        return None
    of = category.scored[CALIBRATED]
    return f"{CALIBRATED}: {of.image_preds[index]:.4g}", of.predictions[index]


def explanation_section(page, category, index):
    """Add how much of part ``index``'s calibrated score comes from each bank; nothing without calibrated."""
    if CALIBRATED not in category.scored:
        return
    saved, statistics = category.saved, units_of(category.saved)
    score = float(category.scored[CALIBRATED].image_preds[index])
    maps = bank_maps(saved)[index]
    terms = map_terms(CALIBRATED, maps, {}, DEFAULTS, statistics)
    known = score_shares(CALIBRATED, terms, maps, {}, {}, DEFAULTS, None, statistics)
    shares = {bank: known.get(bank, 0.0) for bank in (*statistics.banks, *statistics.left_out)}
    units = dict(zip(statistics.banks, zip(statistics.level, statistics.scale)))
    page.tag("h3", "The same part's calibrated score, in shares of the banks")
    page.tag(
        "p",
        f"{saved.path[index]}: the score is the mean of the {statistics.topk} largest pixels of the "
        f"calibrated map, and each pixel's value is that of the bank which is largest there, (map − level) / "
        f"unit. So the shares add up to the score. The level and unit of each bank come from {statistics.parts} "
        f"normal training parts, whose own scores lie between {min(statistics.scores):.4g} and "
        f"{max(statistics.scores):.4g}.",
    )
    rows = [
        [NAMES.get(bank, bank), *(f"{value:.6g}" for value in units[bank]), f"{share:.6g}"]
        if bank in units
        else [NAMES.get(bank, bank), "no spread in the training maps", "left out", f"{share:.6g}"]
        for bank, share in shares.items()
    ]
    page.table(
        ["bank", "level", "unit", "share of the score"], [*rows, ["score", "", "", f"{score:.6g}"]], sums=[len(rows)]
    )
    stack = {CALIBRATED: tuple((NAMES.get(bank, bank), share) for bank, share in shares.items())}
    page.figure(
        "explained_calibrated",
        figures.stacked_terms(stack),
        "Bar of the calibrated score, stacked by bank",
        "The calibrated score by bank.",
    )
