"""--scoring calibrated from the command line to tables, files, saved model and sweeps; without networks."""

import csv
import json

import numpy as np
import pytest
import torch

import m3dm_runner
import main
from feature_extractors.settings import METHOD_BANKS
from runs.options import parse_arguments
from runs.results import metrics_of
from scoring import calibrated, evaluation
from tests.fakes import PoolingExtractor
from tests.make_models import CATEGORY, make_parts, words
from tools import rescore


class NoisyExtractor(PoolingExtractor):
    """In train mode a part's features differ each time it is seen, as with stochastic depth."""

    def extract(self, sample, banks=None, zero_points=False):
        patches = super().extract(sample, banks, zero_points)
        if not self.training:
            return patches
        return {name: of + 0.05 * torch.randn(of.shape) * (of != 0) for name, of in patches.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_parts(tmp_path_factory.mktemp("data"), validation=5)


def evaluated(root, method, *flags, extractor=None):
    """The runner after fit and test."""
    runner = m3dm_runner.M3DM(parse_arguments(words(root, method, *flags)), extractor or PoolingExtractor())
    runner.fit(CATEGORY)
    runner.evaluate(CATEGORY)
    return runner


@pytest.mark.parametrize("method", [name for name, banks in METHOD_BANKS.items() if banks])
def test_every_method_measures_its_training_parts_without_their_own_rows(data, method):
    runner = evaluated(data, method, "--scoring", "baseline", "calibrated", "--eval_mode", "--shots", "3")
    fitted = runner.method
    loader = m3dm_runner.get_data_loader("train", CATEGORY, 224, runner.args)
    alone = [fitted.judge_patches(fitted.extract(sample), i).banks.maps for i, (sample, _) in enumerate(loader)]
    expected = calibrated.bank_units({name: np.stack([maps[name] for maps in alone]) for name in fitted.bank_names})
    found = runner.evaluation.training.calibrated
    assert found.banks == expected.banks and found.parts == 3
    np.testing.assert_allclose([*found.level, *found.scale], [*expected.level, *expected.scale], rtol=1e-5)
    scored = runner.scored["calibrated"]
    for i in range(len(runner.evaluation)):
        maps = {bank: of[i] for bank, of in runner.evaluation.bank_map.items()}
        assert np.array_equal(scored.predictions[i], calibrated.calibrated_map(maps, found))
        assert scored.image_preds[i] == calibrated.image_score(scored.predictions[i])
    entry = json.loads(json.dumps(runner.record()))
    assert set(entry["metrics"]) == {"baseline", "calibrated"}
    assert calibrated.restored(entry["calibrated"]) == found


@pytest.mark.parametrize("method", ["DINO", "DINO+Point_MAE+add"])
def test_in_train_mode_the_other_scorings_stay_as_they_are(data, method):
    runs = [
        evaluated(data, method, "--scoring", "baseline", *more, extractor=NoisyExtractor())
        for more in ([], ["calibrated"])
    ]
    scores = [run.scored["baseline"].image_preds for run in runs]
    assert np.array_equal(*scores) and np.ptp(scores[0]) > 0
    assert np.isfinite(runs[1].scored["calibrated"].image_preds).all()


def test_the_files_give_the_runs_numbers(data, monkeypatch, tmp_path):
    monkeypatch.setattr(m3dm_runner, "build_extractor", lambda args: PoolingExtractor())
    monkeypatch.setattr("models.weights.used_weights", lambda *_: [])
    scorings = ("--scoring", "baseline", "disagreement", "calibrated", "--save_maps", tmp_path / "maps")
    assert main.main(words(data, "DINO+Point_MAE", *scorings, "--eval_mode", "--output_dir", tmp_path)) == 0
    saved = evaluation.read(tmp_path / "maps" / f"{CATEGORY}.npz")
    scored = evaluation.score(saved, ["calibrated"])["calibrated"]
    with open(tmp_path / f"scores_{CATEGORY}.csv", newline="") as file:
        assert [float(row["calibrated"]) for row in csv.DictReader(file)] == scored.image_preds.tolist()
    entry = json.loads((tmp_path / "run.json").read_text())["categories"][CATEGORY]
    assert saved.training.decision_map is None
    assert saved.training.calibrated == calibrated.restored(entry["calibrated"])
    assert evaluation.metrics(saved, {"calibrated": scored})["calibrated"] == metrics_of(entry)["calibrated"]
    assert rescore.main([str(tmp_path / "maps"), "-o", str(tmp_path)]) == 0
    rows = list(csv.reader((tmp_path / "table_own.csv").open()))
    assert [float(row[2]) for row in rows if row[0] == "calibrated"] == [*entry["metrics"]["calibrated"].values()]
