"""Which device a command uses."""

import pytest
import torch

from common.devices import choose_device
from common.errors import InputError


def test_auto_is_cuda_else_the_cpu(monkeypatch):
    for gpu, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert choose_device("auto") == torch.device(expected) and choose_device("cpu") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"--device {name}: not available"):
            choose_device(name)
