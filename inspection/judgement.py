"""The result of judging one part: verdict, explanation and abnormal regions, as values. Nothing here runs a network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspection.in_place import InPlace, PlaceFacts, place_text
from inspection.regions import MM, Region, find_regions
from inspection.verdict import CANNOT_JUDGE, FAIL, Decision
from part_frame.comparison import MAPS
from scoring.scorings import DISAGREEMENT, Shares, Terms, region_shares

NAMES = {"xyz": "3D", "rgb": "RGB", "fusion": "fusion", DISAGREEMENT: "disagreement"}
NAMES.update({name: name.replace("_", " ") for name in MAPS})


class Match(NamedTuple):
    """The normal patch in a bank that is nearest to a place on the part."""

    bank: str
    part: int  # number of the training part; -1: the bank's background row
    name: str  # rgb path of the training part; "" for background
    place: tuple[int, int] | None  # (row, column) of the patch's middle, in the map's pixels; None for background


class InspectedRegion(NamedTuple):
    """A region where the map is above the pixel threshold; the first eight fields are as in ``regions.Region``."""

    pixels: int
    area_mm2: float | None
    peak: float
    place: tuple[int, int]
    box: tuple[int, int, int, int]
    contours: tuple[NDArray[Any], ...]
    mask: NDArray[np.bool_]
    unmeasured: int | None
    depth_mm: float | None  # median of the depth minus the nearest normal patches' depth; above 0: farther away
    shares: Shares  # {"xyz", "rgb", "fusion", "disagreement": share}; they add up to the region's mean map value
    nearest: Match | None  # nearest normal patch at the peak, in the bank with the largest share; None without banks
    in_place: PlaceFacts | None = None  # what the comparison in place says; None without a frame


class Explanation(NamedTuple):
    """Why the part has its score: shares {"xyz", "rgb", "fusion", "disagreement"} that sum to it, and a sentence."""

    shares: Shares
    text: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """An Inspector's result for one part.

    Attributes:
        verdict: "pass", "fail" or "cannot judge".
        p_value: share of normal parts with a score at least as high, from the calibration parts; None if the part
            cannot be judged.
        score, threshold: the part fails if its score is above the threshold.
        map: [S, S] float, read-only; larger = more anomalous; None if the part cannot be judged.
        pixel_threshold: regions are where the map is above it.
        regions: tuple of InspectedRegion, highest peak first.
        explanation: Explanation.
        reason: why the part cannot be judged; "" if it can.
        scores: {scoring: score} of all scorings in the model.
        seconds: {step: seconds}.
        height_mm: [S, S] by how much the part is higher than good parts, NaN where not measured; None without a frame.
        picture, cloud: the networks' input for display: image [224, 224, 3] uint8, points [S, S, 3] float32 metres;
            cloud is None where none is read.
    """

    verdict: str
    p_value: float | None
    score: float | None
    threshold: float
    map: NDArray[Any] | None
    pixel_threshold: float
    regions: tuple[InspectedRegion, ...]
    explanation: Explanation
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None
    cloud: NDArray[Any] | None = None
    height_mm: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("map", "picture", "cloud", "height_mm"):
            array = getattr(self, name)
            if array is not None:
                array = array.view()
                array.setflags(write=False)
                object.__setattr__(self, name, array)
        for name in ("scores", "seconds"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def as_json(self) -> dict[str, Any]:
        """A JSON-able dict of everything but map, picture and cloud; contours are rounded to 0.01 pixels."""
        regions = [
            {
                **{name: value for name, value in r._asdict().items() if name != "mask"},
                "contours": [np.round(line, 2).tolist() for line in r.contours],
                "nearest": r.nearest and r.nearest._asdict(),
                "in_place": r.in_place and r.in_place._asdict(),
            }
            for r in self.regions
        ]
        return {
            "verdict": self.verdict,
            "p_value": self.p_value,
            "score": self.score,
            "threshold": self.threshold,
            "pixel_threshold": self.pixel_threshold,
            "reason": self.reason,
            "scores": dict(self.scores),
            "shares": dict(self.explanation.shares),
            "explanation": self.explanation.text,
            "regions": regions,
            "seconds": dict(self.seconds),
        }


def inspect_regions(
    pixels: NDArray[Any],
    threshold: float,
    cloud: NDArray[Any] | None,
    terms: Terms,
    matches: "Matches",
    in_place: InPlace | None = None,
) -> tuple[InspectedRegion, ...]:
    """The regions of a map, a tuple of InspectedRegion.

    Args:
        pixels: [S, S] map.
        threshold: pixel threshold.
        cloud: [S, S, 3] metres, 0 where nothing was measured; None: none is read.
        terms: {term: [S, S]}, which add up to the map.
        matches: Matches.
        in_place: InPlace of a part in a frame.
    """
    found = []
    for region in find_regions(pixels, threshold, cloud):
        shares = region_shares(terms, region.mask, region.box)
        banks = [name for name in shares if name != DISAGREEMENT and name not in MAPS]
        bank = max(banks, key=shares.__getitem__, default=None)
        match, deeper = (matches.at(bank, region.place) if bank else None), None
        facts = None if in_place is None else in_place.facts(region.mask, region.box, shares)
        if facts is None and bank and cloud is not None:
            deeper = _deeper(region, cloud[..., 2], matches.depth(bank))
        found.append(InspectedRegion(*region, deeper, shares, match, facts))
    return tuple(found)


def _deeper(region: Region, depth: NDArray[Any], expected: NDArray[Any]) -> float | None:
    """Median difference in mm over the region of two depths [S, S] in metres; None if one of them is unknown."""
    left, top, right, bottom = region.box
    depth, expected = (of[top:bottom, left:right][region.mask] for of in (depth, expected))
    both = (depth != 0) & (expected != 0) & np.isfinite(depth)
    return float(np.median(depth[both] - expected[both]) * MM) if both.any() else None


class Matches:
    """The nearest normal patch of each place on a part.

    Args:
        nearest: {bank: [P] int64}, each patch's nearest row of the bank; patches row-major on a square grid.
        banks: {bank: (part [R], place [R])}, the training part of each row and the patch's position in it; -1 for a
            row that comes from no part.
        names: the training parts' names.
        depths: [t, 56, 56] depths of the training parts in metres, 0 where nothing was measured.
        size: side of the map in pixels.
    """

    def __init__(
        self,
        nearest: Mapping[str, NDArray[np.int64]],
        banks: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
        names: Sequence[str],
        depths: NDArray[Any],
        size: int,
    ) -> None:
        self._rows, self._banks, self._names, self._depths, self._size = nearest, banks, names, depths, size

    def at(self, bank: str, place: tuple[int, int]) -> Match:
        """The Match of the map's pixel ``place``, (row, column)."""
        side = self._side(bank)
        row, column = (min(int(p) * side // self._size, side - 1) for p in place)
        part, patch = (int(of[self._rows[bank][row * side + column]]) for of in self._banks[bank])
        if part < 0:
            return Match(bank, -1, "", None)
        row, column = (round((p + 0.5) * self._size / side - 0.5) for p in divmod(patch, side))
        return Match(bank, part, self._names[part], (row, column))

    def depth(self, bank: str) -> NDArray[Any]:
        """[S, S] metres: the depth of each pixel's nearest normal patch, 0 where it is not known."""
        side, grid = self._side(bank), self._depths.shape[1]
        part, patch = (of[self._rows[bank]] for of in self._banks[bank])
        known = (part >= 0) & (patch >= 0)
        row, column = (np.where(known, p, 0) for p in np.divmod(patch, side))
        step = grid // side
        cells = [
            self._depths[np.where(known, part, 0), row * step + i, column * step + j]
            for i in range(step)
            for j in range(step)
        ]
        depths = np.stack(cells)
        count = (depths != 0).sum(axis=0)
        mean = np.where(known & (count > 0), depths.sum(axis=0) / np.maximum(count, 1), 0).reshape(side, side)
        index = np.arange(self._size) * side // self._size
        there: NDArray[Any] = mean[index[:, None], index]
        return there

    def _side(self, bank: str) -> int:
        return math.isqrt(len(self._rows[bank]))


def explained(
    verdict: str, decision: Decision, shares: Shares, regions: Sequence[InspectedRegion], doubt: str = ""
) -> Explanation:
    """The Explanation of a judged part, whose text leaves out shares of 0; ``doubt``: a sentence or ""."""
    told = sorted(((name, share) for name, share in shares.items() if share), key=lambda of: -of[1])
    parts = ", ".join(f"{NAMES[name]} {share:.4g}" for name, share in told)
    text = f"score {decision.score:.4g} {'above' if verdict == FAIL else 'not above'} {decision.threshold:.4g}"
    text += f": {parts}" if parts else ""
    if regions and regions[0].in_place is not None:
        more = f"; {len(regions) - 1} more region{'s' * (len(regions) > 2)}" if len(regions) > 1 else ""
        text = f"{region_text(regions[0])}{more}; {text}"
    elif regions:
        text += f"; {len(regions)} region{'s' * (len(regions) > 1)}, the first: {region_text(regions[0])}"
    return Explanation(shares, f"{text}; {doubt}" if doubt else text)


def region_text(region: InspectedRegion) -> str:
    """A region in words."""
    if region.in_place is not None:
        return place_text(region.in_place, region.area_mm2, {name: f"{NAMES[name]} features" for name in NAMES})
    text = f"{region.pixels} pixels at row {region.place[0]}, column {region.place[1]}"
    if region.area_mm2 is not None:
        text += f", {region.area_mm2:.3g} mm²"
    if region.depth_mm is not None:
        text += f", {abs(region.depth_mm):.2g} mm {'farther' if region.depth_mm >= 0 else 'nearer'} than"
    text += "" if region.depth_mm is not None else ";"
    match = region.nearest
    if match is None or match.place is None:
        return f"{text} the nearest normal patch: background"
    return f"{text} the nearest normal patch: {match.name} at row {match.place[0]}, column {match.place[1]}"


def cannot_judge(
    threshold: float,
    pixel_threshold: float,
    reason: str,
    seconds: Mapping[str, float],
    picture: NDArray[np.uint8] | None = None,
    cloud: NDArray[Any] | None = None,
) -> Judgement:
    """The Judgement of a part that cannot be judged."""
    why = Explanation({}, reason)
    known = CANNOT_JUDGE, None, None, threshold, None, pixel_threshold, (), why, reason
    return Judgement(*known, seconds=seconds, picture=picture, cloud=cloud)
