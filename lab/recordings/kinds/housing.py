"""A die-cast cover, painted grey: a rim, a cross of ribs, four bosses with holes, a window. Held in a loose fixture."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import bar, box, disc, noise, slab

BOSSES = ((-46, -27), (46, -27), (-46, 27), (46, 27))


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
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
    window = disc(x, y, 22, 18, 8.2 if what == "window_wide" else 6) < 0
    body = (outline < 0) & ~window
    height = np.where(body, height, 0).astype(np.float32)
    tone = 0.5 * rng.uniform(0.97, 1.03)
    paint = 1 + 0.02 * noise(rng, grid.shape, 2.5) + 0.03 * noise(rng, grid.shape, 60)
    colour = (tone * paint)[..., None] * np.array([0.97, 1.0, 1.03], np.float32)
    surface = faults.specks(grid, Surface(height, colour, body), rng, 8, 0.7)
    plain = body & (np.abs(height - floor) < 0.15)
    if what == "dent":
        return faults.press(grid, surface, plain, fault, 0.85, 8)
    if what == "bump":
        return faults.press(grid, surface, plain, fault, -0.95, 6)
    if what == "rim_broken":
        cx, top = fault.rng.uniform(-30, 10), fault.rng.choice([-1, 1])
        gone = (np.abs(x - cx) < 5 + 0.4 * np.sin(3 * y)) & (np.abs(y - 35.3 * top) < 3)
        height = np.where(gone & body, np.minimum(height, 6 + 0.4 * noise(fault.rng, grid.shape, 4)), height)
        return Surface(height.astype(np.float32), surface.colour, body)
    if what == "scratch":
        return faults.scratch(grid, surface, plain, fault, 24, 1.0, 0.4)
    if what == "stain":
        return faults.stain(grid, surface, plain, fault, 5, (0.22, 0.17, 0.1))
    return surface


KIND = Kind(
    name="housing",
    sentence="Die-cast cover 112 x 74 mm with rim, ribs, bosses and holes; rigid, a few mm and degrees of play.",
    grid=Grid(150, 112, 0.25),
    camera=Camera(848, 480, 430, 240, 4, 0.1, 0.16, baseline=18, subpixel=64, picture=(1280, 720)),
    table=Table((0.075, 0.08, 0.085), "mat", pitch=0.3),
    light=Light(-135),
    play=4,
    turn=5,
    build=build,
    faults={
        "dent": "dent in the floor, 0.85 mm deep",
        "bump": "lump of metal on the floor, 0.95 mm high",
        "rib_gap": "11 mm of the cross rib missing",
        "hole_missing": "one boss without its hole",
        "hole_wide": "hole of 7.8 instead of 4.6 mm",
        "window_wide": "window of 16.4 instead of 12 mm",
        "rim_broken": "10 mm of the rim broken off",
        "scratch": "dark scratch, only in the picture",
        "stain": "oil stain",
    },
    gloss=0.12,
    hardness=14,
)
