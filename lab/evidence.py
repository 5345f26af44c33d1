"""Measure what each setting finds: on generated cut-out parts, and on recordings of generated parts.

    python lab/evidence.py -o evidence                     # all cells; the same command continues
    python lab/evidence.py -o evidence --cells parts --seeds 0 --minutes 60
    python lab/evidence.py -o evidence --page              # only the page of what is there

A cell is one kind of part, one setting, one seed (and, for recordings, one number of training parts). "parts": the
MVTec-like categories of lab/make_demo.py, run by main.py. "recordings": a recording of lab/recordings is imported,
fitted and judged with the commands that README names. OUT/cells gets one JSON file per cell; OUT/evidence.md is made of
these files alone. Generated parts are no benchmark.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FAILED, FINE, HelpFormatter, Parser, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from common.progress import note
from common.signals import raise_if_stopping, run_to_the_end
from inspection.predictions import LINES, read_lines
from lab.evidence_page import CURVE as STEP
from lab.evidence_page import MAIN_SHOTS, write_page
from lab.make_demo import write_category
from lab.recordings.kinds import KINDS
from lab.standin_checkpoints import RECIPES, write_checkpoints
from scoring.evaluation import extra_metrics, metrics, read, score
from scoring.significance import PixelCounts, image_rocauc, resample_weights

ROOT = Path(__file__).resolve().parents[1]
PARTS, RECORDINGS = "parts", "recordings"
LITE0 = ["--rgb_backbone_name", "efficientnet_lite0"]
ALL = ["--fix", "all"]
STANDINS = "STANDINS"  # in a setting: the folder of stand-in checkpoints
UFF = ["--use_uff", "--fusion_module_path", f"{STANDINS}/{RECIPES['uff'].file}", "--checkpoint_dir", STANDINS]
SCORINGS = ("baseline", "pixel_max", "disagreement", "full", "calibrated")
SETTINGS = {  # cells → {name of a setting: options of main.py}
    PARTS: {
        "lite0 + FPFH": ["--method_name", "DINO+FPFH", *LITE0, *ALL],
        "lite0 + Point-MAE (stand-in)": ["--method_name", "DINO+Point_MAE", *LITE0, "--checkpoint_dir", STANDINS, *ALL],
        "DINO + Point-MAE (stand-ins), two banks": [
            *("--method_name", "DINO+Point_MAE", "--checkpoint_dir", STANDINS, *ALL)
        ],
        "DINO + Point-MAE (stand-ins), three banks": [*UFF, *ALL],
        "Reference": ["--method_name", "Reference", "--preset", "best"],
        "all": ["--preset", "best"],
    },
    RECORDINGS: {
        "released-like": ["--method_name", "DINO+FPFH", *LITE0, "--fix", "eval_mode"],
        "banks": ["--method_name", "DINO+FPFH", *LITE0, "--preset", "best", "--frame", "none"],
        "banks in the part's frame": ["--method_name", "DINO+FPFH", *LITE0, "--preset", "best", "--frame", "auto"],
        "Reference": ["--method_name", "Reference", "--preset", "best"],
        "all": ["--preset", "best"],
    },
}


class Sizes(NamedTuple):
    """Numbers of parts. Categories: training, good test parts, test parts of each defect. Recordings: good parts in
    the pool from which calibration parts are drawn, parts to judge (half of them good), parts per step of a curve."""

    train: int = 30
    good: int = 16
    defective: int = 6
    pool: int = 40
    judge: int = 24
    curve: int = 8
    calibration: int = 20
    recorded: int = 30
    days: tuple[str, ...] = ("shifted", "darker15", "darker30", "other_light")


QUICK = Sizes(6, 4, 1, 24, 8, 4, 19)
BRIEF = Sizes(curve=0, days=("darker30",), recorded=14)
CURVE = (0.125, 0.25, 0.5, 0.75, 1.0)  # factors of a defect's depth and width
CURVED = ("dent", "scratch")  # a kind's defects that have one of these words in their names get a curve
RESAMPLES = 200


class Cell(NamedTuple):
    """One measurement; ``shots``: training parts (0: all that were generated)."""

    cells: str
    kind: str
    setting: str
    shots: int
    seed: int

    @property
    def name(self):
        """Its name as part of a path."""
        words = "-".join([self.cells, self.kind, self.setting, str(self.shots), str(self.seed)])
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in words)


def plan(chosen, seeds, shots, kinds=None, settings=None):
    """[Cell]: seed by seed, kind by kind. The first seed alone has other numbers of training parts than MAIN_SHOTS."""
    found = []
    for seed in seeds:
        for cells in chosen:
            for kind in KINDS:
                few = (
                    [0] if cells == PARTS else [MAIN_SHOTS, *(k for k in shots if k != MAIN_SHOTS and seed == seeds[0])]
                )
                found += [Cell(cells, kind, setting, k, seed) for setting in SETTINGS[cells] for k in few]
    return [c for c in found if (not kinds or c.kind in kinds) and (not settings or c.setting in settings)]


# ---------------------------------------------------------------- computing a cell


def command(*words, allowed=(0,)):
    """Run a command of this project in a process of its own.

    Raises:
        InputError: its exit code is not in ``allowed``; the message is the last line that it wrote to stderr.
    """
    words = [str(word) for word in words]
    done = subprocess.run([sys.executable, str(ROOT / words[0]), *words[1:]], capture_output=True, text=True)
    if done.returncode not in allowed:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{words[0]} ended with {done.returncode}: {last}")


def options_of(cell, out):
    """The words of main.py's command line that every run of this cell has."""
    words = [word.replace(STANDINS, str(out / "checkpoints")) for word in SETTINGS[cell.cells][cell.setting]]
    if any(STANDINS in word for word in SETTINGS[cell.cells][cell.setting]):
        write_checkpoints(out / "checkpoints", ["dino", "point_mae", "uff"], 0)
    return [*words, "--seed", cell.seed, "--category", cell.kind, "--dataset_type", "folder", "--num_workers", 0]


def parts_cell(cell, out, sizes):
    """The content of a cell about a generated category: metrics of every scoring, and their resamples."""
    data = out / "data" / f"seed_{cell.seed}"
    if not (data / f"{cell.kind}.complete").is_file():
        write_category(data, cell.kind, sizes.train, sizes.good, sizes.defective, cell.seed)
        atomic_write_text(data / f"{cell.kind}.complete", "")
    work = out / "work" / cell.name
    words = ["main.py", *options_of(cell, out), "--dataset_path", data, "--output_dir", work / "results"]
    words += ["--shots", cell.shots or sizes.train]
    command(*words, "--scoring", "all", "--save_maps", work / "maps")
    return measured(read(work / "maps" / f"{cell.kind}.npz"))


def measured(saved):
    """{scoring: {metric: value}} of saved maps; the difference of each scoring to the baseline is resampled."""
    scored = score(saved, [name for name in SCORINGS if name != "calibrated" or saved.training is not None])
    usual, extra = metrics(saved, scored), extra_metrics(saved, scored, ["au_pro_1"])
    labels = saved.label != 0
    weights = np.vstack([np.ones(len(labels)), resample_weights(labels, RESAMPLES, 0)])  # the full test set first
    drawn = {
        name: {
            "image_rocauc": image_rocauc(labels, of.image_preds, weights),
            "au_pro": PixelCounts(saved.mask, of.predictions).au_pro(weights),
        }
        for name, of in scored.items()
    }
    return {
        name: {
            **{metric: getattr(usual[name], metric) for metric in ("image_rocauc", "pixel_rocauc", "au_pro")},
            "au_pro_1": extra[name]["au_pro_1"][0],
            "gains": {m: np.round(drawn[name][m] - drawn["baseline"][m], 5).tolist() for m in drawn[name]},
        }
        for name in scored
    }


def recordings_cell(cell, out, sizes):
    """The content of a cell about a recording: score and verdict of every part, by set and defect."""
    data = out / "imported" / f"{cell.kind}-{cell.seed}"
    if not (data / "complete").is_file():
        shutil.rmtree(data, ignore_errors=True)
        import_recording(cell.kind, cell.seed, out / "recorded" / f"{cell.kind}-{cell.seed}", data, sizes)
        atomic_write_text(data / "complete", "")
    work = out / "work" / cell.name
    words = ["main.py", *options_of(cell, out), "--dataset_path", data, "--shots", cell.shots]
    command(*words, "--output_dir", work / "results", "--save_model", work / "models", "--fit_only")
    sets = data / "judged" if cell.shots == MAIN_SHOTS else data / "judged" / "same_day"
    command("tools/predict.py", work / "models" / f"{cell.kind}.m3dm", sets, "-o", work / "out", allowed=(0, 1))
    judged = []
    for row in read_lines(work / "out" / LINES):
        where = Path(row["path"]).parts
        place = where.index("test")
        judged.append([where[place - 1], where[place + 1], row["verdict"], row.get("score")])
    return {"judged": judged, "calibration": sizes.calibration}


def import_recording(kind, seed, recorded, data, sizes):
    """Write a recording and import it: ``data``/<kind> to fit with, ``data``/judged/{same_day,more}/<set> to judge.

    Sets of the same day: to_judge, and pool (good parts, from which calibration parts are drawn; the model is fitted
    with the first ones). More: the batches of other days, and steps of the curves.
    """
    from lab.recordings.write import write_recording
    from tools import import_parts

    if not (recorded / "camera.json").is_file():
        write_recording(kind, recorded, seed, sizes.recorded, sizes.pool, sizes.judge, list(sizes.days))
    curved = [name for name in KINDS[kind].faults if any(word in name for word in CURVED)]
    for defect in curved if sizes.curve else ():
        for factor in CURVE:
            folder = recorded / f"{defect}{STEP}{factor:g}"
            if not folder.is_dir():
                write_recording(kind, folder, seed, 0, 0, sizes.curve, (), [defect], (factor, factor))
    camera = recorded / "camera.json"

    def bring(files, target, category, split):
        """Import the pictures and depth images of some parts into a split."""
        source = data / "sources" / category / split
        source.mkdir(parents=True)
        for file in files:
            os.link(file, source / file.name)
        words = [source, "-o", target, "--category", category, "--split", split, "--intrinsics", camera]
        words += ["--quiet", "--no_sheet"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = import_parts.main([*map(str, words)])
        if code:
            raise InputError(f"tools/import_parts.py ended with {code}: {said.getvalue().strip().splitlines()[-1]}")

    good = sorted((recorded / "train_good").iterdir())
    pool = sorted((recorded / "more_good").iterdir())  # two files per part
    bring(good, data, kind, "train/good")
    bring(pool[: 2 * sizes.calibration], data, kind, "validation/good")
    bring(pool, data / "judged" / "same_day", "pool", "test/good")
    for truth in sorted(recorded.rglob("*_truth.json")):
        taken = truth.with_name(truth.name.removesuffix("_truth.json"))
        named = taken.name if truth.parent == recorded else truth.parent.name
        by_defect = {}
        for part, defect in json.loads(truth.read_text()).items():
            by_defect.setdefault(defect, []).extend(sorted(taken.glob(f"{part}_*")))
        for defect, files in by_defect.items():
            bring(files, data / "judged" / ("same_day" if named == "to_judge" else "more"), named, f"test/{defect}")
    shutil.rmtree(data / "sources")


# ---------------------------------------------------------------- all cells


def run_cells(args):
    """Compute the cells that have no file yet, and write the page; returns the exit code."""
    out, sizes = args.output, QUICK if args.quick else BRIEF if args.brief else Sizes()
    check_writable(out)
    cells = plan(args.cells, args.seeds, args.shots, args.kinds, args.settings)
    if not cells:
        raise InputError("no cell has these kinds and settings")
    begun, failed = time.monotonic(), {}
    for place, cell in enumerate(cells):
        raise_if_stopping()
        if args.page or (args.minutes is not None and time.monotonic() - begun > 60 * args.minutes):
            break
        identity = json.loads(json.dumps({"options": SETTINGS[cell.cells][cell.setting], "sizes": sizes}))
        path, start = out / "cells" / f"{cell.name}.json", time.monotonic()
        if path.is_file() and json.loads(path.read_text())["identity"] == identity:
            continue
        try:
            found = (parts_cell if cell.cells == PARTS else recordings_cell)(cell, out, sizes)
        except InputError as error:
            failed[cell] = str(error)
            print(f"evidence.py: {' '.join(map(str, cell))}: {error}", file=sys.stderr)
            continue
        seconds = round(time.monotonic() - start, 1)
        content = {"identity": identity, "cell": cell._asdict(), "commit": commit(), "seconds": seconds, "found": found}
        atomic_write_text(path, json.dumps(content) + "\n")
        shutil.rmtree(out / "work" / cell.name, ignore_errors=True)
        note(f"{place + 1} of {len(cells)} cells: {' '.join(map(str, cell))}: {seconds:.0f} s")
    print(write_page(out, cells, failed))
    return FAILED if failed else FINE


def commit():
    """Short name of the checkout's commit, "+" behind it where files are changed; "" outside a checkout."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a cell failed or the user stopped it, 2 refused."""
    parser = Parser(prog="evidence.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("evidence"), metavar="OUT", help="for everything")
    parser.add_argument("--cells", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="which (default: both)")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="only these kinds of part")
    parser.add_argument("--settings", nargs="+", metavar="NAME", help="only these settings")
    parser.add_argument("--seeds", nargs="+", type=number(int, 0), default=[0, 1, 2], metavar="N", help="of the parts")
    parser.add_argument(
        "--shots",
        nargs="+",
        type=number(int, 1, 30),
        default=[2, 4, 8, 14, 30],
        metavar="K",
        help="training parts of a recording; other seeds than the first have 14 alone",
    )
    parser.add_argument("--minutes", type=number(float, 0), metavar="M", help="begin no cell after M minutes")
    parser.add_argument(
        "--brief",
        action="store_true",
        help="of recordings 14 training parts, no curves, and of other days only 30 %% less light",
    )
    parser.add_argument("--quick", action="store_true", help="few and small parts, to try the command")
    parser.add_argument("--page", action="store_true", help="compute nothing, only make the page")
    return run_command("evidence.py", parser.parse_args(argv), run_cells, "stopped; the same command goes on from here")


if __name__ == "__main__":
    run_to_the_end(main)
