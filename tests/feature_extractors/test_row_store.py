"""Rows that wait for the coreset: in memory and spooled, read back exactly, with the right statistics, leaving
nothing behind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from feature_extractors import row_store
from feature_extractors.row_store import RowStore, require_space


@pytest.mark.parametrize("spooled", [False, True])
@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    parts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    width=st.integers(1, 9),
    offset=st.floats(-1e3, 1e3),
)
def test_rows_come_back_as_they_were(tmp_path_factory, spooled, seed, parts, width, offset):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("spool")
    added = [torch.from_numpy((rng.standard_normal((count, width)) + offset).astype(np.float32)) for count in parts]
    store, rows = RowStore(folder if spooled else None), torch.cat(added)
    for part in added:
        store.append(part)
    assert len(store) == len(rows) and store.parts == len(parts)
    for number, part in enumerate(added):
        assert torch.equal(store.part(number), part)
    index = torch.from_numpy(rng.integers(0, len(rows), 50))  # any order, some twice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_store, "BLOCK", 20)
        blocks = list(store.blocks(index))
    assert torch.equal(torch.cat(blocks), rows[index]) and max(map(len, blocks)) <= max(1, 20 // width)
    mean, std = store.mean_std()
    assert mean == pytest.approx(float(rows.double().mean()), rel=1e-5, abs=1e-5)
    if rows.numel() > 1:
        assert std == pytest.approx(float(rows.double().std()), rel=1e-3, abs=1e-4)
    assert not list(folder.iterdir())  # not even while it is in use
    store.close()
    assert store.parts == 0


def test_too_little_room_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"need 1048576.0 GiB there, .* free; make room, or choose another disk with --spool_dir"
    ):
        require_space(tmp_path, 2**50)
    require_space(tmp_path / "new", 1)
    assert (tmp_path / "new").is_dir()
