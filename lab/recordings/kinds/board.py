"""A planed wooden board with a groove, a dowel hole and a stamp; another grain each time, fed either way round."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, slab


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    outline = box(x, y, 0, 0, 142 + rng.normal(0, 0.2), 46 + rng.normal(0, 0.15), 1.5)
    thick = rng.normal(16, 0.1)
    height = slab(outline, thick, 1.0)
    groove = np.abs(y - 12) < 2.5
    height = np.where(groove & (outline < 0), thick - 4, height)
    hole = disc(x, y, -52, -8, 4) < 0
    body = outline < 0
    height = np.where(hole & body, thick - 10, height)
    # year rings of a trunk whose heart lies beside the board, and pores along the grain
    heart, period = rng.uniform(25, 90) * rng.choice([-1, 1]), rng.uniform(3, 5.5)
    bow = y + 0.05 * x * rng.normal(0, 0.6) + rng.uniform(2, 5) * noise(rng, (1, grid.shape[1]), 140)
    rings = np.abs(bow - heart) + 0.0012 * rng.normal(0, 1) * x * x + 0.5 * noise(rng, grid.shape, 16)
    phase = (rings / period) % 1
    dark = np.clip((phase - 0.35) / 0.5, 0, 1) * np.clip((1 - phase) / 0.12, 0, 1)
    pores = np.repeat(noise(rng, (grid.shape[0], grid.shape[1] // 12 + 1), 0.8), 12, 1)[:, : grid.shape[1]]
    tone = rng.uniform(0.93, 1.07) * (1 - 0.3 * dark + 0.05 * pores + 0.04 * noise(rng, grid.shape, 50))
    wood = (0.3, 0.17, 0.1) if what == "wrong_wood" else (0.62, 0.43, 0.24)
    surface = Surface(height.astype(np.float32), (tone[..., None] * np.array(wood)).astype(np.float32), body)
    for _ in range(rng.integers(3)):  # pin knots are no defect
        cx, cy, size = rng.uniform(-60, 60), rng.uniform(-20, 20), rng.uniform(0.7, 1.5)
        surface = surface.with_colour(body & (np.hypot((x - cx) / 1.6, y - cy) < size), (0.22, 0.11, 0.05), 0.7)
    ink = (box(x, y, 52, -8, 20, 12, 1) < 0) & (box(x, y, 52, -8, 17, 9, 1) > 0)
    ink |= (np.abs(y + 8) < 1) & (np.abs(x - 52) < 6)
    ink &= noise(rng, grid.shape, 2) > -1.0  # a stamp is never inked evenly
    surface = surface.with_colour(ink & body, (0.12, 0.06, 0.05), rng.uniform(0.55, 0.75))
    surface = faults.specks(grid, surface, rng, 5, 0.6)
    flat = body & (np.abs(height - thick) < 0.02) & (box(x, y, 52, -8, 22, 14) > 0) & (np.abs(x) < 66)
    side = fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "dent":
        return faults.press(grid, surface, flat, fault, 1.35, 8)
    if what == "scratch":
        return faults.scratch(grid, surface, flat, fault, 30, 1.2, 0.35)
    if what == "crack":
        cx, cy = fault.rng.uniform(-25, 15), fault.rng.uniform(-12, 4)
        split = np.abs(y - cy - 0.9 * np.sin(x / 7)) < 1.1 * fault.width * (1 - ((x - cx) / 22) ** 2)
        surface = surface.with_colour(split & body, (0.08, 0.05, 0.03), 0.8)
        deep = np.where(split & body, surface.height - 6 * fault.depth, surface.height)
        return Surface(np.maximum(deep, 0).astype(np.float32), surface.colour, body)
    if what == "corner_broken":
        return faults.break_off(grid, surface, 71 * side, 23 * fault.rng.choice([-1, 1]), 11, fault)
    if what == "stain":
        return faults.stain(grid, surface, flat, fault, 6, (0.06, 0.07, 0.14))
    if what == "staple":
        cx, cy = faults.place(grid, flat, fault, 4)
        wire = (np.abs(x - cx) < 6 * fault.width) & (np.abs(y - cy) < 0.9 * fault.width)
        surface = surface.with_colour(wire, (0.75, 0.77, 0.8))
        return Surface(np.where(wire, thick + 1.2, surface.height).astype(np.float32), surface.colour, body)
    if what == "short":
        return surface.cut(x * side > 71 - 7 * fault.width)
    if what == "planed_off":
        low = np.clip((x * side - 20) / 15, 0, 1) * 1.8 * fault.depth
        return Surface(np.where(body, surface.height - low, 0).astype(np.float32), surface.colour, body)
    return surface


KIND = Kind(
    name="board",
    sentence="Planed wooden board 142 x 46 x 16 mm on a belt, fed either way round; another grain each time.",
    grid=Grid(184, 92, 0.3),
    camera=Camera(640, 480, 540, 330, 5, 0.25, 0.2, picture=(960, 720), blur=0.9),
    table=Table((0.09, 0.1, 0.1), "belt", 0.1, moves=True, pitch=0.4),
    light=Light(-90, 50, 0.4),
    play=6,
    turn=6,
    build=build,
    faults={
        "dent": "dent, 1.35 mm deep",
        "scratch": "dark scratch, only in the picture",
        "crack": "open crack along the grain, 40 mm long",
        "corner_broken": "one corner broken off",
        "stain": "ink stain",
        "staple": "staple lying across",
        "short": "7 mm too short",
        "planed_off": "planed 1.8 mm too thin toward one end",
        "wrong_wood": "another, darker wood",
    },
    gloss=0.04,
    hardness=12,
    either_way=True,
)
