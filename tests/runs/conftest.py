"""Runs without networks: toy patches in their place, and small generated parts."""

import pytest

import m3dm_runner
import main
import models.weights
from models.weights import WeightFile
from tests.fakes import PoolingExtractor
from tests.make_data import make_scans

WEIGHTS = [WeightFile("toy", "toy.pth", 1, "0" * 64, "file", False)]


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """A data set of the categories one and two: 3 and 4 training parts, a good and a defective test part each."""
    root = tmp_path_factory.mktemp("parts")
    for name, train in (("one", 3), ("two", 4)):
        make_scans(root, train=train, test=1, category=name)
    return root


@pytest.fixture
def command(parts, tmp_path):
    """Words of main.py on the category one, with results in ``tmp_path/results``."""
    where = ["--dataset_path", str(parts), "--output_dir", str(tmp_path / "results"), "--category", "one"]
    return ["--method_name", "DINO+Point_MAE", "--eval_mode", "--num_workers", "0", "--device", "cpu", *where]


@pytest.fixture
def run(command, monkeypatch):
    """Function: main.main with these words and further ones, and with toy patches in the place of networks."""
    monkeypatch.setattr(m3dm_runner, "build_extractor", lambda options: PoolingExtractor())
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: WEIGHTS)
    return lambda *more: main.main([*command, *map(str, more)])
