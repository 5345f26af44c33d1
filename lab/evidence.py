"""Measure where each scoring wins or loses, what fixes and late fusion change, how many training parts are enough.

    python lab/evidence.py -o evidence             # stops after three hours; the same command continues
    python lab/evidence.py -o evidence --main_table  # the main table first
    python lab/evidence.py -o evidence --quick     # a quarter of an hour: fewer parts and settings
    python lab/evidence.py -o mine --dataset_path datasets/mvtec3d --dataset_type mvtec3d --checkpoint_dir checkpoints

Without --dataset_path, parts are generated; these are not a benchmark. A cell is one setting on one category with one
seed. OUT gets evidence.md, cells.csv, figures, and one file per cell in OUT/cells. While it runs, OUT/cache holds
patches: up to 3 GB, removed when a category is finished.
"""

import shutil
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device
from common.errors import InputError, show_warnings
from common.files import atomic_write_text, check_writable, remove_leftovers
from common.progress import duration, note, quietly
from common.signals import first_signal_stops, raise_if_stopping, run_to_the_end
from data.names import CATEGORIES, find_categories
from lab import evidence_cells as cells
from lab import evidence_page
from lab.demo_kinds import ALL_DEFECTS, KINDS
from lab.evidence_cells import FEATURES, FIX_SETS, Cell, Source
from lab.make_demo import write_category

SIZE, AREA = (224, 224), (0.002, 0.05)  # generated parts: pixels; share of a part's area that its defect takes


class Parts(NamedTuple):
    """Numbers of parts in a generated category: training, good test parts, defective test parts of each defect."""

    train: int
    good: int
    defective: int


FULL, QUICK = Parts(30, 16, 6), Parts(10, 8, 3)
FIX_SHOTS, FULL_MINUTES, QUICK_MINUTES = 10, 180, 14
FIX_CELLS = [name for name in FIX_SETS if name.startswith("eval+")]


def plan(features, categories, seeds, shots):
    """[Cell] in the order of running: by features (the cheap ones first), then by seed, then by category.

    Args:
        features: names in FEATURES.
        categories: names.
        seeds: the first gets every setting, the others only the main table's.
        shots: [int], rising numbers of training parts; the main table uses the largest.
    """
    found = []
    for name in features:
        for seed in seeds:
            for category in categories:
                for banks in FEATURES[name][2]:
                    found += _of(name, banks, category, seed, shots, seed == seeds[0])
    return found


def _of(features, banks, category, seed, shots, every):
    main = max(shots)
    settings = [("fixed", main)]
    if every:
        settings += [(name, main) for name in ("eval", "own_rows", "released")]
        settings += [("own_rows" if few == 1 else "fixed", few) for few in sorted(shots)[:-1]]
        few = min(FIX_SHOTS, main)
        settings += [(name, few) for name in ("eval", *FIX_CELLS) if applies(name, features, banks)]
    return [Cell(features, banks, *setting, category, seed) for setting in dict.fromkeys(settings)]


def applies(fixes, features, banks):
    """Whether a set of fixes can change anything. FPFH histograms are scaled even without the scaling fix, and the
    zero row concerns the third bank alone."""
    return not (fixes == "eval+scaling" and "fpfh" in features or fixes == "eval+zero_row" and banks != "three")


def quick_plan(categories, shots):
    """The cells of --quick: all settings of the cheap features on all categories. Of the full setting only the main
    one, and on the first category also those that show what train mode and own rows change."""

    def settings(features, banks):
        return [cell for category in categories for cell in _of(features, banks, category, 0, shots, True)]

    cheap, full = settings("lite0_fpfh", "two"), settings("dino_point_mae", "three")
    main, first = ("fixed", max(shots)), [cell for cell in full if cell.category == categories[0]]
    order = [cell for cell in cheap if cell[2:4] == main] + first[:1]
    order += cheap + first[1:4] + [cell for cell in full if cell[2:4] == main]
    return list(dict.fromkeys(order))


class Work:
    """A plan while it runs: the finished cells, the failed ones, and the extractors that the others need.

    Args:
        out: output folder.
        planned: [Cell].
        parts: Parts of generated categories; None for a user's own data.
        source: Source.
    """

    def __init__(self, out, planned, parts, source):
        self.out, self.planned, self.parts, self.source = Path(out), planned, parts, source
        self.done, self.failed = {}, {}
        self._extractors = {}

    def check_weights(self):
        """Raise InputError if weights are missing or cannot be used: no cell of their features could be run."""
        for features in dict.fromkeys(cell.features for cell in self.planned):
            self._weights(features)

    def run(self, minutes):
        """Run the unfinished cells until ``minutes`` are over (None: all). Returns whether no cell failed."""
        begun, times = time.monotonic(), []
        for place, cell in enumerate(self.planned):
            raise_if_stopping()
            try:
                if self._kept(cell):
                    continue
                if minutes is not None and time.monotonic() - begun > 60 * minutes:
                    print(
                        f"evidence.py: {minutes:g} minutes are over, "
                        f"{len(self.planned) - len(self.done) - len(self.failed)} cells are not run",
                        flush=True,
                    )
                    break
                start = time.monotonic()
                self._one(cell)
                times.append(time.monotonic() - start)
            except (InputError, OSError) as error:
                named = isinstance(error, OSError) and error.filename and error.strerror
                self.failed[cell] = f"{error.filename}: {error.strerror}" if named else str(error)
                print(f"evidence.py: {_name(cell)}: {self.failed[cell]}", file=sys.stderr, flush=True)
                continue
            note(
                f"{place + 1} of {len(self.planned)} cells, {_name(cell)}: {times[-1]:.0f} s, "
                f"{duration(time.monotonic() - begun)} so far"
            )
            self._drop_patches(cell, place)
        return not self.failed

    def read(self):
        """Read the cells that have a file, whatever weights and data they were made with; run none."""
        self.done = {
            cell: content
            for cell in self.planned
            for content in [cells.read_cell(cell.path(self.out / "cells"))]
            if content
        }

    def _kept(self, cell):
        self._data(cell)
        content = cells.read_cell(cell.path(self.out / "cells"), self._identity(cell))
        if content:
            self.done[cell] = content
        return content

    def _one(self, cell):
        from runs.before_work import settle_readings

        path = cell.path(self.out / "cells")
        content = cells.run_cell(cell, self.source, self._extractor(cell), self._identity(cell), settle_readings)
        content["weights"] = [file._asdict() for file in self._weights(cell.features)]
        content.update(commit=evidence_page.commit(), finished=time.strftime("%Y-%m-%d %H:%M:%S"))
        cells.write_cell(path, content)
        self.done[cell] = cells.read_cell(path)

    def _data(self, cell):
        """Generate the cell's category if it is missing."""
        if self.parts is None:
            return
        folder = Path(self.source.data.format(seed=cell.seed))
        marker = folder / cell.category / "complete"
        if not marker.is_file():
            note(f"generating {cell.category}, seed {cell.seed}")
            write_category(folder, cell.category, SIZE, *self.parts, cell.seed, ALL_DEFECTS, AREA)
            atomic_write_text(marker, "")

    def _identity(self, cell):
        return cells.cell_id(cell, self.source, self._weights(cell.features))

    @lru_cache(maxsize=None)
    def _weights(self, features):
        from models.weights import used_weights
        from runs.options import extractor_options

        options = extractor_options(cells.options_of(self._widest(features), self.source))
        return used_weights(options, lambda: self._built(features))

    def _widest(self, features):
        """A cell of these features with the most banks planned. Its extractor serves all cells of these features."""
        banks = "three" if any(c.banks == "three" for c in self.planned if c.features == features) else "two"
        return next(c for c in self.planned if c.features == features)._replace(banks=banks)

    def _built(self, features):
        from m3dm_runner import build_extractor

        if features not in self._extractors:
            args = cells.options_of(self._widest(features), self.source)
            self._extractors[features] = cells.CachedExtractor(lambda: build_extractor(args), self.out / "cache")
        return self._extractors[features]

    def _extractor(self, cell):
        found = self._built(cell.features)
        found.folder = self._patches(cell)
        return found

    def _patches(self, cell):
        key = cells.weights_key(self._weights(cell.features))
        return self.out / "cache" / f"{cell.features}-{key}" / f"{cell.category}-{cell.seed}"

    def _drop_patches(self, cell, place):
        """Remove a category's patches once no later cell needs them."""
        key = cell.features, cell.category, cell.seed
        if not any((c.features, c.category, c.seed) == key for c in self.planned[place + 1 :]):
            shutil.rmtree(self._patches(cell), ignore_errors=True)


def _name(cell):
    return (
        f"{FEATURES[cell.features][1]}, {cell.banks} banks, {cell.fixes}, {cell.shots} shots, {cell.category}, "
        f"seed {cell.seed}"
    )


def build_parser():
    """The argument parser."""
    parser = Parser(prog="evidence.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("evidence"), metavar="DIR", help="folder for everything"
    )
    parser.add_argument("--quick", action="store_true", help="few parts, one seed, a part of the cells")
    parser.add_argument(
        "--minutes",
        type=number(float, 0),
        metavar="M",
        help=f"begin no cell after M minutes (default: {FULL_MINUTES}, {QUICK_MINUTES} with --quick)",
    )
    parser.add_argument(
        "--main_table",
        action="store_true",
        help="only the main table's cells: all fixes, most training parts, all seeds",
    )
    parser.add_argument("--page", action="store_true", help="begin no cell: only make the page of what is there")
    parser.add_argument(
        "--features",
        nargs="+",
        choices=FEATURES,
        default=list(FEATURES),
        metavar="NAME",
        help="; ".join(f"{name}: {of[1]}" for name, of in FEATURES.items()),
    )
    parser.add_argument(
        "--category",
        nargs="+",
        metavar="NAME",
        help=f"only these (default: all of the data set; generated: {', '.join(KINDS)})",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=number(int, 0),
        default=[0, 1, 2],
        metavar="N",
        help="the first has every setting, the others the main table's",
    )
    parser.add_argument(
        "--shots",
        nargs="+",
        type=number(int, 1),
        default=[1, 2, 4, 10, 30],
        metavar="K",
        help="training parts; the largest number is the main table's",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=evidence_page.METRICS,
        metavar="NAME",
        default=list(evidence_page.METRICS),
        help="of the tables: " + ", ".join(evidence_page.METRICS) + " (default: all)",
    )
    group = parser.add_argument_group("your own data and weights")
    group.add_argument("--dataset_path", metavar="DIR", help="folder of the categories (default: parts are generated)")
    group.add_argument(
        "--dataset_type", choices=(*CATEGORIES, "folder"), default="folder", metavar="NAME", help="as main.py's"
    )
    group.add_argument(
        "--checkpoint_dir",
        metavar="DIR",
        help="folder of the backbones' checkpoints (default: untrained stand-ins are written)",
    )
    group.add_argument(
        "--fusion_module_path",
        metavar="FILE",
        help="UFF checkpoint (default: uff_pretrain.pth in the folder of the checkpoints)",
    )
    add_device(group)
    return parser


def prepare(args):
    """The Work that the options ask for.

    Raises:
        InputError: folders or data cannot be used.
    """
    from lab.standin_checkpoints import write_checkpoints

    out = args.output
    check_writable(out)
    remove_leftovers(out)
    weights = args.checkpoint_dir or str(out / "checkpoints")
    if args.checkpoint_dir is None and not args.page and {"dino_point_mae", "lite0_point_mae"} & set(args.features):
        write_checkpoints(weights, ["dino", "point_mae", "uff"], 0)
    parts = None if args.dataset_path else QUICK if args.quick else FULL
    data = args.dataset_path or str(out / "data" / "-".join(map(str, parts)) / "seed_{seed}")
    uff = args.fusion_module_path or str(Path(weights) / "uff_pretrain.pth")
    source = Source(data, args.dataset_type, weights, uff, str(out / "work"), args.device, parts is not None)
    if parts:
        categories = args.category or list(KINDS)
        unknown = [name for name in categories if name not in KINDS]
        if unknown:
            raise InputError(f"--category {unknown[0]}: no generated kind; there are: {', '.join(KINDS)}")
    else:
        categories, missing = find_categories(args.dataset_path, args.dataset_type, args.category)
        for reason in missing.values():
            print(f"evidence.py: left out: {reason}", file=sys.stderr)
        categories = [name for name in categories if name not in missing]
    shots = sorted(set(args.shots))
    if parts:
        shots = [k for k in shots if k <= parts.train]
    if len(shots) < 1 or max(shots) < 2:
        raise InputError(
            "--shots: the largest number has to be at least 2"
            + (f" and at most {parts.train}, so many parts are generated" if parts else "")
        )
    planned = quick_plan(categories, shots) if args.quick else plan(args.features, categories, args.seeds, shots)
    planned = [cell for cell in planned if cell.features in args.features]
    if args.main_table:
        planned = [cell for cell in planned if cell[2:4] == ("fixed", max(shots))]
    if not planned:
        raise InputError("--features: --quick has no cells of these; it has lite0_fpfh and dino_point_mae")
    return Work(out, planned, parts, source)


def main(argv=None):
    """Run the command line. Returns the exit code: 0 fine, 1 a cell failed or the user stopped it, 2 refused."""
    args = build_parser().parse_args(argv)
    show_warnings()
    start, fine, work = time.monotonic(), True, None
    with quietly(args.quiet), first_signal_stops("evidence.py"):
        try:
            work = prepare(args)
            if args.page:
                work.read()
            else:
                work.check_weights()
                usual = QUICK_MINUTES if args.quick else FULL_MINUTES
                fine = work.run(usual if args.minutes is None else args.minutes)
        except InputError as error:
            print(f"evidence.py: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("evidence.py: stopped; the same command goes on from here", file=sys.stderr)
            fine = False
    if work is None:  # stopped before it began
        return 1
    evidence_page.write(args.output, work, args.metrics, time.monotonic() - start, args.quick)
    print(args.output / "evidence.md")
    return 0 if fine else 1


if __name__ == "__main__":
    run_to_the_end(main)
