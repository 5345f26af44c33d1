"""What a GPU has to show, in at most ten minutes: the same results as the CPU, and how fast.

    python lab/on_gpu.py                    # on a machine with a GPU; writes on_gpu.md
    python lab/on_gpu.py --device cpu       # tries the script itself, with small sizes

Each check runs on both devices and compares. Parts are generated, and the weights are untrained stand-ins, which take
as long as real ones. A check that would begin after nine minutes is left out, and the page says so. Exit code 1: a
result differs, or a check failed or was left out.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.commands import Parser, add_device, run_command
from common.devices import choose_device
from common.files import atomic_write_text, check_writable
from feature_extractors.coreset import greedy_k_center, radius
from feature_extractors.nearest_rows import RowSearch
from lab.benchmark import KIND, Bench
from lab.side_by_side import CPU, collect, in_turn, rows_near_a_plane, table
from m3dm_runner import M3DM
from runs.options import parse_arguments

FEATURES, MIXED, SCORES = 1e-3, 0.05, 0.02  # largest relative differences allowed: patches, with --amp, image scores
SECONDS = 9 * 60  # in which a check may begin
FULL = 12, 4, 76_000  # training parts, good test parts, rows of a bank
TRIAL = 2, 1, 4_000  # the same on a CPU


def both(device, what, work, same, rounds=3):
    """The Row of ``work(device)`` beside ``work(CPU)``; the smallest of ``rounds`` calls counts."""
    return in_turn(what, "the CPU", lambda: work(device), lambda: work(CPU), rounds, device, same)


def extraction(bench, device, rows):
    """A part's patches, in full and in mixed precision."""
    sample = bench.sample()
    for flags, allowed in (((), FEATURES), (("--amp",), MIXED)):
        methods = {d: bench.method("--eval_mode", "--device", d, *flags) for d in {device.type, "cpu"}}

        def close(ours, theirs):
            apart = {n: float((ours[n].cpu() - theirs[n]).norm() / theirs[n].norm()) for n in theirs}
            text = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
            return f"relative difference {text}; at most {allowed}", max(apart.values()) <= allowed

        what = f"extraction of a part{' with --amp' if flags else ''}"
        yield both(device, what, lambda on: methods[on.type].extract(sample), close)


def banks(bench, device, rows):
    """The coreset, and the search in a bank."""
    some, bank = rows_near_a_plane(min(rows, 60_000), 270, seed=1), rows_near_a_plane(rows, 1152, seed=2)
    patches = bank[:: max(1, rows // 3136)][:3136] + 0.05
    searches = {d: RowSearch(bank.to(d)) for d in {device.type, "cpu"}}

    def same_radius(ours, theirs):
        ratio = radius(some, ours) / radius(some, theirs)
        equal = (ours == theirs).float().mean()
        return f"{equal:.1%} of the picks equal, radius ratio {ratio:.6f}", abs(ratio - 1) < 1e-4

    def same_rows(ours, theirs):
        equal, apart = (ours[1] == theirs[1]).float().mean(), (ours[0] - theirs[0]).abs().max()
        return f"{equal:.2%} of the rows equal, distances within {apart:.1e}", bool(equal > 0.999 and apart < 0.05)

    what = f"coreset, {len(some):,} rows of 270 columns to {len(some) // 10:,}"
    yield both(device, what, lambda on: greedy_k_center(some, len(some) // 10, on), same_radius, 2)
    yield both(
        device,
        f"nearest of {rows:,} rows, 3136 patches, 1152 columns",
        lambda on: tuple(of.cpu() for of in searches[on.type].nearest(patches.to(on))),
        same_rows,
    )


def category(bench, device, rows):
    """The full setting on one category: fit and evaluation."""

    def work(on):
        runner = M3DM(parse_arguments(bench.words("--eval_mode", "--device", on.type)))
        runner.fit(KIND)
        runner.evaluate(KIND)
        return runner.evaluation

    def same_scores(ours, theirs):
        apart = float(np.abs(ours.decision_score / theirs.decision_score - 1).max())
        order = spearmanr(ours.decision_score, theirs.decision_score).statistic
        maps = np.linalg.norm(ours.decision_map - theirs.decision_map) / np.linalg.norm(theirs.decision_map)
        text = f"image scores within {apart:.2%}, their order {order:.3f} (Spearman), maps within {maps:.2%}"
        return text, apart <= SCORES and maps <= SCORES

    yield both(device, "full setting: fit and evaluation of a category", work, same_scores, rounds=1)


CHECKS = {"extraction": extraction, "banks": banks, "category": category}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all right, 1 something is not, 2 refused."""
    parser = Parser(prog="on_gpu.py", description=__doc__.splitlines()[0])
    add_device(parser)
    parser.add_argument("-o", "--output", default="on_gpu.md", metavar="FILE", help="the page")
    return run_command("on_gpu.py", parser.parse_args(argv), run_checks)


def run_checks(options):
    """Run the checks, and write the page after each; returns the exit code."""
    device, begun, rows, wrong = choose_device(options.device), time.monotonic(), [], []
    train, good, bank = TRIAL if device.type == "cpu" else FULL
    check_writable(Path(options.output).resolve().parent)
    with tempfile.TemporaryDirectory(prefix="on-gpu-") as folder:
        bench = Bench(folder, 1, train, good)
        for name, check in CHECKS.items():
            if time.monotonic() - begun > SECONDS:
                wrong.append(f"{name}: left out, the time was over")
            else:
                collect(name, lambda: check(bench, device, bank), rows, wrong)
            text = page(device, rows, wrong, time.monotonic() - begun)
            atomic_write_text(options.output, text)
    print(text)
    return int(bool(wrong) or not all(row.fine for row in rows))


def page(device, rows, wrong, seconds):
    """The page, Markdown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type}"
    lead = (
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, {seconds:.0f} s in all. Of several calls "
        "the smallest time counts, on a GPU and the CPU beside it by the clock."
    )
    return "\n".join([f"# On {name}", "", lead, "", table(rows), "", *(f"- {text}" for text in wrong)]).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
