"""A small moulded plug, black, with two rows of gilt pins in their chambers, in any turn; seen from near."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, slab


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    tall = rng.normal(11, 0.02)
    outline = np.minimum(box(x, y, 0, 0, 34, 18, 2), box(x, y, -19, 0, 8, 9, 1))
    height = np.where(box(x, y, -21, 0, 8, 20) < 0, slab(outline, 5, 0.3), slab(outline, tall, 0.5))
    trench = box(x, y, 0, 0, 29, 12.5, 1) < 0  # a rim stands around the chambers
    height = np.where(trench, tall - 1.5, height)
    chambers = (box(x % 4.8, np.abs(y), 2.4, 3.1, 3.6, 4.4, 0.3) < 0) & (np.abs(x) < 14.4)
    height = np.where(chambers, tall - 5, height)
    body, gilt = outline < 0, np.zeros(grid.shape, bool)
    bad = fault.rng.integers(12) if fault.rng else -1
    for k in range(12):
        cx, cy = -12 + 4.8 * (k // 2), -3.1 + 6.2 * (k % 2)
        px, py = cx + rng.normal(0, 0.04), cy + rng.normal(0, 0.04)
        if k == bad and what == "pin_missing":
            continue
        px += 1.0 * fault.width if k == bad and what == "pin_bent" else 0
        pin = disc(x, y, px, py, 0.8) < 0
        height, gilt = np.where(pin, tall - 1.8, height), gilt | pin
    for cx in (-9, 3):
        if not (what == "latch_broken" and cx > 0):
            height = np.maximum(height, slab(box(x, y, cx, 8.0, 6, 2.0, 0.4), tall + 2.2, 0.3))
            body = body | (box(x, y, cx, 8.0, 6, 2.0, 0.4) < 0)
    tone = rng.uniform(0.95, 1.05) * (1 + 0.06 * noise(rng, grid.shape, 1.5) + 0.05 * noise(rng, grid.shape, 30))
    tint = (0.34, 0.09, 0.05) if what == "wrong_colour" else (0.055, 0.055, 0.058)
    colour = (tone[..., None] * np.array(tint)).astype(np.float32)
    surface = Surface(np.where(body, height, 0).astype(np.float32), colour, body)
    surface = surface.with_colour(gilt, (0.75, 0.55, 0.2))
    key = (box(x, y, 15.5, 6.8, 1.6, 1.6) < 0) & body  # white dot at pin 1
    surface = faults.specks(grid, surface.with_colour(key, (0.5, 0.5, 0.5)), rng, 6, 0.25, 1.6)
    web = body & (np.abs(surface.height - tall) < 0.1) & (outline < -0.6)
    flat = body & (box(x, y, -20.5, 0, 4, 7) < 0)
    if what == "flash":
        a = fault.rng.uniform(-10, 10)
        fin = (np.abs(x - a) < 2.6 * fault.width) & (y < -8.2) & (y > -11.0 + 0.25 * np.sin(4 * x))
        return Surface(np.where(fin & ~body, 3.0, surface.height).astype(np.float32), surface.colour, body | fin)
    if what == "sink_mark":
        return faults.press(grid, surface, flat, fault, 0.25, 3)
    if what == "rim_chipped":
        return faults.break_off(grid, surface, 17 * fault.rng.choice([-1, 1]), -9, 3, fault)
    if what == "scratch":
        return faults.scratch(grid, surface, web | (box(x, y, 0, 0, 29, 1.2) < 0), fault, 8, 0.5, 5.0)
    if what == "glue":
        return faults.lump(grid, surface, box(x, y, 0, 0, 26, 9) < 0, fault, 1.6, 1.5, (0.5, 0.48, 0.4))
    return surface


KIND = Kind(
    name="connector",
    sentence="Moulded black plug 38 x 18 mm with twelve gilt pins, in any turn, seen from 200 mm.",
    grid=Grid(58, 40, 0.11),
    camera=Camera(1280, 720, 1250, 200, 2, 0.02, 0.035, baseline=25, subpixel=64, picture=(1280, 720)),
    table=Table((0.5, 0.52, 0.56), "light", 0.02, pitch=0.12),
    light=Light(-150, 55, 0.45, exposure=0.9),
    play=6,
    turn=180,
    build=build,
    faults={
        "pin_missing": "one of twelve pins missing",
        "pin_bent": "one pin bent aside by 1 mm",
        "latch_broken": "one of two latches missing",
        "flash": "fin of plastic at the side",
        "sink_mark": "sink mark in the tongue, 0.25 mm deep",
        "rim_chipped": "one corner chipped",
        "scratch": "whitened scratch, only in the picture",
        "glue": "drop of glue on the chambers",
        "wrong_colour": "moulded in red",
    },
    gloss=0.05,
    hardness=18,
    mirror=0.1,
)
