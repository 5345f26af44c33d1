"""The numbers of the evidence page: means over categories and seeds, paired differences with intervals."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.evidence_cells import FEATURES
from scoring.significance import Difference, delong_test, difference_by_draws, difference_by_error

DRAWS = 2000


class Mean(NamedTuple):
    """Mean over categories and seeds. ``sd``: standard deviation over the seeds, None for a single seed. ``count``
    categories out of ``whole`` have a value."""

    value: float
    sd: float
    count: int
    whole: int


def metric(content, scoring, name):
    """A cell's metric; nan if the cell lacks the scoring or the metric."""
    value = content["metrics"].get(scoring, {}).get(name)
    return np.nan if value is None else value


def mean_of(table):
    """The Mean of a table [seeds, categories] in which nan marks a missing value; None if all values are missing."""
    table = np.asarray(table, dtype=float)
    if np.isnan(table).all():
        return None
    per_seed = [np.nanmean(row) for row in table if not np.isnan(row).all()]
    whole = [np.mean(row) for row in table if not np.isnan(row).any()]  # seeds with every category, for the spread
    sd = float(np.std(whole, ddof=1)) if len(whole) > 1 else None
    return Mean(float(np.mean(whole or per_seed)), sd, int((~np.isnan(table)).any(axis=0).sum()), table.shape[1])


def paired(pairs, name):
    """Difference of two scorings, or of one scoring in two settings, averaged over test sets.

    Args:
        pairs: [(cell content a, scoring a, cell content b, scoring b)]; a and b have the same test parts.
        name: "image_rocauc" (intervals: DeLong's standard errors) or "au_pro" (bootstrap of test parts).

    Returns:
        Difference a - b; None if no pair has both values.
    """
    sets = {}
    for a, scoring_a, b, scoring_b in pairs:
        if not np.isnan(metric(a, scoring_a, name)) and not np.isnan(metric(b, scoring_b, name)):
            sets.setdefault(_test_set(a), []).append((a, scoring_a, b, scoring_b))
    found = [one for one in map(_image if name == "image_rocauc" else _pixel, sets.values()) if one is not None]
    if not found:
        return None
    return (difference_by_error if name == "image_rocauc" else difference_by_draws)(found)


def _test_set(content):
    """A key that is equal for two cells exactly if they have the same test parts."""
    return content["cell"]["category"], tuple(content["path"]), tuple(content["size"])


def _image(pairs):
    scores_a, scores_b = ([of[i]["scores"][of[i + 1]] for of in pairs] for i in (0, 2))
    return delong_test(pairs[0][0]["label"], np.array(scores_a, dtype=float), np.array(scores_b, dtype=float))


def _pixel(pairs):
    value = np.mean([metric(a, sa, "au_pro") - metric(b, sb, "au_pro") for a, sa, b, sb in pairs])
    drawn = [
        np.array(a["resamples"][sa]["au_pro"], dtype=float) - np.array(b["resamples"][sb]["au_pro"], dtype=float)
        for a, sa, b, sb in pairs
    ]
    return value, np.mean(drawn, axis=0)


# ---------------------------------------------------------------- single defective parts


class PartRow(NamedTuple):
    """A defective part under one scoring and under the baseline, averaged over the settings that measured it."""

    defect: str
    size: float  # per cent of the part
    separation: float
    overlap: float
    base_separation: float
    base_overlap: float


def part_rows(contents, scoring, base="baseline"):
    """[PartRow] of all defective parts in the cells that have the scoring; one PartRow per part, even if several cells
    measured it."""
    found = {}
    for content in contents:
        if scoring not in content["parts"]:
            continue
        places = np.flatnonzero(np.asarray(content["label"]) != 0)
        values = [
            content["parts"][name][kind] or [None] * len(places)
            for name in (scoring, base)
            for kind in ("separation", "overlap")
        ]
        for place, row in zip(places, np.array(values, dtype=float).T):
            part = content["cell"]["category"], content["path"][place], content["size"][place]
            found.setdefault((content["defect"][place], *part), []).append(row)
    return [PartRow(defect, size, *np.mean(rows, axis=0)) for (defect, _, _, size), rows in found.items()]


def group_difference(rows, kind, seed=0):
    """(mean, Difference to the baseline) of PartRows; ``kind``: "separation" or "overlap". The interval is a bootstrap
    over the parts. None if no row has a value."""
    values = np.array([(getattr(row, kind), getattr(row, f"base_{kind}")) for row in rows], dtype=float).reshape(-1, 2)
    values = values[~np.isnan(values).any(axis=1)]
    if not len(values):
        return None
    gain = values[:, 0] - values[:, 1]
    drawn = gain[np.random.default_rng(seed).integers(len(gain), size=(DRAWS, len(gain)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(values[:, 0].mean()), Difference(float(gain.mean()), float(low), float(high))


# ---------------------------------------------------------------- the cells of a plan


class Evidence:
    """The cells of a plan, finished and unfinished.

    Args:
        planned: [Cell]; done: {Cell: content}; failed: {Cell: why}; generated: whether the parts are generated.
    """

    def __init__(self, planned, done, failed, generated):
        self.planned, self.done, self.failed, self.generated = planned, done, failed, generated
        self.categories = list(dict.fromkeys(cell.category for cell in planned))
        self.seeds = list(dict.fromkeys(cell.seed for cell in planned))
        self.kinds = list(dict.fromkeys((cell.features, cell.banks) for cell in planned))
        self.most = max(cell.shots for cell in planned)
        self.standin = any(file["standin"] for of in done.values() for file in of["weights"])

    def of(self, setting, category=None):
        """[content] of a setting's finished cells, of all categories or of one."""
        return [
            content
            for cell, content in self.done.items()
            if cell.setting == setting and category in (None, cell.category)
        ]

    def common(self, settings):
        """An Evidence with fewer cells, so that means of these settings can be compared.

        It keeps a category and seed only if all the settings have it. A setting without any finished cell is ignored.
        """
        found = [{(cell.category, cell.seed) for cell in self.done if cell.setting == setting} for setting in settings]
        shared = set.intersection(*filter(None, found)) if any(found) else set()
        done = {cell: of for cell, of in self.done.items() if (cell.category, cell.seed) in shared}
        return Evidence(self.planned, done, self.failed, self.generated)

    def table(self, setting, scoring, name):
        """[seeds][categories] values of a metric; nan where it is missing."""
        found = {
            (cell.seed, cell.category): metric(of, scoring, name)
            for cell, of in self.done.items()
            if cell.setting == setting
        }
        return [[found.get((seed, category), np.nan) for category in self.categories] for seed in self.seeds]

    def mean(self, setting, scoring, name):
        """The Mean over categories and seeds; None if no cell has the metric."""
        return mean_of(self.table(setting, scoring, name))

    def has(self, setting):
        """Whether any cell of the setting is finished."""
        return any(cell.setting == setting for cell in self.done)

    def only(self, setting):
        """Text to add to a sentence about a setting's mean: the categories that it covers; "" if it covers all."""
        there = [name for name in self.categories if self.of(setting, name)]
        return "" if len(there) == len(self.categories) else f" ({', '.join(there)} alone)"

    def difference(self, name, a, b, category=None):
        """Difference of a and b, each a (setting, scoring), over the test sets that have both."""
        known = {(cell.category, cell.seed): of for cell, of in self.done.items() if cell.setting == b[0]}
        pairs = [
            (of, a[1], known[cell.category, cell.seed], b[1])
            for cell, of in self.done.items()
            if cell.setting == a[0] and (cell.category, cell.seed) in known and category in (None, cell.category)
        ]
        return paired(pairs, name)

    def title(self, features, banks):
        """The title of a row with these features and banks."""
        text, files = (
            FEATURES[features][1],
            next((of["weights"] for cell, of in self.done.items() if cell.features == features), []),
        )
        for file in files:
            network = {"rgb": "DINO", "dino": "DINO", "point_mae": "Point-MAE"}.get(_network(file), "")
            if network and file["standin"]:
                text = text.replace(network, f"{network} (stand-in)")
        return f"{text}, {banks} banks"

    def main_settings(self):
        """[((features, banks), setting)] of the main table."""
        return [(kind, (*kind, "fixed", self.most)) for kind in self.kinds]


def _network(file):
    name = Path(file["path"]).name.lower()
    return "dino" if "dino" in name else "point_mae" if "pointmae" in name else ""
