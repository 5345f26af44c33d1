"""A fitted method as arrays and JSON: large banks with their bounds, late fusion, what is refused."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from feature_extractors.memory_bank import MemoryBank
from feature_extractors.multiple_features import METHODS
from feature_extractors.nearest_rows import FEWEST_BOUNDED
from feature_extractors.settings import Fixes
from inspection.fitted import restored_method, state_of
from inspection.saved_model import SavedModel, examined_with
from tests.fakes import FakeExtractor

WIDTHS = {"rgb": 70, "xyz": 80, "fusion": 90}
EVAL = Fixes(eval_mode=True)


def part(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"rgb": 784, "xyz": 3136, "fusion": 3136}
    return {name: scale * torch.randn(sizes[name], width, generator=generator) for name, width in WIDTHS.items()}


@cache
def fitted(name="DINO+Point_MAE", fixes=EVAL, scale=1.0, **settings):
    method = METHODS[name](FakeExtractor(**WIDTHS), fixes, random_state=0, f_coreset=0.02, **settings)
    for seed in range(3):
        method.add_sample_to_mem_bank(part(seed, scale), "toy")
    method.run_coreset()
    if method.needs_late_fusion_pass:
        for seed in range(3):
            method.add_sample_to_late_fusion_mem_bank(part(seed, scale))
        method.run_late_fusion()
    return method


def through_files(method, name):
    arrays, facts = state_of(method, name)
    for array in arrays.values():
        array.setflags(write=False)  # as those of a mapped file
    return restored_method(arrays, json.loads(json.dumps(facts)), FakeExtractor(**WIDTHS)), arrays


def same(one, other):
    judged = [method.judge(part(9)) for method in (one, other)]
    assert judged[0].score == judged[1].score and np.array_equal(judged[0].map, judged[1].map)
    assert one.map_weights == other.map_weights


def test_a_model_of_version_0_9_has_a_setting_that_is_gone():
    method = fitted("Point_MAE")
    arrays, facts = state_of(method, "Point_MAE")
    for partitions in (None, 4):
        older = {**facts, "settings": {**facts["settings"], "coreset_partitions": partitions}}
        same(method, restored_method(arrays, json.loads(json.dumps(older)), FakeExtractor(**WIDTHS)))


def test_a_large_bank_keeps_its_bound():
    method = fitted.__wrapped__()  # one of its own, since it is changed
    rows = torch.randn(FEWEST_BOUNDED + 100, WIDTHS["xyz"], generator=torch.Generator().manual_seed(5))
    zeros = torch.zeros(len(rows), dtype=torch.long)
    method.banks["xyz"] = MemoryBank(rows, zeros, 0.1, 1.3, 0.0, 1000.0)
    again, arrays = through_files(method, "DINO+Point_MAE")
    kept, made = again.banks["xyz"].search.bound, method.banks["xyz"].search.bound
    assert kept is not None and torch.equal(kept.z, made.z) and kept.largest_norm == made.largest_norm
    assert again.banks["rgb"].search.bound is None and arrays["bank.xyz.bound.z"].shape == (len(rows), 65)
    same(method, again)


def test_a_model_of_half_precision_of_version_0_9_still_judges():
    method = fitted()
    arrays, facts = state_of(method, "DINO+Point_MAE")
    half = {key: of.astype(np.float16) if key.endswith(".rows") else of for key, of in arrays.items()}
    half = {key: of for key, of in half.items() if not key.endswith(".norms")}
    again = restored_method(half, {**facts, "precision": "half"}, FakeExtractor(**WIDTHS))
    assert again.judge(part(9)).score == pytest.approx(method.judge(part(9)).score, rel=1e-2)


def test_train_mode_is_refused():
    with pytest.raises(InputError, match="train mode"):
        state_of(fitted("Point_MAE", Fixes()), "Point_MAE")


def test_facts_that_earlier_models_know_are_ignored():
    meta = {"fitted": {"settings": {"img_size": 224}}, "usual": {"picture_bits": 8, "mask_largest": 0.0}}
    assert examined_with(SavedModel(Path("old.m3dm"), {}, meta))[1].picture_bits == 8
