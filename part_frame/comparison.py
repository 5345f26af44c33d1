"""The comparison in place: a part against the same place of normal parts, a nominal-actual comparison.

Seven maps, each in units of its normal spread at that place:

    height        the height differs, mm
    local_height  the height differs otherwise than around it: a dent in a sheet that is a little warped
    colour        brightness or hue differ, after the part's own gain
    local_colour  they differ otherwise than around it: a scratch in a light that comes from another side
    missing       no surface where normal parts have one
    extra         surface beyond the normal parts' footprint
    brightness    the whole part is brighter or darker than the light beside it explains: the same at every place

The spread of a place comes from the training parts, each compared with the others, so that what registration leaves at
edges is part of it. It is shrunk to the spread around, and never below the floor that the sensor's noise sets, so that
few parts, and maps that are 0 on all of them, do not divide by 0. (A range over the 3×3 neighbours, tried before, hid
thin prints and burrs.)
The footprint is the normal parts', never the judged part's, or missing material would hide itself.
"""

from collections import namedtuple
from typing import NamedTuple

import cv2
import numpy as np

from part_frame.light import BESIDE, ENOUGH
from part_frame.pose import DARK

SMOOTH = {"height": 1.2, "colour": 0.8, "missing": 1.5, "extra": 1.5}  # cells: deviations are averaged by this
# mm; logarithms; shares of the cells around
FLOOR = {"height": 0.02, "colour": 0.02, "brightness": 0.02, "missing": 0.12, "extra": 0.12}
LOCAL = 1 / 14  # of the frame's side: what changes more slowly than this is not local
BOUND = 6.0  # of the part's median deviation: no place counts more in the mean around it, so a defect leaves no halo
QUARTER = 4  # the mean around is computed on a grid so many times as coarse: it is smooth
STEEP = 0.8  # of the distance between the sensor's points: where on a slope a point lies is known no better
# no place is known better than this share of the spread that a quarter of the part stays below: what is flat. A share
# of the median, where most of a part is edges, hid sink marks in connectors
OWN_FLOOR, FLAT = 0.8, 25
PRIOR = 5  # the spread around a place counts like so many parts
AROUND = 9  # cells: width of the square around a place
USUAL = 0.5  # share of the normal parts that have surface at a place of the footprint
REACH = 3  # cells around the footprint: compared too, and what lies in them is no extra surface
HUE = 3.0  # the part's own hue shift is taken away as far as so many normal spreads
HUE_FLOOR = 0.01  # logarithm
LEAST = 0.01  # exposure of a black picture
COARSE = np.s_[::3, ::3]  # every third place is enough for medians
CLASSES = 6  # classes of brightness, of equal size, in which the picture's tones and noise are compared
TONE = 0.5  # of the light's logarithm: dark and bright places follow it by so much more or less at most
GAMMA = 2.2  # of a camera's curve, at most: how noise grows in less light
GRAIN = 2.0  # cells: what differs alike over more than this is no noise
NOISE = 0.5  # normal spreads: the usual median of a part's noise in the light of training
SHADOW_EDGE = 1.0  # cells: an expected shadow ends no more exactly than this
UNTOLD = 1e3  # logarithm: spread of a colour that tells nothing
LARGEST = 50.0  # normal spreads: larger deviations say no more


class Appearance(NamedTuple):
    """A part in its frame, [S, S]: ``height`` mm, NaN where nothing was measured; ``colour`` [S, S, 3]: logarithms of
    brightness, red over green, blue over green; ``seen``, ``part`` as of a Laid. ``turn``: degrees by which the part
    was turned; None where that is unknown, or its shade is taken away already."""

    height: np.ndarray
    colour: np.ndarray
    seen: np.ndarray
    part: np.ndarray
    turn: float | None = None


class Deviation(NamedTuple):
    """How a part differs from normal parts, [S, S] each, signed, not yet in normal spreads.

    ``height``: mm; ``colour`` [S, S, 3]: logarithms. ``local_height`` and ``local_colour``: the same, less what the
    places around differ by. Example: a sheet that is warped by 0.3 mm and has a dent of 0.8 mm differs by 1.1 mm in the
    dent, locally by 0.8 mm. ``missing``, ``extra``: shares of the cells around. ``brightness``: :func:`level` of the
    part, the same at each place.
    """

    height: np.ndarray
    local_height: np.ndarray
    colour: np.ndarray
    local_colour: np.ndarray
    missing: np.ndarray
    extra: np.ndarray
    brightness: np.ndarray


MAPS = Deviation._fields


class Nominal(NamedTuple):
    """The normal parts: means [S, S]; ``height`` mm, ``colour`` [S, S, 3], ``valid``: share of parts measured there,
    ``footprint``: share of parts that have surface there; ``parts``: their number."""

    height: np.ndarray
    colour: np.ndarray
    valid: np.ndarray
    footprint: np.ndarray
    parts: int


class Squares(namedtuple("Squares", (*MAPS, "hue", "parts"))):
    """Sums of squares of the training parts' Deviations, each from the others, and of their shifts of hue."""

    def without(self, one, shift):
        """The Squares of the other parts; ``one``: a part's Deviation from them, ``shift`` [2]: its shift of hue."""
        return Squares(*(a - b for a, b in zip(self[:-1], (*map(_square, one), shift**2))), self.parts - 1)


# Normal spread of a Deviation at each place, as learned from training parts; ``hue`` [2]: of a part's hue.
# ``brightness`` is None in models that do not know it
Spread = namedtuple("Spread", ("hue", *MAPS), defaults=(None,))


def appearance(laid, picture):
    """The Appearance of a Laid and its picture [P, P, 3] uint8 in the frame."""
    size = len(laid.height)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Appearance(laid.height, logarithms(small), laid.seen, laid.part, laid.pose.angle)


class Sums(NamedTuple):
    """Sums over parts, from which means with and without one of them follow."""

    height: np.ndarray
    measured: np.ndarray
    colour: np.ndarray
    seen: np.ndarray
    part: np.ndarray
    parts: int

    @classmethod
    def of(cls, parts):
        """Sums of Appearances whose brightness has been brought to the same level."""
        total = None
        for one in parts:
            own = _own_sums(one)
            total = own if total is None else [a + b for a, b in zip(total, own)]
        return cls(*total, len(parts))

    def without(self, one):
        """Sums of the other parts."""
        return Sums(*(a - b for a, b in zip(self[:5], _own_sums(one))), self.parts - 1)

    def nominal(self):
        """The Nominal of these parts."""
        seen = np.maximum(self.seen, 1)
        return Nominal(
            np.where(self.measured > 0, self.height / np.maximum(self.measured, 1), np.nan).astype(np.float32),
            (self.colour / seen[..., None]).astype(np.float32),
            (self.measured / seen).astype(np.float32),
            (self.part / seen).astype(np.float32),
            self.parts,
        )


def _own_sums(one):
    known = ~np.isnan(one.height) & one.seen
    part = one.part & one.seen
    sums = np.where(known, one.height, 0), known, np.where(one.seen[..., None], one.colour, 0), one.seen, part
    return [of.astype(np.float64) for of in sums]


def compared(nominal):
    """[S, S] bool: the places that are compared: the normal parts' footprint and a little around it."""
    return grown(nominal.footprint >= USUAL, REACH)


def exposure(one, nominal):
    """float: how much brighter than the normal parts an Appearance is, as one factor of all values of its picture: the
    median over the normal parts' footprint; 1.0 where nothing of it is seen."""
    where = (nominal.footprint > USUAL) & one.seen
    own, normal = _values(one.colour[where]).sum(-1), _values(nominal.colour[where]).sum(-1)
    return float(max(np.median(own / np.maximum(normal, 1)), LEAST)) if where.any() else 1.0


def brighter(one, nominal):
    """float: by which factor the light is brighter than that of the normal parts, as what lies beside the part shows;
    the :func:`exposure` where too little of that is seen. A part of another material changes the exposure alone."""
    beside = one.seen & ~grown(nominal.footprint > 0, BESIDE)
    own, normal = _values(one.colour[beside]).sum(-1), _values(nominal.colour[beside]).sum(-1)
    bright = normal > 3 * DARK
    if bright.sum() < ENOUGH * beside.size:
        return exposure(one, nominal)
    return float(max(np.median(own[bright] / normal[bright]), LEAST))


def level(one, nominal):
    """float: by how much an Appearance is brighter than the normal parts in the same light, as a logarithm: a loaf that
    is hardly baked; 0 where no light can be read beside the part."""
    return float(np.log(exposure(one, nominal) / brighter(one, nominal)))


def gained(one, nominal):
    """An Appearance, as bright as the normal parts, so that a longer exposure is no defect.

    Example: a picture of three quarters of the usual brightness. The normal parts are darkened to three quarters, and
    what that changes at each place is taken from the part's colour. But a camera's curve darkens black rubber to half
    where it darkens white plastic to three quarters. So where the light is another one (:func:`brighter`), each class
    of brightness has a factor of its own. It is measured on the part, and TONE says how far it may be from the usual.

    Why not take one number from all logarithms? DARK is added to all values, so a darker picture has other hues where
    colours are saturated. Why not brighten the part? That would raise the noise of its dark places.
    """
    where = (nominal.footprint > USUAL) & one.seen
    if not where.any():
        return one
    factor, normal = exposure(one, nominal), _values(nominal.colour)
    expected, most = factor * normal, TONE * abs(np.log(brighter(one, nominal)))
    tone = np.log((_values(one.colour[COARSE]) + DARK) / (expected[COARSE] + DARK))
    tone = np.clip(_by_brightness(tone, normal, where), -most, most)
    expected = (expected + DARK) * np.exp(tone)
    colour = one.colour - (logarithms(expected - DARK) - logarithms(normal))
    colour[..., 0] -= np.median((colour[..., 0] - nominal.colour[..., 0])[where])  # what the factor has left
    return one._replace(colour=colour)


def widened(spread, found, nominal, factor):
    """A part's Spread in light that is :func:`brighter` by ``factor``: in less light, noise is larger, and no defect.

    A picture with less light has more noise, most of it in dark places. How much more, the part itself shows: its
    Deviation ``found`` from place to place, beside what is usual in the light of training. The spread of the colours
    grows by that factor, for each class of brightness, up to what a sensor's noise can grow by. What differs alike over
    several places, as another wood does, is not noise. In the light of training, or in more, nothing changes.
    """
    if factor >= 1:
        return spread
    brightness = _values(nominal.colour).mean(-1)
    most = factor ** (1 - GAMMA) * (brightness + DARK) / (factor * brightness + DARK)
    where = compared(nominal)
    fine = np.abs(found.colour - cv2.GaussianBlur(found.colour, (0, 0), GRAIN))[COARSE]
    wide = {}
    for name in ("colour", "local_colour"):
        own = getattr(spread, name)
        away = fine / own[COARSE] / NOISE
        noise = [np.clip(_by_brightness(away[..., k], brightness, where), 1, most) for k in range(3)]
        wide[name] = own * np.dstack(noise).astype(np.float32)
    return spread._replace(**wide)


def without_shade(one, shade):
    """An Appearance without its ``shade`` [S, S] (a logarithm), as ``lamp`` tells it."""
    colour = one.colour.copy()
    colour[..., 0] -= shade
    return one._replace(colour=colour, turn=None)


def shaded(spread, shade):
    """The Spread of a part that has a ``shade`` [S, S]: where a shadow ends is known to a cell or so only, and training
    may have had no shadow there."""
    if not np.any(shade):
        return spread
    slopes = (cv2.Sobel(shade, cv2.CV_32F, *d, scale=1 / 8, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1)))
    edge = SHADOW_EDGE * cv2.GaussianBlur(np.hypot(*slopes), (0, 0), SHADOW_EDGE)
    wide = {name: getattr(spread, name).copy() for name in ("colour", "local_colour")}
    for of in wide.values():
        of[..., 0] = np.hypot(of[..., 0], edge)
    return spread._replace(**wide)


def _by_brightness(values, brightness, where):
    """The median of ``values`` in each class of ``brightness``, between the classes' middles interpolated.

    Args:
        values: COARSE of [S, S] or [S, S, 3].
        brightness: [S, S] or [S, S, 3], as ``values``.
        where: [S, S] bool, the places that count.

    Returns:
        An array as ``brightness``.
    """
    places = where[COARSE]
    if not places.any():
        return np.zeros_like(brightness)
    values, bright = values[places].ravel(), brightness[COARSE][places].ravel()
    classes = np.array_split(np.argsort(bright), CLASSES)
    middles, medians = zip(*((np.median(bright[one]), np.median(values[one])) for one in classes if len(one)))
    # the mean of parts that were brought to one brightness can exceed 255
    return np.interp(np.arange(256), middles, medians)[np.minimum(brightness, 255).astype(np.uint8)]


def logarithms(values):
    """[S, S, 3] float32 logarithms of brightness, red over green, blue over green; ``values`` [S, S, 3]: 0 to 255."""
    logarithm = np.log(values + DARK)
    green = logarithm[..., 1]
    return np.dstack([logarithm.mean(2), logarithm[..., 0] - green, logarithm[..., 2] - green]).astype(np.float32)


def _values(colour):
    """The values whose :func:`logarithms` are ``colour``; at least 0."""
    green = colour[..., 0] - (colour[..., 1] + colour[..., 2]) / 3
    logarithm = np.stack([green + colour[..., 1], green, green + colour[..., 2]], -1)
    return np.maximum(np.exp(logarithm) - DARK, 0)


def hue_shift(one, nominal):
    """[2]: median difference of the two hues on the footprint."""
    where = (nominal.footprint > USUAL) & one.seen
    return np.median((one.colour - nominal.colour)[where][:, 1:], 0) if where.any() else np.zeros(2)


def deviation(one, nominal, hue):
    """The :class:`Deviation` of an Appearance.

    ``hue`` [2]: spread of the normal parts' hue; the part's own shift of hue is taken away up to HUE of these.
    """
    own_level, one = level(one, nominal), gained(one, nominal)
    where = compared(nominal)
    limit = HUE * np.maximum(hue, HUE_FLOOR)
    shift = np.clip(hue_shift(one, nominal), -limit, limit)
    one = one._replace(colour=one.colour - np.array([0, *shift], np.float32))
    known = ~np.isnan(one.height) & one.seen & where & ~np.isnan(nominal.height)
    height = np.where(known, one.height, 0) - np.where(np.isnan(nominal.height), 0, nominal.height)
    height = _smoothed(height, known, SMOOTH["height"])
    visible = one.seen & where
    differences = one.colour - nominal.colour
    colour = np.dstack([_smoothed(differences[..., k], visible, SMOOTH["colour"]) for k in range(3)])
    local_colour = np.dstack([_local(colour[..., k], visible) for k in range(3)])
    footprint = nominal.footprint >= USUAL
    expected = np.where(footprint & one.seen, nominal.valid, 0)
    lacking = expected * np.isnan(one.height)
    lacking = cv2.GaussianBlur(lacking.astype(np.float32), (0, 0), SMOOTH["missing"])
    usual_lack = cv2.GaussianBlur((expected * (1 - nominal.valid)).astype(np.float32), (0, 0), SMOOTH["missing"])
    beyond = one.part & ~grown(nominal.footprint > 0, REACH)
    extra = cv2.GaussianBlur(beyond.astype(np.float32), (0, 0), SMOOTH["extra"])
    missing = np.maximum(lacking - usual_lack, 0)
    brightness = np.where(where, np.float32(own_level), np.float32(0))
    return Deviation(height, _local(height, known), colour, local_colour, missing, extra, brightness)


def squares_of(parts, sums):
    """Each training part compared with the others.

    Args:
        parts: Appearances, brought to the same brightness.
        sums: Sums of them.

    Returns:
        (Squares, [Deviation] of each part from the others, shifts of hue [n, 2]).
    """
    others = [sums.without(one).nominal() for one in parts]
    shifts = np.array([hue_shift(one, other) for one, other in zip(parts, others)])
    hue = np.sqrt((shifts**2).mean(0))
    found = [deviation(one, other, hue) for one, other in zip(parts, others)]
    squares = [np.sum([_square(one) for one in of], 0) for of in zip(*found)]
    return Squares(*squares, (shifts**2).sum(0), len(parts)), found, shifts


def _square(values):
    return np.square(values, dtype=np.float64)


def steepness(values, points):
    """[S, S]: by how much a place's value can differ by chance, as it changes between the sensor's points.

    ``values`` [S, S]: the normal parts' height in mm, or brightness; ``points``: cells between the points, at least 1.
    """
    values = np.where(np.isnan(values), 0, values).astype(np.float32)
    change = np.hypot(*(cv2.Sobel(values, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1))))
    return STEEP * points * change


def rim(nominal, points):
    """[S, S] bool: places so near the edge of a part that was cut out of its picture that chance decides whether they
    are black; ``points`` as in :func:`steepness`."""
    footprint, width = nominal.footprint >= USUAL, int(np.ceil(1.5 * points))
    return grown(footprint, width) & grown(~footprint, width)


def spread_of(squares, where, steep, unknown):
    """The :class:`Spread` that Squares give.

    ``where`` [S, S] bool: the places that are compared; ``steep`` [S, S]: least spread of the height, see
    :func:`steepness`; ``unknown`` [S, S] bool: places whose colour tells nothing, see :func:`rim`.
    """
    inside = where & ~np.asarray(unknown)
    untold = np.broadcast_to(np.asarray(unknown), where.shape)[..., None]
    maps = {}
    for name in MAPS:
        kind = name.removeprefix("local_")
        one = _spread(getattr(squares, name), squares.parts, inside if kind == "colour" else where, FLOOR[kind])
        if kind == "height":
            one = np.hypot(one, steep).astype(np.float32)
        maps[name] = np.where(untold, np.float32(UNTOLD), one) if kind == "colour" else one
    return Spread(**maps, hue=np.sqrt(np.maximum(squares.hue, 0) / max(squares.parts, 1)).astype(np.float32))


def in_spreads(deviation, spread):
    """{map: [S, S] float32}: a Deviation in normal spreads, not signed; of colours the largest. A map whose spread is
    None, as of models that do not know it, is left out."""
    known = {name: getattr(spread, name) for name in MAPS if getattr(spread, name) is not None}
    out = {name: np.abs(getattr(deviation, name)) / of for name, of in known.items()}
    flat = {name: values.max(-1) if values.ndim == 3 else values for name, values in out.items()}
    return {name: np.minimum(values, LARGEST).astype(np.float32) for name, values in flat.items()}


def _spread(square, count, where, floor):
    """Root mean square at each place of ``count`` parts, shrunk to that around it, with floors; ``square`` [S, S(, c)]:
    their sum of squares."""
    inside = where.astype(np.float64)
    weight = np.maximum(cv2.blur(inside, (AROUND, AROUND)), 1e-6)
    channels = square[..., None] if square.ndim == 2 else square
    out = []
    for k in range(channels.shape[2]):
        own = np.maximum(channels[..., k], 0) * inside
        around = cv2.blur(own, (AROUND, AROUND)) / weight / max(count, 1)
        shrunk = np.sqrt(np.maximum(own + PRIOR * around, 0) / (count + PRIOR))
        usual = float(np.percentile(shrunk[where], FLAT)) if where.any() else 0.0
        out.append(np.maximum(shrunk, max(floor, OWN_FLOOR * usual)))
    out = np.dstack(out).astype(np.float32)
    return out[..., 0] if square.ndim == 2 else out


def _smoothed(values, known, sigma):
    """Mean of the known values around each place; 0 where none is known."""
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma)
    mean = cv2.GaussianBlur((values * known).astype(np.float32), (0, 0), sigma) / np.maximum(weight, 0.05)
    return np.where(known, mean, 0).astype(np.float32)


def _local(values, known):
    """By how much each known value differs from the mean of the known values around it; 0 where none is known."""
    if not known.any():
        return np.zeros_like(values)
    bound = BOUND * float(np.median(np.abs(values[known])))
    size = max(len(values) // QUARTER, 1)
    small = [
        cv2.resize(a.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        for a in (np.clip(values, -bound, bound) * known, known)
    ]
    total, weight = (cv2.GaussianBlur(a, (0, 0), LOCAL * size) for a in small)
    around = cv2.resize(total / np.maximum(weight, 0.02), values.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(known, values - around, 0).astype(np.float32)


def grown(mask, radius):
    """A mask [S, S] (bool) with all places that are at most so many cells away from it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0
