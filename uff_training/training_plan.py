"""The plan of a training: settings, number of steps, learning rate of each step, files of each batch."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional

import torch

from common.errors import InputError
from uff_training.processes import Processes


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the defaults are the release's.

    Attributes:
        batch_size: parts per batch and process.
        accum_iter: batches per optimiser step.
        lr, min_lr: learning rate after warm-up and at the end.
        epochs: passes over the files.
        steps: optimiser steps, instead of ``epochs``.
        warmup_epochs: epochs of linear warm-up.
        warmup_steps: steps of linear warm-up, instead of ``warmup_epochs``; with ``steps`` the default is a third.
        weight_decay: of AdamW.
        negatives: where the contrastive loss takes negative pairs from: "gathered", all processes; "own", the same
            process.
        pair_order, background: see :func:`uff_training.patch_pairs.load_pairs`.
        precision: "float32", "mixed" (float16 on CUDA, bfloat16 on the CPU) or "auto": mixed on CUDA, else float32.
        seed: of the weights and the order of the files.
        num_workers: number of threads that read files.
        save_every: epochs between two checkpoints; the last epoch is always saved.
    """

    batch_size: int = 16
    accum_iter: int = 16
    lr: float = 0.003
    min_lr: float = 0.0
    epochs: int = 3
    steps: Optional[int] = None
    warmup_epochs: float = 1.0
    warmup_steps: Optional[int] = None
    weight_decay: float = 0.01
    negatives: str = "gathered"
    pair_order: str = "matching"
    background: str = "any_zero"
    precision: str = "auto"
    seed: int = 0
    num_workers: int = 1
    save_every: int = 1


class Plan(NamedTuple):
    """The numbers of batches, steps and epochs, computed from the settings and the number of files."""

    batches: int  # per epoch, of batch_size parts on each process
    steps_per_epoch: int
    steps: int
    warmup: int
    epochs: int


def plan(files: int, settings: TrainingSettings, world: int = 1) -> Plan:
    """The Plan for a number of ``files`` and ``world`` processes.

    Raises:
        InputError: too few files for one batch.
    """
    parts = settings.batch_size * world
    batches = files // parts
    if not batches:
        each = f"{world} processes × " if world > 1 else ""
        raise InputError(
            f"{files} file{'s' * (files != 1)} for batches of {each}{settings.batch_size}: not one is "
            f"full; give --batch_size {max(1, files // world)} or less"
        )
    per_epoch = math.ceil(batches / settings.accum_iter)
    steps = settings.steps or settings.epochs * per_epoch
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = round(settings.steps / 3) if settings.steps else round(settings.warmup_epochs * per_epoch)
    return Plan(batches, per_epoch, steps, min(warmup, steps), math.ceil(steps / per_epoch))


def learning_rate(step: int, planned: Plan, settings: TrainingSettings) -> float:
    """Learning rate of an optimiser step (from 0): linear up to ``lr`` in warm-up, then half a cosine to ``min_lr``."""
    if step < planned.warmup:
        return settings.lr * ((step + 1) / planned.warmup)
    done = (step - planned.warmup) / max(1, planned.steps - planned.warmup)
    return settings.min_lr + (settings.lr - settings.min_lr) * (1 + math.cos(math.pi * done)) / 2


def epoch_order(
    files: int, epoch: int, settings: TrainingSettings, planned: Plan, processes: Processes
) -> list[list[int]]:
    """[batches][batch_size]: numbers of the files that this process reads in an epoch, batch by batch.

    Every process takes each ``world``-th file of a shared random order. So the batches of all processes together equal
    the batch of one process with ``world`` times the batch size. The last incomplete batch is dropped.
    """
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = torch.randperm(files, generator=generator)[: planned.batches * settings.batch_size * processes.world]
    return order.reshape(planned.batches, -1)[:, processes.rank :: processes.world].tolist()
