"""The lamp: from which side light falls on parts that turn, and what shade it gives a part in any turn.

A part that turns under a lamp shows another shade in each turn: walls that face the lamp are bright, and what stands
out casts a shadow. 14 training parts show 14 turns, and a good part in a turn between them has its shadow where no
training part had one. So the lamp's direction is learned from the training parts: the one whose shadows, cast by the
normal parts' own heights, explain best how their brightness changes. Each part's shade is then taken away before it is
compared. If the light has moved since, the part itself shows where to.

Where training parts do not turn, or no lamp explains them (soft light, flat parts), there is no Lamp and nothing
changes.
"""

from typing import NamedTuple

import cv2
import numpy as np

TURNED = 60.0  # degrees: where the training parts' turns lie closer together, they show no lamp
COARSE = 2  # the lamp is looked for on a grid so many times as coarse
AZIMUTHS = np.arange(0, 360, 5)
ELEVATIONS = np.arange(15, 75, 2.5)
LEANINGS = np.arange(-15, 16, 2.5)
STEPS = range(0, len(AZIMUTHS), 2), range(0, len(ELEVATIONS), 2)  # numbers of the directions that are tried first
SOFT = 0.12  # of the lamp's slope: a shadow's edge is so wide
FADES = 30.0  # the exponent of an edge at most: the rest is full light or full shadow
SMOOTH = 1.0  # cells: heights are smoothed by this for slopes
CLOSEST, GROWTH = 0.5, 0.1  # cells, share of the distance: steps in which the horizon is looked along
REACH = 0.5  # of the frame's side: what is farther away casts no shadow
PAYS = 0.8  # a lamp is believed if it leaves less than this share of what differs without its shadows
UNUSUAL = 1.25  # times the training parts' difference from their shade: the lamp may have moved
BOUND = 1.0  # logarithm: no cell's difference counts more
RIDGE = 1e-3


class Lamp(NamedTuple):
    """``azimuth``, ``elevation``: degrees, in the camera's view and above the table; ``shadow``: logarithm by which a
    full shadow changes the brightness, negative; ``across``, ``down``: by which a slope does, along the view's columns
    and rows; ``usual``: mean difference of the training parts from their shade, a logarithm."""

    azimuth: float
    elevation: float
    shadow: float
    across: float
    down: float
    usual: float


class Relief:
    """The normal parts' heights as what casts and catches shade.

    Args:
        height: [S, S] mm, NaN where nothing was measured.
        pitch: mm per cell.
    """

    def __init__(self, height, pitch):
        self._pitch, self._height = pitch, np.nan_to_num(height).astype(np.float32)
        smooth = cv2.GaussianBlur(self._height, (0, 0), SMOOTH)
        x, y = (cv2.Sobel(smooth, cv2.CV_32F, *d, scale=1 / 8) / pitch for d in ((1, 0), (0, 1)))
        up = 1 / np.sqrt(1 + x * x + y * y)
        self._normal = np.stack([-x * up, -y * up])

    def slopes(self, turn):
        """[2, S, S]: the surface's normal along the view's columns and rows, of a part turned by so many degrees."""
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        x, y = self._normal
        return np.stack([cosine * x + sine * y, cosine * y - sine * x])

    def horizon(self, direction):
        """[S, S]: slope of the steepest line from each cell that touches the part, towards a direction in the frame
        (degrees)."""
        x, y = np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))
        size, far = len(self._height), CLOSEST
        steepest = np.zeros_like(self._height)
        while far < REACH * size:
            move = np.float32([[1, 0, far * x], [0, 1, far * y]])
            seen = cv2.warpAffine(self._height, move, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            steepest = np.maximum(steepest, (seen - self._height) / (far * self._pitch))
            far += max(CLOSEST, GROWTH * far)
        return steepest


def _shadow(horizon, elevation):
    """How far places lie in shadow, 0 to 1."""
    slope = np.tan(np.deg2rad(elevation))
    return 1 / (1 + np.exp(np.clip((slope - horizon) / (SOFT * slope), -FADES, FADES)))


class Lighting:
    """The Lamp of parts that turn, and their shade.

    Args:
        height: [S, S] mm, of the normal parts.
        pitch: mm per cell.
        where: [S, S] bool, the places that are compared.
        lamp: Lamp.
        mean: [S, S], mean shade of the training parts, a logarithm; None: of parts in the ``turns`` (degrees).
    """

    def __init__(self, height, pitch, where, lamp, mean=None, turns=()):
        self.lamp, self._relief, self._horizons = lamp, Relief(height, pitch), None
        self._coarse, self._where = _coarse(height, pitch, where)
        self.mean = np.mean([self._shade(lamp, turn) for turn in turns], 0) if mean is None else mean

    def shade(self, difference, turn):
        """[S, S] of a part, a logarithm: by how much it is brighter than in the mean light of the training parts.

        Args:
            difference: [S, S], logarithm of the part's brightness less that of the normal parts.
            turn: degrees by which the part is turned.
        """
        return self._shade(self._lamp_of(difference, turn), turn) - self.mean

    def _shade(self, lamp, turn):
        dark = _shadow(self._relief.horizon(lamp.azimuth + turn), lamp.elevation)
        across, down = self._relief.slopes(turn)
        return (lamp.shadow * dark + lamp.across * across + lamp.down * down).astype(np.float32)

    def _lamp_of(self, difference, turn):
        """The Lamp under which a part was recorded: the learned one, but where it explains the part badly and one in
        another place does better."""
        if self._horizons is None:
            self._horizons = _horizons(self._coarse, self._where)
        found, slopes = self.lamp, self._coarse.slopes(turn)[:, self._where]
        difference = _halved(difference)[self._where] + _halved(self.mean)[self._where]

        def left(azimuth, elevation):
            by = np.deg2rad(azimuth - self.lamp.azimuth)
            across = np.cos(by) * self.lamp.across - np.sin(by) * self.lamp.down
            down = np.sin(by) * self.lamp.across + np.cos(by) * self.lamp.down
            dark = _shadow(self._horizons[_nearest(azimuth + turn)], elevation)
            rest = difference - self.lamp.shadow * dark - across * slopes[0] - down * slopes[1]
            return _away(rest), self.lamp._replace(azimuth=azimuth, elevation=elevation, across=across, down=down)

        learned = left(found.azimuth, found.elevation)[0]
        if learned <= UNUSUAL * found.usual:
            return found
        least, moved = _least(left)
        return moved if least < PAYS * learned else found


def learn(height, pitch, where, light, turns):
    """The :class:`Lighting` of training parts; None where they show no lamp.

    Args:
        height, pitch, where: as of a Lighting.
        light: [n, S, S] logarithms of the parts' brightness, less that of the normal parts.
        turns: [n] degrees by which the parts are turned.
    """
    if _widest_gap(turns) > 360 - TURNED:
        return None
    relief, places = _coarse(height, pitch, where)
    light = np.clip([_halved(of)[places] for of in light], -BOUND, BOUND)
    light -= light.mean(0)
    slopes = np.stack([relief.slopes(turn)[:, places] for turn in turns])
    horizons = _horizons(relief, places)

    def left(azimuth, elevation):
        horizon = np.stack([horizons[_nearest(azimuth + turn)] for turn in turns])[:, None]
        rest, weights = _explained(light, np.concatenate([_shadow(horizon, elevation), slopes], 1))
        lamp = Lamp(float(azimuth), float(elevation), *map(float, weights), 0.0)
        return (rest if lamp.shadow < 0 else np.inf), lamp

    least, lamp = _least(left)
    if least > PAYS * _explained(light, slopes)[0]:
        return None
    lighting = Lighting(height, pitch, where, lamp, turns=turns)
    shades = [_halved(lighting._shade(lamp, turn) - lighting.mean)[places] for turn in turns]
    lighting.lamp = lamp._replace(usual=float(np.median([_away(a - b) for a, b in zip(light, shades)])))
    return lighting


def _least(left):
    """The least of ``left(azimuth, elevation)``, which gives a number and a Lamp: of every second direction, then of
    those beside the best."""
    tried = [(*left(AZIMUTHS[k], ELEVATIONS[m]), k, m) for k in STEPS[0] for m in STEPS[1]]
    *_, k, m = min(tried, key=lambda of: of[0])
    beside = [(a % len(AZIMUTHS), b) for a in (k - 1, k, k + 1) for b in (m - 1, m, m + 1)]
    return min(
        (left(AZIMUTHS[a], ELEVATIONS[b]) for a, b in beside if b in range(len(ELEVATIONS))), key=lambda of: of[0]
    )


def _explained(light, causes):
    """(mean square that is left of ``light`` [n, P], weights [k]) by least squares on ``causes`` [n, k, P]."""
    causes = (causes - causes.mean(0)).transpose(1, 0, 2).reshape(causes.shape[1], -1)
    weights = np.linalg.solve(causes @ causes.T + RIDGE * np.eye(len(causes)), causes @ light.ravel())
    return float(np.mean((light.ravel() - weights @ causes) ** 2)), weights


def _coarse(height, pitch, where):
    """(Relief, [s, s] bool places that are compared) on the coarse grid."""
    return Relief(_halved(np.nan_to_num(height)), pitch * COARSE), _halved(where) > 0.99


def _halved(values):
    size = tuple(n // COARSE for n in values.shape[::-1])
    return cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _horizons(relief, places):
    return [relief.horizon(azimuth)[places] for azimuth in AZIMUTHS]


def _nearest(direction):
    """Number of the azimuth that is nearest to a direction in degrees."""
    return int(round(direction / (AZIMUTHS[1] - AZIMUTHS[0]))) % len(AZIMUTHS)


def _away(values):
    """Mean distance from the median."""
    return float(np.abs(values - np.median(values)).mean())


def _widest_gap(turns):
    ordered = np.sort(np.asarray(turns, float) % 360)
    return float(np.max(np.diff(ordered, append=ordered[0] + 360)))
