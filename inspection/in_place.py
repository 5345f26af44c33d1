"""What the comparison in place says about a region: by how many millimetres it differs, where on the part, and how much
good parts differ there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from part_frame.comparison import Appearance
from part_frame.reference import PlaceReference

CONNECTED = np.ones((3, 3), int)  # diagonal neighbours belong together, as in AU-PRO
HALF = 0.5  # of the region's largest deviation: places with at least this much make its value
DEEPEST = 90  # percent of the strong places that are no deeper than what is told
CLEAR = 4.0  # normal spreads that a place clearly differs by
ENOUGH = 0.2  # where this share of a region's places clearly differs in height, a region of colour tells it too
LIGHTER = 0.05  # logarithm: smaller differences of brightness are not named
MORE, LESS = ("redder", "greener", "bluer"), ("less red", "less green", "yellower")  # of red, green, blue
MUCH_LESS = 1.2  # times as much as another channel has more: what is lacking is named


class PlaceFacts(NamedTuple):
    """A region in the part's frame."""

    x_mm: float  # x_mm, y_mm: its middle from the frame's middle, x to the right and y upwards
    y_mm: float
    kind: str  # the map that is largest in it
    # above good parts, negative: lower; None where nothing was measured or, of a region that another map shows, where
    # it is usual
    height_mm: float | None
    usual_mm: float  # normal spread of the height there
    brightness: float  # brightness, hues: logarithms
    hues: tuple[float, float]
    surface: float  # share of the normal parts that have surface there


class InPlace:
    """A part's deviation from the normal parts of ``reference``, asked about regions; ``pitch``: mm per cell."""

    def __init__(self, reference: PlaceReference, appearance: Appearance, pitch: float) -> None:
        self._of, self._pitch, self._measured = reference.deviation(appearance), pitch, ~np.isnan(appearance.height)
        self.place_mm2 = pitch**2
        # [S, S] by how much the part is higher than good parts; NaN where nothing was measured
        self.height_mm = np.where(self._measured, self._of.height, np.nan).astype(np.float32)
        self._spread: Any = reference.spread
        self._nominal: Any = reference.nominal

    def facts(
        self, mask: NDArray[np.bool_], box: tuple[int, int, int, int], shares: Mapping[str, float]
    ) -> tuple[PlaceFacts, NDArray[np.bool_] | None]:
        """(PlaceFacts of a region, [S, S] bool). The latter are the places in and around it that differ at least half
        as much as it does at most, in height; in colour, if it is a region of colour. None if it is of neither.

        Args:
            mask: the region, bool in ``box`` (left, top, right, bottom).
            shares: {map: share} where the region differs most.
        """
        left, top, right, bottom = box
        window = np.s_[top:bottom, left:right]
        (rows, columns), middle = np.nonzero(mask), (len(self._measured) - 1) / 2
        kind = _kind(shares)
        local = "local_" if kind.startswith("local_") else ""
        height, colour = (getattr(self._of, f"{local}{name}")[window][mask] for name in ("height", "colour"))
        spread = getattr(self._spread, f"{local}height")[window][mask]
        known = self._measured[window][mask]
        strong = known & (np.abs(height) >= HALF * np.abs(height).max(initial=0)) & (height != 0)
        bright = np.abs(colour).sum(1) >= HALF * np.abs(colour).sum(1).max(initial=0)
        if not kind.endswith("height") and np.mean(known & (np.abs(height) > CLEAR * spread)) < ENOUGH:
            strong = np.zeros_like(strong)
        deepest = places = None
        if strong.any():  # what a gauge would read: nearly the largest, with the sign that most places have
            of = height[strong]
            deepest = float(np.sign(np.median(of)) * np.percentile(np.abs(of), DEEPEST))
        if kind.endswith("colour"):
            differs = np.abs(getattr(self._of, f"{local}colour")).sum(2)
            places = _touched(differs >= HALF * np.percentile(differs[window][mask], DEEPEST), mask, window)
        elif kind.endswith("height") and deepest is not None:
            differs = getattr(self._of, f"{local}height") * np.sign(deepest)
            places = _touched(differs >= HALF * abs(deepest), mask, window)
        brightness = self._of.brightness[window][mask] if kind == "brightness" else colour[bright][:, 0]
        facts = PlaceFacts(
            float((left + columns.mean() - middle) * self._pitch),
            float((middle - top - rows.mean()) * self._pitch),
            kind,
            deepest,
            float(np.median(spread[strong])) if strong.any() else float(np.median(spread)),
            float(np.median(brightness)),
            (float(np.median(colour[bright][:, 1])), float(np.median(colour[bright][:, 2]))),
            float(np.median(self._nominal.valid[window][mask])),
        )
        return facts, places


def _kind(shares: Mapping[str, float]) -> str:
    """The map that is largest; height and local height, colour and local colour speak together."""
    together = {name: sum(shares.get(of, 0.0) for of in (name, f"local_{name}")) for name in ("height", "colour")}
    others = {name: share for name, share in shares.items() if name.removeprefix("local_") not in together}
    largest = max({**others, **together}.items(), key=lambda of: of[1])[0]
    return max((name for name in shares if name.removeprefix("local_") == largest), key=shares.__getitem__)


def _touched(differs: NDArray[np.bool_], mask: NDArray[np.bool_], window: tuple[slice, slice]) -> NDArray[np.bool_]:
    """The pieces of ``differs`` [S, S] that a region touches."""
    from scipy import ndimage

    labels, _ = ndimage.label(differs, CONNECTED)
    touched = np.unique(labels[window][mask])
    return np.isin(labels, touched[touched > 0])


def place_text(facts: PlaceFacts, area_mm2: float | None, names: Mapping[str, str]) -> str:
    """A region in words, as a person at the line reads it; ``names``: {bank: its name in words}."""
    where = f"over {area_mm2:.2g} mm²" if area_mm2 is not None and area_mm2 < 10 else f"over {area_mm2 or 0:.0f} mm²"
    where += f" at x {facts.x_mm:.1f}, y {facts.y_mm:.1f} mm of the part"
    usual = f"{where} (good parts there: ±{facts.usual_mm:.2g} mm)"
    if facts.kind in ("height", "local_height") and facts.height_mm is not None:
        around = ", measured from the surface around it," if facts.kind == "local_height" else ""
        return f"{_height(facts.height_mm)} than good parts{around} {usual}"
    if facts.kind in ("colour", "local_colour"):
        if facts.height_mm is not None:
            return f"{_height(facts.height_mm)} and {_colour(facts)} {usual}"
        return f"{_colour(facts)} {where}"
    if facts.kind == "brightness":
        return f"{_colour(facts)} in the same light {where}"
    if facts.kind == "missing":
        return f"no surface {where}, where good parts have one"
    if facts.kind == "extra":
        return f"surface {where}, where good parts have none"
    text = f"unlike good parts in {names.get(facts.kind, facts.kind)} {where}"
    return text if facts.height_mm is None else f"{text}, {_height(facts.height_mm)} than these"


def _height(mm: float) -> str:
    return f"{abs(mm):.2g} mm {'higher' if mm > 0 else 'lower'}"


def _colour(facts: PlaceFacts) -> str:
    words = []
    if abs(facts.brightness) > LIGHTER:
        share = 100 * abs(np.expm1(facts.brightness))
        words.append(f"{share:.0f} % {'brighter' if facts.brightness > 0 else 'darker'} than good parts")
    if max(map(abs, facts.hues)) > max(LIGHTER, 0.3 * abs(facts.brightness)):
        channels = np.array([facts.hues[0], 0, facts.hues[1]])
        channels -= channels.mean()
        lacking = -channels.min() > MUCH_LESS * channels.max()
        words.append(LESS[channels.argmin()] if lacking else MORE[channels.argmax()])
    return " and ".join(words) or "another colour than good parts"
