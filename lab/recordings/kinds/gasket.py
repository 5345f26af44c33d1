"""A flat gasket 1.4 mm thick, seen from far: about nine times as thick as one depth value is noisy."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, slab

HOLES = ((-58, -36), (0, -36), (58, -36), (-58, 36), (0, 36), (58, 36), (-59, 0), (59, 0))


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    thick = rng.normal(1.4, 0.02)
    outline = np.minimum(box(x, y, 0, 0, 132, 88, 12), disc(x, y, 30, 42, 10))
    hole = box(x, y, -10, 0, 78, 54, 12) < 0
    hole |= box(x, y, 44, -4, 14, 40, 6) < 0
    bad = fault.rng.integers(len(HOLES)) if fault.rng else -1
    for k, (cx, cy) in enumerate(HOLES):
        wrong = what if k == bad else ""
        hole |= disc(x, y, cx, cy, {"hole_missing": 0, "hole_wide": 4.8}.get(wrong, 3.0)) < 0
    body = (outline < 0) & ~hole
    lies = np.clip(0.12 + 0.12 * noise(rng, grid.shape, 70), 0, None)  # it never lies quite flat
    height = np.where(body, slab(outline, thick, 0.2) + lies, 0).astype(np.float32)
    fibre = noise(rng, grid.shape, 1.0)
    tone = rng.uniform(0.95, 1.05) * (1 + 0.08 * fibre + 0.04 * noise(rng, grid.shape, 20))
    colour = (tone[..., None] * np.array([0.1, 0.22, 0.15])).astype(np.float32)
    surface = faults.specks(grid, Surface(height, colour, body), rng, 6, 0.9)
    if what == "torn":
        side = fault.rng.choice([-1, 1])
        cx = fault.rng.uniform(12, 24) * fault.rng.choice([-1, 1]) - 16
        return surface.cut((np.abs(x - cx - 1.2 * np.sin(y / 2)) < 2.5 * fault.width) & (y * side > 20))
    if what == "corner_missing":
        cx, cy = (fault.rng.choice([-1, 1]) for _ in range(2))
        return faults.break_off(grid, surface, 68 * cx, 46 * cy, 15, fault)
    if what == "lifted":
        side = fault.rng.choice([-1, 1])
        return faults.bend(grid, surface, 44 * side, 0, 0 if side > 0 else 180, 4, fault)
    if what == "blister":
        return faults.press(grid, surface, body, fault, -1.2, 8)
    if what == "worn":
        cx, cy = faults.place(grid, body, fault, 5)
        share = np.clip(-faults.blob(grid, cx, cy, 11 * fault.width, fault) / 3, 0, 1)
        return Surface(np.where(body, height - 0.8 * fault.depth * share, 0).astype(np.float32), surface.colour, body)
    if what == "stain":
        return faults.stain(grid, surface, body, fault, 7, (0.04, 0.035, 0.03), 0.8)
    return surface


KIND = Kind(
    name="gasket",
    sentence="Fibre gasket 132 x 88 mm, 1.4 mm thin, seen from 760 mm: nine times as thick as the noise.",
    grid=Grid(176, 132, 0.35),
    camera=Camera(1280, 720, 1000, 760, 5, 0.1, 0.15, baseline=160, subpixel=64, picture=(1280, 720), roll=-2),
    table=Table((0.62, 0.6, 0.56), "light", 0.1, pitch=0.6),
    light=Light(100, 55, 0.4, exposure=0.85),
    play=6,
    turn=6,
    build=build,
    faults={
        "torn": "web torn through, 5 mm wide",
        "hole_missing": "one of eight holes missing",
        "hole_wide": "hole of 9.6 instead of 6 mm",
        "corner_missing": "one corner missing",
        "lifted": "one end bent up by 4 mm",
        "blister": "blister, 1.2 mm high",
        "worn": "0.8 mm thinner over a spot of 22 mm",
        "stain": "oil stain",
    },
    gloss=0.03,
    hardness=10,
)
