"""The add-on against a second, independent writing of the equations, and its hooks on a bare method object."""

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


def reference(decision, rgb, xyz, lam=0.5, k=64, weights=(0.6, 0.25, 0.15), eta=(1, 1), delta=0.2):
    """S_final and M_pix of arrays [n, H, W], all samples at once."""

    def unit(m):
        low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
        return (m - low) / (high - low + 1e-8)

    def tilde(v):
        return (v - v.min()) / (v.max() - v.min()) if v.max() > v.min() else v * 0

    dis = np.abs(unit(rgb) - unit(xyz))
    pix = decision * (1 + lam * dis)
    flat = np.sort(pix.reshape(len(pix), -1))
    base, q95 = flat[:, -k:].mean(1), np.percentile(flat, 95, axis=1)
    robust = weights[0] * q95 + weights[1] * flat.mean(1) + weights[2] * dis.mean((1, 2))
    r, c = 1 - abs(tilde(base) - tilde(q95)), abs(tilde(base) - tilde(robust))
    w = 1 / (1 + np.exp(-(eta[0] * c - eta[1] * r)))
    return (1 - w) * base + w * robust + delta * np.clip(q95 - base, 0, None), pix


def random_maps(seed, n=5, size=32):
    return np.random.default_rng(seed).gamma(2.0, size=(3, n, size, size))


def pairs(rgb, xyz, bank=None):
    return [
        addon.SampleMaps(a, b, None if bank is None else c) for a, b, c in zip(rgb, xyz, rgb if bank is None else bank)
    ]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0, 2), st.integers(1, 1024), st.floats(0, 1))
def test_disagreement_equals_the_reference(seed, n, lam, topk, delta):
    decision, rgb, xyz = random_maps(seed, n)
    parameters = addon.DEFAULTS._replace(lam=lam, topk=topk, delta=delta)
    scored = addon.score_all(["disagreement"], np.zeros(n), list(decision), pairs(rgb, xyz), parameters)["disagreement"]
    scores, maps = reference(decision, rgb, xyz, lam, topk, delta=delta)
    np.testing.assert_allclose(scored.image_preds, scores, rtol=1e-9)
    np.testing.assert_allclose(np.stack(scored.predictions), maps, rtol=1e-12)


@settings(deadline=None, max_examples=60)
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


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 51))
def test_recovery_as_printed_is_zero_below_5_percent(seed, topk):
    (m,), _, _ = random_maps(seed, 1)
    assert addon.recovery_score(addon.quantile(m, 0.95), addon.base_score(m, topk), 0.3) <= 4 * np.spacing(m.max())


def test_constants():
    flat = np.full((4, 4), 3.0)
    assert not addon.normalise_map(flat).any()
    assert not addon.normalise_statistic(np.full(3, 7.0)).any()
    assert addon.normalise_statistic(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert addon.base_score(np.arange(16.0).reshape(4, 4), 2) == 14.5
    assert addon.base_score(np.arange(16.0), 1000) == 7.5
    assert addon.blending_weight(0.0, 0.0) == 0.5
    assert addon.blending_weight(np.array([1e6]), np.array([0.0]))[0] == 1


def method(names, n=4, recorded=True, fusion=False):
    decision, rgb, xyz = random_maps(3, n)
    args = argparse.ArgumentParser()
    addon.add_arguments(args, several=True)
    m = SimpleNamespace(
        args=args.parse_args(["--scoring", *names]),
        image_preds=[np.array([float(i)]) for i in range(n)],
        predictions=list(decision),
        pixel_preds=list(decision.ravel()),
    )
    if recorded:
        for a, b in zip(rgb, xyz):
            addon.record(m, a[None], b[None], a if fusion else None)
    return m, decision, rgb, xyz


def test_apply_replaces_what_the_release_reads():
    m, decision, rgb, xyz = method(["disagreement"])
    addon.apply(m)
    scores, maps = reference(decision, rgb, xyz)
    assert [p.shape for p in m.image_preds] == [(1,)] * 4
    np.testing.assert_allclose(np.stack(m.image_preds)[:, 0], scores)
    np.testing.assert_allclose(np.array(m.pixel_preds), maps.ravel())
    np.testing.assert_allclose(np.stack(m.predictions), maps)
    assert list(m.scored) == ["baseline", "disagreement"]
    assert m.scored["baseline"].image_preds.tolist() == [0, 1, 2, 3]


def test_baseline_replaces_nothing():
    m, *_ = method(["baseline"], recorded=False)
    before = dict(m.__dict__)
    addon.apply(m)
    assert all(m.__dict__[key] is before[key] for key in ("image_preds", "predictions", "pixel_preds"))


def test_a_patched_checkout_that_asks_for_nothing_is_left_alone():
    m, decision, *_ = method(["baseline"], recorded=False)
    m.args.scoring = "baseline"
    before = dict(m.__dict__)
    addon.record(m, decision[0], decision[0], decision[0])
    addon.apply(m)
    assert m.__dict__ == before


def test_recorded_maps_are_copies():
    m, decision, *_ = method(["disagreement"], recorded=False)
    addon.record(m, decision[0][None], decision[1], decision[2])
    first = decision[0].copy()
    decision[0] *= 0
    assert np.array_equal(m.scoring_samples[0].rgb, first)


def test_missing_maps_are_refused():
    with pytest.raises(ValueError, match="0 were recorded"):
        addon.apply(method(["disagreement"], recorded=False)[0])
    m, *_ = method(["disagreement", "--scoring_map", "bank"])
    with pytest.raises(ValueError, match="fusion bank"):
        addon.apply(m)
    with pytest.raises(ValueError, match="unknown"):
        addon.score_all(["nosuch"], [], [], [])


def test_the_fusion_banks_map_can_be_chosen():
    m, _, rgb, xyz = method(["disagreement", "--scoring_map", "bank"], fusion=True)
    addon.apply(m)
    np.testing.assert_allclose(np.stack(m.predictions), reference(rgb, rgb, xyz)[1])


@pytest.mark.parametrize("source", ["decision", "bank"])
def test_variants_equal_their_definitions(source):
    decision, rgb, xyz = random_maps(7)
    bank = decision[::-1] * 2
    fusion = bank if source == "bank" else decision
    parameters = addon.DEFAULTS._replace(map_source=source, topk=20)
    released = np.arange(5.0)
    got = addon.score_all(list(addon.SCORINGS), released, list(decision), pairs(rgb, xyz, bank), parameters)
    pix = reference(fusion, rgb, xyz)[1]
    top = np.sort(pix.reshape(5, -1))[:, -20:].mean(1)
    expected = {
        "baseline": (released, decision),
        "pixel_max": (fusion.max((1, 2)), fusion),
        "pixel_topk": (np.sort(fusion.reshape(5, -1))[:, -20:].mean(1), fusion),
        "disagreement_only": (pix.max((1, 2)), pix),
        "disagreement_base": (top, pix),
        "partial": (reference(fusion, rgb, xyz, k=20, weights=(0.6, 0.25, 0), delta=0)[0], pix),
        "disagreement": (reference(fusion, rgb, xyz, k=20)[0], pix),
    }
    assert list(got) == list(addon.SCORINGS)
    for name, (scores, maps) in expected.items():
        np.testing.assert_allclose(got[name].image_preds, scores, rtol=1e-9)
        np.testing.assert_allclose(np.stack(got[name].predictions), maps, rtol=1e-12)
    dis = np.stack([addon.disagreement_map(a, b).mean() for a, b in zip(rgb, xyz)])
    q95, q99 = np.quantile(pix, [0.95, 0.99], axis=(1, 2))
    robust = 0.6 * q95 + 0.25 * pix.mean((1, 2)) + 0.15 * (dis + q99 - q95)

    def unit(v):
        return (v - v.min()) / (v.max() - v.min())

    w = 1 / (1 + np.exp(-abs(unit(top) - unit(robust)) + 1 - abs(unit(top) - unit(q95))))
    np.testing.assert_allclose(got["full"].image_preds, (1 - w) * top + w * robust, rtol=1e-9)
    assert got["partial"].predictions is got["disagreement"].predictions


def test_normalized_recovery():
    stats = addon.Statistics(*np.random.default_rng(0).random((6, 9)))
    printed = addon.calibrate(stats, addon.DEFAULTS._replace(delta=0.3))
    terms = addon.calibrate(stats, addon.DEFAULTS._replace(delta=0.3, recovery="normalized"))
    base, q95 = addon.normalise_statistic(stats.base), addon.normalise_statistic(stats.q95)
    expected = 0.3 * (1 - abs(base - q95)) * np.clip(q95 - base, 0, None) * np.ptp(stats.base)
    np.testing.assert_allclose(terms.rec, expected)
    assert terms.rec.max() > 0 and np.array_equal(printed.w, terms.w)
    np.testing.assert_allclose(terms.final - terms.rec, printed.final - printed.rec)


def test_train_reference_sets_the_scale_and_clips():
    assert addon.normalise_statistic([0.0, 2.0, 3.0, 9.0], [1.0, 5.0]).tolist() == [0, 0.25, 0.5, 1]
    m, decision, rgb, xyz = method(["disagreement", "--scoring_reference", "train"])
    normal = random_maps(11)
    m.scoring_reference = list(normal[0]), pairs(normal[1], normal[2])
    addon.apply(m)
    one = addon.score_all(
        ["disagreement"], [0.0], [decision[2]], pairs(rgb[2:3], xyz[2:3]), reference=m.scoring_reference
    )
    np.testing.assert_allclose(
        m.image_preds[2], one["disagreement"].image_preds
    )  # a part alone scores as it does among others


def test_all_names_every_scoring():
    parser = argparse.ArgumentParser()
    addon.add_arguments(parser, several=True)
    assert addon.names_from(parser.parse_args(["--scoring", "all"])) == list(addon.SCORINGS)


def test_a_foreign_parser_takes_one_name_only():
    parser = argparse.ArgumentParser()
    addon.add_arguments(parser)
    assert addon.names_from(parser.parse_args([])) == ["baseline"]
    assert addon.names_from(parser.parse_args(["--scoring", "disagreement"])) == ["disagreement"]
    for argv in (
        ["--scoring", "baseline", "disagreement"],
        ["--scoring", "all"],
        ["--scoring_reference", "train"],
        ["--scoring_topk", "0"],
        ["--scoring_lambda", "nan"],
        ["--scoring_delta", "-1"],
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(argv)


def test_it_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(Path(addon.__file__).read_text())
    names = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names) | {"numpy"}
