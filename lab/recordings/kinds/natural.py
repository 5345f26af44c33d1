"""A wooden board, each of another grain; a baked bun, each of another shape."""

import numpy as np

from lab.recordings.faults import break_off, lump, place, press, scratch, specks, stain
from lab.recordings.scene import Camera, Defect, Finish, Grid, Kind, Lies, Light, Surface, Table
from lab.recordings.shapes import bar, box, disc, noise, slab


def board(grid, rng, fault):
    """Planed, with a groove, a dowel hole and a stamp; fed either way round."""
    x, y, what = grid.x, grid.y, fault.name
    outline = box(x, y, 0, 0, 142 + rng.normal(0, 0.2), 46 + rng.normal(0, 0.15), 1.5)
    body, thick = outline < 0, rng.normal(16, 0.1)
    height = np.where((np.abs(y - 12) < 2.5) & body, thick - 4, slab(outline, thick, 1.0))
    height = np.where((disc(x, y, -52, -8, 4) < 0) & body, thick - 10, height)
    # year rings of a trunk whose heart lies beside the board, and pores along the grain
    heart, period = rng.uniform(25, 90) * rng.choice([-1, 1]), rng.uniform(3, 5.5)
    bow = y + 0.05 * x * rng.normal(0, 0.6) + rng.uniform(2, 5) * noise(rng, (1, grid.shape[1]), 140)
    rings = np.abs(bow - heart) + 0.0012 * rng.normal(0, 1) * x * x + 0.5 * noise(rng, grid.shape, 16)
    phase = (rings / period) % 1
    dark = np.clip((phase - 0.35) / 0.5, 0, 1) * np.clip((1 - phase) / 0.12, 0, 1)
    pores = np.repeat(noise(rng, (grid.shape[0], grid.shape[1] // 12 + 1), 0.8), 12, 1)[:, : grid.shape[1]]
    tone = rng.uniform(0.93, 1.07) * (1 - 0.3 * dark + 0.05 * pores + 0.04 * noise(rng, grid.shape, 50))
    wood = (0.3, 0.17, 0.1) if what == "wrong_wood" else (0.62, 0.43, 0.24)
    surface = Surface.painted(grid, height, body, tone, wood)
    for _ in range(rng.integers(3)):  # pin knots are no defect
        cx, cy, size = rng.uniform(-60, 60), rng.uniform(-20, 20), rng.uniform(0.7, 1.5)
        surface = surface.with_colour(body & (np.hypot((x - cx) / 1.6, y - cy) < size), (0.22, 0.11, 0.05), 0.7)
    ink = (box(x, y, 52, -8, 20, 12, 1) < 0) & (box(x, y, 52, -8, 17, 9, 1) > 0)
    ink |= (np.abs(y + 8) < 1) & (np.abs(x - 52) < 6)
    ink &= noise(rng, grid.shape, 2) > -1.0  # a stamp is never inked evenly
    surface = specks(surface.with_colour(ink & body, (0.12, 0.06, 0.05), rng.uniform(0.55, 0.75)), rng, 5, 0.6)
    flat = body & (np.abs(height - thick) < 0.02) & (box(x, y, 52, -8, 22, 14) > 0) & (np.abs(x) < 66)
    side = fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "crack":
        cx, cy = fault.rng.uniform(-25, 15), fault.rng.uniform(-12, 4)
        split = np.abs(y - cy - 0.9 * np.sin(x / 7)) < 1.1 * fault.width * (1 - ((x - cx) / 22) ** 2)
        surface = surface.with_colour(split & body, (0.08, 0.05, 0.03), 0.8)
        deep = np.where(split & body, surface.height - 6 * fault.depth, surface.height)
        surface = surface.with_height(np.maximum(deep, 0))
    if what == "corner_broken":
        surface = break_off(surface, 71 * side, 23 * fault.rng.choice([-1, 1]), 11, fault)
    if what == "staple":
        cx, cy = place(grid, flat, fault, 4)
        wire = (np.abs(x - cx) < 6 * fault.width) & (np.abs(y - cy) < 0.9 * fault.width)
        surface = surface.with_colour(wire, (0.75, 0.77, 0.8))
        surface = surface.with_height(np.where(wire, thick + 1.2, surface.height))
    if what == "short":
        surface = surface.cut(x * side > 71 - 7 * fault.width)
    if what == "planed_off":
        low = np.clip((x * side - 20) / 15, 0, 1) * 1.8 * fault.depth
        surface = surface.with_height(np.where(body, surface.height - low, 0))
    return surface, {"flat": flat}


BOARD = Kind(
    "board",
    "Planed wooden board 142 x 46 x 16 mm on a belt, fed either way round; another grain each time.",
    Grid(184, 92, 0.3),
    Camera(640, 480, 540, 330, 5, 0.25, 0.2, picture=(960, 720), blur=0.9),
    Table((0.09, 0.1, 0.1), "belt", 0.1, moves=True, pitch=0.4),
    Light(-90, 50, 0.4),
    Lies(6, 6, either_way=True),
    Finish(0.04, 12),
    board,
    {
        "dent": Defect("dent, 1.35 mm deep", press("flat", 1.35, 8)),
        "scratch": Defect("dark scratch, only in the picture", scratch("flat", 30, 1.2, 0.35)),
        "crack": Defect("open crack along the grain, 40 mm long"),
        "corner_broken": Defect("one corner broken off"),
        "stain": Defect("ink stain", stain("flat", 6, (0.06, 0.07, 0.14))),
        "staple": Defect("staple lying across"),
        "short": Defect("7 mm too short"),
        "planed_off": Defect("planed 1.8 mm too thin toward one end"),
        "wrong_wood": Defect("another, darker wood"),
    },
)


def bun(grid, rng, fault):
    """Soft, no two alike in outline, height, scoring and browning."""
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
    surface = Surface(grid, np.where(body, height, 0).astype(np.float32), colour, body)
    side = fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "bite":
        surface = break_off(surface, side * long * 0.82, fault.rng.uniform(-14, 14), 15, fault)
    if what == "split":
        cx, cy = fault.rng.uniform(-12, 12), fault.rng.uniform(-8, 8)
        line = bar(x, y, cx - 20, cy + 2, cx + 20, cy - 2, 1) + 1.2 * np.sin(x / 3) - 1.8 * fault.width
        open_ = np.clip(-line / 1.5, 0, 1)
        surface = surface.with_colour(body, (0.8, 0.7, 0.5), open_)
        surface = surface.with_height(np.where(body, np.maximum(surface.height - 7 * fault.depth * open_, 1), 0))
    if what == "short":
        surface = surface.cut(x * side > long * 0.66 + 1.5 * noise(fault.rng, grid.shape, 8))
    return surface, {"crown": far < 0.7}


BUN = Kind(
    "bun",
    "Baked bun of about 108 x 68 x 34 mm on a conveyor belt; soft, every one of another shape.",
    Grid(180, 140, 0.4),
    Camera(640, 480, 560, 520, 6, 1.0, 0.8, baseline=50, subpixel=16, blur=1.2),
    Table((0.2, 0.3, 0.36), "belt", 0.2, moves=True, pitch=0.5),
    Light(150, 52, 0.4),
    Lies(10, 25),
    Finish(0.05, 8),
    bun,
    {
        "bite": Defect("a piece missing from one end"),
        "pressed": Defect("pressed in, 6 mm deep", press("crown", 6, 16)),
        "split": Defect("split crust, 40 mm long"),
        "burnt": Defect("burnt spot", stain("crown", 10, (0.05, 0.03, 0.02), 0.85)),
        "foreign_body": Defect("piece of blue plastic on the crust", lump("crown", 4.5, 3, (0.08, 0.2, 0.6))),
        "short": Defect("one end cut off"),
        "pale": Defect("hardly baked, too pale"),
    },
)
