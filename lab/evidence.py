"""Measure what each setting finds: on generated cut-out parts, and on recordings of generated parts.

    python lab/evidence.py -o evidence                     # all cells; the same command continues
    python lab/evidence.py -o evidence --cells parts --seeds 0
    python lab/evidence.py -o evidence --page              # only the page of what is there

A cell is one kind of part, one setting, one seed (and, for recordings, one number of training parts). "parts": the
MVTec-like categories of lab/make_demo.py, run by main.py. "recordings": a recording of lab/recordings is imported,
fitted and judged with the commands that README names. OUT/cells gets one JSON file per cell; OUT/evidence.md is made of
these files alone. Generated parts are no benchmark.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FAILED, FINE, HelpFormatter, Parser, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from common.progress import note
from common.signals import raise_if_stopping, run_to_the_end
from inspection.predictions import LINES, read_lines
from lab.commands import ROOT, command
from lab.evidence_page import CURVE as STEP
from lab.evidence_page import MAIN_SHOTS, write_page
from lab.make_demo import write_category
from lab.recordings.kinds import KINDS
from lab.recordings.write import write_recording
from lab.standin_checkpoints import RECIPES, write_checkpoints
from scoring.evaluation import extra_metrics, metrics, read, score

PARTS, RECORDINGS = "parts", "recordings"
LITE0 = ["--rgb_backbone_name", "efficientnet_lite0"]
ALL = ["--fix", "all"]
BEST = ["--preset", "best"]
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
        "Reference": ["--method_name", "Reference", *BEST],
        "all": BEST,
    },
    RECORDINGS: {
        "released-like": ["--method_name", "DINO+FPFH", *LITE0, "--fix", "eval_mode"],
        "banks": ["--method_name", "DINO+FPFH", *LITE0, *BEST, "--frame", "none"],
        "banks in the part's frame": ["--method_name", "DINO+FPFH", *LITE0, *BEST, "--frame", "auto"],
        "Reference": ["--method_name", "Reference", *BEST],
        "all": BEST,
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


BRIEF = Sizes(curve=0, days=("darker30",), recorded=14)
CURVE = (0.125, 0.25, 0.5, 0.75, 1.0)  # factors of a defect's depth and width
CURVED = ("dent", "scratch")  # a kind's defects that have one of these words in their names get a curve


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
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in "-".join(map(str, self)))

    def options(self, out):
        """The words of main.py's command line that every run of this cell has."""
        words = SETTINGS[self.cells][self.setting]
        if any(STANDINS in word for word in words):
            write_checkpoints(out / "checkpoints", ["dino", "point_mae", "uff"], 0)
        words = [word.replace(STANDINS, str(out / "checkpoints")) for word in words]
        return [*words, "--seed", self.seed, "--category", self.kind, "--dataset_type", "folder", "--num_workers", 0]


def plan(chosen, seeds, shots, kinds=None, settings=None):
    """[Cell]: seed by seed, kind by kind. The first seed alone has other numbers of training parts than MAIN_SHOTS."""
    found = []
    for seed in seeds:
        more = [k for k in shots if k != MAIN_SHOTS and seed == seeds[0]]
        for cells in chosen:
            few = [0] if cells == PARTS else [MAIN_SHOTS, *more]
            found += [Cell(cells, kind, setting, k, seed) for kind in KINDS for setting in SETTINGS[cells] for k in few]
    return [c for c in found if (not kinds or c.kind in kinds) and (not settings or c.setting in settings)]


# ---------------------------------------------------------------- computing a cell


def parts_cell(cell, out, sizes):
    """{scoring: {metric: value}} of a generated category."""
    data = out / "data" / f"seed_{cell.seed}"
    if not (data / f"{cell.kind}.complete").is_file():
        write_category(data, cell.kind, sizes.train, sizes.good, sizes.defective, cell.seed)
        atomic_write_text(data / f"{cell.kind}.complete", "")
    work = out / "work" / cell.name
    words = ["--dataset_path", data, "--output_dir", work / "results", "--shots", cell.shots or sizes.train]
    command("main.py", *cell.options(out), *words, "--scoring", "all", "--save_maps", work / "maps")
    return measured(read(work / "maps" / f"{cell.kind}.npz"))


def measured(saved):
    """{scoring: {metric: value}} of saved maps."""
    scored = score(saved, [name for name in SCORINGS if name != "calibrated" or saved.training is not None])
    usual, extra = metrics(saved, scored), extra_metrics(saved, scored, ["au_pro_1"])
    return {name: {**asdict(usual[name]), **extra[name]} for name in scored}


def recordings_cell(cell, out, sizes):
    """The content of a cell about a recording: set, defect, verdict and score of every part."""
    recorded, data = (out / where / f"{cell.kind}-{cell.seed}" for where in ("recorded", "scans"))
    if not (data / "complete").is_file():
        shutil.rmtree(data, ignore_errors=True)
        record(cell.kind, cell.seed, recorded, sizes)
        bring(recorded, data, cell.kind, sizes)
        atomic_write_text(data / "complete", "")
    work = out / "work" / cell.name
    words = ["--dataset_path", data / "fit", "--shots", cell.shots, "--output_dir", work / "results"]
    command("main.py", *cell.options(out), *words, "--save_model", work / "models", "--fit_only")
    sets = data / "judged" if cell.shots == MAIN_SHOTS else data / "judged" / "same_day"
    command("tools/predict.py", work / "models" / f"{cell.kind}.m3dm", sets, "-o", work / "out", allowed=(0, 1))
    judged = []
    for row in sorted(read_lines(work / "out" / LINES), key=lambda row: row["path"]):
        *_, taken, _, _, _, file = Path(row["path"]).parts  # .../set/test/new/rgb/part_0001.png
        folder = recorded / taken if STEP in taken else recorded
        truth = folder / ("to_judge_truth.json" if STEP in taken else f"{taken}_truth.json")
        defect = "good" if taken == "pool" else json.loads(truth.read_text())[Path(file).stem]
        judged.append([taken, defect, row["verdict"], row.get("score")])
    there = sum(1 for _ in sets.rglob("rgb/*.png"))
    if len(judged) != there:  # predict.py ends with 1 where it is stopped, too
        raise InputError(f"tools/predict.py judged {len(judged)} of {there} parts")
    return {"judged": judged, "calibration": sizes.calibration}


def record(kind, seed, recorded, sizes):
    """Write a recording, and the steps of the curves in folders of their own."""
    if not (recorded / "camera.json").is_file():
        write_recording(kind, recorded, seed, sizes.recorded, sizes.pool, sizes.judge, list(sizes.days))
    for defect in [name for name in KINDS[kind].faults if any(word in name for word in CURVED)] if sizes.curve else ():
        for factor in CURVE:
            folder = recorded / f"{defect}{STEP}{factor:g}"
            if not folder.is_dir():
                write_recording(kind, folder, seed, 0, 0, sizes.curve, (), [defect], (factor, factor))


def bring(recorded, data, kind, sizes):
    """Import a recording: ``data``/fit/<kind> to fit with, ``data``/judged/{same_day,more}/<set> to judge.

    Sets of the same day: to_judge, and pool (good parts, from which calibration parts are drawn; the model is fitted
    with the first ones). More: the batches of other days, and the steps of the curves.
    """

    def imported(source, *target):
        *folders, category, split = target
        where = "-o", data.joinpath(*folders), "--category", category, "--split", split
        camera = "--intrinsics", recorded / "camera.json"
        command("tools/import_parts.py", source, *where, *camera, "--quiet", "--no_sheet")

    first = data / "first"
    first.mkdir(parents=True)
    for file in sorted((recorded / "more_good").iterdir())[: 2 * sizes.calibration]:  # two files per part
        os.link(file, first / file.name)
    imported(recorded / "train_good", "fit", kind, "train/good")
    imported(first, "fit", kind, "validation/good")
    imported(recorded / "more_good", "judged", "same_day", "pool", "test/new")
    imported(recorded / "to_judge", "judged", "same_day", "to_judge", "test/new")
    for step in recorded.glob(f"*{STEP}*"):
        imported(step / "to_judge", "judged", "more", step.name, "test/new")
    for day in sizes.days:
        imported(recorded / day, "judged", "more", day, "test/new")
    shutil.rmtree(first)


# ---------------------------------------------------------------- all cells


def run_cells(args):
    """Compute the cells that have no file yet, and write the page; returns the exit code."""
    out, sizes = args.output, BRIEF if args.brief else Sizes()
    check_writable(out)
    cells = plan(args.cells, args.seeds, args.shots, args.kinds, args.settings)
    if not cells:
        raise InputError("no cell has these kinds and settings")
    failed = {}
    for place, cell in enumerate(() if args.page else cells):
        raise_if_stopping()
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
    text = "training parts of a recording; other seeds than the first have 14 alone"
    shots = [2, 4, 8, MAIN_SHOTS, 30]
    parser.add_argument("--shots", nargs="+", type=number(int, 1, 30), default=shots, metavar="K", help=text)
    text = "of recordings 14 training parts, no curves, and of other days only 30 %% less light"
    parser.add_argument("--brief", action="store_true", help=text)
    parser.add_argument("--page", action="store_true", help="compute nothing, only make the page")
    return run_command("evidence.py", parser.parse_args(argv), run_cells, "stopped; the same command goes on from here")


if __name__ == "__main__":
    run_to_the_end(main)
