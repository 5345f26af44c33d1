"""Settings, number of steps, learning rate and order of files of a training."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from uff_training.processes import Processes
from uff_training.training_plan import TrainingSettings, epoch_order, learning_rate, plan


def test_plan():
    # MVTec 3D-AD has 2656 training parts: 166 batches of 16, the last step of an epoch takes 6 of them
    assert plan(2656, TrainingSettings()) == (166, 11, 33, 11, 3)
    assert plan(2656, TrainingSettings(steps=750)) == (166, 11, 750, 250, 69)
    assert plan(244, TrainingSettings(), world=2) == (7, 1, 3, 1, 3)
    assert plan(244, TrainingSettings(steps=750, accum_iter=1, warmup_steps=5)) == (15, 15, 750, 5, 50)


@examples(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), warmup=st.integers(0, 220), minimum=st.floats(0, 0.001))
def test_learning_rate(steps, warmup, minimum):
    settings = TrainingSettings(steps=steps, warmup_steps=warmup, min_lr=minimum)
    planned = plan(16, settings)
    rates = [learning_rate(step, planned, settings) for step in range(steps)]
    top = min(warmup, steps)
    assert all(rate == pytest.approx(0.003 * (i + 1) / top) for i, rate in enumerate(rates[:top]))
    assert all(a >= b for a, b in zip(rates[top:], rates[top + 1 :])) and all(0 < r <= 0.003 for r in rates)
    for i, rate in enumerate(rates[top:]):  # half a cosine, by the double angle
        assert rate == pytest.approx(
            minimum + (0.003 - minimum) * math.cos(math.pi / 2 * i / (steps - top)) ** 2, abs=1e-12
        )


@examples(max_examples=40, deadline=None)
@given(files=st.integers(1, 60), batch=st.integers(1, 5), world=st.integers(1, 3), epoch=st.integers(0, 5))
def test_order_of_files(files, batch, world, epoch):
    if files < batch * world:
        return
    settings = TrainingSettings(batch_size=batch)
    planned = plan(files, settings, world)
    shares = [epoch_order(files, epoch, settings, planned, Processes(rank, world)) for rank in range(world)]
    assert all(len(share) == files // (batch * world) and {len(b) for b in share} == {batch} for share in shares)
    used = [n for share in shares for b in share for n in b]
    assert len(set(used)) == len(used) and set(used) <= set(range(files))
    alone = TrainingSettings(batch_size=batch * world)
    together = epoch_order(files, epoch, alone, plan(files, alone), Processes())
    assert [sorted(sum(parts, [])) for parts in zip(*shares)] == [sorted(b) for b in together]
