"""Score saved maps anew, without a network: the paper's tables, its parameter grid, intervals, more metrics.

    python main.py ... --save_maps maps
    python tools/rescore.py maps -o tables
"""
import argparse
import csv
import io
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import scoring_addon  # noqa: E402
from tools import paper_tables  # noqa: E402
from tools.paper_tables import METRICS, MULTISCALE  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.files import atomic_write_text, check_writable  # noqa: E402
from utils.metrics import Metrics, roc_auc  # noqa: E402
from utils.names import same_name  # noqa: E402
from utils.results import UNDEFINED  # noqa: E402
from utils.saved_maps import SavedMaps, find_maps, load_maps  # noqa: E402
from utils.scored_metrics import EXTRA_METRICS as EXTRA, extra_metrics, scored_metrics  # noqa: E402
from utils.significance import bootstrap_intervals, delong_test  # noqa: E402

NOT_RUN = "-"


class Category(NamedTuple):
    """A category scored: what was saved, {scoring: Scored}, {scoring: Metrics}."""

    saved: SavedMaps
    scored: dict
    metrics: dict


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    args = build_parser().parse_args(argv)
    try:
        check_writable(args.output)
        parameters = scoring_addon.parameters_from(args)
        runs = [score_folder(folder, args, parameters) for folder in args.folder]
        multiscale = score_folder(args.multiscale, args, parameters) if args.multiscale else None
        for run in runs:
            write_tables(run, multiscale, args, parameters, several=len(runs) > 1)
        for name, wanted, make in (("metrics", args.metrics, extra_table), ("intervals", args.intervals, interval_table),
                                   ("grid", args.grid, grid_table)):
            if wanted:
                write(args.output, name, *make(runs, args, parameters))
    except InputError as error:
        print(f"rescore.py: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", help="folders that main.py --save_maps wrote, one a data set")
    parser.add_argument("-o", "--output", default="tables", metavar="DIR", help="where the .md and .csv files go (default: tables)")
    parser.add_argument("--multiscale", metavar="DIR", help="saved maps of a second run with --group_size 64 --num_group 784 --multiscale, for Table 3")
    parser.add_argument("--metrics", nargs="+", choices=EXTRA, metavar="NAME",
                        help="more metrics: " + ", ".join(EXTRA) + "; AU-PRO at 1, 5, 30 %% with all thresholds; AUPIMO; "
                             "pg_5: good parts passed with at most 5 %% of the defective missed; pb_5: defective parts "
                             "failed with at most 5 %% of the good failed")
    parser.add_argument("--intervals", action="store_true", help="95 %% bootstrap intervals of each metric and of its difference to baseline, and DeLong's test")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--grid", choices=("all", "one"), help="Table 1's parameters: all 1728 combinations, or one parameter at a time")
    scoring_addon.add_arguments(parser.add_argument_group("scoring"), several=True)
    parser.set_defaults(scoring=["all"])
    return parser


def score_folder(folder, args, parameters):
    """[Category] of a folder of saved maps."""
    names = list(dict.fromkeys(["baseline", *scoring_addon.names_from(args)]))
    out = []
    for path in tqdm(find_maps(folder), desc=f"scoring {folder}", disable=None, leave=False):
        saved = load_maps(path)
        reference = saved.reference_for(parameters) if args.scoring_reference == "train" else None
        if args.scoring_reference == "train" and reference is None:
            raise InputError(f"{path}: holds no training parts' maps, which --scoring_reference train needs with these parameters; "
                             "save with --save_train_maps")
        try:
            scored = scoring_addon.score_all(names, saved.score, saved.decision, saved.samples, parameters, reference)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        out.append(Category(saved, scored, scored_metrics(saved.label, saved.mask, scored)))
    return out


# ---------------------------------------------------------------- the paper's tables


def write_tables(run, multiscale, args, parameters, several):
    """Write and print the tables of the run's data set; of an unknown one those of MVTec 3D-AD's form."""
    dataset = paper_tables.dataset_of([c.saved.category for c in run]) or "mvtec3d"
    for table in paper_tables.TABLES:
        if table.dataset == dataset and (several or dataset == "mvtec3d" or len(args.folder) == 1):
            write(args.output, f"table_{table.number}", *paper_table(table, run, multiscale, args, parameters))


def paper_table(table, run, multiscale, args, parameters):
    """(caption, header, rows) of one of the paper's tables: a row a setting and metric; ours a category and mean, published, difference."""
    names = [c.saved.category for c in run]
    rows = []
    for title, scoring, published in table.rows:
        source, key = (multiscale, "baseline") if scoring == MULTISCALE else (run, scoring)
        for i, metric in enumerate(METRICS):
            found = {c.saved.category: c.metrics[key] for c in source or () if key in c.metrics}
            if not found:
                rows.append([title, metric, *[NOT_RUN] * (len(names) + 1), published[i], NOT_RUN])
                continue
            values = [getattr(found[name], metric) if name in found else NOT_RUN for name in names]
            ours = mean([v for v in values if v != NOT_RUN])
            rows.append([title, metric, *values, ours, published[i], None if ours is None else ours - published[i]])
    notes = [*deviations(table, run, args, parameters), *([table.note] if table.note else [])]
    if any(row.scoring == MULTISCALE for row in table.rows) and multiscale is None:
        notes.append("The multiscale row is a second run (--multiscale DIR); the paper does not define it.")
    caption = f"Table {table.number}. {table.title}. Published values are means over categories. " + " ".join(notes)
    return caption, ["setting", "metric", *names, "mean", "published", "difference"], rows


def deviations(table, run, args, parameters):
    """Sentences on where the run differs from the paper's setting."""
    notes, metas = [], [c.saved.meta for c in run]
    if any(meta.get("untrained") for meta in metas):
        notes.append("UNTRAINED stand-in weights: these scores mean nothing as a benchmark.")
    missing = set(paper_tables.CATEGORIES[table.dataset]) - {same_name(m["category"]) for m in metas}
    extra = {m["category"] for m in metas if same_name(m["category"]) not in paper_tables.CATEGORIES[table.dataset]}
    if missing:
        notes.append(f"Categories missing: {', '.join(sorted(missing))}.")
    if extra:
        notes.append(f"Categories the paper does not have: {', '.join(sorted(extra))}.")
    for what, key, paper in (("f_coreset", "f_coreset", paper_tables.F_CORESET), ("fix", "fix", []), ("method", "method_name", "DINO+Point_MAE+Fusion"),
                             ("multiscale", "multiscale", False), ("group_size", "group_size", 128), ("num_group", "num_group", 1024),
                             ("shots", "shots", None)):
        used = {str(meta["options"].get(key, paper)) for meta in metas} - {str(paper)}
        if used:
            notes.append(f"Run with {what} {', '.join(sorted(used))}; the paper: {'as released' if paper == [] else 'all parts' if paper is None else paper}.")
    notes.append(f"Seed {', '.join(sorted({str(meta['seed']) for meta in metas}))}; the paper does not name its seed.")
    changed = [f"{field} {value}" for field, value, default in zip(parameters._fields, parameters, scoring_addon.DEFAULTS) if value != default]
    if args.scoring_reference != "test":
        changed.append(f"reference {args.scoring_reference}")
    if changed:
        notes.append(f"Scoring parameters other than the paper's: {', '.join(changed)}.")
    return notes


# ---------------------------------------------------------------- more metrics, intervals, grid


def extra_table(runs, args, _):
    """(caption, header, rows): the metrics of --metrics, a row a category, scoring and metric."""
    rows = []
    for c in itertools.chain(*runs):
        values = extra_metrics(c.saved.label, c.saved.mask, c.scored, args.metrics)
        rows += [[c.saved.category, name, metric, *(v if v is not None or i == 0 else NOT_RUN for i, v in enumerate(values[name][metric]))]
                 for name in c.scored for metric in args.metrics]
    caption = ("More metrics, shares from 0 to 1. AU-PRO at 1, 5 and 30 % uses all distinct thresholds. AUPIMO: share of a part's "
               "defect found while 1e-5 to 1e-4 of the pixels of good parts are false alarms. pg_n: good parts passed while at most "
               "n % of the defective ones are missed; pb_n: defective parts failed while at most n % of the good ones are. F1-max, pg "
               "and pb stand with the score from which a part fails. No value: the test set cannot show it.")
    return caption, ["category", "scoring", "metric", "value", "threshold"], rows


def interval_table(runs, args, _):
    """(caption, header, rows): 95 % intervals, a row a category, scoring and metric; DeLong's p for the image ROCAUC."""
    rows = []
    for c in itertools.chain(*runs):
        intervals = bootstrap_intervals(c.saved.label, c.saved.mask, c.scored, args.resamples, args.seed)
        for name, of in intervals.items():
            for metric in METRICS:
                bounds = [(entry or {}).get(k) for entry in (of[metric], of["difference"][metric]) for k in ("value", "low", "high")]
                test = delong_test(c.saved.label, c.scored["baseline"].image_preds, c.scored[name].image_preds) if metric == METRICS[0] else None
                rows.append([c.saved.category, name, metric, *bounds, (test[2] if test else None) if metric == METRICS[0] else NOT_RUN])
    caption = (f"95 % bootstrap intervals ({args.resamples} resamples of test images within a category, stratified by label; AU-PRO's thresholds fixed "
               "from the full set), differences to baseline, and the two-sided p of DeLong's paired test for the image ROCAUC.")
    return caption, ["category", "scoring", "metric", "value", "low", "high", "difference", "difference low", "difference high", "p"], rows


def grid_table(runs, args, parameters):
    """(caption, header, rows): mean metrics of scoring "disagreement" over all categories for each combination of Table 1."""
    categories = list(itertools.chain(*runs))
    points = list(grid_points(args.grid, parameters))
    sums = {point: [] for point in points}
    for c in categories:
        reference = c.saved.reference if args.scoring_reference == "train" else None
        if args.scoring_reference == "train" and reference is None:
            raise InputError(f"{c.saved.category}: --grid with --scoring_reference train needs training parts' maps; save with --save_train_maps")
        for lam in dict.fromkeys(point.lam for point in points):
            at_lam = [p for p in points if p.lam == lam]
            maps, stats = scoring_addon.modulate_all(c.saved.decision, c.saved.samples, at_lam[0])
            pixel = scored_metrics(c.saved.label, c.saved.mask, {"disagreement": scoring_addon.Scored(stats.base, maps)})["disagreement"]
            ref_stats = None if reference is None else scoring_addon.modulate_all(*reference, at_lam[0])[1]
            for topk in dict.fromkeys(p.topk for p in at_lam):
                stats = stats._replace(base=np.array([scoring_addon.base_score(m, topk) for m in maps]))
                if reference is not None:
                    ref_stats = scoring_addon.modulate_all(*reference, at_lam[0]._replace(topk=topk))[1]
                for point in at_lam:
                    if point.topk == topk:
                        scores = scoring_addon.calibrate(stats, point, ref_stats).final
                        sums[point].append(Metrics(roc_auc(c.saved.label, scores), pixel.pixel_rocauc, pixel.au_pro))
    rows = [[p.lam, p.topk, *p.weights, *p.eta, p.delta, *(mean([getattr(m, metric) for m in sums[p]]) for metric in METRICS)] for p in points]
    ranked = sorted((row for row in rows if row[8] is not None), key=lambda row: -row[8])
    own = next(row for p, row in zip(points, rows) if p[:5] == scoring_addon.DEFAULTS[:5])
    caption = f"Table 1's grid, {len(points)} combinations, mean over {len(categories)} categories"
    if ranked:
        caption += ("; by image ROCAUC: best " + describe(ranked[0]) + "; worst " + describe(ranked[-1]) + "; the paper's own "
                    + describe(own) + f" (rank {1 + sum(row[8] > own[8] for row in ranked)})")
    return caption + ".", ["lambda", "K", "alpha", "beta", "gamma", "eta1", "eta2", "delta", *METRICS], rows


def grid_points(kind, parameters):
    """Parameters of Table 1's combinations: "all", or "one" parameter at a time around the paper's own."""
    names, values = list(paper_tables.GRID), list(paper_tables.GRID.values())
    paper = parameters._replace(**{name: getattr(scoring_addon.DEFAULTS, name) for name in names})
    if kind == "all":
        return (paper._replace(**dict(zip(names, combination))) for combination in itertools.product(*values))
    return dict.fromkeys([paper, *(paper._replace(**{name: value}) for name, column in zip(names, values) for value in column)])


def describe(row):
    return f"{row[8]:.3f} at lambda {row[0]}, K {row[1]}, weights {tuple(row[2:5])}, eta {tuple(row[5:7])}, delta {row[7]}"


# ---------------------------------------------------------------- output


def mean(values):
    """Mean of the defined values, None where there is none."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def write(folder, name, caption, header, rows):
    """Write ``name``.md and ``name``.csv (unrounded) and print the former, of long tables only the caption."""
    shown = [[UNDEFINED if v is None and i > 1 else f"{v:.3f}" if isinstance(v, float) else v for i, v in enumerate(row)] for row in rows]
    text = caption + "\n\n" + tabulate(shown, header, tablefmt="pipe", disable_numparse=True) + "\n"
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([header, *(["" if v is None else repr(v) if isinstance(v, float) else v for v in row] for row in rows)])
    atomic_write_text(Path(folder) / f"{name}.md", text)
    atomic_write_text(Path(folder) / f"{name}.csv", table.getvalue())
    print((text if len(rows) <= 80 else f"{caption}\n({len(rows)} rows: {Path(folder) / name}.csv)\n"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
