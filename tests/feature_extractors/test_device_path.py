"""The path that a GPU takes, run on tensors without data, on which every value asked for by the host is an error."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from feature_extractors import alignment, coreset, extraction
from feature_extractors.coreset import greedy_k_center
from feature_extractors.nearest_rows import RowSearch
from m3dm_runner import build_extractor, build_method
from models import pointnet2_utils
from models.models import PointTransformer

GPU = torch.device("cuda")


def without_data(module):
    """Move a module's tensors to a GPU that need not be there."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            tensors.update(
                {name: torch.empty(t.shape, dtype=t.dtype, device=GPU) for name, t in tensors.items() if t is not None}
            )


class Launches(TorchDispatchMode):
    """Counts the kernels of what runs inside (views and bare memory launch none), and what would wait for a GPU."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim")

    def __init__(self):
        super().__init__()
        self.kernels, self.waits = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        to_host = name in ("_to_copy", "copy_") and args[0].device == GPU != torch.device(
            (kwargs or {}).get("device", GPU)
        )
        self.waits += name in self.WAITING or by_mask or to_host
        self.kernels += not (func.is_view or "empty" in name or name in ("device", "detach", "_unsafe_view"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [["--eval_mode"], []])
def test_no_host_round_trips_inside_a_sample(arguments, monkeypatch, mode):
    monkeypatch.setattr(pointnet2_utils, "pointnet2_ops", None)
    monkeypatch.setattr(pointnet2_utils, "KNN", None)
    args = arguments("--num_group", "64", *mode)
    method = build_method(args, build_extractor(args))
    side = alignment.pooling_side(224, torch.device("cpu"))  # once per run, not once per sample
    xyz = torch.rand(1, 3, 224, 224) + 0.1
    valid = extraction.valid_points(xyz[0])  # the sample itself comes from the host
    monkeypatch.setattr(extraction, "valid_points", lambda *_: valid)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        monkeypatch.setattr(alignment, "pooling_side", lambda size, device: torch.empty(side.shape, device=device))
        without_data(method.extractor)
        method.device = method.extractor.device = GPU
        patches = method.extract((torch.randn(1, 3, 224, 224), xyz, None))
        assert {name: (tuple(p.shape), p.device.type, p.dtype) for name, p in patches.items()} == {
            name: (shape, "cuda", torch.float32)
            for name, shape in (("rgb", (784, 768)), ("xyz", (3136, 1152)), ("fusion", (3136, 1920)))
        }
        for name, bank in method.banks.items():
            bank.rows = torch.empty(20000, patches[name].shape[1], device=GPU)
            score, distance = bank.measure(patches[name])
            assert score.shape == () and distance.shape == (len(patches[name]),) and distance.device.type == "cuda"
        for ask, error in (
            (lambda: float(score), DataDependentOutputException),
            (lambda: distance.nonzero(), DynamicOutputShapeException),
        ):
            with pytest.raises(error):  # what such a round trip looks like
                ask()
            search = RowSearch(bank.rows)
            with Launches() as few:
                search.nearest_each(patches[name], (None, torch.empty(20000, dtype=torch.bool, device=GPU)))
            assert few.waits == 0 and few.kernels < 60


def test_few_kernels_are_launched_for_the_points_of_a_sample(monkeypatch):
    """Before: about 10 per centre, and a full sort for each 128 points."""
    monkeypatch.setattr(pointnet2_utils, "pointnet2_ops", None)
    monkeypatch.setattr(pointnet2_utils, "KNN", None)
    side, valid = alignment.pooling_side(224, torch.device("cpu")), torch.arange(5000, 45000)
    transformer = PointTransformer(128, 256)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        monkeypatch.setattr(alignment, "pooling_side", lambda size, device: torch.empty(side.shape, device=device))
        points = torch.empty(40000, 3, device=GPU)
        phases = {}
        for name, run in (
            ("sampling", lambda: pointnet2_utils.farthest_point_sample(points, 256)),
            ("neighbours", lambda: pointnet2_utils.nearest_points(points[:1024], points, 128)),
            ("grouping", lambda: transformer.group_sizes(points, [128, 256])),
            ("alignment", lambda: alignment.alignment_matrix(points[:1024], points, valid.to(GPU), 224)),
        ):
            with Launches() as phases[name]:
                run()
    assert not any(phase.waits for phase in phases.values())
    assert phases["sampling"].kernels <= 6.2 * 256
    assert phases["grouping"].kernels <= phases["sampling"].kernels + phases["neighbours"].kernels + 20
    assert phases["neighbours"].kernels <= 120 and phases["alignment"].kernels <= 150


def test_the_coreset_of_a_gpu_waits_less_than_once_in_ten_picks(monkeypatch):
    """Counted on rows that the CPU holds, in a GPU's sizes. Before: about four times per pick."""

    class OnGpu(coreset.FarthestFirst):
        waits = property(lambda _: False, lambda *_: None)

    monkeypatch.setattr(coreset, "ON_CPU", coreset.ON_GPU)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30000, 8)) @ rng.standard_normal((8, 40)) + 0.1 * rng.standard_normal((30000, 40))
    search = OnGpu(torch.from_numpy(rows.astype(np.float32)), 3000)
    with Launches() as run:
        search.run(None)
    assert run.waits < 3000 / 10 and run.kernels < 10 * 3000


def test_the_projected_rows_are_brought_to_the_device_once(monkeypatch):
    """And not back from there, to find the distinct ones."""
    moved = []
    monkeypatch.setattr(
        coreset,
        "FarthestFirst",
        lambda rows, count: moved.append(rows) or type("", (), {"run": lambda self, progress: torch.arange(count)})(),
    )
    assert greedy_k_center(torch.arange(6.0)[:, None] // 2, 2, "meta").tolist() == [0, 2]
    assert [tuple(rows.shape) for rows in moved] == [(3, 1)] and moved[0].device.type == "meta"
