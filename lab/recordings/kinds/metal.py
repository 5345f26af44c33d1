"""A die-cast cover, a turned flange and a pressed dish."""

import numpy as np

from lab.recordings.faults import bend, break_off, lump, press, scratch, specks, stain
from lab.recordings.scene import Camera, Defect, Finish, Grid, Kind, Lies, Light, Surface, Table
from lab.recordings.shapes import bar, box, disc, noise, ramp, slab, streaks

BOSSES = ((-46, -27), (46, -27), (-46, 27), (46, 27))


def housing(grid, rng, fault):
    """Painted grey: a rim, a cross of ribs, four bosses with holes, a window. Held in a loose fixture."""
    x, y, what = grid.x, grid.y, fault.name
    floor, rim, rib = 4 + 0.04 * rng.standard_normal(), 14 + 0.05 * rng.standard_normal(), rng.uniform(8.95, 9.05)
    outline = box(x, y, 0, 0, 112, 74, 9)
    height = slab(outline, floor, 0.8)
    wall = slab(np.abs(outline + 1.7) - 1.6, rim, 0.6)
    wall = np.where(box(x, y, 26, -37, 16, 12) < 0, np.minimum(wall, 7), wall)  # where the cable goes in
    across, along = bar(x, y, -45, 3, 45, 3, 2.8), bar(x, y, -12, -33, -12, 33, 2.8)
    ribs = slab(np.minimum(across, along), rib, 0.5)
    if what == "rib_gap":
        middle = fault.rng.uniform(8, 34) * fault.rng.choice([-1, 1]) - 4
        gone = np.abs(x - middle) < (5.5 + 0.6 * np.sin(y * 3)) * fault.width
        ribs = np.where(gone & (across < 0.2), floor + 0.4, ribs)
    height = np.maximum(height, np.maximum(wall, ribs))
    for k, (cx, cy) in enumerate(BOSSES):
        height = np.maximum(height, slab(disc(x, y, cx, cy, 6), 12, 0.6))
        if what == "hole_missing" and k == 1:
            continue
        height = np.where(disc(x, y, cx, cy, 3.9 if what == "hole_wide" and k == 2 else 2.3) < 0, 3.0, height)
    body = (outline < 0) & ~(disc(x, y, 22, 18, 8.2 if what == "window_wide" else 6) < 0)
    tone = 0.5 * rng.uniform(0.97, 1.03)
    paint = 1 + 0.02 * noise(rng, grid.shape, 2.5) + 0.03 * noise(rng, grid.shape, 60)
    surface = Surface.painted(grid, height, body, tone * paint, np.array([0.97, 1.0, 1.03], np.float32))
    surface = specks(surface, rng, 8, 0.7)
    places = {"floor": body & (np.abs(surface.height - floor) < 0.15)}
    if what == "rim_broken":
        cx, top = fault.rng.uniform(-30, 10), fault.rng.choice([-1, 1])
        gone = (np.abs(x - cx) < 5 + 0.4 * np.sin(3 * y)) & (np.abs(y - 35.3 * top) < 3)
        low = np.minimum(surface.height, 6 + 0.4 * noise(fault.rng, grid.shape, 4))
        surface = surface.with_height(np.where(gone & body, low, surface.height))
    return surface, places


HOUSING = Kind(
    "housing",
    "Die-cast cover 112 x 74 mm with rim, ribs, bosses and holes; rigid, a few mm and degrees of play.",
    Grid(150, 112, 0.25),
    Camera(848, 480, 430, 240, 4, 0.1, 0.16, baseline=18, subpixel=64, picture=(1280, 720)),
    Table((0.075, 0.08, 0.085), "mat", pitch=0.3),
    Light(-135),
    Lies(4, 5),
    Finish(0.12, 14),
    housing,
    {
        "dent": Defect("dent in the floor, 0.85 mm deep", press("floor", 0.85, 8)),
        "bump": Defect("lump of metal on the floor, 0.95 mm high", press("floor", -0.95, 6)),
        "rib_gap": Defect("11 mm of the cross rib missing"),
        "hole_missing": Defect("one boss without its hole"),
        "hole_wide": Defect("hole of 7.8 instead of 4.6 mm"),
        "window_wide": Defect("window of 16.4 instead of 12 mm"),
        "rim_broken": Defect("10 mm of the rim broken off"),
        "scratch": Defect("dark scratch, only in the picture", scratch("floor", 24, 1.0, 0.4)),
        "stain": Defect("oil stain", stain("floor", 5, (0.22, 0.17, 0.1))),
    },
)


def flange(grid, rng, fault):
    """Brass; it lies as it fell: six holes make six nearly equal poses, only a print tells them apart."""
    x, y, what = grid.x, grid.y, fault.name
    far = np.hypot(x, y)
    plate, hub = 6 + 0.03 * rng.standard_normal(), 11 + 0.03 * rng.standard_normal()
    if what == "hub_low":
        hub -= 1.0 * fault.depth
    height = np.maximum(slab(far - 31, plate, 0.6), slab(far - 17, hub, 0.8))
    hole = far < 11
    bad = fault.rng.integers(6) if fault.rng else -1
    for k in range(6):
        a, radius = np.deg2rad(60 * k), {"hole_missing": 0, "hole_wide": 3.9}.get(what if k == bad else "", 2.7)
        hole |= disc(x, y, 24.5 * np.cos(a), 24.5 * np.sin(a), radius) < 0
    body = (far < 31) & ~hole
    turned = noise(rng, (1, 400), 1.2)[0][np.minimum((far / 0.15).astype(int), 399)]
    tone = rng.uniform(0.95, 1.05) * (1 + 0.05 * turned + 0.02 * noise(rng, grid.shape, 30))
    surface = Surface.painted(grid, height, body, tone, np.array([0.5, 0.34, 0.12], np.float32))
    if what != "print_missing":
        a = np.deg2rad(30)
        u, v = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
        ink = np.zeros(grid.shape, bool)
        for at, long in ((-3.6, 4.0), (-2.2, 2.4), (-0.8, 4.0), (0.6, 4.0), (2.0, 2.4), (3.4, 2.4)):
            ink |= box(u, v, 24.5, at, long, 0.8) < 0
        surface = surface.with_colour(ink & body, (0.1, 0.09, 0.07), 0.75)
    surface = specks(surface, rng, 6, 0.5)
    if what == "rim_chipped":
        a = np.deg2rad(30 + 60 * fault.rng.integers(1, 6))  # not where the print is
        surface = break_off(surface, 32 * np.cos(a), 32 * np.sin(a), 4.5, fault)
    return surface, {"plate": body & (far > 18) & (far < 30), "outside": body & (far > 17.5)}


FLANGE = Kind(
    "flange",
    "Turned brass flange of 62 mm in any turn; six nearly equal poses, told apart by a print alone.",
    Grid(88, 88, 0.2),
    Camera(640, 480, 610, 300, 3, 0.1, 0.1, baseline=40, subpixel=64, picture=(960, 720), roll=2),
    Table((0.6, 0.62, 0.62), "light", 0.03, pitch=0.2),
    Light(-60, 50, exposure=0.85),
    Lies(8, 180),
    Finish(0.22, 30, 0.25),
    flange,
    {
        "dent": Defect("dent in the plate, 0.75 mm deep", press("plate", 0.75, 5)),
        "burr": Defect("burr on the plate, 0.8 mm high", press("plate", -0.8, 3.5)),
        "hub_low": Defect("hub 1 mm too low"),
        "hole_missing": Defect("one of six holes missing"),
        "hole_wide": Defect("one hole of 7.8 instead of 5.4 mm"),
        "rim_chipped": Defect("piece of the rim missing"),
        "scratch": Defect("dark scratch, only in the picture", scratch("outside", 13, 0.6, 0.4)),
        "print_missing": Defect("no print"),
    },
)


def stamping(grid, rng, fault):
    """Bright steel: slopes and edges mirror the light and give no depth, each time in another place."""
    x, y, what = grid.x, grid.y, fault.name
    outline = box(x, y, 0, 0, 96, 62, 10)
    rise = rng.normal(8, 0.06)
    height = slab(outline, 2.0, 0.4) + ramp(box(x, y, -3, 0, 68, 42, 12), rise, 6)
    for cy in (-8, 8):
        height += ramp(box(x, y, -5, cy, 40, 7, 3.5), rng.normal(1.8, 0.05), 2.5)
    height += 0.12 * noise(rng, grid.shape, 60)  # springs back a little
    tab_height = rng.normal(11, 0.1)
    if what != "tab_missing":
        height = np.maximum(height, slab(box(x, y, 43, 8, 2.4, 16, 0.5), tab_height, 0.5))
    hole = np.zeros(grid.shape, bool)
    for k, (cx, cy) in enumerate(((-41.5, -20), (-41.5, 20), (39, -21))):
        if what == "hole_missing" and k == 1:
            continue
        hole |= disc(x, y, cx, cy, 4.4 if what == "hole_wide" and k == 2 else 2.8) < 0
    body = (outline < 0) & ~hole
    brushed = streaks(rng, grid.shape, 0.7, 60)
    tone = 0.36 * rng.uniform(0.96, 1.04) * (1 + 0.05 * brushed + 0.03 * noise(rng, grid.shape, 40))
    surface = specks(Surface.painted(grid, height, body, tone, (0.98, 1, 1.03)), rng, 8, 0.6)
    top, brim = body & (box(x, y, -3, 0, 54, 28) < 0), body & (outline < -1) & (box(x, y, -3, 0, 70, 44) > 0)
    if what == "corner_bent":
        cx, cy = (fault.rng.choice([-1, 1]) for _ in range(2))
        surface = bend(surface, 36 * cx, 22 * cy, float(np.rad2deg(np.arctan2(cy, cx))), 4, fault)
    return surface, {"top": top, "flat": top | brim}


STAMPING = Kind(
    "stamping",
    "Pressed dish of bright steel, 96 x 62 mm, with a tab; shiny slopes and edges give no depth.",
    Grid(132, 98, 0.25),
    Camera(848, 480, 740, 380, 8, 0.1, 0.11, baseline=55, subpixel=64, picture=(848, 480), edge_loss=0.5),
    Table((0.05, 0.07, 0.06), "mat", 0.06, pitch=0.35),
    Light(35, 45),
    Lies(5, 8),
    Finish(0.5, 60, 0.9),
    stamping,
    {
        "dent": Defect("dent in the top, 0.8 mm deep", press("top", 0.8, 7)),
        "bump": Defect("bulge in the top, 0.8 mm high", press("top", -0.8, 6)),
        "corner_bent": Defect("one corner bent up by 4 mm"),
        "tab_missing": Defect("no tab"),
        "hole_missing": Defect("one of three holes missing"),
        "hole_wide": Defect("hole of 8.8 instead of 5.6 mm"),
        "scratch": Defect("dark scratch, only in the picture", scratch("top", 22, 0.8, 0.4)),
        "rust": Defect("rust stain", stain("flat", 4, (0.3, 0.12, 0.04))),
        "swarf": Defect("chip of metal lying on it", lump("flat", 2.6, 1.8, (0.12, 0.12, 0.14))),
    },
)
