"""The questions that the evidence page answers: each has sentences from the cells' numbers, a table and a figure."""

import itertools

import numpy as np

from lab import evidence_figures as figures
from lab import evidence_words as words
from lab.evidence_cells import FIX_SETS
from lab.evidence_numbers import group_difference, part_rows
from lab.evidence_words import LATE_FUSION, METRICS, PAIRED, SCORINGS

MODALITIES = {"color": "RGB only (stain)", "hole": "3D only (dent)", "combined": "both", "faint": "weak in both"}
SIZES = (0, 0.5, 1, 2, 100)  # per cent of the part
GAINERS = ("disagreement", "calibrated")  # scorings whose gain over the baseline train mode may take
HELPS = 0.01  # parts are "enough" if the mean AU-PRO is this near to that of the largest number of parts


def defect_section(e, names, out):
    """Which defects gain: results by modality and size of the defect."""
    lines = [
        "",
        "## Which defects",
        "",
        "Separation: share of good parts that score lower than the defective part. Overlap: AU-PRO of that part "
        "alone. In brackets: difference to baseline with its interval (bootstrap of the parts, each meant over "
        "the main table's settings). pixel_max has baseline's map, full disagreement's: their overlaps are the same.",
        "",
    ]
    contents = [of for _, setting in e.main_settings() for of in e.of(setting)]
    if not contents:
        return [*lines, "", words.NOT_RUN]
    rows = {scoring: part_rows(contents, scoring) for scoring in SCORINGS}
    defects = list(dict.fromkeys(row.defect for row in rows["baseline"]))
    groups = {
        MODALITIES.get(d, d): (lambda row, d=d: row.defect == d)
        for d in [*(d for d in MODALITIES if d in defects), *(d for d in defects if d not in MODALITIES)]
    }
    sizes = {
        f"{low:g} to {high:g} %" if high < 100 else f"above {low:g} %": (
            lambda row, low=low, high=high: low <= row.size < high
        )
        for low, high in itertools.pairwise(SIZES)
    }
    sizes = {name: inside for name, inside in sizes.items() if any(map(inside, rows["baseline"]))}
    for kind in ("overlap", "separation"):
        shown = []
        for name, inside in {**groups, **sizes}.items():
            chosen = {scoring: [row for row in of if inside(row)] for scoring, of in rows.items()}
            found = {scoring: group_difference(of, kind) for scoring, of in chosen.items()}
            shown.append([name, str(len(chosen["baseline"])), *(words.group(found[s], s) for s in SCORINGS)])
            if name in groups:
                lines.append(_best(name, found, kind))
        lines += ["", f"### {kind.title()}", "", *words.table(["defect", "parts", *SCORINGS], shown), words.note(e), ""]
    means = [
        {
            name: {s: group_difference([row for row in rows[s] if inside(row)], "overlap") for s in SCORINGS}
            for name, inside in of.items()
        }
        for of in (groups, sizes)
    ]
    lines += words.figure(
        out,
        "defects",
        figures.groups(means, ("defect", "size of the defect"), "overlap (AU-PRO)"),
        "Overlap by kind and size of the defect",
    )
    return lines


def _best(name, found, kind):
    known = {s: of for s, of in found.items() if of}
    if not known:
        return f"- {name}: no {kind} is known."
    best = max(known, key=lambda s: known[s][0])
    mine, loses = known.get("calibrated"), [s for s, of in known.items() if of[1].sign < 0]
    text = f"- {name}, {kind}: {best} is largest ({known[best][0]:.3f}; baseline {known['baseline'][0]:.3f})"
    if mine:
        text += f"; calibrated − baseline {words.interval(mine[1])}"
    return text + (f"; below baseline by more than the interval: {', '.join(loses)}" if loses else "") + "."


def fix_section(e, names, out):
    """What each fix changes."""
    few = min((cell.shots for cell in e.planned if cell.fixes.startswith("eval+")), default=None)
    lines = ["", "## What each fix changes by itself", ""]
    if few is None:
        return [*lines, words.NOT_RUN]
    lines.append(
        f"AU-PRO with the fix minus without: `eval_mode` against the release ({e.most} training parts), the "
        f"others, each added to eval mode, against eval mode alone ({few} training parts). `max_sample` and "
        "`save_feature` change no score here."
    )
    rows, drawn = [], {}
    for kind in e.kinds:
        pairs = {
            "eval_mode": ((*kind, "eval", e.most), (*kind, "released", e.most)),
            **{name[5:]: ((*kind, name, few), (*kind, "eval", few)) for name in FIX_SETS if "+" in name},
        }
        for fix, (a, b) in pairs.items():
            if not any(cell.setting == a for cell in e.planned):
                continue
            found = {s: e.difference("au_pro", (a, s), (b, s)) for s in PAIRED}
            image = e.difference("image_rocauc", (a, "baseline"), (b, "baseline"))
            rows.append([e.title(*kind), fix, *(words.interval(found[s]) for s in PAIRED), words.interval(image)])
            drawn[f"{e.title(*kind)}: {fix}"] = found
    moved = [
        f"{row[1]} ({row[0]}: {row[2]})"
        for row, found in zip(rows, drawn.values())
        if found["baseline"] and found["baseline"].sign
    ]
    lines += [
        "",
        "Fixes that change the baseline's AU-PRO by more than the interval: "
        + ("; ".join(moved) if moved else "none")
        + ".",
        "",
        *words.table(["features", "fix", *(f"AU-PRO, {s}" for s in PAIRED), "image ROCAUC, baseline"], rows),
        words.note(e),
        "",
        *words.figure(out, "fixes", figures.differences(drawn, PAIRED, "change of AU-PRO"), "What each fix changes"),
    ]
    return lines


def train_section(e, names, out):
    """Does train mode take away the add-on's gain?"""
    lines, left, rows, drawn = ["", "## Does train mode eat the gain?", ""], [], [], {}
    if not any(cell.fixes == "released" for cell in e.planned):
        return [*lines, words.NOT_RUN]
    for kind in e.kinds:
        title, settings = e.title(*kind), [(*kind, fixes, e.most) for fixes in ("released", "eval", "fixed")]
        settings = [setting for setting in settings if any(cell.setting == setting for cell in e.planned)]
        shared, found = e.common(settings), {}
        for setting in settings:
            au_pro, image = found[setting[2]] = [
                {s: shared.difference(name, (setting, s), (setting, "baseline")) for s in GAINERS}
                for name in ("au_pro", "image_rocauc")
            ]
            rows.append(
                [
                    title,
                    setting[2],
                    words.shown(shared.mean(setting, "baseline", "au_pro")),
                    *map(words.interval, au_pro.values()),
                    words.shown(shared.mean(setting, "baseline", "image_rocauc")),
                    *map(words.interval, image.values()),
                ]
            )
            drawn[f"{title}{shared.only(setting)}: {setting[2]}"] = au_pro
        if kind[0] == "lite0_fpfh":
            continue
        if all(shared.has((*kind, fixes, e.most)) for fixes in ("eval", "released")):
            where = title + shared.only((*kind, "eval", e.most))
            lines += [
                _train_sentence(where, scoring, name, found["eval"][place][scoring], found["released"][place][scoring])
                for scoring in GAINERS
                for place, name in enumerate(("au_pro", "image_rocauc"))
            ]
        else:
            left.append(title)
    if left:
        lines.append(f"- {words.NOT_RUN} in both modes: {'; '.join(left)}.")
    lines += [
        "",
        "lite0 and FPFH have no train mode: with both, the same patches come out. The rows of the same features are "
        "of the same categories and seeds.",
        "",
        *words.table(
            [
                "features",
                "fixes",
                "AU-PRO, baseline",
                "disagreement − baseline",
                "calibrated − baseline",
                "image ROCAUC, baseline",
                "disagreement − baseline",
                "calibrated − baseline",
            ],
            rows,
        ),
        words.note(e),
        "",
        *words.figure(
            out, "train_mode", figures.differences(drawn, GAINERS, "AU-PRO minus baseline's"), "Gains by mode"
        ),
    ]
    return lines


def _train_sentence(where, scoring, name, gained, kept):
    """One line: how much of a scoring's gain over the baseline is lost in train mode.

    Args:
        where: title of the features, and which categories these are.
        name: of the metric.
        gained, kept: Difference to the baseline in eval mode, and as released; None if the metric is unknown.
    """
    text = f"- {where}: {scoring} − baseline in {METRICS[name]} is "
    if gained is None or kept is None:
        return f"{text}unknown."
    if gained.value <= 0:
        verdict = "there is no gain to take"
    elif kept.value <= 0:
        verdict = "train mode takes all of the gain"
    else:
        verdict = f"train mode takes {max(0, 100 * (1 - kept.value / gained.value)):.0f} % of the gain"
    return f"{text}{gained.value:+.3f} in eval mode and {kept.value:+.3f} as released: {verdict}."


def fusion_section(e, names, out):
    """Is the late fusion to blame, and which of its components?"""
    lines, rows, drawn = ["", "## Is the late fusion to blame?", ""], [], {}
    lines += [
        "Every row takes the same banks' maps (all fixes); only how they are joined changes. The first rows are the "
        "single banks. Where learning with own rows was measured on fewer seeds or categories, only the difference on "
        "those is shown.",
        "",
    ]
    chain = {
        "baseline": "released late fusion: SVM, lambdas 1, 0.1, 1",
        **LATE_FUSION,
        "calibrated": "calibrated: the larger, each over its normal spread",
    }
    for kind, setting in e.main_settings():
        title, own, gains, drawn_here = e.title(*kind), (*kind, "own_rows", e.most), {}, {}
        banks = ("xyz", "rgb", "fusion")[: 3 if kind[1] == "three" else 2]
        steps = [(setting, f"bank_{bank}", f"{bank} bank alone") for bank in banks]
        steps += [(own, "baseline", "learned with own rows")]
        steps += [(setting, scoring, text) for scoring, text in chain.items()]
        for place, scoring, text in steps:
            gain = e.difference("au_pro", (place, scoring), (setting, "baseline"))
            if (place, scoring) == (setting, "baseline"):
                shown = ""
            else:
                shown = words.interval(gain)
                if gain and not scoring.startswith("bank_"):
                    gains[text] = gain
            au_pro, image = (e.mean(place, scoring, name) for name in ("au_pro", "image_rocauc"))
            if 0 < len(e.of(place)) < len(e.of(setting)):
                means = ["", ""]
            else:
                means = [words.shown(image), words.shown(au_pro)]
                drawn_here[text] = au_pro and au_pro.value
            rows.append([title, text, *means, shown])
        drawn[title] = {text: value for text, value in drawn_here.items() if value is not None}
        if gains:
            parts = "; ".join(f"{text} {words.interval(of)}" for text, of in gains.items())
            best = max(gains, key=lambda text: gains[text].value)
            lines.append(
                f"- {title}{e.only(setting)}, AU-PRO against the released late fusion: {parts}. "
                + (f"Most is gained by: {best}." if gains[best].sign > 0 else "Nothing gains more than its interval.")
            )
    lines += [
        "",
        *words.table(["features", "how the banks are joined", "image ROCAUC", "AU-PRO", "AU-PRO − released"], rows),
        words.note(e),
        "",
        *words.figure(out, "late_fusion", figures.chain(drawn), "AU-PRO by how the banks are joined"),
    ]
    return lines


def shots_section(e, names, out):
    """How many training parts are enough?"""
    lines, rows, drawn = (
        [
            "",
            "## How many training parts are enough?",
            "",
            "With 1 part nothing is left to measure it against: `--fix late_fusion` and calibrated need "
            "2, so its column has all fixes but that one.",
            "",
        ],
        [],
        {},
    )
    counts = sorted({cell.shots for cell in e.planned if cell.fixes == "fixed"} | {1})
    for kind in e.kinds:
        for scoring in PAIRED:
            settings = {k: (*kind, "fixed" if k > 1 else "own_rows", k) for k in counts}
            settings = {k: s for k, s in settings.items() if any(cell.setting == s for cell in e.planned)}
            if len(settings) < 2:
                continue
            shared = e.common(settings.values())
            means = {k: shared.mean(setting, scoring, "au_pro") for k, setting in settings.items()}
            values = {k: mean.value if mean else np.nan for k, mean in means.items()}
            rows.append(
                [
                    e.title(*kind),
                    scoring,
                    *(words.NOT_RUN if k not in values else _number(values[k], k, scoring) for k in counts),
                ]
            )
            known = {k: v for k, v in values.items() if not np.isnan(v)}
            if len(known) > 1:
                drawn.setdefault(e.title(*kind), {})[scoring] = known
                last = known[max(known)]
                enough = min(k for k in known if all(v >= last - HELPS for j, v in known.items() if j >= k))
                parts = "training part" if enough == 1 else "training parts"
                lines.append(
                    f"- {e.title(*kind)}, {scoring}: from {enough} {parts} on AU-PRO stays within {HELPS:g} of that "
                    f"with {max(known)} ({last:.3f})."
                )
    if not rows:
        return [*lines, words.NOT_RUN]
    lines += [
        "",
        *words.table(["features", "AU-PRO of", *map(str, counts)], rows),
        words.note(e),
        "",
        *(words.figure(out, "shots", figures.curves(drawn), "AU-PRO by number of training parts") if drawn else []),
    ]
    return lines


def _number(value, shots, scoring):
    return (
        f"{value:.3f}" if not np.isnan(value) else "needs 2" if (shots, scoring) == (1, "calibrated") else words.NOT_RUN
    )
