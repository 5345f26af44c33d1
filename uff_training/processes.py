"""Training in several processes started by torchrun: the number of this process, and the exchange between them.

``torchrun`` sets RANK, WORLD_SIZE and LOCAL_RANK. Without them there is a single process, which sends nothing.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist

from common.devices import choose_device
from common.errors import InputError


class StoppedTogether(InputError):
    """Raised by ``Processes.together`` in all processes at the same place."""


class Processes(NamedTuple):
    """This process in a training: its number, the number of processes, its number on this host, its device."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum ``tensor`` over the processes, in place; every process gets the same sum."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Overwrite ``tensor`` with the first process's values."""
        if self.world > 1:
            dist.broadcast(tensor, 0)

    def gather_rows(self, rows: torch.Tensor) -> tuple[torch.Tensor, int]:
        """The rows of all processes, in the processes' order.

        Args:
            rows: [R, C]; R may differ between processes.

        Returns:
            (all rows [sum of R, C], position of this process's first row among them).
        """
        if self.world == 1:
            return rows, 0
        counts = torch.zeros(self.world, dtype=torch.long, device=rows.device)
        counts[self.rank] = len(rows)
        rows_of = self.sum(counts).tolist()
        padded = rows.new_zeros(max(rows_of), rows.shape[1])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in rows_of]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, rows_of)]), sum(rows_of[: self.rank])

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """If one process raises InputError in the block, all raise; so none waits for a process that has stopped.

        The block must not send anything between processes.
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

    def agree_on(self, text: str) -> bool:
        """Whether ``text`` is the same in all processes."""
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        theirs = torch.zeros(self.world, dtype=torch.long, device=self.device)
        theirs[self.rank] = digest
        return len(set(self.sum(theirs).tolist())) == 1


ALONE = Processes()


def start(device: str = "auto") -> Processes:
    """Join the other processes, if torchrun started several: by nccl on CUDA, else by gloo.

    Args:
        device: "auto", "cpu", "cuda" or "mps"; "auto" is CUDA if there is a GPU, else the CPU.

    Raises:
        InputError: the device is missing, or this host has fewer devices than processes.
    """
    told = os.environ
    processes = Processes(int(told.get("RANK", 0)), int(told.get("WORLD_SIZE", 1)), int(told.get("LOCAL_RANK", 0)))
    found = choose_device(device, processes.local_rank)
    if processes.world > 1:
        dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    return processes._replace(device=found)


def wait() -> None:
    """Wait until all processes have called this."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def stop() -> None:
    """Leave the group of processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
