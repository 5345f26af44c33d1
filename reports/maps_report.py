"""The report about saved maps: one HTML page, made from templates/maps.html. Of each category only what the page shows
is kept, since the maps of many do not fit into memory.
"""

import re
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.progress import note, track
from reports import figures
from reports.pages import picture_url, write_page
from reports.scored import left_out_text, scored_category
from runs.results import UNDEFINED
from scoring.metrics import Metrics, count_below, mean
from scoring.scorings import BASELINE, CALIBRATED

METRICS = {"image_rocauc": "image ROCAUC", "pixel_rocauc": "pixel ROCAUC", "au_pro": "AU-PRO"}
PROPOSED = "disagreement"
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|" + UNDEFINED)


class Part(NamedTuple):
    """A part that is shown; ``kind``: "good" or "defective"."""

    picture: str  # URL
    path: str
    kind: str
    reason: str
    gain: str


class Category(NamedTuple):
    """What the page shows of a category. ``run``: its row of the table of runs; ``metrics``: {scoring: Metrics};
    ``lacks``: why it has no calibrated, or ""."""

    name: str
    untrained: bool
    run: list
    metrics: dict
    lacks: str
    parts: list  # [Part]


def write_report(paths, out, seed, parameters):
    """Write ``out``/report.html about files of saved maps, one per category; returns its path.

    ``seed``: of the randomly drawn parts; ``parameters``: ``scoring_addon.Parameters``.
    Raises InputError: a file cannot be scored, or lacks one of the two banks."""
    categories = []
    for path in track(paths, len(paths), "report", "category"):
        scored = scored_category(path, choose=lambda _: (parameters, "test"))
        if PROPOSED not in scored.scored:
            why = "the page compares the baseline with disagreement, which needs an RGB and an xyz bank"
            raise InputError(f"{path}: holds the maps of {', '.join(scored.saved.bank_map)} alone: {why}")
        categories.append(_category(scored, seed))
    left_out = left_out_text({of.name: of.lacks for of in categories})
    if left_out:
        note(f"report.py: note: {left_out}", sys.stderr)
    page = Path(out) / "report.html"
    write_page(
        "maps.html",
        page,
        categories=categories,
        calibrated=any(CALIBRATED in of.metrics for of in categories),
        metrics=_metrics_table(categories),
        parameters=parameters,
        left_out=left_out,
        is_number=NUMBER.fullmatch,
    )
    return page


def _metrics_table(categories):
    """(header, rows) of the table of metrics; the last row is the mean if there are several categories."""
    others = [name for name in (PROPOSED, CALIBRATED) if any(name in of.metrics for of in categories)]
    found = [(of.name, of.metrics) for of in categories]
    if len(categories) > 1:
        known = {name: [of.metrics[name] for of in categories if name in of.metrics] for name in (BASELINE, *others)}
        found.append(("mean", {name: Metrics(*map(mean, zip(*of))) for name, of in known.items()}))
    header, rows = ["category"], [[name] for name, _ in found]
    for metric, title in METRICS.items():
        header.append(f"{title} baseline")
        for name in others:
            header += ["proposed" if name == PROPOSED else name, "difference"]
        for row, (_, metrics) in zip(rows, found):
            base, *values = (getattr(metrics.get(name), metric, None) for name in (BASELINE, *others))
            row.append(shown(base))
            for value in values:
                row += [shown(value), UNDEFINED if None in (value, base) else f"{value - base:+.4f}"]
    return header, rows


def shown(value):
    """Text of a value; "undefined" for None."""
    return UNDEFINED if value is None else f"{value:.4f}"


# ---------------------------------------------------------------- a category and its parts


def _category(category, seed):
    """The Category of a ScoredCategory."""
    saved = category.saved
    options = saved.meta.get("options", {})
    method, seed_of_run = (str(saved.meta.get(name, "unknown")) for name in ("method_name", "seed"))
    fixes, counts = ", ".join(options.get("fix", [])) or "none", np.bincount(saved.label != 0, minlength=2)
    run = [category.name, method, str(options.get("f_coreset", "unknown")), fixes, seed_of_run, *map(str, counts)]
    parts = [_part(category, *of) for of in shown_parts(category, seed).items()]
    return Category(category.name, saved.untrained, run, category.metrics, category.lacks, parts)


def _part(category, index, reasons):
    """The Part of a number; ``reasons``: why it is shown."""
    saved, both = category.saved, separations(category)
    maps = {
        name: (f"{title}: {category.scored[name].image_preds[index]:.4g}", category.scored[name].predictions[index])
        for title, name in {"baseline": BASELINE, "proposed": PROPOSED, CALIBRATED: CALIBRATED}.items()
        if name in category.scored
    }
    pixels = [maps[name][1] for name in (BASELINE, PROPOSED)]
    scale = {"cmap": "viridis", "vmin": np.min(pixels), "vmax": np.max(pixels)}
    panels = [(*of, {"cmap": "viridis"} if name == CALIBRATED else scale) for name, of in maps.items()]
    path = saved.path[index]
    panel = figures.part_panels(saved, index, panels, f"{path} ({saved.defect[index]})", (figures.WIDTH, 2.35))
    if both is None:
        change = f"gain {UNDEFINED}: the test split has one class only"
    else:
        before, after = (of[index] for of in both)
        change = f"separation {before:.3f} → {after:.3f}, gain {after - before:+.3f}"
    reason, kind = " and ".join(reasons), "defective" if saved.label[index] else "good"
    return Part(picture_url(panel, "png"), path, kind, reason[0].upper() + reason[1:], change)


def shown_parts(category, seed):
    """{part number: [why it is shown]}: the largest gain, the largest loss, and one drawn by ``seed`` and the
    category's name. The gain is the separation by the proposed score minus that by the baseline."""
    out, both = {}, separations(category)
    if both is not None:
        gain = both[1] - both[0]
        best, worst = int(np.argmax(gain)), int(np.argmin(gain))
        out[best] = ["largest gain" if gain[best] > 0 else "largest gain (no part gains)"]
        out.setdefault(worst, []).append("largest loss" if gain[worst] < 0 else "largest loss (no part loses)")
    drawn = np.random.default_rng([seed, zlib.crc32(category.name.encode())]).integers(len(category.saved.label))
    out.setdefault(int(drawn), []).append("random draw")
    return out


def separations(category):
    """(:func:`separation` [n] by the baseline, by the proposed score); None if all parts are good or all defective."""
    found = [separation(category.saved.label, category.scored[name].image_preds) for name in (BASELINE, PROPOSED)]
    return None if found[0] is None else found


def separation(label, scores):
    """[n] in [0, 1]: for a defective part the share of good parts that score lower, for a good part that of defective
    parts that score higher, ties one half; None without parts of a class. The mean over either class is the image
    ROCAUC."""
    scores, defective = np.asarray(scores), np.asarray(label) != 0
    if defective.all() or not defective.any():
        return None
    good, bad, out = np.sort(scores[~defective]), np.sort(scores[defective]), np.empty(len(scores))
    out[defective] = count_below(scores[defective], good) / len(good)
    out[~defective] = 1 - count_below(scores[~defective], bad) / len(bad)
    return out
