"""A pressed dish of bright steel: slopes and edges mirror the light and give no depth, each time in another place."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, ramp, slab, streaks


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    outline = box(x, y, 0, 0, 96, 62, 10)
    rise = rng.normal(8, 0.06)
    height = slab(outline, 2.0, 0.4) + ramp(box(x, y, -3, 0, 68, 42, 12), rise, 6)
    for cy in (-8, 8):
        height += ramp(box(x, y, -5, cy, 40, 7, 3.5), rng.normal(1.8, 0.05), 2.5)
    height += 0.12 * noise(rng, grid.shape, 60)  # springs back a little
    tab = box(x, y, 43, 8, 2.4, 16, 0.5)
    tab_height = rng.normal(11, 0.1)
    if what != "tab_missing":
        height = np.maximum(height, slab(tab, tab_height, 0.5))
    hole = np.zeros(grid.shape, bool)
    for k, (cx, cy) in enumerate(((-41.5, -20), (-41.5, 20), (39, -21))):
        if what == "hole_missing" and k == 1:
            continue
        hole |= disc(x, y, cx, cy, 4.4 if what == "hole_wide" and k == 2 else 2.8) < 0
    body = (outline < 0) & ~hole
    brushed = streaks(rng, grid.shape, 0.7, 60)
    tone = 0.36 * rng.uniform(0.96, 1.04) * (1 + 0.05 * brushed + 0.03 * noise(rng, grid.shape, 40))
    colour = (tone[..., None] * np.array([0.98, 1, 1.03])).astype(np.float32)
    surface = faults.specks(grid, Surface(np.where(body, height, 0).astype(np.float32), colour, body), rng, 8, 0.6)
    top, brim = body & (box(x, y, -3, 0, 54, 28) < 0), body & (outline < -1) & (box(x, y, -3, 0, 70, 44) > 0)
    if what == "dent":
        return faults.press(grid, surface, top, fault, 0.8, 7)
    if what == "bump":
        return faults.press(grid, surface, top, fault, -0.8, 6)
    if what == "corner_bent":
        cx, cy = (fault.rng.choice([-1, 1]) for _ in range(2))
        return faults.bend(grid, surface, 36 * cx, 22 * cy, float(np.rad2deg(np.arctan2(cy, cx))), 4, fault)
    if what == "scratch":
        return faults.scratch(grid, surface, top, fault, 22, 0.8, 0.4)
    if what == "rust":
        return faults.stain(grid, surface, top | brim, fault, 4, (0.3, 0.12, 0.04))
    if what == "swarf":
        return faults.lump(grid, surface, brim | top, fault, 2.6, 1.8, (0.12, 0.12, 0.14))
    return surface


KIND = Kind(
    name="stamping",
    sentence="Pressed dish of bright steel, 96 x 62 mm, with a tab; shiny slopes and edges give no depth.",
    grid=Grid(132, 98, 0.25),
    camera=Camera(848, 480, 740, 380, 8, 0.1, 0.11, baseline=55, subpixel=64, picture=(848, 480), edge_loss=0.5),
    table=Table((0.05, 0.07, 0.06), "mat", 0.06, pitch=0.35),
    light=Light(35, 45),
    play=5,
    turn=8,
    build=build,
    faults={
        "dent": "dent in the top, 0.8 mm deep",
        "bump": "bulge in the top, 0.8 mm high",
        "corner_bent": "one corner bent up by 4 mm",
        "tab_missing": "no tab",
        "hole_missing": "one of three holes missing",
        "hole_wide": "hole of 8.8 instead of 5.6 mm",
        "scratch": "dark scratch, only in the picture",
        "rust": "rust stain",
        "swarf": "chip of metal lying on it",
    },
    gloss=0.5,
    hardness=60,
    mirror=0.9,
)
