"""Signed distances, slabs and smooth noise: what the kinds of part are drawn with. Lengths in mm."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

Array = np.ndarray


def box(x: Array, y: Array, cx: float, cy: float, width: float, height: float, radius: float = 0.0) -> Array:
    """Signed distance (negative inside) to a rectangle with round corners."""
    qx, qy = np.abs(x - cx) - width / 2 + radius, np.abs(y - cy) - height / 2 + radius
    return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - radius


def disc(x: Array, y: Array, cx: float, cy: float, radius: float) -> Array:
    """Signed distance (negative inside) to a disc."""
    return np.hypot(x - cx, y - cy) - radius


def bar(x: Array, y: Array, x0: float, y0: float, x1: float, y1: float, width: float) -> Array:
    """Signed distance (negative inside) to a bar with round ends between two points."""
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - x0 - t * dx, y - y0 - t * dy) - width / 2


def slab(distance: Array, thickness: float, edge: float) -> Array:
    """Height of a slab with upright sides whose top edge is rounded with the radius ``edge``; 0 outside."""
    into = np.clip(edge + distance, 0, edge)
    return np.where(distance < 0, thickness - edge + np.sqrt(np.maximum(edge * edge - into * into, 0)), 0)


def ramp(distance: Array, thickness: float, run: float) -> Array:
    """Height of a slab whose sides rise over ``run`` mm inside its outline, smoothly; 0 outside."""
    t = np.clip(-distance / run, 0, 1)
    return thickness * t * t * (3 - 2 * t)


def noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float, wrap: bool = False) -> Array:
    """Smooth noise [H, W] of mean 0 and spread 1; ``sigma``: its scale in cells."""
    step = max(1, int(sigma / 2))
    small = tuple(-(-n // step) + 1 for n in shape) if step > 1 else shape
    field = rng.standard_normal(small, np.float32)
    field = gaussian_filter(field, sigma / step, mode="wrap" if wrap else "nearest", truncate=3)
    field *= 1 / max(float(field.std()), 1e-9)
    if step == 1:
        return field
    rows, columns = (np.arange(n, dtype=np.float32) / step for n in shape)
    low = [np.minimum(a.astype(int), n - 2) for a, n in zip((rows, columns), small)]
    part = [(a - b).astype(np.float32) for a, b in zip((rows, columns), low)]
    tall = field[low[0]] * (1 - part[0])[:, None] + field[low[0] + 1] * part[0][:, None]
    return tall[:, low[1]] * (1 - part[1]) + tall[:, low[1] + 1] * part[1]


def streaks(rng: np.random.Generator, shape: tuple[int, int], across: float, along: float) -> Array:
    """Noise [H, W] of mean 0 and spread 1 that is drawn out along the columns; scales in cells."""
    narrow = noise(rng, (shape[0], max(8, int(shape[1] / along * 2))), 1.0)
    columns = np.linspace(0, narrow.shape[1] - 1, shape[1])
    field = map_coordinates(narrow, np.meshgrid(np.arange(shape[0]), columns, indexing="ij"), order=1)
    field = gaussian_filter(field, (across, 0), truncate=3)
    return (field / field.std()).astype(np.float32)
