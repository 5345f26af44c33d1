"""Point clouds as the data set reads them: kinds of numbers, broken pixels, too few points, each warned of once."""

import warnings

import numpy as np
import pytest
import torch

from tests.data.test_dataset import nearest, train
from tests.make_data import add_part, points


def one_warning(caplog, path):
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert len(caplog.messages[0].splitlines()) == 1
    return caplog.messages[0]


def test_float64_tiff(tmp_path):
    cloud = points().astype(np.float64) + 1e-12
    add_part(tmp_path, "train/good", xyz=cloud)
    xyz = train(tmp_path)[0][0][1]
    assert xyz.dtype == torch.float32
    np.testing.assert_array_equal(xyz.numpy(), nearest(cloud, 224).astype(np.float32).transpose(2, 0, 1))


def test_float64_beyond_float32_is_background_and_quiet(tmp_path, caplog):
    cloud = points(224, 224).astype(np.float64)
    cloud[3, 4, 0] = 1e300
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xyz = train(tmp_path)[0][0][1]
    assert not xyz[:, 3, 4].any()
    one_warning(caplog, path)


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
