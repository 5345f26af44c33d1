"""Parts that lie far from the others are named; what good parts do by chance is not."""

import numpy as np
import pytest

from common.errors import InputError
from inspection.outlying import check_outlying, outlying

NAMES = [f"{n}.png" for n in range(13)]
GOOD = [0.9, 1.6, 1.3, 1.3, 1.7, 1.2, 1.0, 1.0, 1.1, 0.8, 1.4, 1.2, 0.9]


@pytest.mark.parametrize("far", [[3], [0, 5, 12]])
def test_far_parts_are_named_with_their_scores(far):
    scores = [10.9 if n in far else score for n, score in enumerate(GOOD)]
    told = outlying(NAMES, scores)
    assert [text.split(":")[0] for text in told] == [NAMES[n] for n in far]
    assert all("scores 10.9, the others 0." in text and "to 1.7" in text for text in told)


def test_usual_scores_are_not_named():
    rng = np.random.default_rng(0)
    assert not outlying(NAMES, GOOD) and not outlying(NAMES[:4], [1, 1, 1, 9])  # too few to say
    named = [bool(outlying(range(30), rng.normal(1, 0.2, 30))) for _ in range(500)]
    assert sum(named) <= 5
    steady = [1.0] * 12 + [1.2]  # no spread at all: half as much again is asked for
    assert not outlying(NAMES, steady) and outlying(NAMES, [*steady[:-1], 1.6])


def test_named_or_refused(caplog):
    check_outlying(NAMES, [*GOOD[:-1], 9.0], strict=False)
    assert "12.png: scores 9" in caplog.text
    with pytest.raises(InputError, match=r"^12.png: scores 9.*--strict"):
        check_outlying(NAMES, [*GOOD[:-1], 9.0], strict=True)
    check_outlying(NAMES, GOOD, strict=True)
