"""How long the extraction of one sample takes, as a multiple of the ViT-B/8 forward alone, and where the time goes.

    python tools/benchmark.py --data demo/data --category cookie --checkpoint_dir demo/checkpoints
"""
import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataset import get_data_loader  # noqa: E402
from feature_extractors.alignment import align  # noqa: E402
from feature_extractors.coreset import greedy_k_center  # noqa: E402
from feature_extractors.features import to_xyz_grid  # noqa: E402
from feature_extractors.multiple_features import TripleFeatures  # noqa: E402
from m3dm_runner import choose_device  # noqa: E402
from tests import plain  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.mvtec3d_util import valid_points  # noqa: E402
from utils.options import parse_arguments  # noqa: E402

TARGET = 3.5


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", default="demo/data", help="folder of the categories")
    parser.add_argument("--category", default="cookie", help="its first training part is extracted")
    parser.add_argument("--checkpoint_dir", default="demo/checkpoints", help="checkpoints, uff_pretrain.pth among them")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--coreset", type=int, default=0, metavar="ROWS", help="also time greedy k-centre on ROWS generated rows of 300 columns, a tenth "
                        "of them picked, against a plain loop (60000: about two minutes)")
    parser.add_argument("--repeats", type=int, default=9, help="rounds; each times the ViT and the extraction in turn")
    options = parser.parse_args(argv)
    args = parse_arguments(["--use_uff", "--fusion_module_path", f"{options.checkpoint_dir}/uff_pretrain.pth", "--checkpoint_dir",
                            options.checkpoint_dir, "--dataset_path", options.data, "--eval_mode", "--num_workers", "0"])
    try:
        sample = next(iter(get_data_loader("train", options.category, args.img_size, args)))[0]
        method = TripleFeatures(args, choose_device(options.device))
    except InputError as error:
        print(f"benchmark.py: {error}", file=sys.stderr)
        return 2
    ratio, rows = measure(method, sample, options.repeats)
    print(f"{torch.get_num_threads()} threads, device {method.device}, eval mode, median of {options.repeats} rounds")
    print(tabulate(rows, ["phase", "seconds", "share of the extraction", "multiple of the ViT"], tablefmt="pipe", floatfmt=("", ".3f", ".1%", ".2f")))
    print(f"extraction / ViT-B/8 forward: {ratio:.2f} (median of the rounds' ratios; target: at most {TARGET})")
    if options.coreset:
        print(compare_k_center(options.coreset))
    return 0 if ratio <= TARGET else 1


def compare_k_center(count):
    """One line: greedy k-centre of ``count`` rows against the plain loop of tests/plain.py, on the CPU."""
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(count, 20, generator=generator) @ torch.randn(20, 300, generator=generator) + 0.1 * torch.randn(count, 300, generator=generator)
    seconds, picks = {}, {}
    for name, run in (("ours", greedy_k_center), ("plain", plain.k_center)):
        start = time.perf_counter()
        picks[name] = run(rows, count // 10)
        seconds[name] = time.perf_counter() - start
    same = float((picks["ours"] == picks["plain"]).float().mean())
    return (f"greedy k-centre, {count} rows of 300 to {count // 10}: {seconds['ours']:.1f} s, plain loop {seconds['plain']:.1f} s, "
            f"{seconds['plain'] / seconds['ours']:.1f} times faster, {same:.1%} of the positions equal")


def measure(method, sample, repeats):
    """(median of the rounds' extraction/ViT ratios, table rows (phase, seconds, share, multiple of the ViT))."""
    rounds, whole, alone = [], [], []
    rgb = sample[0].to(method.device)
    with torch.no_grad():
        for i in range(repeats + 1):
            alone.append(timed(method, lambda: method.deep_feature_extractor.forward_rgb_features(rgb))[1])
            whole.append(timed(method, lambda: method.extract(sample))[1])
            rounds.append(phases(method, sample))
    del rounds[0], whole[0], alone[0]  # warm-up
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    vit, total = statistics.median(alone), sum(medians.values())
    rows = [(name, seconds, seconds / total, seconds / vit) for name, seconds in medians.items()]
    rows += [("all phases", total, 1.0, total / vit), ("extraction, one call", statistics.median(whole), None, statistics.median(whole) / vit),
             ("ViT alone", vit, None, 1.0)]
    return statistics.median(w / a for w, a in zip(whole, alone)), rows


def phases(method, sample):
    """Seconds of each phase of ``Features.extract``, run one after the other."""
    model, uff, seconds = method.deep_feature_extractor, method.fusion, {}
    transformer, xyz = model.xyz_backbone, sample[1][0]
    valid = valid_points(xyz)
    points = xyz.flatten(1).T[valid].to(method.device)

    def phase(name, run):
        result, seconds[name] = timed(method, run)
        return result

    rgb = phase("ViT", lambda: model.forward_rgb_features(sample[0].to(method.device))[0])
    _, center, neighbours = phase("sampling and grouping", lambda: transformer.group(points))
    tokens = phase("mini-PointNet", lambda: transformer.encoder(points[neighbours] - center[:, None]))
    tokens = phase("transformer blocks", lambda: transformer.transform(tokens, center))
    xyz = phase("alignment", lambda: align(tokens, center, points, valid.to(method.device), xyz.shape[1]))
    phase("UFF", lambda: torch.cat([uff.xyz_branch(xyz), to_xyz_grid(uff.rgb_branch(rgb))], dim=1))
    return seconds


def timed(method, run):
    """(result, seconds) of ``run()``, waiting for the device."""
    start = time.perf_counter()
    result = run()
    if method.device.type == "cuda":
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
