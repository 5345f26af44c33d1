"""A turned brass flange that lies as it fell: six holes make six nearly equal poses, only a print tells them apart."""

import numpy as np

from lab.recordings import faults
from lab.recordings.scene import Camera, Fault, Grid, Kind, Light, Surface, Table
from lab.recordings.shapes import box, disc, noise, slab


def build(grid: Grid, rng: np.random.Generator, fault: Fault) -> Surface:
    x, y, what = grid.x, grid.y, fault.name
    far = np.hypot(x, y)
    plate, hub = 6 + 0.03 * rng.standard_normal(), 11 + 0.03 * rng.standard_normal()
    if what == "hub_low":
        hub -= 1.0 * fault.depth
    height = np.maximum(slab(far - 31, plate, 0.6), slab(far - 17, hub, 0.8))
    hole = far < 11
    bad = fault.rng.integers(6) if fault.rng else -1
    for k in range(6):
        a = np.deg2rad(60 * k)
        radius = 2.7
        if k == bad and what in ("hole_missing", "hole_wide"):
            radius = 0 if what == "hole_missing" else 3.9
        hole |= disc(x, y, 24.5 * np.cos(a), 24.5 * np.sin(a), radius) < 0
    body = (far < 31) & ~hole
    height = np.where(body, height, 0).astype(np.float32)
    turned = noise(rng, (1, 400), 1.2)[0][np.minimum((far / 0.15).astype(int), 399)]
    tone = rng.uniform(0.95, 1.05) * (1 + 0.05 * turned + 0.02 * noise(rng, grid.shape, 30))
    colour = tone[..., None] * np.array([0.5, 0.34, 0.12], np.float32)
    surface = Surface(height, colour.astype(np.float32), body)
    if what != "print_missing":
        a = np.deg2rad(30)
        u, v = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
        ink = np.zeros(grid.shape, bool)
        for at, long in ((-3.6, 4.0), (-2.2, 2.4), (-0.8, 4.0), (0.6, 4.0), (2.0, 2.4), (3.4, 2.4)):
            ink |= box(u, v, 24.5, at, long, 0.8) < 0
        surface = surface.with_colour(ink & body, (0.1, 0.09, 0.07), 0.75)
    surface = faults.specks(grid, surface, rng, 6, 0.5)
    flat = body & (far > 18) & (far < 30)
    if what == "dent":
        return faults.press(grid, surface, flat, fault, 0.75, 5)
    if what == "burr":
        return faults.press(grid, surface, flat, fault, -0.8, 3.5)
    if what == "rim_chipped":
        a = np.deg2rad(30 + 60 * fault.rng.integers(1, 6))  # not where the print is
        return faults.break_off(grid, surface, 32 * np.cos(a), 32 * np.sin(a), 4.5, fault)
    if what == "scratch":
        return faults.scratch(grid, surface, body & (far > 17.5), fault, 13, 0.6, 0.4)
    return surface


KIND = Kind(
    name="flange",
    sentence="Turned brass flange of 62 mm in any turn; six nearly equal poses, told apart by a print alone.",
    grid=Grid(88, 88, 0.2),
    camera=Camera(640, 480, 610, 300, 3, 0.1, 0.1, baseline=40, subpixel=64, picture=(960, 720), roll=2),
    table=Table((0.6, 0.62, 0.62), "light", 0.03, pitch=0.2),
    light=Light(-60, 50, exposure=0.85),
    play=8,
    turn=180,
    build=build,
    faults={
        "dent": "dent in the plate, 0.75 mm deep",
        "burr": "burr on the plate, 0.8 mm high",
        "hub_low": "hub 1 mm too low",
        "hole_missing": "one of six holes missing",
        "hole_wide": "one hole of 7.8 instead of 5.4 mm",
        "rim_chipped": "piece of the rim missing",
        "scratch": "dark scratch, only in the picture",
        "print_missing": "no print",
    },
    gloss=0.22,
    hardness=30,
    mirror=0.25,
)
