"""Result files of a run: tables, scores of a category, run.json.

A run appends its tables to three files, as the release does. An HTML comment with the run's id stands on the line
before each table. By it a run finds its own table again: it updates the table after every category and never writes it
twice.
"""

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

from common.files import atomic_write_text
from scoring.metrics import Metrics

# metric → (heading, file)
TABLES = {
    "image_rocauc": ("Image ROCAUC Results", "image_rocauc_results.md"),
    "pixel_rocauc": ("Pixel ROCAUC Results", "pixel_rocauc_results.md"),
    "au_pro": ("AU PRO Results", "aupro_results.md"),
}
UNDEFINED = "undefined"
DIFFERENCE = "difference"
COMMENT = "<!-- run "
PACKAGES = ("torch", "timm", "numpy", "scipy", "scikit-learn", "fpsample", "pillow", "tifffile")


def untrained_note(paths):
    """The note to put under every table that was made with the untrained stand-in weights in files ``paths``; "" if
    there are none."""
    names = ", ".join(dict.fromkeys(Path(path).name for path in paths))
    return names and f"UNTRAINED stand-in weights ({names}): these scores mean nothing as a benchmark."


def metrics_of(record):
    """{scoring: Metrics} of a category's record."""
    return {name: Metrics(**values) for name, values in record["metrics"].items()}


def row_title(method_name, scoring):
    """Text of the Method column: the method, and the scoring unless it is the baseline."""
    return method_name if scoring == "baseline" else f"{method_name} [{scoring}]"


def result_table(metric, method_name, metrics):
    """One markdown table with its heading.

    Args:
        metric: key of ``TABLES``.
        metrics: {category: {scoring: Metrics}}; "baseline" is each category's first scoring.

    Returns:
        Text. Values are rounded to 3 decimals; the mean is that of the rounded values. After every other scoring comes
        a row with its difference to the baseline. A metric that is undefined for a category is shown as "undefined";
        the mean is over the others.
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
    header = ["Method", *(column_title(category) for category in metrics), "Mean"]
    table = tabulate(
        rows, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(header) - 1)
    )
    return f"## {TABLES[metric][0]}\n\n{table}\n"


def column_title(category):
    """A category's name for a table's heading: in title case, without characters that would end the cell or line."""
    return escaped(category.title())


def escaped(text):
    """Text for a cell of a markdown table."""
    return " ".join(text.replace("|", "\\|").splitlines())


def comment_of(block, date, options):
    """The comment line before a table.

    Args:
        block: the id by which the run finds its table.
        date: text.
        options: {name: value} of the options that differ from the defaults.
    """
    listed = ", ".join(
        f"{name}={' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in options.items()
    )
    text = f"{block}, {date}, {' '.join(listed.split()) or 'default options'}"
    return f"{COMMENT}{text.replace('--', '- -')} -->"


def append_tables(output_dir, method_name, metrics, before="", note=""):
    """Append the three tables to their files in ``output_dir``, with a blank line before each.

    Args:
        before: line before each heading, see :func:`comment_of`.
        note: text after each table.
    """
    for metric, (_, name) in TABLES.items():
        path = Path(output_dir) / name
        text = _read(path)
        _write_joined(path, text, _block(metric, method_name, metrics, before, note))


def update_tables(output_dir, method_name, metrics, block, comment, note="", again=False):
    """Update a run's own three tables, or append them if they are not there yet.

    Args:
        block: the run's id in ``comment``. The last table with this id is replaced, unless only its comment differs.
        again: always append.

    Returns:
        Whether a file was written.
    """
    changed = False
    for metric, (_, name) in TABLES.items():
        path = Path(output_dir) / name
        text, new = _read(path), _block(metric, method_name, metrics, comment, note)
        found = None if again else _find_block(text, block)
        if found is None:
            _write_joined(path, text, new)
        elif _body(text[slice(*found)]) == _body(new):
            continue
        else:
            rest = text[found[1] :].lstrip("\n")
            atomic_write_text(path, text[: found[0]] + new + ("\n" + rest if rest else ""))
        changed = True
    return changed


def all_tables(method_name, metrics, comment="", note=""):
    """The three tables as one text."""
    return "\n".join(_block(metric, method_name, metrics, comment, note) for metric in TABLES)


def _block(metric, method_name, metrics, comment, note):
    return (
        (comment + "\n" if comment else "")
        + result_table(metric, method_name, metrics)
        + (f"\n{note}\n" if note else "")
    )


def _find_block(text, block):
    """(start, end) of the last table with this id in its comment, or None."""
    start = ("\n" + text).rfind(f"\n{COMMENT}{block},")
    if start < 0:
        return None
    heading = text.index("## ", start)
    ends = [at + 1 for at in (text.find(f"\n{COMMENT}", start + 1), text.find("\n## ", heading + 1)) if at >= 0]
    return start, min(ends, default=len(text))


def _body(block):
    return "\n".join(line for line in block.splitlines() if not line.startswith(COMMENT)).strip()


def _read(path):
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""


def _write_joined(path, before, new):
    atomic_write_text(path, (before.rstrip("\n") + "\n\n" if before.strip() else "") + new)


def write_seeds(output_dir, method_name, metrics):
    """Write and return seeds.md: the three tables as mean ± standard deviation over seeds.

    Args:
        metrics: {seed: {category: {scoring: Metrics}}}; a category counts if every seed has finished it.
    """
    seeds = list(metrics)
    categories = [c for c in metrics[seeds[0]] if all(c in metrics[seed] for seed in seeds)]
    texts = []
    for metric, (heading, _) in TABLES.items():
        rows, baseline = [], None
        for scoring in metrics[seeds[0]][categories[0]] if categories else ():
            columns = np.array(
                [[getattr(metrics[seed][c][scoring], metric) for c in categories] for seed in seeds], dtype=float
            )
            columns = np.column_stack([columns, columns.mean(1)])
            rows.append([row_title(method_name, scoring), *_over_seeds(columns, ".3f")])
            if baseline is None:
                baseline = columns
            else:
                rows.append([DIFFERENCE, *_over_seeds(columns - baseline, "+.3f")])
        texts.append(
            f"## {heading}, mean ± standard deviation over seeds {', '.join(map(str, seeds))}\n\n"
            + tabulate(rows, ["Method", *map(column_title, categories), "Mean"], tablefmt="pipe", disable_numparse=True)
            + f"\n\n{DIFFERENCE}: of the same seed, scoring minus baseline, then mean and standard deviation.\n"
            * (len(rows) > 1)
        )
    text = "\n".join(texts)
    atomic_write_text(Path(output_dir) / "seeds.md", text)
    return text


def _over_seeds(columns, form):
    """["mean ± standard deviation"] of each column of ``columns`` [seeds, c]."""
    spread = [f" ± {s:.3f}" for s in columns.std(0, ddof=1)] if len(columns) > 1 else [""] * columns.shape[1]
    return [UNDEFINED if np.isnan(mean) else f"{mean:{form}}{s}" for mean, s in zip(columns.mean(0), spread)]


def write_scores(path, evaluation, scored):
    """Write a category's scores as CSV: one line per test part, in the order of scoring, in full precision.

    Args:
        evaluation: Evaluation.
        scored: {scoring: Scored}.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "defect", "label", *scored, *(f"bank_{bank}" for bank in evaluation.bank_score)])
    columns = [*(of.image_preds for of in scored.values()), *evaluation.bank_score.values()]
    for i, fields in enumerate(zip(evaluation.path, evaluation.defect, map(int, evaluation.label))):
        writer.writerow([*fields, *(repr(float(column[i])) for column in columns)])
    atomic_write_text(path, text.getvalue())


def environment():
    """{name: value}: versions of Python, the platform and the important packages; number of CPUs."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **{package: version(package) for package in PACKAGES},
    }


def peak_memory_mib():
    """Largest resident memory of this process so far in MiB; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), 1)


def write_run(folder, content):
    """Write run.json in ``folder``."""
    atomic_write_text(Path(folder) / "run.json", json.dumps(content, indent=2, default=str) + "\n")


def read_run(folder):
    """The run.json in ``folder`` as a dict; {} if it is missing or unreadable."""
    try:
        return json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _with_mean(values):
    known = [v for v in values if v is not None]
    return values + [round(sum(known) / len(known), 3) if known else None]


def _shown(value, form=".3f"):
    return UNDEFINED if value is None else format(value, form)
