"""Point clouds as the data set reads them: kinds of numbers, broken pixels, too few points, each warned of once."""

import logging
import sys
import warnings

import numpy as np
import pytest
import torch

from tests.data.test_dataset import loader, nearest, refusal, train
from tests.make_data import add_part, make_category, points, write_tiff


def one_warning(caplog, path):
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert len(caplog.messages[0].splitlines()) == 1
    return caplog.messages[0]


@pytest.mark.parametrize(
    "cloud, word",
    [
        (points()[:, :, :2].copy(), "60, 75, 2"),
        ((points() * 1000).astype(np.uint16), "uint16"),
        ((points() * 1000).astype(np.int32), "int32"),
    ],
)
def test_tiff_of_another_kind(tmp_path, cloud, word):
    _, xyz, _ = add_part(tmp_path, "train/good")
    write_tiff(xyz, cloud)
    assert word in refusal(lambda: train(tmp_path)[0], xyz)


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


def broken_cloud(kind=np.nan):
    cloud = points(224, 224)
    cloud[5, 7, 1], cloud[100, 200] = kind, kind
    return cloud


@pytest.mark.parametrize("kind", [np.nan, np.inf, -np.inf])
def test_broken_pixels_become_background(tmp_path, caplog, kind):
    _, path, _ = add_part(tmp_path, "train/good", xyz=broken_cloud(kind))
    xyz = train(tmp_path)[0][0][1]
    background = ~xyz.any(dim=0)
    assert background.nonzero().tolist() == [[5, 7], [100, 200]]
    np.testing.assert_array_equal(
        xyz.numpy()[:, ~background.numpy()], points(224, 224).transpose(2, 0, 1)[:, ~background.numpy()]
    )
    assert "2 pixels" in one_warning(caplog, path)


def test_whole_files_warn_of_nothing(tmp_path, caplog):
    make_category(tmp_path)
    for _ in train(tmp_path, min_points=1000):
        pass
    assert caplog.messages == []


def test_one_warning_a_file_in_two_passes(tmp_path, caplog):
    paths = [add_part(tmp_path, "train/good", name, xyz=broken_cloud())[1] for name in ("000", "001")]
    data = train(tmp_path)
    for _ in range(2):
        data[0], data[1]
    assert [sum(str(p) in m for m in caplog.messages) for p in paths] == [1, 1] and len(caplog.messages) == 2


def test_one_warning_in_two_passes_of_a_worker(tmp_path, capfd):
    _, path, _ = add_part(tmp_path, "train/good", xyz=broken_cloud())
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        data = loader(tmp_path)
        for _ in range(2):
            assert len(list(data)) == 1
    finally:
        logging.getLogger().removeHandler(handler)
    assert capfd.readouterr().err.count(str(path)) == 1


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


def test_broken_and_too_few_points_share_a_warning(tmp_path, caplog):
    cloud = np.zeros((224, 224, 3), np.float32)
    cloud[0, :9], cloud[2, 2] = 0.5, np.nan
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    train(tmp_path, min_points=10)[0]
    message = one_warning(caplog, path)
    assert "NaN" in message and "9 valid points" in message


@pytest.mark.parametrize("value", [0, np.nan])
def test_no_valid_point(tmp_path, value):
    _, path, _ = add_part(tmp_path, "train/good", xyz=np.full((40, 50, 3), value, np.float32))
    refusal(lambda: train(tmp_path, min_points=1)[0], path)


def test_no_valid_point_is_fine_where_points_are_not_used(tmp_path):
    add_part(tmp_path, "train/good", xyz=np.zeros((40, 50, 3), np.float32))
    assert not train(tmp_path)[0][0][1].any()
