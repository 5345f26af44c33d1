"""A tray of moulded pulp with six cups, seen by a small range sensor: few points, no stereo shadow, much noise."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, ramp


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    outline = box(x, y, 0, 0, 150, 104, 12)
    tall = rng.normal(24, 0.3)
    height = 4 + ramp(outline + 5, tall - 4, 6)
    for k in range(6):
        cx, cy = -46 + 46 * (k % 3), -23 + 46 * (k // 3)
        height -= ramp(disc(x, y, cx, cy, 20 + rng.normal(0, 0.2)), tall - 5, 9)
    height += 0.25 * noise(rng, grid.shape, 4) + 0.5 * noise(rng, grid.shape, 60)
    body = outline < 0
    pulp = noise(rng, grid.shape, 1.6)
    tone = rng.uniform(0.94, 1.06) * (1 + 0.07 * pulp + 0.05 * noise(rng, grid.shape, 25))
    tint = (0.2, 0.3, 0.42) if what == "wrong_colour" else (0.44, 0.4, 0.34)
    colour = (tone[..., None] * np.array(tint)).astype(np.float32)
    surface = Surface(np.where(body, np.maximum(height, 1), 0).astype(np.float32), colour, body)
    surface = faults.specks(grid, surface, rng, 12, 1.5, 0.7)
    ridge, cup = body & (height > tall - 2) & (outline < -9), body & (height < 8) & (outline < -10)
    side = fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "crushed":
        return faults.press(grid, surface, ridge, fault, 4.5, 20)
    if what == "lump":
        return faults.press(grid, surface, cup, fault, -4, 12)
    if what == "hole":
        cx, cy = faults.place(grid, cup, fault, 7)
        return surface.cut(faults.blob(grid, cx, cy, 7 * fault.width, fault) < 0)
    if what == "corner_missing":
        return faults.break_off(grid, surface, 75 * side, 52 * fault.rng.choice([-1, 1]), 24, fault)
    if what == "short":
        return surface.cut(x * side > 75 - 7 * fault.width + 0.8 * np.sin(y / 3))
    if what == "stone":
        return faults.lump(grid, surface, cup, fault, 7, 6, (0.1, 0.1, 0.1))
    if what == "stain":
        return faults.stain(grid, surface, body & (outline < -6), fault, 10, (0.16, 0.1, 0.06))
    return surface


KIND = Kind(
    name="tray",
    sentence="Pulp tray 150 x 104 mm with six cups, seen by a range sensor of 320 x 240 points.",
    grid=Grid(204, 154, 0.5),
    camera=Camera(320, 240, 250, 400, 11, 0.25, 0.7, picture=(960, 720), blur=0.6, speckle=3.6, edge_loss=0.6),
    table=Table((0.16, 0.13, 0.1), "mat", 0.3, pitch=0.7),
    light=Light(60, 50, 0.4),
    play=7,
    turn=6,
    build=build,
    faults={
        "crushed": "ridge pressed in, 4.5 mm deep",
        "lump": "lump of pulp in a cup, 4 mm high",
        "hole": "hole torn in a cup",
        "corner_missing": "one corner missing",
        "short": "7 mm of one side missing",
        "stone": "stone in a cup",
        "stain": "wet stain",
        "wrong_colour": "blue instead of grey pulp",
    },
    gloss=0.02,
    hardness=8,
)
