"""The tables of tools/rescore.py: the paper's, that of own data, intervals. None is undefined, NOT_RUN not computed."""

from itertools import chain

import scoring_addon
from data.names import same_name
from reports import paper_tables
from reports.paper_tables import MULTISCALE
from reports.scored import Table
from runs.options import changed_options, default_of
from scoring.dominating import dominating_part
from scoring.metrics import METRICS, mean
from scoring.scorings import BASELINE, CALIBRATED
from scoring.significance import bootstrap_intervals

NOT_RUN = "-"
RESAMPLES = 1000
PAPER = {"f_coreset": 0.2, "use_uff": True}  # the paper's options that are not main.py's defaults


def tables_of(run, multiscale=None, further=()):
    """[Table] of the paper's tables for the data set of ``run`` [ScoredCategory]; for another data set one with a row
    per scoring and metric. ``multiscale``: the second run for Table 3; ``further``: metrics as further rows."""
    dataset = paper_tables.dataset_of([c.name for c in run])
    if dataset is not None:
        tables = [table for table in paper_tables.TABLES if table.dataset == dataset]
        return [paper_table(table, run, multiscale, further) for table in tables]
    rows = [
        [scoring, metric, *values_of(run, run, scoring, metric)]
        for scoring in dict.fromkeys(chain(*(c.metrics for c in run)))
        for metric in (*METRICS, *further)
    ]
    caption = "Scorings of own data. " + " ".join(deviations(run))
    return [Table("table_own", caption, ["scoring", "metric", *(c.name for c in run), "mean"], rows)]


def paper_table(table, run, multiscale, further=()):
    """One of the paper's tables. A row is a setting and a metric. The columns are the values measured here per
    category, their mean, the published mean, and the difference."""
    rows = []
    for title, scoring, published in table.rows:
        source, key = (multiscale, BASELINE) if scoring == MULTISCALE else (run, scoring)
        for metric, value in zip(METRICS, published):
            values = values_of(run, source, key, metric)
            ours = values[-1]
            rows.append([title, metric, *values, value, ours if ours in (None, NOT_RUN) else ours - value])
        if key is not None:  # None: the row is only quoted from the paper
            rows += [[title, metric, *values_of(run, source, key, metric), NOT_RUN, NOT_RUN] for metric in further]
    if any(CALIBRATED in c.scored for c in run):
        for metric in (*METRICS, *further):
            rows.append([f"{CALIBRATED} (ours)", metric, *values_of(run, run, CALIBRATED, metric), NOT_RUN, NOT_RUN])
    notes = [*deviations(run, paper_tables.CATEGORIES[table.dataset]), *([table.note] if table.note else [])]
    if any(row.scoring == MULTISCALE for row in table.rows) and multiscale is None:
        notes.append("The multiscale row is a second run (--multiscale DIR); the paper does not define it.")
    caption = f"Table {table.number}. {table.title}. Published values are means over categories. " + " ".join(notes)
    header = ["setting", "metric", *(c.name for c in run), "mean", "published", "difference"]
    return Table(f"table_{table.number}", caption, header, rows)


def values_of(run, source, scoring, metric):
    """[a metric of each category of ``run``, and their mean], taken from ``source``; NOT_RUN where there is none."""
    found = {
        c.name: getattr(c.metrics[scoring], metric) if metric in METRICS else c.extra[scoring][metric]
        for c in source or ()
        if scoring in c.metrics
    }
    if not found:
        return [NOT_RUN] * (len(run) + 1)
    values = [found.get(c.name, NOT_RUN) for c in run]
    return [*values, mean([v for v in values if v != NOT_RUN])]


def deviations(run, expected=None):
    """Sentences on how the run was made. With the paper's categories in ``expected``, they also name the differences
    from the paper's setting."""
    notes, saved = [], [c.saved for c in run]
    if any(s.untrained for s in saved):
        notes.append("UNTRAINED stand-in weights: these scores mean nothing as a benchmark.")
    if expected is not None:
        missing = set(expected) - {same_name(c.name) for c in run}
        extra = {c.name for c in run if same_name(c.name) not in expected}
        notes += [f"Categories missing: {', '.join(sorted(missing))}."] if missing else []
        notes += [f"Categories the paper does not have: {', '.join(sorted(extra))}."] if extra else []
    whose = "the paper" if expected else "the default"
    for name, (values, usual) in sorted(changed(saved, PAPER if expected else {}).items()):
        notes.append(f"Run with {name} {' / '.join(sorted(values))}; {whose}: {usual}.")
    seeds = ", ".join(sorted({str(s.meta["seed"]) for s in saved}))
    notes.append(f"Seed {seeds}; the paper does not name its seed." if expected else f"Seed {seeds}.")
    texts = [dominating_part(c.saved.path, c.scored, c.parameters.topk) for c in run if c.reference == "test"]
    notes += [f"{text}." for text in texts if text]
    units = {c.name: c.saved.units for c in run if CALIBRATED in c.scored}
    notes += [calibrated_text(units)] if units else []
    given = {name: sorted({str(getattr(c.parameters, name)) for c in run}) for name in scoring_addon.Parameters._fields}
    given["reference"] = sorted({c.reference for c in run})
    usual = {**scoring_addon.DEFAULTS._asdict(), "reference": "test"}
    other = [f"{name} {' / '.join(values)}" for name, values in given.items() if values != [str(usual[name])]]
    return notes + ([f"Scoring parameters other than the paper's: {', '.join(other)}."] if other else [])


def calibrated_text(units):
    """A sentence on how many normal training parts calibrated was computed from, and on banks left out; ``units``:
    {category: BankUnits}."""
    counts = " / ".join(map(str, sorted({of.parts for of in units.values()})))
    out = [
        f"{category} without its {' and '.join(of.left_out)} bank, whose training maps show no spread"
        for category, of in units.items()
        if of.left_out
    ]
    return (
        f"{CALIBRATED} is ours, not the paper's: banks in units of {counts} normal training parts, no test part is "
        f"read{'; ' + ', '.join(out) if out else ''}."
    )


def changed(saved, paper):
    """{option: (the runs' values as texts, the usual value as text)} of recorded options that differ from those in
    ``paper``, else from main.py's defaults; without the scoring's, since the scores are computed anew."""
    out = {}
    for evaluation in saved:
        options = {**PAPER, **evaluation.meta.get("options", {})}
        names = {*changed_options(options), *(name for name, value in paper.items() if options[name] != value)}
        for name in names - {"seed"}:
            if not name.startswith("scoring") and paper.get(name, object()) != options[name]:
                usual = shown_option(paper.get(name, default_of(name)))
                out.setdefault(name, (set(), usual))[0].add(shown_option(options[name]))
    return out


def shown_option(value):
    """Text of an option's value."""
    if value in ([], None, False):
        return "as released"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def interval_table(run):
    """95 % intervals, one row per category, scoring and metric."""
    rows = []
    for c in run:
        intervals = bootstrap_intervals(c.saved.label, c.saved.mask, c.scored, RESAMPLES)
        for name, of in intervals.items():
            for metric in METRICS:
                known = metric == METRICS[0] or c.saved.masks is not None  # else the pixel metrics are undefined
                bounds = [*of[metric], *of["difference"][metric]] if known else [None] * 6
                rows.append([c.name, name, metric, *bounds])
    caption = (
        f"95 % bootstrap intervals ({RESAMPLES} resamples of test images within a category, stratified by label; "
        "AU-PRO's thresholds fixed from the full set), and differences to baseline."
    )
    differences = ("difference", "difference low", "difference high")
    header = ["category", "scoring", "metric", "value", "low", "high", *differences]
    return Table("intervals", caption, header, rows)
