"""The pose of a part: turned and shifted in the plane of its table until it lies like the normal parts.

Coarse to fine: the part's image is compared with the reference at all turns at once (one matrix product), the best few
turns are refined by OpenCV's enhanced correlation coefficient (ECC), and the one whose heights and picture differ least
from the reference wins. Height and tilt are never fitted: they are what is to be judged.
"""

from typing import NamedTuple

import cv2
import numpy as np

from part_frame.frame import Pose

COARSE, FINE = 48, 112  # cells per side of the image that is compared at all turns, and of the one that is refined
STEP = 5.0  # degrees between the turns that are tried
CANDIDATES = 8  # turns that are refined at most
LIKELY = 0.06  # a turn is refined if its correlation is less than this below the best one's
APART = 12.0  # degrees: two turns closer than this are one candidate
ITERATIONS, PRECISION = 40, 1e-5  # of ECC
WORST = 25.0  # a cell's squared difference counts at most so much: a defect must not choose the pose
SHADING = 8.0  # cells: brightness that changes more slowly than this is light, which turns with the part's pose
DARK = 8.0  # of 255: added before the logarithm, so that sensor noise in dark places does not count as colour


class Image(NamedTuple):
    """What a pose is found from, [R, R] float32 each. ``height``: mm above the table, table where nothing was measured.
    ``light``: logarithm of the picture's brightness relative to the part around it. ``part``: share of part, 0 to 1."""

    height: np.ndarray
    light: np.ndarray
    part: np.ndarray


class Noise(NamedTuple):
    """Standard deviation of normal parts around the reference, [R, R] or one number: of heights in mm, of light."""

    height: np.ndarray | float
    light: np.ndarray | float


class Found(NamedTuple):
    """``pose``; ``cost``: mean squared difference from the reference in noise widths; ``second``: the least cost of
    another turn, infinity if there is none; ``turn``: degrees between the two."""

    pose: Pose
    cost: float
    second: float
    turn: float


def image_of(laid, picture, size=FINE):
    """The :class:`Image` of a Laid and its picture in the frame [P, P, 3]."""
    height = np.where(np.isnan(laid.height), 0, laid.height).astype(np.float32)
    known = (~np.isnan(laid.height)).astype(np.float32)
    small = [cv2.resize(a, (size, size), interpolation=cv2.INTER_AREA) for a in (height * known, known)]
    hollow = small[1] < 0.3
    height = np.where(hollow, 0, small[0] / np.maximum(small[1], 0.3)).astype(np.float32)
    part = cv2.resize(laid.part.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (size, size), interpolation=cv2.INTER_AREA)
    light = np.log(grey.astype(np.float32) + DARK)
    weight = cv2.GaussianBlur(part, (0, 0), SHADING)
    around = cv2.GaussianBlur(light * part, (0, 0), SHADING) / np.maximum(weight, 1e-3)
    return Image(height, np.where(part > 0.2, light - around, 0).astype(np.float32), part)


class Registration:
    """Finds poses relative to a reference.

    Args:
        reference: Image of the normal parts (a mean).
        noise: Noise of normal parts around it.
        turns: largest turn in degrees that is searched; 180: free turn.
        pitch: mm per cell of ``reference``.
    """

    def __init__(self, reference, noise, turns, pitch):
        self.reference, self.noise, self.pitch = reference, noise, pitch
        self.angles = np.arange(-180, 180, STEP) if turns >= 180 else np.arange(-turns, turns + STEP / 2, STEP)
        small = cv2.resize(_composite(reference, noise), (COARSE, COARSE), interpolation=cv2.INTER_AREA)
        turned = [_turned(small, angle) for angle in self.angles]
        self._turned = np.stack([_standard(image) for image in turned])
        self._target = _composite(reference, noise)
        domain = cv2.dilate((reference.part > 0.3).astype(np.float32), np.ones((5, 5), np.uint8))
        wide = [np.broadcast_to(np.float32(a), domain.shape) for a in noise]
        self._laid = [np.ascontiguousarray(a) for a in (reference.height, reference.light, *wide, domain)]

    def find(self, image, pose):
        """The :class:`Found` of a part.

        Args:
            image: Image of the part, laid at ``pose``.
            pose: the Pose that it was laid at: around its own centre, not turned.
        """
        own = _composite(image, self.noise)
        small = _standard(cv2.resize(own, (COARSE, COARSE), interpolation=cv2.INTER_AREA))
        likeness = self._turned @ small
        found = []
        for angle in _peaks(self.angles, likeness):
            warp = self._refine(own, angle)
            if warp is not None:
                found.append((self.cost(image, warp), warp))
        if not found:  # no turn converges: the likeliest one as it is
            warp = _rotation(float(self.angles[np.argmax(likeness)]), len(own))
            found.append((self.cost(image, warp), warp))
        found.sort(key=lambda entry: entry[0])
        cost, warp = found[0]
        turn = _angle(warp)
        others = [(c, abs(_wrapped(_angle(w) - turn))) for c, w in found[1:]]
        others = [(c, by) for c, by in others if by > APART / 2]
        second, by = min(others, default=(np.inf, 0.0))
        return Found(_composed(pose, warp, self.pitch, len(own)), cost, second, by)

    def cost(self, image, warp):
        """Mean squared difference between an Image and the reference, in noise widths, each cell at most WORST.

        The reference is laid onto the image, not the other way round: so two poses are told apart by the cells in which
        the reference differs between them, and the image's noise in all other cells counts the same for both.
        """
        size = image.height.shape[::-1]
        lay = [
            cv2.warpAffine(a, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for a in self._laid
        ]
        where = lay[4] > 0.5
        if not where.any():
            return np.inf
        height = (image.height - lay[0])[where] / lay[2][where]
        light = (image.light - lay[1])[where] / lay[3][where]
        return float(np.minimum(height**2, WORST).mean() + np.minimum(light**2, WORST).mean())

    def _refine(self, own, angle):
        """ECC's warp [2, 3] from the reference's cells to the part's, started at a turn; None if it does not converge."""
        warp = _rotation(angle, len(own)).astype(np.float32)
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, PRECISION)
        try:
            return cv2.findTransformECC(self._target, own, warp, cv2.MOTION_EUCLIDEAN, criteria, None, 5)[1]
        except cv2.error:
            return None


def _composite(image, noise):
    """[R, R] float32 in which poses are found: heights, light and outline, each in units of how much it tells."""
    relief = float(np.percentile(image.height[image.part > 0.5], 95)) if (image.part > 0.5).any() else 1.0
    height = np.clip(image.height / max(relief, 5 * float(np.median(noise.height))), -0.5, 1.5)
    return (height + 0.5 * image.part + 0.25 * np.clip(image.light, -2, 2) * image.part).astype(np.float32)


def _standard(image):
    values = cv2.GaussianBlur(image, (0, 0), 1.0).ravel()
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-9)


def _rotation(angle, size):
    """[2, 3]: turns cells about the middle of an image."""
    c, s, middle = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), (size - 1) / 2
    return np.array([[c, -s, middle - c * middle + s * middle], [s, c, middle - s * middle - c * middle]])


def _turned(image, angle):
    """What a part turned by ``angle`` looks like: the cell p of the reference is found at rotation(angle) p."""
    flags = cv2.INTER_LINEAR  # warpAffine inverts the matrix itself
    return cv2.warpAffine(
        image, _rotation(angle, len(image)), image.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


def _peaks(angles, likeness):
    """The turns of the largest maxima that are LIKELY, at most CANDIDATES, each APART from the others."""
    chosen = []
    for k in np.argsort(-likeness):
        if likeness[k] < likeness.max() - LIKELY:
            break
        if all(abs(_wrapped(angles[k] - other)) >= APART for other in chosen):
            chosen.append(float(angles[k]))
        if len(chosen) == CANDIDATES:
            break
    return chosen


def _angle(warp):
    return float(np.rad2deg(np.arctan2(warp[1, 0], warp[0, 0])))


def _wrapped(angle):
    return (angle + 180) % 360 - 180


def _composed(pose, warp, pitch, size):
    """The Pose in which the part lies as the reference does, from the pose it was laid at (not turned) and the warp."""
    middle = np.array([(size - 1) / 2, (size - 1) / 2])
    shift = (warp[:, :2] @ middle + warp[:, 2] - middle) * pitch
    return Pose(pose.x + float(shift[0]), pose.y + float(shift[1]), -_angle(warp))
