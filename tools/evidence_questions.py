"""The questions that the evidence page answers: each has sentences from the cells' numbers, a table and a figure."""

import itertools

import numpy as np

from tools import evidence_figures as figures
from tools import evidence_words as words
from tools.evidence_cells import FIX_SETS
from tools.evidence_numbers import group_difference, metric, part_rows
from tools.evidence_words import LATE_FUSION, METRICS, PAIRED, SCORINGS

MODALITIES = {"color": "RGB only (stain)", "hole": "3D only (dent)", "combined": "both", "faint": "weak in both"}
SIZES = (0, 0.5, 1, 2, 100)  # per cent of the part
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
        for fixes in ("released", "eval", "fixed"):
            setting = (*kind, fixes, e.most)
            if not any(cell.setting == setting for cell in e.planned):
                continue
            gains = {
                s: e.difference("au_pro", (setting, s), (setting, "baseline")) for s in ("disagreement", "calibrated")
            }
            image = {
                s: e.difference("image_rocauc", (setting, s), (setting, "baseline"))
                for s in ("disagreement", "calibrated")
            }
            rows.append(
                [
                    e.title(*kind),
                    fixes,
                    words.shown(e.mean(setting, "baseline", "au_pro")),
                    *map(words.interval, gains.values()),
                    words.shown(e.mean(setting, "baseline", "image_rocauc")),
                    *map(words.interval, image.values()),
                ]
            )
            drawn[f"{e.title(*kind)}: {fixes}"] = gains
        if kind[0] != "lite0_fpfh":
            shared = _in_both_modes(e, kind)
            left += [] if shared else [e.title(*kind)]
            lines += [
                _train_sentence(e, kind, shared, scoring, name)
                for scoring in ("disagreement", "calibrated")
                for name in ("image_rocauc", "au_pro")
                if shared
            ]
    if left:
        lines.append(f"- {words.NOT_RUN} in both modes: {'; '.join(left)}.")
    lines += [
        "",
        "lite0 and FPFH have no train mode: with both, the same patches come out.",
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
            out,
            "train_mode",
            figures.differences(drawn, ("disagreement", "calibrated"), "AU-PRO minus baseline's"),
            "Gains by mode",
        ),
    ]
    return lines


def _in_both_modes(e, kind):
    """[category] that were run in eval mode and as released."""
    settings = [(*kind, fixes, e.most) for fixes in ("eval", "released")]
    return [category for category in e.categories if all(e.of(setting, category) for setting in settings)]


def _train_sentence(e, kind, shared, scoring, name):
    """One line: how much of a scoring's gain train mode takes, on the categories that both modes were run on."""
    gained, released = (
        np.mean(
            [
                metric(of, scoring, name) - metric(of, "baseline", name)
                for category in shared
                for of in e.of(setting, category)
            ]
        )
        for setting in ((*kind, fixes, e.most) for fixes in ("eval", "released"))
    )
    if gained <= 0:
        verdict = "there is no gain to take"
    elif released <= 0:
        verdict = "train mode takes all of the gain"
    else:
        verdict = f"train mode takes {max(0, 100 * (1 - released / gained)):.0f} % of the gain"
    return (
        f"- {e.title(*kind)} ({', '.join(shared)}): {scoring} − baseline in {METRICS[name]} is {gained:+.3f} in eval "
        f"mode and {released:+.3f} as released: {verdict}."
    )


def fusion_section(e, names, out):
    """Is the late fusion to blame, and which of its components?"""
    lines, rows, drawn = (
        [
            "",
            "## Is the late fusion to blame?",
            "",
            "Every row takes the same banks' maps (all fixes); only how they are joined changes. The "
            "first rows are the single banks.",
            "",
        ],
        [],
        {},
    )
    chain = {
        "baseline": "released late fusion: SVM, lambdas 1, 0.1, 1",
        **LATE_FUSION,
        "calibrated": "calibrated: the larger, each over its normal spread",
    }
    for kind, setting in e.main_settings():
        own, drawn[e.title(*kind)] = (*kind, "own_rows", e.most), {}
        steps = [
            (setting, f"bank_{bank}", f"{bank} bank alone")
            for bank in ("xyz", "rgb", "fusion")
            if bank != "fusion" or kind[1] == "three"
        ]
        steps += [(own, "baseline", "released late fusion, learned with own rows")]
        steps += [(setting, scoring, text) for scoring, text in chain.items()]
        for place, scoring, text in steps:
            au_pro, image = (e.mean(place, scoring, name) for name in ("au_pro", "image_rocauc"))
            gain = e.difference("au_pro", (place, scoring), (setting, "baseline"))
            rows.append(
                [
                    e.title(*kind),
                    text,
                    words.shown(image),
                    words.shown(au_pro),
                    "" if (place, scoring) == (setting, "baseline") else words.interval(gain),
                ]
            )
            drawn[e.title(*kind)][text] = au_pro and au_pro.value
        gains = {
            text: e.difference("au_pro", (setting, s), (setting, "baseline"))
            for s, text in chain.items()
            if s != "baseline"
        }
        gains["learned with own rows"] = e.difference("au_pro", (own, "baseline"), (setting, "baseline"))
        known = {text: of for text, of in gains.items() if of}
        if known:
            parts = "; ".join(f"{text} {words.interval(of)}" for text, of in known.items())
            best = max(known, key=lambda text: known[text].value)
            lines.append(
                f"- {e.title(*kind)}{e.only(setting)}, AU-PRO against the released late fusion: {parts}. "
                + (f"Most is gained by: {best}." if known[best].sign > 0 else "Nothing gains more than its interval.")
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
            seed = e.seeds[0]  # only the first seed is run with few parts
            done = {k: {c.category for c in e.done if c.setting == s and c.seed == seed} for k, s in settings.items()}
            shared = set.intersection(*(of for of in done.values() if of)) if any(done.values()) else set()
            values = {
                k: np.mean(
                    [
                        metric(of, scoring, "au_pro")
                        for category in shared
                        for of in e.of(s, category)
                        if of["cell"]["seed"] == seed
                    ]
                )
                if shared & done[k]
                else np.nan
                for k, s in settings.items()
            }
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
                lines.append(
                    f"- {e.title(*kind)}, {scoring}: from {enough} parts on AU-PRO stays within {HELPS:g} of "
                    f"that with {max(known)} ({last:.3f})."
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
