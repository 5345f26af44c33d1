"""The path that a GPU takes, on tensors without data: a tensor left on the CPU, or a value asked for, is an error."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from feature_extractors import extraction
from feature_extractors.memory_bank import MemoryBank
from m3dm_runner import build_extractor, build_method

GPU = torch.device("cuda")


def without_data(module):
    """Move a module's tensors to a GPU that need not be there."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            tensors.update(
                {name: torch.empty(t.shape, dtype=t.dtype, device=GPU) for name, t in tensors.items() if t is not None}
            )


@pytest.mark.slow
@pytest.mark.parametrize("mode", [["--eval_mode"], []])
def test_no_host_round_trips_inside_a_sample(arguments, monkeypatch, mode):
    args = arguments("--num_group", "64", *mode)
    method = build_method(args, build_extractor(args))
    xyz = torch.rand(1, 3, 224, 224) + 0.1
    valid = extraction.valid_points(xyz[0])  # the sample itself comes from the host
    monkeypatch.setattr(extraction, "valid_points", lambda *_: valid)
    unknown = torch.empty(0, dtype=torch.long)  # nothing is left out, so no row needs its part
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        without_data(method.extractor)
        method.device = method.extractor.device = GPU
        patches = method.extract((torch.randn(1, 3, 224, 224), xyz, None))
        assert {name: (tuple(p.shape), p.device.type, p.dtype) for name, p in patches.items()} == {
            name: (shape, "cuda", torch.float32)
            for name, shape in (("rgb", (784, 768)), ("xyz", (3136, 1152)), ("fusion", (3136, 1920)))
        }
        for name in method.bank_names:
            bank = MemoryBank(torch.empty(20000, patches[name].shape[1], device=GPU), unknown)
            score, (distance, _) = bank.measure(patches[name])
            assert score.shape == () and distance.shape == (len(patches[name]),) and distance.device.type == "cuda"
