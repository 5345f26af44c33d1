"""Result files of a run: tables, scores of a category, run.json."""
import csv
import io
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tabulate import tabulate

from utils.files import atomic_write_text

# metric → (heading, file)
TABLES = {
    "image_rocauc": ("Image ROCAUC Results", "image_rocauc_results.md"),
    "pixel_rocauc": ("Pixel ROCAUC Results", "pixel_rocauc_results.md"),
    "au_pro": ("AU PRO Results", "aupro_results.md"),
}
UNDEFINED = "undefined"
DIFFERENCE = "difference"
PACKAGES = ("torch", "timm", "numpy", "scipy", "scikit-learn", "fpsample", "pillow", "tifffile")


def row_title(method_name, scoring):
    """What the Method column shows: the method, and the scoring where it is not the baseline."""
    return method_name if scoring == "baseline" else f"{method_name} [{scoring}]"


def result_table(metric, method_name, metrics):
    """One markdown table with its heading.

    Args:
        metric: key of ``TABLES``.
        metrics: {category: {scoring: Metrics}}; "baseline" is each category's first scoring.

    Returns:
        Text: values rounded to 3 decimals, the mean taken of the rounded ones; behind every scoring a row
        with its difference to the baseline. A metric that is undefined for a category stands as such, and
        the mean is of the others.
    """
    scorings = list(next(iter(metrics.values())))
    rows, baseline = [], None
    for scoring in scorings:
        values = [getattr(metrics[category][scoring], metric) for category in metrics]
        values = _with_mean([None if v is None else round(v, 3) for v in values])
        rows.append([row_title(method_name, scoring), *map(_shown, values)])
        if baseline is None:
            baseline = values
        else:
            rows.append([DIFFERENCE, *(_shown(None if v is None else v - b, "+.3f") for v, b in zip(values, baseline))])
    header = ["Method", *(category.title() for category in metrics), "Mean"]
    table = tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(header) - 1))
    return f"## {TABLES[metric][0]}\n\n{table}\n"


def append_tables(output_dir, method_name, metrics):
    """Append the three tables to their files under ``output_dir``, a blank line before each."""
    for metric, (_, name) in TABLES.items():
        path = Path(output_dir) / name
        before = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
        atomic_write_text(path, (before.rstrip("\n") + "\n\n" if before.strip() else "") + result_table(metric, method_name, metrics))


def all_tables(method_name, metrics):
    """The three tables as one text."""
    return "\n".join(result_table(metric, method_name, metrics) for metric in TABLES)


def write_seeds(output_dir, method_name, metrics):
    """Write and return seeds.md: the three tables as mean ± standard deviation over seeds.

    Args:
        metrics: {seed: {category: {scoring: Metrics}}}; a category counts where every seed finished it.
    """
    seeds = list(metrics)
    categories = [c for c in metrics[seeds[0]] if all(c in metrics[seed] for seed in seeds)]
    texts = []
    for metric, (heading, _) in TABLES.items():
        rows = []
        for scoring in metrics[seeds[0]][categories[0]] if categories else ():
            columns = np.array([[getattr(metrics[seed][c][scoring], metric) for c in categories] for seed in seeds], dtype=float)
            columns = np.column_stack([columns, columns.mean(1)])
            spread = [f" ± {s:.3f}" for s in columns.std(0, ddof=1)] if len(seeds) > 1 else [""] * columns.shape[1]
            rows.append([row_title(method_name, scoring), *(UNDEFINED if np.isnan(m) else f"{m:.3f}{s}" for m, s in zip(columns.mean(0), spread))])
        texts.append(f"## {heading}, mean ± standard deviation over seeds {', '.join(map(str, seeds))}\n\n"
                     + tabulate(rows, ["Method", *(c.title() for c in categories), "Mean"], tablefmt="pipe", disable_numparse=True) + "\n")
    text = "\n".join(texts)
    atomic_write_text(Path(output_dir) / "seeds.md", text)
    return text


def write_scores(path, described, scored, bank_scores):
    """Write a category's scores as CSV, one line a test sample in the order scored, in full precision.

    Args:
        described: (path, defect, label) of each sample.
        scored: {scoring: Scored}.
        bank_scores: {bank: score} of each sample.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    banks = list(bank_scores[0]) if bank_scores else []
    writer.writerow(["path", "defect", "label", *scored, *(f"bank_{bank}" for bank in banks)])
    for i, fields in enumerate(described):
        scores = [float(s.image_preds[i]) for s in scored.values()] + [float(bank_scores[i][bank]) for bank in banks]
        writer.writerow([*fields, *map(repr, scores)])
    atomic_write_text(path, text.getvalue())


def environment():
    """Versions of Python, the platform and the packages that matter."""
    return {"python": platform.python_version(), "platform": platform.platform(), "cpus": os.cpu_count(),
            **{package: version(package) for package in PACKAGES}}


def peak_memory_mib():
    """Largest resident memory of this process so far in MiB, or None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)


def write_run(output_dir, content):
    """Write run.json under ``output_dir``."""
    atomic_write_text(Path(output_dir) / "run.json", json.dumps(content, indent=2, default=str) + "\n")


def _with_mean(values):
    known = [v for v in values if v is not None]
    return values + [round(sum(known) / len(known), 3) if known else None]


def _shown(value, form=".3f"):
    return UNDEFINED if value is None else format(value, form)
