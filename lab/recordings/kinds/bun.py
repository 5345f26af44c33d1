"""A baked bun: soft, no two alike in outline, height, scoring and browning."""

from dataclasses import replace

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import bar, noise


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    long, wide, tall = rng.normal(54, 2), rng.normal(34, 1.5), rng.normal(34, 1.8)
    angle = np.arctan2(y / wide, x / long)
    rim = 1 + sum(rng.normal(0, 0.035 / k**0.5) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 7))
    far = np.hypot(x / long, y / wide) / rim
    height = tall * np.clip(1 - far**2.6, 0, 1) ** 0.55
    height += np.where(far < 1, 0.5 * noise(rng, grid.shape, 5) + 1.2 * noise(rng, grid.shape, 36), 0)
    cuts = np.full(grid.shape, 99.0, np.float32)
    for k in (-1, 0, 1):
        cx, lean = 27 * k + rng.normal(0, 2), rng.normal(8, 2)
        cuts = np.minimum(cuts, bar(x, y, cx - lean, -rng.uniform(12, 17), cx + lean, rng.uniform(12, 17), 1))
    groove = np.exp(-((np.maximum(cuts, 0) / 2.6) ** 2))
    height -= rng.uniform(1.5, 2.5) * groove
    body = (far < 1) & (height > 1)
    brown = np.clip(0.55 + 0.25 * (height / tall - 0.6) + 0.13 * noise(rng, grid.shape, 30), 0, 1)
    brown = np.clip(brown + 0.04 * noise(rng, grid.shape, 2) - 0.45 * groove + rng.normal(0, 0.05), 0, 1)[..., None]
    if what == "pale":
        brown = brown * 0.3
    colour = (1 - brown) * np.array([0.72, 0.55, 0.33], np.float32) + brown * np.array([0.42, 0.19, 0.06], np.float32)
    flour = np.clip(noise(rng, grid.shape, 3) - 1.6, 0, 1)[..., None]
    colour = (colour * (1 - 0.4 * flour) + 0.3 * flour).astype(np.float32)
    surface = Surface(np.where(body, height, 0).astype(np.float32), colour, body)
    crown, side = far < 0.7, fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "bite":
        return faults.break_off(grid, surface, side * long * 0.82, fault.rng.uniform(-14, 14), 15, fault)
    if what == "pressed":
        return faults.press(grid, surface, crown, fault, 6, 16)
    if what == "split":
        cx, cy = fault.rng.uniform(-12, 12), fault.rng.uniform(-8, 8)
        line = bar(x, y, cx - 20, cy + 2, cx + 20, cy - 2, 1) + 1.2 * np.sin(x / 3) - 1.8 * fault.width
        open_ = np.clip(-line / 1.5, 0, 1)
        surface = surface.with_colour(body, (0.8, 0.7, 0.5), open_)
        return replace(surface, height=np.where(body, np.maximum(surface.height - 7 * fault.depth * open_, 1), 0))
    if what == "burnt":
        return faults.stain(grid, surface, crown, fault, 10, (0.05, 0.03, 0.02), 0.85)
    if what == "foreign_body":
        return faults.lump(grid, surface, crown, fault, 4.5, 3, (0.08, 0.2, 0.6))
    if what == "short":
        return surface.cut(x * side > long * 0.66 + 1.5 * noise(fault.rng, grid.shape, 8))
    return surface


KIND = Kind(
    name="bun",
    sentence="Baked bun of about 108 x 68 x 34 mm on a conveyor belt; soft, every one of another shape.",
    grid=Grid(180, 140, 0.4),
    camera=Camera(640, 480, 560, 520, 6, 1.0, 0.8, baseline=50, subpixel=16, blur=1.2),
    table=Table((0.2, 0.3, 0.36), "belt", 0.2, moves=True, pitch=0.5),
    light=Light(150, 52, 0.4),
    play=10,
    turn=25,
    build=build,
    faults={
        "bite": "a piece missing from one end",
        "pressed": "pressed in, 6 mm deep",
        "split": "split crust, 40 mm long",
        "burnt": "burnt spot",
        "foreign_body": "piece of blue plastic on the crust",
        "short": "one end cut off",
        "pale": "hardly baked, too pale",
    },
    gloss=0.05,
    hardness=8,
)
