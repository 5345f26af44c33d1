"""The torch device that ``--device`` selects; all commands use this function."""

import torch

from common.errors import InputError


def choose_device(name: str) -> torch.device:
    """The torch device that ``--device`` names: auto, cpu, cuda or mps.

    ``auto`` is CUDA if torch sees a GPU, else the CPU. MPS is used only if it is named, since the project was never
    run on it.

    Raises:
        InputError: the device is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if not available[name]:
        raise InputError(f"--device {name}: not available on this machine; use --device auto or cpu")
    return torch.device(name)
