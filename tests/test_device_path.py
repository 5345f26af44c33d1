"""The path that a GPU takes, run on tensors without data, on which every value asked for by the host is an error."""
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from feature_extractors import alignment, extraction
from m3dm_runner import build_extractor, build_method
from models import pointnet2_utils

GPU = torch.device("cuda")


def without_data(module):
    """Move a module's tensors to a GPU that need not be there."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            tensors.update({name: torch.empty(t.shape, dtype=t.dtype, device=GPU) for name, t in tensors.items() if t is not None})


@pytest.mark.parametrize("mode", [["--eval_mode"], []])
def test_no_host_round_trips_inside_a_sample(arguments, monkeypatch, mode):
    monkeypatch.setattr(pointnet2_utils, "pointnet2_ops", None)
    monkeypatch.setattr(pointnet2_utils, "KNN", None)
    args = arguments("--num_group", "64", *mode)
    method = build_method(args, build_extractor(args))
    entries = alignment.pooling_entries(224, torch.device("cpu"))  # once a run, not once a sample
    xyz = torch.rand(1, 3, 224, 224) + 0.1
    valid = extraction.valid_points(xyz[0])  # the sample itself comes from the host
    monkeypatch.setattr(extraction, "valid_points", lambda _: valid)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        monkeypatch.setattr(alignment, "pooling_entries", lambda size, device: [torch.empty(t.shape, dtype=t.dtype, device=device) for t in entries])
        without_data(method.extractor)
        method.device = method.extractor.device = GPU
        patches = method.extract((torch.randn(1, 3, 224, 224), xyz, None))
        assert {name: (tuple(p.shape), p.device.type, p.dtype) for name, p in patches.items()} == {
            name: (shape, "cuda", torch.float32) for name, shape in (("rgb", (784, 768)), ("xyz", (3136, 1152)), ("fusion", (3136, 1920)))}
        for name, bank in method.banks.items():
            bank.rows = torch.empty(20000, patches[name].shape[1], device=GPU)
            score, distance = bank.measure(patches[name])
            assert score.shape == () and distance.shape == (len(patches[name]),) and distance.device.type == "cuda"
        for ask, error in ((lambda: float(score), DataDependentOutputException), (lambda: distance.nonzero(), DynamicOutputShapeException)):
            with pytest.raises(error):  # what such a round trip looks like
                ask()
