"""The plan of a training: number of steps, learning rate of each step, files of each batch.

``options`` are those of fusion_pretrain.py, whose --help says what each means.
"""

import math
from argparse import Namespace
from typing import NamedTuple

import torch

from common.errors import InputError


class Plan(NamedTuple):
    """The numbers of batches, steps and epochs, computed from the options and the number of files."""

    batches: int  # per epoch, of batch_size parts
    steps_per_epoch: int
    steps: int
    warmup: int
    epochs: int


def plan(files: int, options: Namespace) -> Plan:
    """The Plan for a number of ``files``. InputError: too few files for one batch."""
    batches = files // options.batch_size
    if not batches:
        raise InputError(
            f"{files} file{'s' * (files != 1)} for batches of {options.batch_size}: not one is full; give "
            f"--batch_size {max(1, files)} or less"
        )
    per_epoch = math.ceil(batches / options.accum_iter)
    steps = options.steps or options.epochs * per_epoch
    warmup = round(options.steps / 3) if options.steps else round(options.warmup_epochs * per_epoch)
    return Plan(batches, per_epoch, steps, min(warmup, steps), math.ceil(steps / per_epoch))


def learning_rate(step: int, planned: Plan, options: Namespace) -> float:
    """Learning rate of an optimiser step (from 0): linear up to ``lr`` in warm-up, then half a cosine to ``min_lr``."""
    if step < planned.warmup:
        return options.lr * ((step + 1) / planned.warmup)
    done = (step - planned.warmup) / max(1, planned.steps - planned.warmup)
    return options.min_lr + (options.lr - options.min_lr) * (1 + math.cos(math.pi * done)) / 2


def epoch_order(files: int, epoch: int, planned: Plan, options: Namespace) -> list[list[int]]:
    """[batches][batch_size]: numbers of the files that are read in an epoch, batch by batch, in an order that follows
    from seed and epoch. The last incomplete batch is dropped."""
    generator = torch.Generator().manual_seed(options.seed * 1_000_003 + epoch)
    order = torch.randperm(files, generator=generator)[: planned.batches * options.batch_size]
    return order.reshape(planned.batches, -1).tolist()
