"""Clouds and pictures that show the part in different places, or in different shapes."""

import numpy as np

from data.part_facts import Job, read_part
from tests.make_data import add_part, picture_of, scan


def test_outlines_that_cannot_be_seen(tmp_path):
    """A picture without a plain border, a cloud without one, and a picture that says nothing."""
    rng = np.random.default_rng(0)
    hidden = [(rng.integers(0, 256, (64, 64, 3)), scan()[:, ::-1]), (picture_of(scan()), scan() + 0.01)]
    for rgb, xyz in [*hidden, (np.full((64, 64, 3), 77), scan())]:
        files = add_part(tmp_path, "train/good", "0", rgb.astype(np.uint8), np.ascontiguousarray(xyz))
        assert read_part(Job(str(files[0]), str(files[1]), None, 224, None, False)).misfit is None
