"""Agreement with the release where the networks have to run anew: train mode as released, and Point-BERT."""

import numpy as np
import pytest

from m3dm_runner import M3DM
from tests.conftest import fixture


def run(args):
    runner = M3DM(args)
    runner.fit("cookie")
    runner.evaluate("cookie")
    return runner.method


def test_train_mode_as_released(arguments):
    recorded, method = fixture("full_train_f1"), run(arguments("--f_coreset", "1"))
    for i, name in enumerate(recorded["bank_names"]):
        np.testing.assert_allclose([s[name] for s in method.bank_scores], recorded["bank_scores"][:, i], rtol=0.01)
    np.testing.assert_allclose(np.ravel(method.image_preds), recorded["image_preds"], rtol=0.03)


def test_point_bert(arguments):
    recorded = fixture("pbert")
    method = run(
        arguments("--eval_mode", "--f_coreset", "1", "--method_name", "Point_MAE", "--xyz_backbone_name", "Point_Bert")
    )
    np.testing.assert_allclose(np.ravel(method.image_preds), recorded["image_preds"], rtol=0.005)
    assert tuple(method.patch_lib.shape) == tuple(recorded["patch_lib_shape"])
    assert method.pixel_rocauc == pytest.approx(recorded["metrics"][1], abs=0.005)
    assert method.au_pro == pytest.approx(recorded["metrics"][2], abs=0.005)
