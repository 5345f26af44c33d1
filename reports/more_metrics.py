"""The flag --metrics of tools/rescore.py and tools/report.py, and the tables of the metrics that it asks for."""

import itertools

from scoring.extra_metrics import EXTRA_METRICS

CAPTION = (
    "More metrics, shares from 0 to 1. AU-PRO at 1, 5 and 30 % uses all distinct thresholds. AUPIMO: share of a part's "
    "defect found while 1e-5 to 1e-4 of the pixels of good parts are false alarms. pg_n: good parts passed while at "
    "most n % of the defective ones are missed; pb_n: defective parts failed while at most n % of the good ones are."
)
THRESHOLDS = " F1-max, pg and pb stand with the score from which a part fails. No value: the test set cannot show it."


def add_argument(parser):
    """Add --metrics."""
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=EXTRA_METRICS,
        metavar="NAME",
        help="more metrics in the tables: " + ", ".join(EXTRA_METRICS) + "; AU-PRO at 1, 5, 30 %% with all thresholds; "
        "AUPIMO; pg_5: good parts passed with at most 5 %% of the defective missed; pb_5: defective parts failed with "
        "at most 5 %% of the good failed; docs/scoring.md has their sources",
    )


def extra_table(runs, args):
    """(caption, header, rows): the metrics of --metrics with thresholds, one row per category, scoring and metric.

    ``runs``: lists of categories, objects with ``saved`` and ``extra`` = {scoring: {metric: (value, threshold)}}.
    """
    rows = []
    for c in itertools.chain(*runs):
        for scoring, of in c.extra.items():
            for metric in args.metrics:
                value, threshold = of[metric]
                rows.append([c.saved.category, scoring, metric, value, "-" if threshold is None else threshold])
    return CAPTION + THRESHOLDS, ["category", "scoring", "metric", "value", "threshold"], rows


def report_section(page, found, names, shown, mean):
    """Add the report's table of --metrics: one row per category and scoring, and the mean over the categories.

    Args:
        page: Page.
        found: {category: {scoring: {metric: (value, threshold)}}}.
        names: the metrics.
        shown: function that returns the report's text of a value.
        mean: function that returns the mean of values, some of which may be None.
    """
    page.tag("h2", "More metrics")
    page.tag("p", CAPTION)
    scorings = list(next(iter(found.values())))
    values = {
        (category, scoring): [of[scoring][name][0] for name in names]
        for category, of in found.items()
        for scoring in scorings
    }
    rows = [[*key, *map(shown, row)] for key, row in values.items()]
    means = []
    if len(found) > 1:
        for scoring in scorings:
            columns = zip(*(row for (_, of), row in values.items() if of == scoring))
            means.append(["mean", scoring, *(shown(mean(list(column))) for column in columns)])
    page.table(["category", "scoring", *names], rows + means, sums=range(len(rows), len(rows) + len(means)))
