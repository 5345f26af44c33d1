"""Reading clouds and depth images: every encoding against the array that was written, missing values, order of
pixels."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cameras.missing import measured_pixels
from cameras.readers import Scan, organise, read_scan
from common.errors import InputError
from tests.camera_files import record, write_pcd, write_ply
from tests.field.parts import save_depth

SIZE = (70, 90)
PART = record(1, SIZE)
POINTS = PART.points.astype(np.float32)


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("colours", [None, PART.rgb])
def test_pcd(tmp_path, encoding, colours):
    """With NaN, and with a field of padding between coordinates and colours."""
    write_pcd(tmp_path / "a.pcd", POINTS, colours, encoding)
    scan = read_scan(tmp_path / "a.pcd")
    np.testing.assert_array_equal(scan.values.astype(np.float32), POINTS)
    assert np.isnan(scan.values).any()
    np.testing.assert_array_equal(scan.colours, colours)


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("colours", [None, PART.rgb])
@pytest.mark.parametrize("kind", ["float", "double"])
def test_ply(tmp_path, encoding, colours, kind):
    write_ply(tmp_path / "a.ply", POINTS, colours, encoding, kind=kind)
    scan = read_scan(tmp_path / "a.ply")
    assert scan.values.shape == (SIZE[0] * SIZE[1], 3)
    scan = organise("a.ply", scan, SIZE)
    np.testing.assert_array_equal(scan.values.astype(np.float32), POINTS)
    np.testing.assert_array_equal(scan.colours, colours)


@pytest.mark.parametrize(
    "write, notes",
    [
        (lambda path: np.save(path, POINTS), 0),
        (lambda path: np.save(path, POINTS.transpose(2, 0, 1)), 1),
        (lambda path: np.save(path, np.concatenate([POINTS, PART.rgb[..., :1]], axis=2)), 1),
        (lambda path: tifffile.imwrite(path, POINTS, photometric="rgb"), 0),
        (lambda path: tifffile.imwrite(path, POINTS.transpose(2, 0, 1), photometric="minisblack"), 1),
    ],
)
def test_arrays_of_points(tmp_path, write, notes):
    path = tmp_path / "a"
    write(path)
    made = next(tmp_path.iterdir())
    made = made.rename(tmp_path / f"b{made.suffix or '.tiff'}")
    scan = read_scan(made)
    np.testing.assert_array_equal(scan.values.astype(np.float32), POINTS)
    assert len(scan.notes) == notes


def test_arrays_of_depth(tmp_path):
    depth = np.rint(np.nan_to_num(PART.depth) * 1000).astype(np.uint16)
    save_depth(tmp_path / "a.png", PART.depth * 1000)
    tifffile.imwrite(tmp_path / "a.tif", depth)
    np.save(tmp_path / "a.npy", depth)
    for name in ("a.png", "a.tif", "a.npy"):
        scan = read_scan(tmp_path / name)
        np.testing.assert_array_equal(scan.values, depth)
        assert scan.values.dtype.kind in "iu"
    tifffile.imwrite(tmp_path / "b.tiff", PART.depth.astype(np.float32))
    np.testing.assert_array_equal(read_scan(tmp_path / "b.tiff").values, PART.depth.astype(np.float32))


def test_unorganised_is_refused(tmp_path):
    flat = POINTS.reshape(-1, 3)
    write_pcd(tmp_path / "a.pcd", POINTS, height=1)
    scan = read_scan(tmp_path / "a.pcd")
    np.testing.assert_array_equal(organise("x", scan, SIZE).values.astype(np.float32), POINTS)
    shuffled = np.random.default_rng(0).permutation(flat)
    refused = (flat[:-1], SIZE, "not 70×90"), (flat, None, "--size"), (shuffled, SIZE, "not on a camera's rays")
    for cloud, size, text in refused:
        with pytest.raises(InputError, match=text) as error:
            organise("cloud.npy", Scan(cloud), size)
        assert str(error.value).startswith("cloud.npy: is unorganised")


def test_damaged_and_wrong_files(tmp_path):
    write_pcd(tmp_path / "short.pcd", POINTS)
    write_ply(tmp_path / "short.ply", POINTS)
    for name in ("short.pcd", "short.ply"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-1200])
    for name in ("no.pcd", "no.ply", "no.npy", "no.tiff", "no.png"):
        (tmp_path / name).write_bytes(b"nothing of the kind\n" * 3)
    Image.fromarray(PART.rgb[..., 0]).save(tmp_path / "grey.png")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "bytes.npy", np.zeros((70, 90), np.uint8))
    (tmp_path / "grid.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nelement range_grid 4\nend_header\n"
    )
    write_ply(tmp_path / "size.ply", POINTS, None, head_lines=("obj_info num_cols 3", "obj_info num_rows 3"))
    (tmp_path / "field.pcd").write_bytes(
        write_pcd(tmp_path / "x.pcd", POINTS).read_bytes().replace(b"FIELDS x y z", b"FIELDS a b c")
    )
    names = [p.name for p in tmp_path.iterdir() if p.name != "x.pcd"]
    assert len(names) == 13
    for name in names:
        with pytest.raises(InputError) as error:
            read_scan(tmp_path / name)
        assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("marker", [-1.0, -9999.0, 65.535, 1e5, 0.0, np.nan, np.inf])
def test_markers_in_depth(marker):
    depth = np.where(np.isnan(PART.depth), marker, PART.depth)
    measured, notes = measured_pixels(depth)
    np.testing.assert_array_equal(measured, np.isfinite(PART.depth))
    assert len(notes) == (0 < marker < np.inf) and all(f"{marker:g}" in note for note in notes)


@pytest.mark.parametrize("point", [(-1, -1, -1), (0, 0, 65.535), (0, 0, 0), (1e5, 1e5, 1e5), (0, 0, 0.42)])
def test_markers_in_points(point):
    """The last is a point amid the surface; a surface never has the same point in 1 % of the pixels."""
    points = np.where(np.isfinite(PART.points), PART.points, point)
    measured, notes = measured_pixels(points)
    np.testing.assert_array_equal(measured, np.isfinite(PART.depth))
    assert len(notes) == any(point)


def test_surfaces_are_no_markers():
    """Whole numbers repeat on a flat table; a flat table behind a flat part is one depth; a height map passes
    through 0."""
    depth = np.rint(PART.depth * 1000)
    whole = np.nan_to_num(depth).astype(np.uint16)
    np.testing.assert_array_equal(measured_pixels(whole)[0], whole > 0)
    flat = np.full(SIZE, 0.5)
    flat[20:40, 30:60] = 0.4
    assert measured_pixels(flat)[0].all() and measured_pixels(np.where(flat < 0.5, 0.15, flat))[0].all()
    heights = np.stack([*np.indices(SIZE)[::-1] * 0.001, (flat - 0.5) * 0.01], axis=-1)
    measured = measured_pixels(heights)[0]
    assert measured.sum() == measured.size - 1  # (0, 0, 0) is background in every convention
