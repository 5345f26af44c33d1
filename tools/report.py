"""One page about saved maps: what the disagreement-guided scoring changes, and which parts it changes it for.

    python main.py ... --save_maps maps
    python tools/report.py maps -o report

OUT/report.html holds everything it shows, so it can be sent around alone; OUT/figures has the figures as files.
"""

import re
import sys
import zlib
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:  # run as a file of a checkout, not as an installed module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import scoring_addon  # noqa: E402
from evaluation import extra_metrics, find_saved, metrics, read, score  # noqa: E402
from tools import more_metrics  # noqa: E402
from tools import report_calibrated as ours  # noqa: E402
from tools import report_figures as figures  # noqa: E402
from tools.report_page import Page  # noqa: E402
from tools.saved_scorings import left_out_text, saved_scorings  # noqa: E402
from utils.commands import FINE, run_command  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.files import check_writable  # noqa: E402
from utils.metrics import count_below  # noqa: E402
from utils.options import HelpFormatter, Parser, number  # noqa: E402
from utils.progress import note, track  # noqa: E402
from utils.results import UNDEFINED  # noqa: E402
from utils.scorings import ALL, CALIBRATED  # noqa: E402

METRICS = {"image_rocauc": "image ROCAUC", "pixel_rocauc": "pixel ROCAUC", "au_pro": "AU-PRO"}
BASELINE, PROPOSED = "baseline", "disagreement"
VARIANTS = (BASELINE, "disagreement_only", "disagreement_base", "partial", "full", PROPOSED)

Breakdown = namedtuple(
    "Breakdown",
    "base q95 mean mean_dis robust_q95 robust_mean robust_dis robust base_n q95_n robust_n r c w "
    "final_base final_robust rec final",
)
Breakdown.__doc__ = """One part's score: statistics, the three terms of S_robust and their sum, normalised statistics,
R, C and w, the three terms of S_final and their sum."""


class Category(NamedTuple):
    """What the page says about one file of saved maps. ``shown``: {part: why it is shown}, ``gain`` [n] or None."""

    saved: object  # Evaluation
    scored: dict  # {scoring: Scored}
    metrics: dict  # {scoring: Metrics}
    separation: dict  # {BASELINE and PROPOSED: [n]}, or None
    shown: dict
    lacks: str  # why calibrated is not among the scorings, "" where it is

    @property
    def gain(self):
        return None if self.separation is None else self.separation[PROPOSED] - self.separation[BASELINE]


class Summary(NamedTuple):
    """What the page's first sections need of a category."""

    category: str
    untrained: bool
    meta: dict
    label: np.ndarray
    metrics: dict  # {scoring: Metrics}


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    return run_command("report.py", build_parser().parse_args(argv), write_page)


def write_page(args):
    """Write the page that the options ask for; returns the exit code."""
    check_writable(args.output)
    page = make_report(
        find_saved(args.folder, args.category),
        args.sample,
        args.seed,
        scoring_addon.parameters_from(args),
        args.metrics or (),
    )
    page.write(args.output, "Disagreement-guided scoring")
    print(Path(args.output) / "report.html")
    return FINE


def build_parser():
    parser = Parser(prog="report.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("folder", metavar="DIR", help="saved maps of a run, written by main.py --save_maps DIR")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="gets report.html and figures/")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument(
        "--sample",
        metavar="PATH",
        help="the part whose score is explained, as its path stands in scores_<category>.csv "
        "(default: the first category's largest gain)",
    )
    more_metrics.add_argument(parser)
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the random draw of parts")
    scoring_addon.add_arguments(
        parser.add_argument_group("scoring", "parameters; --scoring itself is ignored, the page shows every scoring")
    )
    return parser


def make_report(paths, sample, seed, parameters, names=()):
    """The Page about files of saved maps, with the further metrics ``names``; InputError where one cannot be scored, or
    none has the part ``sample``."""
    explained = find_sample(paths, sample) if sample is not None else (0, None)
    page, explanation, sections, summaries, missing, more = Page(), Page(), Page(), [], {}, {}
    for place, path in enumerate(track(paths, len(paths), "report", "category")):
        category = read_category(path, seed, parameters)
        of = category.saved
        summaries.append(Summary(of.category, of.untrained, of.meta, of.label, category.metrics))
        missing.update({of.category: category.lacks} if category.lacks else {})
        if names:
            more[of.category] = extra_metrics(of, category.scored, names)
        prefix = f"{place:02d}_" + re.sub(r"[^A-Za-z0-9_-]+", "_", category.saved.category)[:40]
        category_section(sections, category, prefix, f"c{place}")
        if place == explained[0]:
            index = explained[1]
            if index is None:
                index = 0 if category.gain is None else int(np.argmax(category.gain))
            explanation_section(explanation, category, index, parameters)
            ours.explanation_section(explanation, category, index)
    left_out = left_out_text(missing)
    if left_out:
        note(f"report.py: note: {left_out}", sys.stderr)
    caption_section(page, summaries, parameters)
    ours.caption(page, summaries, left_out)
    summary_section(page, summaries)
    if names:
        more_metrics.report_section(page, more, names, shown, mean)
    for part in (explanation, sections):
        page.body += part.body
        page.files.update(part.files)
    return page


# ---------------------------------------------------------------- what is shown


def find_sample(paths, sample):
    """(file number, part number) of the part with the path ``sample``."""
    for place, path in enumerate(paths):
        saved = read(path)
        if sample in saved.path:
            return place, saved.path.index(sample)
    raise InputError(f"{sample}: no part with this path in the saved maps; give --sample one like {saved.path[0]}")


def read_category(path, seed, parameters):
    """Category of one file; the random draw depends on ``seed`` and the category's name alone."""
    saved = read(path)
    try:
        lacks = saved_scorings(saved)[1]
        names = [*scoring_addon.SCORINGS, *([] if lacks else [CALIBRATED])]
        scored = score(saved, names, parameters)
        unfit = [name for name, of in scored.items() if not np.isfinite(of.image_preds).all()]
        if unfit:
            raise ValueError(f"scoring {unfit[0]} gives scores that are not finite")
        found = metrics(saved, scored)
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: cannot be scored: {error}") from None
    separations = {name: separation(saved.label, scored[name].image_preds) for name in (BASELINE, PROPOSED)}
    category = Category(saved, scored, found, None if separations[BASELINE] is None else separations, {}, lacks)
    drawn = int(np.random.default_rng([seed, zlib.crc32(saved.category.encode())]).integers(len(saved.label)))
    if category.gain is not None:
        best, worst = int(np.argmax(category.gain)), int(np.argmin(category.gain))
        category.shown[best] = ["largest gain" if category.gain[best] > 0 else "largest gain (no part gains)"]
        category.shown.setdefault(worst, []).append(
            "largest loss" if category.gain[worst] < 0 else "largest loss (no part loses)"
        )
    category.shown.setdefault(drawn, []).append("random draw")
    return category


def separation(label, scores):
    """How well each part is separated from the other class, [n] in [0, 1], ties counting one half; None without one.

    For a defective part the share of good parts that score lower, for a good part the share of defective parts that
    score higher. The mean over the parts of either class is the image ROCAUC.
    """
    scores, defective = np.asarray(scores), np.asarray(label) != 0
    if defective.all() or not defective.any():
        return None
    out = np.empty(len(scores))
    out[defective] = count_below(scores[defective], np.sort(scores[~defective])) / np.count_nonzero(~defective)
    out[~defective] = 1 - count_below(scores[~defective], np.sort(scores[defective])) / np.count_nonzero(defective)
    return out


def breakdown(saved, index, parameters):
    """Breakdown of part ``index`` of an Evaluation."""
    stats = scoring_addon.modulate_all(saved.decision_map, saved.samples, parameters)[1]
    terms = scoring_addon.calibrate(stats, parameters)
    s, t = (type(of)(*(float(column[index]) for column in of)) for of in (stats, terms))
    alpha, beta, gamma = parameters.weights
    return Breakdown(
        s.base,
        s.q95,
        s.mean,
        s.mean_dis,
        alpha * s.q95,
        beta * s.mean,
        gamma * s.mean_dis,
        t.robust,
        t.base_n,
        t.q95_n,
        t.robust_n,
        t.r,
        t.c,
        t.w,
        (1 - t.w) * t.base,
        t.w * t.robust,
        t.rec,
        t.final,
    )


# ---------------------------------------------------------------- sections


def caption_section(page, summaries, parameters):
    page.tag("h1", "RGB-3D anomaly detection: released scoring and disagreement-guided scoring")
    untrained = [of.category for of in summaries if of.untrained]
    if untrained:
        page.tag(
            "p",
            f"The weights are untrained stand-ins ({', '.join(untrained)}): these scores mean nothing as a benchmark.",
            style="warning",
        )
    page.tag(
        "p",
        "Baseline: the released decision map and score. Proposed (disagreement): Xu et al., Appl. Sci. 2026, 16, 5483, "
        "sections 3.4 to 3.6. "
        "Both are computed from the same saved maps, of these runs:",
    )
    rows = []
    for category, _, meta, label, _ in summaries:
        options = meta.get("options", {})
        rows.append(
            [
                category,
                str(meta.get("method_name", "unknown")),
                str(options.get("f_coreset", "unknown")),
                ", ".join(options.get("fix", [])) or "none",
                str(meta.get("seed", "unknown")),
                str(np.count_nonzero(label == 0)),
                str(np.count_nonzero(label)),
            ]
        )
    page.table(["category", "method", "f_coreset", "fixes", "seed", "good parts", "defective parts"], rows)
    p = parameters
    page.tag(
        "p",
        f"Parameters: λ = {p.lam:g}, K = {p.topk}, (α, β, γ) = ({', '.join(f'{v:g}' for v in p.weights)}), (η1, η2) = "
        f"({', '.join(f'{v:g}' for v in p.eta)}), δ = {p.delta:g}, M_fusion = {p.map_source} map, recovery term "
        f"{p.recovery}; statistics "
        "normalised over the test set. Every figure is also a file under figures/.",
    )


def summary_section(page, summaries):
    several = len(summaries) > 1
    names = [of.category for of in summaries] + ["mean"] * several
    every = any(CALIBRATED in of.metrics for of in summaries)
    bars = (BASELINE, PROPOSED, *([CALIBRATED] if every else []))
    pairs = []  # [metric][category] (baseline, proposed, calibrated)
    for metric in METRICS:
        values = [
            tuple(getattr(metrics[name], metric) if name in metrics else None for name in bars)
            for *_, metrics in summaries
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
        [mean([getattr(metrics[name], metric) for *_, metrics in summaries if name in metrics]) for name in variants]
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
        [[variant, *ALL[variant][:2], *(shown(row[i]) for row in means)] for i, variant in enumerate(variants)],
    )
    if several:
        page.tag("h2", "Categories")
        page.links("Parts and score distributions of:", [(f"c{i}", of.category) for i, of in enumerate(summaries)])


def category_section(page, category, prefix, anchor):
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
    return UNDEFINED if value is None or base is None else f"{value - base:+.4f}"


def mean(values):
    """Mean of the defined values, None where there is none."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def shown(value, digits=4):
    return UNDEFINED if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
