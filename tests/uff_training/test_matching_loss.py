"""The contrastive loss against an independent numpy form."""

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


def test_what_training_embeds_is_what_fusion_puts_out():
    torch.manual_seed(0)
    model = FeatureFusionBlock(9, 6).double()
    xyz, rgb = (torch.tensor(np.random.default_rng(seed).normal(size=(11, width))) for seed, width in ((0, 9), (1, 6)))
    fused = model.feature_fusion(xyz, rgb)
    for head, half, embedded in zip(
        (model.rgb_head, model.xyz_head), fused.split([9, 6], 1)[::-1], model.match(xyz, rgb)
    ):
        assert torch.allclose(torch.nn.functional.normalize(head(half), dim=1), embedded)


def test_logits_are_never_held_whole(monkeypatch):
    seen, real = [], torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor, "logsumexp", lambda self, *a, **k: seen.append(self.numel()) or real(self, *a, **k)
    )
    queries = torch.tensor(unit_rows(0, 500))
    matching_loss(queries, queries, block=5000)
    assert max(seen) <= 5000 and sum(seen) == 500**2
