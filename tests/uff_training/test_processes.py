"""Training on two processes under torchrun, against one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fusion_pretrain
from models.feature_fusion import FeatureFusionBlock
from tests.make_pairs import RGB, XYZ, command, load, make_part, write_parts
from uff_training.loss_curve import read_curve
from uff_training.matching_loss import matching_loss
from uff_training.patch_pairs import find_pair_files, load_pairs, save_patch_pair
from uff_training.processes import Processes
from uff_training.training_plan import TrainingSettings, epoch_order, plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "patch_lib"
    folder.mkdir()
    return folder


def launch(arguments):
    """fusion_pretrain.py on two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, "fusion_pretrain.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("negatives", ["gathered", "own"])
def test_two_processes(data, tmp_path, negatives):
    for number in range(8):  # parts differ in background, so the processes in their number of pairs
        save_patch_pair(data / f"toy{number}.pt", make_part(number, background=number % 3 == 0))
    two, one = tmp_path / "two", tmp_path / "one"
    flags = ("--accum_iter", 2, "--epochs", 2, "--negatives", negatives)
    launched = launch(command(data, two, "--batch_size", 2, *flags))
    assert launched.returncode == 0, launched.stderr
    assert "2 processes on cpu" in launched.stdout and launched.stdout.count("step 2/2") == 1
    points = read_curve(two / "uff_loss.csv")
    folder = find_pair_files(data)
    if negatives == "gathered":
        assert fusion_pretrain.main(command(data, one, "--batch_size", 4, *flags)) == 0
        for ours, theirs in zip(points, read_curve(one / "uff_loss.csv"), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        a, b = (load(output / "checkpoint-1.pth")["model"] for output in (two, one))
        assert all(torch.allclose(a[name], b[name], atol=1e-4) for name in a)
    else:
        settings = TrainingSettings(batch_size=2, accum_iter=2)
        torch.manual_seed(0)
        model, losses, counts = FeatureFusionBlock(XYZ, RGB), [], []
        for rank in range(2):
            for numbers in epoch_order(8, 0, settings, plan(8, settings, 2), Processes(rank, 2)):
                xyz, rgb = (
                    torch.cat(parts) for parts in zip(*(load_pairs(folder.paths[n], XYZ)[1:3] for n in numbers))
                )
                losses.append(matching_loss(*model.match(xyz, rgb)).loss.item())
                counts.append(len(xyz))
        assert points[0].loss == pytest.approx(sum(losses) / 4, rel=1e-6) and points[0].pairs == sum(counts) / 2
        assert len(set(counts)) > 1


@pytest.mark.slow
def test_processes_stop_together(data, tmp_path):
    write_parts(data, 4)
    spoiled = make_part(1)
    spoiled[0, 0] = torch.nan
    torch.save(spoiled, data / "toy1.pt")
    launched = launch(command(data, tmp_path / "out", "--batch_size", 2))
    lines = [line for line in launched.stderr.splitlines() if line.startswith("fusion_pretrain.py: ")]
    assert (
        launched.returncode == 1 and len(lines) == 2 and "Error" not in launched.stderr.partition("ChildFailedError")[0]
    )
    assert sum("toy1.pt: holds NaN" in line and "step 0" in line for line in lines) == 1
    assert sum("stopped because another one did" in line for line in lines) == 1
