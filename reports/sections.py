"""The sections of the page of tools/report.py: each function adds texts, tables and figures to it."""

import numpy as np

import scoring_addon
from reports import figures
from reports.numbers import COMPARED, PROPOSED, separations, verdict
from reports.page import Link
from runs.results import UNDEFINED
from scoring.metrics import mean
from scoring.scorings import BASELINE, CALIBRATED, SCORINGS

METRICS = {"image_rocauc": "image ROCAUC", "pixel_rocauc": "pixel ROCAUC", "au_pro": "AU-PRO"}
VARIANTS = (BASELINE, "disagreement_only", "disagreement_base", "partial", "full", PROPOSED)


def verdict_section(page, summaries):
    """The beginning of the page: one sentence per scoring that compares it with the baseline, with intervals."""
    page.tag("h1", "RGB-3D anomaly detection: released scoring and disagreement-guided scoring")
    named = ((PROPOSED, "Disagreement"), (CALIBRATED, "Calibrated (ours)"))
    for scoring, title in named:
        if any(scoring in of.metrics for of in summaries):
            page.tag("p", verdict_sentence(title, verdict(summaries, scoring), len(summaries)), style="verdict")
    untrained = [of.category for of in summaries if of.untrained]
    if untrained:
        page.tag(
            "p",
            f"The weights are untrained stand-ins ({', '.join(untrained)}): these scores mean nothing as a benchmark.",
            style="warning",
        )
    page.tag(
        "p",
        "In brackets: 95 % intervals of the difference to the baseline over test parts (DeLong for image ROCAUC, "
        "resampled parts for AU-PRO). Training and seed stay fixed in them. An interval that holds 0 shows no "
        "difference.",
    )


def verdict_sentence(title, found, categories):
    """One sentence on what ``numbers.verdict`` found about a scoring; ``categories``: their total number."""
    if not found:
        return f"{title} cannot be compared with the baseline: the test split has too few good or defective parts."
    words = {1: "better than the baseline", -1: "worse than the baseline", 0: "not shown to differ from the baseline"}
    groups = {}
    for metric, (of, count) in found.items():
        some = f", {count} of {categories} categories" if count < categories else ""
        interval = f"{COMPARED[metric]} ({of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]{some})"
        groups.setdefault(of.sign, []).append(interval)
    claims = [f"{words[sign]} in {' and in '.join(texts)}" for sign, texts in groups.items()]
    over = f", mean of {categories} categories" if categories > 1 else ""
    return f"{title} is {', and '.join(claims)}{over}."


def caption_section(page, summaries, parameters, left_out=""):
    """What is compared, in which runs, with which parameters; ``left_out``: why some category lacks calibrated."""
    page.tag(
        "p",
        "Baseline: the released decision map and score. Proposed (disagreement): Xu et al., Appl. Sci. 2026, 16, 5483, "
        "sections 3.4 to 3.6. "
        "Both are computed from the same saved maps, of these runs:",
    )
    rows = []
    for of in summaries:
        options = of.meta.get("options", {})
        method, seed = (str(of.meta.get(name, "unknown")) for name in ("method_name", "seed"))
        fixes, counts = ", ".join(options.get("fix", [])) or "none", np.bincount(of.label != 0, minlength=2)
        rows.append([of.category, method, str(options.get("f_coreset", "unknown")), fixes, seed, *map(str, counts)])
    page.table(["category", "method", "f_coreset", "fixes", "seed", "good parts", "defective parts"], rows)
    p = parameters
    page.tag(
        "p",
        f"Parameters: λ = {p.lam:g}, K = {p.topk}, (α, β, γ) = ({', '.join(f'{v:g}' for v in p.weights)}), "
        f"(η1, η2) = ({', '.join(f'{v:g}' for v in p.eta)}), δ = {p.delta:g}, M_fusion = {p.map_source} map, "
        f"recovery term {p.recovery}; statistics "
        "normalised over the test set. Every figure is also a file under figures/.",
    )
    if any(CALIBRATED in of.metrics for of in summaries):
        page.tag(
            "p",
            "Calibrated (ours, not the paper's): each bank's map in a unit of its own, 0 the mean and 1 the "
            "hottest spots of the maps of normal training parts, each measured without its own rows; per pixel "
            "the larger of the banks, as image score the mean of the 64 largest pixels. It reads no test part.",
        )
    if left_out:
        page.tag("p", f"{left_out[0].upper()}{left_out[1:]}.", style="warning")


def summary_section(page, summaries):
    """The metrics of each category, and the ablation."""
    several = len(summaries) > 1
    names = [of.category for of in summaries] + ["mean"] * several
    every = any(CALIBRATED in of.metrics for of in summaries)
    bars = (BASELINE, PROPOSED, *([CALIBRATED] if every else []))
    pairs = []  # [metric][category] (baseline, proposed, calibrated)
    for metric in METRICS:
        values = [
            tuple(getattr(of.metrics[name], metric) if name in of.metrics else None for name in bars)
            for of in summaries
        ]
        pairs.append(values + [tuple(map(mean, zip(*values)))] * several)
    page.tag("h2", "Category by category")
    page.figure(
        "metrics",
        figures.metric_bars(names, list(METRICS.values()), pairs),
        "Bars of the three metrics by category, baseline against proposed",
        f"Baseline against proposed{' and calibrated (ours)' if every else ''}; the paper's Figure 3 shows the image "
        "level. A metric is undefined where the test "
        "split lacks good or "
        "defective parts or pixels" + ("; means are of the defined values." if several else "."),
    )
    rows = []
    for name, *columns in zip(names, *pairs):
        cells = [
            [shown(base), *sum(([shown(o), difference(o, base)] for o in others), [])] for base, *others in columns
        ]
        rows.append([name, *sum(cells, [])])
    heads = ("proposed", "difference", *((CALIBRATED, "difference") if every else ()))
    page.table(
        ["category", *sum(((f"{title} baseline", *heads) for title in METRICS.values()), ())],
        rows,
        sums=[len(rows) - 1] if several else [],
    )
    page.tag("h2", "Ablation")
    variants = (*VARIANTS, *bars[2:])
    means = [
        [mean([getattr(of.metrics[name], metric) for of in summaries if name in of.metrics]) for name in variants]
        for metric in METRICS
    ]
    page.tag(
        "p",
        "Mean over categories of each variant. The five variants behind the baseline share one pixel map, so that only "
        "their image scores differ." + (" Calibrated is ours and none of the paper's variants." if every else ""),
    )
    page.table(
        ["variant", "pixel map", "image score", *METRICS.values()],
        [
            [variant, *SCORINGS[variant].described[:2], *(shown(row[i]) for row in means)]
            for i, variant in enumerate(variants)
        ],
    )
    if several:
        page.tag("h2", "Categories")
        links = [Link(of.category, f"#c{i}") for i, of in enumerate(summaries)]
        page.links("Parts and score distributions of:", links)


def category_section(page, category, chosen, prefix, anchor):
    """The category's ``chosen`` parts {number: [why]} with their maps, and its scores; ``prefix`` begins the names of
    the figures."""
    saved, both = category.saved, separations(category)
    page.tag("h2", f"Category {category.name}", anchor)
    page.tag("h3", "Parts")
    page.tag(
        "p",
        "Separation of a defective part: the share of good parts that score lower; of a good part: the share of "
        "defective parts that score "
        "higher (ties count one half). Gain: the separation under the proposed score minus that under the baseline "
        "score. The two maps of a "
        "part share one colour scale, above them stand the image scores; M_dis is shown from 0 to 1; the calibrated "
        "map, where there is one, has a scale of its own. (The paper's Figure 4)",
    )
    titles = {"baseline": BASELINE, "proposed": PROPOSED, CALIBRATED: CALIBRATED}
    for index, reasons in chosen.items():
        maps = {
            name: (f"{title}: {category.scored[name].image_preds[index]:.4g}", category.scored[name].predictions[index])
            for title, name in titles.items()
            if name in category.scored
        }
        both_maps = [maps[name][1] for name in (BASELINE, PROPOSED)]
        scale = {"cmap": "viridis", "vmin": np.min(both_maps), "vmax": np.max(both_maps)}
        m_dis = scoring_addon.disagreement_map(saved.samples[index].rgb, saved.samples[index].xyz)
        shown_maps = [(*of, {"cmap": "viridis"} if name == CALIBRATED else scale) for name, of in maps.items()]
        drawn = figures.panels(
            f"{saved.path[index]} ({saved.defect[index]})",
            [
                ("input", saved.picture[index], {}),
                ("mask", saved.mask[index], figures.MASK),
                *shown_maps,
                ("M_dis", m_dis, figures.DISAGREEMENT),
            ],
            (figures.WIDTH, 2.35),
        )
        reason = " and ".join(reasons)
        if both is None:
            change = f"gain {UNDEFINED}: the test split has one class only"
        else:
            before, after = (of[index] for of in both)
            change = f"separation {before:.3f} → {after:.3f}, gain {after - before:+.3f}"
        kind = "defective" if saved.label[index] else "good"
        page.figure(
            f"{prefix}_part_{index:03d}",
            drawn,
            f"Input, mask, baseline map, proposed map and disagreement of {saved.path[index]}",
            f"{reason[0].upper()}{reason[1:]}: {saved.path[index]} ({kind}); {change}.",
        )
    page.tag("h3", "Score distributions")
    titles = [f"{name}\nimage ROCAUC {shown(category.metrics[name].image_rocauc, 3)}" for name in category.scored]
    drawn = figures.histograms(saved.label, [scored.image_preds for scored in category.scored.values()], titles)
    page.figure(
        f"{prefix}_scores",
        drawn,
        f"Histograms of the image scores of good and defective parts of {saved.category}, by scoring",
        "Image scores of good and defective parts under every scoring; within a panel both share their bins, scales "
        "differ between panels.",
    )


def difference(value, base):
    """Text of the difference of two values, either of which may be None."""
    return UNDEFINED if value is None or base is None else f"{value - base:+.4f}"


def shown(value, digits=4):
    """Text of a value; "undefined" for None."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"
