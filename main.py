"""Train and evaluate M3DM on every category of a data set, and print the result tables."""
import argparse
import dataclasses
import logging
import signal
import sys
import time
import traceback
from pathlib import Path

from utils.errors import InputError, show_warnings
from utils.files import check_writable
from utils.options import parse_arguments

FINE, FAILED, REFUSED = 0, 1, 2
INTERRUPTED = "(interrupted)"


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    args = parse_arguments(argv)
    show_warnings()
    signal.signal(signal.SIGTERM, _interrupt)
    command = sys.argv[1:] if argv is None else argv
    try:
        return run_seeds(args, command) if args.seeds else run_once(args, command)[0]
    except InputError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("main.py: interrupted before any category was begun", file=sys.stderr)
        return FAILED


def run_once(args, command):
    """One run; returns (exit code, the Run)."""
    run = Run(args, command)
    try:
        for category in run.categories:
            run.one(category)
    except KeyboardInterrupt:
        run.failed[INTERRUPTED] = "stopped by the user; the categories that were finished are kept"
    return run.finish(), run


def run_seeds(args, command):
    """A run for each of --seeds in a folder of its own, then the table of mean ± standard deviation; returns the exit code."""
    codes, metrics = [], {}
    for seed in dict.fromkeys(args.seeds):
        folder = f"seed_{seed}"
        changes = {"seed": seed, "output_dir": str(Path(args.output_dir) / folder),
                   "save_maps": args.save_maps and str(Path(args.save_maps) / folder)}
        print(f"seed {seed}:", flush=True)
        try:
            code, run = run_once(argparse.Namespace(**{**vars(args), **changes}), command)
        except KeyboardInterrupt:  # between two seeds
            codes.append(FAILED)
            break
        codes.append(code)
        metrics[seed] = run.metrics
        if INTERRUPTED in run.failed:
            break
    if metrics:
        print("\n" + run.results.write_seeds(args.output_dir, args.method_name, metrics))
    return max(codes)


def _interrupt(*_):
    raise KeyboardInterrupt


class Run:
    """One call of the command line: what was asked for, what is done, what failed.

    Raises:
        InputError: something that would fail later on is already known to fail: output folder, data, checkpoints.
    """

    def __init__(self, args, command):
        from utils import results  # here and below: after the options are known to be fine, since torch takes seconds

        for folder in (args.output_dir, args.spool_dir, args.save_maps, args.save_feature and args.save_feature_path):
            if folder:
                check_writable(folder)
        self.args, self.results = args, results
        self.metrics, self.failed, self.started = {}, {}, time.time()
        self.record = {"command": list(command), "options": vars(args), "versions": results.environment(), "seed": args.seed,
                       "categories": {}, "failed": self.failed}
        self.categories = self._find_categories()
        self._fresh = self._build()
        self.record["device"] = str(self._fresh.method.device)
        self._write()

    def _find_categories(self):
        """The categories to run; those whose files cannot be used are put on the list of failures."""
        from dataset import TestDataset, TrainDataset, find_categories

        args, usable = self.args, []
        names, missing = find_categories(args.dataset_path, args.dataset_type, args.category)
        self.failed.update(missing)
        for name in names:
            try:
                TrainDataset(name, args.img_size, args.dataset_path, shots=args.shots, seed=args.seed)
                TestDataset(name, args.img_size, args.dataset_path)
                usable.append(name)
            except InputError as error:
                self.failed[name] = str(error)
        if not usable:
            first, *rest = self.failed.values()
            raise InputError(first + (f" (and {len(rest)} more categories without usable files)" if rest else ""))
        for name, reason in self.failed.items():
            print(f"main.py: {name} is left out: {reason}", file=sys.stderr)
        return usable

    def _build(self):
        from m3dm_runner import M3DM

        return M3DM(self.args)

    def one(self, category):
        """Fit, evaluate and write one category; a failure is noted and the next one goes on."""
        print(f"{category}: {self.args.method_name}", flush=True)
        try:
            runner, self._fresh = self._fresh or self._build(), None
            runner.fit(category)
            runner.evaluate(category)
            self._write_category(category, runner)
        except InputError as error:
            self._fail(category, str(error))
        except OSError as error:
            self._fail(category, f"{error.filename or self.args.output_dir}: {error.strerror or error}")
        except Exception as error:  # one category's trouble must not cost the others
            traceback.print_exc()
            self._fail(category, f"{type(error).__name__}: {error}")

    def _fail(self, category, reason):
        self.failed[category] = reason
        print(f"main.py: {category} failed: {reason}", file=sys.stderr)
        self._write()

    def _write_category(self, category, runner):
        method, output = runner.method, Path(self.args.output_dir)
        self.metrics[category] = method.metrics  # first: whatever cannot be written, the tables will have it
        described = [runner.test_data.describe(i) for i in range(len(method.bank_scores))]
        self.results.write_scores(output / f"scores_{category}.csv", described, method.scored, method.bank_scores)
        entry = {"metrics": {name: dataclasses.asdict(m) for name, m in method.metrics.items()},
                 "training_parts": method.added, "test_parts": len(described),
                 "banks": {name: list(bank.rows.shape) for name, bank in method.banks.items()},
                 "seconds": runner.timings}
        if hasattr(method, "late_fusion") and method.late_fusion.train_scores:
            entry["late_fusion_weights"] = method.late_fusion.weights
        if self.args.shots:
            entry["shots"] = runner.training_paths
        labels = {label for _, _, label in described}
        if len(labels) == 1:
            lacking = "defective" if labels == {0} else "good"
            logging.warning("%s: the test split has no %s part: metrics that need one are undefined", category, lacking)
        self.record["categories"][category] = entry
        self._write()
        for scoring, (image, pixel, au_pro) in method.metrics.items():
            shown = [f"{title} {'undefined' if value is None else format(value, '.3f')}"
                     for title, value in (("image ROCAUC", image), ("pixel ROCAUC", pixel), ("AU-PRO", au_pro))]
            print(f"{category}: {scoring}: {', '.join(shown)}", flush=True)
        if self.args.save_preds:  # from here on a failure costs pictures and maps, no result
            from utils.pred_maps import save_pictures

            start = time.perf_counter()
            save_pictures(output / "pred_maps" / category, self.args.dataset_path, described, method)
            runner.timings["pictures"] = time.perf_counter() - start
        if self.args.save_maps:
            from utils.saved_maps import save_run_maps

            start = time.perf_counter()
            save_run_maps(self.args, category, described, method, runner.training_paths)
            runner.timings["saved maps"] = time.perf_counter() - start
        self._write()

    def _write(self):
        self.record["seconds"] = time.time() - self.started
        self.record["peak_memory_mib"] = self.results.peak_memory_mib()
        try:
            self.results.write_run(self.args.output_dir, self.record)
        except OSError as error:  # a full disk, say: what is in memory still reaches the screen
            self.failed["run.json"] = str(error)

    def finish(self):
        """Print and append the tables, list what failed; returns the exit code."""
        if self.metrics:
            print("\n" + self.results.all_tables(self.args.method_name, self.metrics), flush=True)
            try:
                self.results.append_tables(self.args.output_dir, self.args.method_name, self.metrics)
            except OSError as error:
                self.failed["tables"] = str(error)
        self._write()
        for category, reason in self.failed.items():
            print(f"not finished: {category}: {reason}", file=sys.stderr)
        return FAILED if self.failed else FINE


if __name__ == "__main__":
    sys.exit(main())
