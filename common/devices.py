"""The torch device that ``--device`` selects."""

import torch

from common.errors import InputError


def choose_device(name: str) -> torch.device:
    """The torch device that ``--device`` names: auto (CUDA if torch sees a GPU, else the CPU), cpu or cuda.
    Raises InputError: the device is not available."""
    usable = ("cuda", "cpu") if torch.cuda.is_available() else ("cpu",)
    if name not in ("auto", *usable):
        raise InputError(f"--device {name}: not available on this machine; use --device auto or cpu")
    return torch.device(usable[0] if name == "auto" else name)
