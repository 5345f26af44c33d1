"""Which features are worth what: image ROCAUC, pixel ROCAUC and AU-PRO of settings and scorings on generated parts.

    python tools/feature_table.py -o features

Each run is a main.py command of its own (printed), so the same command again goes on where it was stopped. --minutes
stops it after a while; what was not run is marked in the table.
"""

import itertools
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:  # run as a file of a checkout, not as an installed module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation import SUFFIX, extra_metrics, metrics, read, score  # noqa: E402
from tools.demo_kinds import KINDS  # noqa: E402
from tools.make_demo import write_category  # noqa: E402
from tools.standin_checkpoints import write_checkpoints  # noqa: E402
from utils.commands import run_command  # noqa: E402
from utils.files import atomic_write_text, check_writable  # noqa: E402
from utils.options import HelpFormatter, Parser, number  # noqa: E402
from utils.results import environment  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LITE0 = ("--rgb_backbone_name", "efficientnet_lite0")


class Setting(NamedTuple):
    """What a row is called, and main.py's flags for it."""

    title: str
    flags: tuple


SETTINGS = {  # cheapest first
    "lite0_fpfh": Setting("lite0 + FPFH", ("--method_name", "DINO+FPFH", *LITE0)),
    "lite0_point_mae": Setting("lite0 + Point-MAE (stand-in)", ("--method_name", "DINO+Point_MAE", *LITE0)),
    "dino_point_mae": Setting("DINO (stand-in) + Point-MAE (stand-in)", ("--method_name", "DINO+Point_MAE")),
}
SCORINGS = ("baseline", "disagreement", "calibrated")
METRICS = {
    "image_rocauc": "Image ROCAUC",
    "pixel_rocauc": "Pixel ROCAUC",
    "au_pro_30": "AU-PRO at 30 %",
    "au_pro_1": "AU-PRO at 1 %",
}
AU_PROS = ("au_pro_30", "au_pro_1")
SCAN = (224, 224)


class Cell(NamedTuple):
    """One run: a setting on one kind of part, with one seed of parts and run."""

    setting: str
    kind: str
    seed: int


def cells(args):
    """The runs in the order in which they are made: a seed after the other, cheap settings first."""
    return [Cell(setting, kind, seed) for seed in args.seeds for setting in args.settings for kind in args.kinds]


def folder_of(out, cell):
    """Folder of a run's saved maps and results."""
    return out / "runs" / cell.setting / f"seed_{cell.seed}"


def maps_of(out, cell):
    """Path of a run's saved maps."""
    return folder_of(out, cell) / "maps" / f"{cell.kind}{SUFFIX}"


def command(out, cell):
    """main.py's words for a run."""
    folder = folder_of(out, cell)
    return [
        "main.py",
        *SETTINGS[cell.setting].flags,
        "--fix",
        "all",
        "--seed",
        cell.seed,
        "--dataset_path",
        out / "data" / f"seed_{cell.seed}",
        "--category",
        cell.kind,
        "--checkpoint_dir",
        out / "checkpoints",
        "--output_dir",
        folder,
        "--save_maps",
        folder / "maps",
        "--save_train_maps",
        "--num_workers",
        0,
    ]


def run(out, cell, args):
    """Generate the parts where they are not there yet, and run main.py; returns whether it ended well."""
    data = out / "data" / f"seed_{cell.seed}"
    if not (data / cell.kind / "complete").is_file():
        write_category(data, cell.kind, SCAN, args.train, args.good, args.defective, cell.seed)
        atomic_write_text(data / cell.kind / "complete", "")
    words = [str(word) for word in command(out, cell)]
    print(f"\n$ python {shlex.join(words)}", flush=True)
    return subprocess.run([sys.executable, str(ROOT / words[0]), *words[1:]]).returncode == 0


def measured(path):
    """{scoring: {metric: float}} of a run's saved maps."""
    saved = read(path)
    scored = score(saved, SCORINGS)
    usual, extra = metrics(saved, scored), extra_metrics(saved, scored, AU_PROS)
    return {
        name: {
            "image_rocauc": usual[name].image_rocauc,
            "pixel_rocauc": usual[name].pixel_rocauc,
            **{key: extra[name][key][0] for key in AU_PROS},
        }
        for name in SCORINGS
    }


def shown(values):
    """Mean ± standard deviation of a cell's seeds, and how many there are where one or none is."""
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{values[0]:.3f} (1 seed)"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" + (f" ({len(values)} seeds)" * (len(values) < 3))


def page(found, args, seconds):
    """Markdown: how it was made, and a table for each metric. ``found``: {Cell: {scoring: {metric: float}}}."""
    lines = [
        f"{args.train} training, {args.good} good and {3 * args.defective} defective generated parts of each kind; "
        f"seeds {', '.join(map(str, args.seeds))} of parts and run; two banks, `--fix all`, `--f_coreset 0.1`. Mean ± "
        "standard deviation over the seeds.",
        "",
        f"Machine: {platform.processor() or platform.machine()}, {environment()}, {seconds:.0f} s for the runs of the "
        "last call. Runs made: "
        f"{len(found)} of {len(cells(args))}.",
    ]
    for metric, title in METRICS.items():
        lines += [
            "",
            f"### {title}",
            "",
            "| features | scoring | " + " | ".join((*args.kinds, "mean")) + " |",
            "|---" * (len(args.kinds) + 3) + "|",
        ]
        for setting, scoring in itertools.product(args.settings, SCORINGS):
            columns = [
                [
                    found[Cell(setting, kind, seed)][scoring][metric]
                    for seed in args.seeds
                    if Cell(setting, kind, seed) in found
                ]
                for kind in args.kinds
            ]
            every = [
                np.mean([found[Cell(setting, kind, seed)][scoring][metric] for kind in args.kinds])
                for seed in args.seeds
                if all(Cell(setting, kind, seed) in found for kind in args.kinds)
            ]
            lines.append(" | ".join((f"| {SETTINGS[setting].title}", scoring, *map(shown, (*columns, every)))) + " |")
    return "\n".join(lines) + "\n"


def build_parser():
    """The argument parser."""
    parser = Parser(prog="feature_table.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("features"),
        metavar="DIR",
        help="folder for parts, runs and features.md",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=["cookie", "dowel", "foam"],
        metavar="KIND",
        help="kinds of generated part: " + ", ".join(KINDS),
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=SETTINGS,
        default=list(SETTINGS),
        metavar="NAME",
        help="; ".join(f"{name}: {setting.title}" for name, setting in SETTINGS.items()),
    )
    parser.add_argument(
        "--seeds", nargs="+", type=number(int, 0), default=[0, 1, 2], metavar="N", help="of the parts and the run"
    )
    parser.add_argument("--train", type=number(int, 2), default=30, metavar="N", help="training parts")
    parser.add_argument("--good", type=number(int, 1), default=16, metavar="N", help="good test parts")
    parser.add_argument("--defective", type=number(int, 1), default=8, metavar="N", help="test parts of each defect")
    parser.add_argument(
        "--minutes",
        type=number(float, 0, open_low=True),
        metavar="M",
        help="begin no run after M minutes (default: no limit)",
    )
    parser.add_argument("--table", action="store_true", help="begin no run: only make the table of what is there")
    return parser


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a run failed, 2 refused."""
    return run_command(
        "feature_table.py",
        build_parser().parse_args(argv),
        make_table,
        "interrupted; the same command goes on from here",
    )


def make_table(args):
    """Do the runs that are left and print the table; returns the exit code."""
    out, start, failed, found = args.output, time.monotonic(), False, {}
    check_writable(out)
    write_checkpoints(out / "checkpoints", ["dino", "point_mae"], 0)
    for cell in cells(args):
        path = maps_of(out, cell)
        late = args.minutes is not None and time.monotonic() - start > 60 * args.minutes
        if not (path.is_file() or late or args.table):
            failed |= not run(out, cell, args)
        if path.is_file():
            found[cell] = measured(path)
            atomic_write_text(out / "features.md", page(found, args, time.monotonic() - start))
    print(page(found, args, time.monotonic() - start))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
