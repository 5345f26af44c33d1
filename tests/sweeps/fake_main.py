"""A main.py for the tests of sweeps: main.py's own options and files, numbers made from the options alone.

FAKE_LOG names a file that gets a line at the begin and the end of every computation; FAKE_SECONDS, or the file
"seconds" of the data set, says how long one takes; FAKE_FAIL names categories that fail, FAKE_KILL one that kills
itself at its first attempt.
"""

import csv
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

import numpy as np

from common.locks import hold
from common.signals import first_signal_stops
from runs.options import deciding_options, parse_arguments, recorded_options, run_id

LABEL = np.arange(20) % 2


class Weights:
    network, sha256 = "none", "0" * 64


def note(word, args):
    if os.environ.get("FAKE_LOG"):
        with open(os.environ["FAKE_LOG"], "a") as file:
            file.write(f"{word} {args.category[0]} {args.seed} {args.shots} {os.getpid()}\n")


def main():
    args = parse_arguments()
    out, (category,) = Path(args.output_dir), args.category
    run = run_id(deciding_options(recorded_options(args)), [Weights])
    out.mkdir(parents=True, exist_ok=True)
    if not Path(args.dataset_path).is_dir():
        print(f"main.py: {args.dataset_path}: no such folder", file=sys.stderr)
        return 2
    with hold(out / "runs" / run / f".{category}-data.lock", lambda who: f"{category} is being computed by {who}"):
        threads, gpus = os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")
        print(f"{category}: begun with {threads} threads on {gpus}", flush=True)
        note("begin", args)
        if category in os.environ.get("FAKE_FAIL", "").split():
            print("first line\nmain.py: it has failed", file=sys.stderr)
            return 1
        if category == os.environ.get("FAKE_KILL") and not (out / "killed").exists():
            (out / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        seconds = Path(args.dataset_path) / "seconds"
        time.sleep(float(seconds.read_text() if seconds.exists() else os.environ.get("FAKE_SECONDS", 0)))
        write(args, out, run, category)
        note("end", args)
    return 0


def write(args, out, run, category):
    """run.json and scores, as main.py leaves them."""
    text = json.dumps([category, args.seed, args.shots, args.f_coreset])
    rng = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
    lift, noise, scores = {"baseline": 0.5, "pixel_max": 1.0, "pixel_topk": 1.5}, rng.normal(size=len(LABEL)), {}
    for name in dict.fromkeys(["baseline", *args.scoring]):
        scores[name] = noise + LABEL * lift[name] * (1 + 0.1 * (args.shots or 1)) + rng.normal(size=len(LABEL)) * 0.2
    with open(out / f"scores_{category}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "defect", "label", *scores])
        for i, one in enumerate(LABEL):
            values = [repr(float(of[i])) for of in scores.values()]
            writer.writerow([f"{category}/test/{i:03d}.png", "hole" if one else "good", one, *values])
    metrics = {}
    for name, of in scores.items():
        auc = float((of[LABEL == 1][:, None] > of[LABEL == 0][None]).mean())  # scikit-learn takes long to load
        metrics[name] = {"image_rocauc": auc, "pixel_rocauc": 0.9 + 0.01 * args.seed, "au_pro": None}
    record = {
        "id": run,
        "command": sys.argv[1:],
        "options": recorded_options(args),
        "failed": {},
        "versions": {"numpy": "1"},
        "weights": [{"network": "none", "path": "none.pth", "sha256": "0" * 64, "standin": True}],
        "categories": {category: {"finished": "today", "metrics": metrics}},
    }
    (out / "run.json.new").write_text(json.dumps(record))
    os.replace(out / "run.json.new", out / "run.json")


if __name__ == "__main__":
    with first_signal_stops("main.py"):
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("main.py: stopped by the user", file=sys.stderr)
            sys.exit(1)
