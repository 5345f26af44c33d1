"""Score saved maps anew, without a network: the paper's tables, its parameter grid, intervals, more metrics.

python main.py ... --save_maps maps
python tools/rescore.py maps -o tables
"""

import argparse
import csv
import io
import itertools
import re
import sys
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import scoring_addon
from common.argument_types import number
from common.commands import FINE, Parser, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from common.progress import note, track
from data.names import same_name
from reports import more_metrics, paper_tables
from reports.paper_tables import METRICS, MULTISCALE
from reports.parameter_grid import grid_table
from reports.saved_scorings import calibrated_text, left_out_text, saved_scorings
from runs.help_tables import scoring_table
from runs.options import changed_options, default_of
from runs.results import UNDEFINED, escaped
from scoring.dominating import dominating_part
from scoring.evaluation import Evaluation, extra_metrics, find_saved, metrics, read, score
from scoring.extra_metrics import EXTRA_METRICS as EXTRA  # noqa: F401  also used as rescore.EXTRA
from scoring.metrics import mean
from scoring.scorings import CALIBRATED, add_scoring_arguments, names_from
from scoring.significance import bootstrap_intervals, delong_test

NOT_RUN = "-"
PAPER = {"f_coreset": paper_tables.F_CORESET, "use_uff": True}  # the paper's options that are not main.py's defaults


class Category(NamedTuple):
    """A scored category: its Evaluation, the parameters and reference used, {scoring: Scored}, {scoring: Metrics}, and
    {scoring: {metric: (value, threshold)}} for --metrics."""

    saved: Evaluation
    parameters: scoring_addon.Parameters
    reference: str
    scored: dict
    metrics: dict
    extra: dict


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a table could not be written, 2 refused."""
    return run_command("rescore.py", build_parser().parse_args(argv), rescore)


def rescore(args):
    """Score the saved maps and write the tables that the options ask for; returns the exit code."""
    check_writable(args.output)
    runs = [score_folder(folder, args) for folder in args.folder]
    multiscale = score_folder(args.multiscale, args) if args.multiscale else None
    for run, suffix in zip(runs, suffixes(args.folder, runs)):
        write_tables(run, suffix, multiscale, args)
    for name, wanted, make in (
        ("metrics", args.metrics, more_metrics.extra_table),
        ("intervals", args.intervals, interval_table),
        ("grid", args.grid, grid_table),
    ):
        if wanted:
            write(args.output, name, *make(runs, args))
    return FINE


def build_parser():
    """The argument parser. Scoring parameters that are not given are absent: then those of the run are used."""
    parser = Parser(prog="rescore.py", description=__doc__.splitlines()[0], epilog=scoring_table())
    parser.add_argument("folder", nargs="+", help="folders that main.py --save_maps wrote, one per data set")
    parser.add_argument("-o", "--output", default="tables", metavar="DIR", help="where the .md and .csv files go")
    parser.add_argument("--category", nargs="+", metavar="NAME", help="only these (default: all that are saved)")
    parser.add_argument(
        "--multiscale",
        metavar="DIR",
        help="saved maps of a second run with --group_size 64 --num_group 784 --multiscale, for Table 3",
    )
    more_metrics.add_argument(parser)
    parser.add_argument(
        "--intervals",
        action="store_true",
        help="95 %% bootstrap intervals of each metric and of its difference to baseline, and DeLong's test",
    )
    parser.add_argument(
        "--resamples", type=number(int, 2, 10**6), default=1000, metavar="N", help="bootstrap resamples"
    )
    parser.add_argument("--seed", type=number(int, 0, 2**32 - 1), default=0, metavar="N", help="of the bootstrap")
    parser.add_argument(
        "--grid", choices=("all", "one"), help="Table 1's parameters: all 1728 combinations, or one parameter at a time"
    )
    group = parser.add_argument_group(
        "scoring", "parameters that are not given are those of the run that saved the maps"
    )
    add_scoring_arguments(group)
    for action in group._group_actions:
        text = action.help.replace("%(default)s", "as in the run")
        action.help = text.replace("(default: baseline)", "(default: all)")
        action.default = argparse.SUPPRESS
    parser.set_defaults(scoring=["all"])
    return parser


def scoring_of(evaluation, args):
    """(Parameters, reference) of a saved category: the values given, else those of its run, else the paper's."""
    parser = argparse.ArgumentParser()
    add_scoring_arguments(parser)
    options = vars(parser.parse_args([]))
    for known in (evaluation.meta.get("options", {}), vars(args)):
        options.update({name: value for name, value in known.items() if name in options})
    return scoring_addon.parameters_from(argparse.Namespace(**options)), options["scoring_reference"]


def score_folder(folder, args):
    """[Category] of a folder of saved maps."""
    out, paths, missing = [], find_saved(folder, args.category), {}
    for path in track(paths, len(paths), f"scoring {folder}", "category"):
        saved = read(path)
        parameters, reference = scoring_of(saved, args)
        names = names_from(args)
        if "all" in args.scoring:
            names, why = saved_scorings(saved, parameters.map_source)
            missing.update({saved.category: why} if why else {})
        try:
            scored = score(saved, names, parameters, reference)
            extra = extra_metrics(saved, scored, args.metrics or ())
            out.append(Category(saved, parameters, reference, scored, metrics(saved, scored), extra))
        except (InputError, ValueError) as error:
            raise InputError(f"{path}: {error}") from None
    if missing:
        note(f"rescore.py: note: {folder}: {left_out_text(missing)}", sys.stderr)
    return out


# ---------------------------------------------------------------- the paper's tables


def suffixes(folders, runs):
    """[suffix for the file names of each folder's tables], so that no folder overwrites another's; "" if only one
    folder has this data set."""
    kinds = [dataset_of(run) for run in runs]
    names = [re.sub(r"[^A-Za-z0-9_-]+", "_", Path(folder).resolve().name) for folder in folders]
    return [
        f"_{name}" + (f"_{i}" if names.count(name) > 1 else "") if kinds.count(kind) > 1 else ""
        for i, (kind, name) in enumerate(zip(kinds, names))
    ]


def dataset_of(run):
    return paper_tables.dataset_of([c.saved.category for c in run])


def write_tables(run, suffix, multiscale, args):
    """Write and print the paper's tables for the run's data set; for a data set that the paper does not have,
    :func:`own_table`."""
    dataset = dataset_of(run)
    for table in paper_tables.TABLES:
        if table.dataset == dataset:
            write(args.output, f"table_{table.number}{suffix}", *paper_table(table, run, multiscale, args.metrics))
    if dataset is None:
        write(args.output, f"table_own{suffix}", *own_table(run, args.metrics))


def paper_table(table, run, multiscale, more=None):
    """(caption, header, rows) of one of the paper's tables.

    A row is a setting and a metric. The columns are the values measured here per category, their mean, the published
    mean, and the difference. ``more``: metrics of --metrics as further rows; the paper does not have them.
    """
    rows = []
    for title, scoring, published in table.rows:
        source, key = (multiscale, "baseline") if scoring == MULTISCALE else (run, scoring)
        for metric, value in zip(METRICS, published):
            values = values_of(run, source, key, metric)
            ours = values[-1]
            rows.append([title, metric, *values, value, ours if ours in (None, NOT_RUN) else ours - value])
        if key is not None:  # None: the row is only quoted from the paper
            rows += [[title, metric, *values_of(run, source, key, metric), NOT_RUN, NOT_RUN] for metric in more or ()]
    if any(CALIBRATED in c.scored for c in run):
        for metric in (*METRICS, *(more or ())):
            rows.append([f"{CALIBRATED} (ours)", metric, *values_of(run, run, CALIBRATED, metric), NOT_RUN, NOT_RUN])
    notes = [*deviations(run, paper_tables.CATEGORIES[table.dataset]), *([table.note] if table.note else [])]
    if any(row.scoring == MULTISCALE for row in table.rows) and multiscale is None:
        notes.append("The multiscale row is a second run (--multiscale DIR); the paper does not define it.")
    caption = f"Table {table.number}. {table.title}. Published values are means over categories. " + " ".join(notes)
    return caption, ["setting", "metric", *(c.saved.category for c in run), "mean", "published", "difference"], rows


def own_table(run, more=None):
    """(caption, header, rows) for a data set that the paper does not have: one row per scoring and metric."""
    scorings = dict.fromkeys(itertools.chain(*(c.metrics for c in run)))
    rows = [
        [scoring, metric, *values_of(run, run, scoring, metric)]
        for scoring in scorings
        for metric in (*METRICS, *(more or ()))
    ]
    return (
        "Scorings of own data. " + " ".join(deviations(run)),
        ["scoring", "metric", *(c.saved.category for c in run), "mean"],
        rows,
    )


def values_of(run, source, scoring, metric):
    """[a metric of each category of ``run``, and their mean], taken from ``source``; NOT_RUN where there is none."""
    found = {
        c.saved.category: getattr(c.metrics[scoring], metric) if metric in METRICS else c.extra[scoring][metric][0]
        for c in source or ()
        if scoring in c.metrics
    }
    if not found:
        return [NOT_RUN] * (len(run) + 1)
    values = [found[c.saved.category] if c.saved.category in found else NOT_RUN for c in run]
    return [*values, mean([v for v in values if v != NOT_RUN])]


def deviations(run, expected=None):
    """Sentences on how the run was made. With the paper's categories in ``expected``, they also name the differences
    from the paper's setting."""
    notes, saved = [], [c.saved for c in run]
    if any(s.untrained for s in saved):
        notes.append("UNTRAINED stand-in weights: these scores mean nothing as a benchmark.")
    if expected is not None:
        missing = set(expected) - {same_name(s.category) for s in saved}
        extra = {s.category for s in saved if same_name(s.category) not in expected}
        if missing:
            notes.append(f"Categories missing: {', '.join(sorted(missing))}.")
        if extra:
            notes.append(f"Categories the paper does not have: {', '.join(sorted(extra))}.")
    for name, (values, default) in sorted(changed(saved, PAPER if expected else {}).items()):
        notes.append(
            f"Run with {name} {' / '.join(sorted(values))}; {'the paper' if expected else 'the default'}: {default}."
        )
    seeds = ", ".join(sorted({str(s.meta["seed"]) for s in saved}))
    notes.append(f"Seed {seeds}; the paper does not name its seed." if expected else f"Seed {seeds}.")
    given = {name: sorted({str(getattr(c.parameters, name)) for c in run}) for name in scoring_addon.Parameters._fields}
    other = [
        f"{name} {' / '.join(values)}"
        for name, values in given.items()
        if values != [str(getattr(scoring_addon.DEFAULTS, name))]
    ]
    texts = [dominating_part(c.saved.path, c.scored, c.parameters.topk) for c in run if c.reference == "test"]
    notes += [f"{text}." for text in texts if text]
    calibrated = [c.saved for c in run if CALIBRATED in c.scored]
    notes += [calibrated_text(calibrated)] if calibrated else []
    references = sorted({c.reference for c in run})
    if references != ["test"]:
        other.append(f"reference {' / '.join(references)}")
    if other:
        notes.append(f"Scoring parameters other than the paper's: {', '.join(other)}.")
    return notes


def changed(saved, paper):
    """{option: (the runs' values as texts, the usual value as text)} of recorded options that differ from the usual.

    The usual values are those in ``paper``, else main.py's defaults. Options of the scoring are left out, since the
    scores are computed anew.
    """
    out = {}
    for evaluation in saved:
        options = {**PAPER, **evaluation.meta.get("options", {})}
        found = changed_options(options)
        for name in {*found, *(name for name, value in paper.items() if options[name] != value)} - {"seed"}:
            if not name.startswith("scoring") and paper.get(name, object()) != options[name]:
                out.setdefault(name, (set(), shown_option(paper.get(name, default_of(name)))))[0].add(
                    shown_option(options[name])
                )
    return out


def shown_option(value):
    return (
        "as released"
        if value in ([], None, False)
        else ", ".join(map(str, value))
        if isinstance(value, list)
        else str(value)
    )


# ---------------------------------------------------------------- intervals


def interval_table(runs, args):
    """(caption, header, rows): 95 % intervals, one row per category, scoring and metric; DeLong's p value for image
    ROCAUC."""
    rows = []
    for c in itertools.chain(*runs):
        intervals = bootstrap_intervals(c.saved.label, c.saved.mask, c.scored, args.resamples, args.seed)
        for name, of in intervals.items():
            for metric in METRICS:
                known = metric == METRICS[0] or c.saved.has_mask.all()  # else the pixel metrics are undefined
                bounds = [
                    ((entry if known else None) or {}).get(k)
                    for entry in (of[metric], of["difference"][metric])
                    for k in ("value", "low", "high")
                ]
                test = (
                    delong_test(c.saved.label, c.scored["baseline"].image_preds, c.scored[name].image_preds)
                    if metric == METRICS[0]
                    else None
                )
                rows.append(
                    [
                        c.saved.category,
                        name,
                        metric,
                        *bounds,
                        (test[2] if test else None) if metric == METRICS[0] else NOT_RUN,
                    ]
                )
    caption = (
        f"95 % bootstrap intervals ({args.resamples} resamples of test images within a category, stratified by label; "
        f"AU-PRO's thresholds fixed "
        "from the full set), differences to baseline, and the two-sided p of DeLong's paired test for the image ROCAUC."
    )
    return (
        caption,
        [
            "category",
            "scoring",
            "metric",
            "value",
            "low",
            "high",
            "difference",
            "difference low",
            "difference high",
            "p",
        ],
        rows,
    )


# ---------------------------------------------------------------- output


def write(folder, name, caption, header, rows):
    """Write ``name``.md and ``name``.csv (unrounded). Print the markdown; of a long table only the caption."""
    shown = [
        [
            UNDEFINED if v is None and i > 1 else f"{v:.3f}" if isinstance(v, float) else escaped(str(v))
            for i, v in enumerate(row)
        ]
        for row in rows
    ]
    text = caption + "\n\n" + tabulate(shown, map(escaped, header), tablefmt="pipe", disable_numparse=True) + "\n"
    table = io.StringIO()
    cells = [["" if v is None else repr(v) if isinstance(v, float) else v for v in row] for row in rows]
    csv.writer(table, lineterminator="\n").writerows([header, *cells])
    atomic_write_text(Path(folder) / f"{name}.md", text)
    atomic_write_text(Path(folder) / f"{name}.csv", table.getvalue())
    print((text if len(rows) <= 80 else f"{caption}\n({len(rows)} rows: {Path(folder) / name}.csv)\n"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
