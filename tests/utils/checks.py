"""What every preprocessing command has to do, checked in this process."""

import json

from dataset import TestDataset, TrainDataset
from tests.data.test_preprocess_common import snapshot
from tools import check_dataset


def convert(main, *words):
    """Exit code of a command with one worker."""
    return main([*map(str, words), "--workers", "1"])


def check_written(main, words, out, parts, capsys, on_part=0.0):
    """Convert, load and examine all categories; a second run changes nothing.

    Args:
        parts: {category: (number of training parts, of defective test parts)}.
        on_part: share of each defect's pixels that has points.

    Returns:
        {category: its TestDataset}.
    """
    assert convert(main, *words) == 0
    loaded = {}
    for category, (number, bad) in parts.items():
        train, test = (of(category, 224, out, 1) for of in (TrainDataset, TestDataset))
        assert len(train) == number and all((train[i][0][1] != 0).any() for i in range(number))
        for i, (rgb, xyz, _) in enumerate(test.files):
            sample, mask, label, _ = test[i]
            assert label == ("good" not in rgb.parts) and mask.any() == bool(label) and rgb.stem == xyz.stem
            assert not label or (sample[1] != 0).all(0)[mask[0] > 0].float().mean() >= on_part
        assert sum(test[i][2] for i in range(len(test))) == bad
        loaded[category] = test
    assert check_dataset.main([str(out), "--workers", "1"]) == 0
    after, count = snapshot(out), len(list(out.rglob("xyz/*.tiff")))
    capsys.readouterr()
    assert convert(main, *words) == 0 and snapshot(out) == after
    assert f"0 samples written, {count} were there" in capsys.readouterr().out
    return loaded


def check_failures(main, words, out, reasons, capsys):
    """Convert with failures {sample: reason}, each told and recorded; returns (preprocessing.json, stderr)."""
    assert convert(main, *words) == 1
    record, err = json.loads((out / "preprocessing.json").read_text()), capsys.readouterr().err
    assert set(record["failures"]) == set(reasons) and err.count("failed: ") == len(reasons)
    for name, text in reasons.items():
        assert text in record["failures"][name] and f"failed: {name}: " in err
    return record, err
