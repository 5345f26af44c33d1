"""Two steps that give the same, measured in turn: one row of a table, with its goal and whether the results agree."""

import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from common.progress import note

CPU = torch.device("cpu")
TOLERANCE = 0.05  # a ratio that misses its goal by less is said to meet it within 5 %


class Row(NamedTuple):
    """Our step beside another one; seconds. ``at_least``: the goal of ``ratio``; ``right``: the results agree."""

    what: str
    beside: str
    ours: float
    theirs: float | None = None
    at_least: float | None = None
    note: str = ""
    right: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times as long the other step takes; None where there is none."""
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def verdict(self) -> str:
        """ "met", "met within 5 %", "missed" or "WRONG RESULT"; "" where there is no goal."""
        if not self.right:
            return "WRONG RESULT"
        if self.at_least is None:
            return ""
        short = self.at_least / self.ratio
        return "met" if short <= 1 else "met within 5 %" if short <= 1 + TOLERANCE else "missed"

    @property
    def fine(self) -> bool:
        """Whether the results agree and the goal is met."""
        return self.verdict not in ("missed", "WRONG RESULT")


def measure(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """(result, seconds) of ``work()``: on the CPU processor time, which other programs do not lengthen; on a GPU by
    the clock, until it has finished."""
    clock, wait = time.process_time, lambda: None
    if device.type == "cuda":
        clock, wait = time.perf_counter, torch.cuda.synchronize
    wait()
    start = clock()
    result = work()
    wait()
    return result, clock() - start


def in_turn(what, beside, ours, theirs, rounds, device=CPU, same=None, at_least=None) -> Row:
    """The Row of ``ours()`` and ``theirs()``, which take turns ``rounds`` times; of each the smallest time counts.
    ``same``: function of both results that returns (text, whether they agree); None: they are not compared."""
    times, results = [], ()
    for _ in range(rounds):
        results, seconds = zip(*(measure(work, device) for work in (ours, theirs)))
        times.append(seconds)
    return Row(what, beside, *map(min, zip(*times)), at_least, *(same(*results) if same else ()))


def collect(name: str, step: Callable[[], Iterable[Row]], rows: list[Row], wrong: list[str]) -> None:
    """Add the rows that ``step()`` yields to ``rows``; where it fails, they stay and ``wrong`` gets a line."""
    note(f"{name} ...")
    try:
        rows.extend(step())
    except Exception as error:
        traceback.print_exc()
        wrong.append(f"{name} failed: {type(error).__name__}: {error}".splitlines()[0])


def table(rows: list[Row]) -> str:
    """A Markdown table of the rows."""
    header = ["step", "beside", "ours, s", "theirs, s", "theirs / ours", "goal", "", "note"]
    lines = [(r.what, r.beside, r.ours, r.theirs, r.ratio, r.at_least, r.verdict, r.note) for r in rows]
    return tabulate(lines, header, tablefmt="pipe", floatfmt=".3g", missingval="")


def rows_near_a_plane(count: int, width: int, seed: int = 0) -> Tensor:
    """[count, width] rows with 20 directions and noise, as features are."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randn(count, 20, generator=generator) @ torch.randn(20, width, generator=generator)
    return spread + 0.1 * torch.randn(count, width, generator=generator)
