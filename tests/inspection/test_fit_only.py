"""--fit_only: a model from normal parts alone, without a test split, and without tables."""

import json
import shutil

import pytest

import m3dm_runner
import main
import models.weights
from inspection.inspector import Inspector
from inspection.saved_model import read_saved
from runs.results import read_run
from tests.fakes import PoolingExtractor
from tests.make_models import CATEGORY, make_parts


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set without a test split, and toy patches in the place of networks."""
    root = make_parts(tmp_path / "data", train=4, test=1, validation=4)
    shutil.rmtree(root / CATEGORY / "test")
    monkeypatch.setattr(m3dm_runner, "build_extractor", lambda args: PoolingExtractor())
    monkeypatch.setattr(models.weights, "used_weights", lambda options, build: [])
    return root


def words(data, more=""):
    """main.py's words."""
    folder = data.parent
    flags = "--method_name DINO+Point_MAE --preset best --frame none --dataset_type folder --num_workers 0 --device cpu"
    paths = {"--dataset_path": data, "--output_dir": folder / "results", "--save_model": folder / "models"}
    return [*flags.split(), *more.split()] + [str(word) for pair in paths.items() for word in pair]


def test_a_model_without_a_test_split(data, capsys):
    assert main.main(words(data, "--fit_only")) == 0
    path = data.parent / "models" / f"{CATEGORY}.m3dm"
    assert f"{CATEGORY}: {path}" in capsys.readouterr().out
    assert not list((data.parent / "results").glob("*.md")) and not list((data.parent / "results").glob("scores_*"))
    record = read_run(data.parent / "results")["categories"][CATEGORY]
    assert record["metrics"] == {} and record["training_parts"] == 4 and record["test_parts"] == 0
    assert json.loads(json.dumps(record)) == record
    inspector = Inspector(read_saved(path), PoolingExtractor(), 0.2)
    assert inspector.category == CATEGORY


def test_the_same_command_again_keeps_it_and_a_lost_model_is_made_anew(data, monkeypatch, capsys):
    assert main.main(words(data, "--fit_only")) == 0
    path = data.parent / "models" / f"{CATEGORY}.m3dm"
    first = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(m3dm_runner.M3DM, "fit", None)  # nothing is fitted again
        assert main.main(words(data, "--fit_only")) == 0
    assert f"complete already: nothing was computed, the models in {path.parent} are there" in capsys.readouterr().out
    path.unlink()
    assert main.main(words(data, "--fit_only")) == 0
    assert len(path.read_bytes()) == pytest.approx(len(first), abs=200)


def test_a_model_that_cannot_be_written_is_no_finished_fit(data, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "models/toy.m3dm")

    with monkeypatch.context() as patch:
        patch.setattr(m3dm_runner.M3DM, "save", full)
        assert main.main(words(data, "--fit_only")) == 1
    out, err = capsys.readouterr()
    assert "models/toy.m3dm: No space left on device" in err and f"{CATEGORY}.m3dm" not in out
    assert main.main(words(data, "--fit_only")) == 0
    assert (data.parent / "models" / f"{CATEGORY}.m3dm").is_file()
