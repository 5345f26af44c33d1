"""The normal parts as a reference: collected from training parts, then every part is compared with it in place.

It behaves like one more set of memory banks: parts are added, the reference is finished, and a part gets one map per
kind of deviation, in normal spreads. A training part is compared with the other training parts alone.
"""

import cv2
import numpy as np

from part_frame.comparison import (
    MAPS,
    Appearance,
    Deviation,
    Nominal,
    Spread,
    Sums,
    compared,
    deviation,
    gained,
    in_spreads,
    nominal,
    nominal_of,
    rim,
    spread_of,
    squares_of,
    steepness,
)

MOST = 60  # training parts that are compared with each other; the mean of more is not known better by it
TOPK = 64  # cells that a map's own score averages, as in ``scoring.calibrated``


def packed(one):
    """[6, S, S] float32 of an Appearance, as a sample carries it."""
    return np.stack([one.height, *np.moveaxis(one.colour, 2, 0), one.seen, one.part]).astype(np.float32)


def unpacked(array):
    """The Appearance in a [6, S, S] array."""
    array = np.asarray(array, np.float32)
    return Appearance(array[0], np.moveaxis(array[1:4], 0, 2), array[4] > 0.5, array[5] > 0.5)


class PlaceReference:
    """Normal parts in their frame, and the comparison of a part with them.

    Args:
        points: cells between the sensor's points.
        cut_out: whether the parts were cut out of their pictures.

    Attributes:
        nominal, spread: Nominal and Spread of the training parts, once :meth:`finish` was called.
        ignored: [S, S] bool, places that are left out; None: none.
    """

    def __init__(self, points=1.0, cut_out=False):
        self._points, self._cut_out, self._steep, self._rim = max(points, 1.0), cut_out, 0.0, False
        self.nominal, self.spread, self.ignored = None, None, None
        self._parts, self._sums, self._squares, self._found, self._shifts = [], None, None, [], None

    @property
    def parts(self):
        """Number of training parts that were added."""
        return len(self._parts)

    def add(self, appearance):
        """Add a training part's Appearance."""
        self._parts.append(appearance)

    def kept(self, number):
        """The Appearance of the training part ``number``."""
        return self._parts[number]

    def finish(self):
        """Learn the reference from the parts that were added."""
        used = self._parts[:MOST]
        rough = nominal(used)
        used = [gained(one, rough) for one in used]
        self._parts[:MOST] = used
        self._sums = Sums.of(used)
        self.nominal = nominal_of(self._sums)
        self._squares, self._found, self._shifts = squares_of(used, self._sums)
        self._steep = steepness(self.nominal.height, self._points)
        self._rim = rim(self.nominal, self._points) if self._cut_out else False
        self.spread = spread_of(self._squares, compared(self.nominal), self._steep, self._rim)

    def deviation(self, appearance, excluding=None):
        """The signed Deviation of a part; ``excluding``: number of a training part that is left out of it."""
        normal = self.nominal
        if excluding is not None and self._sums is not None and excluding < MOST and self._sums.parts > 1:
            normal = nominal_of(self._sums.without(self._parts[excluding]))
        return deviation(gained(appearance, normal), normal, self.spread.hue)

    def maps(self, appearance, excluding=None):
        """({map: float}, {map: [S, S] float32}): a part's score and map of each kind, in normal spreads.

        ``excluding``: number of a training part, which is compared with the others, in the others' spread.
        """
        if excluding is not None and self._sums is None:
            raise ValueError("the single training parts are not kept: none of them can be left out")
        if excluding is not None and excluding < len(self._found) > 2:
            own = self._found[excluding]
            squares = self._squares.without(own, self._shifts[excluding])
            spread = spread_of(squares, compared(self.nominal), self._steep, self._rim)
            found = in_spreads(own, spread)
        else:
            found = in_spreads(self.deviation(appearance, excluding), self.spread)
        if self.ignored is not None:
            found = {name: np.where(self.ignored, np.float32(0), values) for name, values in found.items()}
        return {name: float(np.mean(np.partition(of.ravel(), -TOPK)[-TOPK:])) for name, of in found.items()}, found

    def ignore(self, mask):
        """Leave the places of a mask [H, W] (bool, in the part's frame, any size) out of every map; returns their share
        of the places that are compared."""
        size = self.nominal.height.shape[::-1]
        self.ignored = cv2.resize(np.asarray(mask, np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return float(self.ignored[compared(self.nominal)].mean())

    @property
    def compared(self):
        """[S, S] bool: places that are compared."""
        where = compared(self.nominal)
        return where if self.ignored is None else where & ~self.ignored

    @property
    def steep(self):
        """[2, S, S]: by how much a place's height (mm) and brightness (logarithm) differ by chance, at a fit."""
        return np.stack([steepness(of, self._points) for of in (self.nominal.height, self.nominal.colour[..., 0])])

    # ------------------------------------------------------------ as arrays

    def state(self):
        """{name: array} of the finished reference."""
        out = {f"nominal.{name}": getattr(self.nominal, name) for name in Nominal._fields if name != "parts"}
        out["nominal.parts"] = np.array(self.nominal.parts)
        out.update({f"spread.{name}": getattr(self.spread, name) for name in Spread._fields})
        if self.ignored is not None:
            out["ignored"] = self.ignored.astype(np.uint8)
        return out

    @classmethod
    def restored(cls, arrays):
        """The reference of its :meth:`state`.

        Raises:
            KeyError: an array is missing.
        """
        out = cls()
        known = {name: np.array(array) for name, array in arrays.items()}
        out.nominal = Nominal(
            *(known[f"nominal.{name}"] for name in Nominal._fields if name != "parts"), int(known["nominal.parts"])
        )
        out.spread = Spread(*(known[f"spread.{name}"] for name in Spread._fields))
        out.ignored = known["ignored"] > 0 if "ignored" in known else None
        return out


__all__ = ["MAPS", "Deviation", "PlaceReference", "packed", "unpacked"]
