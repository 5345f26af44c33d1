"""Clouds and pictures that show the part in different places, or in different shapes."""

import numpy as np
import pytest
from PIL import Image

from data.part_facts import Job, read_part
from tests.data.test_examination import kinds, look
from tests.make_data import add_part, make_scans, picture_of, scan, write_png, write_tiff

OUTLINES = {"mirrored": lambda c: c[:, ::-1], "upside down": lambda c: c[::-1], "shifted": lambda c: np.roll(c, 12, 1)}


@pytest.mark.parametrize("name", OUTLINES)
def test_clouds_that_do_not_lie_on_their_pictures(tmp_path, name):
    folder = make_scans(tmp_path)
    half = scan()
    half[:, 40:], half[:24] = 0, 0  # a part whose outline is not symmetric
    write_png(folder / "test/good/rgb/004.png", picture_of(half))
    write_tiff(folder / "test/good/xyz/004.tiff", half)
    assert look(tmp_path, min_points=100).warnings == ()
    write_tiff(folder / "test/good/xyz/004.tiff", np.ascontiguousarray(OUTLINES[name](half)))
    assert kinds(look(tmp_path, min_points=100).warnings) == {"outline": 1}


def test_outlines_that_cannot_be_seen(tmp_path):
    """A picture without a plain border, a cloud without one, and a picture that says nothing."""
    rng = np.random.default_rng(0)
    for number, (rgb, xyz) in enumerate(
        [
            (rng.integers(0, 256, (64, 64, 3)), scan()[:, ::-1]),
            (picture_of(scan()), scan() + 0.01),
            (np.full((64, 64, 3), 77), scan()),
        ]
    ):
        add_part(tmp_path, "train/good", str(number), rgb.astype(np.uint8), np.ascontiguousarray(xyz))
        assert (
            read_part(
                Job(
                    str(tmp_path / f"toy/train/good/rgb/{number}.png"),
                    str(tmp_path / f"toy/train/good/xyz/{number}.tiff"),
                    None,
                    224,
                    None,
                    False,
                )
            ).misfit
            is None
        )


@pytest.mark.parametrize("size, warned", [((64, 65), False), ((64, 80), True)])
def test_aspect(tmp_path, size, warned):
    folder = make_scans(tmp_path)
    Image.fromarray(picture_of(scan(seed=4))).resize(size[::-1], Image.NEAREST).save(folder / "test/good/rgb/004.png")
    assert kinds(look(tmp_path).warnings) == ({"aspect": 1} if warned else {})
