"""Measure what each setting finds: on recordings of generated parts, on real pictures of solar cells.

    python lab/evidence.py -o evidence                     # recordings; the same command continues
    python lab/evidence.py -o evidence --cells solar       # needs: pip install elpv-dataset

A cell is one kind of part, one setting, one seed (and, for recordings, one number of training parts). A recording of
lab/recordings is imported, fitted and judged with the commands that README names; solar cells: lab/solar_cells.py.
OUT/cells gets one JSON file per cell; OUT/evidence.md is made of these files alone. Generated parts are no benchmark.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FAILED, FINE, Parser, run_command
from common.errors import InputError
from common.files import atomic_write_text, check_writable
from common.progress import note
from common.signals import raise_if_stopping, run_to_the_end
from inspection.predictions import LINES, read_lines
from lab import solar_cells
from lab.evidence_page import CURVE as STEP
from lab.evidence_page import MAIN_SHOTS, write_page
from lab.recordings.kinds import KINDS
from lab.recordings.scene import DAYS
from lab.recordings.write import write_recording

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS, SOLAR = "recordings", "solar"
LITE0 = ["--rgb_backbone_name", "efficientnet_lite0"]
BEST = ["--preset", "best"]
SETTINGS = {  # cells → {name of a setting: options of main.py}
    RECORDINGS: {
        "released-like": ["--method_name", "DINO+FPFH", *LITE0, "--fix", "eval_mode"],
        "banks": ["--method_name", "DINO+FPFH", *LITE0, *BEST, "--frame", "none"],
        "banks in the part's frame": ["--method_name", "DINO+FPFH", *LITE0, *BEST, "--frame", "auto"],
        "Reference": ["--method_name", "Reference", *BEST],
        "all": BEST,
    },
    SOLAR: {"lite0 alone": [*BEST, "--method_name", "DINO", *LITE0]},
}
# numbers of a recording's parts: to train with, good ones in the pool from which calibration parts are drawn, these,
# to judge (half of them good), per step of a curve
TRAIN, POOL, CALIBRATION, JUDGE, STEPS = 30, 40, 20, 24, 8
CURVE = (0.125, 0.25, 0.5, 0.75, 1.0)  # factors of a defect's depth and width
CURVED = ("dent", "scratch")  # a kind's defects that have one of these words in their names get a curve


class Cell(NamedTuple):
    """One measurement; ``shots``: training parts (0: all that there are)."""

    cells: str
    kind: str
    setting: str
    shots: int
    seed: int

    @property
    def name(self):
        """Its name as part of a path."""
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in "-".join(map(str, self)))

    def run(self, out, data, *words):
        """Run main.py on the data set ``data``, with ``words`` added to the cell's options."""
        fixed = "--seed", self.seed, "--category", self.kind, "--dataset_type", "folder", "--dataset_path", data
        fixed = *SETTINGS[self.cells][self.setting], *fixed, "--num_workers", 0
        command("main.py", *fixed, "--output_dir", self.work(out) / "results", *words)

    def work(self, out):
        """Its folder while it is computed."""
        return out / "work" / self.name


def plan(chosen, seeds, shots, kinds=None, settings=None):
    """[Cell]: seed by seed, kind by kind. The first seed alone has other numbers of training parts than MAIN_SHOTS."""
    found = []
    for seed, cells in itertools.product(seeds, chosen):
        few = [MAIN_SHOTS, *(k for k in shots if k != MAIN_SHOTS and seed == seeds[0])] if cells == RECORDINGS else [0]
        of_parts = solar_cells.TYPES if cells == SOLAR else KINDS
        found += [Cell(cells, *of, seed) for of in itertools.product(of_parts, SETTINGS[cells], few)]
    return [c for c in found if (not kinds or c.kind in kinds) and (not settings or c.setting in settings)]


# ---------------------------------------------------------------- computing a cell


def command(*words: object, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command, such as main.py, with the options in ``words``; raises InputError with the last line that it wrote
    to stderr where its exit code is not in ``allowed``."""
    program, *options = map(str, words)
    done = subprocess.run([sys.executable, str(ROOT / program), *options], capture_output=True, text=True)
    if done.returncode not in allowed:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{program} ended with {done.returncode}: {last}")


def solar_cell(cell, out, brief):
    """{"calibrated": {figure: value}} of a type of solar cells."""
    data = out / "solar" / f"seed_{cell.seed}"
    solar_cells.write_cells(data, solar_cells.load_cells(), cell.kind, cell.seed)
    cell.run(out, data)
    return {"calibrated": solar_cells.figures(cell.work(out) / "results" / f"scores_{cell.kind}.csv")}


def recordings_cell(cell, out, brief):
    """The content of a cell about a recording: set, defect, verdict and score of every part."""
    name = f"{cell.kind}-{cell.seed}{'-brief' if brief else ''}"
    recorded, data = out / "recorded" / name, out / "scans" / name
    if not (data / "complete").is_file():
        for folder in (recorded, data):
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
        days = ["darker30"] if brief else list(DAYS)
        record(cell.kind, cell.seed, recorded, days, brief)
        bring(recorded, data, cell.kind, days)
        atomic_write_text(data / "complete", "")
    work = cell.work(out)
    cell.run(out, data / "fit", "--shots", cell.shots, "--save_model", work / "models", "--fit_only")
    sets = data / "judged" if cell.shots == MAIN_SHOTS else data / "judged" / "same_day"
    command("tools/predict.py", work / "models" / f"{cell.kind}.m3dm", sets, "-o", work / "out", allowed=(0, 1))
    judged = []
    for row in sorted(read_lines(work / "out" / LINES), key=lambda row: row["path"]):
        *_, taken, _, _, _, file = Path(row["path"]).parts  # .../set/test/new/rgb/part_0001.png
        truth = recorded / (f"{taken}/to_judge_truth.json" if STEP in taken else f"{taken}_truth.json")
        defect = "good" if taken == "pool" else json.loads(truth.read_text())[Path(file).stem]
        judged.append([taken, defect, row["verdict"], row.get("score")])
    there = sum(1 for _ in sets.rglob("rgb/*.png"))
    if len(judged) != there:  # predict.py ends with 1 where it is stopped, too
        raise InputError(f"tools/predict.py judged {len(judged)} of {there} parts")
    return {"judged": judged, "calibration": CALIBRATION}


def record(kind, seed, recorded, days, brief):
    """Write a recording, and the steps of the curves in folders of their own."""
    write_recording(kind, recorded, seed, MAIN_SHOTS if brief else TRAIN, POOL, JUDGE, days)
    curved = [name for name in KINDS[kind].faults if any(word in name for word in CURVED) and not brief]
    for defect, factor in itertools.product(curved, CURVE):
        folder = recorded / f"{defect}{STEP}{factor:g}"
        write_recording(kind, folder, seed, 0, 0, STEPS, (), [defect], (factor, factor))


def bring(recorded, data, kind, days):
    """Import a recording: ``data``/fit/<kind> to fit with, ``data``/judged/{same_day,more}/<set> to judge. The sets of
    the same day are to_judge and pool, good parts from which calibration parts are drawn, and the model is fitted
    with the first of them."""

    def imported(source, *target):
        *folders, category, split = target
        where = "-o", data.joinpath(*folders), "--category", category, "--split", split
        camera = "--intrinsics", recorded / "camera.json"
        command("tools/import_parts.py", source, *where, *camera, "--quiet", "--no_sheet")

    first = data / "first"
    first.mkdir(parents=True)
    for file in sorted((recorded / "more_good").iterdir())[: 2 * CALIBRATION]:  # two files per part
        os.link(file, first / file.name)
    imported(recorded / "train_good", "fit", kind, "train/good")
    imported(first, "fit", kind, "validation/good")
    imported(recorded / "more_good", "judged", "same_day", "pool", "test/new")
    imported(recorded / "to_judge", "judged", "same_day", "to_judge", "test/new")
    for step in recorded.glob(f"*{STEP}*"):
        imported(step / "to_judge", "judged", "more", step.name, "test/new")
    for day in days:
        imported(recorded / day, "judged", "more", day, "test/new")
    shutil.rmtree(first)


# ---------------------------------------------------------------- all cells


def run_cells(args):
    """Compute the cells that have no file yet, then write the page, also after Ctrl-C; returns the exit code."""
    out = args.output
    check_writable(out)
    cells = plan(args.cells, args.seeds, [MAIN_SHOTS] if args.brief else args.shots, args.kinds, args.settings)
    if not cells:
        raise InputError("no cell has these kinds and settings")
    failed, compute = {}, {RECORDINGS: recordings_cell, SOLAR: solar_cell}
    try:
        for cell in cells:
            raise_if_stopping()
            brief = args.brief and cell.cells == RECORDINGS
            identity = {"options": SETTINGS[cell.cells][cell.setting], "brief": brief}
            path = out / "cells" / f"{cell.name}.json"
            if path.is_file() and json.loads(path.read_text())["identity"] == identity:
                continue
            note(f"{' '.join(map(str, cell))} ...")
            try:
                content = {"identity": identity, "commit": commit(), "found": compute[cell.cells](cell, out, brief)}
            except InputError as error:
                failed[cell] = str(error)
                print(f"evidence.py: {' '.join(map(str, cell))}: {error}", file=sys.stderr)
                continue
            atomic_write_text(path, json.dumps(content) + "\n")
            shutil.rmtree(cell.work(out), ignore_errors=True)
    finally:
        print(write_page(out, cells, failed))
    return FAILED if failed else FINE


def commit():
    """Short name of the checkout's commit, "+" behind it where files are changed; "" outside a checkout."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 a cell failed or the user stopped it, 2 refused."""
    parser = Parser(prog="evidence.py", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("evidence"), metavar="OUT", help="for everything")
    parser.add_argument("--cells", nargs="+", choices=SETTINGS, default=[RECORDINGS], help="which")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="only these kinds of part")
    parser.add_argument("--settings", nargs="+", metavar="NAME", help="only these settings")
    parser.add_argument("--seeds", nargs="+", type=number(int, 0), default=[0, 1, 2], metavar="N", help="of the parts")
    text = "training parts of a recording; other seeds than the first have 14 alone"
    shots = [2, 4, 8, MAIN_SHOTS, 30]
    parser.add_argument("--shots", nargs="+", type=number(int, 1, 30), default=shots, metavar="K", help=text)
    text = "of recordings 14 training parts, no curves, and of other days only 30 %% less light"
    parser.add_argument("--brief", action="store_true", help=text)
    return run_command("evidence.py", parser.parse_args(argv), run_cells, "stopped; the same command goes on from here")


if __name__ == "__main__":
    run_to_the_end(main)
