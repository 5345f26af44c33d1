"""Progress of long loops, and notes; --quiet switches both off."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from common.signals import raise_if_stopping

T = TypeVar("T")
SECONDS = 60  # between two lines, if the output is no terminal
_quiet = False


@contextlib.contextmanager
def quietly(wanted: bool = True) -> Iterator[None]:
    """Switch progress and notes off (``wanted``) or on in this process while the block runs."""
    global _quiet
    before, _quiet = _quiet, wanted
    try:
        yield
    finally:
        _quiet = before


def is_quiet() -> bool:
    """Whether progress and notes are off."""
    return _quiet


def note(text: str, file: TextIO | None = None) -> None:
    """Print to ``file`` (default: standard output) what a user may like to know but has not asked for."""
    if not _quiet:
        print(text, file=file, flush=True)


def track(items: Iterable[T], total: int, label: str, unit: str = "part") -> Iterator[T]:
    """Yield ``items``, of which ``total`` will come, and show the progress: a bar on a terminal, elsewhere a line per
    minute. ``label``: what is being done, such as "bagel: memory bank"; ``unit``: what one item is called."""
    from tqdm import tqdm  # imported here, so that --help answers at once

    terminal = sys.stderr.isatty()
    begun = shown = time.monotonic()
    bar = tqdm(items, desc=label, total=total, unit=unit, disable=_quiet or not terminal)
    for done, item in enumerate(bar, 1):
        raise_if_stopping()
        yield item
        now = time.monotonic()
        if not terminal and not _quiet and now - shown >= SECONDS:
            shown, per_item = now, (now - begun) / done
            print(
                f"{label}: {done} of {total} {unit}s, {per_item:.3g} s per {unit}, about "
                f"{duration(per_item * (total - done))} left",
                file=sys.stderr,
                flush=True,
            )


def duration(seconds: float) -> str:
    """A duration as people write it, such as "2 h 05 min", "7 min" or "30 s"."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
