"""Training on several processes: what torchrun says of this one, and what the processes tell each other.

``torchrun`` sets RANK, WORLD_SIZE and LOCAL_RANK; without them there is one process and nothing is sent.
"""

import contextlib
import hashlib
import os
from typing import NamedTuple

import torch
import torch.distributed as dist

from utils.errors import InputError


class StoppedTogether(InputError):
    """What ``Processes.together`` raises, in all processes at the same place."""


class Processes(NamedTuple):
    """This process among all of a training: its number, how many there are, its number on this host, its device."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")

    @property
    def first(self):
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, tensor):
        """``tensor`` summed over the processes, in place; every process gets the same."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor):
        """Replace ``tensor`` by the first process's."""
        if self.world > 1:
            dist.broadcast(tensor, 0)

    def gather_rows(self, rows):
        """The rows of all processes, in the processes' order.

        Args:
            rows: [R, C]; R may differ between processes.

        Returns:
            (all rows [sum of R, C], number of the first of this process's rows).
        """
        if self.world == 1:
            return rows, 0
        counts = torch.zeros(self.world, dtype=torch.long, device=rows.device)
        counts[self.rank] = len(rows)
        counts = self.sum(counts).tolist()
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts)]), sum(counts[: self.rank])

    @contextlib.contextmanager
    def together(self):
        """What one process refuses in the block, all refuse; so none waits for one that has stopped.

        Nothing may be sent between processes in the block.
        """
        refused = None
        try:
            yield
        except InputError as error:
            refused = error
        count = self.sum(torch.tensor(int(refused is not None), device=self.device))
        if refused is not None:
            raise StoppedTogether(refused) from None
        if count:
            raise StoppedTogether(f"process {self.rank} stopped because another one did; that one's line says why")

    def agree_on(self, text):
        """Whether all processes have the same ``text``."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        theirs = torch.zeros(self.world, dtype=torch.long, device=self.device)
        theirs[self.rank] = digest
        return len(set(self.sum(theirs).tolist())) == 1


ALONE = Processes()


def start(device="auto", backend="auto"):
    """Join the other processes, if torchrun started several.

    Args:
        device: auto, cpu, cuda or mps; auto is CUDA where there is one, else MPS (one process), else the CPU.
        backend: auto, gloo or nccl; auto is nccl on CUDA, else gloo.

    Returns:
        Processes.

    Raises:
        InputError: the device or the back end is not there, or is not enough for the processes of this host.
    """
    told = os.environ
    processes = Processes(int(told.get("RANK", 0)), int(told.get("WORLD_SIZE", 1)), int(told.get("LOCAL_RANK", 0)))
    device = _choose_device(device, processes)
    if processes.world > 1:
        if backend == "auto":
            backend = "nccl" if device.type == "cuda" else "gloo"
        if backend == "nccl" and (device.type != "cuda" or not dist.is_nccl_available()):
            raise InputError(f"--backend nccl needs CUDA devices, this process is on {device.type}; use --backend gloo")
        dist.init_process_group(backend)
    return processes._replace(device=device)


def wait():
    """Wait for the other processes, all of which have to call this."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def stop():
    """Leave the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _choose_device(name, processes):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and processes.world == 1 and torch.backends.mps.is_available():
            name = "mps"
    if name == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps: this machine has none; use --device cpu")
    if name != "cuda":
        return torch.device(name)
    if not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device; use --device cpu")
    if processes.local_rank >= torch.cuda.device_count():
        raise InputError(
            f"process {processes.local_rank} of this host has no GPU of its own, there are "
            f"{torch.cuda.device_count()}; give torchrun a smaller --nproc_per_node"
        )
    torch.cuda.set_device(processes.local_rank)
    return torch.device("cuda", processes.local_rank)
