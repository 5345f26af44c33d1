"""The torch device that ``--device`` selects; all commands use this function."""

import torch

from common.errors import InputError


def choose_device(name: str, local_rank: int | None = None) -> torch.device:
    """The torch device that ``--device`` names.

    ``auto`` is CUDA if torch sees a GPU, else the CPU. MPS is used only if it is named, since the project was never
    run on it.

    Args:
        name: auto, cpu, cuda or mps.
        local_rank: number of this process on its host if a training runs in several processes; each needs its own GPU.

    Returns:
        torch.device; with ``local_rank`` and CUDA, the GPU of that number, which also becomes torch's current device.

    Raises:
        InputError: the device is not available, or this host has fewer GPUs than processes.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        raise InputError(f"--device {name}: not available on this machine; use --device auto or cpu")
    if name != "cuda" or local_rank is None:
        return torch.device(name)
    if local_rank >= torch.cuda.device_count():
        raise InputError(
            f"process {local_rank} of this host has no GPU of its own, there are {torch.cuda.device_count()}; give "
            "torchrun a smaller --nproc_per_node"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
