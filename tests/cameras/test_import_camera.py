"""Intrinsics from flags and files, and points from depth against the projection itself."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.intrinsics import Intrinsics, fit_to, intrinsics_from, points_from_depth, read_intrinsics
from common.errors import InputError
from tests.camera_files import write_camera_info

CAMERA = Intrinsics(600.0, 602.0, 317.5, 238.25, (480, 640))
SIZES = {"width": 640, "height": 480}
MATRIX = [600.0, 0.0, 317.5, 0.0, 602.0, 238.25, 0.0, 0.0, 1.0]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


FOCAL = st.floats(50, 5000)


@given(FOCAL, FOCAL, st.floats(10, 60), st.floats(10, 40), st.integers(0, 69), st.integers(0, 49), st.floats(0.1, 10))
def test_points_project_onto_their_pixel(fx, fy, cx, cy, u, v, depth):
    point = points_from_depth(np.full((50, 70), depth), Intrinsics(fx, fy, cx, cy))[v, u]
    assert point[2] == depth
    np.testing.assert_allclose((fx * point[0] / point[2] + cx, fy * point[1] / point[2] + cy), (u, v), atol=1e-8)


FORMS = [
    {**SIZES, "ppx": 317.5, "ppy": 238.25, "fx": 600, "fy": 602, "model": "none", "coeffs": [0, 0, 0, 0, 0]},
    {**SIZES, "intrinsic_matrix": [600.0, 0, 0, 0, 602.0, 0, 317.5, 238.25, 1]},  # column by column
    {"camera": {**SIZES, "K": [[600, 0, 317.5], [0, 602, 238.25], [0, 0, 1]]}},
    f"image_width: 640\nimage_height: 480\ncamera_matrix:\n  rows: 3\n  cols: 3\n  data: {MATRIX}\n",
    # as ros2 topic echo prints
    f"header:\n  frame_id: x\nheight: 480\nwidth: 640\nk: {MATRIX}\nd: [0.0, 0.0, 0.0, 0.0, 0.0]\n---\n",
    f"%YAML:1.0\n---\nimage_width: 640\nimage_height: 480\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n"
    f"   dt: d\n   data: {MATRIX}\n",
    "Height: 480\nWidth: 640\nCameraMatrix:\n  CX: 317.5\n  CY: 238.25\n  FX: 600\n  FY: 602\n",
]


@pytest.mark.parametrize("content", FORMS)
def test_json_and_yaml(tmp_path, content):
    camera = read_intrinsics(write(tmp_path / ("a.yaml" if isinstance(content, str) else "a.json"), content))
    assert camera[:4] == CAMERA[:4] and camera.size in (CAMERA.size, None) and camera.notes == ()


def test_distortion_is_noted_and_the_rectified_matrix_taken(tmp_path):
    camera = read_intrinsics(write_camera_info(tmp_path / "a.yaml", CAMERA, (-0.2, 0.05, 0, 0, 0)))
    assert camera[:4] == CAMERA[:4] and "rectified" in camera.notes[0]
    bent = {**SIZES, "ppx": 317.5, "ppy": 238.25, "fx": 600, "fy": 602, "coeffs": [0.1, 0, 0, 0, 0]}
    assert "distortion is not removed" in read_intrinsics(write(tmp_path / "b.json", bent)).notes[0]


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("a.json", "{", "cannot be read"),
        ("a.yaml", "a: [", "cannot be read"),
        ("a.json", "{}", "no intrinsics"),
        ("a.yaml", "", "no intrinsics"),
        ("a.json", {name: {"fx": f, "fy": f, "cx": 320, "cy": 240} for name, f in (("a", 600), ("b", 500))}, "several"),
        ("a.json", {"fx": 0.9, "fy": 1.2, "cx": 0.5, "cy": 0.5}, "in pixels"),
    ],
)
def test_unusable_files(tmp_path, name, content, text):
    with pytest.raises(InputError, match=text) as error:
        read_intrinsics(write(tmp_path / name, content))
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    "words", ["1 2 3", "600 600 320 x", "-600 600 320 240", "320 240 1 1", "nothing.json", "600 inf 320 240"]
)
def test_unusable_words(words):
    with pytest.raises(InputError):
        intrinsics_from(words.split())


def test_intrinsics_of_another_resolution_are_scaled():
    half = fit_to(CAMERA, (240, 320), "x")
    assert half[:2] == (300, 301) and half.notes
    # a pixel of the half size covers two of the whole: its centre lies between theirs
    np.testing.assert_allclose(
        points_from_depth(np.ones((240, 320)), half),
        points_from_depth(np.ones((480, 640)), CAMERA).reshape(240, 2, 320, 2, 3).mean((1, 3)),
        atol=1e-12,
    )
    assert fit_to(CAMERA, (480, 640), "x") == CAMERA
    for camera, size, text in (
        (CAMERA, (480, 480), "another aspect"),
        (CAMERA._replace(size=None), (200, 300), "lies outside"),
    ):
        with pytest.raises(InputError, match=text):
            fit_to(camera, size, "x")
    assert "far off" in fit_to(Intrinsics(600, 600, 317, 238), (1000, 900), "x").notes[0]
