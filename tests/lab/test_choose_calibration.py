"""The table of ways to calibrate: its rows are what they say, and it refuses what it cannot use."""

import numpy as np
import pytest
import tifffile

from lab import choose_calibration as tool
from scoring import calibrated
from scoring.au_pro import calculate_au_pro
from scoring.evaluation import Evaluation, TrainingParts, write
from scoring.metrics import roc_auc
from scoring_addon import DEFAULTS

SIZE, PARTS, TRAINING = 48, 8, 5
UNIT = {"xyz": 0.01, "rgb": 1.0, "fusion": 1.0}
PATHS = [f"cookie/test/{'hole' if i < 4 else 'good'}/rgb/{i:03d}.png" for i in range(PARTS)]
TRAINING_PATHS = [f"cookie/train/good/rgb/{i:03d}.png" for i in range(TRAINING)]


def cloud_of(root, path):
    return root / "data" / path.replace("/rgb/", "/xyz/").replace(".png", ".tiff")


@pytest.fixture
def saved(tmp_path):
    """(folder with one saved category, its Evaluation); defects show in the xyz bank, whose unit is small."""
    rng = np.random.default_rng(0)
    mask = np.zeros((PARTS, SIZE, SIZE), np.uint8)
    mask[:4, 10:18, 10:18] = 1
    test, train = (
        {bank: unit * rng.gamma(2.0, size=(n, SIZE, SIZE)) for bank, unit in UNIT.items()} for n in (PARTS, TRAINING)
    )
    test["xyz"] += 0.08 * mask
    for path in [*PATHS, *TRAINING_PATHS]:
        cloud = np.zeros((SIZE, SIZE, 3), np.float32)
        cloud[4:44, 4:44] = 1
        cloud_of(tmp_path, path).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(cloud_of(tmp_path, path), cloud, photometric="rgb", planarconfig="contig")
    decision = sum(test.values())
    parts = [{bank: maps[i] for bank, maps in train.items()} for i in range(TRAINING)]
    evaluation = Evaluation(
        category="cookie",
        path=PATHS,
        defect=["hole"] * 4 + ["good"] * 4,
        label=mask.any(axis=(1, 2)).astype(np.uint8),
        mask=mask,
        decision_score=decision.max(axis=(1, 2)),
        decision_map=decision,
        bank_score={bank: np.zeros(PARTS) for bank in UNIT},
        bank_map=test,
        training=TrainingParts.of(TRAINING_PATHS, sum(train.values()), parts, DEFAULTS),
        meta={"options": {"dataset_path": str(tmp_path / "data")}, "seed": 0},
    )
    write(evaluation, tmp_path / "maps" / "cookie.npz", training_maps=True)
    write(evaluation, tmp_path / "without" / "cookie.npz")
    return tmp_path, evaluation


def test_rows_are_the_metrics_of_their_maps(saved, capsys):
    root, evaluation = saved
    assert tool.main([str(root / "maps"), "-o", str(root / "table.md")]) == 0
    text = (root / "table.md").read_text()
    assert text in capsys.readouterr().out
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in text.splitlines())}
    assert {"baseline", "disagreement", "calibrated", *(way.name for way in tool.WAYS)} <= set(rows)

    maps = calibrated.calibrated_map(evaluation.bank_map, calibrated.training_statistics(evaluation.training.bank_map))
    expected = [roc_auc(evaluation.label, [calibrated.image_score(one) for one in maps])]
    expected += [calculate_au_pro(evaluation.mask, maps, limit, "exact")[0] for limit in (0.3, 0.05, 0.01)]
    assert [float(cell) for cell in rows["calibrated"][3:7]] == pytest.approx(expected, abs=5e-4)
    assert float(rows["calibrated"][4]) > float(rows["baseline"][4]) + 0.1


def test_chosen_way_is_the_calibrated_scoring_without_its_prior(saved):
    _, evaluation = saved
    test, train = (np.asarray(m["xyz"], dtype=float) for m in (evaluation.bank_map, evaluation.training.bank_map))
    alone = calibrated.calibrated_map({"xyz": test}, calibrated.training_statistics({"xyz": train}))
    np.testing.assert_allclose(tool.peak_above_level(test, train), alone)  # one bank: the prior is its own ratio


def test_what_is_refused(saved, capsys):
    root, _ = saved
    assert tool.main([str(root / "without")]) == 2 and tool.main([str(root / "none")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and "--save_train_maps" in err[0] and "no saved maps" in err[1]
    cloud_of(root, PATHS[0]).unlink()
    assert tool.main([str(root / "maps")]) == 2
    assert "cannot be read" in capsys.readouterr().err
