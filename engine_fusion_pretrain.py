"""Training of UFF, the fusion module: from files of patch pairs to checkpoints in the released layout.

An optimiser step takes ``accum_iter`` batches. An epoch's last step takes the batches that are left, so a small folder
trains too. After the start, only the order of the files is random, and it follows from (seed, epoch). So a training
that resumes from a checkpoint ends where an uninterrupted one does.
"""

import argparse
import contextlib
import logging
import math
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from common.errors import InputError
from common.files import atomic_path
from models.checkpoints import UFF, read_file
from models.feature_fusion import FeatureFusionBlock
from uff_training.loss_curve import LossCurve, Point
from uff_training.matching_loss import matching_loss
from uff_training.patch_pairs import PairFolder, load_pairs
from uff_training.processes import ALONE, Processes
from uff_training.training_plan import TrainingSettings, epoch_order, learning_rate, plan

NO_EFFECT = ("num_workers", "save_every")  # settings that may differ when a training resumes
BYTES_PER_WEIGHT = 12  # in a checkpoint: the weight and AdamW's two moments
BETAS = 0.9, 0.95
SECONDS_PER_PICTURE = 10  # between plots of the loss curve: drawing takes longer than a small folder's epoch


class Trained(NamedTuple):
    """Result: the last checkpoint, the number of optimiser steps, loss and matching accuracy of the last step."""

    checkpoint: Path
    steps: int
    loss: float
    accuracy: float


class _Batch(NamedTuple):
    loss: float
    hits: float
    pairs: float


def read_ahead(read: Callable[[Any], Any], items: Iterable[Any], threads: int) -> Generator[Any, None, None]:
    """Yield ``read(item)`` of each item in order; at most ``threads`` items are read ahead, which bounds the memory."""
    if not threads:
        yield from map(read, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Any] = deque()
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Training:
    """One training: the fusion module, its optimiser, and the steps and epochs done.

    Args:
        folder: PairFolder from :func:`uff_training.patch_pairs.find_pair_files`.
        settings: TrainingSettings.
        output_dir: folder for checkpoints and the loss curve.
        processes: from :func:`uff_training.processes.start`.
        recorded: further entries for ``args`` in the checkpoints.

    Raises:
        InputError: there are too few files, the processes see different files, or the checkpoints do not fit on the
            disk.
    """

    def __init__(
        self,
        folder: PairFolder,
        settings: TrainingSettings,
        output_dir: str | Path,
        processes: Processes = ALONE,
        recorded: dict[str, str] | None = None,
    ):
        self.folder, self.settings, self.output_dir, self.processes = folder, settings, Path(output_dir), processes
        self.device = processes.device
        self.args = {
            **(recorded or {}),
            **asdict(settings),
            "xyz_dim": folder.xyz_dim,
            "rgb_dim": folder.rgb_dim,
            "files": len(folder.paths),
            "files_sha256": folder.digest(),
            "processes": processes.world,
        }
        if not processes.agree_on(self.args["files_sha256"]):
            raise InputError("the processes see different files; give every host the same folder of patch pairs")
        self.plan = plan(len(folder.paths), settings, processes.world)
        torch.manual_seed(settings.seed)
        self.model = FeatureFusionBlock(folder.xyz_dim, folder.rgb_dim).to(self.device)
        for parameter in self.model.parameters():
            processes.broadcast(parameter.data)
        weights = self.model.parameters()
        self.optimizer = torch.optim.AdamW(weights, settings.lr, BETAS, weight_decay=settings.weight_decay)
        self.mixed = settings.precision == "mixed" or (settings.precision == "auto" and self.device.type == "cuda")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.mixed and self.device.type == "cuda")
        self.steps, self.epoch = 0, 0
        self._noted: set[object] = set()
        with processes.together():
            if processes.first:
                self._require_space()

    def _require_space(self):
        weights = sum(p.numel() for p in self.model.parameters())
        saved = math.ceil(self.plan.epochs / self.settings.save_every)
        needed, free = saved * weights * BYTES_PER_WEIGHT, shutil.disk_usage(self.output_dir).free
        if needed > free:
            raise InputError(
                f"{self.output_dir}: {saved} checkpoints take {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free; give a larger --save_every or another --output_dir"
            )

    # ------------------------------------------------------------ checkpoints

    def checkpoint_path(self, epoch: int) -> Path:
        """Path of an epoch's checkpoint, with the released name."""
        return self.output_dir / f"checkpoint-{epoch}.pth"

    def save(self) -> Path:
        """Write the checkpoint of the epoch that is done; returns its path."""
        # a disabled scaler has an empty state, and an active scaler such as the release's refuses to load it
        scaler = self.scaler if self.scaler.is_enabled() else torch.amp.GradScaler("cpu")
        with atomic_path(self.checkpoint_path(self.epoch)) as temporary:
            torch.save(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "epoch": self.epoch,
                    "scaler": scaler.state_dict(),
                    "args": {**self.args, "steps_done": self.steps},  # plain values: torch.load(weights_only=True)
                },
                temporary,
            )
        return self.checkpoint_path(self.epoch)

    def resume(self, path: str | Path) -> None:
        """Resume after the epoch of the checkpoint at ``path``.

        Raises:
            InputError: the checkpoint is not of this training: its layout, settings or files differ.
        """
        with self.processes.together():
            self._resume(path)

    def _resume(self, path):
        content = read_file(path, UFF)
        args = content.get("args") if isinstance(content, dict) else None
        known = vars(args) if isinstance(args, argparse.Namespace) else args  # version 0.9 wrote a Namespace
        known = known if isinstance(known, dict) else {}
        if "steps_done" not in known:
            raise InputError(
                f"{path}: no training of this program can go on from it (no count of steps); "
                "start anew without --resume"
            )
        for name in (*asdict(self.settings), "xyz_dim", "rgb_dim", "files", "files_sha256", "processes"):
            if name not in NO_EFFECT and known.get(name) != self.args[name]:
                what = f"{name} {known.get(name)}, now {self.args[name]}"
                what = "files or their sizes" if name == "files_sha256" else what
                raise InputError(
                    f"{path}: was trained with other {what}; give the same options and files, "
                    "or start anew without --resume"
                )
        try:
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(content["scaler"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: does not fit this training ({reason}); start anew without --resume") from None
        self.steps, self.epoch = known["steps_done"], content["epoch"] + 1

    # ------------------------------------------------------------ the loop

    def run(self, quiet: bool = False) -> Trained:
        """Train to the end; the first process writes the checkpoints and, in each epoch, the loss curve.

        Args:
            quiet: show no progress on the screen.

        Returns:
            Trained.

        Raises:
            InputError: a file is damaged, or the loss is not finite; the message names the step and the file.
        """
        shown = self.processes.first and not quiet
        curve = LossCurve(self.output_dir, self.steps) if self.processes.first else None
        bar = tqdm(total=self.plan.steps, initial=self.steps, unit="step", desc="UFF", disable=None if shown else True)
        point = curve.points[-1] if curve and curve.points else None
        path = self.checkpoint_path(self.epoch - 1)
        with contextlib.closing(bar), contextlib.closing(curve) if curve else contextlib.nullcontext():
            while self.steps < self.plan.steps:
                begun, first = time.perf_counter(), self.steps
                for point in self._epoch():
                    if curve:
                        curve.add(point)
                    bar.set_postfix(loss=f"{point.loss:.4f}", matched=f"{point.accuracy:.1%}", refresh=False)
                    bar.update()
                last = self.steps >= self.plan.steps
                if self.processes.first and (last or (self.epoch + 1) % self.settings.save_every == 0):
                    path = self.save()
                if curve:
                    curve.draw(SECONDS_PER_PICTURE)
                if shown and point:
                    seconds = (time.perf_counter() - begun) / (self.steps - first)
                    bar.write(
                        f"epoch {self.epoch + 1}/{self.plan.epochs}, step {self.steps}/{self.plan.steps}: "
                        f"loss {point.loss:.4f}, {point.accuracy:.1%} of pairs matched, {seconds:.2g} s per step"
                    )
                self.epoch += 1
        return Trained(path, self.steps, point.loss if point else math.nan, point.accuracy if point else math.nan)

    def _epoch(self) -> Generator[Point, None, None]:
        """Train one epoch; yields a Point per optimiser step."""
        settings = self.settings
        batches = epoch_order(len(self.folder.paths), self.epoch, settings, self.plan, self.processes)
        batches = batches[: (self.plan.steps - self.steps) * settings.accum_iter]
        parts = read_ahead(self._read, [number for batch in batches for number in batch], settings.num_workers)
        with contextlib.closing(parts):
            for start in range(0, len(batches), settings.accum_iter):
                count = len(batches[start : start + settings.accum_iter])
                yield self._step((self._next_batch(parts) for _ in range(count)), count)

    def _read(self, number):
        settings = self.settings
        return load_pairs(self.folder.paths[number], self.folder.xyz_dim, settings.pair_order, settings.background)

    def _next_batch(self, parts):
        with self.processes.together():
            return [self._next(parts) for _ in range(self.settings.batch_size)]

    def _next(self, parts):
        """The next file's pairs; each kind of warning about them is given once."""
        try:
            pairs = next(parts)
        except InputError as error:
            raise InputError(f"{error} (stopped at step {self.steps}, epoch {self.epoch})") from None
        wanted, name = self.settings.pair_order, pairs.path
        if not len(pairs.xyz):
            self._warn_once(name, f"{name}: no usable patches (every xyz patch holds a zero); it teaches nothing")
        if pairs.order == "unknown":
            self._warn_once(
                "unknown",
                f"{name}: the order of its RGB patches cannot be told; pairs are taken as they "
                "stand, here and in all such files",
            )
        elif pairs.order != wanted:
            told = "matched to their xyz patches again" if wanted == "matching" else "scrambled as the release does"
            self._warn_once(
                "order", f"{name}: RGB patches are in {pairs.order} order; they are {told}, here and in all such files"
            )
        return pairs

    def _warn_once(self, key, message):
        if self.processes.first and key not in self._noted:
            logging.warning(message)
        self._noted.add(key)

    def _step(self, batches, count):
        """One optimiser step over ``count`` batches, each a list of Pairs; returns its Point."""
        rate = learning_rate(self.steps, self.plan, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        done = [self._batch(parts, count) for parts in batches]
        self._share_gradients()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        loss, hits, pairs = (sum(values) for values in zip(*done))
        return Point(self.epoch, self.steps - 1, rate, loss / count, hits / pairs, pairs / count)

    def _batch(self, parts, count):
        """Loss and gradients of one batch."""
        xyz, rgb = (torch.cat([getattr(part, name) for part in parts]).to(self.device) for name in ("xyz", "rgb"))
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, enabled=self.mixed, dtype=half):
            queries, keys = self.model.match(xyz, rgb)
        gathered = self.settings.negatives == "gathered"
        matching = matching_loss(queries.float(), keys.float(), self.processes, gathered)
        share = torch.tensor([matching.loss.item(), matching.hits, matching.rows], device=self.device)
        batch = _Batch(*self.processes.sum(share).tolist())
        where = f"step {self.steps} (epoch {self.epoch})"
        if not math.isfinite(batch.loss):
            raise InputError(
                f"the loss is not a finite number at {where}: {self._culprit(parts)}; "
                "the last checkpoint is still good: lower --lr or mend the file"
            )
        if not batch.pairs:
            raise InputError(
                f"no usable patches at {where} in {_names(parts)}: every xyz patch holds a zero; "
                "for histograms such as FPFH give --background all_zero"
            )
        self.scaler.scale(matching.loss / count).backward()
        return batch

    @torch.no_grad()
    def _culprit(self, parts):
        """Text for the error message: the files whose embeddings are not finite, or the weights if all files are so."""
        bad = []
        for part in parts:
            embedded = self.model.match(part.xyz.to(self.device), part.rgb.to(self.device))
            if not all(half.isfinite().all() for half in embedded):
                bad.append(part)
        if bad and (len(bad) < len(parts) or len(parts) == 1):
            return f"embeddings of {_names(bad)} are not finite"
        return f"{'the weights have diverged' if bad else 'loss too large'}, files of the batch: {_names(parts)}"

    def _share_gradients(self):
        """Sum the gradients over the processes; without a gradient scaler, also check that they are finite."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if self.processes.world > 1:
            joined = self.processes.sum(torch.cat([gradient.flatten() for gradient in gradients]))
            for gradient, part in zip(gradients, joined.split([g.numel() for g in gradients])):
                gradient.copy_(part.view_as(gradient))
        if not self.scaler.is_enabled() and not all(gradient.isfinite().all() for gradient in gradients):
            raise InputError(
                f"gradients are not finite at step {self.steps} (epoch {self.epoch}); "
                "the last checkpoint is still good: lower --lr, or --precision float32"
            )


def _names(parts):
    names = [str(part.path) for part in parts]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def checkpoints_in(folder: str | Path) -> dict[int, Path]:
    """{epoch: path} of the checkpoints in a folder, found by their released names."""
    paths = list(Path(folder).glob("checkpoint-*.pth"))
    return {int(path.stem[11:]): path for path in paths if re.fullmatch(r"checkpoint-\d+", path.stem)}
