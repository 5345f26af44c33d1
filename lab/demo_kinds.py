"""The kinds of generated part: how the surface of each is drawn, and what its defects are like.

Cookie, dowel and foam are matt and lie nearly in place. Fabric is a woven cloth with folds, so no place of it looks
like the same place of another part. Bracket is brushed metal with holes. It is turned by any angle and tilted, so its
highlights move. Fabric and bracket also have small and faint defects.
"""

import zlib
from typing import Callable, NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

LATTICE = 128  # random numbers per side of the noise
DEFECTS = ("color", "hole", "combined")  # a stain, a dent, both in one place
FAINT = "faint"  # a weak stain and a weak dent in one place
ALL_DEFECTS = (*DEFECTS, FAINT)


class Surface(NamedTuple):
    """A part's shape at points [...] of the ground: ``inside`` [...] metres to the outline (positive inside it),
    ``height`` [...] metres above the ground, ``albedo`` [..., 3] from 0 to 1."""

    inside: np.ndarray
    height: np.ndarray
    albedo: np.ndarray


class Kind(NamedTuple):
    """A kind of part: how its surface is drawn, how it lies, and what its defects are like."""

    surface: Callable  # (random generator, u [...], v [...] in metres) → Surface
    area: float  # approximate, square metres
    reach: tuple  # half its extents, metres
    stain: tuple  # colour of its stains, reflectance
    defects: tuple = DEFECTS
    share: tuple = (0.04, 0.07)  # smallest and largest share of the area that a defect takes
    even: bool = True  # shares are drawn uniformly; False: their logarithm is
    dent: tuple = (0.006, 0.009)  # depth of a dent, metres
    turn: float = 0.3  # largest turn, radians
    tilt: float = 0.0  # largest slope, along and across
    gloss: float = 0.0  # brightness of a highlight, 0 for matt


def noise(rng, u, v, *grain):
    """Smooth noise of about ±1 at points u, v [...] in metres; ``grain``: feature size in metres, or one along each
    axis."""
    lattice = rng.standard_normal((LATTICE, LATTICE))
    return map_coordinates(lattice, [u / grain[0], v / grain[-1]], order=3, mode="grid-wrap")


def rounded(inside, radius, height):
    """Height of a quarter-ellipse edge: 0 at the outline, ``height`` from ``radius`` inwards (all in metres)."""
    return height * np.sqrt(1 - (1 - np.clip(inside / radius, 0, 1)) ** 2)


def box_inside(u, v, half_u, half_v, corner):
    """Distance in metres from points u, v [...] to the outline of a box with rounded corners, positive inside."""
    du, dv = np.abs(u) - half_u + corner, np.abs(v) - half_v + corner
    return corner - np.hypot(np.maximum(du, 0), np.maximum(dv, 0)) - np.minimum(np.maximum(du, dv), 0)


def blend(base, other, weight):
    """Colours [..., 3] from ``base`` (weight [...] 0) to ``other`` (1)."""
    return base + (np.asarray(other) - base) * weight[..., None]


def smoothstep(x):
    """0 below 0, 1 above 1, a smooth rise between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def cookie(rng, u, v):
    """A baked disc, slightly out of round, with chips that stick out."""
    angle, phase = np.arctan2(v, u), rng.uniform(0, 2 * np.pi, 2)
    inside = 0.050 * (1 + 0.015 * np.cos(2 * angle + phase[0]) + 0.010 * np.cos(3 * angle + phase[1])) - np.hypot(u, v)
    height = rounded(inside, 0.028, 0.013) + 0.0004 * noise(rng, u, v, 0.006) + 0.0002 * noise(rng, u, v, 0.002)
    albedo = blend(np.array([0.80, 0.58, 0.33]), (0.52, 0.30, 0.13), 1 - smoothstep(inside / 0.016))
    albedo = albedo * (1 + 0.05 * noise(rng, u, v, 0.002) + 0.05 * noise(rng, u, v, 0.009))[..., None]
    for reach, turn, size in rng.uniform((0.1, 0, 0.0030), (0.82, 2 * np.pi, 0.0050), (14, 3)):
        centre = 0.050 * np.sqrt(reach) * np.array([np.cos(turn), np.sin(turn)])
        near = 1 - np.hypot(u - centre[0], v - centre[1]) / size
        height = height + 0.0022 * smoothstep(1.6 * near)
        albedo = blend(albedo, (0.25, 0.14, 0.09), smoothstep(5 * near))
    return Surface(inside, height, albedo)


def dowel(rng, u, v):
    """An elongated round bar with chamfered ends and wood grain along it."""
    half_length, radius = rng.uniform((0.053, 0.0155), (0.055, 0.0165))
    inside = box_inside(u, v, half_length, radius, 0.003)
    height = rounded(radius - np.abs(v), radius, radius) + radius / 2
    height = np.minimum(height, radius * 1.5 - 0.008 * (1 - smoothstep((half_length - np.abs(u)) / 0.005)))
    grain = 0.06 * noise(rng, u, v, 0.030, 0.0012) + 0.05 * noise(rng, u, v, 0.012, 0.0006)
    grain = grain + 0.03 * noise(rng, u, v, 0.02)
    albedo = np.array([0.83, 0.66, 0.45]) * (1 + grain)[..., None]
    return Surface(inside, height + 0.00008 * noise(rng, u, v, 0.004), albedo)


def foam(rng, u, v):
    """A flat block with soft edges and open pores."""
    half_u, half_v = rng.uniform((0.049, 0.037), (0.051, 0.039))
    inside = box_inside(u, v, half_u, half_v, 0.007) + 0.0003 * noise(rng, u, v, 0.006)
    pores = np.maximum(smoothstep(noise(rng, u, v, 0.0014) - 0.5), smoothstep(2 * noise(rng, u, v, 0.003) - 2.2))
    height = rounded(inside, 0.006, 0.020) + 0.0003 * noise(rng, u, v, 0.012) - 0.0006 * pores
    albedo = blend(np.array([0.48, 0.60, 0.70]), (0.22, 0.29, 0.36), 0.8 * pores)
    return Surface(inside, height, albedo * (1 + 0.04 * noise(rng, u, v, 0.010))[..., None])


def fabric(rng, u, v):
    """A square of plain-woven cloth: two colours of thread, over and under each other, lying in soft folds."""
    pitch, phase = 0.0052, rng.uniform(0, 1, 2)  # pitch: metres per thread
    bent_u, bent_v = (x + 0.0012 * noise(rng, u, v, 0.025) for x in (u, v))
    inside = box_inside(bent_u, bent_v, 0.050, 0.044, 0.003) + 0.0004 * noise(rng, u, v, 0.0012)  # frayed
    along, across = bent_u / pitch + phase[0], bent_v / pitch + phase[1]
    over = np.sin(np.pi * along) * np.sin(np.pi * across) > 0  # where the thread along one axis lies on top
    round_u, round_v = np.abs(np.sin(np.pi * along)), np.abs(np.sin(np.pi * across))
    thread = np.where(over, round_u * (0.4 + 0.6 * round_v), round_v * (0.4 + 0.6 * round_u))
    height = 0.010 + 0.0030 * noise(rng, u, v, 0.055) + 0.0009 * thread
    fibre = np.where(over, noise(rng, u, v, 0.0007, 0.004), noise(rng, u, v, 0.004, 0.0007))
    albedo = np.where(over[..., None], (0.66, 0.62, 0.52), (0.44, 0.28, 0.30))
    return Surface(inside, height, albedo * (0.72 + 0.28 * thread + 0.05 * fibre)[..., None])


def bracket(rng, u, v):
    """A brushed metal plate with two holes of different size and a raised ring round the larger one."""
    half_u, half_v = rng.uniform((0.0495, 0.0285), (0.0505, 0.0295))
    large, small = np.hypot(u + 0.020, v - 0.002), np.hypot(u - 0.034, v + 0.012)
    cut = (u + v - 0.066) / np.sqrt(2)  # one corner is cut off
    inside = np.minimum(box_inside(u, v, half_u, half_v, 0.006), np.minimum(large - 0.0085, small - 0.0045))
    inside = np.minimum(inside, -cut)
    height = 0.004 + rounded(inside, 0.0012, 0.0012) + 0.004 * smoothstep((0.017 - large) / 0.0025)
    height = height + 0.0012 * smoothstep((0.0025 - np.abs(u - 0.014)) / 0.0015)  # a rib across
    brushed = 0.07 * noise(rng, u, v, 0.045, 0.0007) + 0.04 * noise(rng, u, v, 0.020, 0.0016)
    albedo = np.array([0.47, 0.49, 0.53]) * (1 + brushed + 0.03 * noise(rng, u, v, 0.020))[..., None]
    return Surface(inside, height + 0.00003 * noise(rng, u, v, 0.020, 0.0010), albedo)


SMALL = {"defects": ALL_DEFECTS, "share": (0.002, 0.05), "even": False}
KINDS = {
    "cookie": Kind(cookie, 0.0079, (0.05, 0.05), (0.20, 0.26, 0.62)),
    "dowel": Kind(dowel, 0.0035, (0.054, 0.016), (0.10, 0.42, 0.28)),
    "foam": Kind(foam, 0.0076, (0.05, 0.038), (0.72, 0.22, 0.13)),
    "fabric": Kind(fabric, 0.0088, (0.05, 0.044), (0.16, 0.22, 0.18), dent=(0.003, 0.005), **SMALL),
    "bracket": Kind(
        bracket,
        0.0052,
        (0.05, 0.029),
        (0.46, 0.24, 0.12),
        dent=(0.0015, 0.003),
        turn=np.pi,
        tilt=0.08,
        gloss=0.45,
        **SMALL,
    ),
}
SHAPES_OF_OTHERS = ("cookie", "dowel", "foam")  # a fixed list: a name's shape stays when kinds are added


def kind_of(category):
    """The Kind of a category: its own; for other names one of SHAPES_OF_OTHERS, which depends on the name alone."""
    return KINDS.get(category) or KINDS[SHAPES_OF_OTHERS[zlib.crc32(category.encode()) % len(SHAPES_OF_OTHERS)]]
