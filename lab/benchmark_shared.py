"""Shared by all benchmark rows: the Figure that a row returns, and the Bench with generated parts and a clock."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from common.devices import choose_device
from dataset import get_data_loader
from lab.make_demo import write_category
from lab.standin_checkpoints import RECIPES, write_checkpoints
from m3dm_runner import build_extractor, build_method
from runs.options import parse_arguments

TOLERANCE = 0.05
TRAIN, GOOD, DEFECTIVE = 16, 6, 2  # parts of the generated category; three kinds of defect
BANK = 76000  # rows: about the xyz bank of bagel (244 training parts) at --f_coreset 0.1
CATEGORY = "foam"


class Figure(NamedTuple):
    """One line of the table: what was measured, its value and unit, and its target: ``at_most`` or ``at_least``.
    Both are None where the value is only shown."""

    what: str
    value: float
    unit: str
    at_most: float = None
    at_least: float = None
    note: str = ""
    correct: bool = True  # the results agree with the plain implementation's

    @property
    def verdict(self):
        """The text "met", "met within 5 %", "missed" or "WRONG RESULT"; "" where there is no target."""
        if not self.correct:
            return "WRONG RESULT"
        if self.at_most is None and self.at_least is None:
            return ""
        excess = self.value / self.at_most if self.at_most is not None else self.at_least / self.value
        return "met" if excess <= 1 else "met within 5 %" if excess <= 1 + TOLERANCE else "missed"

    @property
    def target(self):
        return "" if not self.verdict else f"<= {self.at_most}" if self.at_most is not None else f">= {self.at_least}"


class Bench:
    """Options, generated parts and networks that all rows use.

    Args:
        folder: temporary folder for data and, if none are given, checkpoints.
        checkpoint_dir: folder of checkpoints, or None for stand-ins.
        device, rounds: as given on the command line.
    """

    def __init__(self, folder, checkpoint_dir, device, rounds):
        self.folder, self.device, self.rounds = Path(folder), choose_device(device), rounds
        self.checkpoints = Path(checkpoint_dir or self.folder / "checkpoints")
        if checkpoint_dir is None:
            write_checkpoints(self.checkpoints, ["dino", "point_mae", "uff"], 0)
        write_category(self.folder / "data", CATEGORY, (224, 224), TRAIN, GOOD, DEFECTIVE, 0)

    def arguments(self, *flags):
        """Parsed options of the full setting on the generated parts, with ``flags`` added."""
        return parse_arguments(
            [
                "--use_uff",
                "--fusion_module_path",
                str(self.checkpoints / RECIPES["uff"].file),
                "--checkpoint_dir",
                str(self.checkpoints),
                "--dataset_path",
                str(self.folder / "data"),
                "--random_state",
                "0",
                "--output_dir",
                str(self.folder / "results"),
                "--device",
                self.device.type,
                *flags,
            ]
        )

    def method(self, *flags):
        """A method object with empty banks."""
        args = self.arguments(*flags)
        return build_method(args, build_extractor(args))

    def samples(self, split, args):
        """Yield the samples of a split."""
        for item in get_data_loader(split, CATEGORY, args.img_size, args):
            yield item[0]

    def seconds(self, run):
        """(result, seconds) of ``run()``, waiting for the device."""
        start = time.perf_counter()
        result = run()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return result, time.perf_counter() - start

    def compare(self, ours, theirs):
        """(median seconds of ``ours()``, of ``theirs()``, median over the rounds of theirs / ours); the two are timed
        in turn."""
        times = [(self.seconds(ours)[1], self.seconds(theirs)[1]) for _ in range(self.rounds)]
        return (*(statistics.median(column) for column in zip(*times)), statistics.median(t / o for o, t in times))
