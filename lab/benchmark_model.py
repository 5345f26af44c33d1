"""Benchmark rows about a saved model: loading it, one part from files to verdict, a folder of parts, memory."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from common.clock import Clock
from common.errors import InputError
from data.calibration_parts import calibration_files
from data.scans import find_parts, read_scan
from dataset import TrainDataset
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.nearest_rows import RowSearch, distinct_rows, rows_per_block
from inspection.fitted import bank_bytes, state_of
from inspection.inspector import Inspector
from inspection.judged_parts import load_parts
from inspection.model_file import write_model
from inspection.saved_model import as_dicts, read_saved
from lab.benchmark_shared import CATEGORY, Figure
from m3dm_runner import M3DM
from models.weights import used_weights
from runs.options import extractor_options

RATE = 0.2  # of false alarms; high, since a benchmark has few calibration parts
SHOTS, CALIBRATION = 8, 0.35  # training parts; share of the 16 parts that is used for calibration
SMALL_BANK, LARGE_BANK = 20_000, 150_000  # rows per modality
WIDTHS = {"rgb": 768, "xyz": 1152, "fusion": 1920}


def saved(bench):
    """Path of a saved model: the full setting, fitted to the benchmark's generated parts. Made at the first call."""
    path = bench.folder / "models" / f"{CATEGORY}.m3dm"
    if not path.is_file():
        args = bench.arguments(
            "--eval_mode",
            "--category",
            CATEGORY,
            "--save_model",
            str(path.parent),
            "--calibration",
            str(CALIBRATION),
            "--shots",
            str(SHOTS),
        )
        runner = M3DM(args)
        out = TrainDataset(CATEGORY, args.img_size, args.dataset_path, held_out_share=args.held_out).held_out_files
        runner.read_parts(CATEGORY, calibration_files(args.dataset_path, CATEGORY, args.calibration, held_out=out))
        runner.fit(CATEGORY)
        weights = used_weights(extractor_options(args), lambda: runner.extractor)
        runner.save(path, CATEGORY, as_dicts(weights), {})
    return path


def loaded(bench, path=None):
    """The Inspector of a model."""
    return Inspector.load(path or saved(bench), bench.checkpoints, bench.device.type, RATE, gate=False)


def structureless(bench, inspector, count):
    """Path of the same model with banks of ``count`` random rows each."""
    path = bench.folder / f"structureless_{count}.m3dm"
    method, generator = inspector._method, torch.Generator().manual_seed(0)
    kept, zeros = dict(method.banks), torch.zeros(count, dtype=torch.long)
    for name, bank in kept.items():
        rows = torch.randn(count, WIDTHS[name], generator=generator)
        method.banks[name] = MemoryBank.of_rows(
            rows.to(bench.device), zeros, zeros, bank.mean, bank.std, bank.weight_eps, bank.divisor
        )
    model = read_saved(saved(bench))
    arrays, facts = state_of(method, model.meta["fitted"]["method"])
    others = {key: a for key, a in model.arrays.items() if not key.startswith("bank.")}
    write_model(path, {**others, **arrays}, {**model.meta, "fitted": facts})
    method.banks = kept
    return path


# ---------------------------------------------------------------- rows


def model_load(bench):
    """Seconds to load a model of 20,000 rows per modality, against reading and hashing the bytes of its file."""
    path = structureless(bench, loaded(bench), SMALL_BANK)
    whole = statistics.median(bench.seconds(lambda: loaded(bench, path))[1] for _ in range(3))
    file = statistics.median(bench.seconds(lambda: read_saved(path))[1] for _ in range(3))
    return [
        Figure(
            f"model load, {SMALL_BANK} rows per modality, networks included",
            whole,
            "s",
            note=f"{path.stat().st_size / 2**20:.0f} MiB; reading and checking the file {file:.2f} s",
        )
    ]


def one_part(bench):
    """Seconds of one part from its files to the verdict, split into steps; the banks are as fitted."""
    inspector = loaded(bench)
    parts, method = find_parts(bench.folder / "data" / CATEGORY / "test")[:6], inspector._method
    rgb = inspector.preparation(read_scan(parts[0].rgb, parts[0].xyz)).sample[0].to(bench.device)
    vit, clocks = [], []
    with torch.no_grad():
        for _ in range(max(1, bench.rounds // 2)):
            for part in parts:
                clock = Clock()
                with clock("decode"):
                    prepared = inspector.preparation(read_scan(part.rgb, part.xyz))
                inspector.judge_prepared(prepared, clock)
                clocks.append(clock)
                vit.append(bench.seconds(lambda: method.deep_feature_extractor.forward_rgb_features(rgb))[1])
    steps = {name: statistics.median(clock[name] for clock in clocks[1:]) for name in clocks[0]}
    total = sum(steps.values())
    rest = total - steps["extraction"] - steps["search"]
    note = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in steps.items())
    ratio = statistics.median(clock["extraction"] / v for clock, v in zip(clocks[1:], vit[1:]))
    return [
        Figure("one part, files to verdict", 1000 * total, "ms", note=note),
        Figure("its extraction / ViT-B/8 forward", ratio, "x", at_most=2.4, note=f"ViT {statistics.median(vit):.2f} s"),
        Figure("its decoding, scoring and verdict, share of the whole", rest / total, "", at_most=0.03),
    ]


def model_search(bench):
    """Search of one part in banks of random rows, against the bare matrix products of its distinct patches."""
    inspector = loaded(bench)
    part = find_parts(bench.folder / "data" / CATEGORY / "test")[0]
    prepared = inspector.preparation(read_scan(part.rgb, part.xyz))
    patches = inspector._method.extract(prepared.sample)
    figures = []
    for count in (SMALL_BANK, LARGE_BANK):
        ours = bare = 0.0
        distinct, generator = {}, torch.Generator().manual_seed(0)
        for name in patches:  # one bank after the other: memory may not hold three large ones
            rows = torch.randn(count, WIDTHS[name], generator=generator).to(bench.device)
            zeros = torch.zeros(count, dtype=torch.long)
            old = inspector._method.banks[name]
            bank = MemoryBank.of_rows(rows, zeros, zeros, old.mean, old.std, old.weight_eps, old.divisor)
            scaled = (patches[name] - old.mean) / old.std
            own = scaled[distinct_rows(scaled.cpu())[0]]
            distinct[name] = len(own)
            a, b, _ = bench.compare(lambda: bank.measure(patches[name]), lambda: products(own, rows))
            ours, bare = ours + a, bare + b
        figures.append(
            Figure(
                f"search, {count} structureless rows per modality / bare products",
                ours / bare,
                "x",
                at_most=1.1,
                note=f"{ours:.2f} s, products {bare:.2f} s; distinct patches {distinct}",
            )
        )
    return figures


def products(patches, rows):
    """Multiply patches with rows, block by block into one buffer; the products are thrown away."""
    size = rows_per_block(len(patches), patches.device)
    buffer = patches.new_empty(len(patches), size)
    for block in rows.split(size):
        torch.mm(patches, block.T, out=buffer if len(block) == size else patches.new_empty(len(patches), len(block)))


def spared(bench):
    """Share of the patch-row products that the exact bounds save, on generated parts and their category's coresets."""
    method = bench.method("--eval_mode", "--f_coreset", "0.2", "--fix", "coreset_sizes")
    args = bench.arguments("--eval_mode")
    for sample in bench.samples("train", args):
        method.add_sample_to_mem_bank(sample, class_name=CATEGORY)
    method.run_coreset()
    samples = [sample for _, sample in zip(range(3), bench.samples("test", args))]
    patches = [method.extract(sample) for sample in samples]
    made, full = {}, {}
    for name, bank in method.banks.items():
        search = CountingSearch(bank.rows.cpu(), bounded=True)
        full[name] = 0
        for part in patches:
            scaled = (part[name].cpu() - bank.mean) / bank.std
            full[name] += len(distinct_rows(scaled)[0]) * len(bank.rows)
            search.nearest(scaled)
        made[name] = search.products
    each = ", ".join(f"{n} bank of {len(b.rows)} rows {1 - made[n] / full[n]:.2f}" for n, b in method.banks.items())
    spared_share = 1 - sum(made.values()) / sum(full.values())
    what = "products spared by the bounds, all banks of a category's coreset"
    return [Figure(what, spared_share, "", at_least=0.5, note=f"{each}; generated parts")]


class CountingSearch(RowSearch):
    """A RowSearch that counts how many products of a patch and a row it computes."""

    products = 0

    def _compare(self, patches, exclusions, positions=None):
        self.products += len(patches) * len(self.rows if positions is None else positions)
        return super()._compare(patches, exclusions, positions)


def folder(bench):
    """Parts per second over a folder, decoded in another process, against extraction and search alone."""
    inspector = loaded(bench)
    parts = find_parts(bench.folder / "data" / CATEGORY / "test")
    inspector.judge_prepared(inspector.preparation(read_scan(parts[0].rgb, parts[0].xyz)))
    total, needed = Clock(), 0.0
    start = time.perf_counter()
    for prepared, _ in load_parts(parts, inspector, 1):
        total.clear()
        inspector.judge_prepared(prepared, total)
        needed += total["extraction"] + total["search"]
    seconds = time.perf_counter() - start
    return [
        Figure(
            "parts per second over a folder / those of extraction and search alone",
            needed / seconds,
            "",
            at_least=0.95,
            note=f"{len(parts) / seconds:.2f} parts per second, {len(parts)} parts",
        )
    ]


def loaded_memory(bench):
    """Resident memory that loading a model of 20,000 rows per modality adds, measured in a separate process."""
    path = structureless(bench, loaded(bench), SMALL_BANK)
    code = (
        f"from lab.benchmark_model import memory_of; memory_of({str(path)!r}, {str(bench.checkpoints)!r}, "
        f"{bench.device.type!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"the memory row failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    found = {**found, **{key: found[key] / 2**20 for key in ("grown", "needed", "peak")}}
    return [
        Figure(
            "memory of a loaded model / its banks and networks",
            found["grown"] / found["needed"],
            "x",
            at_most=1.2,
            note="{grown:.0f} MiB; banks and networks {needed:.0f} MiB; peak while loading "
            "{peak:.0f} MiB more than before".format(**found),
        )
    ]


def memory_of(path, checkpoints, device):
    """Load a model and print JSON: by how many bytes this process grew, bytes of banks and networks, and the peak."""
    import psutil

    from common.machine import peak_memory_mib

    torch.randn(500, 500) @ torch.randn(500, 500)  # the libraries' own buffers
    process = psutil.Process()
    before = process.memory_info().rss
    needed = bank_bytes(read_saved(path).arrays)
    inspector = Inspector.load(path, checkpoints, device, RATE)
    extractor = inspector._method.extractor
    needed += sum(t.numel() * t.element_size() for t in (*extractor.parameters(), *extractor.buffers()))
    print(
        json.dumps(
            {"grown": process.memory_info().rss - before, "needed": needed, "peak": peak_memory_mib() * 2**20 - before}
        )
    )
