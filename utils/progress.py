"""Progress of long loops: a bar on a terminal, a line a minute elsewhere (in a log file, say)."""
import sys
import time

from tqdm import tqdm

from utils.signals import raise_if_stopping

SECONDS = 60  # between two lines where the output is no terminal


def track(items, total, label, unit="part"):
    """Yield ``items`` and show how far they are.

    Args:
        items: iterable.
        total: number of items that will come.
        label: what is being done, such as "bagel: memory bank".
        unit: what an item is.
    """
    terminal = sys.stderr.isatty()
    begun = shown = time.monotonic()
    for done, item in enumerate(tqdm(items, desc=label, total=total, unit=unit, disable=not terminal), 1):
        raise_if_stopping()
        yield item
        now = time.monotonic()
        if not terminal and now - shown >= SECONDS:
            shown, per_item = now, (now - begun) / done
            print(
                f"{label}: {done} of {total} {unit}s, {per_item:.3g} s per {unit}, about "
                f"{duration(per_item * (total - done))} left",
                file=sys.stderr,
                flush=True,
            )


def duration(seconds):
    """Seconds as people say them."""
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else f"{minutes} min"
        if minutes
        else f"{seconds:.0f} s"
    )
