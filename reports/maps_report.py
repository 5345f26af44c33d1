"""The report about saved maps: one HTML page, made from templates/maps.html.

Of each category only what the page shows is kept, since the maps of many categories do not fit into memory.
"""

import re
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from common.progress import note, track
from reports import figures
from reports.pages import picture_url, write_page
from reports.scored import left_out_text, scored_category
from runs.results import UNDEFINED
from scoring.metrics import count_below, mean
from scoring.scorings import BASELINE, CALIBRATED, SCORINGS
from scoring.significance import BOUNDS, LEVEL, PixelCounts, delong_test, resample_weights

METRICS = {"image_rocauc": "image ROCAUC", "pixel_rocauc": "pixel ROCAUC", "au_pro": "AU-PRO"}
COMPARED = {"au_pro": "AU-PRO", "image_rocauc": "image ROCAUC"}  # in the page's first sentences
PROPOSED = "disagreement"
VARIANTS = (BASELINE, "disagreement_only", "disagreement_base", "partial", "full", PROPOSED)
RESAMPLES = 500
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|" + UNDEFINED)


class Part(NamedTuple):
    """A part that is shown: the URL of its picture, its path, "good" or "defective", why it is shown, its gain."""

    picture: str
    path: str
    kind: str
    reason: str
    gain: str


class Category(NamedTuple):
    """What the page shows of a category.

    ``run``: its row of the table of runs; ``metrics``: {scoring: Metrics}; ``compared``: {scoring: {metric: (scoring
    minus baseline, uncertainty)}} for the metrics of COMPARED, where the uncertainty of image ROCAUC begins with the
    standard error, that of AU-PRO is an array of resampled differences, and None stands for an undefined metric;
    ``lacks``: why it has no calibrated, or "".
    """

    name: str
    untrained: bool
    run: list
    metrics: dict
    compared: dict
    lacks: str
    parts: list  # [Part]
    scores: str  # URL of the histograms


def write_report(paths, out, seed, parameters):
    """Write ``out``/report.html about files of saved maps; returns its path.

    Args:
        paths: the files, one per category.
        seed: of the randomly drawn parts and of the resamples.
        parameters: of the scoring, ``scoring_addon.Parameters``.

    Raises:
        InputError: a file cannot be scored.
    """
    categories = []
    for path in track(paths, len(paths), "report", "category"):
        categories.append(_category(scored_category(path, choose=lambda _: (parameters, "test")), seed))
    left_out = left_out_text({of.name: of.lacks for of in categories})
    if left_out:
        note(f"report.py: note: {left_out}", sys.stderr)
    page, facts = Path(out) / "report.html", {**_summary(categories), "parameters": parameters, "left_out": left_out}
    write_page("maps.html", page, **facts, categories=categories, is_number=NUMBER.fullmatch)
    return page


def _summary(categories):
    """{name: value} of what the page shows of all categories together."""
    several = len(categories) > 1
    names = [of.name for of in categories] + ["mean"] * several
    every = any(CALIBRATED in of.metrics for of in categories)
    bars = (BASELINE, PROPOSED, *([CALIBRATED] if every else []))
    values = []  # [metric][category] (baseline, proposed, calibrated)
    for metric in METRICS:
        rows = [
            [getattr(of.metrics[name], metric) if name in of.metrics else None for name in bars] for of in categories
        ]
        values.append(rows + [[mean(column) for column in zip(*rows)]] * several)
    drawn = figures.metric_bars(names, list(METRICS.values()), values, bars)
    rows = [
        [name, *(text for base, *others in columns for text in _with_differences(base, others))]
        for name, *columns in zip(names, *values)
    ]
    variants = []
    for variant in (*VARIANTS, *bars[2:]):
        known = [of.metrics[variant] for of in categories if variant in of.metrics]
        means = [shown(mean(getattr(of, metric) for of in known)) for metric in METRICS]
        variants.append([variant, *SCORINGS[variant].described[:2], *means])
    others = ("proposed", "difference", *((CALIBRATED, "difference") if every else ()))
    heads = [head for title in METRICS.values() for head in (f"{title} baseline", *others)]
    titles = ((PROPOSED, "Disagreement"), (CALIBRATED, "Calibrated (ours)"))
    return {
        "verdicts": [
            verdict_sentence(title, compared(categories, scoring), len(categories))
            for scoring, title in titles
            if scoring in bars
        ],
        "calibrated": every,
        "bars": picture_url(drawn, "svg+xml"),
        "metrics": (["category", *heads], rows),
        "variants": (["variant", "pixel map", "image score", *METRICS.values()], variants),
    }


def _with_differences(base, others):
    """[text of a value, and of each other value and its difference to the first]; None is undefined."""
    texts = [shown(base)]
    for value in others:
        texts += [shown(value), UNDEFINED if None in (value, base) else f"{value - base:+.4f}"]
    return texts


def shown(value, digits=4):
    """Text of a value; "undefined" for None."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"


# ---------------------------------------------------------------- how scorings compare with the baseline


def compared(categories, scoring):
    """How a scoring compares with the baseline: {metric of COMPARED: (difference, low, high, number of categories)}.

    It is the mean over the categories in which both have the metric, with its interval over test parts: from DeLong's
    standard errors (image ROCAUC), or resampled parts (AU-PRO). A metric that no category can compare is absent.
    """
    out = {}
    for metric in COMPARED:
        known = [of.compared[scoring][metric] for of in categories if of.compared.get(scoring, {}).get(metric)]
        if not known:
            continue
        value = float(np.mean([of[0] for of in known]))
        if metric == "au_pro":
            low, high = map(float, np.nanquantile(np.mean([of[1] for of in known], axis=0), BOUNDS))
        else:
            half = norm.ppf((1 + LEVEL) / 2) * np.sqrt(sum(of[1] ** 2 for of in known)) / len(known)
            low, high = value - half, value + half
        out[metric] = value, low, high, len(known)
    return out


def verdict_sentence(title, found, categories):
    """One sentence on what :func:`compared` found about a scoring; ``categories``: their total number."""
    if not found:
        return f"{title} cannot be compared with the baseline: the test split has too few good or defective parts."
    words = {1: "better than the baseline", -1: "worse than the baseline", 0: "not shown to differ from the baseline"}
    groups = {}
    for metric, (value, low, high, count) in found.items():
        some = f", {count} of {categories} categories" if count < categories else ""
        text = f"{COMPARED[metric]} ({value:+.3f} [{low:+.3f}, {high:+.3f}]{some})"
        groups.setdefault(int(low > 0) - int(high < 0), []).append(text)
    claims = [f"{words[sign]} in {' and in '.join(texts)}" for sign, texts in groups.items()]
    over = f", mean of {categories} categories" if categories > 1 else ""
    return f"{title} is {', and '.join(claims)}{over}."


def _differences(category, seed):
    """``Category.compared`` of a ScoredCategory."""
    saved, base = category.saved, category.scored[BASELINE]
    weights = resample_weights(np.asarray(saved.label) != 0, RESAMPLES, seed)

    def au_pros(scored) -> Any:
        defined = saved.masks is not None  # like the pixel metrics
        return PixelCounts(saved.mask, scored.predictions).au_pro(weights) if defined else np.array([np.nan])

    known, found = au_pros(base), {}
    for name in (PROPOSED, CALIBRATED):
        if name in category.scored:
            change = au_pros(category.scored[name]) - known
            found[name] = {
                "image_rocauc": delong_test(saved.label, category.scored[name].image_preds, base.image_preds),
                "au_pro": None if np.isnan(change[0]) else (float(change[0]), change[1:]),
            }
    return found


# ---------------------------------------------------------------- a category and its parts


def _category(category, seed):
    """The Category of a ScoredCategory."""
    saved = category.saved
    options = saved.meta.get("options", {})
    method, seed_of_run = (str(saved.meta.get(name, "unknown")) for name in ("method_name", "seed"))
    fixes, counts = ", ".join(options.get("fix", [])) or "none", np.bincount(saved.label != 0, minlength=2)
    run = [category.name, method, str(options.get("f_coreset", "unknown")), fixes, seed_of_run, *map(str, counts)]
    titles = [f"{name}\nimage ROCAUC {shown(of.image_rocauc, 3)}" for name, of in category.metrics.items()]
    chart = figures.histograms(saved.label, [scored.image_preds for scored in category.scored.values()], titles)
    scores = picture_url(chart, "svg+xml")
    parts = [_part(category, *of) for of in shown_parts(category, seed).items()]
    differences = _differences(category, seed)
    return Category(category.name, saved.untrained, run, category.metrics, differences, category.lacks, parts, scores)


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
    """{part number: [why it is shown]}: the largest gain, the largest loss, and one drawn at random.

    The gain is the separation by the proposed score minus that by the baseline. The draw depends on ``seed`` and the
    category's name alone.
    """
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
    """[n] in [0, 1]: how well each part is separated from the other class; None if there are no parts of one class.

    For a defective part: the share of good parts that score lower. For a good part: the share of defective parts that
    score higher. Ties count one half. The mean over either class is the image ROCAUC.
    """
    scores, defective = np.asarray(scores), np.asarray(label) != 0
    if defective.all() or not defective.any():
        return None
    good, bad, out = np.sort(scores[~defective]), np.sort(scores[defective]), np.empty(len(scores))
    out[defective] = count_below(scores[defective], good) / len(good)
    out[~defective] = 1 - count_below(scores[~defective], bad) / len(bad)
    return out
