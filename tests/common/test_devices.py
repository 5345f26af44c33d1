"""Which device a command uses: auto never takes MPS, which nobody has run."""

import pytest
import torch

from common.devices import choose_device
from common.errors import InputError


def test_auto_is_cuda_else_cpu_and_mps_only_where_it_is_named(monkeypatch):
    def machine(gpu=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    for gpu, mps, expected in ((False, True, "cpu"), (True, True, "cuda")):
        machine(gpu, mps)
        assert choose_device("auto") == torch.device(expected)
    assert choose_device("mps") == torch.device("mps") and choose_device("cpu") == torch.device("cpu")
    machine()
    for name in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"--device {name}: not available"):
            choose_device(name)
