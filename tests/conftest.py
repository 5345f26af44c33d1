"""Shared by the tests that run networks: stand-in checkpoints, the fixture category, one feature pass over it."""
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset import get_data_loader
from feature_extractors import features
from feature_extractors.multiple_features import METHODS
from tools.standin_checkpoints import write_checkpoints
from utils.options import parse_arguments

DATA = Path(__file__).parent / "data"
os.environ["HF_HUB_OFFLINE"] = "1"  # a test that tries to download has to fail


def fixture(name):
    """Arrays of a fixture file."""
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folder with the stand-in checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder, ["dino", "point_mae", "point_bert", "uff"], seed=0)
    return folder


@pytest.fixture(scope="session")
def dataset_path(tmp_path_factory):
    """Folder with the category cookie."""
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(DATA / "cookie.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def arguments(checkpoints, dataset_path):
    """Function: options of a run on the fixture category, with extra flags."""

    def build(*flags):
        return parse_arguments(["--use_uff", "--fusion_module_path", str(checkpoints / "uff_pretrain.pth"), "--checkpoint_dir",
                                str(checkpoints), "--dataset_path", str(dataset_path), "--category", "cookie", "--random_state", "0",
                                "--num_workers", "0", "--device", "cpu", *flags])

    return build


@pytest.fixture(scope="session")
def full_method(arguments):
    """The full setting's method object in eval mode, banks empty."""
    return METHODS["DINO+Point_MAE+Fusion"](arguments("--eval_mode"))


@pytest.fixture(scope="session")
def passes(full_method, arguments):
    """{split: list of (sample, mask, label, patches)} of the fixture category in eval mode."""
    out = {}
    for split in ("train", "test"):
        out[split] = []
        for item in get_data_loader(split, "cookie", 224, arguments()):
            sample, mask, label = (item[0], None, None) if split == "train" else item[:3]
            out[split].append((sample, mask, label, full_method.extract(sample)))
    return out


@pytest.fixture
def evaluated(arguments, passes, monkeypatch):
    """Function: a method fitted and evaluated on the fixture category from the shared feature pass."""

    def run(*flags):
        args = arguments("--eval_mode", *flags)
        monkeypatch.setattr(features, "Model", lambda *_: torch.nn.Module())
        monkeypatch.setattr(features, "require", lambda *_: None)
        monkeypatch.setattr(features.FeatureFusionBlock, "from_checkpoint", lambda *_: torch.nn.Module())
        method = METHODS[args.method_name](args)
        known = {id(entry[0]): entry[3] for split in passes.values() for entry in split}
        method.extract = lambda sample: known[id(sample)]
        for entry in passes["train"]:
            method.add_sample_to_mem_bank(entry[0])
        method.run_coreset()
        if method.needs_late_fusion_pass:
            for entry in passes["train"]:
                method.add_sample_to_late_fusion_mem_bank(entry[0])
            method.run_late_fusion()
        for sample, mask, label, _ in passes["test"]:
            method.predict(sample, mask, label)
        method.calculate_metrics()
        return method

    return run
