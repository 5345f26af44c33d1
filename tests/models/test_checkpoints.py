"""Loading of checkpoints: every layout, and what is refused, in one line and without running anything."""

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from common.errors import InputError
from models.checkpoints import DINO_BASE, POINT_BERT, POINT_MAE, UFF, load_into, read_checkpoint
from models.feature_fusion import FeatureFusionBlock


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(2, 3), nn.BatchNorm1d(3)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def save(folder, name, content):
    torch.save(content, folder / name)
    return folder / name


def refusal(call, path):
    with pytest.raises(InputError) as info:
        call()
    text = str(info.value)
    assert len(text.splitlines()) == 1 and str(path) in text
    return text


def wrapped(role, state):
    """A checkpoint in the layout of the role."""
    state = {f"module.{role.prefix}{key}": value for key, value in state.items()}
    return state if role.entry is None else {role.entry: state, "epoch": 3}


@pytest.mark.parametrize("role", [DINO_BASE, POINT_MAE, POINT_BERT, UFF])
def test_loads_the_layout_of_each_role(tmp_path, role):
    source, target = Small(), Small()
    content = wrapped(role, source.state_dict())
    path = save(tmp_path, "c.pth", content)
    assert load_into(target, path, role) is target
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_what_released_files_hold_besides_does_not_matter(tmp_path):
    content = wrapped(POINT_BERT, Small().state_dict()) | {"args": argparse.Namespace(lr=0.1)}
    del content["base_model"]["module.transformer_q.norm.num_batches_tracked"]
    content["base_model"] |= {
        "module.transformer_k.x": torch.ones(1),
        "module.transformer_q.cls_head.0.weight": torch.ones(1),
    }
    load_into(Small(), save(tmp_path, "c.pth", content), POINT_BERT)


def test_uff_heads_may_be_missing_but_nothing_else(tmp_path):
    state = {k: v for k, v in FeatureFusionBlock(4, 4).state_dict().items() if "head" not in k}
    path = save(tmp_path, "uff.pth", {"model": state})
    loaded = FeatureFusionBlock.from_checkpoint(path, 4, 4)
    assert torch.equal(loaded.xyz_mlp.fc1.weight, state["xyz_mlp.fc1.weight"])
    del state["rgb_mlp.fc2.bias"]
    save(tmp_path, "uff.pth", {"model": state})
    assert "rgb_mlp.fc2.bias" in refusal(lambda: FeatureFusionBlock.from_checkpoint(path, 4, 4), path)


@pytest.mark.parametrize(
    "role, content",
    [
        (POINT_MAE, wrapped(UFF, Small().state_dict())),
        (POINT_MAE, Small().state_dict()),
        (POINT_MAE, wrapped(POINT_BERT, Small().state_dict())),
        (DINO_BASE, wrapped(UFF, Small().state_dict())),
        (UFF, Small().state_dict()),
        (UFF, {"model": {}}),
        (UFF, {"model": [1]}),
        (UFF, torch.ones(2)),
        (DINO_BASE, {}),
    ],
)
def test_wrong_checkpoint_for_the_role(tmp_path, role, content):
    path = save(tmp_path, "c.pth", content)
    text = refusal(lambda: load_into(Small(), path, role), path)
    assert role.title in text and role.source in text


def changed(change):
    state = Small().state_dict()
    change(state)
    return wrapped(UFF, state)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.update(extra=torch.ones(1)), ["'extra'", "unexpected"]),
        (lambda s: s.pop("fc.bias"), ["'fc.bias'", "missing"]),
        (lambda s: (s.pop("fc.bias"), s.pop("fc.weight")), ["'fc.weight'", "missing", "1 more"]),
        (lambda s: s.update({"fc.weight": torch.ones(3, 5)}), ["'fc.weight'", "(3, 5)", "(3, 2)"]),
        (lambda s: s.update({"fc.weight": 5}), ["'fc.weight'", "int"]),
    ],
)
def test_keys_have_to_fit(tmp_path, change, words):
    path = save(tmp_path, "c.pth", changed(change))
    module = Small()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    text = refusal(lambda: load_into(module, path, UFF), path)
    assert [word for word in words if word not in text] == []
    assert all(torch.equal(module.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("how", ["torch", "nested", "pickle"])
def test_arbitrary_object_is_refused_and_not_run(tmp_path, how):
    path, mark = tmp_path / "c.pth", tmp_path / "ran"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Touch(mark), protocol=2))
    else:
        torch.save({"model": Touch(mark)} if how == "nested" else Touch(mark), path)
    assert "UFF" in refusal(lambda: read_checkpoint(path, UFF), path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"garbage" * 99, b"PK\x03\x04garbage", b"<html>not found</html>", b"\x80\x02", "truncated"]
)
def test_garbage_is_refused(tmp_path, content):
    path = save(tmp_path, "c.pth", wrapped(UFF, Small().state_dict()))
    path.write_bytes(path.read_bytes()[:-200] if content == "truncated" else content)
    assert "UFF" in refusal(lambda: read_checkpoint(path, UFF), path)
