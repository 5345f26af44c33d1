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
LIKELY = 0.3  # a turn is refined if its likeness is at least this share of the best one's
APART = 6.0  # degrees: two results closer than this are one pose
ITERATIONS, PRECISION = 40, 1e-5  # of ECC
LEAST = 0.003  # a mean squared difference below this is as good as none
WORST = 25.0  # a cell's squared difference counts at most so much: a defect must not choose the pose
DISTURBED, REFINEMENTS = 0.01, 3  # share of cells beyond WORST from which the pose is refined without them, so often
SHADING = 8.0  # cells: brightness that changes more slowly than this is light, which turns with the part's pose
SETTLINGS, SETTLED = 8, 1e-3  # steps from ECC's warp to the settled one at most, with each loss; change that ends them
TENTATIVE = 0.2  # cells: by which the settling looks what changes
BLUR = 1.2  # cells: images are smoothed by this before they are compared
UNSURE = 1.0  # cells: places where the reference changes are known no better than a shift by so much leaves
STEEP = 0.8  # logarithm: by how much a surface of slope 1 or more can change its brightness as the part turns
INVERSE = cv2.WARP_INVERSE_MAP  # cells of the result are looked up at the warp; else warpAffine inverts it itself
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
    """``warp`` [2, 3]: from the reference's cells to the part's; ``pose``; ``cost``: see
    :meth:`Registration.cost`; ``second``: the least cost of another turn, infinity if there is none; ``turn``: degrees
    between the two."""

    warp: np.ndarray
    pose: Pose
    cost: float
    second: float
    turn: float


def image_of(laid, picture):
    """The :class:`Image` of a Laid and its picture in the frame [P, P, 3]."""
    height = np.where(np.isnan(laid.height), 0, laid.height).astype(np.float32)
    known = (~np.isnan(laid.height)).astype(np.float32)
    raw = height * known, known, laid.part.astype(np.float32), cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    total, share, part, grey = (cv2.resize(of, (FINE, FINE), interpolation=cv2.INTER_AREA) for of in raw)
    height = np.where(share < 0.3, 0, total / np.maximum(share, 0.3)).astype(np.float32)
    light = np.log(grey.astype(np.float32) + DARK)
    weight = cv2.GaussianBlur(part, (0, 0), SHADING)
    around = cv2.GaussianBlur(light * part, (0, 0), SHADING) / np.maximum(weight, 1e-3)
    light = np.where(part > 0.2, light - around, 0).astype(np.float32)
    height = height - _tilt(height, part)
    return Image(*(cv2.GaussianBlur(a.astype(np.float32), (0, 0), BLUR) for a in (height, light)), part)


def _tilt(height, part):
    """[R, R]: the slope of the part against its table. It is not part of a pose, and a sensor's own slope, which stays
    while parts turn, must not speak for a turn. What is judged keeps it."""
    rows, columns = np.nonzero(part > 0.9)
    if len(rows) < 50:
        return np.zeros_like(height)
    values, middle = height[rows, columns], (len(height) - 1) / 2
    terms = np.stack([columns - middle, rows - middle, np.ones(len(rows))], 1)
    near = np.abs(values - np.median(values)) < max(1.5 * float(np.std(values)), 1e-3)
    slope = np.linalg.lstsq(terms[near], values[near], rcond=None)[0] if near.sum() > 50 else np.zeros(3)
    row, column = np.mgrid[: len(height), : len(height)] - middle
    return (slope[0] * column + slope[1] * row) * (part > 0.3)


def warped(image, warp):
    """An Image seen in the reference's cells; ``warp`` as in :class:`Found`."""
    return Image(*(_moved(of, warp, INVERSE) for of in image))


def without(image, still):
    """An Image without ``still`` (an Image or None): what stays in the view while the parts turn is light, not part."""
    return image if still is None else Image(image.height - still.height, image.light - still.light, image.part)


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
        # what a part turned by an angle looks like: the cell p of the reference is found at rotation(angle) p
        turned = np.stack([_standard(_moved(small, _rotation(angle, len(small)))) for angle in self.angles])
        self._turned = turned - turned.mean(0)  # what looks the same at every turn tells nothing
        self._target = _composite(reference, noise)
        domain = (reference.part > 0.5).astype(np.float32)
        wide = [np.hypot(n, UNSURE * _change(a)).astype(np.float32) for n, a in zip(noise, reference)]
        slope = np.minimum(cv2.dilate(_change(reference.height) / pitch, np.ones((5, 5), np.uint8)), 1)
        wide[1] = np.hypot(wide[1], STEEP * slope)
        # what light shows on a slope is the lamp's side, which would draw a part that turns aside
        exact = noise.height, np.hypot(noise.light, STEEP * slope)
        self._noise = [np.ascontiguousarray(np.broadcast_to(n, reference.part.shape), np.float32) for n in exact]
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
            found.append((self.cost(image, warp), warp))
        found.sort(key=lambda entry: entry[0])
        warp = self._settled(image, self._undisturbed(image, own, *found[0])[1])
        cost = self.cost(image, warp)
        turn = _angle(warp)
        others = [(c, abs((_angle(w) - turn + 180) % 360 - 180)) for c, w in found[1:]]
        others = [(c, by) for c, by in others if by > APART]
        second, by = min(others, default=(np.inf, 0.0))
        return Found(warp, _composed(pose, warp, self.pitch, len(own)), cost, second, by)

    def cost(self, image, warp):
        """Sum over height and light of the logarithm of the mean squared difference, in noise widths.

        Logarithms are added, so what counts is by which factor a pose fits better, in height and in light alike.
        Example: a wrong turn may fit the outline 10 % better; the right one has the print in its place, which fits ten
        times better, and wins.

        The reference is laid onto the image, not the other way round: so two poses are told apart by the cells in which
        the reference differs between them, and the image's noise in all other cells counts the same for both.
        """
        squares, where = self._squares(image, warp)
        if not where.any():
            return np.inf
        return float(sum(np.log(LEAST + np.minimum(of[where], WORST).mean()) for of in squares))

    def _squares(self, image, warp):
        """([squared differences in noise widths of height, of light], [R, R] bool the reference's domain)."""
        lay = [_moved(of, warp) for of in self._laid]
        return [((image[k] - lay[k]) / lay[k + 2]) ** 2 for k in (0, 1)], lay[4] > 0.5

    def _undisturbed(self, image, own, cost, warp):
        """(cost, warp) refined without the cells that differ most, if that fits better: a missing end would draw the
        whole part towards it."""
        first = warp
        for _ in range(REFINEMENTS):
            worst = np.max(self._squares(image, first)[0], 0) > WORST
            if worst.mean() < DISTURBED:
                break
            first = self._refine(own, _angle(first), cv2.dilate(worst.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        again = self.cost(image, first)
        return (again, first) if again < cost else (cost, warp)

    def _settled(self, image, warp):
        """A better warp, near the given one: the one at which heights and light differ least, in noise widths.

        Cells that differ much count little here. To ECC all cells count alike, so the side of a deep hole that the
        sensor does not see draws the part aside: connectors by 0.3 mm, and still by 0.2 mm with these cells masked.
        """
        from scipy.optimize import least_squares  # 0.4 s, which readers of saved models need not spend

        inside = cv2.dilate(_moved(self._laid[4], warp), np.ones((5, 5), np.uint8)) > 0.5
        own = [of[inside] for of in image[:2]]

        def moved(step):
            turned = _after(_rotation(np.rad2deg(step[2]), len(inside)), warp)
            turned[:, 2] += step[:2]
            return turned

        def left(step):
            to = moved(step)
            lay = [_moved(of, to)[inside] for of in (*self.reference[:2], *self._noise)]
            return np.concatenate([(of - lay[k]) / lay[k + 2] for k, of in enumerate(own)])

        def change(step):
            here = left(step)
            return np.stack([(left(step + by) - here) / by.sum() for by in steps], 1)

        step, scale = np.zeros(3), np.array([1, 1, 2 / len(inside)])  # a turn that moves the frame's edge by a cell
        steps = np.diag(TENTATIVE * scale)
        for loss in ("huber", "cauchy"):
            step = least_squares(left, step, change, loss=loss, x_scale=scale, max_nfev=SETTLINGS, xtol=SETTLED).x
        return moved(step)

    def _refine(self, own, angle, trusted=None):
        """ECC's warp [2, 3] from the reference's cells to the part's, started at a turn; that turn if it finds none.
        ``trusted`` [R, R] bool: the part's cells that count; None: all.

        The part is turned first, since OpenCV's ECC takes the angle from its sine and so loses turns above 90°.
        """
        turn = _rotation(angle, len(own))
        turned = _moved(own, turn, INVERSE)
        mask = None if trusted is None else _moved(trusted.astype(np.uint8), turn, INVERSE, cv2.BORDER_CONSTANT)
        criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, PRECISION)
        start = np.eye(2, 3, dtype=np.float32)
        try:
            warp = cv2.findTransformECC(self._target, turned, start, cv2.MOTION_EUCLIDEAN, criteria, mask, 5)[1]
        except cv2.error:
            return turn
        return _after(turn, warp)


def _composite(image, noise):
    """[R, R] float32 in which poses are found: heights, light and outline, each in units of how much it tells."""
    inside = np.abs(image.height[image.part > 0.5])
    relief = float(np.percentile(inside, 95)) if inside.size else 1.0
    height = np.clip(image.height / max(relief, 5 * float(np.median(noise.height))), -1.5, 1.5)
    return (height + 0.5 * image.part + 0.25 * np.clip(image.light, -2, 2) * image.part).astype(np.float32)


def _change(image):
    """[R, R]: by how much an image changes per cell."""
    return np.hypot(*_slopes(image))


def _slopes(image):
    """([R, R], [R, R]): change of an image per cell, along columns and along rows."""
    return [cv2.Sobel(image, cv2.CV_32F, *d, scale=1 / 8, borderType=cv2.BORDER_REPLICATE) for d in ((1, 0), (0, 1))]


def _standard(image):
    values = cv2.GaussianBlur(image, (0, 0), 1.0).ravel()
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-9)


def _rotation(angle, size):
    """[2, 3]: turns cells about the middle of an image."""
    c, s, middle = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), (size - 1) / 2
    return np.array([[c, -s, middle - c * middle + s * middle], [s, c, middle - s * middle - c * middle]])


def _after(second, first):
    """[2, 3]: the warp ``first``, then ``second``."""
    return np.hstack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]])


def _moved(image, warp, direction=0, border=cv2.BORDER_REPLICATE):
    """An image [R, R] moved by a warp [2, 3] of cells."""
    return cv2.warpAffine(image, warp, image.shape[::-1], flags=cv2.INTER_LINEAR | direction, borderMode=border)


def _peaks(angles, likeness):
    """The turns at local maxima that are LIKELY, the likeliest first, at most CANDIDATES."""
    free = len(angles) * STEP >= 360
    before, after = np.roll(likeness, 1), np.roll(likeness, -1)
    if not free:
        before[0] = after[-1] = -np.inf
    tops = np.flatnonzero((likeness >= before) & (likeness > after))
    tops = tops if len(tops) else np.array([int(np.argmax(likeness))])
    tops = tops[np.argsort(-likeness[tops])]
    level = likeness - likeness.mean()
    return [float(angles[k]) for k in tops if level[k] >= LIKELY * level.max()][:CANDIDATES]


def _angle(warp):
    return float(np.rad2deg(np.arctan2(warp[1, 0], warp[0, 0])))


def _composed(pose, warp, pitch, size):
    """The Pose in which the part lies as the reference does, from the pose it was laid at (not turned) and the warp."""
    middle = np.array([(size - 1) / 2, (size - 1) / 2])
    shift = (warp[:, :2] @ middle + warp[:, 2] - middle) * pitch
    return Pose(pose.x + float(shift[0]), pose.y + float(shift[1]), -_angle(warp))
