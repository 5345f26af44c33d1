"""The add-on against a second writing of the equations, and its hooks on bare method objects."""

import argparse
import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring_addon as addon
from tests.scoring.reference_scoring import reference


def random_maps(seed, n=5, size=32):
    return np.random.default_rng(seed).gamma(2.0, size=(3, n, size, size))


def pairs(rgb, xyz):
    return [addon.SampleMaps(a, b, None) for a, b in zip(rgb, xyz)]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0, 2), st.integers(1, 1024), st.floats(0, 1))
def test_disagreement_equals_the_reference(seed, n, lam, topk, delta):
    decision, rgb, xyz = random_maps(seed, n)
    parameters = addon.DEFAULTS._replace(lam=lam, topk=topk, delta=delta)
    scored, pix = addon.score_test_set(list(decision), pairs(rgb, xyz), parameters)
    scores, maps = reference(decision, rgb, xyz, lam, topk, delta=delta)
    np.testing.assert_allclose(scored, scores, rtol=1e-9)
    np.testing.assert_allclose(np.stack(pix), maps, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1e3), st.floats(-5, 5))
def test_invariants_of_the_maps(seed, gain, shift):
    (rgb,), (xyz,), (fusion,) = random_maps(seed, 1)
    dis = addon.disagreement_map(rgb, xyz)
    assert 0 <= dis.min() and dis.max() <= 1
    np.testing.assert_allclose(addon.disagreement_map(gain * rgb + shift, xyz), dis, atol=1e-6)
    np.testing.assert_allclose(addon.disagreement_map(xyz, rgb), dis)
    assert not addon.disagreement_map(rgb, rgb).any()
    assert (addon.modulated_map(fusion, dis, 0.5) >= fusion).all()
    assert np.array_equal(addon.modulated_map(fusion, dis, 0), fusion)
    for topk in (1, 51):  # below 5 % of 1024 pixels the printed recovery term is 0
        assert addon.recovery_score(np.quantile(fusion, 0.95), addon.base_score(fusion, topk), 0.3) <= 4e-15


def test_constants():
    flat = np.full((4, 4), 3.0)
    assert not addon.normalise_map(flat).any()
    assert not addon.normalise_statistic(np.full(3, 7.0)).any()
    assert addon.normalise_statistic([0.0, 2.0, 3.0, 9.0], [1.0, 5.0]).tolist() == [0, 0.25, 0.5, 1]
    assert addon.base_score(np.arange(16.0), 1000) == 7.5
    assert addon.blending_weight(np.array([1e6]), np.array([0.0]))[0] == 1


def test_normalized_recovery():
    base, q95, robust = np.random.default_rng(0).random((3, 9))
    printed = addon.final_terms(base, q95, robust, addon.DEFAULTS._replace(delta=0.3))
    terms = addon.final_terms(base, q95, robust, addon.DEFAULTS._replace(delta=0.3, recovery="normalized"))
    base_n, q95_n = addon.normalise_statistic(base), addon.normalise_statistic(q95)
    expected = 0.3 * (1 - abs(base_n - q95_n)) * np.clip(q95_n - base_n, 0, None) * np.ptp(base)
    np.testing.assert_allclose(terms.rec, expected)
    assert terms.rec.max() > 0 and np.array_equal(printed.w, terms.w)
    np.testing.assert_allclose(terms.final - terms.rec, printed.final - printed.rec)


def options(*argv):
    parser = argparse.ArgumentParser()
    addon.add_arguments(parser)
    return parser.parse_args(["--scoring", *argv])


class Method:
    """What the hooks need of a method object; tests/patches runs them in whole checkouts."""

    def __init__(self, args, decisions=()):
        self.args, self.predictions = args, list(decisions)
        self.image_preds = [np.array([m.max()]) for m in decisions]

    def calculate_metrics(self):
        import scoring_addon

        scoring_addon.apply(self)

    def predict(self, *maps):
        import scoring_addon

        scoring_addon.record(self, *maps)


def test_samples_without_recorded_maps_are_an_error():
    with pytest.raises(ValueError, match="2 new test samples, but 0 with recorded maps"):
        Method(options("disagreement"), np.zeros((2, 4, 4))).calculate_metrics()


def test_the_fusion_banks_map_and_options_in_a_dictionary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decision, rgb, xyz = random_maps(4)
    method = Method(vars(options("disagreement", "--scoring_map", "bank", "--scoring_lambda", "0.7")), decision)
    for a, b in zip(rgb, xyz):
        method.predict(a[None], b[None], a)
    method.calculate_metrics()
    np.testing.assert_allclose(np.stack(method.predictions), reference(rgb, rgb, xyz, 0.7)[1])


@pytest.mark.parametrize("methods, word", [({"m": Method(None)}, "self.args"), ({}, "no method")])
def test_a_runner_that_cannot_be_scored_is_refused_before_any_work(methods, word, capsys):
    with pytest.raises(SystemExit) as end:
        addon.check(SimpleNamespace(args=options("disagreement"), methods=methods))
    err = capsys.readouterr().err
    assert end.value.code == 2 and word in err and len(err.splitlines()) == 1


def test_a_foreign_parser_takes_one_name_only(capsys):
    for argv in (
        ["baseline", "disagreement"],
        ["all"],
        ["full"],
        ["disagreement", "--scoring_reference", "train"],
        ["disagreement", "--scoring_topk", "0"],
        ["disagreement", "--scoring_lambda", "nan"],
        ["disagreement", "--scoring_delta", "-1"],
    ):
        with pytest.raises(SystemExit):
            options(*argv)
        assert "error: " in capsys.readouterr().err
    assert addon.parameters_from(options("disagreement")) == addon.DEFAULTS


def test_it_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(addon.__file__).read_text(), feature_version=(3, 8))
    names = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names) | {"numpy"}
