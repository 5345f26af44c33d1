"""The section of tools/report.py about parts that a saved model has judged, with links to their pictures."""

import os
from pathlib import Path
from urllib.parse import quote

from common.errors import InputError
from inspection.predictions import LINES, read_lines
from inspection.verdict import CANNOT_JUDGE, FAIL, PASS
from reports.page import Link

PICTURES = "pictures"
MOST = 200  # parts of a folder that the table lists at most


def read_predictions(folder):
    """[dict] of the parts that tools/predict.py judged into ``folder``, in the file's order.

    Raises:
        InputError: the folder holds no verdicts.
    """
    rows = read_lines(Path(folder) / LINES)
    if not rows:
        raise InputError(f"{folder}: no verdicts ({LINES}); give the folder that predict.py -o wrote")
    return rows


def predictions_section(page, folder, rows, out):
    """Add the counts, and a table with one row per part: verdict, p-value, score, why, link to its picture if any.

    Args:
        page: Page.
        folder: where the verdicts lie.
        rows: [dict], see ``read_predictions``.
        out: the page's folder; links are relative to it.
    """
    counts = {name: sum(row["verdict"] == name for row in rows) for name in (PASS, FAIL, CANNOT_JUDGE)}
    page.tag("h2", f"Parts judged by a saved model: {Path(folder).name}")
    page.tag(
        "p",
        f"{len(rows)} parts: {counts[PASS]} pass, {counts[FAIL]} fail, {counts[CANNOT_JUDGE]} cannot be judged. "
        "Pictures and verdicts are files beside this page and are not part of it.",
    )
    page.links("Everything:", [Link(name, address(Path(folder) / name, out)) for name in files_of(folder)])
    order = {FAIL: 0, CANNOT_JUDGE: 1, PASS: 2}
    listed = sorted(rows, key=lambda row: order.get(row["verdict"], 3))[:MOST]
    cells = [[*texts_of(row), picture_of(folder, row, out)] for row in listed]
    page.table(["part", "verdict", "p-value", "score", "why", "picture"], cells)
    if len(rows) > MOST:
        page.tag("p", f"The first {MOST} of {len(rows)} parts, failed ones first; verdicts.csv has all.")


def texts_of(row):
    """[text] of a part: path, verdict, p-value, score, and why it fails or cannot be judged."""
    numbers = [row.get("p_value"), row.get("score")]
    return [
        row["path"],
        row["verdict"],
        *("" if value is None else f"{value:.4g}" for value in numbers),
        row.get("reason") or (row.get("explanation", "") if row["verdict"] == FAIL else ""),
    ]


def files_of(folder):
    """Names of the verdict files in ``folder``."""
    return [name for name in ("verdicts.csv", LINES) if (Path(folder) / name).is_file()]


def picture_of(folder, row, out):
    """Link to a part's picture; "" if none was drawn."""
    name = Path(row["path"])
    for place in (name, Path(name.name)):  # the second: predict.py was given one part by its files
        path = Path(folder) / PICTURES / place.with_suffix(".png")
        if path.is_file():
            return Link("picture", address(path, out))
    return ""


def address(path, out):
    """Relative URL of a file, seen from a page in folder ``out``."""
    return quote(os.path.relpath(path, out).replace(os.sep, "/"))
