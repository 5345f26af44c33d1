"""Files as users have them: each case through check_dataset.py and main.py's examination, which have to agree, and then
what a run reads of it, which has to be what the sound data set holds."""

import re
import shutil

import numpy as np
import pytest

from dataset import TestDataset, TrainDataset
from runs.before_work import settle_readings
from tests.command_lines import parse
from tests.field_cases import CASES, SAME, make
from tools import check_dataset


def read_all(root, readings):
    """[(label, xyz, mask or None)] as a run reads them."""
    train, test = (kind("toy", 64, root, 0, reading=readings["toy"]) for kind in (TrainDataset, TestDataset))
    return [(0, item[0][1].numpy(), None) for item in train] + [
        (item[2], item[0][1].numpy(), item[1].numpy()) for item in test
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The sound data set's folder, and what a run reads of it."""
    root = tmp_path_factory.mktemp("sound")
    make(root)
    readings, _, faulty = settle_readings(arguments(root, root / "out"), ["toy"])
    assert not faulty
    return root, read_all(root, readings)


def arguments(data, out, *flags):
    where = ["--dataset_path", str(data), "--output_dir", str(out)]
    return parse(*"--dataset_type folder --num_group 64 --device cpu".split(), *where, *flags)


def said(text, level):
    return [line[len(level) + 2 :] for line in text.splitlines() if line.startswith(f"{level}: ")]


@pytest.mark.parametrize("name", CASES)
def test_field_cases(sound, tmp_path, capsys, name):
    change, flags, (level, words), reads = CASES[name]
    shutil.copytree(sound[0] / "toy", tmp_path / "data" / "toy")
    change(tmp_path / "data" / "toy")
    (tmp_path / "out").mkdir()
    code = check_dataset.main([str(tmp_path / "data"), "--workers", "1", *flags])
    checked = capsys.readouterr().out
    assert code == (level == "error"), checked
    for other in {"error", "warning"} - {level}:
        assert said(checked, other) == [], checked
    if level:
        assert any(re.search(words, line) for line in said(checked, level)), checked
        assert all("\n" not in line and len(line) < 600 for line in said(checked, level))

    readings, _, faulty = settle_readings(arguments(tmp_path / "data", tmp_path / "out", *flags), ["toy"])
    assert bool(faulty) == (level == "error")
    if level == "error":
        assert faulty["toy"].split(" (and ")[0] in said(checked, level)
        return
    found = read_all(tmp_path / "data", readings)
    if reads is SAME:
        for (label, xyz, mask), (known_label, known_xyz, known_mask) in zip(found, sound[1], strict=True):
            assert label == known_label
            np.testing.assert_allclose(xyz, known_xyz, atol=1e-6)
            assert mask is None or np.array_equal(mask, known_mask)
