"""argparse types for command-line values."""

import argparse
import math

from common.errors import InputError


def number(kind=float, low=-math.inf, high=math.inf, open_low=False):
    """argparse type: a finite ``kind`` in [low, high]; with ``open_low`` in (low, high]."""

    def parse(text):
        value = kind(text)
        if (kind is float and not math.isfinite(value)) or not low <= value <= high or (open_low and value == low):
            bounds = f"{'more than' if open_low else 'at least'} {low}" if high == math.inf else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text}: has to be {'finite' if low == -math.inf else bounds}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"
    return parse


def calibration(text):
    """argparse type of --calibration: "validation", "none", or a share of the training parts."""
    from data.calibration_parts import calibration_choice

    try:
        return calibration_choice(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: has to be validation, none, or a share of the training parts as 0.2"
        ) from None


def unit(text):
    """argparse type of --unit: m, cm, mm, um, or the metres of one count."""
    from data.units import unit_from

    try:
        unit_from(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
