"""argparse types for command-line values."""

import argparse
import math
from collections.abc import Callable
from typing import Any


def number(
    kind: type[int] | type[float] = float, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> Callable[[str], Any]:
    """argparse type: a finite ``kind`` in [low, high]; with ``open_low`` in (low, high]."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if (kind is float and not math.isfinite(value)) or not low <= value <= high or (open_low and value == low):
            bounds = f"{'more than' if open_low else 'at least'} {low}" if high == math.inf else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text}: has to be {'finite' if low == -math.inf else bounds}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"
    return parse
