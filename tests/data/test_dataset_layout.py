"""Folders that are missing or empty, and what is said where workers fail."""

import numpy as np
import pytest
import torch

from common.errors import InputError
from dataset import TestDataset, TrainDataset
from tests.data.test_dataset import loader, refusal, train
from tests.make_data import add_part, make_category, write_tiff


def test_missing_train_good(tmp_path):
    add_part(tmp_path, "train/bad")
    refusal(lambda: train(tmp_path), tmp_path / "toy/train/good")


@pytest.mark.parametrize("where", ["train/good", "test/hole"])
def test_folder_without_pictures(tmp_path, where):
    make_category(tmp_path)
    for file in (tmp_path / "toy" / where / "rgb").iterdir():
        file.unlink()
    kind = TrainDataset if "train" in where else TestDataset
    refusal(lambda: kind("toy", 224, tmp_path), tmp_path / "toy" / where / "rgb")


@pytest.mark.parametrize("made", [False, True])
def test_missing_or_empty_test(tmp_path, made):
    add_part(tmp_path, "train/good")
    if made:
        (tmp_path / "toy/test").mkdir()
    refusal(lambda: TestDataset("toy", 224, tmp_path), tmp_path / "toy/test")


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


def test_message_keeps_the_spaces_of_a_path(tmp_path):
    root = tmp_path / "two  spaces"
    rgb, _, _ = add_part(root, "train/good")
    rgb.write_bytes(b"no picture")
    refusal(lambda: train(root)[0], rgb)


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
