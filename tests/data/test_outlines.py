"""Clouds and pictures that show the part in different places, or in different shapes."""

import numpy as np

from data.part_facts import Job, read_part
from tests.make_data import add_part, picture_of, scan


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
