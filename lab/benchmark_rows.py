"""Benchmark rows about features, memory banks, memory and whole categories; each function returns Figures.

benchmark_scale.py has the rows about banks too large for one device, benchmark_model.py those about saved models.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate

import reference_m3dm
from common.errors import InputError
from common.machine import peak_memory_mib
from data.organised_clouds import valid_points
from feature_extractors.alignment import align
from feature_extractors.coreset import greedy_k_center, project
from feature_extractors.extraction import to_xyz_grid
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.nearest_rows import ROUNDING, RowSearch, distinct_rows
from lab.benchmark_shared import BANK, CATEGORY, TRAIN, Figure
from lab.make_demo import write_category
from lab.standin_checkpoints import RECIPES
from m3dm_runner import M3DM, build_extractor, build_method
from runs.options import parse_arguments

BAGEL = 244  # training parts of bagel (MVTec 3D-AD), the category at which the release was killed


def extraction(bench):
    """Extraction of one sample, against the ViT alone and against the matrix products alone."""
    method = bench.method("--eval_mode")
    sample = next(bench.samples("train", bench.arguments()))
    rgb = sample[0].to(bench.device)
    with torch.no_grad():

        def vit():
            return method.deep_feature_extractor.forward_rgb_features(rgb)

        ours, expected = (
            method.extract(sample),
            reference_m3dm.extract(method, sample) if bench.device.type == "cpu" else None,
        )
        apart = (
            max(float((ours[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in ours)
            if expected
            else 0.0
        )
        vit(), phases(bench, method, sample)
        rounds = [phases(bench, method, sample) for _ in range(bench.rounds)]
        whole, alone, ratio = bench.compare(lambda: method.extract(sample), vit)
        stepwise = bench.seconds(lambda: reference_m3dm.extract(method, sample))[1] if expected else None
    print(
        tabulate(
            [(name, statistics.median(r[name] for r in rounds)) for name in rounds[0]],
            ["phase of the extraction", "seconds"],
            tablefmt="pipe",
            floatfmt=".3f",
        ),
        end="\n\n",
        flush=True,
    )
    work, rate = product_flop(method, sample), matmul_rate(bench)
    note = f"{whole:.2f} s, ViT {alone:.2f} s" + (
        f", step by step {stepwise:.2f} s; patches within {apart:.0e} of these" if expected else ""
    )
    return [
        Figure(
            "extraction of one sample / ViT-B/8 forward, eval mode",
            1 / ratio,
            "x",
            at_most=2.4,
            note=note,
            correct=apart < 1e-4,
        ),
        Figure(
            "extraction / time of its matrix products",
            whole / (work / rate),
            "x",
            at_most=1.3,
            note=f"{work / 1e9:.0f} GFLOP at {rate / 1e9:.0f} GFLOP/s",
        ),
    ]


def extraction_train(bench):
    """Extraction in train mode, as released."""
    method = bench.method()
    sample = next(bench.samples("train", bench.arguments()))
    rgb = sample[0].to(bench.device)
    with torch.no_grad():
        method.extract(sample)
        whole, alone, ratio = bench.compare(
            lambda: method.extract(sample), lambda: method.deep_feature_extractor.forward_rgb_features(rgb)
        )
    return [
        Figure(
            "the same in train mode, as released", 1 / ratio, "x", at_most=3.2, note=f"{whole:.2f} s, ViT {alone:.2f} s"
        )
    ]


def phases(bench, method, sample):
    """{phase: seconds} of ``Features.extract``, its phases run one after the other."""
    model, uff, seconds = method.deep_feature_extractor, method.fusion, {}
    transformer, xyz = model.xyz_backbone, sample[1][0]
    valid = valid_points(xyz)
    points = xyz.flatten(1).T[valid].to(bench.device)

    def phase(name, run):
        result, seconds[name] = bench.seconds(run)
        return result

    rgb = phase("ViT", lambda: model.forward_rgb_features(sample[0].to(bench.device))[0])
    sizes = [transformer.group_size]
    _, center, (neighbours,) = phase("sampling and grouping", lambda: transformer.group(points, sizes))
    tokens = phase("mini-PointNet", lambda: transformer.encoder(points[neighbours] - center[:, None]))
    tokens = phase("transformer blocks", lambda: transformer.transform(tokens, center))
    xyz = phase("alignment", lambda: align(tokens, center, points, valid.to(bench.device), xyz.shape[1]))
    phase("UFF", lambda: torch.cat([uff.xyz_branch(xyz), to_xyz_grid(uff.rgb_branch(rgb))], dim=1))
    return seconds


def product_flop(method, sample):
    """Floating-point operations of the matrix products that extracting one sample needs at least."""
    vit, transformer = method.deep_feature_extractor.rgb_backbone, method.deep_feature_extractor.xyz_backbone

    def blocks(tokens, width, depth):  # per token, in width²: qkv 3, projection 1, MLP 8; and q·k, attention·v
        return depth * (2 * tokens * 12 * width**2 + 4 * tokens**2 * width)

    conv1, conv2, conv3, conv4 = (
        seq[i].weight.shape[:2]
        for seq in (transformer.encoder.first_conv, transformer.encoder.second_conv)
        for i in (0, 3)
    )
    groups, points = transformer.num_group, transformer.num_group * transformer.group_size
    wide, f = conv3[0], conv2[0]
    a_point = (
        conv1[0] * conv1[1] + conv2[0] * conv2[1] + conv1[0] * wide + wide * conv4[0]
    )  # third product: conv2 and the half of conv3 that acts on each point, multiplied out to one matrix
    rows = len(distinct_rows(method.extract(sample)["xyz"])[0])
    fusion = method.fusion
    return (
        blocks(785, vit.embed_dim, len(vit.blocks))
        + 2 * 784 * vit.embed_dim * 3 * 64
        + blocks(groups, 384, len(transformer.blocks.blocks))
        + 2 * points * a_point
        + 2 * groups * wide * f
        + 2 * rows * 2 * fusion.xyz_mlp.fc1.weight.numel()
        + 2 * 784 * 2 * fusion.rgb_mlp.fc1.weight.numel()
    )


def matmul_rate(bench):
    """Floating-point operations per second of a float32 product of 3136×1152 and 1152×4608, best of 5."""
    a, b = torch.randn(3136, 1152, device=bench.device), torch.randn(1152, 4608, device=bench.device)
    return 2 * 3136 * 1152 * 4608 / min(bench.seconds(lambda: a @ b)[1] for _ in range(5))


def k_center(bench):
    """Greedy k-centre against the plain implementation."""
    generator = np.random.Generator(np.random.PCG64(3))
    count, width = 60000, 300
    rows = generator.standard_normal((count, 20), np.float32) @ generator.standard_normal((20, width), np.float32)
    rows = torch.from_numpy(rows + np.float32(0.1) * generator.standard_normal((count, width), np.float32))
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


def nearest_on(bench, patches, rows, what, **target):
    """Nearest rows on the benchmark's device, against ``plain.nearest_rows``: one matrix product and the minimum."""
    patches, rows = patches.to(bench.device), rows.to(bench.device)
    search, building = bench.seconds(lambda: RowSearch(rows))
    ours, theirs, ratio = bench.compare(
        lambda: search.nearest(patches), lambda: reference_m3dm.nearest_rows(patches, rows)
    )
    (distance, index), (expected, at) = search.nearest(patches), reference_m3dm.nearest_rows(patches, rows)
    noise = ROUNDING * ((patches**2).sum(1) + (rows**2).sum(1).max())  # rounding of a squared distance, float32
    apart = ((distance**2 - expected**2).abs() / noise).max()
    same = float((index == at).float().mean())
    note = (
        f"{ours:.2f} s, plain {theirs:.2f} s, made ready in {building:.1f} s once per bank; "
        f"{same:.2%} of the indices equal"
    )
    value, unit = (ratio, "times faster") if "at_least" in target else (1 / ratio, "of the plain time")
    return Figure(
        f"nearest rows, {len(patches)} x {len(rows)} x {rows.shape[1]}, {what}",
        value,
        unit,
        **target,
        note=note,
        correct=float(apart) <= 1,
    )


def nearest_random(bench):
    """Nearest rows of random data, where the bounds save nothing."""
    generator = torch.Generator().manual_seed(0)
    rows, patches = (torch.randn(count, 1152, generator=generator) for count in (BANK, 3136))
    return [nearest_on(bench, patches, rows, "random data", at_most=1.05)]


def large_bank(bench):
    """One part against a bank of 150,000 random rows, and the time that re-weighting its score adds."""
    generator = torch.Generator().manual_seed(0)
    rows, patches = (torch.randn(count, 1152, generator=generator) for count in (150_000, 3136))
    bank = MemoryBank()
    bank.add(rows, 0)
    bank.gather()
    bank.finish(bench.device)
    patches = patches.to(bench.device)
    figure = nearest_on(bench, patches, rows, "one part, structureless data", at_most=1.05)
    searched = statistics.median(bench.seconds(lambda: bank.search.nearest(patches))[1] for _ in range(bench.rounds))
    measured = statistics.median(bench.seconds(lambda: bank.measure(patches))[1] for _ in range(bench.rounds))
    return [
        figure,
        Figure(
            "re-weighting and scaling, share of the search",
            max(0, measured / searched - 1),
            "",
            at_most=0.03,
            note=f"measured {measured:.2f} s, searched {searched:.2f} s",
        ),
    ]


def nearest_features(bench):
    """Nearest rows of a generated part's patches in a bank of coreset rows."""
    parts = 80
    args = bench.arguments(
        "--eval_mode",
        "--method_name",
        "Point_MAE",
        "--memory_bank",
        "single",
        "--dataset_path",
        str(bench.folder / "more"),
    )
    write_category(bench.folder / "more", CATEGORY, (224, 224), parts, 1, 0, 0)
    method = build_method(args, build_extractor(args))
    rows = torch.cat([method.extract(sample)["xyz"].cpu() for sample in bench.samples("train", args)])
    rows = rows[distinct_rows(rows)[0]]
    mean, std = rows.mean(), rows.std()
    rows = (rows - mean) / std
    if len(rows) > BANK:
        rows = rows[greedy_k_center(project([rows], *rows.shape, args.coreset_eps, 0), BANK)]
    patches = (method.extract(next(bench.samples("test", args)))["xyz"].cpu() - mean) / std
    return [nearest_on(bench, patches, rows, "generated parts", at_least=3)]


def full_setting(bench, mode, target):
    """One whole category, fit and evaluation, against the plain implementation."""
    args = bench.arguments("--category", CATEGORY, *mode)
    runner = M3DM(args)

    def ours():
        runner.fit(CATEGORY)
        runner.evaluate(CATEGORY)

    seconds = bench.seconds(ours)[1]
    method = bench.method(*mode)  # a new one, so that its random numbers start from the beginning
    (scores, _), theirs = bench.seconds(
        lambda: reference_m3dm.full_setting(
            method, lambda: bench.samples("train", args), lambda: bench.samples("test", args)
        )
    )
    apart = float(np.abs(np.ravel(runner.method.image_preds) / scores - 1).max())
    name = "eval" if mode else "train"
    return [
        Figure(
            f"full setting, {TRAIN} training and {len(scores)} test parts, {name} mode, against the plain "
            f"implementation",
            theirs / seconds,
            "times faster",
            at_least=target,
            note=f"{seconds:.0f} s, plain {theirs:.0f} s (1 round); image scores within {apart:.1%}",
            correct=apart < 0.03,
        )
    ]


def memory(bench):
    """Peak memory from the first patch to finished banks, with as many parts as bagel, in a separate process."""
    flags = [
        "--eval_mode",
        "--fusion_module_path",
        str(bench.checkpoints / RECIPES["uff"].file),
        "--checkpoint_dir",
        str(bench.checkpoints),
        "--spool_dir",
        str(bench.folder),
    ]
    code = f"from lab.benchmark_rows import build_banks; build_banks({flags!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"the memory row failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        Figure(
            f"peak memory, {BAGEL} training parts of generated features, first patch to finished banks",
            found["peak_gib"],
            "GiB",
            at_most=6,
            note=f"{found['spooled_gib']:.1f} GiB spooled; coreset {found['coreset']:.0f} s; banks {found['banks']}",
        )
    ]


def build_banks(flags):
    """Fill and finish the full setting's banks with BAGEL generated parts; prints this process's peak memory as
    JSON."""
    args = parse_arguments(["--use_uff", "--device", "cpu", *flags])
    method = build_method(args, build_extractor(args))
    generator = torch.Generator().manual_seed(0)
    widths = {"rgb": 768, "xyz": 1152, "fusion": 1920}
    mixing = {name: torch.randn(20, width, generator=generator) for name, width in widths.items()}

    def rows(name, count):
        return torch.randn(count, 20, generator=generator) @ mixing[name] + 0.1 * torch.randn(
            count, widths[name], generator=generator
        )

    def extract(_):
        patches = {"rgb": rows("rgb", 784), "xyz": rows("xyz", 3136), "fusion": rows("fusion", 3136)}
        patches["xyz"][:1200] = 0  # background
        return patches

    method.extract = extract
    method.reserve(BAGEL)
    for _ in range(BAGEL):
        method.add_sample_to_mem_bank(None, class_name="bagel")
    spooled = sum(len(bank.store) * bank.store.width * 4 for bank in method.banks.values())
    start = time.perf_counter()
    method.run_coreset()
    print(
        json.dumps(
            {
                "peak_gib": peak_memory_mib() / 1024,
                "spooled_gib": spooled / 2**30,
                "coreset": time.perf_counter() - start,
                "banks": {name: list(bank.rows.shape) for name, bank in method.banks.items()},
            }
        )
    )


def fit_cost(bench):
    """Seconds of ``fit`` for growing numbers of training parts, in eval mode."""
    figures, parts = [], (8, 16, 32, 64)
    write_category(bench.folder / "grow", CATEGORY, (224, 224), parts[-1], 1, 0, 0)
    for count in parts:
        runner = M3DM(
            bench.arguments(
                "--eval_mode",
                "--dataset_path",
                str(bench.folder / "grow"),
                "--fix",
                "max_sample",
                "--max_sample",
                str(count),
            )
        )
        runner.fit(CATEGORY)
        seconds = {name: s for name, s in runner.timings.items() if name != "load networks"}
        total, coreset = sum(seconds.values()), seconds["coreset"]
        figures.append(
            Figure(
                f"fit with {count} training parts",
                total,
                "s",
                note=f"coreset {coreset / total:.0%}; the rest {(total - coreset) / count:.2f} s a part",
            )
        )
    return figures
