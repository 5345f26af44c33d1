"""The table for --grid of tools/rescore.py: scoring "disagreement" for each combination of Table 1's parameters."""

import itertools

import numpy as np

import scoring_addon
from common.errors import InputError
from reports.scored import Table
from scoring import ablation
from scoring.evaluation import metrics
from scoring.metrics import METRICS, mean, roc_auc

# Table 1's candidates. The paper only describes the weights (convex, with the emphasis on Q95) and the etas (near 1);
# the values here are our choice
GRID = {
    "lam": (0.25, 0.5, 0.75, 1.0),
    "topk": (32, 64, 128),
    "weights": ((0.6, 0.25, 0.15), (0.7, 0.2, 0.1), (0.5, 0.3, 0.2), (0.8, 0.1, 0.1)),
    "eta": tuple(itertools.product((0.5, 1.0, 2.0), repeat=2)),
    "delta": (0.0, 0.1, 0.2, 0.3),
}
PAPER = tuple(getattr(scoring_addon.DEFAULTS, name) for name in GRID)
IMAGE = 8  # column of the image ROCAUC in a row


def grid_table(run, kind):
    """The Table of mean metrics of scoring "disagreement" over all categories for each of :func:`grid_points`."""
    points = grid_points(kind)
    found = [values_of(category, points) for category in run]
    rows = [
        [lam, topk, *weights, *eta, delta, *(mean(of) for of in zip(*(values[point] for values in found)))]
        for point in points
        for lam, topk, weights, eta, delta in [point]
    ]
    ranked = sorted((row for row in rows if row[IMAGE] is not None), key=lambda row: -row[IMAGE])
    own = rows[points.index(PAPER)]
    caption = f"Table 1's grid, {len(points)} combinations, mean over {len(run)} categories"
    if ranked:
        best, worst, paper = map(describe, (ranked[0], ranked[-1], own))
        rank = 1 + sum(row[IMAGE] > own[IMAGE] for row in ranked)
        caption += f"; by image ROCAUC: best {best}; worst {worst}; the paper's own {paper} (rank {rank})"
    header = ["lambda", "K", "alpha", "beta", "gamma", "eta1", "eta2", "delta", *METRICS]
    return Table("grid", caption + ".", header, rows)


def grid_points(kind):
    """Table 1's grid as tuples in the order of GRID. ``kind``: "all" combinations, or "one" parameter changed at a time
    from the paper's own values."""
    if kind == "all":
        return list(itertools.product(*GRID.values()))
    changed = [(*PAPER[:i], value, *PAPER[i + 1 :]) for i, column in enumerate(GRID.values()) for value in column]
    return list(dict.fromkeys([PAPER, *changed]))


def values_of(category, points):
    """{point: [the METRICS]} of a ScoredCategory.

    Raises:
        InputError: training parts have to normalise, and their maps were not saved.
    """
    saved, out = category.saved, {}
    training = saved.training if category.reference == "train" else None
    if category.reference == "train" and (training is None or training.decision_map is None):
        raise InputError(
            f"{saved.category}: --grid with --scoring_reference train needs training parts' maps; save with "
            f"--save_train_maps"
        )
    for lam, of_lam in itertools.groupby(sorted(points), key=lambda point: point[0]):
        maps, stats = ablation.modulate_all(
            saved.decision_map, saved.samples, category.parameters._replace(lam=lam)
        )  # the same for every K
        pixel = [*metrics(saved, {"disagreement": ablation.Scored(stats.base, maps)})["disagreement"]][1:]
        for topk, of_topk in itertools.groupby(of_lam, key=lambda point: point[1]):
            stats = stats._replace(base=np.array([scoring_addon.base_score(m, topk) for m in maps]))
            known = training and training.reference(category.parameters._replace(lam=lam, topk=topk))
            for point in of_topk:
                parameters = category.parameters._replace(**dict(zip(GRID, point)))
                scores = ablation.final_terms(stats, parameters, known).final
                out[point] = [roc_auc(saved.label, scores), *pixel]
    return out


def describe(row):
    """A row of the grid in words."""
    return (
        f"{row[IMAGE]:.3f} at lambda {row[0]}, K {row[1]}, weights {tuple(row[2:5])}, eta {tuple(row[5:7])}, "
        f"delta {row[7]}"
    )
