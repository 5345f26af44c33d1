"""Measure speed and memory against plain implementations in the same run; exit code 1 if a target is missed.

    python lab/benchmark.py                        # all rows, a quarter of an hour on two cores
    python lab/benchmark.py --rows extraction      # some

Parts are generated. Weights are untrained stand-ins, unless --checkpoint_dir names others. Both take as long as real
ones. docs/speed.md shows a run. Beside other programs: lab/peers.py; on a GPU: lab/on_gpu.py.
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import torch
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

import reference_m3dm
from common.argument_types import number
from common.clock import Clock
from common.commands import HelpFormatter, Parser, add_device, run_command
from common.devices import choose_device
from common.errors import InputError
from common.machine import peak_memory_mib
from common.progress import note
from data.calibration_parts import calibration_files
from data.scans import find_parts, read_scan
from dataset import TrainDataset, get_data_loader
from feature_extractors.coreset import greedy_k_center, pick
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.nearest_rows import ROUNDING, RowSearch, distinct_rows
from inspection.fitted import bank_bytes, state_of
from inspection.inspector import Inspector
from inspection.model_file import write_model
from inspection.saved_model import read_saved
from lab.make_demo import write_category
from lab.standin_checkpoints import RECIPES, write_checkpoints
from m3dm_runner import M3DM, build_extractor, build_method
from models.weights import used_weights
from runs.options import extractor_options, parse_arguments

KIND = "housing"
TRAIN, GOOD, DEFECTS = 16, 6, ("dent", "stain")  # parts of the generated category; one test part of each defect
TOLERANCE = 0.05
BANK = 76_000  # rows: about the xyz bank of bagel (244 training parts) at --f_coreset 0.1
RATE = 0.2  # of false alarms; high, since a benchmark has few calibration parts
SHOTS, CALIBRATION = 8, 0.35  # training parts; share of the 16 parts that is used for calibration
MODEL_BANK, WIDTHS = 20_000, {"rgb": 768, "xyz": 1152, "fusion": 1920}


class Figure(NamedTuple):
    """One line of the table: what was measured, its value and unit, and its target: ``at_most`` or ``at_least``.
    Both are None where the value is only shown."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    correct: bool = True  # the results agree with the plain implementation's

    @property
    def verdict(self):
        """The text "met", "met within 5 %", "missed" or "WRONG RESULT"; "" where there is no target."""
        if not self.correct:
            return "WRONG RESULT"
        if self.at_most is None and self.at_least is None:
            return ""
        excess = self.value / self.at_most if self.at_most is not None else self.at_least / self.value
        return "met" if excess <= 1 else "met within 5 %" if excess <= 1 + TOLERANCE else "missed"

    @property
    def target(self):
        """The target in words; "" where there is none."""
        return "" if not self.verdict else f"<= {self.at_most}" if self.at_most is not None else f">= {self.at_least}"


class Bench:
    """Generated parts, networks and a clock.

    Args:
        folder: temporary folder for data and, if none are given, checkpoints.
        checkpoint_dir: folder of checkpoints, or None for stand-ins.
        device: torch device; rounds: how often what is short is measured.
        train, good: parts of the generated category.
    """

    def __init__(self, folder, checkpoint_dir, device, rounds, train=TRAIN, good=GOOD):
        self.folder, self.device, self.rounds = Path(folder), device, rounds
        self.checkpoints = Path(checkpoint_dir or self.folder / "checkpoints")
        if checkpoint_dir is None:
            write_checkpoints(self.checkpoints, ["dino", "point_mae", "uff"], 0)
        write_category(self.folder / "data", KIND, train, good, 1, 0, DEFECTS)

    def arguments(self, *flags):
        """Parsed options of the full setting on the generated parts, with ``flags`` added."""
        known = ["--use_uff", "--checkpoint_dir", self.checkpoints, "--random_state", 0, "--device", self.device.type]
        known += ["--fusion_module_path", self.checkpoints / RECIPES["uff"].file, "--output_dir", self.folder / "out"]
        known += ["--dataset_type", "folder", "--dataset_path", self.folder / "data", "--category", KIND]
        return parse_arguments([*map(str, known), *map(str, flags)])

    def method(self, *flags):
        """A method object with empty banks."""
        args = self.arguments(*flags)
        return build_method(args, build_extractor(args))

    def samples(self, split, args):
        """Yield the samples of a split. A hundredth of a millimetre of noise breaks the ties that a camera's whole
        counts make: of two points equally far away, either may be a neighbour."""
        generator = torch.Generator().manual_seed(0)
        for (rgb, xyz, depth), *_ in get_data_loader(split, KIND, args.img_size, args):
            yield rgb, xyz + 1e-5 * torch.randn(xyz.shape, generator=generator) * (xyz != 0), depth

    def seconds(self, run, device=None):
        """(result, seconds) of ``run()``, waiting for the device."""
        wait = torch.cuda.synchronize if (device or self.device).type == "cuda" else lambda: None
        wait()
        start = time.perf_counter()
        result = run()
        wait()
        return result, time.perf_counter() - start

    def compare(self, ours, theirs):
        """(median seconds of ``ours()``, of ``theirs()``, median over the rounds of theirs / ours); the two are timed
        in turn."""
        times = [(self.seconds(ours)[1], self.seconds(theirs)[1]) for _ in range(self.rounds)]
        return (*(statistics.median(column) for column in zip(*times)), statistics.median(t / o for o, t in times))


# ---------------------------------------------------------------- the steps


def extraction(bench):
    """Extraction of one sample, against the ViT alone, and step by step for the same values."""
    figures = []
    for mode, flags, most in (("eval mode", ["--eval_mode"], 2.4), ("train mode, as released", [], 3.2)):
        method = bench.method(*flags)
        sample = next(bench.samples("train", bench.arguments()))
        rgb, apart = sample[0].to(bench.device), 0.0
        with torch.no_grad():
            ours = method.extract(sample)
            if flags and bench.device.type == "cpu":  # in train mode the depth is drawn anew
                plain = reference_m3dm.extract(method, sample)
                apart = max(float((ours[n] - plain[n]).abs().max() / plain[n].abs().max()) for n in ours)
            whole, alone, ratio = bench.compare(
                lambda: method.extract(sample), lambda: method.deep_feature_extractor.forward_rgb_features(rgb)
            )
        text = f"{whole:.2f} s, ViT {alone:.2f} s" + (f"; patches within {apart:.0e} of the plain ones" * bool(flags))
        what = f"extraction of one sample / ViT-B/8 forward, {mode}"
        figures.append(Figure(what, 1 / ratio, "x", at_most=most, note=text, correct=apart < 1e-4))
    return figures


def k_center(bench):
    """Greedy k-centre against the plain implementation."""
    generator, count, width = torch.Generator().manual_seed(3), 60_000, 300
    rows = torch.randn(count, 20, generator=generator) @ torch.randn(20, width, generator=generator)
    rows += 0.1 * torch.randn(count, width, generator=generator)
    ours = statistics.median(
        bench.seconds(lambda: greedy_k_center(rows, count // 10, bench.device))[1] for _ in range(bench.rounds)
    )
    expected, theirs = bench.seconds(lambda: reference_m3dm.k_center(rows, count // 10))
    picks = greedy_k_center(rows, count // 10, bench.device)
    same = float((picks == expected).float().mean())
    radius = [float(RowSearch(rows[p]).nearest(rows).distance.max()) for p in (picks, expected)]
    return [
        Figure(
            f"greedy k-centre, {count} x {width} to {count // 10}, against the plain loop",
            theirs / ours,
            "times faster",
            at_least=25,
            note=f"{ours:.2f} s, plain {theirs:.0f} s (1 round); {same:.1%} of the picks equal",
            correct=same == 1 or abs(radius[0] / radius[1] - 1) < 1e-5,
        )
    ]


def nearest_on(bench, patches, rows, what, at_least):
    """Nearest rows on the benchmark's device, against the plain form: one matrix product and the minimum."""
    patches, rows = patches.to(bench.device), rows.to(bench.device)
    search, building = bench.seconds(lambda: RowSearch(rows))
    ours, theirs, ratio = bench.compare(
        lambda: search.nearest(patches), lambda: reference_m3dm.nearest_rows(patches, rows)
    )
    (distance, index), (expected, at) = search.nearest(patches), reference_m3dm.nearest_rows(patches, rows)
    noise = ROUNDING * ((patches**2).sum(1) + (rows**2).sum(1).max())  # rounding of a squared distance, float32
    apart = ((distance**2 - expected**2).abs() / noise).max()
    same = float((index == at).float().mean())
    text = f"{ours:.2f} s, plain {theirs:.2f} s, made ready in {building:.1f} s once per bank; {same:.2%} equal indices"
    what = f"nearest rows, {len(patches)} x {len(rows)} x {rows.shape[1]}, {what}"
    return Figure(what, ratio, "times faster", at_least=at_least, note=text, correct=float(apart) <= 1)


def nearest(bench):
    """Nearest rows of a generated part's patches in a bank of coreset rows."""
    write_category(bench.folder / "more", KIND, 80, 1, 0, 0)
    flags = "--eval_mode", "--method_name", "Point_MAE", "--memory_bank", "single"
    args = bench.arguments(*flags, "--dataset_path", bench.folder / "more")
    method = build_method(args, build_extractor(args))
    rows = torch.cat([method.extract(sample)["xyz"].cpu() for sample in bench.samples("train", args)])
    rows = rows[distinct_rows(rows)[0]]
    mean, std = rows.mean(), rows.std()
    rows = (rows - mean) / std
    if len(rows) > BANK:
        rows = rows[pick([rows], *rows.shape, BANK, args.coreset_eps, 0)]
    patches = (method.extract(next(bench.samples("test", args)))["xyz"].cpu() - mean) / std
    return [nearest_on(bench, patches, rows, "generated parts", at_least=3)]


class CountingSearch(RowSearch):
    """A RowSearch that counts how many products of a patch and a row it computes."""

    products = 0

    def _compare(self, patches, exclusions, positions=None):
        self.products += len(patches) * len(self.rows if positions is None else positions)
        return super()._compare(patches, exclusions, positions)


def spared(bench):
    """Share of the patch-row products that the exact bounds save, on generated parts and their category's coresets."""
    method = bench.method("--eval_mode", "--f_coreset", "0.2", "--fix", "coreset_sizes")
    args = bench.arguments("--eval_mode")
    for sample in bench.samples("train", args):
        method.add_sample_to_mem_bank(sample, class_name=KIND)
    method.run_coreset()
    patches = [method.extract(sample) for _, sample in zip(range(3), bench.samples("test", args))]
    made, full = {}, {}
    for name, bank in method.banks.items():
        search, full[name] = CountingSearch(bank.rows.cpu(), bounded=True), 0
        for part in patches:
            scaled = (part[name].cpu() - bank.mean) / bank.std
            full[name] += len(distinct_rows(scaled)[0]) * len(bank.rows)
            search.nearest(scaled)
        made[name] = search.products
    each = ", ".join(f"{n} bank of {len(b.rows)} rows {1 - made[n] / full[n]:.2f}" for n, b in method.banks.items())
    share = 1 - sum(made.values()) / sum(full.values())
    return [Figure("products spared by the bounds, all banks of a coreset", share, "", at_least=0.5, note=each)]


# ---------------------------------------------------------------- a saved model


def saved(bench):
    """Path of a saved model: the full setting, fitted to the benchmark's generated parts. Made at the first call."""
    path = bench.folder / "models" / f"{KIND}.m3dm"
    if not path.is_file():
        args = bench.arguments(
            *("--eval_mode", "--save_model", path.parent, "--calibration", CALIBRATION, "--shots", SHOTS)
        )
        runner = M3DM(args)
        out = TrainDataset(KIND, args.img_size, args.dataset_path, held_out_share=args.held_out).held_out_files
        runner.read_parts(KIND, calibration_files(args.dataset_path, KIND, args.calibration, held_out=out))
        runner.fit(KIND)
        weights = used_weights(extractor_options(args), lambda: runner.extractor)
        runner.save(path, KIND, [file._asdict() for file in weights], {})
    return path


def loaded(bench):
    """The Inspector of the saved model."""
    return Inspector.load(saved(bench), bench.checkpoints, bench.device.type, RATE, gate=False)


def one_part(bench):
    """Seconds of one part from its files to the verdict, split into steps; the banks are as fitted."""
    inspector, clocks = loaded(bench), []
    parts = find_parts(bench.folder / "data" / KIND / "test")[:6]
    for part in parts * max(1, bench.rounds // 2):
        clock = Clock()
        with clock("decode"):
            prepared = inspector.preparation(read_scan(part.rgb, part.xyz))
        inspector.judge_prepared(prepared, clock)
        clocks.append(clock)
    steps = {name: statistics.median(clock[name] for clock in clocks[1:]) for name in clocks[0]}
    total, text = sum(steps.values()), ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in steps.items())
    rest = (total - steps["extraction"] - steps["search"]) / total
    return [
        Figure("one part, files to verdict", 1000 * total, "ms", note=text),
        Figure("its decoding, scoring and verdict, share of the whole", rest, "", at_most=0.03),
    ]


def model_memory(bench):
    """Resident memory that loading a model of 20,000 rows per modality adds, measured in a separate process."""
    path, method = bench.folder / "structureless.m3dm", loaded(bench)._method
    generator, zeros = torch.Generator().manual_seed(0), torch.zeros(MODEL_BANK, dtype=torch.long)
    for name, bank in method.banks.items():
        rows = torch.randn(MODEL_BANK, WIDTHS[name], generator=generator).to(bench.device)
        known = bank.mean, bank.std, bank.weight_eps, bank.divisor
        method.banks[name] = MemoryBank(rows, zeros, zeros, *known)
    model = read_saved(saved(bench))
    arrays, facts = state_of(method, model.meta["fitted"]["method"])
    others = {key: a for key, a in model.arrays.items() if not key.startswith("bank.")}
    write_model(path, {**others, **arrays}, {**model.meta, "fitted": facts})
    call = f"memory_of({str(path)!r}, {str(bench.checkpoints)!r}, {bench.device.type!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"from lab.benchmark import memory_of; {call}"],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"the process that loads a model failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    text = "{grown:.0f} MiB; banks and networks {needed:.0f} MiB; peak while loading {peak:.0f} MiB".format(**found)
    what = "memory of a loaded model / its banks and networks"
    return [Figure(what, found["grown"] / found["needed"], "x", at_most=1.2, note=text)]


def memory_of(path, checkpoints, device):
    """Load a model and print JSON, in MiB: by how much this process grew, banks and networks, and the peak."""
    import psutil

    torch.randn(500, 500) @ torch.randn(500, 500)  # the libraries' own buffers
    process, unit = psutil.Process(), 2**20
    before = process.memory_info().rss
    needed = bank_bytes(read_saved(path).arrays)
    inspector = Inspector.load(path, checkpoints, device, RATE)  # kept, so that its banks are
    extractor = inspector._method.extractor
    needed += sum(t.numel() * t.element_size() for t in (*extractor.parameters(), *extractor.buffers()))
    found = {"grown": process.memory_info().rss - before, "needed": needed, "peak": peak_memory_mib() * unit - before}
    print(json.dumps({name: value / unit for name, value in found.items()}))


# ---------------------------------------------------------------- the command

ROWS = {row.__name__: row for row in (extraction, nearest, k_center, spared, one_part, model_memory)}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all targets met, 1 a target missed or a row failed, 2 refused."""
    parser = Parser(prog="benchmark.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="only these: " + ", ".join(ROWS))
    parser.add_argument("--rounds", type=number(int, 1, 1000), default=5, metavar="N", help="the median is shown")
    parser.add_argument("--checkpoint_dir", metavar="DIR", help="checkpoints (default: stand-ins, written for the run)")
    add_device(parser)
    return run_command("benchmark.py", parser.parse_args(argv), run_rows)


def run_rows(options):
    """Measure the rows that the options choose, and print them; returns the exit code."""
    figures, failed, device = [], [], choose_device(options.device)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bench = Bench(folder, options.checkpoint_dir, device, options.rounds)
        for name in options.rows or ROWS:
            note(f"{name} ...")
            try:
                figures += ROWS[name](bench)
            except Exception as error:  # one failed row must not lose the finished ones
                traceback.print_exc()
                failed.append(name)
                print(f"benchmark.py: row {name} failed: {type(error).__name__}: {error}", file=sys.stderr)
    lines = [(f.what, f"{f.value:.2f} {f.unit}", f.target, f.verdict, f.note) for f in figures]
    machine = f"{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}, device {device}"
    print(f"\ntorch {torch.__version__}, {machine}; median of {options.rounds} rounds\n")
    print(tabulate(lines, ["what", "measured", "target", "verdict", "note"], tablefmt="pipe", disable_numparse=True))
    return int(bool(failed) or any(f.verdict in ("missed", "WRONG RESULT") for f in figures))


if __name__ == "__main__":
    sys.exit(main())
