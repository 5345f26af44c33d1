"""Backbones beyond the release's through the extractor, the methods and the command line. Weights are random ones in a
file, where timm would put a download."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch

import main
from data.organised_clouds import valid_points
from dataset import get_data_loader
from feature_extractors.extraction import PatchExtractor
from feature_extractors.fpfh import FPFH_DIM, fpfh_patches
from feature_extractors.multiple_features import METHODS
from feature_extractors.settings import Fixes
from scoring import evaluation
from tests.make_data import make_category

NAME, FILE = "timm:resnet18", "resnet18.pth"
WIDTH = 128 + 256  # levels of stride 8 and 16


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Folder with random weights of a small pyramid network."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet18").state_dict(), folder / FILE)
    return folder


@pytest.fixture
def data(tmp_path):
    """Folder with the category toy."""
    make_category(tmp_path / "data")
    return tmp_path / "data"


def samples(data, split="train", **options):
    args = SimpleNamespace(dataset_path=data, num_workers=0, **options)
    return [item[0] for item in get_data_loader(split, "toy", 224, args)]


def test_patches_are_those_of_the_backbone_and_the_histograms(weights, data):
    extractor = PatchExtractor.from_checkpoints(weights, NAME, "FPFH")
    assert extractor.widths == {"rgb": WIDTH, "xyz": FPFH_DIM} and extractor.steady
    sample, other = samples(data)
    patches = extractor.extract(sample)
    with torch.no_grad():
        assert torch.equal(patches["rgb"], extractor.deep_feature_extractor.rgb_backbone(sample[0])[0])
    assert torch.equal(patches["xyz"], fpfh_patches(sample[1][0], valid_points(sample[1][0])))
    mixed = PatchExtractor.from_checkpoints(weights, NAME, "FPFH", amp=True).extract(sample)
    assert mixed["rgb"].dtype == torch.float32 and torch.equal(patches["xyz"], mixed["xyz"])
    assert 0 < (patches["rgb"] - mixed["rgb"]).norm() / patches["rgb"].norm() < 0.05
    method, parts = METHODS["DINO+FPFH"](extractor, Fixes()), [patches, extractor.extract(other)]
    for part in parts:
        method.add_patches(part)
    method.run_coreset()
    for name, bank in method.banks.items():  # each with its own scale
        rows = torch.cat([part[name] for part in parts])
        assert (bank.mean, bank.std) == pytest.approx((float(rows.mean()), float(rows.std())), rel=1e-4, abs=1e-6)


def test_background_follows_the_rule_for_zeros(weights):
    extractor = PatchExtractor.from_checkpoints(weights, xyz="FPFH")
    xyz = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) + 0.1
    xyz[:, 2] = 1.0
    xyz[:, :, :, :112] = 0
    xyz[:, 0, :, 112:] *= torch.linspace(0, 1, 112) > 0.5  # x exactly 0 in a quarter of the picture
    released, fixed = (extractor.extract((None, xyz), zero_points=z)["xyz"].view(56, 56, FPFH_DIM) for z in (0, 1))
    assert (released[:, :42] == 0).all() and (released[:, 42:] != 0).any(-1).all()
    assert (fixed[:, :28] == 0).all() and (fixed[:, 28:] != 0).any(-1).all()


def run(tmp_path, data, weights, *flags):
    paths = {"--dataset_path": data, "--checkpoint_dir": weights, "--output_dir": tmp_path / "out"}
    words = [str(word) for pair in paths.items() for word in pair]
    return main.main([*words, *"--category toy --device cpu --num_workers 0".split(), *flags])


@pytest.mark.slow
def test_a_run_with_another_size(tmp_path, data, weights):
    words = f"--rgb_backbone_name {NAME} --rgb_size 256 --scoring all --fix late_fusion"
    flags = [*words.split(), "--save_maps", str(tmp_path / "maps")]
    assert run(tmp_path, data, weights, "--method_name", "DINO+FPFH", *flags) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    (file,) = record["weights"]
    assert file["sha256"] == hashlib.sha256((weights / FILE).read_bytes()).hexdigest()
    assert (file["network"], file["source"], file["standin"]) == (NAME, "file", False)
    assert record["options"]["rgb_size"] == 256 and record["categories"]["toy"]["banks"]["rgb"][1] == WIDTH
    saved = evaluation.read(tmp_path / "maps" / "toy.npz")
    assert saved.picture.shape == (2, 224, 224, 3) and set(saved.bank_map) == {"xyz", "rgb"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    ["FPFH", f"DINO --rgb_backbone_name {NAME} --amp", f"DINO+FPFH --rgb_backbone_name {NAME} --fix zero_points"],
)
def test_methods_give_finite_scores_without_checkpoints_of_the_release(tmp_path, data, weights, words):
    assert [*weights.iterdir()] == [weights / FILE]
    assert run(tmp_path, data, weights, "--method_name", *words.split()) == 0
    lines = (tmp_path / "out" / "scores_toy.csv").read_text().splitlines()
    column = lines[0].split(",").index("baseline")
    assert np.isfinite([float(line.split(",")[column]) for line in lines[1:]]).all() and len(lines) == 3
