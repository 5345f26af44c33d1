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
            "--output_dir": output
        }
        argv = [
            "--method_name", "Point_MAE", "--device", "cpu", *(str(x) for pair in where.items() for x in pair), *flags
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


@pytest.mark.parametrize("content", [{
    "model": {
        "weight": torch.ones(1)
    }
}, {
    "base_model": {
        "MAE_encoder.norm.weight": torch.ones(384)
    }
}])
def test_wrong_xyz_checkpoint(refused, tmp_path, content):
    make_category(tmp_path / "data")
    path = save(tmp_path / "checkpoints", "pointmae_pretrain.pth", content)
    line = refused("--category", "toy")
    assert str(path) in line and "Point-MAE" in line


def test_device_missing(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_category(tmp_path / "data")
    assert "--device cuda" in refused("--category", "toy", "--device", "cuda")
