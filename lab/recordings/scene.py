"""What a kind of part is: its surface, its table, its camera, its light. Lengths in mm, angles in degrees."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lab.recordings.shapes import noise

Array = np.ndarray


class Grid:
    """A square grid over a part: ``x`` and ``y`` [H, W] in the part's own coordinates, 0 in the middle."""

    def __init__(self, width: float, height: float, pitch: float):
        self.width, self.height, self.pitch = width, height, pitch
        self.shape = round(height / pitch), round(width / pitch)
        lines = (((np.arange(n) - (n - 1) / 2) * pitch).astype(np.float32) for n in self.shape)
        self.y, self.x = np.meshgrid(*lines, indexing="ij", copy=False)


@dataclass(frozen=True)
class Surface:
    """One part on its ``grid``: ``height`` above the table [H, W], ``colour`` (share of light sent back) [H, W, 3] and
    ``body`` (where the part is) [H, W]."""

    grid: Grid
    height: Array
    colour: Array
    body: Array

    @classmethod
    def painted(cls, grid: Grid, height: Array, body: Array, tone: Array, tint) -> "Surface":
        """A surface of one colour ``tint`` [3], brighter and darker by ``tone`` [H, W]; 0 high outside ``body``."""
        colour = (tone[..., None] * np.asarray(tint)).astype(np.float32)
        return cls(grid, np.where(body, height, 0).astype(np.float32), colour, body)

    def with_height(self, height: Array) -> "Surface":
        """The same with another height [H, W]."""
        return replace(self, height=height.astype(np.float32))

    def with_colour(self, where: Array, colour, strength: Array | float = 1.0) -> "Surface":
        """Paint: ``where`` [H, W] takes ``colour`` with ``strength`` 0 to 1."""
        share = (where * np.asarray(strength, np.float32))[..., None]
        return replace(self, colour=self.colour * (1 - share) + share * np.asarray(colour, np.float32))

    def cut(self, where: Array) -> "Surface":
        """Take all material away down to the table."""
        return replace(self, height=np.where(where, 0, self.height), body=self.body & ~where)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one part. ``depth`` and ``width`` scale dents, bumps, scratches and the like; 1 is usual."""

    name: str = ""
    rng: np.random.Generator | None = None
    depth: float = 1.0
    width: float = 1.0


@dataclass(frozen=True)
class Camera:
    """An RGB-D camera above the table's middle. ``noise`` is the spread of one depth value at ``distance``; it grows
    with the square of the distance. ``baseline`` 0: a sensor that sends its own light and has no stereo shadow."""

    width: int
    height: int
    focal: float  # in depth pixels
    distance: float
    tilt: float
    count: float  # millimetres of one count in the depth's PNG
    noise: float
    baseline: float = 0.0
    subpixel: int = 32  # steps of disparity per pixel
    blur: float = 0.8  # in depth pixels
    picture: tuple[int, int] = (640, 480)  # same field of view as the depth
    roll: float = 1.0
    speckle: float = 3.3  # noise above so many spreads leaves a hole
    edge_loss: float = 0.35

    @lru_cache(maxsize=4)
    def rays(self, width: int, height: int) -> tuple[Array, Array]:
        """For a picture of ``width`` x ``height``: each pixel's direction [3, H, W] in the table's frame (of length 1
        along the optical axis), and where it meets the table: x, y, depth [3, H, W]."""
        scale = width / self.width
        cx, cy = ((c + 0.5) * scale - 0.5 for c in principal_point(self))
        u, v = np.meshgrid(np.arange(width) - cx, np.arange(height) - cy)
        c, s, cr, sr = (f(np.deg2rad(a)) for a in (self.tilt, self.roll) for f in (np.cos, np.sin))
        turn = np.array([[1, 0, 0], [0, c, s], [0, s, -c]]) @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        flat = np.stack([u, v, np.full_like(u, self.focal * scale)]) / (self.focal * scale)
        eye, ray = -self.distance * turn[:, 2], np.tensordot(turn, flat, 1)
        depth = -eye[2] / ray[2]
        meets = np.stack([eye[0] + depth * ray[0], eye[1] + depth * ray[1], depth])
        return ray.astype(np.float32), meets.astype(np.float32)


def principal_point(camera: Camera) -> tuple[float, float]:
    """Column and row of the optical axis; never quite the middle."""
    return camera.width * 0.497 - 0.5, camera.height * 0.508 - 0.5


@dataclass(frozen=True)
class Table:
    """``colour`` [3]; ``style``: mat, light or belt; ``unevenness`` and ``pitch`` (of its pattern) in mm."""

    colour: tuple[float, float, float]
    style: str
    unevenness: float = 0.05
    moves: bool = False  # another piece of it lies under each part
    pitch: float = 0.5

    @property
    @lru_cache(maxsize=2)
    def tile(self) -> tuple[Array, Array]:
        """Brightness factor and height, both [1024, 1024]; they repeat."""
        rng, shape = np.random.default_rng(len(self.style)), (1024, 1024)
        cloud, fine = noise(rng, shape, 1.6, wrap=True), noise(rng, shape, 0.7, wrap=True)
        f = np.fft.fftfreq(1024)
        low_pass = np.exp(-((f[:, None] ** 2 + f[None, :] ** 2) * 90**2) * 4)
        wave = np.abs(np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * low_pass).real)
        wave /= wave.max()
        height = self.unevenness * wave
        if self.style == "belt":
            rows, columns = np.mgrid[:1024, :1024] * (2 * np.pi / 8)
            weave = np.sin(rows) * np.sin(columns)
            bright = 1 + 0.16 * weave + 0.05 * cloud + 0.1 * (wave - 0.5)
            return bright.astype(np.float32), (height + 0.1 * weave).astype(np.float32)
        grain = {"mat": (0.07, 0.06), "light": (0.012, 0.012)}[self.style]
        specks = np.where(cloud > 4.0, -0.25 if self.style == "light" else 0.5, 0)
        bright = 1 + grain[0] * cloud + grain[1] * fine + 0.06 * (wave - 0.5) + specks
        return bright.astype(np.float32), height.astype(np.float32)


class Light(NamedTuple):
    """A lamp at ``azimuth`` (where it stands) and ``elevation``, with ``ambient`` light from all sides."""

    azimuth: float
    elevation: float = 48.0
    ambient: float = 0.35
    exposure: float = 1.0


class Day(NamedTuple):
    """What is another way than when the good parts were recorded."""

    shift: tuple[float, float] = (0.0, 0.0)
    gain: float = 1.0
    azimuth: float = 0.0
    elevation: float = 0.0


DAYS = {
    "shifted": Day(shift=(4.0, 3.0)),
    "darker15": Day(gain=0.85),
    "darker30": Day(gain=0.70),
    "other_light": Day(azimuth=110.0, elevation=-8.0),
}


class Lies(NamedTuple):
    """How a part lies: up to ``play`` mm beside the middle, turned by up to ``turn``."""

    play: float
    turn: float
    either_way: bool = False  # turned by half a turn as often as not


class Finish(NamedTuple):
    """How a surface shines."""

    gloss: float
    hardness: float
    mirror: float = 0.0  # how readily shiny slopes lose their depth


class Defect(NamedTuple):
    """A defect in words, and its ``change(surface, places, fault)``; None: the kind's ``build`` makes it."""

    sentence: str
    change: Callable[[Surface, dict[str, Array], Fault], Surface] | None = None


@dataclass(frozen=True)
class Kind:
    """A kind of part. ``build(grid, rng, fault)`` makes one: its surface, and by name the places [H, W] where defects
    may lie. Good and faulty parts draw the same numbers from ``rng``, so that the fault alone tells them apart
    (``fault.rng`` is for the fault)."""

    name: str
    sentence: str
    grid: Grid
    camera: Camera
    table: Table
    light: Light
    lies: Lies
    finish: Finish
    build: Callable[[Grid, np.random.Generator, Fault], tuple[Surface, dict[str, Array]]]
    faults: dict[str, Defect]

    def part(self, rng: np.random.Generator, fault: Fault = Fault()) -> Surface:
        """One part; ``fault``: by default none."""
        surface, places = self.build(self.grid, rng, fault)
        change = self.faults[fault.name].change if fault.name else None
        return change(surface, places, fault) if change else surface
