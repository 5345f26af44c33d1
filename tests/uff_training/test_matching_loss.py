"""The contrastive loss against an independent numpy form and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.feature_fusion import FeatureFusionBlock
from uff_training.matching_loss import matching_loss


def numpy_loss(queries, keys):
    """Twice the mean negative log probability of the own key, and the share of queries whose best key is their own."""
    probability = np.exp(queries @ keys.T)
    probability /= probability.sum(1, keepdims=True)
    return -2 * np.log(np.diag(probability)).mean(), (probability.argmax(1) == np.arange(len(keys))).mean()


def unit_rows(seed, rows, width=16):
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40), block=st.integers(1, 2000))
def test_loss_and_hits_equal_numpys(seed, rows, block):
    queries, keys = unit_rows(seed, rows), unit_rows(seed + 1, rows)
    keys[: rows // 2] = queries[: rows // 2]
    found, hits = matching_loss(torch.tensor(queries), torch.tensor(keys), block=block)
    loss, accuracy = numpy_loss(queries, keys)
    assert float(found) == pytest.approx(loss, rel=1e-12) and hits / rows == accuracy


def test_gradients_of_the_loss():
    queries, keys = (torch.tensor(unit_rows(seed, 7, 5), requires_grad=True) for seed in (0, 1))
    for block in (1, 20, 1000):
        assert torch.autograd.gradcheck(lambda q, k, block=block: matching_loss(q, k, block)[0], (queries, keys))


def numpy_module_loss(state, xyz, rgb):
    """UFF's loss written out in numpy: layer norm, two layers with GELU between, head, unit length, contrast."""
    from scipy.special import erf

    def embed(x, half):
        def weight(name):
            return state[f"{half}_{name}"]

        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        x = x * weight("norm.weight") + weight("norm.bias")
        x = x @ weight("mlp.fc1.weight").T + weight("mlp.fc1.bias")
        x = x * (1 + erf(x / np.sqrt(2))) / 2 @ weight("mlp.fc2.weight").T + weight("mlp.fc2.bias")
        x = x @ weight("head.weight").T + weight("head.bias")
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return numpy_loss(embed(rgb, "rgb"), embed(xyz, "xyz"))[0]


def test_module_loss_and_gradients():
    torch.manual_seed(0)
    model = FeatureFusionBlock(9, 6).double()
    xyz, rgb = (torch.tensor(np.random.default_rng(seed).normal(size=(11, width))) for seed, width in ((0, 9), (1, 6)))
    matching_loss(*model.match(xyz, rgb))[0].backward()
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    base = numpy_module_loss(state, xyz.numpy(), rgb.numpy())
    assert matching_loss(*model.match(xyz, rgb))[0].item() == pytest.approx(base, rel=1e-12)
    for name, parameter in model.named_parameters():  # along a random direction of each tensor, by the numpy form
        direction, size = np.random.default_rng(len(name)).normal(size=parameter.shape), 1e-5
        ends = [
            numpy_module_loss({**state, name: state[name] + sign * size * direction}, xyz.numpy(), rgb.numpy())
            for sign in (1, -1)
        ]
        slope = float((parameter.grad * torch.tensor(direction)).sum())
        assert (ends[0] - ends[1]) / (2 * size) == pytest.approx(slope, rel=1e-5, abs=1e-8), name
    with torch.no_grad():  # what training embeds is what fusion puts out
        fused = model.feature_fusion(xyz, rgb)
        again = torch.nn.functional.normalize(model.xyz_head(fused[:, :9]), dim=1)
        assert torch.allclose(again, model.match(xyz, rgb)[1])


def test_logits_are_never_held_whole(monkeypatch):
    seen, real = [], torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor, "logsumexp", lambda self, *a, **k: seen.append(self.numel()) or real(self, *a, **k)
    )
    queries = torch.tensor(unit_rows(0, 500))
    matching_loss(queries, queries, block=5000)
    assert max(seen) <= 5000 and sum(seen) == 500**2
