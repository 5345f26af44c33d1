"""Judges one part by a saved model: pass, fail or "cannot judge", with an explanation and the abnormal regions.

inspector = Inspector.load("models/bagel.m3dm", checkpoint_dir="checkpoints")
judgement = inspector.judge(rgb, xyz)        # arrays [H, W, 3]: uint8, and metres
"""

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cameras.intrinsics import Intrinsics, fit_to, points_from_depth
from common.clock import Clock
from common.devices import choose_device
from common.errors import InputError
from data.scans import scan_of
from data.units import metres_of
from feature_extractors.extraction import PatchExtractor
from inspection import verdict
from inspection.fitted import restored_method
from inspection.in_place import InPlace
from inspection.judgement import Explanation, Judgement, explained
from inspection.model_file import WRONG, damaged, tuples
from inspection.one_part import Preparation, Prepared, Scorer
from inspection.regions import inspect_regions
from inspection.saved_model import SavedModel, check_weights, examined_with, read_saved, reading_of
from models.weights import used_weights
from part_frame.comparison import MAPS
from part_frame.light import Light
from scoring.calibrated import TOPK_IN_PLACE
from scoring.scorings import terms_and_shares
from scoring_addon import Parameters


def loaded(model: SavedModel, extractor: PatchExtractor) -> tuple[Scorer, Preparation]:
    """(Scorer, Preparation) of a model; InputError where it contradicts itself, or the networks are others."""
    meta = model.meta
    try:
        known = meta["scoring"]
        method = restored_method(model.arrays, meta["fitted"], extractor)
        scorer = Scorer(method, known["names"], Parameters(**tuples(known["parameters"])), known["reference"])
        light, usual = meta.get("light"), examined_with(model)[1]
        metres = metres_of(reading_of(model).unit)
        size = (usual.extent * metres, usual.distance * metres) if usual.extent and usual.distance is not None else None
        return scorer, Preparation.of(method, verdict.needs_clouds(meta), light and Light(**tuples(light)), size)
    except InputError as error:
        raise InputError(f"{model.path}: {error}") from None
    except WRONG as error:
        raise damaged(model.path, error) from None


class Inspector:
    """Judges parts by a saved model. Several threads may share one object: one at a time uses the networks and banks.

    Args:
        false_alarm: promised share of good parts that fail.
        scoring: the model's scoring that decides; None: its first one.

    Attributes:
        promised: whether the rate ``alpha`` is guaranteed; without calibration parts it is an estimate.
        promise: a sentence on what is guaranteed.
        rgb_runtime: what computes the RGB features, with its version; None: the model has none.
        preparation: Preparation; other processes may use a copy of it.

    Raises InputError: too few calibration parts for the rate, an unknown scoring, or a model that contradicts
    itself.
    """

    def __init__(
        self, model: SavedModel, extractor: PatchExtractor, false_alarm: float = 0.05, scoring: str | None = None
    ) -> None:
        meta = model.meta
        self.scoring = verdict.check_rate(model.path, meta, false_alarm, scoring)
        self.promise = verdict.promise_of(meta, false_alarm)
        self.alpha, self.promised = false_alarm, meta["calibration"]["promised"]
        self._scorer, self.preparation = loaded(model, extractor)
        self._method: Any = self._scorer.method  # the rooms below have no types yet
        self.category = self._method.class_name
        # the method has copies of the banks; only small arrays are kept, so that the mapped file can be released
        light = {
            key: np.array(a) for key, a in model.arrays.items() if key.startswith(("calibration.", "parts.pictures"))
        }
        self.model = SavedModel(model.path, light, meta)
        self._scores = light[f"calibration.score.{self.scoring}"]
        self.threshold = verdict.threshold(self._scores, false_alarm)
        self.pixel_threshold = verdict.threshold(light[f"calibration.peak.{self.scoring}"], false_alarm)
        self.scorings, self.rgb_runtime = tuple(meta["scoring"]["names"]), extractor.rgb_runtime
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        path: str | Path,
        checkpoint_dir: str | Path = "checkpoints",
        device: str = "auto",
        false_alarm: float = 0.05,
        scoring: str | None = None,
        fusion_module_path: str | Path | None = None,
    ) -> "Inspector":
        """Load an Inspector from the file that ``main.py --save_model`` wrote; ``device``: auto, cpu or cuda;
        ``fusion_module_path``: the UFF checkpoint; None: the file of its name in ``checkpoint_dir``, else the path that
        the fit used.
        Raises InputError: the file is damaged, no model, or of a newer format; weights are missing or differ; and
        the errors of the class."""
        model = read_saved(path)
        verdict.check_rate(model.path, model.meta, false_alarm, scoring)
        extractor = extractor_of(model, checkpoint_dir, device, fusion_module_path)
        return cls(model, extractor, false_alarm, scoring)

    def judge(self, rgb: ArrayLike, xyz: ArrayLike | None = None) -> Judgement:
        """Judge one part.

        Args:
            rgb: [H, W, 3] uint8.
            xyz: [h, w, 3] metres, on a pixel grid that shows the same view as ``rgb``; 0, NaN or infinity where nothing
                was measured. None: only for models whose training parts had no clouds.

        Raises InputError: an array has another shape or type, or the model needs a cloud.
        """
        clock = Clock()
        if xyz is None:
            if self.preparation.clouds:
                raise InputError(f"{self.category}: the model reads clouds: give xyz too")
            xyz = np.zeros(np.shape(rgb), np.float32)
        with clock("preparation"):
            prepared = self.preparation(scan_of(rgb, xyz))
        return self.judge_prepared(prepared, clock)

    def judge_depth(self, rgb: ArrayLike, depth: ArrayLike) -> Judgement:
        """Judge one part from a depth image [h, w] as the camera delivers it, with the intrinsics and the unit of the
        training parts' import, which the model keeps; 0, NaN or infinity where nothing was measured.
        Raises InputError: the model keeps no camera, or an array has another shape or type."""
        known = self.model.meta.get("camera")
        if not known or known["cropped"]:
            why = "the model keeps no camera (its parts were not imported from whole depth images)"
            raise InputError(f"{self.category}: {why}: give points, or import the training parts again and fit anew")
        depth = np.asarray(depth, np.float64)
        if depth.ndim != 2:
            raise InputError(f"the depth has shape {depth.shape}, expected height × width")
        size = known["size"] and tuple(known["size"])
        camera = Intrinsics(**{name: known[name] for name in ("fx", "fy", "cx", "cy")})._replace(size=size)
        points = points_from_depth(np.nan_to_num(depth, posinf=0, neginf=0), fit_to(camera, depth.shape, "the depth"))
        return self.judge(rgb, (points * known["unit"]).astype(np.float32))

    def judge_prepared(self, prepared: Prepared, clock: Clock | None = None) -> Judgement:
        """As :meth:`judge`, for a scan that ``preparation`` has prepared, in this or another process."""
        clock, problem = Clock() if clock is None else clock, prepared.problem
        if not problem:
            try:
                with self._lock:
                    result = self._scorer.judge(prepared.sample, clock=clock)
            except InputError as error:
                problem = str(error)
        shown: dict[str, Any] = {"picture": prepared.picture, "cloud": prepared.cloud, "seconds": clock}
        if problem:
            why = (), Explanation({}, problem), problem
            return Judgement(
                verdict.CANNOT_JUDGE, None, None, self.threshold, None, self.pixel_threshold, *why, **shown
            )
        with clock("verdict"):
            score, pixels = result.scored[self.scoring]
            found = verdict.decide(self._scores, score, self.alpha)
            weights = {**dict.fromkeys(MAPS, 0.0), **self._method.map_weights}  # 0: in place, not in the decision
            terms, shares = terms_and_shares(self.scoring, result.measured, weights)
            placed, in_place, doubt = prepared.placed, None, ""
            if placed is not None:
                in_place = InPlace(self._method.reference, placed.appearance, self._method.placement.frame.pitch)
                shown["height_mm"], doubt = in_place.height_mm, placed.doubt
            facts = prepared.cloud, terms, in_place
            regions, first = inspect_regions(pixels, self.pixel_threshold, *facts), ""
            if found.verdict == verdict.FAIL and not regions and in_place is not None:
                # the score is above its limit but no pixel above its own, which has a promise of its own: show where
                # the score comes from. It averages the TOPK_IN_PLACE largest pixels; this is the largest of the others
                values = np.sort(pixels, axis=None)
                limit = float(values[-min(TOPK_IN_PLACE + 1, values.size)])
                regions, first = inspect_regions(pixels, limit, *facts)[:1], "strongest: "
            explanation = explained(found, shares, regions, doubt)
            explanation = explanation._replace(text=first + explanation.text)
        scores = {name: score for name, (score, _) in result.scored.items()}
        of_map = np.asarray(pixels), self.pixel_threshold, regions
        return Judgement(*found, *of_map, explanation, "", scores, **shown)

    def normal_picture(self) -> NDArray[np.uint8]:
        """Image [S, S, 3] uint8 of the first training part; in the frame, if there is one."""
        stream = io.BytesIO(self.model.arrays["parts.pictures"].tobytes())
        return np.asarray(Image.open(stream).convert("RGB"))


def extractor_of(
    model: SavedModel,
    checkpoint_dir: str | Path = "checkpoints",
    device: str = "auto",
    fusion_module_path: str | Path | None = None,
) -> PatchExtractor:
    """The PatchExtractor that a SavedModel was fitted with; arguments and errors as in :meth:`Inspector.load`."""
    folder, chosen = Path(checkpoint_dir), choose_device(device)
    options: dict[str, Any] = {**model.meta["extractor"], "folder": folder}
    if any(options.pop(f"fpfh_{of}_radius", None) is not None for of in ("normal", "feature")):
        raise InputError(f"{model.path}: its FPFH have a radius, as in version 0.9: fit the model again")
    if options.pop("rgb_layers", None):
        raise InputError(f"{model.path}: it was fitted with --rgb_layers, which is gone: fit the model again")
    if "rgb_onnx" in model.arrays:
        options["rgb_onnx"] = model.arrays["rgb_onnx"].tobytes()
    if options.get("uff"):
        beside = folder / Path(options["uff"]).name
        options["uff"] = str(fusion_module_path or (beside if beside.is_file() else options["uff"]))
    built: list[PatchExtractor] = []

    def build() -> PatchExtractor:
        if not built:
            built.append(PatchExtractor.from_checkpoints(device=chosen, **options))
        return built[0]

    check_weights(model, used_weights(options, build))
    return build()
