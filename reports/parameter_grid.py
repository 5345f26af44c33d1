"""The table for --grid of tools/rescore.py: scoring "disagreement" for each combination of Table 1's parameters."""

import itertools

import numpy as np

import scoring_addon
from common.errors import InputError
from reports import paper_tables
from reports.paper_tables import METRICS
from scoring import ablation
from scoring.evaluation import metrics
from scoring.metrics import Metrics, mean, roc_auc


def grid_table(runs, args):
    """(caption, header, rows): mean metrics of scoring "disagreement" over all categories for each combination of
    Table 1."""
    categories = list(itertools.chain(*runs))
    sums = {point[:5]: [] for point in grid_points(args.grid, scoring_addon.DEFAULTS)}
    for c in categories:
        points = list(grid_points(args.grid, c.parameters))
        training = c.saved.training if c.reference == "train" else None
        if c.reference == "train" and (training is None or training.decision_map is None):
            raise InputError(
                f"{c.saved.category}: --grid with --scoring_reference train needs training parts' maps; save with "
                f"--save_train_maps"
            )
        for lam in dict.fromkeys(point.lam for point in points):
            at_lam = [p for p in points if p.lam == lam]
            maps, stats = ablation.modulate_all(c.saved.decision_map, c.saved.samples, at_lam[0])
            pixel = metrics(c.saved, {"disagreement": ablation.Scored(stats.base, maps)})["disagreement"]
            for topk in dict.fromkeys(p.topk for p in at_lam):
                stats = stats._replace(base=np.array([scoring_addon.base_score(m, topk) for m in maps]))
                at_topk = [p for p in at_lam if p.topk == topk]
                known = training and ablation.modulate_all(*training.reference(at_topk[0]), at_topk[0])[1]
                for point in at_topk:
                    scores = ablation.final_terms(stats, point, known).final
                    sums[point[:5]].append(Metrics(roc_auc(c.saved.label, scores), pixel.pixel_rocauc, pixel.au_pro))
    points = [scoring_addon.DEFAULTS._replace(**dict(zip(scoring_addon.Parameters._fields, key))) for key in sums]
    sums = dict(zip(points, sums.values()))
    means = {p: [mean([getattr(m, metric) for m in sums[p]]) for metric in METRICS] for p in points}
    rows = [[p.lam, p.topk, *p.weights, *p.eta, p.delta, *means[p]] for p in points]
    ranked = sorted((row for row in rows if row[8] is not None), key=lambda row: -row[8])
    own = next(row for p, row in zip(points, rows) if p[:5] == scoring_addon.DEFAULTS[:5])
    caption = f"Table 1's grid, {len(points)} combinations, mean over {len(categories)} categories"
    if ranked:
        best, worst, paper = map(describe, (ranked[0], ranked[-1], own))
        rank = 1 + sum(row[8] > own[8] for row in ranked)
        caption += f"; by image ROCAUC: best {best}; worst {worst}; the paper's own {paper} (rank {rank})"
    return caption + ".", ["lambda", "K", "alpha", "beta", "gamma", "eta1", "eta2", "delta", *METRICS], rows


def grid_points(kind, parameters):
    """Parameters of Table 1's grid. ``kind``: "all" combinations, or "one" parameter changed at a time from the paper's
    own values."""
    names, values = list(paper_tables.GRID), list(paper_tables.GRID.values())
    paper = parameters._replace(**{name: getattr(scoring_addon.DEFAULTS, name) for name in names})
    if kind == "all":
        return (paper._replace(**dict(zip(names, combination))) for combination in itertools.product(*values))
    return dict.fromkeys(
        [paper, *(paper._replace(**{name: value}) for name, column in zip(names, values) for value in column)]
    )


def describe(row):
    """A row of the grid in words."""
    return (
        f"{row[8]:.3f} at lambda {row[0]}, K {row[1]}, weights {tuple(row[2:5])}, eta {tuple(row[5:7])}, delta {row[7]}"
    )
