"""The evidence's names and wording: scorings, variants of the late fusion, metrics; cells of tables."""

from pathlib import Path

from utils.files import atomic_path

SCORINGS = ("baseline", "pixel_max", "disagreement", "full", "calibrated")
PAIRED = ("baseline", "disagreement", "calibrated")  # differences between these come with intervals
LATE_FUSION = {  # the late fusion with one of its parts exchanged, in the order of the chain
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
    """Markdown lines."""
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def note(e):
    """What stands beside every table."""
    return "\n" + " ".join([*([BESIDE] if e.generated else []), *([UNTRAINED] if e.standin else [])])


def shown(mean, count=True):
    if mean is None:
        return NOT_RUN
    return (
        f"{mean.value:.3f}"
        + ("" if mean.sd is None else f" ± {mean.sd:.3f}")
        + (f" (of {mean.count})" if count else "")
    )


def interval(of):
    return NOT_RUN if of is None else f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"


def group(of, scoring):
    if of is None:
        return NOT_RUN
    return f"{of[0]:.3f}" + ("" if scoring == "baseline" else f" ({interval(of[1])})")


def figure(out, name, content, alt):
    with atomic_path(Path(out) / f"{name}.png") as temporary:
        Path(temporary).write_bytes(content)
    return [f"![{alt}]({name}.png)", ""]
