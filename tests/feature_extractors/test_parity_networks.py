"""Agreement with the release where the networks have to run anew: train mode as released, and Point-BERT."""

import numpy as np
import pytest

from m3dm_runner import M3DM
from tests.conftest import fixture

pytestmark = pytest.mark.slow


def run(args):
    runner = M3DM(args)
    runner.fit("cookie")
    runner.evaluate("cookie")
    return runner


def test_train_mode_as_released(arguments):
    recorded, runner = fixture("full_train_f1"), run(arguments("--f_coreset", "1"))
    for i, name in enumerate(recorded["bank_names"]):
        np.testing.assert_allclose(runner.evaluation.bank_score[name], recorded["bank_scores"][:, i], rtol=0.01)
    np.testing.assert_allclose(runner.evaluation.decision_score, recorded["image_preds"], rtol=0.03)


def test_point_bert(arguments):
    recorded = fixture("pbert")
    runner = run(
        arguments("--eval_mode", "--f_coreset", "1", "--method_name", "Point_MAE", "--xyz_backbone_name", "Point_Bert")
    )
    np.testing.assert_allclose(runner.evaluation.decision_score, recorded["image_preds"], rtol=7e-4)
    metrics = runner.metrics["baseline"]
    assert tuple(runner.method.patch_lib.shape) == tuple(recorded["patch_lib_shape"])
    assert metrics.pixel_rocauc == pytest.approx(recorded["metrics"][1], abs=0.005)
    assert metrics.au_pro == pytest.approx(recorded["metrics"][2], abs=0.005)
