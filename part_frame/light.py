"""Whether a picture can be compared at all: is there colour, are its channels in order, is the exposure one that a gain
mends. A part of another colour is a defect and no reason to rescan, so exposure and channels are read beside the part
where that can be seen."""

from typing import NamedTuple

import cv2
import numpy as np

from part_frame.pose import DARK

BESIDE = 4  # cells around the part that are not counted as its surroundings
COARSE = 3  # every third cell is enough for means
ENOUGH = 0.1  # of the frame: least surroundings from which the exposure is read
GREY = 0.5  # of 255: a grey picture's channels differ by less; noise alone makes those of a grey part differ by more
EXCHANGED = 0.25  # of the distance to the training colours: closer after exchange of red and blue
FAR = 0.08  # logarithm: nearer than this no channels are exchanged
GAIN = 1.1, 1.9  # logarithm: exposures a factor of 3 from the usual are not mended; of 6.7 where only the part is seen
SATURATED, CLIPPED = 250, 0.25  # of 255; share of the part that may be clipped beyond the training pictures'


class Light(NamedTuple):
    """``hues`` [2]: logarithms of red and blue over green on the part; ``around`` [2]: beside it, as far as that can be
    seen; ``brightness``: mean logarithm; ``colour``: mean difference between the channels; ``clipped``: share of the
    part that is saturated; ``beside``: whether ``brightness`` was read beside the part."""

    hues: tuple
    around: tuple
    brightness: float
    colour: float
    clipped: float
    beside: bool


def light_of(picture, part, seen, table):
    """The Light of a picture [P, P, 3] in the frame; ``part``, ``seen`` [S, S] bool; ``table``: whether the part lies
    on something that the picture shows."""
    part, seen = part[::COARSE, ::COARSE], seen[::COARSE, ::COARSE]
    small = cv2.resize(picture, part.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    kernel = np.ones((2 * BESIDE // COARSE + 1,) * 2, np.uint8)
    around = seen & (cv2.dilate(part.astype(np.uint8), kernel) == 0)
    beside = bool(table and around.mean() > ENOUGH)
    every = seen & part if not table else seen
    every = every if every.any() else np.ones_like(part)
    where = around if beside else (part if part.any() else every)
    own = part if part.any() else every
    return Light(
        _hues(small[own]),
        _hues(small[where]),
        float(np.log(small[where].mean(1) + DARK).mean()),
        float(np.ptp(picture[::COARSE, ::COARSE], axis=2).mean()),
        float((small[part].max(1) >= SATURATED).mean()) if part.any() else 0.0,
        beside,
    )


def light_of_view(picture):
    """The Light of a whole picture [H, W, 3] that is laid into no frame; black, as a background that was cut out, does
    not count."""
    there = picture.any(2)
    colours = np.ptp(picture[there], axis=1)  # not diluted by the background
    return light_of(picture, there, np.ones_like(there), False)._replace(colour=float(colours.mean()))


def _hues(colours):
    logarithm = np.log(colours + DARK).mean(0)
    return float(logarithm[0] - logarithm[1]), float(logarithm[2] - logarithm[1])


def usual(lights):
    """The Light that stands for training parts: medians, the least colour and the largest clipped share."""
    return Light(
        tuple(np.median([of.hues for of in lights], 0).tolist()),
        tuple(np.median([of.around for of in lights], 0).tolist()),
        float(np.median([of.brightness for of in lights])),
        min(of.colour for of in lights),
        max(of.clipped for of in lights),
        all(of.beside for of in lights),
    )


def fault(light, normal):
    """Why a picture cannot be compared with the training parts'; "" if it can."""
    if _exchanged(light.hues, normal.hues) and (_neutral(normal.around) or _exchanged(light.around, normal.around)):
        return "red and blue of the picture are exchanged"
    gain = light.brightness - normal.brightness if light.beside == normal.beside else 0.0
    if abs(gain) > GAIN[0 if normal.beside else 1]:
        return f"the picture is {np.exp(abs(gain)):.1f} times as {'bright' if gain > 0 else 'dark'} as in training"
    if normal.colour > GREY > light.colour:
        return "the picture has no colour, the training pictures have: grey mode or another camera"
    if light.clipped > normal.clipped + CLIPPED and gain > 0:
        return f"{100 * light.clipped:.0f} % of the part are overexposed"
    return ""


def _exchanged(hues, normal):
    """Whether hues are the normal ones with red and blue exchanged; a part of another colour hits them by chance."""
    away = np.hypot(*(a - b for a, b in zip(hues, normal)))
    return away > FAR and np.hypot(hues[1] - normal[0], hues[0] - normal[1]) < EXCHANGED * away


def _neutral(hues):
    """Whether an exchange of red and blue would hardly show."""
    return abs(hues[0] - hues[1]) < FAR
