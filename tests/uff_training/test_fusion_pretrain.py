"""UFF training: what is learned from which pairs, checkpoints, going on, refusals."""

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import fusion_pretrain
from engine_fusion_pretrain import Training
from models.checkpoints import UFF, read_checkpoint
from models.feature_fusion import FeatureFusionBlock
from tests.make_pairs import RGB, XYZ, command, load, make_part, options, write_parts
from uff_training.patch_pairs import load_pairs, patch_of_row
from uff_training.training_plan import epoch_order, learning_rate, plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "patch_lib"
    folder.mkdir()
    return folder


@pytest.fixture
def train(data, tmp_path):
    """Function: the exit code of fusion_pretrain.py on ``data``, into the folder "out", with more flags."""
    return lambda *flags: fusion_pretrain.main(command(data, tmp_path / "out", *flags))


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


# ---------------------------------------------------------------- what is learned


def matched(model, parts):
    """Share of xyz patches found by their RGB patch among a part's own; chance is 4 in the rows of a part."""
    hits = rows = 0
    for part in parts:
        shown = part[: len(part) * 3 // 4]
        with torch.no_grad():
            queries, keys = model.match(shown[:, :XYZ], shown[:, XYZ:])
        patch = patch_of_row(len(part), "matching")[: len(shown)]
        hits, rows = hits + int((patch[(queries @ keys.T).argmax(1)] == patch).sum()), rows + len(shown)
    return hits / rows


def test_matching_is_learned_from_files_of_either_order(data, tmp_path):
    grid, chance = 14, 4 / 588
    for first, stored in ((0, "matching"), (8, "released")):
        write_parts(data, 8, order=stored, grid=grid, first=first)
    unseen = [make_part(100 + n, grid=grid) for n in range(3)]
    training = Training(options(data, tmp_path, batch_size=2, accum_iter=1, steps=24))
    assert matched(training.model, unseen) < 5 * chance
    training.run()
    assert matched(training.model, unseen) > 100 * chance


def test_accumulated_batches_are_one_step_of_their_mean(data, tmp_path):
    write_parts(data, 6)
    asked = options(data, tmp_path, batch_size=2, accum_iter=2, epochs=1, warmup_epochs=0)
    training = Training(asked)
    torch.manual_seed(0)
    model = FeatureFusionBlock(XYZ, RGB)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003, betas=(0.9, 0.95), weight_decay=0.01)
    batches, losses = epoch_order(6, 0, training.plan, asked), []
    for group, rate in ((batches[:2], 0.003), (batches[2:], 0.0015)):  # a step of two batches, one of one
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = 0
        for numbers in group:
            pairs = [load_pairs(training.folder.paths[n], XYZ)[1:3] for n in numbers]
            queries, keys = model.match(*(torch.cat(parts) for parts in zip(*pairs)))
            loss = loss + 2 * torch.nn.functional.cross_entropy(queries @ keys.T, torch.arange(len(keys))) / len(group)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [point.loss for point in training._epoch()] == pytest.approx(losses, rel=1e-5)
    for name, value in training.model.state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], atol=2e-5), name


# ---------------------------------------------------------------- command line, checkpoints


def test_number_of_steps():
    # MVTec 3D-AD has 2656 training parts: 166 batches of 16, the last step of an epoch takes 6 of them
    assert plan(2656, options()) == (166, 11, 33, 11, 3)
    assert plan(2656, options(steps=750)) == (166, 11, 750, 250, 69)
    assert plan(244, options(steps=750, accum_iter=1, warmup_epochs=9)) == (15, 15, 750, 250, 50)
    warm = options(epochs=2, batch_size=2, accum_iter=1)  # an epoch of linear warm-up, then half a cosine
    assert [learning_rate(n, plan(5, warm), warm) for n in range(4)] == pytest.approx([0.0015, 0.003, 0.003, 0.0015])
    order = epoch_order(50, 3, plan(50, options()), options())  # the last incomplete batch is dropped
    assert [len(batch) for batch in order] == [16] * 3 and len(set().union(*order)) == 48


def test_command_line(data, train, tmp_path, capsys, caplog):
    write_parts(data, 3, half=True)
    write_parts(data, 2, first=3, order="released")
    output = tmp_path / "out"
    assert train("--batch_size", 2, "--accum_iter", 1, "--epochs", 2, "--local_rank", 0) == 0
    printed = capsys.readouterr().out
    assert f"5 files of xyz {XYZ} + RGB {RGB}; 4 optimiser steps in 2 epochs" in printed
    assert "epoch 2/2, step 4/4: loss" in printed and f"--fusion_module_path {output / 'checkpoint-1.pth'}" in printed
    assert "released order; they are matched to their xyz patches again" in caplog.text
    assert {p.name for p in output.iterdir()} == {"checkpoint-0.pth", "checkpoint-1.pth"}

    content = load(output / "checkpoint-1.pth")
    assert list(content) == ["model", "optimizer", "epoch", "scaler", "args"] and content["epoch"] == 1
    assert content["args"]["lr"] == 0.003 and content["args"]["steps_done"] == 4
    torch.amp.GradScaler("cpu").load_state_dict(content["scaler"])  # refuses an empty one
    group = content["optimizer"]["param_groups"][0]
    assert group["betas"] == (0.9, 0.95) and group["weight_decay"] == 0.01 and len(content["optimizer"]["state"]) == 16
    model = FeatureFusionBlock.from_checkpoint(output / "checkpoint-1.pth", XYZ, RGB)
    released = read_checkpoint(output / "checkpoint-1.pth", UFF)
    assert same(model.state_dict(), content["model"]) and same(released, content["model"])
    assert {"xyz_norm.weight", "rgb_mlp.fc2.bias", "xyz_head.weight"} <= set(released) and len(released) == 16


def test_save_every_overwrite_and_resume_flags(data, train, tmp_path, capsys):
    write_parts(data, 2)
    output = tmp_path / "out"

    def run(*flags):
        return train("--batch_size", 2, "--accum_iter", 1, "--save_every", 2, "--epochs", 3, *flags)

    assert run("--resume") == 2 and "no checkpoint-<epoch>.pth to go on from" in capsys.readouterr().err
    assert run() == 0 and sorted(p.name for p in output.glob("*.pth")) == ["checkpoint-1.pth", "checkpoint-2.pth"]
    assert run() == 2 and "--resume" in capsys.readouterr().err
    for change, told in ((("--lr", 0.1), "lr"), (("--epochs", 4), "epochs 3, now 4"), (("--seed", 1), "seed")):
        assert run("--resume", *change) == 2 and told in capsys.readouterr().err
    before, old = load(output / "checkpoint-2.pth"), load(output / "checkpoint-1.pth")
    as_of_0_9 = {**old, "args": argparse.Namespace(**old["args"], negatives="gathered")}
    torch.save(as_of_0_9, output / "checkpoint-1.pth")
    (output / "checkpoint-2.pth").unlink()
    assert run("--resume") == 0
    assert same(load(output / "checkpoint-2.pth")["model"], before["model"])
    assert run("--resume") == 0  # nothing left to do
    write_parts(data, 1, half=True)  # toy0 again, another size
    assert run("--resume") == 2 and "other files" in capsys.readouterr().err
    assert run("--epochs", 1, "--overwrite") == 0
    assert [p.name for p in output.glob("*.pth")] == ["checkpoint-0.pth"]


@pytest.mark.slow
def test_killed_training_goes_on_to_the_same_end(data, tmp_path):
    write_parts(data, 9)
    flags = ("--batch_size", 2, "--accum_iter", 3, "--epochs", 12)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = [sys.executable, "fusion_pretrain.py", *command(data, killed, *flags)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while not (killed / "checkpoint-1.pth").exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert 2 <= len(list(killed.glob("checkpoint-*.pth"))) < 12
    for output, more in ((killed, ["--resume"]), (whole, [])):
        assert fusion_pretrain.main(command(data, output, *flags, *more)) == 0
    ends = [load(output / "checkpoint-11.pth") for output in (killed, whole)]
    assert all(same(ends[0][name], ends[1][name]) for name in ("model", "optimizer", "scaler", "epoch"))


# ---------------------------------------------------------------- refusals


def one_line(capsys, code, *parts):
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("fusion_pretrain.py: ") and all(str(part) in lines[-1] for part in parts), lines
    return code


def test_refused_before_any_work(data, train, tmp_path, capsys, monkeypatch):
    assert one_line(capsys, train(), data, "no .pt") == 2
    write_parts(data, 3)
    assert one_line(capsys, train(), "3 files", "--batch_size 3") == 2
    assert one_line(capsys, train("--batch_size", 2, "--xyz_dim", 99), "99", "--xyz_dim") == 2
    (data / "toy1.pt").write_bytes(b"")
    assert one_line(capsys, train("--batch_size", 2), "toy1.pt", "empty") == 2
    write_parts(data, 1, first=1)
    taken = tmp_path / "taken"
    taken.write_text("a file where a folder should be")
    assert one_line(capsys, train("--batch_size", 2, "--output_dir", taken), "taken", "cannot be written") == 2
    for flags in (["--lr", "0"], ["--min_lr", "1"], ["--resume", "--overwrite"]):
        with pytest.raises(SystemExit, match="2"):
            train(*flags)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="2"):
        train("--batch_size", 2)
    assert "--nproc_per_node 1" in capsys.readouterr().err


@pytest.mark.parametrize("value, told", [(math.nan, "NaN"), (3e38, "not a finite number")])
def test_stops_with_step_and_file(data, train, tmp_path, capsys, value, told):
    write_parts(data, 4)
    spoiled = make_part(2)
    spoiled[3, 3:9] = value  # six of 3e38: their sum is infinite
    torch.save(spoiled, data / "toy2.pt")
    order = epoch_order(4, 0, plan(4, options(batch_size=2)), options(batch_size=2))
    code = train("--batch_size", 2, "--accum_iter", 1, "--epochs", 5)
    assert one_line(capsys, code, told, data / "toy2.pt", f"step {[2 in b for b in order].index(True)}") == 1
    assert "toy1.pt" not in capsys.readouterr().err and not list((tmp_path / "out").glob("*.pth"))


def test_diverged_weights_are_not_saved(data, train, tmp_path, capsys):
    write_parts(data, 2)
    code = train("--batch_size", 2, "--accum_iter", 1, "--epochs", 9, "--lr", 1e30)
    assert one_line(capsys, code, "finite", "--lr", "step") == 1
    for path in (tmp_path / "out").glob("*.pth"):
        assert all(tensor.isfinite().all() for tensor in load(path)["model"].values())


def test_batches_without_usable_patches(data, train, capsys, caplog):
    write_parts(data, 2)
    for number in range(2):
        part = make_part(number)
        part[:, 3] = 0
        torch.save(part, data / f"toy{number}.pt")
    assert one_line(capsys, train("--batch_size", 2), "no usable patches at step 0", "toy0.pt") == 1
    write_parts(data, 1)
    caplog.clear()
    assert train("--batch_size", 2, "--epochs", 1, "--overwrite") == 0
    assert "toy1.pt: no usable patches" in caplog.text
