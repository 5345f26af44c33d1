"""Scores one part by a fitted method: prepares its scan, and computes every scoring that needs no test set.

Calibration parts and parts to be judged use the same functions, so their scores are comparable.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from common.clock import Clock
from common.errors import InputError
from data.organised_clouds import resize_organized_pc, valid_points
from data.scans import Scan
from dataset import IMAGENET_MEAN, IMAGENET_STD, MM, RGB_SIZE, placed_sample, sample_of
from feature_extractors.features import Judged
from feature_extractors.released import stacked
from feature_extractors.settings import needed_backbones
from part_frame.framed import framed
from part_frame.placement import CannotPlace, Placed
from scoring import evaluation
from scoring.scorings import needs_test_set

DEPTH_GRID = 56  # patches per side of the grid on which the depth of a normal part is kept


class Prepared(NamedTuple):
    """A scan prepared for the networks and for display."""

    sample: tuple  # tensors, as a loader gives them
    picture: np.ndarray  # [224, 224, 3] uint8; of a part in a frame in the frame's own resolution
    cloud: np.ndarray  # [S, S, 3] float32 metres; S is the map's side
    problem: str  # why the scan cannot be judged; "" if it can
    placed: Placed | None = None  # the part in its frame, if there is one


class Result(NamedTuple):
    """A fitted method's result for one part."""

    judged: Judged
    scored: dict  # {scoring: (score, map [S, S])}


def prepare(scan, method_facts, problem=""):
    """Prepare a scan: Prepared; this can run in another process.

    Args:
        scan: ``data.scans.Scan``.
        method_facts: (bank names; sides in pixels of cloud, image and map; --fix zero_points; Placement or None), see
            :func:`facts_for`.
        problem: why the scan cannot be judged, if that is known already; else "".
    """
    banks, img_size, rgb_size, map_size, zero_points, placement = method_facts
    placed = None
    if placement is not None and not problem:
        try:
            placed = placement.place(scan.rgb, scan.xyz * MM)
        except CannotPlace as error:
            problem = str(error)
    if placed is not None:
        scan = Scan(*framed(placed, placement))
        sample = placed_sample(placed, placement, img_size, rgb_size)
    else:
        sample = sample_of(scan, img_size, rgb_size)
    if not problem and "xyz" in needed_backbones(banks) and not len(valid_points(sample[1][0], zero_points)):
        problem = "no valid point is left in the cloud (x, y and z non-zero and finite): rescan"
    small = resize_organized_pc(scan.xyz, map_size).permute(1, 2, 0).contiguous().numpy()
    picture = small_picture(sample) if placed is None else scan.rgb
    return Prepared(sample, picture, small, problem, placed)


def method_sample(scan, method, pose=None):
    """The sample of a scan for a fitted method, in its frame if it has one.

    Raises:
        InputError: the part cannot be laid into the frame.
    """
    size, rgb_size = method.settings.img_size, method.extractor.rgb_size
    if method.placement is None:
        return sample_of(scan, size, rgb_size)
    try:
        placed = method.placement.place(scan.rgb, scan.xyz * MM, pose)
    except CannotPlace as error:
        raise InputError(str(error)) from None
    return placed_sample(placed, method.placement, size, rgb_size)


def facts_for(method):
    """The facts about a method that :func:`prepare` needs."""
    return (
        method.bank_names,
        method.settings.img_size,
        method.extractor.rgb_size,
        method.map_size,
        method.fixes.zero_points,
        method.placement,
    )


def small_picture(sample):
    """The 8-bit image [224, 224, 3] behind a sample's normalised tensor; resized if the tensor has another size."""
    values = sample[0][0].permute(1, 2, 0).double().numpy() * IMAGENET_STD + IMAGENET_MEAN
    picture = np.round(values * 255).astype(np.uint8)
    if len(picture) == RGB_SIZE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((RGB_SIZE, RGB_SIZE), Image.BICUBIC))


def depth_grid(xyz):
    """Median depth in metres of each xyz patch of a cloud [h, w, 3]: [56, 56] float32, 0 where nothing was measured."""
    z = resize_organized_pc(xyz, RGB_SIZE)[2].numpy()
    cells = z.reshape(DEPTH_GRID, RGB_SIZE // DEPTH_GRID, DEPTH_GRID, -1).swapaxes(1, 2).reshape(DEPTH_GRID**2, -1)
    there = cells != 0
    ordered = np.sort(np.where(there, cells, np.inf), axis=1)
    count = there.sum(axis=1)
    middle = ordered[np.arange(len(cells)), np.maximum(count - 1, 0) // 2]
    return np.where(count > 0, middle, 0).reshape(DEPTH_GRID, DEPTH_GRID).astype(np.float32)


class Scorer:
    """A fitted method with the scorings that are defined for a single part.

    Args:
        method: fitted Features.
        names: scorings asked for; those that need a test set are left out.
        parameters: ``scoring_addon.Parameters``.
        reference: the parts whose minima and maxima normalise: "test" or "train".
    """

    def __init__(self, method, names, parameters, reference):
        self.method, self.parameters, self.reference = method, parameters, reference
        self.names = [name for name in dict.fromkeys(names) if not needs_test_set(name, reference)] or ["baseline"]

    def judge(self, sample, excluding_part=None, clock=None):
        """Score one part: Result.

        Args:
            sample: as a loader gives it.
            excluding_part: number of a training part whose rows are left out.
            clock: ``common.clock.Clock`` that measures extraction, search and scoring.

        Raises:
            InputError: the score or the map is not finite.
        """
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
            one = evaluation.Evaluation(
                self.method.class_name,
                ("part",),
                ("",),
                np.zeros(1, np.uint8),
                np.zeros((1, *judged.map.shape), np.uint8),
                np.array([judged.score]),
                judged.map[None],
                stacked([judged.banks], "scores"),
                stacked([judged.banks], "maps"),
                training=self.method.training,
            )
            scored = evaluation.score(one, self.names, self.parameters, self.reference)
        return Result(judged, {n: (float(of.image_preds[0]), of.predictions[0]) for n, of in scored.items()})
