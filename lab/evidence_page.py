"""The evidence page: tables, figures, and sentences written from the cells' numbers."""

import csv
import io
import platform
import subprocess
import time
from functools import lru_cache
from pathlib import Path

import numpy as np

from common.files import atomic_write_text
from common.machine import environment
from common.progress import duration
from lab import evidence_questions as questions
from lab import evidence_words as words
from lab.evidence_numbers import Evidence, mean_of, metric
from lab.evidence_words import METRICS, PAIRED, SCORINGS

GOAL = 0.05  # gain of calibrated over baseline in mean AU-PRO
TOPS = ("image_rocauc", "pixel_rocauc", "au_pro", "au_pro_1")  # metrics with a column per category
PAIRS = (("calibrated", "baseline"), ("calibrated", "disagreement"), ("disagreement", "baseline"))


def write(out, work, names, seconds, quick):
    """Write OUT/evidence.md, cells.csv and the figures.

    Args:
        work: Work, finished or not.
        names: metrics of the tables, keys of METRICS.
        seconds: duration of this call.
        quick: whether the plan is that of --quick.
    """
    out, e = Path(out), Evidence(work.planned, work.done, work.failed, work.parts is not None)
    lines = head(e, work.parts, seconds, quick)
    if e.done:
        for section in (
            main_section,
            difference_section,
            questions.defect_section,
            questions.fix_section,
            questions.train_section,
            questions.fusion_section,
            questions.shots_section,
        ):
            lines += section(e, names, out)
    lines += left_section(e)
    atomic_write_text(out / "evidence.md", "\n".join(lines) + "\n")
    atomic_write_text(out / "cells.csv", cells_csv(e))


def head(e, parts, seconds, quick):
    """The page's beginning: what was run, and on which data."""
    spent = sum(of["seconds"]["all"] for of in e.done.values())
    lines = ["# Where each scoring wins and loses", ""]
    if parts:
        lines += [
            f"**{words.BESIDE}** {len(e.categories)} kinds of generated part ({', '.join(e.categories)}), "
            f"{parts.train} training, {parts.good} good and {4 * parts.defective} defective test parts each: "
            "stain (RGB only), dent (3D only), both, and both but faint; a defect takes 0.2 to 5 % of the part."
        ]
    if quick:
        lines += [
            "",
            "**Quick: fewer parts, one seed, a part of the settings.** Differences of a few hundredths are "
            "noise here; the intervals say how many.",
        ]
    if e.standin:
        lines += ["", f"**{words.UNTRAINED}** What the page says of them need not hold for trained ones."]
    commits = sorted({of.get("commit", "unknown") for of in e.done.values()}) or ["none"]
    versions = {key: environment()[key] for key in ("python", "torch") if key in environment()}
    lines += [
        "",
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {environment()['cpus']} cores, "
        f"{', '.join(f'{k} {v}' for k, v in versions.items())}; cells of the commits {', '.join(commits)}, page by "
        f"{commit()}. "
        f"{len(e.done)} of {len(e.planned)} cells are there, computed in {duration(spent)} "
        f"({duration(seconds)} of it, page included, in the last call); `cells.csv` has every one.",
        "Baseline, pixel_max, disagreement and full: the paper's scorings; calibrated: ours. All fixes: "
        "`--fix all`; eval mode: `--fix eval_mode`; released: no fix.",
    ]
    return lines


def main_section(e, names, out):
    """The main table: eval mode with all fixes and the largest number of training parts."""
    lines = ["", f"## Main table: all fixes, {e.most} training parts", ""]
    tops = [name for name in names if name in TOPS]
    lines += sentences_of_goal(e)
    for name in tops:
        rows = [
            [
                e.title(*kind),
                scoring,
                *(
                    words.shown(mean_of(np.array(e.table(setting, scoring, name))[:, [i]]))
                    for i in range(len(e.categories))
                ),
                words.shown(e.mean(setting, scoring, name)),
            ]
            for kind, setting in e.main_settings()
            for scoring in SCORINGS
        ]
        lines += [
            "",
            f"### {METRICS[name]}",
            "",
            *words.table(["features", "scoring", *e.categories, "mean"], rows),
            words.note(e),
        ]
    rest = [name for name in names if name not in tops]
    if rest:
        rows = [
            [e.title(*kind), scoring, *(words.shown(e.mean(setting, scoring, name)) for name in rest)]
            for kind, setting in e.main_settings()
            for scoring in SCORINGS
        ]
        lines += [
            "",
            "### Metrics that users decide by, means over the categories",
            "",
            *words.table(["features", "scoring", *(METRICS[name] for name in rest)], rows),
            words.note(e),
        ]
    return lines


def sentences_of_goal(e):
    """Sentences on whether the calibrated scoring reaches its goal, one per setting."""
    lines = []
    for kind, setting in e.main_settings():
        gain = e.difference("au_pro", (setting, "calibrated"), (setting, "baseline"))
        if gain is None:
            continue
        worse = []
        for category in e.categories:
            for name in ("image_rocauc", "au_pro"):
                measured = e.of(setting, category)
                values = {s: np.mean([metric(of, s, name) for of in measured]) for s in PAIRED if measured}
                if not values or np.isnan(list(values.values())).any():
                    continue
                better = max(("baseline", "disagreement"), key=values.get)
                lost = e.difference(name, (setting, "calibrated"), (setting, better), category)
                if lost is not None and lost.sign < 0:
                    worse.append(f"{category} ({METRICS[name]} {lost.value:+.3f} to {better})")
        lines.append(
            f"- {e.title(*kind)}{e.only(setting)}: calibrated − baseline in mean AU-PRO is {words.interval(gain)}, "
            f"{'at least' if gain.value >= GOAL else 'below'} the {GOAL} aimed at{room(e, setting, gain)}; "
            + (
                "below the better of baseline and disagreement, by more than its interval, for " + ", ".join(worse)
                if worse
                else "nowhere below the better of baseline and disagreement by more than its interval"
            )
            + "."
        )
    return lines


def room(e, setting, gain):
    """Words on the room for improvement, 1 minus the baseline's AU-PRO, and the share of it that was gained.

    "" if the gain reaches the goal: then nothing needs to be explained.
    """
    left = 1 - e.mean(setting, "baseline", "au_pro").value
    return (
        ""
        if gain.value >= GOAL
        else f" (baseline leaves {left:.3f} up to 1, of which it gains {gain.value / left:.0%})"
    )


def difference_section(e, names, out):
    """Paired differences with intervals."""
    lines = [
        "",
        "## Paired differences",
        "",
        "95 % intervals: of image ROCAUC by DeLong's standard errors, of AU-PRO by a bootstrap of test parts. "
        "Training and seed stay fixed in them.",
    ]
    for name in ("image_rocauc", "au_pro"):
        rows = []
        for kind, setting in e.main_settings():
            for a, b in PAIRS:
                rows.append(
                    [
                        e.title(*kind),
                        f"{a} − {b}",
                        *(
                            words.interval(e.difference(name, (setting, a), (setting, b), category))
                            for category in (*e.categories, None)
                        ),
                    ]
                )
        lines += [
            "",
            f"### {METRICS[name]}",
            "",
            *words.table(["features", "difference", *e.categories, "mean"], rows),
            words.note(e),
        ]
    return lines


def left_section(e):
    """The list of cells that are missing."""
    left = {}
    for cell in e.planned:
        if cell not in e.done:
            left.setdefault(cell.setting, {}).setdefault(cell.seed, []).append(cell.category)
    lines = ["", "## Cells that were not run", ""]
    if not left:
        return [*lines, "None."]
    lines += words.table(
        ["features", "fixes", "training parts", "categories"],
        [
            [
                e.title(*setting[:2]),
                setting[2],
                str(setting[3]),
                "; ".join(
                    f"seed {seed}: " + ("all" if len(names) == len(e.categories) else ", ".join(names))
                    for seed, names in of.items()
                ),
            ]
            for setting, of in left.items()
        ],
    )
    return lines + [f"- failed: {cell}: {why}" for cell, why in e.failed.items()]


def cells_csv(e):
    """The text of cells.csv: one line per cell and scoring."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["features", "banks", "fixes", "training_parts", "category", "seed", "scoring", *METRICS, "seconds"]
    )
    for cell, of in e.done.items():
        for scoring in of["metrics"]:
            values = [metric(of, scoring, name) for name in METRICS]
            writer.writerow(
                [*cell, scoring, *("" if np.isnan(v) else f"{v:.6g}" for v in values), f"{of['seconds']['all']:.1f}"]
            )
    return text.getvalue()


@lru_cache(maxsize=None)
def commit():
    """The program's git commit; "unknown" without git."""
    try:
        root = Path(__file__).resolve().parents[1]
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True
        )
        return found.stdout.strip() or "unknown"
    except OSError:
        return "unknown"
