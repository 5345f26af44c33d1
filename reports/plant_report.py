"""The report for the plant: what tools/predict.py has judged into a folder, as one HTML page that can be sent, made
from templates/plant.html.
"""

import io
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from common.errors import InputError
from data.pairing import natural
from inspection.predictions import LINES, Row, read_lines
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, VERDICTS, Rate, outcome, percent, rate
from reports.pages import picture_url, write_page

SHOWN = 60  # failed parts with pictures; verdicts.csv has all
PICTURE = 900  # pixels of a picture's longer side on the page
COLOURS = {PASS: "#00781f", FAIL: "#be0000", CANNOT_JUDGE: "#b06a00"}


def write_plant_report(folder: Path, out: Path) -> Path:
    """Write ``out``/report.html about the verdicts in ``folder``; returns its path.
    Raises InputError: the folder holds no verdicts."""
    rows = sorted(read_lines(folder / LINES), key=lambda row: (row["time"], natural(row["path"])))
    if not rows:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    failed = [row for row in rows if row["verdict"] == FAIL]
    first = sorted(failed, key=_above, reverse=True)[:SHOWN]
    write_page(
        "plant.html",
        out / "report.html",
        folder=folder.resolve().name,
        from_to=_from_to(rows),
        models=sorted({(row.get("model", ""), row.get("options", "")) for row in rows}),
        counts={name: sum(row["verdict"] == name for row in rows) for name in VERDICTS},
        failed=[{**row, "why": _why(row), "picture": _picture(folder, row)} for row in first],
        more_failed=failed if len(failed) > SHOWN else [],
        unjudged=[row for row in rows if row["verdict"] == CANNOT_JUDGE],
        warned=[row for row in rows if row.get("warning")],
        rates=_rates(rows),
        trend=_trend(rows),
        colours=COLOURS,
        percent=percent,
    )
    return out / "report.html"


def _from_to(rows: list[Row]) -> str:
    times = [row["time"][:16].replace("T", " ") for row in rows if row["time"]]
    return " to ".join(dict.fromkeys((times[0], times[-1]))) if times else ""


def _rates(rows: list[Row]) -> list[tuple[str, Rate]]:
    """[(what, Rate)]; parts with which the model was fitted or calibrated say nothing of false alarms and escapes."""
    judged = [row for row in rows if row["verdict"] != CANNOT_JUDGE]
    found = [
        ("parts that fail, of those judged", rate(sum(row["verdict"] == FAIL for row in judged), len(judged))),
        ("parts that cannot be judged, of all", rate(len(rows) - len(judged), len(rows))),
    ]
    labelled = [row for row in rows if "label" in row and "known" not in row]
    if labelled:
        known = outcome([row["verdict"] for row in labelled], [row["label"] for row in labelled])
        found += [
            ("good parts that fail (false alarms)", known.false_reject),
            ("defective parts that pass (escapes)", known.escape),
        ]
    return found


def _why(row: Row) -> str:
    """Why a part fails, in words; the terms of its score stand in verdicts.csv."""
    return row.get("explanation", "").partition("; score ")[0]


def _above(row: Row) -> float:
    """How far a part's score is above its limit, as a share of the limit (which may be negative); 0 if it was not
    judged."""
    return 0.0 if row.get("score") is None else (row["score"] - row["threshold"]) / (abs(row["threshold"]) or 1.0)


def _trend(rows: list[Row]) -> str:
    """A picture (URL with its content) of each part's score against its limit, in the order of time; a line stands
    before each new day or recording."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for verdict, colour in COLOURS.items():
        places = [number for number, row in enumerate(rows, 1) if row["verdict"] == verdict]
        heights = [_above(rows[number - 1]) for number in places]
        axes.plot(places, heights, "x" if verdict == CANNOT_JUDGE else "o", color=colour, label=verdict, markersize=4)
    for number, (row, following) in enumerate(pairwise(rows), 1):
        if (row["time"][:10], row["recording"]) != (following["time"][:10], following["recording"]):
            axes.axvline(number + 0.5, color="#9aa5b1", linewidth=0.8)
    axes.axhline(0, color="black", linewidth=1)
    axes.set(xlabel="part, in the order of judging", ylabel="(score - limit) / limit", xlim=(0.5, len(rows) + 0.5))
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=200)
    return picture_url(content.getvalue(), "png")


def _picture(folder: Path, row: Row) -> str:
    """A part's picture, made smaller, as a URL with its content; "" if predict.py drew none."""
    path = folder / "pictures" / row.get("pictures", Path(row["path"]).with_suffix(".png"))
    try:
        with Image.open(path) as picture:
            picture.thumbnail((PICTURE, PICTURE))
            content = io.BytesIO()
            picture.convert("RGB").save(content, "JPEG", quality=80)
    except OSError:
        return ""
    return picture_url(content.getvalue(), "jpeg")
