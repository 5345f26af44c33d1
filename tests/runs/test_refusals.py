"""What main.py refuses before any work: one line, exit code 2, nothing written. ``tests/models`` has the lines on
checkpoints and backbones one by one."""

import pytest
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
        assert list(tmp_path.glob("out/*")) == []
        return err

    (tmp_path / "checkpoints").mkdir()
    return run


def test_data_set_category_or_split_missing(refused, tmp_path):
    assert str(tmp_path / "data") in refused()
    category = make_category(tmp_path / "data")
    assert str(tmp_path / "data" / "bagel") in refused()  # none of the official list is there
    line = refused("--category", "toy", "other")
    assert str(tmp_path / "data" / "other") in line and "toy" in line
    for folder in (category / "test", category / "train" / "good"):
        folder.rename(tmp_path / "elsewhere")
        assert str(folder) in refused("--category", "toy")
        (tmp_path / "elsewhere").rename(folder)


@pytest.mark.parametrize("flag", ["--output_dir", "--save_feature_path"])
def test_folder_below_a_regular_file(refused, tmp_path, flag):
    make_category(tmp_path / "data")
    (tmp_path / "file").write_text("kept")
    taken = tmp_path / "file" / "out"
    line = refused("--category", "toy", "--save_feature", "--method_name", "DINO+Point_MAE", flag, str(taken))
    assert str(taken) in line and (tmp_path / "file").read_text() == "kept"


def test_networks_that_cannot_be_had(refused, tmp_path):
    make_category(tmp_path / "data")
    words = ["--category", "toy", "--method_name", "DINO+FPFH", "--rgb_backbone_name", "timm:no_such_model"]
    assert "timm:no_such_model" in refused(*words)
    path = tmp_path / "checkpoints" / "pointmae_pretrain.pth"
    line = refused("--category", "toy")
    assert str(path) in line and "Point-MAE" in line and "github.com/nomewang/M3DM" in line
    torch.save({"base_model": {"MAE_encoder.norm.weight": torch.ones(384)}}, path)
    line = refused("--category", "toy")
    assert str(path) in line and "Point-MAE" in line
