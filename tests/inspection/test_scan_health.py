"""The gate: statistics of scans of known geometry, reasons in words, and the share of good scans that it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from common.errors import InputError
from inspection import gate
from inspection.gate import KINDS, DeadSensor, ScanRanges, check, dead_sensor, learn, measure, unlike

PITCH = 0.0005  # metres a pixel


def scan(
    rng,
    size=200,
    half=(30, 15),
    turn=0.0,
    tilt=0.0,
    shift=(0.0, 0.0),
    depth=0.4,
    missing=0.04,
    light=1.0,
    blur=0.0,
    background=0,
):
    """(rgb, xyz) of a flat rectangle of 2·half mm on a black background, turned about the viewing axis, tilted about y
    (degrees, mm)."""
    pitch = PITCH * 200 / size
    rows, columns = np.mgrid[:size, :size]
    x, y = (columns - size / 2 + 0.5) * pitch - shift[0] / 1000, (rows - size / 2 + 0.5) * pitch - shift[1] / 1000
    angle = np.radians(turn)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    part = (np.abs(along) < half[0] / 1000) & (np.abs(across) < half[1] / 1000)
    texture = ndimage.zoom(rng.normal(size=(50, 50)), size / 50, order=1)[:size, :size]
    grey = 120 + 25 * texture + 3 * rng.normal(size=(size, size))
    grey = ndimage.gaussian_filter(grey, blur) if blur else grey
    rgb = np.where(part[..., None], np.clip(grey * light, 1, 255)[..., None] * [1, 0.9, 0.8], background).astype(
        np.uint8
    )
    z = depth + np.tan(np.radians(tilt)) * x + rng.normal(scale=0.00005, size=x.shape)
    there = part & (rng.random(part.shape) >= missing)
    return rgb, np.where(there[..., None], np.stack([x + shift[0] / 1000, y + shift[1] / 1000, z], axis=2), 0).astype(
        np.float32
    )


def good(rng):
    """A scan as production makes them: place, turn, light and gaps differ a little."""
    return scan(
        rng,
        turn=rng.normal(0, 2),
        tilt=rng.normal(5, 0.5),
        shift=rng.normal(0, 1, 2),
        depth=rng.normal(0.4, 0.001),
        missing=rng.uniform(0.02, 0.06),
        light=rng.uniform(0.95, 1.05),
    )


@pytest.fixture(scope="module")
def ranges():
    rng = np.random.default_rng(0)
    return learn(measure(*good(rng)) for _ in range(30))


# ---------------------------------------------------------------- measuring


def test_statistics_of_a_known_scan():
    values = measure(*scan(np.random.default_rng(0), turn=30, shift=(3, -2), depth=0.45, missing=0.41, light=0.8))
    found = SimpleNamespace(**values)
    assert found.missing == pytest.approx(0.41, abs=0.02) and found.valid_area == pytest.approx(0.59 * 1800, rel=0.04)
    assert found.length == pytest.approx(60 * 0.98, abs=2) and found.width == pytest.approx(30 * 0.98, abs=2)
    assert found.thickness < 0.5 and found.saturated == 0 and found.outline > 0.95
    assert (found.centre_x, found.centre_y, found.distance) == pytest.approx((3, -2, 450), abs=0.5)
    strength = (60**2 - 30**2) / (60**2 + 30**2)  # variances of a rectangle
    turn = strength / 2, strength * np.sin(np.pi / 3)
    assert (found.turn_straight, found.turn_diagonal) == pytest.approx(turn, abs=0.03)
    assert found.tilt < 0.5 and found.brightness == pytest.approx(120 * 0.8 * 0.9 / 255, abs=0.02)


@pytest.mark.parametrize("tilt", [0, 10, 35])
def test_tilt_and_area(tilt):
    found = measure(*scan(np.random.default_rng(0), tilt=tilt, missing=0))
    assert found["tilt"] == pytest.approx(tilt, abs=0.2) and found["valid_area"] == pytest.approx(1800, rel=0.04)
    assert found["missing"] == 0


def test_size_of_the_arrays_matters_little():
    small, large = (measure(*scan(np.random.default_rng(0), size=size)) for size in (224, 600))
    for name in set(KINDS) - {"sharpness", "saturated"}:  # sharpness is measured at the picture's own size
        assert small[name] == pytest.approx(large[name], rel=0.05, abs=KINDS[name].resolution), name
    rgb, _ = scan(np.random.default_rng(0), size=600)
    _, xyz = scan(np.random.default_rng(0), size=300)
    assert measure(rgb, xyz)["outline"] > 0.9


def test_sharpness_falls_with_blur_and_not_with_light():
    found = [measure(*scan(np.random.default_rng(0), blur=blur))["sharpness"] for blur in (0, 0.7, 1.5, 3)]
    assert found == sorted(found, reverse=True) and found[0] > 3 * found[-1]
    assert measure(*scan(np.random.default_rng(0), light=0.5))["sharpness"] == pytest.approx(found[0], rel=0.1)


def test_a_hole_inside_is_missing_and_nan_counts_as_no_point():
    rgb, xyz = scan(np.random.default_rng(0), missing=0)
    assert measure(rgb, xyz)["missing"] == 0
    xyz[90:110, 80:120] = 0
    found = measure(rgb, xyz)
    assert found["missing"] == pytest.approx(800 / np.count_nonzero(rgb[..., 0]), abs=0.01)
    xyz[90:110, 80:120] = np.nan
    assert measure(rgb, xyz) == found


def test_dead_sensors_are_named(ranges):
    rgb, xyz = scan(np.random.default_rng(0))
    assert dead_sensor(rgb, xyz) is None
    one_point = np.zeros_like(xyz)
    one_point[...] = (0.1, 0.1, 0.4)
    for picture, cloud, words in (
        (np.zeros_like(rgb), xyz, "the picture is black"),
        (np.full_like(rgb, 255), xyz, "one colour only"),
        (rgb, np.zeros_like(xyz), r"the cloud is empty \(0 points\)"),
        (rgb, np.full_like(xyz, np.nan), "cloud is empty"),
        (rgb, one_point, "all points of the cloud are one"),
    ):
        with pytest.raises(DeadSensor, match=words):
            measure(picture, cloud)
        assert check(picture, cloud, ranges) == f"{dead_sensor(picture, cloud)}: rescan"
    assert dead_sensor(np.zeros_like(rgb), np.zeros_like(xyz)).count(";") == 1


def test_a_few_points_in_a_large_scan():
    rgb, xyz = scan(np.random.default_rng(0), size=600)
    few = np.zeros_like(xyz)
    few[300, 300:317] = xyz[300, 300:317] + 0.1
    with pytest.raises(DeadSensor, match="the cloud is empty"):
        measure(rgb, few)


# ---------------------------------------------------------------- judging


def test_good_scans_are_judged(ranges):
    rng = np.random.default_rng(1)
    assert not any(check(*good(rng), ranges) for _ in range(40))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"missing": 0.41}, "of the points are missing"),
        ({"shift": (15, 0)}, "centre lies at x = 15"),
        ({"turn": 40}, "is turned"),
        ({"depth": 0.43}, "430.0 mm from the sensor"),
        ({"tilt": 20}, "tilted by 20"),
        ({"half": (30, 10)}, "wide"),
        ({"half": (22, 15)}, "long"),
        ({"light": 0.3}, "brightness is 1"),
        ({"light": 3}, "overexposed"),
        ({"blur": 3}, "sharpness"),
        ({"background": 50}, "no black background"),
    ],
)
def test_what_is_wrong_is_said(ranges, change, words):
    reason = check(*scan(np.random.default_rng(5), **{"tilt": 5, **change}), ranges)
    assert words in reason and reason.endswith(": rescan") and "training: " in reason and "\n" not in reason


def test_picture_and_cloud_of_different_parts(ranges):
    rng = np.random.default_rng(5)
    (rgb, _), (_, xyz) = scan(rng, tilt=5, shift=(0, 12)), scan(rng, tilt=5)
    assert check(rgb, xyz, ranges).startswith("picture and cloud agree on")


def statistics(**values):
    return {**dict.fromkeys(KINDS, 1.0), **values}


def test_the_reason_in_words():
    learned = learn([statistics(missing=share, centre_x=x) for share, x in ((0.02, -3), (0.04, 5), (0.06, 1))])
    assert unlike(statistics(missing=0.05), learned) == ""
    assert unlike(statistics(missing=0.41, centre_x=-70.0), learned) == (
        "41 % of the points are missing (training: 2–6 %); the part's centre lies at x = -70.0 mm (training: "
        "-3.0 to 5.0 mm): rescan"
    )
    assert unlike(statistics(outline=None), learned).startswith("the picture has no black background (training: all")


def test_a_value_just_outside_does_not_look_inside():
    learned = learn([statistics(missing=0.0, sharpness=0.5)] * 3)
    assert unlike(statistics(missing=0.0051, sharpness=0.5), learned).startswith("1 % of the points are missing")
    told = unlike(statistics(missing=0.0, sharpness=0.5204), learned)
    assert told == "the picture's sharpness is 0.52 (training: 0.50): rescan"


# ---------------------------------------------------------------- ranges


def test_ranges_survive_json_and_cannot_be_changed(ranges):
    again = ScanRanges.from_json(json.loads(json.dumps(ranges._asdict())))
    assert again == ranges
    content = ranges._asdict()
    for promised, widening in ((False, ranges.widening), (True, 0.0)):  # as version 0.9 wrote it
        old = ScanRanges.from_json({**content, "alpha": 0.01, "promised": promised})
        assert old == ranges._replace(widening=widening)
    for broken in (
        [],
        None,
        {**content, "low": content["low"][1:]},
        {**content, "names": ("other",) * len(content["names"])},
        {**content, "low": (None,) * len(content["low"])},
        {**content, "more": 1},
    ):
        with pytest.raises(InputError, match="damaged or of another version"):
            ScanRanges.from_json(broken)


def test_the_gate_promises_nothing_and_says_so(ranges):
    assert ranges.promise_text == (
        "how many good scans are refused is not promised: a scan is judged within the ranges of 30 scans, widened by "
        "100 % on either side"
    )
    with pytest.raises(InputError, match="2 scans are too few"):
        learn([statistics()] * 2)


EXACT = {name: kind._replace(resolution=0.0) for name, kind in KINDS.items()}  # as if all could be measured


@pytest.mark.parametrize("number, most", [(10, 0.08), (29, 0.08), (100, 0.04)])
def test_widened_ranges_refuse_few_good_scans(monkeypatch, number, most):
    """No promise, but measured, with statistics of heavy tails (Student's t with 3 degrees of freedom), all
    independent."""
    monkeypatch.setattr(gate, "KINDS", EXACT)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(500):
        *scans, new = [dict(zip(KINDS, row)) for row in rng.standard_t(3, size=(number + 1, len(KINDS)))]
        refused += unlike(new, learn(scans)) != ""
    assert 0 < refused <= most * 500
