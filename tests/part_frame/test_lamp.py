"""The lamp that shades parts which turn; shadows here are cast by a formula of their own, from a block and a post."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from part_frame.comparison import Appearance
from part_frame.lamp import learn
from part_frame.reference import PlaceReference, packed, unpacked

SIZE, PITCH = 128, 0.5  # cells, mm per cell
HIGH, SHADOW = 6.0, -0.3  # mm, logarithm
ROW, COLUMN = (np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2) * PITCH


def inside(x, y):
    """Where the block (16 x 8 mm) and the post (4 mm) stand, in the part's own millimetres."""
    return ((np.abs(x + 4) < 8) & (np.abs(y) < 4)) | (np.hypot(x - 12, y - 6) < 2)


HEIGHT = np.where(inside(COLUMN, ROW), HIGH, 0.0)
PART = np.hypot(ROW, COLUMN) < 26  # a thin plate, which casts no shadow


def shade(azimuth, elevation, turn):
    """[S, S] logarithm: the shadow that block and post cast onto the plate, a place being dark if the way to the lamp
    leads through them."""
    to = np.deg2rad(azimuth + turn)
    dark = np.zeros((SIZE, SIZE), bool)
    for far in np.arange(0, HIGH / np.tan(np.deg2rad(elevation)), PITCH / 2):
        dark |= inside(COLUMN + far * np.cos(to), ROW + far * np.sin(to))
    return SHADOW * cv2.GaussianBlur((dark & ~inside(COLUMN, ROW)).astype(np.float32), (0, 0), 1.0)


def part(rng, turn, azimuth=40.0, elevation=45.0, spot=0.0):
    """The Appearance of a part under a lamp; ``spot``: logarithm of a spot's brightness."""
    colour = rng.normal(0, 0.02, (SIZE, SIZE, 3)).astype(np.float32)
    colour[..., 0] += 4.5 + shade(azimuth, elevation, turn)
    colour[20:25, 64:69, 0] += spot
    height = (HEIGHT + rng.normal(0, 0.03, HEIGHT.shape)).astype(np.float32)
    return Appearance(height, colour, np.ones_like(PART), PART, turn)


def reference(turns, rng, **lamp):
    made = PlaceReference(1.0, pitch=PITCH)
    for turn in turns:
        made.add(part(rng, turn, **lamp))
    made.finish()
    return made


def largest(made, one):
    return max(float(np.sort(of, axis=None)[-32:].mean()) for of in made.maps(one)[1].values())


HALF = np.linspace(0, 180, 14)  # degrees: the turns of the training parts


def test_the_lamp_is_found():
    rng = np.random.default_rng(0)
    light = [shade(250, 45, turn) for turn in HALF]
    light = [of + rng.normal(0, 0.02, of.shape) for of in light - np.mean(light, 0)]
    lamp = learn(HEIGHT, PITCH, PART, light, HALF).lamp
    assert abs((lamp.azimuth - 250 + 180) % 360 - 180) <= 10
    assert lamp.elevation == pytest.approx(45, abs=5)
    assert lamp.shadow == pytest.approx(SHADOW, rel=0.25)


@settings(max_examples=8, deadline=None)
@given(turn=st.floats(0, 360), seed=st.integers(0, 99))
def test_a_part_in_any_turn_is_as_normal_as_in_those_of_training(turn, seed):
    rng = np.random.default_rng(seed)
    made = LEARNED
    usual = max(largest(made, part(rng, own)) for own in HALF[::3])
    assert largest(made, part(rng, turn)) < 1.5 * usual
    assert largest(made, part(rng, turn, spot=-0.3)) > 2 * usual


LEARNED = reference(HALF, np.random.default_rng(1))


def test_without_the_lamp_the_same_part_stands_out():
    rng = np.random.default_rng(2)
    plain = PlaceReference(1.0, pitch=PITCH)
    for turn in HALF:
        plain.add(part(rng, turn)._replace(turn=None))
    plain.finish()
    assert plain.lighting is None
    one = part(rng, 270.0)
    assert largest(plain, one) > 2 * largest(LEARNED, one)


def test_a_lamp_that_has_moved_is_followed():
    rng = np.random.default_rng(3)
    usual = max(largest(LEARNED, part(rng, turn)) for turn in (20.0, 250.0))
    assert largest(LEARNED, part(rng, 100.0, azimuth=150.0, elevation=40.0)) < 1.5 * usual
    assert largest(LEARNED, part(rng, 100.0, azimuth=150.0, elevation=40.0, spot=-0.3)) > 2 * usual


@pytest.mark.parametrize("turns", [np.zeros(14), np.linspace(-20, 20, 14)])
def test_parts_that_hardly_turn_show_no_lamp(turns):
    assert reference(turns, np.random.default_rng(4)).lighting is None


def test_noise_is_no_lamp():
    light = np.random.default_rng(5).normal(0, 0.05, (14, SIZE, SIZE))
    assert learn(HEIGHT, PITCH, PART, light, np.linspace(0, 330, 14)) is None


def test_a_model_and_a_sample_keep_it():
    one = part(np.random.default_rng(6), 222.0)
    again = PlaceReference.restored(LEARNED.state())
    assert again.lighting.lamp == LEARNED.lighting.lamp
    carried = unpacked(packed(one))
    assert carried.turn == 222.0 and unpacked(packed(one._replace(turn=None))).turn is None
    for name, of in LEARNED.maps(one)[1].items():
        np.testing.assert_allclose(again.maps(carried)[1][name], of, rtol=1e-4, atol=1e-4)
