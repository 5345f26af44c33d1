"""The loss curve's files: CSV, PNG, TensorBoard."""

import sys
import types

from uff_training.loss_curve import LossCurve, Point, read_curve


def test_loss_curve_with_tensorboard(tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder, purge_step):
            seen.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

        def close(self):
            seen.append("closed")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    curve = LossCurve(tmp_path)
    points = [Point(0, step, 0.1 / 3, 5.0 - step, 0.25, 100.0) for step in range(3)]
    for point in points:
        curve.add(point)
    curve.draw()
    curve.close()
    assert seen[0] == (str(tmp_path / "tensorboard"), 0) and ("uff/loss", 4.0, 1) in seen and seen[-1] == "closed"
    assert read_curve(tmp_path / "uff_loss.csv") == points
    assert LossCurve(tmp_path, 2).points == points[:2] and read_curve(tmp_path / "uff_loss.csv") == points[:2]
