"""Parts that lie far from the others are named; what good parts do by chance is not."""

import re

import numpy as np
import pytest

import main as run_main
from common.errors import InputError
from inspection.outlying import alone, check_outlying, outlying, unlike_in_place
from part_frame.comparison import Appearance
from part_frame.reference import PlaceReference
from tests.inspection.test_in_place import write
from tests.part_frame.scenes import good, scan

NAMES = [f"{n}.png" for n in range(13)]
GOOD = [0.9, 1.6, 1.3, 1.3, 1.7, 1.2, 1.0, 1.0, 1.1, 0.8, 1.4, 1.2, 0.9]
SIZE = 96


def reference(parts, dented=(), at=lambda n: (40, 40), soft=0.0, seed=0):
    """A PlaceReference of ``parts`` domes; the ``dented`` ones have a dent of 1 mm at ``at(n)``, 8 cells wide.

    ``soft``: mm by which each dome is as high as no other."""
    rng, found = np.random.default_rng(seed), PlaceReference()
    rows, columns = np.mgrid[:SIZE, :SIZE]
    part = np.hypot(rows - 48, columns - 48) < 36
    for n in range(parts):
        dome = np.sqrt(np.clip(1 - ((rows - 48) ** 2 + (columns - 48) ** 2) / 50**2, 0, 1))
        height = (10 + rng.normal(0, soft)) * dome + rng.normal(0, 0.05, dome.shape)
        if n in dented:
            height[np.hypot(rows - at(n)[0], columns - at(n)[1]) < 4] -= 1
        colour = np.stack([5 + rng.normal(0, 0.03, part.shape), part * 0.0, part * 0.0], -1)
        seen = np.ones_like(part)
        found.add(Appearance(np.where(part, height, np.nan).astype(np.float32), colour.astype(np.float32), seen, part))
    found.finish()
    return found


@pytest.mark.parametrize("far", [[3], [0, 5, 12]])
def test_far_parts_are_named_with_their_scores(far):
    scores = [10.9 if n in far else score for n, score in enumerate(GOOD)]
    told = outlying(NAMES, scores)
    assert list(told) == [NAMES[n] for n in far]
    assert all("scores 10.9, the others 0." in text and "to 1.7" in text for text in told.values())


def test_usual_scores_are_not_named():
    rng = np.random.default_rng(0)
    assert not outlying(NAMES, GOOD) and not outlying(NAMES[:4], [1, 1, 1, 9])  # too few to say
    named = [bool(outlying(range(30), rng.normal(1, 0.2, 30))) for _ in range(500)]
    assert sum(named) <= 5
    steady = [1.0] * 12 + [1.2]  # no spread at all: half as much again is asked for
    assert not outlying(NAMES, steady) and outlying(NAMES, [*steady[:-1], 1.6])


@pytest.mark.parametrize("dented", [[3], [0, 5, 12], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("where", ["one place", "other places"])
def test_parts_with_one_defect_do_not_hide_each_other(dented, where):
    at = {"one place": lambda n: (40, 40), "other places": lambda n: (30 + 3 * n, 50)}[where]
    told = unlike_in_place(NAMES, reference(13, dented, at))
    assert sorted(told) == sorted(NAMES[n] for n in dented)
    assert all(": look at it: its height differs" in text for text in told.values())


@pytest.mark.parametrize("parts, soft", [(8, 0.0), (8, 0.3), (13, 0.0), (13, 1.0)])
def test_good_parts_are_like_the_others(parts, soft):
    for seed in range(5):
        assert not unlike_in_place(NAMES[:parts], reference(parts, soft=soft, seed=seed))


def test_few_parts_are_not_compared():
    assert not unlike_in_place(NAMES[:7], reference(7, [3])) and unlike_in_place(NAMES[:8], reference(8, [3]))


def test_named_or_refused(caplog):
    check_outlying(NAMES, [*GOOD[:-1], 9.0], strict=False, reference=reference(13, [3]))
    assert "12.png: scores 9" in caplog.text and "3.png: look at it: its height" in caplog.text
    with pytest.raises(InputError, match=r"^12.png: scores 9.*--strict"):
        check_outlying(NAMES, [*GOOD[:-1], 9.0], strict=True)
    check_outlying(NAMES, GOOD, strict=True, reference=reference(13, [3]))  # a place alone refuses no part


def test_a_fit_names_all_dented_training_parts(tmp_path, caplog):
    folder = tmp_path / "data/plate/train/good"
    for number, one in enumerate(good(9, first=3, turn=9)):  # turned: else edges lie along rows of 1 mm pixels
        write(folder, one, f"{number:03d}")
    for number in (901, 902, 903):
        write(folder, scan(number, number % 7, (1, -2), defects=("dent",)), f"{number}")
    fit = f"--preset best --method_name Reference --dataset_type folder --dataset_path {tmp_path}/data --fit_only"
    where = ["--output_dir", str(tmp_path / "out"), "--save_model", str(tmp_path / "m"), "--num_workers", "0"]
    assert run_main.main([*fit.split(), *where]) == 0
    assert re.findall(r"good/rgb/(\d+)\.png: look at it: its height differs", caplog.text) == ["901", "902", "903"]
    assert len(re.findall("look at it: its", caplog.text)) == 3  # no good part is named


def test_one_calibration_part_that_sets_the_limit_by_itself_is_named():
    names = [f"part_{number}" for number in range(20)]
    scores = np.linspace(1, 1.6, 20)
    assert not alone(names, scores) and not alone(names[:4], [1, 1, 1, 9])
    scores[7] = 2.1
    assert alone(names, scores).startswith("part_7: scores 2.1, the next 1.6: at the lowest false-alarm rate")
    scores[7] = 9  # named as far from all others already
    assert not alone(names, scores)
