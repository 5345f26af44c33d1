"""Agreement with numbers measured from the release; bounds are those of docs/defects.md, plus 25 %."""

import numpy as np
import pytest
import torch

from data.organised_clouds import valid_points
from feature_extractors.coreset import pick
from m3dm_runner import M3DM
from models.pointnet2_utils import interpolation_weights
from tests.conftest import fixture


def relative(ours, theirs):
    """Largest difference as a share of the largest absolute value."""
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def check_maps(ours, theirs, worst, mean):
    top = theirs.max()
    difference = np.abs(ours - theirs.astype(np.float64)) / top
    assert difference.max() <= worst + 1e-3  # the recorded maps are rounded to float16
    assert difference.mean() <= mean


@pytest.fixture(scope="module")
def first_points(passes):
    xyz = passes["train"][0][0][1][0]
    return xyz.flatten(1).T[valid_points(xyz)]


@pytest.mark.slow
def test_centres_and_neighbours_are_the_recorded_ones(full_method, first_points):
    recorded = fixture("features_eval")
    transformer = full_method.deep_feature_extractor.xyz_backbone
    index, center, neighbours = transformer.group(first_points, transformer.group_size)
    assert np.array_equal(index, recorded["center_index"])
    assert np.array_equal(center, recorded["center"])
    assert np.array_equal(np.sort(neighbours[recorded["group_rows"]], axis=1), recorded["group_sorted"])


@pytest.mark.slow
def test_tokens_and_interpolation(full_method, first_points):
    recorded = fixture("features_eval")
    full_method.extractor.train(False)  # other tests share its networks
    with torch.no_grad():
        tokens, center = full_method.deep_feature_extractor.xyz_backbone(first_points)
    assert relative(tokens[recorded["token_rows"]], recorded["xyz_tokens"]) < 1e-4
    index, weight = interpolation_weights(first_points[recorded["interp_pixels"]], center)
    assert relative((tokens[index] * weight[..., None]).sum(1), recorded["interp"]) < 1e-3


@pytest.mark.slow
def test_patches(passes):
    recorded = fixture("features_eval")
    train, test = passes["train"][0][3], passes["test"][0][3]
    assert relative(train["rgb"][recorded["rgb_rows"]], recorded["rgb_patch"]) < 1e-4
    assert relative(test["rgb"][recorded["test0_rgb_rows"]], recorded["test0_rgb_patch"]) < 1e-4
    assert relative(test["xyz"][recorded["patch_rows"]], recorded["test0_xyz_patch"]) < 1e-3
    assert relative(test["fusion"][recorded["patch_rows"]], recorded["test0_fusion_patch"]) < 1e-3


def test_coreset_picks():
    rng = np.random.Generator(np.random.PCG64(3))
    z = rng.standard_normal((4000, 20), np.float32) @ rng.standard_normal((20, 300), np.float32)
    z = z + np.float32(0.1) * rng.standard_normal((4000, 300), np.float32)
    recorded = fixture("coreset")
    assert relative(z[0], recorded["first_row"]) < 1e-5 and relative(z[-1], recorded["last_row"]) < 1e-5
    picks = pick([torch.from_numpy(z)], *z.shape, 400, 0.9, 0).numpy()
    assert np.isin(recorded["picks"], picks).mean() >= 0.99
    assert (recorded["picks"] == picks).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name, flags", [("full_eval_f1", []), ("double", ["--method_name", "DINO+Point_MAE"])])
def test_several_banks_without_coreset_before_the_late_fusion(evaluated, name, flags):
    recorded, found = fixture(name), evaluated("--f_coreset", "1", *flags)
    method = found.method
    if not flags:
        assert method.banks["xyz"].mean == pytest.approx(float(recorded["xyz_mean"]), rel=1e-3)
        assert method.banks["rgb"].std == pytest.approx(float(recorded["rgb_std"]), rel=1e-5)
    for i, name in enumerate(recorded["bank_names"]):
        assert tuple(method.banks[name].rows.shape) == tuple(recorded[f"patch_{name}_lib_shape"])
        np.testing.assert_allclose(found.evaluation.bank_score[name], recorded["bank_scores"][:, i], rtol=5e-4)
        check_maps(found.evaluation.bank_map[name], recorded["bank_maps"][:, i], worst=0.025, mean=0.0005)


def check_default_coreset(found, recorded):
    """The baseline of a method with late fusion and the default coreset against the recorded run."""
    for name in recorded["bank_names"]:
        assert tuple(found.method.banks[name].rows.shape) == tuple(recorded[f"patch_{name}_lib_shape"])
    np.testing.assert_allclose(
        found.method.late_fusion.weights["score"], recorded["late_fusion_score_coef"], rtol=0.0125
    )
    baseline, metrics = found.scored["baseline"], found.metrics["baseline"]
    np.testing.assert_allclose(baseline.image_preds, recorded["image_preds"], rtol=0.025)
    maps = recorded["pixel_maps"].astype(np.float64)
    assert (np.abs(np.stack(baseline.predictions) - maps) / maps.max()).mean() <= 0.02
    assert metrics.pixel_rocauc == pytest.approx(recorded["metrics"][1], abs=0.005)
    assert metrics.au_pro == pytest.approx(recorded["metrics"][2], abs=0.01)


@pytest.mark.slow
def test_full_setting_with_default_coreset(evaluated):
    recorded, found = fixture("full_eval_c32"), evaluated("--scoring", "disagreement")
    check_default_coreset(found, recorded)
    np.testing.assert_allclose(found.scored["disagreement"].image_preds, recorded["disagreement_scores"], rtol=0.0175)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, flags",
    [
        ("dino", ["--method_name", "DINO"]),
        ("pmae", ["--method_name", "Point_MAE"]),
        ("fusion", ["--method_name", "Fusion"]),
        ("add", ["--method_name", "DINO+Point_MAE+add"]),
    ],
)
def test_methods_without_coreset(evaluated, name, flags):
    recorded, found = fixture(name), evaluated("--f_coreset", "1", *flags)
    np.testing.assert_allclose(found.evaluation.decision_score, recorded["image_preds"], rtol=5e-4)
    assert np.array_equal(found.evaluation.label, recorded["image_labels"])
    metrics = found.metrics["baseline"]
    assert metrics.image_rocauc == pytest.approx(recorded["metrics"][0])
    assert metrics.pixel_rocauc == pytest.approx(recorded["metrics"][1], abs=0.005)
    assert metrics.au_pro == pytest.approx(recorded["metrics"][2], abs=0.005)


@pytest.mark.slow
def test_double_with_default_coreset(evaluated):
    check_default_coreset(evaluated("--method_name", "DINO+Point_MAE"), fixture("double_c32"))


# ---------------------------------------------------------------- where the networks have to run anew


def run_anew(args):
    runner = M3DM(args)
    runner.fit("cookie")
    runner.evaluate("cookie")
    return runner


@pytest.mark.slow
def test_train_mode_as_released(arguments):
    recorded, runner = fixture("full_train_f1"), run_anew(arguments("--f_coreset", "1"))
    for i, name in enumerate(recorded["bank_names"]):
        np.testing.assert_allclose(runner.evaluation.bank_score[name], recorded["bank_scores"][:, i], rtol=0.01)
    np.testing.assert_allclose(runner.evaluation.decision_score, recorded["image_preds"], rtol=0.03)


@pytest.mark.slow
def test_point_bert(arguments):
    recorded = fixture("pbert")
    runner = run_anew(
        arguments("--eval_mode", "--f_coreset", "1", "--method_name", "Point_MAE", "--xyz_backbone_name", "Point_Bert")
    )
    np.testing.assert_allclose(runner.evaluation.decision_score, recorded["image_preds"], rtol=7e-4)
    metrics = runner.metrics["baseline"]
    assert tuple(runner.method.patch_xyz_lib.shape) == tuple(recorded["patch_lib_shape"])
    assert runner.method.patch_lib is runner.method.banks[runner.method.bank_names[0]].rows
    assert metrics.pixel_rocauc == pytest.approx(recorded["metrics"][1], abs=0.005)
    assert metrics.au_pro == pytest.approx(recorded["metrics"][2], abs=0.005)
