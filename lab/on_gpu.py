"""What a GPU has to show, in at most ten minutes: the same results as the CPU, and how fast.

    python lab/on_gpu.py                    # on a machine with a GPU; writes on_gpu.md
    python lab/on_gpu.py --device cpu       # tries the script itself, with small sizes

Each check runs on both devices and compares. Parts are generated, and the weights are untrained stand-ins, which take
as long as real ones. A check that no longer fits into --minutes is left out, and the page says so. Exit code 1: a
result differs, or a check failed or was left out.
"""

import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, run_command
from common.devices import choose_device
from common.files import atomic_write_text, check_writable
from common.progress import note
from feature_extractors.coreset import greedy_k_center, radius
from feature_extractors.nearest_rows import RowSearch
from lab.benchmark import DEFECTS, KIND, Bench
from lab.side_by_side import CPU, in_turn, rows_near_a_plane, table
from m3dm_runner import M3DM

FEATURES, MIXED, SCORES = 1e-3, 0.05, 0.02  # largest relative differences allowed: patches, with --amp, image scores


class Sizes(NamedTuple):
    """How much is measured: training parts, good test parts, rows of a bank, rows that a coreset is picked from."""

    train: int
    good: int
    bank: int
    rows: int


FULL, TRIAL = Sizes(12, 4, 76_000, 60_000), Sizes(2, 1, 4_000, 4_000)


def both(place, what, work, same, rounds=3):
    """The Row of ``work(device)`` on the device beside the CPU; the smallest of ``rounds`` calls counts."""
    return in_turn(what, "the CPU", lambda: work(place.device), lambda: work(CPU), rounds, place.device, same)


def extraction(place, sizes):
    """A part's patches, in full and in mixed precision."""
    for flags, allowed in (((), FEATURES), (("--amp",), MIXED)):
        methods = {d: place.method("--eval_mode", "--device", d, *flags) for d in {place.device.type, "cpu"}}
        sample = next(place.samples("train", place.arguments("--device", "cpu")))

        def close(ours, theirs):
            apart = {n: float((ours[n].cpu() - theirs[n]).norm() / theirs[n].norm()) for n in theirs}
            text = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
            return f"relative difference {text}; at most {allowed}", max(apart.values()) <= allowed

        what = f"extraction of a part{' with --amp' if flags else ''}"
        yield both(place, what, lambda device: methods[device.type].extract(sample), close)


def banks(place, sizes):
    """The coreset, and the search in a bank."""
    some, bank = rows_near_a_plane(sizes.rows, 270, seed=1), rows_near_a_plane(sizes.bank, 1152, seed=2)
    patches = bank[:: max(1, len(bank) // 3136)][:3136] + 0.05
    searches = {d: RowSearch(bank.to(d)) for d in {place.device.type, "cpu"}}

    def same_radius(ours, theirs):
        ratio = radius(some, ours) / radius(some, theirs)
        equal = (ours == theirs).float().mean()
        return f"{equal:.1%} of the picks equal, radius ratio {ratio:.6f}", abs(ratio - 1) < 1e-4

    def same_rows(ours, theirs):
        equal, apart = (ours[1] == theirs[1]).float().mean(), (ours[0] - theirs[0]).abs().max()
        return f"{equal:.2%} of the rows equal, distances within {apart:.1e}", bool(equal > 0.999 and apart < 0.05)

    what = f"coreset, {len(some):,} rows of 270 columns to {len(some) // 10:,}"
    yield both(place, what, lambda device: greedy_k_center(some, len(some) // 10, device), same_radius, 2)
    yield both(
        place,
        f"nearest of {len(bank):,} rows, 3136 patches, 1152 columns",
        lambda device: tuple(of.cpu() for of in searches[device.type].nearest(patches.to(device))),
        same_rows,
    )


def category(place, sizes):
    """The full setting on one category: fit and evaluation."""

    def work(device):
        runner = M3DM(place.arguments("--eval_mode", "--device", device.type))
        runner.fit(KIND)
        runner.evaluate(KIND)
        return runner.evaluation

    def same_scores(ours, theirs):
        apart = float(np.abs(ours.decision_score / theirs.decision_score - 1).max())
        order = spearmanr(ours.decision_score, theirs.decision_score).statistic
        maps = np.linalg.norm(ours.decision_map - theirs.decision_map) / np.linalg.norm(theirs.decision_map)
        text = f"image scores within {apart:.2%}, their order {order:.3f} (Spearman), maps within {maps:.2%}"
        return text, apart <= SCORES and maps <= SCORES

    what = f"full setting, {sizes.train} training and {sizes.good + len(DEFECTS)} test parts"
    yield both(place, what, work, same_scores, rounds=1)


CHECKS = {"extraction": extraction, "banks": banks, "category": category}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all right, 1 something is not, 2 refused."""
    parser = Parser(prog="on_gpu.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    add_device(parser)
    parser.add_argument("--minutes", type=number(float, 0.1, 600), default=9.0, metavar="N", help="time for all checks")
    parser.add_argument("-o", "--output", default="on_gpu.md", metavar="FILE", help="the page")
    return run_command("on_gpu.py", parser.parse_args(argv), run_checks)


def run_checks(options):
    """Run the checks that fit into the time, and write the page after each; returns the exit code."""
    device, begun, rows, wrong = choose_device(options.device), time.monotonic(), [], []
    sizes = TRIAL if device.type == "cpu" else FULL
    check_writable(Path(options.output).resolve().parent)
    with tempfile.TemporaryDirectory(prefix="on-gpu-") as folder:
        place = Bench(folder, device, 1, sizes.train, sizes.good)
        for name, check in CHECKS.items():
            if time.monotonic() - begun > 60 * options.minutes:
                wrong.append(f"{name}: left out, the time was over")
            else:
                note(f"{name} ...")
                try:
                    rows += check(place, sizes)
                except Exception as error:  # one failed check must not lose the finished ones
                    traceback.print_exc()
                    wrong.append(f"{name}: failed: {type(error).__name__}: {error}".splitlines()[0])
            atomic_write_text(options.output, page(device, rows, wrong, time.monotonic() - begun))
    note(Path(options.output).read_text())
    return int(bool(wrong) or not all(row.fine for row in rows))


def page(device, rows, wrong, seconds):
    """The page, Markdown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type}"
    lead = (
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, {seconds:.0f} s in all. Of several calls "
        "the smallest time counts, on a GPU and the CPU beside it by the clock."
    )
    wrong = wrong + [f"WRONG: {row.what}" for row in rows if not row.right]
    return "\n".join([f"# On {name}", "", lead, "", table(rows), "", *(f"- {text}" for text in wrong)]).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
