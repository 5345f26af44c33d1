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


def share(text: str) -> float:
    """argparse type: a share above 0 and at most 1, as 0.01 or 1%."""
    digits = text.strip().removesuffix("%")
    try:
        value = float(digits) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: has to be a share above 0, such as 0.01 or 1%")
    return value
