"""A main.py for the tests of sweeps: main.py's own options and files, numbers made from the options alone.

FAKE_LOG names a file that gets a line at the begin and the end of every computation; FAKE_SECONDS, or the file
"seconds" of the data set, says how long one takes; FAKE_FAIL names categories that fail, FAKE_KILL one that kills
itself at its first attempt. After the word "sweep" it is tools/sweep.py with this main.py, as a process that a test can
kill; FAKE_OTHER_SYSTEM: as on one without Linux's signal at the parent's end.
"""

import json
import os
import random
import signal
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[2]))

from common.files import atomic_write_text
from common.locks import hold
from common.signals import first_signal_stops
from runs.options import deciding_options, parse_arguments, recorded_options, run_id

WEIGHTS = {"network": "none", "path": "none.pth", "sha256": "0" * 64, "standin": True}


def note(word, args):
    if os.environ.get("FAKE_LOG"):
        with open(os.environ["FAKE_LOG"], "a") as file:
            file.write(f"{word} {args.category[0]} {args.seed} {args.shots} {os.getpid()}\n")


def main():
    args = parse_arguments()
    out, (category,) = Path(args.output_dir), args.category
    run = run_id(deciding_options(recorded_options(args)), [SimpleNamespace(**WEIGHTS)])
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
    """run.json and the file of scores, as main.py leaves them."""
    seed = zlib.crc32(json.dumps([category, args.seed, args.shots, args.f_coreset]).encode())
    names = dict.fromkeys(["baseline", *args.scoring])
    (out / f"scores_{category}.csv").write_text(",".join(["path", "defect", "label", *names]))
    values, pixel = random.Random(seed), 0.9 + 0.01 * args.seed
    metrics = {n: {"image_rocauc": values.random(), "pixel_rocauc": pixel, "au_pro": None} for n in names}
    record = {
        "id": run,
        "command": sys.argv[1:],
        "options": recorded_options(args),
        "failed": {},
        "versions": {"numpy": "1"},
        "weights": [WEIGHTS],
        "categories": {category: {"metrics": metrics}},
    }
    atomic_write_text(out / "run.json", json.dumps(record))


if __name__ == "__main__":
    if sys.argv[1] == "sweep":
        from sweeps import jobs  # imported here: they take long
        from tools import sweep

        if os.environ.get("FAKE_OTHER_SYSTEM"):
            jobs.LIBC = None
        sys.exit(sweep.main(sys.argv[2:], program=[sys.executable, __file__]))
    with first_signal_stops("main.py"):
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("main.py: stopped by the user", file=sys.stderr)
            sys.exit(1)
