"""Defects that many kinds of part share. Each takes the surface and gives another one; lengths in mm."""

from dataclasses import replace
from functools import wraps

import numpy as np
from scipy.ndimage import distance_transform_edt

from lab.recordings.scene import Array, Fault, Grid, Surface
from lab.recordings.shapes import noise


def defect(make):
    """``make(surface, where, fault, *values)`` as a function of the name of the place and the values, which gives the
    ``change`` of a ``Defect``."""

    @wraps(make)
    def change(place_name, *values):
        return lambda surface, places, fault: make(surface, places[place_name], fault, *values)

    return change


def place(grid: Grid, where: Array, fault: Fault, margin: float) -> tuple[float, float]:
    """A place drawn inside ``where`` [H, W], at least ``margin`` mm from its border (or as far as there is)."""
    room = distance_transform_edt(where[::2, ::2]) * grid.pitch * 2
    rows, columns = np.nonzero(room >= min(margin, 0.95 * room.max()))
    pick = fault.rng.integers(len(rows))
    return float(grid.x[0, 2 * columns[pick]]), float(grid.y[2 * rows[pick], 0])


def blob(grid: Grid, x: float, y: float, radius: float, fault: Fault, rough: float = 0.25) -> Array:
    """Signed distance (mm, negative inside) to an uneven spot."""
    far = np.hypot((grid.x - x) * fault.rng.uniform(0.8, 1.2), (grid.y - y) * fault.rng.uniform(0.8, 1.2))
    uneven = noise(fault.rng, grid.shape, max(1.0, 0.45 * radius / grid.pitch))
    uneven -= uneven[far < max(radius, grid.pitch)].mean()  # or some spots would all but vanish
    return far - radius * (1 + rough * uneven)


@defect
def press(surface: Surface, where: Array, fault: Fault, depth: float, width: float) -> Surface:
    """A dent (or with a negative ``depth`` a bump) with a round floor; ``width`` is where it is half as deep."""
    grid = surface.grid
    depth, width = depth * fault.depth, width * fault.width
    x, y = place(grid, where, fault, 0.8 * width)
    a = fault.rng.uniform(0, np.pi)
    u, v = (grid.x - x) * np.cos(a) + (grid.y - y) * np.sin(a), (grid.y - y) * np.cos(a) - (grid.x - x) * np.sin(a)
    hollow = np.exp(-np.log(2) * ((u * 1.1) ** 2 + (v / 1.1) ** 2) ** 1.5 / (width / 2) ** 3)
    return replace(surface, height=np.where(surface.body, np.maximum(surface.height - depth * hollow, 0.05), 0))


@defect
def scratch(surface: Surface, where: Array, fault: Fault, length: float, width: float, factor) -> Surface:
    """A line that the picture shows and the depth does not; ``factor`` changes the colour (a number or [3])."""
    grid = surface.grid
    width = width * fault.width
    for _ in range(40):  # until most of it lies where it may
        x, y = place(grid, where, fault, width)
        a, bow = fault.rng.uniform(0, np.pi), fault.rng.uniform(-0.004, 0.004)
        u = (grid.x - x) * np.cos(a) + (grid.y - y) * np.sin(a)
        v = (grid.y - y) * np.cos(a) - (grid.x - x) * np.sin(a) + bow * u * u + 0.08 * np.sin(u / 1.7)
        # a scratch tapers off at its ends
        line = (np.abs(u) < length / 2) & (np.abs(v) < width / 2 * (1 - 0.6 * (2 * u / length) ** 4))
        if (line & where).sum() * grid.pitch**2 > 0.8 * length * width * 0.85:
            break
    shift = 1 + fault.depth * (np.asarray(factor, np.float32) - 1)
    colour = np.where((line & surface.body)[..., None], np.clip(surface.colour * shift, 0.005, 1), surface.colour)
    return replace(surface, colour=colour)


@defect
def stain(surface: Surface, where: Array, fault: Fault, radius: float, colour, strength=0.8) -> Surface:
    """A spot of another colour with a soft, uneven border."""
    grid = surface.grid
    radius = radius * fault.width
    x, y = place(grid, where, fault, radius)
    share = np.clip(-blob(grid, x, y, radius, fault) / (0.25 * radius) + 0.3, 0, 1)
    return surface.with_colour(surface.body, colour, np.minimum(strength * fault.depth, 1) * share)


@defect
def lump(surface: Surface, where: Array, fault: Fault, radius: float, tall: float, colour) -> Surface:
    """A foreign body that lies on the part."""
    grid = surface.grid
    radius, tall = radius * fault.width, tall * fault.depth
    x, y = place(grid, where, fault, radius)
    far = blob(grid, x, y, radius, fault, 0.2)
    inside = far < 0
    base = np.median(surface.height[inside]) if inside.any() else 0.0
    crown = base + tall * np.sqrt(np.clip(1 - (1 + far / radius) ** 2 * 0.8, 0, 1))
    height = np.where(inside, np.maximum(surface.height, crown), surface.height)
    return replace(surface.with_colour(inside, colour), height=height.astype(np.float32), body=surface.body | inside)


def break_off(surface: Surface, x: float, y: float, radius: float, fault: Fault) -> Surface:
    """A piece missing around a place, with a rough line of break."""
    return surface.cut((blob(surface.grid, x, y, radius * fault.width, fault, 0.12) < 0) & surface.body)


def bend(surface: Surface, x: float, y: float, angle: float, lift: float, fault: Fault) -> Surface:
    """Bent up beyond a line through a place; the line's far side lies toward ``angle`` degrees."""
    grid = surface.grid
    a = np.deg2rad(angle)
    beyond = np.clip((grid.x - x) * np.cos(a) + (grid.y - y) * np.sin(a), 0, None)
    reach = float(beyond[surface.body].max())
    rise = lift * fault.depth * (beyond / max(reach, 1e-6)) ** 1.6
    return replace(surface, height=np.where(surface.body, surface.height + rise, 0).astype(np.float32))


def specks(surface: Surface, rng: np.random.Generator, number: int, radius: float, factor=0.75) -> Surface:
    """Harmless marks that good parts carry: a few faint dots, and a faint hairline now and then."""
    grid, colour = surface.grid, surface.colour.copy()
    h, w = grid.shape
    for _ in range(rng.integers(number // 2, number + 1)):
        row, column, size = rng.integers(h), rng.integers(w), rng.uniform(0.4, 1) * radius / grid.pitch
        near = (
            slice(max(0, int(row - size)), int(row + size) + 1),
            slice(max(0, int(column - size)), int(column + size) + 1),
        )
        colour[near] *= 1 + (factor - 1) * rng.uniform(0.4, 1)
    if rng.random() < 0.4:
        x, y, a = rng.uniform(-0.3, 0.3) * grid.width, rng.uniform(-0.3, 0.3) * grid.height, rng.uniform(0, np.pi)
        u, v = (grid.x - x) * np.cos(a) + (grid.y - y) * np.sin(a), (grid.y - y) * np.cos(a) - (grid.x - x) * np.sin(a)
        colour *= np.where((np.abs(u) < 6 * radius) & (np.abs(v) < grid.pitch), 1 + (factor - 1) * 0.4, 1)[..., None]
    return replace(surface, colour=colour)
