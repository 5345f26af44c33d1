"""The report for the plant: what tools/predict.py has judged into a folder, as one HTML page that can be sent.

Verdicts first, then the parts that failed with their pictures, rates with intervals, the trend, and why parts could not
be judged (templates/plant.html). The page holds its pictures, made smaller.
"""

import io
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from common.errors import InputError
from data.pairing import natural
from inspection.predictions import LINES, Row, read_lines
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS, VERDICTS, Rate, outcome, percent, rate
from reports.pages import picture_url, write_page

SHOWN = 60  # failed parts with pictures; verdicts.csv has all
PICTURE = 900  # pixels of a picture's longer side on the page
COLOURS = {PASS: "#00781f", FAIL: "#be0000", CANNOT_JUDGE: "#b06a00"}
MOST_POINTS = 2000  # of the trend that are drawn as shapes; more become a picture


def read_judged(folder: str | Path) -> list[Row]:
    """The parts judged into ``folder``, in the order of their times.

    Raises:
        InputError: the folder holds no verdicts.
    """
    rows = read_lines(Path(folder) / LINES)
    if not rows:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    return sorted(rows, key=lambda row: (row["time"], natural(row["path"])))


def write_plant_report(folder: str | Path, out: str | Path) -> Path:
    """Write ``out``/report.html about the verdicts in ``folder``; returns its path.

    Raises:
        InputError: the folder holds no verdicts.
    """
    path = Path(out) / "report.html"
    write_page("plant.html", path, **facts_of(read_judged(folder), Path(folder)), percent=percent)
    return path


def facts_of(rows: list[Row], folder: Path) -> dict[str, Any]:
    """{name: value} that the template shows, of the ``rows`` in ``folder``."""
    failed = [row for row in rows if row["verdict"] == FAIL]
    first = sorted(failed, key=lambda row: _above(row) or 0.0, reverse=True)[:SHOWN]
    return {
        "folder": folder.resolve().name,
        "from_to": _from_to(rows),
        "models": sorted({(row.get("model", ""), row.get("options", "")) for row in rows}),
        "counts": {name: sum(row["verdict"] == name for row in rows) for name in VERDICTS},
        "failed": [{**row, "why": _why(row), "picture": _picture(folder, row)} for row in first],
        "more_failed": failed if len(failed) > SHOWN else [],
        "unjudged": [row for row in rows if row["verdict"] == CANNOT_JUDGE],
        "warned": [row for row in rows if row.get("warning")],
        "rates": _rates(rows),
        "groups": _groups(rows),
        "trend": _trend(rows),
        "colours": COLOURS,
    }


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


def _groups(rows: list[Row]) -> list[tuple[str, str, dict[str, int], Rate]]:
    """[(day, recording, {verdict: number}, Rate of parts that fail)], in the order of time."""
    found = []
    for key, own in groupby(sorted(rows, key=_day_and_recording), _day_and_recording):
        verdicts = [row["verdict"] for row in own]
        counts = {name: verdicts.count(name) for name in VERDICTS}
        found.append((*key, counts, rate(counts[FAIL], counts[FAIL] + counts[PASS])))
    return found


def _day_and_recording(row: Row) -> tuple[str, str]:
    return row["time"][:10], row["recording"]


def _why(row: Row) -> str:
    """Why a part fails, in words; the terms of its score stand in verdicts.csv."""
    return row.get("explanation", "").partition("; score ")[0]


def _above(row: Row) -> float | None:
    """How far a part's score is above its limit, as a share of the limit (which may be negative); None if it was not
    judged."""
    return None if row.get("score") is None else (row["score"] - row["threshold"]) / (abs(row["threshold"]) or 1.0)


def _trend(rows: list[Row]) -> str:
    """A picture (URL with its content) of each part's score against its limit, in the order of time; a line stands
    before each new day or recording."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes, start = figure.add_subplot(), 0
    points = [(number, _above(row), COLOURS[row["verdict"]]) for number, row in enumerate(rows, 1)]
    known = [point for point in points if point[1] is not None]
    if known:
        x, y, colours = zip(*known)
        axes.scatter(x, y, s=16, c=colours, rasterized=len(known) > MOST_POINTS)
    lacking = [number for number, value, _ in points if value is None]
    axes.plot(lacking, [0] * len(lacking), "x", color=COLOURS[CANNOT_JUDGE], markersize=6, clip_on=False)
    for _, own in groupby(rows, _day_and_recording):
        if start:
            axes.axvline(start + 0.5, color="#9aa5b1", linewidth=0.8)
        start += len(list(own))
    axes.axhline(0, color="black", linewidth=1)
    axes.set(xlabel="part, in the order of judging", ylabel="(score - limit) / limit", xlim=(0.5, len(rows) + 0.5))
    marks = [Line2D([], [], color=COLOURS[name], marker=".x"[name == CANNOT_JUDGE], linestyle="") for name in VERDICTS]
    figure.legend(marks, VERDICTS, loc="outside upper right", ncols=3, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="svg", dpi=150, metadata={"Date": None})
    return picture_url(content.getvalue(), "svg+xml")


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
