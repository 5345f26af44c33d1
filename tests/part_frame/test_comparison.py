"""Compared in place: each kind of defect in its own map, at its place, in mm; good parts below; few training parts."""

import numpy as np
import pytest

from part_frame.comparison import MAPS, Appearance, Deviation, Nominal, Spread, brighter, gained, logarithms, widened
from part_frame.reference import PlaceReference, packed, unpacked
from tests.part_frame.scenes import DENT, PLACES, THICK, learned, reference, scan

COUNTS = [4, 6]
KINDS = {"dent": "height", "stain": "colour", "missing": "missing", "extra": "extra", "cut": "height"}


def judged(count, *defects, seed=50, **options):
    """(Placed, scores, maps, the Scan) of a part."""
    placement, normal = reference(count, turn=180)
    one = scan(seed, 33, (1, -3), defects=defects, **options)
    placed = placement.place(one.rgb, one.xyz)
    return placed, *normal.maps(placed.appearance), one


def left_out(count):
    """{map: the largest score of the training parts, each compared with the others}."""
    normal = reference(count, turn=180)[1]
    scores = [normal.maps(normal.kept(k), k)[0] for k in range(count)]
    return {name: max(of[name] for of in scores) for name in MAPS}


@pytest.mark.parametrize("defect", KINDS)
@pytest.mark.parametrize("count", COUNTS)
def test_a_defect_shows_in_its_map_at_its_place(count, defect):
    placed, scores, maps, one = judged(count, defect)
    kind, usual = KINDS[defect], left_out(count)
    assert scores[kind] > 1.5 * usual[kind] + 1
    if defect in ("dent", "stain", "missing"):  # others change more than one map
        others = [name for name in MAPS if name.removeprefix("local_") != kind]
        assert all(scores[name] < usual[name] + 1 for name in others), scores
    row, column = np.unravel_index(maps[kind].argmax(), maps[kind].shape)
    pixel = int(np.rint(placed.laid.row[row, column])), int(np.rint(placed.laid.column[row, column]))
    assert np.hypot(*(one.at[pixel] - PLACES[defect])) < {"cut": 20}.get(defect, 5.5)  # mm; cut: a whole end


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", range(60, 63))
def test_a_good_part_stays_below(count, seed):
    usual, scores = left_out(count), judged(count, seed=seed)[1]
    assert all(scores[name] < usual[name] + 1 for name in MAPS), (usual, scores)


def test_a_dent_is_measured_in_mm_and_a_lump_has_the_other_sign():
    placed, _, maps, _ = judged(6, "dent")
    of = reference(6, turn=180)[1].deviation(placed.appearance)
    row, column = np.unravel_index(maps["height"].argmax(), maps["height"].shape)
    assert of.height[row, column] == pytest.approx(-DENT, abs=0.08)
    raised = placed.appearance._replace(height=placed.appearance.height + np.where(maps["height"] > 10, 2 * DENT, 0))
    assert reference(6, turn=180)[1].deviation(raised).height[row, column] == pytest.approx(DENT, abs=0.08)


@pytest.mark.parametrize("kind, rise", [("height", 1.0), ("colour", 0.2)])
def test_what_changes_slowly_is_not_local(kind, rise):
    """A part that is warped, or lit from another side, differs; its local maps stay, and show a dent or a stain."""
    placed, _, _, _ = judged(6)
    normal = reference(6, turn=180)[1]
    slope = rise * np.linspace(-1, 1, len(placed.appearance.height), dtype=np.float32)[:, None]
    change = {"height": slope, "colour": slope[..., None] * np.array([1, 0, 0], np.float32)}[kind]
    plain, of = (
        normal.maps(one)[0]
        for one in (placed.appearance, placed.appearance._replace(**{kind: getattr(placed.appearance, kind) + change}))
    )
    local = f"local_{kind}"
    assert of[kind] > plain[kind] + 2 and of[kind] - plain[kind] > 3 * (of[local] - plain[local])


def test_the_footprint_is_the_normal_parts():
    """Missing material does not hide itself: the cut end is compared although the part has nothing there."""
    placed, _, maps, _ = judged(6, "cut")
    normal = reference(6, turn=180)[1].nominal
    lacking = (normal.height > THICK / 2) & ~placed.laid.part
    assert lacking.sum() > 30 and np.median(maps["height"][lacking]) > 10


def test_a_part_is_left_out_of_its_own_reference():
    scans, placement, poses = learned(6, turn=180)
    parts = [placement.place(one.rgb, one.xyz, pose).appearance for one, pose in zip(scans, poses)]
    every = reference(6, turn=180)[1]
    own = every.deviation(every.kept(2))
    rest = PlaceReference()
    for part in parts[:2] + parts[3:]:
        rest.add(part)
    rest.finish()
    apart, fresh = every.deviation(every.kept(2), 2), rest.deviation(parts[2])
    assert np.abs(apart.height - fresh.height).max() < 1e-4 < np.abs(own.height - fresh.height).max()
    assert np.abs(apart.missing - fresh.missing).max() < 1e-5 and np.abs(apart.colour - fresh.colour).max() < 0.02
    scores, others = every.maps(every.kept(2), 2)[0], rest.maps(parts[2])[0]
    assert all(scores[name] == pytest.approx(others[name], rel=0.25, abs=0.05) for name in MAPS)


def test_a_restored_reference_compares_the_same():
    placement, made = reference(6, turn=180)
    made.ignored = np.zeros(made.compared.shape, bool)
    made.ignored[:40] = True
    try:
        again = PlaceReference.restored(made.state())
        appearance = judged(6, "dent", "stain")[0].appearance
        carried = unpacked(packed(appearance))  # as a sample carries it
        (scores, maps), (same, others) = made.maps(appearance), again.maps(carried)
        assert scores == same and all(np.array_equal(maps[name], others[name]) for name in MAPS)
        assert not maps["height"][:40].any() and np.array_equal(made.compared, again.compared)
        assert not made.compared[:40].any() and again.nominal.parts == 6
    finally:
        made.ignored = None


@pytest.mark.parametrize("light", [0.72, 0.85, 1.2])
def test_less_light_changes_no_colour_and_keeps_the_stain(light):
    usual = left_out(6)["colour"]
    assert judged(6, light=light)[1]["colour"] < usual + 1
    assert judged(6, "stain", light=light)[1]["colour"] == pytest.approx(judged(6, "stain")[1]["colour"], rel=0.2)


@pytest.mark.parametrize("by", [-0.15, 0.15])
@pytest.mark.parametrize("light", [0.8, 1.0, 1.2])
def test_a_part_that_is_brighter_than_the_light_beside_it_explains(light, by):
    one, normal = judged(6, light=light)[0].appearance, reference(6, turn=180)[1]
    usual, plain = left_out(6)["brightness"], normal.maps(one)[0]["brightness"]
    shift = np.where(one.part[..., None], np.array([by, 0, 0], np.float32), 0)
    found = normal.maps(one._replace(colour=one.colour + shift))[0]["brightness"]
    assert plain < usual + 1 and found > usual + 3
    told = np.median(
        normal.deviation(one._replace(colour=one.colour + shift)).brightness[normal.nominal.footprint > 0.5]
    )
    assert told == pytest.approx(by, abs=0.04)


def test_a_model_that_does_not_know_the_brightness_has_the_other_maps():
    made = reference(6, turn=180)[1]
    older = PlaceReference.restored({name: of for name, of in made.state().items() if name != "spread.brightness"})
    one = judged(6, "dent")[0].appearance
    assert set(MAPS) - set(older.maps(one)[0]) == {"brightness"}
    assert older.maps(one)[0]["height"] == made.maps(one)[0]["height"]


@pytest.mark.parametrize("exposure", [0.6, 0.75, 1.4])
def test_an_exposure_changes_no_hue_of_saturated_colours_and_raises_no_noise_in_dark_places(exposure):
    draw, size = np.random.default_rng(0), (64, 64)
    values = draw.uniform(4, 150, (*size, 3))  # among them orange, and black
    everywhere, flat = np.ones(size, bool), np.zeros(size, np.float32)
    normal = Nominal(flat, logarithms(values), flat + 1, flat + 1, 5)
    seen = exposure * values
    noisy = seen + draw.normal(0, 1.5, seen.shape)
    plain, noise = (
        gained(Appearance(flat, logarithms(of), everywhere, everywhere), normal).colour - normal.colour
        for of in (seen, noisy)
    )
    assert np.abs(plain).max() < 1e-3
    black, own = values.max(2) < 40, logarithms(noisy) - logarithms(seen)
    assert black.sum() > 20 and noise[black].std() < 1.01 * own[black].std()


def encoded(light):
    """[…] values of 0 to 255 of linear ``light`` of 0 to 1, by the curve of sRGB."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("less", [0.5, 0.7, 1.15])
def test_a_cameras_curve_is_no_defect(less):
    size = (90, 90)
    light = np.random.default_rng(1).uniform(0.004, 0.5, (*size, 1)) * [1.0, 0.8, 0.7]
    everywhere, flat = np.ones(size, bool), np.zeros(size, np.float32)
    normal = Nominal(flat, logarithms(encoded(light)), flat + 1, flat + 1, 5)
    found = gained(Appearance(flat, logarithms(encoded(less * light)), everywhere, everywhere), normal)
    dark = np.abs(found.colour - normal.colour)[light[..., 0] < 0.05, 0]
    assert np.median(dark) < 0.04 * abs(np.log(less))  # 0.08 with one factor for all tones


def test_noise_of_less_light_widens_the_spread_of_dark_places_alone():
    draw, size = np.random.default_rng(2), (120, 120)
    values = np.where(np.arange(size[1]) < 60, 20.0, 160.0)[None, :, None] * np.ones((*size, 3))
    flat, one = np.zeros(size, np.float32), np.ones(size, np.float32)
    normal = Nominal(flat, logarithms(values), one, one, 5)
    spread = Spread(np.zeros(2), one, one, *(np.full((*size, 3), 0.03, np.float32),) * 2, one, one)
    noise = draw.normal(0, 1, (*size, 3)) * np.where(values < 100, 0.05, 0.01)
    found = Deviation(flat, flat, noise, noise, flat, flat, flat)
    wide = widened(spread, found, normal, 0.7)
    assert np.median(wide.colour[:, :50]) > 1.6 * 0.03 and np.median(wide.colour[:, 70:]) == np.float32(0.03)
    assert widened(spread, found, normal, 1.0) is spread
    loud = widened(spread, found._replace(colour=50 * noise), normal, 0.7)  # all of it defective: it stays so
    assert loud.colour.max() < 0.03 * 0.7**-2.2


@pytest.mark.parametrize("beside, told", [(100.0, 1.0), (60.0, 0.6), (0.0, 0.7)])
def test_light_is_read_beside_the_part(beside, told):
    """A darker part beside a table as bright as ever is another part, and no less light; without a table who knows."""
    size, square = (80, 80), np.zeros((80, 80), np.float32)
    square[25:55, 25:55] = 1
    part, flat = square[..., None] > 0, np.zeros(size, np.float32)
    table = 100.0 if beside else 0.0
    normal = Nominal(flat, logarithms(np.where(part, [120, 90, 70], table)), flat + 1, square, 5)
    own = logarithms(np.where(part, [84, 63, 49], beside))
    assert brighter(Appearance(flat, own, np.ones(size, bool), square > 0), normal) == pytest.approx(told, rel=0.01)


def test_what_is_brighter_than_white_counts_as_bright():
    """Training parts of less exposure, brought to the usual brightness, leave means above 255."""
    size = (60, 60)
    values = np.where(np.arange(60) < 30, 20.0, 262.0)[None, :, None] * np.ones((*size, 3))
    everywhere, flat = np.ones(size, bool), np.zeros(size, np.float32)
    normal = Nominal(flat, logarithms(values), flat + 1, flat + 1, 5)
    own = np.where(values < 100, 0.55, 0.7) * values  # the dark half follows the light by more
    found = gained(Appearance(flat, logarithms(own), everywhere, everywhere), normal)
    assert np.abs(found.colour - normal.colour).max() < 0.01
