"""Benchmark rows about banks too large for one device: shards and partitions, see docs/scale.md.

A place is what holds shards. All places are on the one device of the run, so they work one after the other. The time of
N devices side by side is computed: the slowest place of every exchange, plus the time between exchanges.
"""

import os
import statistics
import time
from typing import NamedTuple

import numpy as np
import torch

from common.errors import InputError
from feature_extractors.coreset import greedy_k_center
from feature_extractors.nearest_rows import RowSearch
from feature_extractors.row_store import RowStore
from feature_extractors.shards import Actors, Devices, ShardedSearch, partitioned_k_center, sharded_k_center
from lab.benchmark_shared import BANK, Figure

SIZES, WIDTH, SHARE = (60_000, 300_000), 300, 10  # rows; columns; rows per coreset pick
SHARDS, PARTITIONS = 4, (2, 4, 8)
SEARCHED_AT_ONCE = 20_000  # rows, when the radius is measured
COMPARED = 20_000  # rows, when the rate of comparisons is measured
RATES_AT = (60_000, 150_000, 300_000)
SPOOLED = 70  # parts of xyz patches: 1 GB


class Cost(NamedTuple):
    """Total seconds, seconds if the places worked side by side, number of exchanges, bytes sent and received."""

    seconds: float
    side_by_side: float
    exchanges: int
    sent: int
    received: int


class TimedDevices(Devices):
    """Devices that add up the time and bytes of each exchange."""

    def __init__(self, count, device):
        super().__init__(count, device)
        self.busy, self.slowest, self.sent, self.received = 0.0, 0.0, 0, 0

    def each(self, name, jobs):
        answers, times = [], []
        for number, job in enumerate(jobs):
            start = time.perf_counter()
            answers += _one(self._places[number % len(self)], name, job)
            if self.home.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        self.exchanges += 1
        self.busy += sum(times)
        self.slowest += max(times)
        self.sent += bytes_of(jobs)
        self.received += bytes_of(answers)
        return answers

    def cost(self, seconds):
        """The Cost of a run that took ``seconds``."""
        return Cost(seconds, seconds - self.busy + self.slowest, self.exchanges, self.sent, self.received)


def _one(place, name, job):
    return [getattr(place, name)(*job)]


def bytes_of(value):
    """Bytes of the tensors within ``value``."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(bytes_of, value)) if isinstance(value, (tuple, list)) else 0


def projected_rows(count):
    """[count, WIDTH] float32 rows that resemble a bank's after the random projection: 20 directions plus noise."""
    generator = np.random.Generator(np.random.PCG64(3))
    rows = generator.standard_normal((count, 20), np.float32) @ generator.standard_normal((20, WIDTH), np.float32)
    return torch.from_numpy(rows + np.float32(0.1) * generator.standard_normal((count, WIDTH), np.float32))


def radius(rows, picks):
    """The largest distance of a row to its nearest pick."""
    search = RowSearch(rows[picks])
    return max(float(search.nearest(some).distance.max()) for some in rows.split(SEARCHED_AT_ONCE))


def shards(bench):
    """Greedy k-centre and nearest rows over several shards, against a single place."""
    figures = []
    for count in SIZES:
        rows = projected_rows(count)
        expected, one = bench.seconds(lambda: greedy_k_center(rows, count // SHARE, bench.device))
        places = TimedDevices(SHARDS, bench.device)
        picks, seconds = bench.seconds(lambda: sharded_k_center(rows, count // SHARE, places))
        cost = places.cost(seconds)
        figures.append(
            Figure(
                f"greedy k-centre, {count} x {WIDTH} to {count // SHARE}, over {SHARDS} shards on one "
                f"device / one place",
                seconds / one,
                "x",
                at_most=2,
                correct=torch.equal(picks, expected),
                note=f"{seconds:.1f} s, one place {one:.1f} s (1 round); {SHARDS} devices side by side "
                f"{cost.side_by_side:.1f} s; {cost.exchanges} exchanges, {cost.sent / 1e6:.0f} MB sent "
                f"(rows among them), "
                f"{cost.received / 1e6:.0f} MB received",
            )
        )
    generator = torch.Generator().manual_seed(0)
    rows, patches = (torch.randn(count, 1152, generator=generator) for count in (BANK, 3136))
    one, several = RowSearch(rows.to(bench.device)), ShardedSearch(rows, Devices(SHARDS, bench.device))
    patches = patches.to(bench.device)
    ours, theirs, ratio = bench.compare(lambda: several.nearest(patches), lambda: one.nearest(patches))
    found, expected = several.nearest(patches), one.nearest(patches)
    same = float((found.index == expected.index).float().mean())
    figures.append(
        Figure(
            f"nearest rows, 3136 x {BANK} x 1152, random data, over {SHARDS} shards on one device / one place",
            1 / ratio,
            "x",
            at_most=1.1,
            correct=same > 0.999,
            note=f"{ours:.2f} s, one place {theirs:.2f} s; {same:.2%} of the indices equal",
        )
    )
    return figures


def rates(bench):
    """The rates that docs/scale.md computes with: picks, comparisons, spool, exchanges with Ray actors."""
    figures = []
    for count in RATES_AT:
        rows = projected_rows(count)
        seconds = busy_seconds(bench, lambda: greedy_k_center(rows, count // SHARE, bench.device))
        figures.append(
            Figure(
                f"greedy k-centre, {count} x {WIDTH} to {count // SHARE}",
                seconds,
                "s",
                note="all threads' seconds together" if bench.device.type == "cpu" else "",
            )
        )
    patches = torch.randn(3136, 1152)
    rows = torch.randn(COMPARED, 1152)
    search = RowSearch(rows.to(bench.device), bounded=False)
    on_device = patches.to(bench.device)
    seconds = busy_seconds(bench, lambda: search.nearest(on_device))
    figures.append(
        Figure(
            "nearest rows without structure, 1152 columns",
            3136 * COMPARED / seconds / 1e6,
            "million comparisons a second",
        )
    )
    store = RowStore(bench.folder)
    start = time.perf_counter()
    for _ in range(SPOOLED):
        store.append(patches)
    os.fsync(store._file.fileno())
    written = time.perf_counter() - start
    start = time.perf_counter()
    for number in range(SPOOLED):
        store.part(number)
    size = SPOOLED * bytes_of(patches) / 1e6
    figures += [
        Figure("spool, written and synced", size / written, "MB/s"),
        Figure(
            "spool, read again",
            size / (time.perf_counter() - start),
            "MB/s",
            note=f"{size / 1e3:.1f} GB, so soon after that they may come from memory",
        ),
    ]
    store.close()
    try:
        actors = Actors(2, "cpu")
    except InputError as error:
        print(error)
        return figures
    search = ShardedSearch(torch.randn(200, 1152), actors)
    small = statistics.median(bench.seconds(lambda: search.from_vector(patches[0]))[1] for _ in range(20))
    large = statistics.median(bench.seconds(lambda: search.raw_each(patches, (None,)))[1] for _ in range(20))
    return figures + [
        Figure("an exchange with two Ray actors of this machine, a row", 1000 * small, "ms"),
        Figure(
            "the same, a part's 14 MB of xyz patches", 1000 * large, "ms", note="with the search among 100 rows each"
        ),
    ]


def busy_seconds(bench, run):
    """Seconds that ``run()`` takes: on the CPU its processor time, whatever else the machine does; else wall time."""
    before = time.process_time()
    seconds = bench.seconds(run)[1]
    return time.process_time() - before if bench.device.type == "cpu" else seconds


def partitions(bench):
    """Greedy k-centre in partitions, against all rows at once: radius and speed."""
    figures = []
    for count in SIZES:
        rows = projected_rows(count)
        expected, one = bench.seconds(lambda: greedy_k_center(rows, count // SHARE, bench.device))
        exact = radius(rows, expected)
        for parts in PARTITIONS:
            places = TimedDevices(1, bench.device)
            picks, seconds = bench.seconds(lambda: partitioned_k_center(rows, count // SHARE, parts, places))
            cost = places.cost(seconds)
            wider = radius(rows, picks) / exact
            figures.append(
                Figure(
                    f"coreset of {count} x {WIDTH} in {parts} parts / of all rows at once: radius",
                    wider,
                    "x",
                    at_most=4,
                    note=f"{seconds:.1f} s, all at once {one:.1f} s (1 round), {one / seconds:.2f} times as fast; "
                    f"{parts} devices side by side {cost.side_by_side:.1f} s, {one / cost.side_by_side:.2f} times",
                )
            )
    return figures
