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


def changed(**changes):
    """UFF's layout with values changed or, if None, removed."""
    state = {**Small().state_dict(), **{name.replace("_", "."): value for name, value in changes.items()}}
    return wrapped(UFF, {name: value for name, value in state.items() if value is not None})


OTHER_LAYOUT = "another layout"


@pytest.mark.parametrize(
    "role, content, words",
    [
        (POINT_MAE, wrapped(UFF, Small().state_dict()), OTHER_LAYOUT),
        (POINT_MAE, wrapped(POINT_BERT, Small().state_dict()), OTHER_LAYOUT),
        (DINO_BASE, wrapped(UFF, Small().state_dict()), OTHER_LAYOUT),
        (UFF, Small().state_dict(), OTHER_LAYOUT),
        (UFF, {"model": {}}, OTHER_LAYOUT),
        (UFF, {"model": [1]}, OTHER_LAYOUT),
        (UFF, torch.ones(2), OTHER_LAYOUT),
        (DINO_BASE, {}, OTHER_LAYOUT),
        (UFF, changed(extra=torch.ones(1)), ["'extra'", "unexpected"]),
        (UFF, changed(fc_bias=None, fc_weight=None), ["'fc.weight'", "missing", "1 more"]),
        (UFF, changed(fc_weight=torch.ones(3, 5)), ["'fc.weight'", "(3, 5)", "(3, 2)"]),
        (UFF, changed(fc_weight=5), ["'fc.weight'", "int"]),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_loaded(tmp_path, role, content, words):
    path, module = save(tmp_path, "c.pth", content), Small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    text = refusal(lambda: load_into(module, path, role), path)
    assert all(word in text for word in ([role.title, role.source] if words is OTHER_LAYOUT else words))
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())


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
