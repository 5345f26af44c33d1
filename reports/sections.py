"""The sections of the page of tools/report.py: each function adds texts, tables and figures to it."""

import numpy as np

import scoring_addon
from reports import calibrated_section as ours
from reports import figures as figures
from reports.numbers import BASELINE, COMPARED, PROPOSED, breakdown, verdict
from reports.page import Link
from runs.results import UNDEFINED
from scoring.metrics import mean
from scoring.scorings import CALIBRATED, SCORINGS

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
    """One sentence on what ``report_numbers.verdict`` found about a scoring; ``categories``: their total number."""
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


def caption_section(page, summaries, parameters):
    """What is compared, in which runs, with which parameters."""
    page.tag(
        "p",
        "Baseline: the released decision map and score. Proposed (disagreement): Xu et al., Appl. Sci. 2026, 16, 5483, "
        "sections 3.4 to 3.6. "
        "Both are computed from the same saved maps, of these runs:",
    )
    rows = []
    for of in summaries:
        options = of.meta.get("options", {})
        rows.append(
            [
                of.category,
                str(of.meta.get("method_name", "unknown")),
                str(options.get("f_coreset", "unknown")),
                ", ".join(options.get("fix", [])) or "none",
                str(of.meta.get("seed", "unknown")),
                str(np.count_nonzero(of.label == 0)),
                str(np.count_nonzero(of.label)),
            ]
        )
    page.table(["category", "method", "f_coreset", "fixes", "seed", "good parts", "defective parts"], rows)
    p = parameters
    page.tag(
        "p",
        f"Parameters: λ = {p.lam:g}, K = {p.topk}, (α, β, γ) = ({', '.join(f'{v:g}' for v in p.weights)}), "
        f"(η1, η2) = ({', '.join(f'{v:g}' for v in p.eta)}), δ = {p.delta:g}, M_fusion = {p.map_source} map, "
        f"recovery term {p.recovery}; statistics "
        "normalised over the test set. Every figure is also a file under figures/.",
    )


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
            (
                shown(base),
                shown(proposed),
                difference(proposed, base),
                *((shown(c), difference(c, base)) if every else ()),
            )
            for base, proposed, c in ((*column, None)[:3] for column in columns)
        ]
        rows.append([name, *sum(cells, ())])
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
    page.figure(
        "ablation",
        figures.ablation_trend(variants, list(METRICS.values()), means),
        "The three metrics' means over the ablation variants",
        "Mean over categories of each variant, as the paper's Figure 5. The axes do not begin at 0. The five variants "
        "behind the baseline share "
        "one pixel map, so that only their image scores differ."
        + (" Calibrated is ours and none of the paper's variants." if every else ""),
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


def category_section(page, category, prefix, anchor):
    """The category's chosen parts with their maps, and its scores; ``prefix`` begins the names of the figures."""
    saved = category.saved
    page.tag("h2", f"Category {saved.category}", anchor)
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
    for index, reasons in category.shown.items():
        base, proposed = (category.scored[name] for name in (BASELINE, PROPOSED))
        drawn = figures.panels(
            f"{saved.path[index]} ({saved.defect[index]})",
            saved.picture[index],
            saved.mask[index],
            (f"baseline: {base.image_preds[index]:.4g}", base.predictions[index]),
            (f"proposed: {proposed.image_preds[index]:.4g}", proposed.predictions[index]),
            scoring_addon.disagreement_map(saved.samples[index].rgb, saved.samples[index].xyz),
            ours.panel(category, index),
        )
        reason = " and ".join(reasons)
        if category.gain is None:
            change = f"gain {UNDEFINED}: the test split has one class only"
        else:
            before, after = (category.separation[name][index] for name in (BASELINE, PROPOSED))
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


def explanation_section(page, category, index, parameters):
    """The terms that add up to the proposed score of part ``index``."""
    saved, b = category.saved, breakdown(category.saved, index, parameters)
    (alpha, beta, gamma), (eta1, eta2) = parameters.weights, parameters.eta
    page.tag("h2", "One score explained")
    page.tag(
        "p",
        f"{saved.path[index]} of {saved.category} ({'defective' if saved.label[index] else 'good'}); released score "
        f"{saved.decision_score[index]:.5g}. "
        "~ marks a statistic after min-max normalisation over the category's test set.",
    )
    recovery = (
        "δ R max(0, Q̃95 − S̃_base) · range of S_base"
        if parameters.recovery == "normalized"
        else "δ max(0, Q95 − S_base)"
    )
    rows = [
        ("S_base", f"mean of the {parameters.topk} largest values of M_pix", b.base),
        ("α Q95", f"{alpha:g} · {b.q95:.5g}", b.robust_q95),
        ("β mean(M_pix)", f"{beta:g} · {b.mean:.5g}", b.robust_mean),
        ("γ mean(M_dis)", f"{gamma:g} · {b.mean_dis:.5g}", b.robust_dis),
        ("S_robust", "sum of the three", b.robust),
        ("R", f"1 − |S̃_base − Q̃95| = 1 − |{b.base_n:.5g} − {b.q95_n:.5g}|", b.r),
        ("C", f"|S̃_base − S̃_robust| = |{b.base_n:.5g} − {b.robust_n:.5g}|", b.c),
        ("w", f"σ(η1 C − η2 R) = σ({eta1:g} · {b.c:.5g} − {eta2:g} · {b.r:.5g})", b.w),
        ("(1 − w) S_base", f"{1 - b.w:.5g} · {b.base:.5g}", b.final_base),
        ("w S_robust", f"{b.w:.5g} · {b.robust:.5g}", b.final_robust),
        ("S_rec", recovery, b.rec),
        ("S_final", "sum of the three", b.final),
    ]
    page.table(["quantity", "how", "value"], [[name, how, f"{value:.6g}"] for name, how, value in rows], sums=(4, 11))
    stacks = {
        "S_base": (("S_base", b.base),),
        "S_robust": (("α Q95", b.robust_q95), ("β mean(M_pix)", b.robust_mean), ("γ mean(M_dis)", b.robust_dis)),
        "S_final": (("(1 − w) S_base", b.final_base), ("w S_robust", b.final_robust), ("S_rec", b.rec)),
    }
    page.figure(
        "explained",
        figures.stacked_terms(stacks),
        "Bars of S_base, S_robust and S_final, stacked by their terms",
        "What S_robust and S_final are made of, in the order named above each bar, next to S_base.",
    )


def difference(value, base):
    """Text of the difference of two values, either of which may be None."""
    return UNDEFINED if value is None or base is None else f"{value - base:+.4f}"


def shown(value, digits=4):
    """Text of a value; "undefined" for None."""
    return UNDEFINED if value is None else f"{value:.{digits}f}"
