"""Training of UFF, the fusion module: from files of patch pairs to checkpoints in the released layout.

An optimiser step takes ``accum_iter`` batches, an epoch's last one what is left. Only the order of the files is random,
and it follows from (seed, epoch): a training that resumes ends where an uninterrupted one does."""

import argparse
import hashlib
import logging
import math
import re
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from common.devices import choose_device
from common.errors import InputError
from common.files import atomic_path, check_writable
from common.progress import note, track
from models.checkpoints import UFF, read_file
from models.feature_fusion import FeatureFusionBlock
from uff_training.matching_loss import matching_loss
from uff_training.patch_pairs import find_pair_files, load_pairs
from uff_training.training_plan import epoch_order, learning_rate, plan

NOT_RECORDED = ("device", "quiet", "resume", "overwrite", "local_rank")  # options that a checkpoint does not name
NO_EFFECT = ("num_workers", "save_every", "data_path", "output_dir")  # these may differ when a training resumes
BETAS = 0.9, 0.95
TOLD = {  # of the order of a file's RGB patches
    "unknown": "the order of its RGB patches cannot be told; pairs are taken as they stand",
    "released": "RGB patches are in released order; they are matched to their xyz patches again",
}


class Point(NamedTuple):
    """One optimiser step: mean loss, share of the RGB patches whose best xyz patch in the batch is their own."""

    loss: float
    accuracy: float


class Training:
    """One training, with the ``options`` of fusion_pretrain.py; ``resume`` continues the last checkpoint.
    Raises InputError: the files, the output folder or the checkpoint cannot be used. Nothing was changed."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.output_dir = options, Path(options.output_dir)
        self.device = choose_device(options.device)
        self.folder = find_pair_files(options.data_path, options.xyz_dim)
        found = checkpoints_in(self.output_dir)
        check_writable(self.output_dir)
        if found and not options.resume and not options.overwrite:
            raise InputError(
                f"{found[max(found)]}: a training has been here; --resume goes on with it, --overwrite starts anew "
                "and deletes its checkpoints, or choose another --output_dir"
            )
        if options.resume and not found:
            raise InputError(f"{self.output_dir}: no checkpoint-<epoch>.pth to go on from; leave out --resume")
        self.args = {name: value for name, value in vars(options).items() if name not in NOT_RECORDED}
        self.args.update(xyz_dim=self.folder.xyz_dim, rgb_dim=self.folder.rgb_dim, files=len(self.folder.paths))
        listed = "\n".join(f"{path.name} {path.stat().st_size}" for path in self.folder.paths)
        self.args["files_sha256"] = hashlib.sha256(listed.encode()).hexdigest()
        # as without these options of earlier versions
        self.args.update(processes=1, warmup_steps=None, pair_order="matching", background="any_zero")
        self.plan = plan(len(self.folder.paths), options)
        torch.manual_seed(options.seed)
        self.model = FeatureFusionBlock(self.folder.xyz_dim, self.folder.rgb_dim).to(self.device)
        weights = self.model.parameters()
        self.optimizer = torch.optim.AdamW(weights, options.lr, BETAS, weight_decay=options.weight_decay)
        self.mixed = options.precision == "mixed" or (options.precision == "auto" and self.device.type == "cuda")
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.mixed and self.device.type == "cuda")
        self.steps, self.epoch = 0, 0
        self._noted: set[object] = set()
        if options.resume:
            self._resume(found[max(found)])
        elif options.overwrite:
            for path in found.values():
                path.unlink()

    # ------------------------------------------------------------ checkpoints

    def checkpoint_path(self, epoch: int) -> Path:
        """Path of an epoch's checkpoint, with the released name."""
        return self.output_dir / f"checkpoint-{epoch}.pth"

    def save(self) -> Path:
        """Write the checkpoint of the epoch that is done; returns its path."""
        # a disabled scaler has an empty state, and an active scaler such as the release's refuses to load it
        scaler = self.scaler if self.scaler.is_enabled() else torch.amp.GradScaler("cpu")
        content = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "scaler": scaler.state_dict(),
            "args": {**self.args, "steps_done": self.steps},  # plain values: torch.load(weights_only=True)
        }
        with atomic_path(self.checkpoint_path(self.epoch)) as temporary:
            torch.save(content, temporary)
        return self.checkpoint_path(self.epoch)

    def _resume(self, path):
        """Go on after the epoch of a checkpoint, which has to be of this training."""
        content = read_file(path, UFF)
        args = content.get("args") if isinstance(content, dict) else None
        known = vars(args) if isinstance(args, argparse.Namespace) else args  # version 0.9 wrote a Namespace
        if not isinstance(known, dict) or "steps_done" not in known:
            raise InputError(
                f"{path}: no training of this program can go on from it (no count of steps); start anew without "
                "--resume"
            )
        for name, now in self.args.items():
            if name not in NO_EFFECT and known.get(name) != now:
                what = "files or their sizes" if name == "files_sha256" else f"{name} {known.get(name)}, now {now}"
                raise InputError(
                    f"{path}: was trained with other {what}; give the same options and files, or start anew without "
                    "--resume"
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

    def run(self) -> tuple[Path, Point | None]:
        """Train to the end and write the checkpoints: (the last one, the last step). InputError, which names the step
        and the file: a file is damaged, or the loss is not finite."""
        last = None
        path = self.checkpoint_path(self.epoch - 1)
        while self.steps < self.plan.steps:
            begun, first = time.perf_counter(), self.steps
            label = f"UFF: epoch {self.epoch + 1} of {self.plan.epochs}"
            coming = min(self.plan.steps_per_epoch, self.plan.steps - first)
            for last in track(self._epoch(), coming, label, "step"):
                pass
            assert last is not None  # an epoch has a step
            if self.steps >= self.plan.steps or (self.epoch + 1) % self.options.save_every == 0:
                path = self.save()
            seconds = (time.perf_counter() - begun) / (self.steps - first)
            note(
                f"epoch {self.epoch + 1}/{self.plan.epochs}, step {self.steps}/{self.plan.steps}: loss "
                f"{last.loss:.4f}, {last.accuracy:.1%} of pairs matched, {seconds:.2g} s per step"
            )
            self.epoch += 1
        return path, last

    def _epoch(self) -> Generator[Point, None, None]:
        """Train one epoch; yields a Point per optimiser step."""
        options = self.options
        batches = epoch_order(len(self.folder.paths), self.epoch, self.plan, options)
        batches = batches[: (self.plan.steps - self.steps) * options.accum_iter]
        with ThreadPoolExecutor(max(1, options.num_workers)) as pool:
            for start in range(0, len(batches), options.accum_iter):
                group = batches[start : start + options.accum_iter]
                yield self._step((self._read(pool, numbers) for numbers in group), len(group))

    def _read(self, pool, numbers):
        """[Pairs] of a batch's files, read by the threads of ``pool``; each kind of warning is given once."""
        try:
            parts = list(pool.map(lambda number: load_pairs(self.folder.paths[number], self.folder.xyz_dim), numbers))
        except InputError as error:
            raise InputError(f"{error} (stopped at step {self.steps}, epoch {self.epoch})") from None
        for part in parts:
            if not len(part.xyz):
                told = "no usable patches (every xyz patch holds a zero); it teaches nothing"
                self._warn_once(part.path, f"{part.path}: {told}")
            if part.order in TOLD:
                self._warn_once(part.order, f"{part.path}: {TOLD[part.order]}, here and in all such files")
        return parts

    def _warn_once(self, key, message):
        if key not in self._noted:
            logging.warning(message)
        self._noted.add(key)

    def _step(self, batches, count):
        """One optimiser step over ``count`` batches, each a list of Pairs; returns its Point."""
        rate = learning_rate(self.steps, self.plan, self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        done = [self._batch(parts, count) for parts in batches]
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        if not self.scaler.is_enabled() and not all(gradient.isfinite().all() for gradient in gradients):
            raise InputError(
                f"gradients are not finite at step {self.steps} (epoch {self.epoch}); "
                "the last checkpoint is still good: lower --lr, or --precision float32"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        loss, hits, pairs = (sum(values) for values in zip(*done))
        return Point(loss / count, hits / pairs)

    def _batch(self, parts, count):
        """Gradients of one batch; returns its loss, hits and number of pairs."""
        xyz, rgb = (torch.cat([getattr(part, name) for part in parts]).to(self.device) for name in ("xyz", "rgb"))
        where = f"step {self.steps} (epoch {self.epoch})"
        if not len(xyz):
            raise InputError(f"no usable patches at {where} in {_names(parts)}: every xyz patch holds a zero")
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, enabled=self.mixed, dtype=half):
            queries, keys = self.model.match(xyz, rgb)
        loss, hits = matching_loss(queries.float(), keys.float())
        if not math.isfinite(loss.item()):
            bad = [part for part in parts if not (part.xyz.square().sum() + part.rgb.square().sum()).isfinite()]
            raise InputError(
                f"the loss is not a finite number at {where}, in {_names(bad or parts)}; "
                "the last checkpoint is still good: lower --lr or mend the file"
            )
        self.scaler.scale(loss / count).backward()
        return loss.item(), hits, len(queries)


def _names(parts):
    names = [str(part.path) for part in parts]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def checkpoints_in(folder: str | Path) -> dict[int, Path]:
    """{epoch: path} of the checkpoints in a folder, found by their released names."""
    paths = list(Path(folder).glob("checkpoint-*.pth"))
    return {int(path.stem[11:]): path for path in paths if re.fullmatch(r"checkpoint-\d+", path.stem)}
