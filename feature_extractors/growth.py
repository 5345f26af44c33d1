"""What bounds the time and memory of a fit as the training parts become more.

Without bounds, the coreset compares ever more rows with ever more picks, and the late fusion and the statistics of
``calibrated`` measure every part against a bank that grows with the parts: both grow with the square of the parts.
"""

from typing import Optional

import numpy as np

BYTES_A_NUMBER = 4
TABLES = 3  # the rows, the distinct rows and their short forms, which greedy k-centre holds at once
LEVELS = 3  # of chunks that ``coreset.k_center_by_chunks`` holds in part


def rows_to_keep(rows: int, share: float, max_rows: Optional[int] = None) -> int:
    """Number of rows that a bank keeps of ``rows``: the ``share`` of them, at most ``max_rows`` if that is given."""
    count = int(share * rows)
    return count if max_rows is None else min(count, max_rows)


def parts_to_measure(parts: int, most: Optional[int] = None) -> list[int]:
    """Numbers of the training parts that are measured for the late fusion and the statistics of ``calibrated``.

    All of them, or ``most`` that are spread evenly from the first to the last, since parts are often numbered in the
    order of their making. The same numbers each time.
    """
    if most is None or parts <= most:
        return list(range(parts))
    return np.unique(np.linspace(0, parts - 1, most).round().astype(int)).tolist()


def rows_at_once(max_memory: int, width: int, count: int) -> int:
    """The ``chunk`` of ``MemoryBank.thin_out`` that needs at most about ``max_memory`` bytes.

    At least twice ``count``, the rows to be kept, as a chunk has to be: less memory needs a smaller ``count``.

    Args:
        width: columns of the projected rows, ``coreset.projected_width``.
    """
    return max(2 * count, max_memory // ((TABLES + LEVELS) * BYTES_A_NUMBER * width))
