"""A main.py for the tests of sweeps: main.py's own options and files, numbers made from the options alone.

FAKE_LOG names a file that gets a line at the begin and the end of every computation; FAKE_SECONDS, or the file
"seconds" of the data set, says how long one takes; FAKE_FAIL names categories that fail, FAKE_KILL one that kills
itself at its first attempt.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np

from common.signals import first_signal_stops
from runs.options import deciding_options, parse_arguments, recorded_options
from runs.runs import Unit, run_id

PARTS = 20


class Weights:
    network, sha256 = "none", "0" * 64


def roc_auc(label, scores):
    """By its definition; scoring.metrics imports scikit-learn, which takes longer than the rest."""
    ones, zeros = scores[label == 1][:, None], scores[label == 0][None]
    return float(((ones > zeros) + (ones == zeros) / 2).mean())


def note(word, args):
    if os.environ.get("FAKE_LOG"):
        line = f"{word} {args.category[0]} {args.seed} {args.shots} {os.getpid()}\n"
        with open(os.environ["FAKE_LOG"], "a") as file:
            file.write(line)


def main():
    args = parse_arguments()
    options, (category,) = recorded_options(args), args.category
    out, run = Path(args.output_dir), run_id(deciding_options(options), [Weights])
    out.mkdir(parents=True, exist_ok=True)
    if not Path(args.dataset_path).is_dir():
        print(f"main.py: {args.dataset_path}: no such folder", file=sys.stderr)
        return 2
    unit = Unit(out, run, category, "data")
    with unit.lock():
        threads, gpus = os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")
        print(f"{category}: begun with {threads} threads on {gpus}", flush=True)
        note("begin", args)
        if category in os.environ.get("FAKE_FAIL", "").split():
            print("first line\nmain.py: it has failed", file=sys.stderr)
            return 1
        flag = out / "killed"
        if category == os.environ.get("FAKE_KILL") and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        seconds = Path(args.dataset_path) / "seconds"
        time.sleep(float(seconds.read_text() if seconds.exists() else os.environ.get("FAKE_SECONDS", 0)))
        write(args, options, out, run, category)
        note("end", args)
    print("done")
    return 0


def write(args, options, out, run, category):
    """run.json and scores, as main.py leaves them."""
    text = json.dumps([category, args.seed, args.shots, args.f_coreset])
    rng = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
    label = np.arange(PARTS) % 2
    lift = {"baseline": 0.5, "pixel_max": 1.0, "pixel_topk": 1.5}
    noise = rng.normal(size=PARTS)
    scores = {
        name: noise + label * lift[name] * (1 + 0.1 * (args.shots or 1)) + rng.normal(size=PARTS) * 0.2
        for name in dict.fromkeys(["baseline", *args.scoring])
    }
    lines = ["path,defect,label," + ",".join(scores)]
    lines += [
        ",".join(
            [
                f"{category}/test/{i:03d}.png",
                "hole" if one else "good",
                str(one),
                *(repr(float(values[i])) for values in scores.values()),
            ]
        )
        for i, one in enumerate(label)
    ]
    (out / f"scores_{category}.csv").write_text("\n".join(lines) + "\n")
    metrics = {
        name: {"image_rocauc": roc_auc(label, values), "pixel_rocauc": 0.9 + 0.01 * args.seed, "au_pro": None}
        for name, values in scores.items()
    }
    record = {
        "id": run,
        "command": sys.argv[1:],
        "options": options,
        "failed": {},
        "versions": {"numpy": "1"},
        "seed": args.seed,
        "weights": [{"network": "none", "path": "none.pth", "sha256": "0" * 64, "standin": True}],
        "categories": {category: {"finished": "today", "metrics": metrics}},
    }
    temporary = out / "run.json.new"
    temporary.write_text(json.dumps(record))
    os.replace(temporary, out / "run.json")


if __name__ == "__main__":
    with first_signal_stops("main.py"):
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("main.py: stopped by the user", file=sys.stderr)
            sys.exit(1)
