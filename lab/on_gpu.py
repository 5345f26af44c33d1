"""What a GPU has to show, in at most ten minutes: the same results as the CPU, and how fast.

    python lab/on_gpu.py                    # on a machine with a GPU; writes on_gpu.md
    python lab/on_gpu.py --device cpu       # tries the script itself

Each check runs on both devices and compares. Parts are generated, and the weights are untrained stand-ins, which take
as long as real ones. A check that no longer fits into --minutes is left out, and the page says so. Exit code 1: a
result differs, or a check failed or was left out.
"""

import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from tabulate import tabulate

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, run_command
from common.devices import choose_device
from common.files import atomic_write_text, check_writable
from common.progress import note
from feature_extractors.alignment import align
from feature_extractors.coreset import greedy_k_center, radius
from feature_extractors.nearest_rows import RowSearch
from lab.benchmark import DEFECTS, KIND, Bench
from m3dm_runner import M3DM
from models.pointnet2_utils import farthest_point_sample

CPU = torch.device("cpu")
FEATURES, MIXED, SCORES = 1e-3, 0.05, 0.02  # largest relative differences allowed: patches, with --amp, image scores


class Sizes(NamedTuple):
    """How much is measured: training parts, good test parts, rows of a bank, rows that a coreset is picked from."""

    train: int
    good: int
    bank: int
    rows: int


FULL, TRIAL = Sizes(12, 4, 76_000, 60_000), Sizes(2, 1, 4_000, 4_000)


class Line(NamedTuple):
    """One line of the page; ``right`` is None where nothing is compared."""

    what: str
    seconds: float
    on_cpu: float
    compared: str
    right: bool


class Place(Bench):
    """Generated parts, stand-in weights, the device and a clock; ``sizes``: Sizes."""

    def __init__(self, folder, device, sizes):
        super().__init__(folder, None, device, 1, sizes.train, sizes.good)
        self.sizes = sizes

    def both(self, what, work, compare, rounds=5):
        """The Line of ``work(device)`` on the device and on the CPU; ``compare(ours, theirs)`` gives (text, right).
        On a GPU the smallest of ``rounds`` calls counts, after a first one that does not."""
        if self.device.type != "cpu" and rounds > 1:
            work(self.device)
        timed = [self.seconds(lambda: work(self.device)) for _ in range(rounds if self.device.type != "cpu" else 1)]
        theirs, on_cpu = self.seconds(lambda: work(CPU), CPU)
        return Line(what, min(seconds for _, seconds in timed), on_cpu, *compare(timed[-1][0], theirs))


def extraction(place):
    """A part's patches, in full and in mixed precision."""
    lines = []
    for flags, allowed in (((), FEATURES), (("--amp",), MIXED)):
        methods = {d: place.method("--eval_mode", "--device", d, *flags) for d in {place.device.type, "cpu"}}
        sample = next(place.samples("train", place.arguments("--device", "cpu")))

        def differences(ours, theirs, allowed=allowed):
            apart = {n: float((ours[n].cpu() - theirs[n]).norm() / theirs[n].norm()) for n in theirs}
            text = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
            return f"relative difference {text}; at most {allowed}", max(apart.values()) <= allowed

        lines.append(
            place.both(
                f"extraction of a part{' with --amp' if flags else ''}",
                lambda device, methods=methods: methods[device.type].extract(sample),
                differences,
            )
        )
    return lines


def small_steps(place):
    """Farthest points, and the alignment of tokens to the picture."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(20_000, 3, generator=generator) + 0.1
    valid, tokens = torch.arange(20_000), torch.randn(1024, 384, generator=generator)
    centres = farthest_point_sample(points, 1024)

    def aligned(device):
        moved = (t.to(device) for t in (tokens, points[centres], points, valid))
        return align(*moved, 224).cpu()

    return [
        place.both(
            "1024 farthest of 20,000 points",
            lambda device: farthest_point_sample(points.to(device), 1024).cpu(),
            lambda ours, theirs: (f"{(ours == theirs).float().mean():.1%} equal", bool((ours == theirs).all())),
        ),
        place.both(
            "alignment of 1024 tokens",
            aligned,
            lambda ours, theirs: (
                f"largest difference {(ours - theirs).abs().max():.1e}",
                torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5),
            ),
        ),
    ]


def banks(place):
    """The coreset, and the search in a bank."""
    generator = torch.Generator().manual_seed(1)

    def rows(count, width):
        spread = torch.randn(count, 20, generator=generator) @ torch.randn(20, width, generator=generator)
        return spread + 0.1 * torch.randn(count, width, generator=generator)

    some, bank = rows(place.sizes.rows, 270), rows(place.sizes.bank, 1152)
    patches = bank[:: max(1, len(bank) // 3136)][:3136] + 0.05
    searches = {d: RowSearch(bank.to(d)) for d in {place.device.type, "cpu"}}

    def same_radius(ours, theirs):
        ratio = radius(some, ours) / radius(some, theirs)
        return f"{(ours == theirs).float().mean():.1%} of the picks equal, radius ratio {ratio:.6f}", abs(
            ratio - 1
        ) < 1e-4

    def same_rows(ours, theirs):
        equal, apart = (ours[1] == theirs[1]).float().mean(), (ours[0] - theirs[0]).abs().max()
        return f"{equal:.2%} of the rows equal, distances within {apart:.1e}", bool(equal > 0.999 and apart < 0.05)

    def search(device):
        return tuple(of.cpu() for of in searches[device.type].nearest(patches.to(device)))

    return [
        place.both(
            f"coreset, {len(some):,} rows of 270 columns to {len(some) // 10:,}",
            lambda device: greedy_k_center(some, len(some) // 10, device),
            same_radius,
            rounds=2,
        ),
        place.both(f"nearest of {len(bank):,} rows, 3136 patches, 1152 columns", search, same_rows),
    ]


def category(place):
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

    what = f"full setting, {place.sizes.train} training and {place.sizes.good + len(DEFECTS)} test parts"
    return [place.both(what, work, same_scores, rounds=1)]


CHECKS: dict[str, Callable] = {
    "small steps": small_steps,
    "extraction": extraction,
    "banks": banks,
    "category": category,
}


def main(argv=None):
    """Run the command line. Returns the exit code: 0 all right, 1 something is not, 2 refused."""
    parser = Parser(prog="on_gpu.py", description=__doc__.splitlines()[0], formatter_class=HelpFormatter)
    add_device(parser)
    parser.add_argument("--minutes", type=number(float, 0.1, 600), default=9.0, metavar="N", help="time for all checks")
    parser.add_argument("--trial", action="store_true", help="small sizes; always with --device cpu")
    parser.add_argument("-o", "--output", default="on_gpu.md", metavar="FILE", help="the page")
    options = parser.parse_args(argv)
    return run_command("on_gpu.py", options, run_checks)


def run_checks(options):
    """Run the checks that fit into the time, and write the page after each; returns the exit code."""
    device, begun, lines, wrong = choose_device(options.device), time.monotonic(), [], []
    sizes = TRIAL if options.trial or device.type == "cpu" else FULL
    check_writable(Path(options.output).resolve().parent)
    with tempfile.TemporaryDirectory(prefix="on-gpu-") as folder:
        place = Place(folder, device, sizes)
        for name, check in CHECKS.items():
            if time.monotonic() - begun > 60 * options.minutes:
                wrong.append(f"{name}: left out, the time was over")
                continue
            note(f"{name} ...")
            try:
                lines += check(place)
            except Exception as error:  # one failed check must not lose the finished ones
                traceback.print_exc()
                wrong.append(
                    f"{name}: failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                )
            atomic_write_text(options.output, page(device, lines, wrong, time.monotonic() - begun))
    atomic_write_text(options.output, page(device, lines, wrong, time.monotonic() - begun))
    note(Path(options.output).read_text())
    return int(bool(wrong) or not all(line.right for line in lines))


def page(device, lines, wrong, seconds):
    """The page, Markdown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type}"
    table = tabulate(
        [(x.what, f"{x.seconds:.3g}", f"{x.on_cpu:.3g}", x.compared, "right" if x.right else "WRONG") for x in lines],
        ["what", f"seconds on {name}", "on the CPU", "compared", ""],
        tablefmt="pipe",
        disable_numparse=True,
    )
    lead = (
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, {seconds:.0f} s in all. The device's "
        "seconds are the smallest of several calls, the CPU's those of one call."
    )
    return "\n".join([f"# On {name}", "", lead, "", table, "", *(f"- {text}" for text in wrong)]).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
