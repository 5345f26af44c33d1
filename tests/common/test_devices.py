"""Which device a command uses: auto never takes MPS, which nobody has run."""

import pytest
import torch

from common.devices import choose_device
from common.errors import InputError


@pytest.fixture
def machine(monkeypatch):
    """Function: let torch see so many GPUs, and MPS or not; returns the numbers that torch was told to use."""

    def build(gpus=0, mps=False):
        told = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", told.append)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        return told

    return build


def test_auto_is_cuda_else_cpu_and_mps_only_where_it_is_named(machine):
    for gpus, mps, expected in ((0, False, "cpu"), (0, True, "cpu"), (2, False, "cuda"), (2, True, "cuda")):
        assert machine(gpus, mps) == [] and choose_device("auto") == torch.device(expected)
    assert choose_device("mps") == torch.device("mps") and choose_device("cpu") == torch.device("cpu")
    machine()
    for name in ("cuda", "mps"):
        with pytest.raises(InputError, match=f"--device {name}: not available"):
            choose_device(name)


def test_each_process_of_a_host_gets_a_gpu_of_its_own(machine):
    told = machine(gpus=2)
    assert [choose_device("auto", rank) for rank in (0, 1)] == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert told == [0, 1]
    with pytest.raises(InputError, match="process 2 of this host has no GPU of its own, there are 2"):
        choose_device("cuda", 2)
