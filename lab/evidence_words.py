"""Names and wording of the evidence page: scorings, variants of the late fusion, metrics, cells of tables."""

import itertools
from pathlib import Path

from common.files import atomic_path

SCORINGS = ("baseline", "pixel_max", "disagreement", "full", "calibrated")
PAIRED = ("baseline", "disagreement", "calibrated")  # differences between these come with intervals
LATE_FUSION = {  # the late fusion with one component exchanged, in the order of the table
    "sum": "no SVM: sum, released lambdas",
    "svm_lambdas_1": "SVM, all lambdas 1",
    "svm_units": "SVM, lambdas 1 / each bank's normal spread",
    "sum_units": "no SVM: sum, each bank over its normal spread",
}
METRICS = {
    "image_rocauc": "image ROCAUC",
    "pixel_rocauc": "pixel ROCAUC",
    "au_pro": "AU-PRO 30 %",
    "au_pro_5": "AU-PRO 5 %",
    "au_pro_1": "AU-PRO 1 %",
    "aupimo": "AUPIMO",
    "pg_5": "PG at 5 % missed",
    "pb_5": "PB at 5 % false alarms",
}
NOT_RUN = "not run"
BESIDE = "Generated parts are not a benchmark."
UNTRAINED = "Networks called (stand-in) have untrained weights."


def table(header, rows):
    """Markdown lines of a table.

    Neighbouring rows with the same first cell and nothing but "not run" become one row. Its second cell lists theirs,
    or is "all" if the table has no other row with that first cell.
    """
    shown = []
    for (first, empty), joined in itertools.groupby(rows, lambda row: (row[0], set(row[2:]) - {""} == {NOT_RUN})):
        joined = [list(row) for row in joined]
        if empty and len(joined) > 1:
            whole = len(joined) == sum(row[0] == first for row in rows)
            joined = [[first, "all" if whole else ", ".join(row[1] for row in joined), *joined[0][2:]]]
        shown += joined
    lines = ["| " + " | ".join(row) + " |" for row in (header, *shown)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]


def note(e):
    """The note under every table: that parts are generated, that networks are untrained."""
    return "\n" + " ".join([*([BESIDE] if e.generated else []), *([UNTRAINED] if e.standin else [])])


def shown(mean):
    """Text of a Mean: value, standard deviation over the seeds, and the number of categories if some are missing."""
    if mean is None:
        return NOT_RUN
    spread = "" if mean.sd is None else f" ± {mean.sd:.3f}"
    return f"{mean.value:.3f}{spread}" + (f" ({mean.count} of {mean.whole})" if mean.count < mean.whole else "")


def interval(of):
    """Text of a Difference and its interval."""
    return NOT_RUN if of is None else f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def group(of, scoring):
    """Text of a mean and its Difference to the baseline; ``of``: (mean, Difference)."""
    if of is None:
        return NOT_RUN
    return f"{of[0]:.3f}" + ("" if scoring == "baseline" else f" ({interval(of[1])})")


def figure(out, name, content, alt):
    """Write a PNG to ``out``; returns the markdown lines that show it."""
    with atomic_path(Path(out) / f"{name}.png") as temporary:
        Path(temporary).write_bytes(content)
    return [f"![{alt}]({name}.png)", ""]
