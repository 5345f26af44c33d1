"""Result files of a run: tables, scores of a category, run.json. Tables are appended to three files, as in the release;
by the comment on the line before, with the run's id, the same run again does not write the same table twice.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
CategoryMetrics = Mapping[str, Mapping[str, Metrics]]  # {category: {scoring: Metrics}}


def untrained_note(paths: Iterable[str | Path]) -> str:
    """The note to put under every table that was made with the untrained stand-in weights in files ``paths``; "" if
    there are none."""
    names = ", ".join(dict.fromkeys(Path(path).name for path in paths))
    return names and f"UNTRAINED stand-in weights ({names}): these scores mean nothing as a benchmark."


def metrics_of(record: Mapping[str, Any]) -> dict[str, Metrics]:
    """{scoring: Metrics} of a category's record."""
    return {name: Metrics(**values) for name, values in record["metrics"].items()}


def row_title(method_name: str, scoring: str) -> str:
    """Text of the Method column: the method, and the scoring unless it is the baseline."""
    return method_name if scoring == "baseline" else f"{method_name} [{scoring}]"


def result_table(metric: str, method_name: str, metrics: CategoryMetrics) -> str:
    """One markdown table with its heading; ``metric``: key of ``TABLES``.

    Values are rounded to 3 decimals; the mean is that of the rounded values, without undefined ones. After every
    scoring but the first, the baseline, comes a row with its difference to that.
    """
    scorings = list(next(iter(metrics.values())))
    rows: list[list[str]] = []
    baseline: list[float | None] = []
    for scoring in scorings:
        values: list[float | None] = [getattr(metrics[category][scoring], metric) for category in metrics]
        values = _with_mean([None if v is None else round(v, 3) for v in values])
        rows.append([row_title(method_name, scoring), *map(_shown, values)])
        if not baseline:
            baseline = values
            continue
        differences = [None if v is None or b is None else v - b for v, b in zip(values, baseline)]
        rows.append([DIFFERENCE, *(_shown(value, "+.3f") for value in differences)])
    header = ["Method", *(column_title(category) for category in metrics), "Mean"]
    table = tabulate(
        rows, header, tablefmt="pipe", disable_numparse=True, colalign=["left"] + ["right"] * (len(header) - 1)
    )
    return f"## {TABLES[metric][0]}\n\n{table}\n"


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Text: mean ± standard deviation of ``values``, of a single one the mean; UNDEFINED where one is NaN."""
    mean = np.mean(values)
    if np.isnan(mean):
        return UNDEFINED
    return f"{mean:{form}}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def column_title(category: str) -> str:
    """A category's name for a table's heading: in title case, without characters that would end the cell or line."""
    return escaped(category.title())


def escaped(text: str) -> str:
    """Text for a cell of a markdown table."""
    return " ".join(text.replace("|", "\\|").splitlines())


def comment_of(block: str, date: str, options: Mapping[str, Any]) -> str:
    """The comment line before a table; ``block``: the id by which the run finds it; ``options``: {name: value} of
    those that differ from the defaults."""
    listed = ", ".join(
        f"{name}={' '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}"
        for name, value in options.items()
    )
    text = f"{block}, {date}, {' '.join(listed.split()) or 'default options'}"
    return f"{COMMENT}{text.replace('--', '- -')} -->"


@dataclass(frozen=True)
class Tables:
    """A run's three tables; ``comment``: the line before each, with ``block`` (see :func:`comment_of`); ``note``: the
    text after each."""

    method_name: str
    block: str = ""
    comment: str = ""
    note: str = ""

    def text(self, metrics: CategoryMetrics) -> str:
        """The three tables as one text."""
        return "\n".join(self._one(metric, metrics) for metric in TABLES)

    def append(self, folder: str | Path, metrics: CategoryMetrics, again: bool = False) -> None:
        """Append the tables to the files in ``folder``, which may raise OSError; unless ``again``, not where the run's
        last table there says the same."""
        for metric, (_, name) in TABLES.items():
            path, table = Path(folder) / name, self._one(metric, metrics)
            text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
            last = text.rfind(f"{COMMENT}{self.block},") if self.block else -1
            if last >= 0 and not again and _body(text[last:]).startswith(_body(table)):
                continue
            atomic_write_text(path, (text.rstrip("\n") + "\n\n" if text.strip() else "") + table)

    def _one(self, metric: str, metrics: CategoryMetrics) -> str:
        table = result_table(metric, self.method_name, metrics)
        return (self.comment + "\n" if self.comment else "") + table + (f"\n{self.note}\n" if self.note else "")


def metric_lines(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    """One line per scoring of a category, with its three metrics."""
    for scoring, values in metrics.items():
        shown = zip(("image ROCAUC", "pixel ROCAUC", "AU-PRO"), values)
        yield f"{scoring}: " + ", ".join(f"{title} {_shown(value)}" for title, value in shown)


def _body(table: str) -> str:
    """A table without the comment on its first line, which holds the date."""
    return table.partition("\n")[2]


def write_scores(path: str | Path, evaluation: Any, scored: Mapping[str, Any]) -> None:
    """Write the scores {scoring: Scored} of an Evaluation as CSV: one line per test part, in full precision."""
    columns = [*(of.image_preds for of in scored.values()), *evaluation.bank_score.values()]
    rows: list[list[Any]] = [["path", "defect", "label", *scored, *(f"bank_{bank}" for bank in evaluation.bank_score)]]
    for i, fields in enumerate(zip(evaluation.path, evaluation.defect, map(int, evaluation.label))):
        rows.append([*fields, *(float(column[i]) for column in columns)])
    atomic_write_text(path, csv_text(rows))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """The text of a CSV file: floats in full precision, None as an empty cell."""
    text = io.StringIO()
    cells = [["" if v is None else repr(float(v)) if isinstance(v, float) else v for v in row] for row in rows]
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def write_run(folder: str | Path, content: Mapping[str, Any]) -> None:
    """Write run.json in ``folder``."""
    atomic_write_text(Path(folder) / "run.json", json.dumps(content, indent=2, default=str) + "\n")


def read_run(folder: str | Path) -> dict[str, Any]:
    """The run.json in ``folder`` as a dict; {} if it is missing or unreadable."""
    try:
        return json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _with_mean(values: list[float | None]) -> list[float | None]:
    known = [v for v in values if v is not None]
    return values + [round(sum(known) / len(known), 3) if known else None]


def _shown(value: float | None, form: str = ".3f") -> str:
    return UNDEFINED if value is None else format(value, form)
