"""Settings, number of steps, learning rate and order of files of a training."""

import math

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.make_pairs import options
from uff_training.training_plan import epoch_order, learning_rate, plan


def test_plan():
    # MVTec 3D-AD has 2656 training parts: 166 batches of 16, the last step of an epoch takes 6 of them
    assert plan(2656, options()) == (166, 11, 33, 11, 3)
    assert plan(2656, options(steps=750)) == (166, 11, 750, 250, 69)
    assert plan(244, options(steps=750, accum_iter=1, warmup_steps=5)) == (15, 15, 750, 5, 50)


@examples(max_examples=60, deadline=None)
@given(steps=st.integers(1, 200), warmup=st.integers(0, 220), minimum=st.floats(0, 0.001))
def test_learning_rate(steps, warmup, minimum):
    asked = options(steps=steps, warmup_steps=warmup, min_lr=minimum)
    planned = plan(16, asked)
    rates = [learning_rate(step, planned, asked) for step in range(steps)]
    top = min(warmup, steps)
    assert all(rate == pytest.approx(0.003 * (i + 1) / top) for i, rate in enumerate(rates[:top]))
    assert all(a >= b for a, b in zip(rates[top:], rates[top + 1 :])) and all(0 < r <= 0.003 for r in rates)
    for i, rate in enumerate(rates[top:]):  # half a cosine, by the double angle
        cosine = math.cos(math.pi / 2 * i / (steps - top))
        assert rate == pytest.approx(minimum + (0.003 - minimum) * cosine**2, abs=1e-12)


@examples(max_examples=40, deadline=None)
@given(files=st.integers(1, 60), batch=st.integers(1, 5))
def test_order_of_files(files, batch):
    if files < batch:
        return
    asked = options(batch_size=batch)
    orders = [epoch_order(files, epoch, plan(files, asked), asked) for epoch in (0, 1, 0)]
    for order in orders:
        used = [n for numbers in order for n in numbers]
        assert len(order) == files // batch and {len(numbers) for numbers in order} == {batch}
        assert len(set(used)) == len(used) and set(used) <= set(range(files))
    assert orders[0] == orders[2] and (files < 9 or orders[0] != orders[1])
