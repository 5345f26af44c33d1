"""A black plug with gilt pins, a tray of pulp, a flat gasket."""

import numpy as np

from lab.recordings.faults import bend, blob, break_off, lump, place, press, scratch, specks, stain
from lab.recordings.scene import Camera, Defect, Finish, Grid, Kind, Lies, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, ramp, slab

HOLES = ((-58, -36), (0, -36), (58, -36), (-58, 36), (0, 36), (58, 36), (-59, 0), (59, 0))  # of the gasket


def connector(grid, rng, fault):
    """Small, with two rows of pins in their chambers, in any turn; seen from near."""
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
    surface = Surface.painted(grid, height, body, tone, tint).with_colour(gilt, (0.75, 0.55, 0.2))
    key = (box(x, y, 15.5, 6.8, 1.6, 1.6) < 0) & body  # white dot at pin 1
    surface = specks(surface.with_colour(key, (0.5, 0.5, 0.5)), rng, 6, 0.25, 1.6)
    web = body & (np.abs(surface.height - tall) < 0.1) & (outline < -0.6)
    if what == "flash":
        a = fault.rng.uniform(-10, 10)
        fin = (np.abs(x - a) < 2.6 * fault.width) & (y < -8.2) & (y > -11.0 + 0.25 * np.sin(4 * x))
        height = np.where(fin & ~body, 3.0, surface.height).astype(np.float32)
        surface = Surface(grid, height, surface.colour, body | fin)
    if what == "rim_chipped":
        surface = break_off(surface, 17 * fault.rng.choice([-1, 1]), -9, 3, fault)
    return surface, {
        "tongue": body & (box(x, y, -20.5, 0, 4, 7) < 0),
        "web": web | (box(x, y, 0, 0, 29, 1.2) < 0),
        "chambers": box(x, y, 0, 0, 26, 9) < 0,
    }


CONNECTOR = Kind(
    "connector",
    "Moulded black plug 38 x 18 mm with twelve gilt pins, in any turn, seen from 200 mm.",
    Grid(58, 40, 0.11),
    Camera(1280, 720, 1250, 200, 2, 0.02, 0.035, baseline=25, subpixel=64, picture=(1280, 720)),
    Table((0.5, 0.52, 0.56), "light", 0.02, pitch=0.12),
    Light(-150, 55, 0.45, exposure=0.9),
    Lies(6, 180),
    Finish(0.05, 18, 0.1),
    connector,
    {
        "pin_missing": Defect("one of twelve pins missing"),
        "pin_bent": Defect("one pin bent aside by 1 mm"),
        "latch_broken": Defect("one of two latches missing"),
        "flash": Defect("fin of plastic at the side"),
        "sink_mark": Defect("sink mark in the tongue, 0.25 mm deep", press("tongue", 0.25, 3)),
        "rim_chipped": Defect("one corner chipped"),
        "scratch": Defect("whitened scratch, only in the picture", scratch("web", 8, 0.5, 5.0)),
        "glue": Defect("drop of glue on the chambers", lump("chambers", 1.6, 1.5, (0.5, 0.48, 0.4))),
        "wrong_colour": Defect("moulded in red"),
    },
)


def tray(grid, rng, fault):
    """Moulded pulp with six cups, seen by a small range sensor: few points, no stereo shadow, much noise."""
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
    surface = specks(Surface.painted(grid, np.maximum(height, 1), body, tone, tint), rng, 12, 1.5, 0.7)
    cup = body & (height < 8) & (outline < -10)
    side = fault.rng.choice([-1, 1]) if fault.rng else 1
    if what == "hole":
        cx, cy = place(grid, cup, fault, 7)
        surface = surface.cut(blob(grid, cx, cy, 7 * fault.width, fault) < 0)
    if what == "corner_missing":
        surface = break_off(surface, 75 * side, 52 * fault.rng.choice([-1, 1]), 24, fault)
    if what == "short":
        surface = surface.cut(x * side > 75 - 7 * fault.width + 0.8 * np.sin(y / 3))
    return surface, {"ridge": body & (height > tall - 2) & (outline < -9), "cup": cup, "inside": body & (outline < -6)}


TRAY = Kind(
    "tray",
    "Pulp tray 150 x 104 mm with six cups, seen by a range sensor of 320 x 240 points.",
    Grid(204, 154, 0.5),
    Camera(320, 240, 250, 400, 11, 0.25, 0.7, picture=(960, 720), blur=0.6, speckle=3.6, edge_loss=0.6),
    Table((0.16, 0.13, 0.1), "mat", 0.3, pitch=0.7),
    Light(60, 50, 0.4),
    Lies(7, 6),
    Finish(0.02, 8),
    tray,
    {
        "crushed": Defect("ridge pressed in, 4.5 mm deep", press("ridge", 4.5, 20)),
        "lump": Defect("lump of pulp in a cup, 4 mm high", press("cup", -4, 12)),
        "hole": Defect("hole torn in a cup"),
        "corner_missing": Defect("one corner missing"),
        "short": Defect("7 mm of one side missing"),
        "stone": Defect("stone in a cup", lump("cup", 7, 6, (0.1, 0.1, 0.1))),
        "stain": Defect("wet stain", stain("inside", 10, (0.16, 0.1, 0.06))),
        "wrong_colour": Defect("blue instead of grey pulp"),
    },
)


def gasket(grid, rng, fault):
    """Fibre, 1.4 mm thick, seen from far: about nine times as thick as one depth value is noisy."""
    x, y, what = grid.x, grid.y, fault.name
    thick = rng.normal(1.4, 0.02)
    outline = np.minimum(box(x, y, 0, 0, 132, 88, 12), disc(x, y, 30, 42, 10))
    hole = box(x, y, -10, 0, 78, 54, 12) < 0
    hole |= box(x, y, 44, -4, 14, 40, 6) < 0
    bad = fault.rng.integers(len(HOLES)) if fault.rng else -1
    for k, (cx, cy) in enumerate(HOLES):
        hole |= disc(x, y, cx, cy, {"hole_missing": 0, "hole_wide": 4.8}.get(what if k == bad else "", 3.0)) < 0
    body = (outline < 0) & ~hole
    lies = np.clip(0.12 + 0.12 * noise(rng, grid.shape, 70), 0, None)  # it never lies quite flat
    fibre = noise(rng, grid.shape, 1.0)
    tone = rng.uniform(0.95, 1.05) * (1 + 0.08 * fibre + 0.04 * noise(rng, grid.shape, 20))
    surface = Surface.painted(grid, slab(outline, thick, 0.2) + lies, body, tone, (0.1, 0.22, 0.15))
    surface = specks(surface, rng, 6, 0.9)
    if what == "torn":
        side = fault.rng.choice([-1, 1])
        cx = fault.rng.uniform(12, 24) * fault.rng.choice([-1, 1]) - 16
        surface = surface.cut((np.abs(x - cx - 1.2 * np.sin(y / 2)) < 2.5 * fault.width) & (y * side > 20))
    if what == "corner_missing":
        cx, cy = (fault.rng.choice([-1, 1]) for _ in range(2))
        surface = break_off(surface, 68 * cx, 46 * cy, 15, fault)
    if what == "lifted":
        side = fault.rng.choice([-1, 1])
        surface = bend(surface, 44 * side, 0, 0 if side > 0 else 180, 4, fault)
    if what == "worn":
        cx, cy = place(grid, body, fault, 5)
        share = np.clip(-blob(grid, cx, cy, 11 * fault.width, fault) / 3, 0, 1)
        surface = surface.with_height(np.where(body, surface.height - 0.8 * fault.depth * share, 0))
    return surface, {"everywhere": body}


GASKET = Kind(
    "gasket",
    "Fibre gasket 132 x 88 mm, 1.4 mm thin, seen from 760 mm: nine times as thick as the noise.",
    Grid(176, 132, 0.35),
    Camera(1280, 720, 1000, 760, 5, 0.1, 0.15, baseline=160, subpixel=64, picture=(1280, 720), roll=-2),
    Table((0.62, 0.6, 0.56), "light", 0.1, pitch=0.6),
    Light(100, 55, 0.4, exposure=0.85),
    Lies(6, 6),
    Finish(0.03, 10),
    gasket,
    {
        "torn": Defect("web torn through, 5 mm wide"),
        "hole_missing": Defect("one of eight holes missing"),
        "hole_wide": Defect("hole of 9.6 instead of 6 mm"),
        "corner_missing": Defect("one corner missing"),
        "lifted": Defect("one end bent up by 4 mm"),
        "blister": Defect("blister, 1.2 mm high", press("everywhere", -1.2, 8)),
        "worn": Defect("0.8 mm thinner over a spot of 22 mm"),
        "stain": Defect("oil stain", stain("everywhere", 7, (0.04, 0.035, 0.03), 0.8)),
    },
)
