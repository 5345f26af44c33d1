"""Compare the calibrated scoring with the alternatives that it was chosen from, on saved maps.

    python main.py ... --save_maps maps --save_train_maps
    python lab/choose_calibration.py maps [maps2 ...] -o calibration.md

Memory banks measure in different units. A way to combine them has a unit, which makes them comparable, and a join.
Every row of the table is one way, every column one category. Some ways need the foreground, the pixels where the point
cloud has a point: the data set must lie where the run found it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, HelpFormatter, Parser, run_command
from common.errors import InputError
from common.files import atomic_write_text
from common.progress import track
from scoring import calibrated
from scoring.au_pro import area_up_to, calculate_au_pro
from scoring.decision_metrics import aupimo
from scoring.evaluation import find_saved, read, score
from scoring.metrics import roc_auc

DRAWS = 4  # random choices of a few training parts, over which metrics are averaged
BANKS = ("xyz", "rgb", "fusion")


class Category(NamedTuple):
    """Maps of one category: {bank: [n, S, S]} of test and {bank: [t, S, S]} of training parts; where the parts'
    clouds have points (``inside``, ``train_inside``); labels and masks of the test parts."""

    name: str
    test: dict
    train: dict
    inside: np.ndarray
    train_inside: np.ndarray
    label: np.ndarray
    mask: np.ndarray


def tops(maps, topk=calibrated.TOPK):
    """Mean of the K largest pixels of each map: [n] for maps [n, S, S]."""
    values = maps.reshape(len(maps), -1)
    return np.sort(values, axis=1)[:, -topk:].mean(axis=1)


# ---------------------------------------------------------------- units: (test, train, inside, train_inside) → z


def mean_and_spread(test, train, *_):
    """Mean and standard deviation of all training pixels, per bank."""
    return (test - train.mean()) / train.std()


def foreground_alone(test, train, _, train_inside):
    """Mean and standard deviation of the foreground's training pixels, per bank."""
    values = train[train_inside]
    return (test - values.mean()) / values.std()


def foreground_and_background(test, train, inside, train_inside):
    """Mean and standard deviation of the foreground, and others of the background."""
    out = np.empty_like(test)
    for chosen, known in ((inside, train_inside), (~inside, ~train_inside)):
        out[chosen] = (test[chosen] - train[known].mean()) / train[known].std()
    return out


def quantiles(test, train, *_):
    """Median and 97.5 % quantile of the training pixels: they become 0 and 1."""
    middle, high = np.quantile(train, (0.5, 0.975))
    return (test - middle) / (high - middle)


def each_place(test, train, *_):
    """Mean and standard deviation of each pixel position, shrunk towards those of all pixels, which weigh as much as
    four parts."""
    weight = len(train) / (len(train) + 4)
    mean, variance = train.mean(axis=0), train.var(axis=0)
    mean = weight * mean + (1 - weight) * train.mean()
    return (test - mean) / np.sqrt(weight * variance + (1 - weight) * train.var())


def spread_of_peaks(test, train, *_):
    """Mean and standard deviation over the training parts of :func:`tops`."""
    peaks = tops(train)
    return (test - peaks.mean()) / (peaks.std() + 1e-9)


def peak_above_level(test, train, *_):
    """The mean of all training pixels becomes 0, the mean of :func:`tops` becomes 1. The calibrated scoring uses this
    unit."""
    return (test - train.mean()) / (tops(train).mean() - train.mean())


def tail_probability(test, train, *_):
    """Minus the logarithm of the share of training pixels that are at least as high; linear above all of them."""
    known = np.sort(train, axis=None)
    above = len(known) - np.searchsorted(known, test.ravel(), side="left")
    beyond = np.maximum(test.ravel() - known[-1], 0) / train.std()
    return (beyond - np.log((1 + above) / (len(known) + 1))).reshape(test.shape)


# ---------------------------------------------------------------- joining: [banks, n, S, S] → [n, S, S]


def larger(z):
    """The largest value of the banks."""
    return z.max(axis=0)


def root_of_squares(z):
    """Square root of the sum of the squares; values below 0 count as 0."""
    return np.sqrt((np.maximum(z, 0) ** 2).sum(axis=0))


def total(z):
    """Sum of the banks."""
    return z.sum(axis=0)


def weighted(*weights):
    """The largest value after each bank is multiplied by its weight."""
    return lambda z: larger(z * np.reshape(weights, (-1, 1, 1, 1)))


def with_cue(strength):
    """The largest value, plus ``strength`` times the absolute difference of xyz and RGB."""
    return lambda z: larger(z) + strength * np.abs(z[0] - z[1])


class Way(NamedTuple):
    """A row of the table: one way to combine the banks."""

    unit: Callable
    join: Callable
    name: str
    banks: int = 3
    parts: int | None = None  # number of training parts; None: all
    topk: int = calibrated.TOPK


PLAIN, PLACE, PEAKS, TAIL, CHOSEN = (
    "mean, spread",
    "mean, spread of each place",
    "mean, spread of the parts' peaks",
    "tail probability",
    "level to peak",
)
UNITS = {
    PLAIN: mean_and_spread,
    "mean, spread of foreground": foreground_alone,
    "one pair for foreground, one for background": foreground_and_background,
    "median to 97.5 % quantile": quantiles,
    PLACE: each_place,
    PEAKS: spread_of_peaks,
    TAIL: tail_probability,
    CHOSEN: peak_above_level,
}
JOINS = {"root of squares": root_of_squares, "sum": total}
WAYS = [
    *(Way(unit, larger, f"{name}; larger") for name, unit in UNITS.items()),
    *(Way(UNITS[u], join, f"{u}; {text}") for u in (PLAIN, TAIL, CHOSEN) for text, join in JOINS.items()),
    Way(peak_above_level, larger, f"{CHOSEN}; larger of xyz and RGB", banks=2),
    *(Way(peak_above_level, weighted(1, 1, w), f"{CHOSEN}; larger, fusion times {w}") for w in (0.5, 0.7, 1.4)),
    *(Way(peak_above_level, with_cue(s), f"{CHOSEN}; larger + {s} × difference of RGB and xyz") for s in (0.25, 0.5)),
    *(Way(peak_above_level, larger, f"{CHOSEN}; larger; score of {k} pixels", topk=k) for k in (1, 16, 256, 1024)),
    *(
        Way(UNITS[name], larger, f"{name}; larger; training parts: {t}", parts=t)
        for name in (PLAIN, PLACE, PEAKS, CHOSEN)
        for t in (1, 2, 4)
    ),
]


def measured(category, maps, scores):
    """[image ROCAUC, AU-PRO at 30, 5 and 1 %, AUPIMO] of maps [n, S, S] and image scores [n]; nan where undefined."""
    _, curve = calculate_au_pro(category.mask, maps, 0.3, "exact")
    pros = [area_up_to(*curve, limit) / limit for limit in (0.3, 0.05, 0.01)]
    return np.array([roc_auc(category.label, scores), *pros, aupimo(category.mask, maps)], dtype=float)


def meant(category, parts, measure):
    """Mean of ``measure(numbers of the training parts to use)``: of all parts, or over ``DRAWS`` random choices of
    ``parts`` parts."""
    count = len(category.train_inside)
    if parts is None or parts >= count:
        return measure(np.arange(count))
    rng = np.random.default_rng(0)
    return np.mean([measure(rng.permutation(count)[:parts]) for _ in range(DRAWS)], axis=0)


def row(category, way):
    """The metrics of one Way, see :func:`measured`."""

    def measure(chosen):
        inside = category.inside, category.train_inside[chosen]
        banks = BANKS[: way.banks]
        z = np.stack([way.unit(category.test[bank], category.train[bank][chosen], *inside) for bank in banks])
        maps = way.join(z)
        return measured(category, maps, tops(maps, way.topk))

    return meant(category, way.parts, measure)


def calibrated_row(category, parts=None):
    """The metrics of the calibrated scoring itself."""

    def measure(chosen):
        known = calibrated.training_statistics({bank: maps[chosen] for bank, maps in category.train.items()})
        maps = calibrated.calibrated_map(category.test, known)
        return measured(category, maps, [calibrated.image_score(one) for one in maps])

    return meant(category, parts, measure)


def table(path):
    """(category name, {name of the way: metrics}) of one file of saved maps.

    Raises:
        InputError: the method lacks one of the three banks, the training parts' maps were not saved, or the data set
            has moved.
    """
    evaluation = read(path)
    if evaluation.training is None or set(evaluation.training.bank_map) != set(BANKS):
        raise InputError(f"{path}: needs the training parts' maps of three banks; save with --save_train_maps")
    root, size = Path(evaluation.meta["options"]["dataset_path"]), evaluation.mask.shape[1:]
    test, train = (
        {bank: np.asarray(maps[bank], dtype=np.float64) for bank in BANKS}
        for maps in (evaluation.bank_map, evaluation.training.bank_map)
    )
    inside = [foreground(root, paths, size) for paths in (evaluation.path, evaluation.training.path)]
    category = Category(evaluation.category, test, train, *inside, evaluation.label, evaluation.mask)
    out = {}
    for name, (scores, maps) in score(evaluation, ["disagreement"]).items():
        out[name] = measured(category, np.stack(maps), scores)
    out["calibrated"] = calibrated_row(category)
    out.update({way.name: row(category, way) for way in track(WAYS, len(WAYS), evaluation.category, "way")})
    out.update({f"calibrated; training parts: {t}": calibrated_row(category, t) for t in (1, 2, 4)})
    return category.name, out


def foreground(root, paths, size):
    """[n, S, S] bool: where the n parts' clouds have a point."""
    files = [root / Path(path).parent.parent / "xyz" / Path(path).with_suffix(".tiff").name for path in paths]
    found = []
    for file in files:
        try:
            found.append(tifffile.imread(file).any(axis=-1))
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{file}: cannot be read ({why}); the data set must be where the run found it") from None
        if found[-1].shape != tuple(size):
            raise InputError(f"{file}: not of the maps' size {size[0]}×{size[1]}; use parts of that size")
    return np.stack(found)


def markdown(tables):
    """The table as markdown: image ROCAUC / AU-PRO / AUPIMO of each category, then the means of all five metrics."""
    names = [name for name, _ in tables]
    columns = ["way", *names, "mean: image ROCAUC", "AU-PRO 30 %", "5 %", "1 %", "AUPIMO"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for way in tables[0][1]:
        values = np.array([of[way] for _, of in tables])
        cells = [" / ".join(f"{value:.3f}" for value in one[[0, 1, 4]]) for one in values]
        lines.append("| " + " | ".join([way, *cells, *(f"{value:.3f}" for value in values.mean(axis=0))]) + " |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 2 refused."""
    parser = Parser(prog="choose_calibration.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("folder", nargs="+", type=Path, help="folders that main.py --save_maps --save_train_maps wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table here as well")
    return run_command("choose_calibration.py", parser.parse_args(argv), choose)


def choose(args):
    """Make and print the table; returns the exit code."""
    text = markdown([table(path) for folder in args.folder for path in find_saved(folder)])
    if args.output:
        atomic_write_text(args.output, text)
    print(text)
    return FINE


if __name__ == "__main__":
    sys.exit(main())
