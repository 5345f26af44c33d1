"""Shared by the tests that run networks: stand-in checkpoints, the fixture category, one feature pass over it."""

import os
import signal
import tarfile
from pathlib import Path
from types import SimpleNamespace

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that tries to download has to fail; timm reads it when it is imported

import numpy as np
import pytest

import scoring_addon
from dataset import get_data_loader
from feature_extractors.released import mask_of_map
from lab.standin_checkpoints import write_checkpoints
from m3dm_runner import build_extractor, build_method
from runs.options import parse_arguments
from scoring import evaluation
from tests.fakes import FakeExtractor

DATA = Path(__file__).parent / "data"


def fixture(name):
    """Arrays of a fixture file."""
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


SLOW = ("browser", "old_python", "ray", "open3d")  # markers of tests that need more than requirements-dev.txt


def pytest_collection_modifyitems(items):
    """``make test`` leaves out what is slow; those that need another program are."""
    for item in items:
        if any(item.get_closest_marker(name) for name in SLOW):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_not_ignored():
    """The commands that tests start and send SIGINT inherit how it is treated. Where the tests run under nohup or as
    a shell's background job it is ignored, and the commands leave it so, as they should."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folder with the stand-in checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(folder, ["dino", "point_mae", "point_bert", "uff"])
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
        uff = f"--fusion_module_path={checkpoints / 'uff_pretrain.pth'}"
        where = [uff, f"--checkpoint_dir={checkpoints}", f"--dataset_path={dataset_path}"]
        words = "--use_uff --category cookie --random_state 0 --num_workers 0 --device cpu"
        return parse_arguments([*where, *words.split(), *flags])

    return build


@pytest.fixture(scope="session")
def extractor(arguments):
    """The full setting's networks."""
    return build_extractor(arguments())


@pytest.fixture(scope="session")
def full_method(arguments, extractor):
    """The full setting's method object in eval mode, banks empty."""
    return build_method(arguments("--eval_mode"), extractor)


@pytest.fixture(scope="session")
def passes(full_method, arguments):
    """{split: list of (sample, mask, label, patches)} of the fixture category in eval mode."""
    full_method.extractor.train(False)
    out = {}
    for split in ("train", "test"):
        out[split] = []
        for item in get_data_loader(split, "cookie", 224, arguments()):
            sample, mask, label = (item[0], None, None) if split == "train" else item[:3]
            out[split].append((sample, mask, label, full_method.extract(sample)))
    return out


@pytest.fixture
def evaluated(arguments, passes):
    """Function: (method fitted on the fixture category from the shared feature pass, its Evaluation, {scoring: Scored},
    {scoring: Metrics}, the first scoring's name)."""

    def run(*flags):
        args = arguments("--eval_mode", *flags)
        method = build_method(args, FakeExtractor(rgb=768, xyz=1152, fusion=1920))
        for entry in passes["train"]:
            method.add_sample_to_mem_bank(entry[3])
        method.run_coreset()
        if method.needs_late_fusion_pass:
            for entry in passes["train"]:
                method.add_sample_to_late_fusion_mem_bank(entry[3])
            method.run_late_fusion()
        judged = [method.judge(entry[3]) for entry in passes["test"]]
        names = [str(i) for i in range(len(judged))]
        labels = [int(entry[2]) for entry in passes["test"]]
        masks = np.stack([mask_of_map(entry[1], method.map_size) for entry in passes["test"]])
        found = evaluation.Evaluation.of("cookie", names, names, labels, masks, judged, training=method.training)
        scored = evaluation.score(found, args.scoring, scoring_addon.parameters_from(args), args.scoring_reference)
        metrics, first = evaluation.metrics(found, scored), args.scoring[0]
        return SimpleNamespace(method=method, evaluation=found, scored=scored, metrics=metrics, first=first)

    return run
