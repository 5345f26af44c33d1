"""Point clouds as the data set reads them: kinds of numbers, broken pixels, too few points, each warned of once."""

import numpy as np
import pytest

from tests.data.test_dataset import train
from tests.make_data import add_part, points


def one_warning(caplog, path):
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert len(caplog.messages[0].splitlines()) == 1
    return caplog.messages[0]


@pytest.mark.parametrize("groups", [9, 10])
def test_fewer_points_than_groups(tmp_path, caplog, groups):
    cloud = np.zeros((224, 224, 3), np.float32)
    cloud[0, :9] = points()[0, :9]
    cloud[1, :3, 2] = 0.5
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    data = train(tmp_path, min_points=groups)
    data[0], data[0]
    if groups == 9:
        assert caplog.messages == []
    else:
        assert "9 valid points" in one_warning(caplog, path) and "10" in caplog.messages[0]


def test_no_valid_point_is_fine_where_points_are_not_used(tmp_path):
    add_part(tmp_path, "train/good", xyz=np.zeros((40, 50, 3), np.float32))
    assert not train(tmp_path)[0][0][1].any()
