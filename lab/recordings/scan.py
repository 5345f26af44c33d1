"""One part laid on the table and recorded: rays onto its surface, then what the sensor and the picture make of them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter

from lab.recordings.scene import Array, Camera, Day, Grid, Kind, Surface
from lab.recordings.shapes import noise

GAMMA = (np.linspace(0, 1, 8192) ** (1 / 1.8) * 255 + 0.5).astype(np.uint8)


class Scan(NamedTuple):
    """``picture`` uint8 [h, w, 3], ``depth`` uint16 counts [H, W] (0: none), ``mask`` bool [H, W] of the defect,
    ``part`` bool [H, W] where the part is."""

    picture: Array
    depth: Array
    mask: Array
    part: Array


class Pose(NamedTuple):
    """Where a part lies: its turn (radians) and its middle on the table (mm)."""

    turn: float
    x: float
    y: float

    def to_part(self, x: Array, y: Array) -> tuple[Array, Array]:
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        x, y = x - np.float32(self.x), y - np.float32(self.y)
        return c * x + s * y, c * y - s * x


class Hits(NamedTuple):
    """Where the rays that may meet a part end: flat pixel numbers [N], places on the part [N], depth [H, W]."""

    pixels: Array
    x: Array
    y: Array
    depth: Array


def sample(values: Array, grid: Grid, x: Array, y: Array) -> Array:
    """``values`` [H, W] or [H, W, C] between the cells of ``grid``, at places [N]; clamped at the border."""
    h, w = grid.shape
    column = np.clip(x / grid.pitch + np.float32((w - 1) / 2), 0, w - 1.001)
    row = np.clip(y / grid.pitch + np.float32((h - 1) / 2), 0, h - 1.001)
    left, top = column.astype(np.int32), row.astype(np.int32)
    a, b = (column - left), (row - top)
    if values.ndim == 3:
        a, b = a[:, None], b[:, None]
    flat = values.reshape(h * w, *values.shape[2:])
    at = top * w + left
    upper = flat[at] * (1 - a) + flat[at + 1] * a
    return upper * (1 - b) + (flat[at + w] * (1 - a) + flat[at + w + 1] * a) * b


def nearest(values: Array, grid: Grid, x: Array, y: Array) -> Array:
    """``values`` [H, W] at the cells of ``grid`` nearest to places [N]; clamped at the border."""
    h, w = grid.shape
    column = np.clip((x / grid.pitch + np.float32(w / 2)).astype(np.int32), 0, w - 1)
    row = np.clip((y / grid.pitch + np.float32(h / 2)).astype(np.int32), 0, h - 1)
    return values.ravel()[row * w + column]


def cast(camera: Camera, grid: Grid, height: Array, pose: Pose, width: int, rows: int, top: float) -> Hits:
    """Follow each pixel's ray of a picture ``width`` x ``rows`` down to the part or the table, from the height ``top``
    on. Two surfaces cast from the same ``top`` differ in their hits only where they differ."""
    ray, meets = camera.rays(width, rows)
    flat, depth = ray.reshape(3, -1), meets[2].flatten()
    px, py = pose.to_part(*meets[:2].reshape(2, -1))
    pixels = np.flatnonzero((np.abs(px) < grid.width / 2) & (np.abs(py) < grid.height / 2))
    # along a ray, the place on the part is linear in the height above the table
    dx, dy, dz = (flat[k][pixels] for k in range(3))
    x0, y0 = px[pixels], py[pixels]
    c, s = np.float32(np.cos(pose.turn)), np.float32(np.sin(pose.turn))
    sx, sy = (c * dx + s * dy) / dz, (c * dy - s * dx) / dz
    step = min(1.5 * camera.distance / camera.focal * camera.width / width, top)
    low, high = np.zeros_like(x0), np.full_like(x0, step)
    open_ = np.arange(len(pixels))
    for z in np.arange(top, 0, -step, dtype=np.float32):
        hit = nearest(height, grid, x0[open_] + z * sx[open_], y0[open_] + z * sy[open_]) >= z
        low[open_[hit]], high[open_[hit]] = z, z + step
        open_ = open_[~hit]
    for _ in range(5):
        z = (low + high) / 2
        above = nearest(height, grid, x0 + z * sx, y0 + z * sy) >= z
        low, high = np.where(above, z, low), np.where(above, high, z)
    z = (low + high) / 2
    smooth = sample(height, grid, x0 + z * sx, y0 + z * sy)
    z = np.where(np.abs(smooth - z) < 0.6 * step, smooth, z)
    depth[pixels] += z / dz
    return Hits(pixels, x0 + z * sx, y0 + z * sy, depth.reshape(rows, width))


def lamp(azimuth: float, elevation: float, turn: float) -> Array:
    """Direction [3] of a lamp seen from a part that is turned by ``turn`` radians."""
    a, e = np.deg2rad(azimuth) - turn, np.deg2rad(elevation)
    return np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], np.float32)


def shadow(height: Array, pitch: float, light: Array) -> Array:
    """How far each cell lies in the shadow of the part [H, W], 0 to 1; at half the grid's resolution."""
    small = np.ascontiguousarray(height[::2, ::2])
    run = np.hypot(light[0], light[1])
    reach, dark = small.max() * run / light[2], np.zeros(small.shape, np.float32)
    for far in np.arange(1, reach / pitch / 2 + 1, max(1.0, reach / pitch / 2 / 30)):
        dx, dy = int(round(far * light[0] / run)), int(round(far * light[1] / run))
        to = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip((dy, dx), small.shape))
        of = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip((dy, dx), small.shape))
        dark[to] = np.maximum(dark[to], small[of] > small[to] + 2 * far * pitch * light[2] / run + 0.15)
    dark = gaussian_filter(dark, 0.5 / pitch, truncate=2.5)
    return np.repeat(np.repeat(dark, 2, 0), 2, 1)[: height.shape[0], : height.shape[1]]


def shade(kind: Kind, surface: Surface, pose: Pose, day: Day, rng: np.random.Generator) -> tuple[Array, float, Array]:
    """Light sent to the camera: [H, W, 4] (the part's colour, then the light on the table where there is no part),
    the light on the bare table, and how readily each cell loses its depth [H, W]."""
    grid, light = kind.grid, kind.light
    smooth = gaussian_filter(surface.height, 1.0, truncate=2.5)
    gy, gx = np.gradient(smooth, grid.pitch)
    up = 1 / np.sqrt(1 + gx * gx + gy * gy)
    key = lamp(
        light.azimuth + day.azimuth + rng.normal(0, 2), light.elevation + day.elevation + rng.normal(0, 1), pose.turn
    )
    fill = lamp(light.azimuth + 150, 60, pose.turn)
    lit = 1 - 0.8 * shadow(surface.height, grid.pitch, key)

    def toward(direction):
        return np.clip((direction[2] - gx * direction[0] - gy * direction[1]) * up, 0, 1)

    def glance(direction):
        half = direction + np.array([0, 0, 1], np.float32)
        return toward(half / np.linalg.norm(half))

    received = light.ambient + 0.75 * toward(key) * lit + 0.2 * toward(fill)
    bare = light.ambient + 0.75 * key[2] + 0.2 * fill[2]
    gloss, hardness, mirror = kind.finish
    shine = gloss * (glance(key) ** hardness * lit + 0.4 * glance(fill) ** (hardness / 2))
    sent = np.empty((*grid.shape, 4), np.float32)
    sent[..., :3] = np.where(surface.body[..., None], surface.colour * received[..., None] + shine[..., None], 0)
    sent[..., 3] = np.where(surface.body, 0, received)
    lost = np.zeros(grid.shape, np.float32)
    if mirror:
        projector = lamp(175, 72, pose.turn)  # beside the eye
        steep = np.clip((0.95 - up) / 0.35, 0, 1) * np.clip(1.9 - 2 * toward(projector), 0.05, 0.8)
        lost = mirror * np.where(surface.body, np.maximum(glance(projector) ** 240, steep), 0)
        lost = lost.astype(np.float32)
    return sent, float(bare), lost


def measure(camera: Camera, depth: Array, lost: Array, rng: np.random.Generator) -> Array:
    """Counts [H, W] that a depth sensor gives for the true ``depth`` [H, W] (mm); ``lost`` [H, W]: 0 to 1."""
    shape, spacing = depth.shape, camera.distance / camera.focal
    clump = noise(rng, shape, 1.3)
    z = gaussian_filter(depth, camera.blur, truncate=2.5)
    spread = camera.noise * (depth / camera.distance) ** 2
    z += spread * (0.75 * clump + 0.6 * rng.standard_normal(shape, np.float32) + 0.3 * noise(rng, shape, 24))
    z *= 1 + 1e-4 * rng.standard_normal()  # warms up
    if camera.baseline:
        power = camera.focal * camera.baseline
        z = power / (np.round(power / z * camera.subpixel) / camera.subpixel)
    jump = np.zeros(shape, np.float32)
    across, down = np.abs(np.diff(depth, axis=1)), np.abs(np.diff(depth, axis=0))
    jump[:, 1:] = across
    jump[1:] = np.maximum(jump[1:], down)
    patches = noise(rng, shape, 2.2)
    hole = (jump > 3 * spacing) & (rng.random(shape, np.float32) < camera.edge_loss)
    hole |= (lost > 0.05) & (patches < 4 * lost - 2)
    hole |= patches > camera.speckle
    hole |= binary_dilation(rng.random(shape, np.float32) < 5e-5)
    if camera.baseline:  # what the second eye does not see
        seen = np.arange(shape[1], dtype=np.float32) - camera.focal * camera.baseline / depth
        right = np.minimum.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
        hidden = np.zeros(shape, bool)
        hidden[:, :-1] = right[:, 1:] <= seen[:, :-1] - 0.3
        hole |= hidden & (rng.random(shape, np.float32) < 0.85)
        hole[:, : shape[1] // 30] = True
    return np.where(hole, 0, np.clip(np.round(z / camera.count), 1, 65535)).astype(np.uint16)


def photograph(
    kind: Kind, hits: Hits, sent: Array, bare: float, moved: Array, day: Day, rng: np.random.Generator
) -> Array:
    """The colour picture uint8 [h, w, 3]: table and part, lens shading, gain, white balance, blur, gamma and noise."""
    width, rows = kind.camera.picture
    gain = kind.light.exposure * day.gain * rng.uniform(0.94, 1.06)
    balance = gain * np.array([rng.uniform(0.98, 1.02), 1, rng.uniform(0.98, 1.02)], np.float32)
    table = np.asarray(kind.table.colour, np.float32)
    bright = kind.table.tile[0].ravel()[_under(kind, width, rows, moved)]
    image = bright[:, None] * (bare * table * balance)
    light = sample(sent, kind.grid, hits.x, hits.y)
    image[hits.pixels] = (light[:, :3] + (light[:, 3] * bright[hits.pixels])[:, None] * table) * balance
    u, v = np.linspace(-0.5, 0.5, width, dtype=np.float32), np.linspace(-0.5, 0.5, rows, dtype=np.float32)
    lens = (1 - 0.45 * (u * u)[None, :]) * (1 - 0.45 * (v * v)[:, None])
    image = image.reshape(rows, width, 3)
    image *= lens[..., None]
    for axis in (0, 1):  # the lens blurs by about 0.6 pixels
        line = np.moveaxis(image, axis, 0)
        line[1:-1] = 0.6 * line[1:-1] + 0.2 * (line[:-2] + line[2:])
    image += 0.006 * np.sqrt(image + 0.02) * rng.standard_normal(image.shape, np.float32)
    np.clip(image, 0, 1, out=image)
    image *= 8191
    return GAMMA[image.astype(np.uint16)]


def _under(kind: Kind, width: int, rows: int, moved: Array) -> Array:
    """Which cell of the table's tile each pixel sees, flat [N]; ``moved`` [2]: cells that a belt has run."""
    column, row = _cells(kind.camera, width, rows, kind.table.pitch)
    if not kind.table.moves:
        moved = (0, 0)
    return ((row + moved[0]) & 1023) * 1024 + ((column + moved[1]) & 1023)


@lru_cache(maxsize=4)
def _cells(camera: Camera, width: int, rows: int, pitch: float) -> Array:
    return np.floor(camera.rays(width, rows)[1][:2].reshape(2, -1) / pitch).astype(np.int32)


def scan(kind: Kind, surface: Surface, day: Day, rng: np.random.Generator, good: Surface | None = None) -> Scan:
    """Record ``surface``; ``good`` is the same part without its defect, for the mask."""
    camera, grid = kind.camera, kind.grid
    play, most, either_way = kind.lies
    turn = np.deg2rad(rng.uniform(-most, most) + (180 * rng.integers(2) if either_way else 0))
    shift = rng.uniform(-play, play, 2) + day.shift
    pose = Pose(float(turn), float(shift[0]), float(shift[1]))
    sent, bare, lost = shade(kind, surface, pose, day, rng)
    top = float(max(s.height.max() for s in (surface, good or surface))) + 0.05
    hits = cast(camera, grid, surface.height, pose, camera.width, camera.height, top)
    depth, moved = hits.depth.copy(), rng.integers(0, 1024, 2)
    there = sample(surface.body.astype(np.float32), grid, hits.x, hits.y) < 0.5
    table = np.ones(depth.size, bool)
    table[hits.pixels] = there
    bumps = kind.table.tile[1].ravel()[_under(kind, camera.width, camera.height, moved)]
    depth -= (bumps * table).reshape(depth.shape)
    loss = np.zeros(depth.size, np.float32)
    loss[hits.pixels] = sample(lost, grid, hits.x, hits.y)
    counts = measure(camera, depth, loss.reshape(depth.shape), rng)
    mask = np.zeros(depth.shape, bool)
    if good is not None:
        clean = cast(camera, grid, good.height, pose, camera.width, camera.height, top)
        change = np.abs(hits.depth - clean.depth)
        mask = change > visible_height(kind, float(change.max()))
        painted = sample(visible_colour(surface, good).astype(np.float32), grid, hits.x, hits.y) > 0.4
        mask.ravel()[hits.pixels[painted]] = True
    same = (camera.width, camera.height) == camera.picture
    seen = hits if same else cast(camera, grid, surface.height, pose, *camera.picture, top)
    picture = photograph(kind, seen, sent, bare, moved, day, rng)
    return Scan(picture, counts, mask, ~table.reshape(depth.shape))


def visible_height(kind: Kind, largest: float) -> float:
    """From which change of height (mm) on a place belongs to the mask: a third of the largest, within reason."""
    return min(max(0.33 * largest, 0.5 * kind.camera.noise), max(0.6, 2 * kind.camera.noise))


def visible_colour(surface: Surface, good: Surface) -> Array:
    """Where the colour of the part is plainly another [H, W]."""
    change = np.abs(surface.colour - good.colour).max(-1)
    return surface.body & good.body & (change > 0.04) & (change > 0.2 * good.colour.max(-1))
