"""The normal parts as a reference: collected from training parts, then every part is compared with it in place.

It behaves like one more set of memory banks: parts are added, the reference is finished, and a part gets one map per
kind of deviation, in normal spreads. A training part is compared with the other training parts alone.
"""

import cv2
import numpy as np

from part_frame import comparison, lamp
from part_frame.comparison import MAPS, Appearance, Deviation, Nominal, Spread, Sums
from part_frame.lamp import Lamp, Lighting

MOST = 60  # training parts that are compared with each other; the mean of more is not known better by it
TOPK = 64  # cells that a map's own score averages, as in ``scoring.calibrated``


def packed(one):
    """[7, S, S] float32 of an Appearance, as a sample carries it."""
    turn = np.full(one.height.shape, np.nan if one.turn is None else one.turn)
    return np.stack([one.height, *np.moveaxis(one.colour, 2, 0), one.seen, one.part, turn]).astype(np.float32)


def unpacked(array):
    """The Appearance in a [7, S, S] array."""
    array = np.asarray(array, np.float32)
    turn = float(array[6, 0, 0])
    turn = None if np.isnan(turn) else turn
    return Appearance(array[0], np.moveaxis(array[1:4], 0, 2), array[4] > 0.5, array[5] > 0.5, turn)


class PlaceReference:
    """Normal parts in their frame, and the comparison of a part with them.

    Args:
        points: cells between the sensor's points.
        cut_out: whether the parts were cut out of their pictures.
        pitch: mm per cell.

    Attributes:
        nominal, spread: Nominal and Spread of the training parts, once :meth:`finish` was called.
        lighting: Lighting of parts that turn under a lamp; None where they show none.
        ignored: [S, S] bool, places that are left out; None: none.
    """

    def __init__(self, points=1.0, cut_out=False, pitch=1.0):
        self._points, self._cut_out, self._pitch = max(points, 1.0), cut_out, pitch
        self._steep, self._rim = 0.0, False
        self.nominal, self.spread, self.lighting, self.ignored = None, None, None, None
        self._parts, self._sums, self._squares, self._found, self._shifts = [], None, None, [], None
        self._shades = []

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
        rough = Sums.of(used).nominal()
        used = [comparison.gained(one, rough) for one in used]
        self.lighting = self._lighting_of(used, rough)
        self._shades = [self._shade_of(one, rough) for one in used]
        self._parts[:MOST] = used = [comparison.without_shade(*of) for of in zip(used, self._shades)]
        self._sums = Sums.of(used)
        self.nominal = self._sums.nominal()
        self._squares, self._found, self._shifts = comparison.squares_of(used, self._sums)
        self._steep = comparison.steepness(self.nominal.height, self._points)
        self._rim = comparison.rim(self.nominal, self._points) if self._cut_out else False
        self.spread = self._spread_of(self._squares)

    def _lighting_of(self, parts, rough):
        if any(one.turn is None for one in parts):
            return None
        light = [np.where(one.seen, one.colour[..., 0] - rough.colour[..., 0], 0) for one in parts]
        where = comparison.compared(rough)
        return lamp.learn(rough.height, self._pitch, where, light, [one.turn for one in parts])

    def _shade_of(self, one, normal):
        """[S, S] of an Appearance, a logarithm; 0 where no lamp is known."""
        if self.lighting is None or one.turn is None:
            return np.float32(0)
        return self.lighting.shade(one.colour[..., 0] - normal.colour[..., 0], one.turn)

    def _spread_of(self, squares):
        return comparison.spread_of(squares, comparison.compared(self.nominal), self._steep, self._rim)

    def deviation(self, appearance, excluding=None):
        """The signed Deviation of a part; ``excluding``: number of a training part that is left out of it."""
        return self._compared(appearance, excluding)[0]

    def _compared(self, appearance, excluding):
        """(Deviation, shade [S, S]) of a part."""
        normal = self.nominal
        if excluding is not None and self._sums is not None and excluding < MOST and self._sums.parts > 1:
            normal = self._sums.without(self._parts[excluding]).nominal()
        shade = self._shade_of(appearance, normal)
        own = comparison.without_shade(appearance, shade)
        return comparison.deviation(own, normal, self.spread.hue), shade

    def maps(self, appearance, excluding=None):
        """({map: float}, {map: [S, S] float32}): a part's score and map of each kind, in normal spreads.

        ``excluding``: number of a training part, which is compared with the others, in the others' spread.
        """
        if excluding is not None and self._sums is None:
            raise ValueError("the single training parts are not kept: none of them can be left out")
        if excluding is not None and excluding < len(self._found) > 2:
            of, shade = self._found[excluding], self._shades[excluding]
            spread = self._spread_of(self._squares.without(of, self._shifts[excluding]))
        else:
            of, shade = self._compared(appearance, excluding)
            factor = comparison.brighter(appearance, self.nominal)
            spread = comparison.widened(self.spread, of, self.nominal, factor)
        spread = comparison.shaded(spread, shade)
        found = comparison.in_spreads(of, spread)
        if self.ignored is not None:
            found = {name: np.where(self.ignored, np.float32(0), values) for name, values in found.items()}
        # sorted: most places of a map are 0, and np.partition takes twenty times as long among equal values
        return {name: float(np.mean(np.sort(of, axis=None)[-TOPK:])) for name, of in found.items()}, found

    def ignore(self, mask):
        """Leave the places of a mask [H, W] (bool, in the part's frame, any size) out of every map; returns their share
        of the places that are compared."""
        size = self.nominal.height.shape[::-1]
        self.ignored = cv2.resize(np.asarray(mask, np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return float(self.ignored[comparison.compared(self.nominal)].mean())

    @property
    def compared(self):
        """[S, S] bool: places that are compared."""
        where = comparison.compared(self.nominal)
        return where if self.ignored is None else where & ~self.ignored

    @property
    def steep(self):
        """[2, S, S]: by how much a place's height (mm) and brightness (logarithm) differ by chance, at a fit."""
        of = self.nominal.height, self.nominal.colour[..., 0]
        return np.stack([comparison.steepness(values, self._points) for values in of])

    # ------------------------------------------------------------ as arrays

    def state(self):
        """{name: array} of the finished reference."""
        out = {f"nominal.{name}": np.asarray(array) for name, array in self.nominal._asdict().items()}
        out.update({f"spread.{name}": array for name, array in self.spread._asdict().items() if array is not None})
        if self.lighting is not None:
            out.update(lamp=np.array([*self.lighting.lamp, self._pitch]), shade=self.lighting.mean)
        return out if self.ignored is None else {**out, "ignored": self.ignored.astype(np.uint8)}

    @classmethod
    def restored(cls, arrays):
        """The reference of its :meth:`state`.
        Raises KeyError: an array is missing."""
        out = cls()
        nominal, out.spread = (
            kind(**{of: np.array(arrays[f"{name}.{of}"]) for of in kind._fields if _kept(kind, name, of, arrays)})
            for name, kind in (("nominal", Nominal), ("spread", Spread))
        )
        out.nominal = nominal._replace(parts=int(nominal.parts))
        if "lamp" in arrays:
            *facts, pitch = map(float, arrays["lamp"])
            shade, where = np.array(arrays["shade"]), comparison.compared(out.nominal)
            out.lighting = Lighting(out.nominal.height, pitch, where, Lamp(*facts), shade)
        out.ignored = np.array(arrays["ignored"]) > 0 if "ignored" in arrays else None
        return out


def _kept(kind, name, of, arrays):
    """Whether a field comes from the arrays; older ones lack those that have defaults."""
    return of not in kind._field_defaults or f"{name}.{of}" in arrays


__all__ = ["MAPS", "Deviation", "PlaceReference", "packed", "unpacked"]
