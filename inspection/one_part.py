"""Scores one part by a fitted method: prepares its scan, and computes every scoring that needs no test set. Calibration
parts go the same way, so their scores are comparable."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from common.clock import Clock
from common.errors import InputError
from data.organised_clouds import resize_organized_pc, valid_points
from data.scans import Scan
from dataset import IMAGENET_MEAN, IMAGENET_STD, MM, RGB_SIZE, placed_sample, sample_of
from feature_extractors.features import Features, Judged
from feature_extractors.settings import needed_backbones
from inspection import gate
from part_frame.framed import framed
from part_frame.light import Light
from part_frame.placement import CannotPlace, Placed, Placement
from scoring import evaluation
from scoring.scorings import needs_test_set
from scoring_addon import Parameters


class Prepared(NamedTuple):
    """A scan prepared for the networks and for display."""

    sample: tuple[Any, ...]  # tensors, as a loader gives them
    picture: NDArray[np.uint8] | None  # [224, 224, 3]; of a part in a frame in its resolution; None: it was not read
    cloud: NDArray[np.float32] | None  # [S, S, 3] float32 metres; S is the map's side; None: no cloud is read
    problem: str  # why the scan cannot be judged; "" if it can
    placed: Placed | None = None  # the part in its frame, if there is one


class Result(NamedTuple):
    """A fitted method's result for one part."""

    judged: Judged
    measured: evaluation.Evaluation  # of this part alone
    scored: dict[str, tuple[float, NDArray[Any]]]  # {scoring: (score, map [S, S])}

    def values(self) -> dict[str, tuple[float, float]]:
        """{scoring: (score, largest value of the map)}, what calibrates."""
        return {name: (score, float(np.max(pixels))) for name, (score, pixels) in self.scored.items()}


class Preparation(NamedTuple):
    """Prepares scans for a method; works in any process. Calling it looks first whether the scan can be judged at all;
    :meth:`prepare` leaves that out."""

    networks_read_clouds: bool
    img_size: int  # sides in pixels of cloud, image and map
    rgb_size: int
    map_size: int
    zero_points: bool  # --fix zero_points
    placement: Placement | None
    clouds: bool  # whether scans have one
    light: Light | None  # light, size: what is usual, see ``gate.check``
    size: tuple[float, float] | None

    @classmethod
    def of(
        cls, method: Features, clouds: bool = True, light: Light | None = None, size: tuple[float, float] | None = None
    ) -> "Preparation":
        """That of a fitted method."""
        settings = method.settings
        sizes = settings.img_size, method.extractor.rgb_size, method.map_size
        reads = "xyz" in needed_backbones(tuple(method.bank_names))
        return cls(reads, *sizes, method.fixes.zero_points, method.placement, clouds, light, size)

    def __call__(self, scan: Scan, problem: str = "") -> Prepared:
        """The scan Prepared, after the gate; ``problem``: why it cannot be judged, if that is known already."""
        return self.prepare(scan, problem or gate.check(scan, self.clouds, self.light, self.size))

    def prepare(self, scan: Scan, problem: str = "", pose: Any = None) -> Prepared:
        """The scan Prepared; ``pose``: the part's Pose in the frame, if it is known."""
        placement, placed = self.placement, None
        if placement is not None and not problem:
            try:
                placed = placement.place(scan.rgb, scan.xyz * MM, pose)
            except CannotPlace as error:
                problem = str(error)
        if placed is not None:
            scan = Scan(*framed(placed, placement))
            sample = placed_sample(scan, placed.appearance, self.img_size, self.rgb_size)
        else:
            sample = sample_of(scan, self.img_size, self.rgb_size)
        if not problem and self.networks_read_clouds and not len(valid_points(sample[1][0], self.zero_points)):
            problem = "no valid point is left in the cloud (x, y and z non-zero and finite): rescan"
        small = None
        if self.clouds:
            small = resize_organized_pc(scan.xyz, self.map_size).permute(1, 2, 0).contiguous().numpy()
        return Prepared(sample, small_picture(sample) if placed is None else scan.rgb, small, problem, placed)


def small_picture(sample: Sequence[torch.Tensor]) -> NDArray[np.uint8]:
    """The 8-bit image [224, 224, 3] behind a sample's normalised tensor; resized if the tensor has another size."""
    values = sample[0][0].permute(1, 2, 0).double().numpy() * IMAGENET_STD + IMAGENET_MEAN
    picture: NDArray[np.uint8] = np.round(values * 255).astype(np.uint8)
    if len(picture) == RGB_SIZE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((RGB_SIZE, RGB_SIZE), Image.Resampling.BICUBIC))


class Scorer:
    """A fitted method with the scorings that are defined for a single part: those ``names`` that need no test set.
    ``reference``: the parts whose minima and maxima normalise, "test" or "train"."""

    def __init__(self, method: Features, names: Sequence[str], parameters: Parameters, reference: str) -> None:
        self.method, self.parameters, self.reference = method, parameters, reference
        self.names = [name for name in dict.fromkeys(names) if not needs_test_set(name, reference)] or ["baseline"]

    def judge(self, sample: Sequence[Any], excluding_part: int | None = None, clock: Clock | None = None) -> Result:
        """Score one part, a sample as a loader gives it, without the rows of the training part with this number.
        InputError where the score or the map is not finite."""
        clock = Clock() if clock is None else clock  # an empty one is false
        with clock("extraction"):
            patches = self.method.extract(sample)
            if self.method.device.type == "cuda":
                torch.cuda.synchronize()
        with clock("search"):
            judged = self.method.judge_patches(patches, excluding_part)
        with clock("scoring"):
            if not (np.isfinite(judged.score) and np.isfinite(judged.map).all()):
                raise InputError("its score is not finite: the networks cannot make anything of this scan")
            nowhere = np.zeros((1, *judged.map.shape), np.uint8)
            one = self.method.class_name, ["part"], [""], [0], nowhere, [judged]
            measured = evaluation.Evaluation.of(*one, training=self.method.training)
            scored = evaluation.score(measured, self.names, self.parameters, self.reference)
        return Result(judged, measured, {n: (float(of.image_preds[0]), of.predictions[0]) for n, of in scored.items()})
