"""Folders that are missing or empty, and what is said where workers fail."""

import numpy as np
import pytest
import torch

from common.errors import InputError
from tests.data.test_dataset import loader, refusal
from tests.make_data import make_category, write_tiff


@pytest.mark.parametrize(
    "kind, content, workers",
    [("rgb", b"no picture", 0), ("xyz", "empty", 0), ("xyz", b"no tiff", 0), ("xyz", b"no tiff", 1)],
)
def test_message_is_one_line_also_from_a_worker(tmp_path, kind, content, workers):
    make_category(tmp_path)
    path = next((tmp_path / "toy/train/good" / kind).glob("001*"))
    if content == "empty":
        write_tiff(path, np.zeros((40, 50, 3), np.float32))
    else:
        path.write_bytes(content)
    text = refusal(lambda: list(loader(tmp_path, workers=workers, min_points=1)), path)
    assert text.startswith(str(path)) and "Traceback" not in text


def test_too_little_shared_memory_is_said_in_one_line(tmp_path, monkeypatch):
    """Containers: torch says that a worker got a bus error; the user is told of --num_workers 0."""
    make_category(tmp_path)
    text = "DataLoader worker (pid 7) is killed by signal: Bus error. Workers may be out of shared memory."

    def broken(_):
        raise RuntimeError(text)

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", broken)
    with pytest.raises(InputError, match="--num_workers 0"):
        list(loader(tmp_path))
    with pytest.raises(RuntimeError, match="Bus error"):  # not where no worker is to blame
        list(loader(tmp_path, workers=0))
