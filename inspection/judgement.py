"""The result of judging one part, as values and in words: verdict, explanation and abnormal regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspection.in_place import place_text
from inspection.regions import Region
from inspection.verdict import FAIL, Decision
from part_frame.comparison import MAPS
from scoring.scorings import Shares

NAMES = {"xyz": "3D", "rgb": "RGB", "fusion": "fusion"}
NAMES.update({name: name.replace("_", " ") for name in MAPS})


class Explanation(NamedTuple):
    """Why the part has its score: of ``calibrated`` {map: share}, which sum to it, of others {}; and a sentence."""

    shares: Shares
    text: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """An Inspector's result for one part; arrays are read-only."""

    verdict: str  # "pass", "fail" or "cannot judge"
    p_value: float | None  # (1 + calibration parts that score at least as high) / (1 + all of them); None: not judged
    score: float | None
    threshold: float  # the part fails if its score is above it
    map: NDArray[Any] | None  # [S, S] float; larger = more anomalous; None if the part cannot be judged
    pixel_threshold: float  # regions are where the map is above it
    regions: tuple[Region, ...]  # the one that exceeds it most first
    explanation: Explanation
    reason: str = ""  # why the part cannot be judged
    scores: Mapping[str, float] = field(default_factory=dict)  # {scoring: score} of all scorings in the model
    seconds: Mapping[str, float] = field(default_factory=dict)  # {step: seconds}
    picture: NDArray[np.uint8] | None = None  # [224, 224, 3], of a part in a frame in its resolution; for display
    cloud: NDArray[Any] | None = None  # [S, S, 3] float32 metres, for display; None where none is read
    height_mm: NDArray[Any] | None = None  # [S, S] above good parts, NaN where not measured; None without a frame

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
        """A JSON-able dict of everything but map, picture, cloud, and the regions' masks and contours."""
        regions = [
            {
                **{name: value for name, value in r._asdict().items() if name not in ("mask", "contours")},
                "in_place": r.in_place and r.in_place._asdict(),
            }
            for r in self.regions
        ]
        plain = ("verdict", "p_value", "score", "threshold", "pixel_threshold", "reason")
        return {
            **{name: getattr(self, name) for name in plain},
            "scores": dict(self.scores),
            "shares": dict(self.explanation.shares),
            "explanation": self.explanation.text,
            "regions": regions,
            "seconds": dict(self.seconds),
        }


def explained(decision: Decision, shares: Shares, regions: Sequence[Region], doubt: str = "") -> Explanation:
    """The Explanation of a judged part, whose text leaves out shares of 0; ``doubt`` ends it."""
    told = sorted(((name, share) for name, share in shares.items() if share), key=lambda of: -of[1])
    parts = ", ".join(f"{NAMES[name]} {share:.4g}" for name, share in told)
    text = f"score {decision.score:.4g} {'above' if decision.verdict == FAIL else 'not above'} {decision.threshold:.4g}"
    text += f": {parts}" if parts else ""
    if regions and regions[0].in_place is not None:
        more = f"; {len(regions) - 1} more region{'s' * (len(regions) > 2)}" if len(regions) > 1 else ""
        text = f"{region_text(regions[0])}{more}; {text}"
    elif regions:
        text += f"; {len(regions)} region{'s' * (len(regions) > 1)}, the first: {region_text(regions[0])}"
    return Explanation(shares, f"{text}; {doubt}" if doubt else text)


def region_text(region: Region) -> str:
    """A region in words."""
    if region.in_place is not None:
        return place_text(region.in_place, region.area_mm2, {name: f"{NAMES[name]} features" for name in NAMES})
    text = f"{region.pixels} pixels at row {region.place[0]}, column {region.place[1]}"
    if region.area_mm2 is not None:
        text += f", {region.area_mm2:.3g} mm²"
    return text
