"""Where parts lie: the pose at any turn, what is refused and why, and that a saved placement places the same."""

import itertools
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from part_frame.finding import TABLE, VALID, VIEW
from part_frame.frame import Pose
from part_frame.placement import ALIGNED, FREE, NONE, SMALL, CannotPlace, Placement, learn
from part_frame.pose import FINE, Image, Noise, Registration, warped
from tests.part_frame.scenes import cut_out, good, hexagon, learned, plate, scan


def place(placement, one, pose=None):
    return placement.place(one.rgb, one.xyz, pose)


def apart(one, other):
    """Degrees between two angles."""
    return abs((one - other + 180) % 360 - 180)


PLATES = dict(count=6, turn=180)
HEXAGONS = dict(count=8, turn=180, shape=hexagon)


@pytest.mark.parametrize("options", [PLATES, HEXAGONS], ids=["plates", "hexagons"])
@settings(max_examples=8, deadline=None)
@given(st.floats(-180, 180), st.floats(-5, 5), st.integers(100, 999))
def test_a_part_is_found_at_any_turn(options, angle, shift, seed):
    """Of the hexagon's six poses the print on one side tells which one is right.

    An edge along the rows of pixels, 1 mm apart, is seen as a staircase of one step or none: 1 mm over 66 mm is 0.9°.
    """
    _, placement, _ = learned(**options)
    shape = options.get("shape", plate)
    straight = place(placement, scan(99, 0, shape=shape)).laid
    turned = place(placement, scan(seed, angle, (shift, -shift), shape)).laid
    period = 90 if shape is plate else 30  # of the angles at which an edge lies along rows or columns
    along_rows = abs((angle + period / 2) % period - period / 2) < 5
    assert apart(turned.pose.angle, straight.pose.angle + angle) < (1.0 if along_rows else 0.5)
    both = ~np.isnan(turned.height) & ~np.isnan(straight.height) & turned.part & straight.part
    assert both.sum() > 0.95 * straight.part.sum()
    assert np.median(np.abs(turned.height - straight.height)[both]) < 0.06


@pytest.mark.parametrize("defects", [("cut",), ("extra",), ("cut", "extra", "dent")], ids=str)
def test_a_defect_does_not_move_the_part(defects):
    _, placement, _ = learned(**PLATES)
    whole, broken = (place(placement, scan(50, 33, (1, -3), defects=of)).laid.pose for of in ((), defects))
    assert np.hypot(whole.x - broken.x, whole.y - broken.y) < 0.3 and apart(whole.angle, broken.angle) < 0.3


def test_training_parts_lie_in_one_pose():
    scans, placement, poses = learned(**HEXAGONS)
    draw = np.random.default_rng(1000)  # as ``good`` draws them
    turns = []
    for _ in scans:
        turns.append(draw.uniform(-180, 180))
        draw.uniform(size=3)
    offsets = [pose.angle - turn for pose, turn in zip(poses, turns)]
    assert max(apart(offset, offsets[0]) for offset in offsets) < 1.0
    assert placement.alignment == FREE and placement.repeats[1] < 0.5 and placement.margin > 1
    assert "parts turn freely; registration repeats to" in placement.describe()


def test_a_pose_that_is_not_certain_is_noticed():
    _, placement, _ = learned(**HEXAGONS)
    assert place(placement, scan(5, 70, shape=hexagon)).doubt == ""
    doubt = place(placement, scan(5, 70, shape=lambda x, y, d: (hexagon(x, y)[0], x > 99))).doubt
    assert doubt.startswith("the pose is not certain: turned by ") and "fits nearly as well" in doubt


def test_as_much_turn_as_the_parts_need():
    _, placement, poses = learned(4, turn=6)
    assert placement.alignment == SMALL and max(apart(pose.angle, poses[0].angle) for pose in poses) < 13
    assert "turn a little" in placement.describe()
    soft = [
        scan(
            k, shape=lambda x, y, d, k=k: (np.where(np.hypot(x / (20 + 3 * k), y / (32 - 4 * k)) < 1, 5.0, 0.0), x > 99)
        )
        for k in range(4)
    ]
    scans = [(k, one.rgb, one.xyz) for k, one in enumerate(soft)]
    assert learn(lambda: scans, 64, 64, NONE)[0].alignment == NONE
    assert learn(lambda: scans[:1], 64, 64)[0].alignment == NONE  # one part alone has nothing to be laid onto
    assert learn(lambda: scans, 64, 64, ALIGNED)[0].alignment in (SMALL, FREE)


def two(x, y, _):
    (first, ink), (second, other) = plate(x, y - 24), plate(x, y + 24)
    return np.maximum(first, second), ink | other


def grey(one):
    return one._replace(rgb=np.repeat(one.rgb.mean(2, keepdims=True).astype(np.uint8), 3, 2))


REFUSED = [
    (lambda: scan(1, shape=None), "no part: nothing lies on the table"),
    (
        lambda: scan(1, shape=lambda x, y, _: (np.where(np.hypot(x, y) < 4, 5.0, 0.0), x > 99)),
        "no part: what is found covers",
    ),
    (lambda: scan(1, shape=two), "more than one part is in view: 2 pieces"),
    (lambda: scan(1, shift=(60, 0)), "cut off by the edge of the view"),
    (lambda: scan(1, distance=1.4), "1.39 mm apart, at the fit 0.99 mm: another camera, resolution, distance or unit"),
    (lambda: scan(1)._replace(xyz=np.full((120, 160, 3), np.nan)), "the cloud has hardly any point"),
    (lambda: grey(scan(1)), "the picture has no colour"),
    (lambda: scan(1)._replace(rgb=scan(1).rgb[..., ::-1].copy()), "red and blue of the picture are exchanged"),
    (lambda: scan(1, light=0.2), "times as dark as in training"),
    (lambda: scan(1, light=1.7), "% of the part are overexposed"),
]


@pytest.mark.parametrize("make, reason", REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_be_judged_is_told_in_one_line(make, reason):
    with pytest.raises(CannotPlace) as refused:
        place(learned(**PLATES)[1], make())
    assert reason in str(refused.value) and "\n" not in str(refused.value)


def tinted(one, colour):
    """The Scan of a part of another colour; beside it nothing changes."""
    above = np.abs(one.rgb.astype(int) - (96, 116, 128)).sum(2) > 40
    grey = one.rgb.mean(2, keepdims=True) / 255
    return one._replace(rgb=np.where(above[..., None], grey * colour, one.rgb).astype(np.uint8))


@pytest.mark.parametrize("colour", [(120, 160, 230), (190, 190, 190), (200, 120, 90)], ids=["blue", "grey", "red"])
def test_a_part_of_another_colour_is_no_scan_to_repeat(colour):
    """A blue part looks like red and blue exchanged, a grey one like no colour: the table tells."""
    placed = place(learned(**PLATES)[1], tinted(scan(70, 33), colour))
    assert placed.laid.part.any()


@pytest.mark.parametrize("options", [PLATES, dict(count=4, turn=6), HEXAGONS], ids=["free", "small", "hexagons"])
def test_a_restored_placement_places_the_same(options):
    _, placement, _ = learned(**options)
    arrays, facts = placement.state()
    again = Placement.restored(arrays, json.loads(json.dumps(facts)))
    one = scan(8, 4, shape=options.get("shape", plate))
    first, second = place(placement, one), place(again, one)
    assert np.array_equal(first.laid.height, second.laid.height, equal_nan=True)
    assert np.array_equal(first.picture, second.picture) and first.laid.pose == second.laid.pose
    assert (first.cost, first.doubt, again.describe()) == (second.cost, second.doubt, placement.describe())


def test_cut_out_parts_and_a_surface_that_fills_the_view():
    scans = [cut_out(one) for one in good(4)]
    placement, placed, lost = learn(lambda: [(k, *one[:2]) for k, one in enumerate(scans)], 64, 64)
    assert placement.way == VALID and not lost and len(placed) == 4
    bumps = np.nanmax(place(placement, cut_out(scan(9))).laid.height)
    assert bumps == pytest.approx(8, abs=1.5)  # heights count from the part's foot, which is THICK high here

    def waves(x, y, _):
        return 4 + np.sin(x / 9) * np.cos(y / 7), x > 99

    scans = [scan(k, shape=waves) for k in range(3)]
    placement, placed, _ = learn(lambda: [(k, *one[:2]) for k, one in enumerate(scans)], 64, 64)
    assert placement.way == VIEW and placement.alignment == NONE
    again = Placement.restored(placement.state()[0], json.loads(json.dumps(placement.state()[1])))
    laid = [place(of, scan(9, shape=waves)).laid for of in (placement, again)]
    assert np.array_equal(laid[0].height, laid[1].height, equal_nan=True) and laid[0].pose[:2] == placement.centre


def test_a_training_part_that_is_not_found_is_named():
    scans = [*good(3), scan(3, shape=None)]
    placement, placed, lost = learn(lambda: [(f"part {k}", *one[:2]) for k, one in enumerate(scans)], 64, 64, NONE)
    assert placement.way == TABLE and [name for name, *_ in placed] == ["part 0", "part 1", "part 2"]
    assert lost == [("part 3", "no part: nothing lies on the table")]
    with pytest.raises(CannotPlace, match="hardly any point"):
        learn(lambda: [("part", scans[0].rgb, np.zeros((120, 160, 3)))], 64, 64)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.8, -0.5)])
def test_what_the_sensor_does_not_see_in_deep_holes_draws_no_part_aside(shift):
    holes = np.zeros((FINE, FINE), np.float32)
    part = np.zeros_like(holes)
    part[25:85, 20:92] = 1
    for row, column in itertools.product((35, 50, 65), (28, 42, 56, 70)):
        holes[row : row + 8, column : column + 8] = 1
    unseen = part.copy()  # the left of each hole, where the eye does not reach
    unseen[:] = holes * (np.roll(holes, 3, 1) == 0)

    def image(height, part):
        return Image(*(cv2.GaussianBlur(a, (0, 0), 1.2) for a in (height, 0 * height)), part)

    normal = image(10 * part - 6 * holes, part)
    seen = image(10 * part - 6 * holes - 4 * unseen, part)
    moved = warped(seen, np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]], np.float32))
    registration = Registration(normal, Noise(0.1, 0.04), 0.0, 0.5)
    found = registration.find(moved, Pose(0.0, 0.0)).warp
    assert np.abs(found[:, 2] - shift).max() < 0.05 and np.abs(found[:, :2] - np.eye(2)).max() < 1e-3
