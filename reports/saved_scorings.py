"""Which scorings can be computed from saved maps, and the messages where calibrated cannot be."""

from common.errors import InputError
from scoring.evaluation import units_of
from scoring.scorings import CALIBRATED, available_scorings


def saved_scorings(saved, map_source="decision"):
    """(names of the scorings, why calibrated is not among them: "" if it is).

    Args:
        saved: Evaluation.
        map_source: where M_fusion comes from, "decision" or "bank".
    """
    names = available_scorings(list(saved.bank_map), map_source)
    try:
        units_of(saved)
    except InputError as error:
        return [name for name in names if name != CALIBRATED], str(error).split(": ", 2)[-1]
    return names, ""


def left_out_text(missing):
    """One line on the categories without calibrated, "" if there are none; ``missing``: {category: why}."""
    return f"{CALIBRATED} is left out of {', '.join(missing)}: {next(iter(missing.values()))}" if missing else ""


def calibrated_text(evaluations):
    """A sentence for a caption: how many normal training parts calibrated was computed from, and banks left out."""
    known = [(saved.category, units_of(saved)) for saved in evaluations]
    counts = sorted({statistics.parts for _, statistics in known})
    out = [
        f"{category} without its {' and '.join(statistics.left_out)} bank, whose training maps show no spread"
        for category, statistics in known
        if statistics.left_out
    ]
    return (
        f"{CALIBRATED} is ours, not the paper's: banks in units of {' / '.join(map(str, counts))} normal training "
        f"parts, no test part is read{'; ' + ', '.join(out) if out else ''}."
    )
