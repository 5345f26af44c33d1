"""The whole way on generated data: a category with both scorings, a saved model that judges a line's scans, then each
data set of the paper from its download to the tables.

    python tools/demo.py demo

Every command is printed before it is run, as it would be given by hand. Weights are untrained stand-ins: the scores
mean nothing.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.standin_checkpoints import RECIPES  # noqa: E402


def commands(out):
    """The commands, each a list of words, for the folder ``out``."""
    out = Path(out)
    checkpoints, downloads, sets = out / "checkpoints", out / "downloads", out / "datasets"
    run = [
        "main.py",
        "--method_name",
        "DINO+Point_MAE+Fusion",
        "--use_uff",
        "--memory_bank",
        "multiple",
        "--rgb_backbone_name",
        "vit_base_patch8_224_dino",
        "--xyz_backbone_name",
        "Point_MAE",
        "--fusion_module_path",
        checkpoints / RECIPES["uff"].file,
        "--checkpoint_dir",
        checkpoints,
        "--scoring",
        "disagreement",
    ]
    yield ["tools/make_demo.py", out]
    yield [
        *run,
        "--dataset_path",
        out / "data",
        "--category",
        "cookie",
        "--output_dir",
        out / "results",
        "--save_preds",
    ]
    # fit once, judge one part
    yield ["tools/make_line.py", out, "--category", "cookie"]
    yield [
        *run,
        "--eval_mode",
        "--dataset_path",
        out / "data",
        "--category",
        "cookie",
        "--output_dir",
        out / "results_model",
        "--save_model",
        out / "models",
    ]
    yield [
        "tools/predict.py",
        out / "models" / "cookie.m3dm",
        out / "line",
        "--checkpoint_dir",
        checkpoints,
        "--false_alarm",
        "0.05",
        "--pictures",
        "-o",
        out / "judged",
    ]
    yield ["tools/make_downloads.py", downloads]
    yield ["utils/preprocessing.py", downloads / "mvtec3d", "-o", sets / "mvtec3d"]
    yield [
        "utils/preprocess_eyecandies.py",
        "--dataset_path",
        downloads / "eyecandies",
        "--target_dir",
        sets / "eyecandies",
    ]
    yield ["utils/preprocess_realiad_d3.py", downloads / "realiad_d3", "-o", sets / "realiad_d3"]
    maps = []
    for name, category in (("mvtec3d", "dowel"), ("eyecandies", "CandyCane"), ("realiad_d3", "knob-cap")):
        yield ["tools/check_dataset.py", sets / name, "--category", category]
        yield [
            *run,
            "--f_coreset",
            "0.2",
            "--dataset_type",
            name,
            "--dataset_path",
            sets / name,
            "--category",
            category,
            "--output_dir",
            out / f"results_{name}",
            "--save_maps",
            out / "maps" / name,
        ]
        maps.append(out / "maps" / name)
    yield ["tools/rescore.py", *maps, "-o", out / "tables"]
    yield ["tools/report.py", maps[0], "-o", out / "report"]


def main(argv=None):
    """Run the command line; returns the exit code of the first command that fails, 0 where none does."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for everything")
    out = parser.parse_args(argv).out
    root = Path(__file__).resolve().parents[1]
    for command in commands(out):
        words = [str(word) for word in command]
        print(f"\n$ python {shlex.join(words)}", flush=True)
        done = subprocess.run([sys.executable, str(root / words[0]), *words[1:]])
        if done.returncode == 1 and words[0] == "tools/predict.py":  # three of the line's scans cannot be judged
            continue
        if done.returncode:
            print(f"demo.py: this command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
    print(
        f"\nPictures, scores and run.json are under {out}/results, the paper's tables under {out}/tables, a page to "
        f"look at under {out}/report, verdicts with pictures under {out}/judged.\n"
        "The weights are untrained stand-ins and the parts generated: these scores say nothing about M3DM.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
