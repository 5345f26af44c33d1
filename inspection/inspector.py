"""Judges one part by a saved model: pass, fail or "cannot judge", with an explanation and the abnormal regions.

inspector = Inspector.load("models/bagel.m3dm", checkpoint_dir="checkpoints")
judgement = inspector.judge(rgb, xyz)        # arrays [H, W, 3]: uint8, and metres
"""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cameras.intrinsics import Intrinsics, fit_to, points_from_depth
from common.clock import Clock
from common.devices import choose_device
from common.errors import InputError
from data.scans import scan_of
from feature_extractors.extraction import PatchExtractor
from inspection import gate as scan_health
from inspection import verdict
from inspection.fitted import restored_method
from inspection.in_place import MAPS, InPlace
from inspection.judgement import Judgement, Matches, cannot_judge, explained, inspect_regions, region_text
from inspection.one_part import Scorer, facts_for, prepare
from inspection.promise import check_rate, promise_of
from inspection.saved_model import SavedModel, check_weights, damaged, picture_of_part, read_saved
from models.weights import used_weights
from scoring.shares import map_terms, score_shares
from scoring_addon import Parameters

HIGHEST = 0.8  # of the map's largest value: what is around it is the strongest place of a part that fails
PLACED = (
    "a scan is not judged if no part is found in it, or two, if its points are not as dense as at the fit, or if its "
    "picture has no colour, exchanged channels or an exposure that no gain mends"
)


class Preparation(NamedTuple):
    """Prepares scans for the networks; works in any process.

    ``facts``: see ``one_part.facts_for``; ``ranges``: the health gate's ranges of good scans, None: no gate.
    """

    facts: tuple
    ranges: scan_health.ScanRanges | None

    def __call__(self, scan, problem=""):
        """Prepared of a ``data.scans.Scan``, which cannot be judged for ``problem`` if that is given; a dead sensor is
        reported even without the gate."""
        if problem:
            return prepare(scan, self.facts, problem)
        if self.ranges is None:
            dead = scan_health.dead_sensor(*scan)
            return prepare(scan, self.facts, f"{dead}: rescan" if dead else "")
        return prepare(scan, self.facts, scan_health.check(scan.rgb, scan.xyz, self.ranges).reason)


class Inspector:
    """Judges parts by a saved model.

    Several threads may share one object: a lock lets one thread at a time use the networks and banks.

    Args:
        model: SavedModel.
        extractor: PatchExtractor with the networks that the model was fitted with.
        false_alarm: promised share of good parts that fail.
        scoring: the model's scoring that decides; None: its first one.
        gate: if True, scans unlike the training and calibration scans are not judged.

    Attributes:
        category, scoring, alpha: category that is judged, scoring that decides, false-alarm rate.
        promised: whether the rate is guaranteed; without calibration parts it is an estimate.
        promise, gate_promise: sentences on what is guaranteed.
        threshold, pixel_threshold: thresholds of the score and of the map's pixels.
        scorings: names of all scorings in the model.
        rgb_runtime: what computes the RGB features, with its version; None: the model has none.
        training_names: names of the training parts.
        preparation: Preparation; other processes may use a copy of it.

    Raises:
        InputError: too few calibration parts for the rate, an unknown scoring, or a model that contradicts itself.
    """

    def __init__(self, model, extractor, false_alarm=0.05, scoring=None, gate=True):
        meta = model.meta
        self.scoring = check_rate(model.path, meta, false_alarm, scoring)
        self.promise = promise_of(meta, false_alarm)
        self.alpha, self.promised = false_alarm, meta["calibration"]["promised"]
        try:
            self._method = restored_method(model.arrays, meta["fitted"], extractor)
            known = meta["scoring"]
            parameters = Parameters(
                **{k: tuple(v) if isinstance(v, list) else v for k, v in known["parameters"].items()}
            )
            self._scorer = Scorer(self._method, known["names"], parameters, known["reference"])
            ranges = meta["scan"] and scan_health.ScanRanges.from_json(meta["scan"])
            self.category, self.training_names = meta["fitted"]["class_name"], tuple(meta["training_parts"]["names"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise damaged(model.path, error) from None
        # restored_method copied the banks; only small arrays are kept, so that the mapped file can be released
        light = {key: np.array(a) for key, a in model.arrays.items() if key.startswith(("calibration.", "parts."))}
        self.model = SavedModel(model.path, light, meta)
        self._scores = light[f"calibration.score.{self.scoring}"]
        self.threshold = verdict.threshold(self._scores, false_alarm)
        self.pixel_threshold = verdict.threshold(light[f"calibration.peak.{self.scoring}"], false_alarm)
        self.scorings, self.rgb_runtime = tuple(known["names"]), extractor.rgb_runtime
        self.preparation = Preparation(facts_for(self._method), ranges if gate else None)
        placed = self._method.placement is not None
        self.gate_promise = PLACED if placed else gate_text(ranges, gate)
        self._rows = {n: (bank.part.numpy(), bank.place.numpy()) for n, bank in self._method.banks.items()}
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        path,
        checkpoint_dir="checkpoints",
        device="auto",
        false_alarm=0.05,
        scoring=None,
        gate=True,
        fusion_module_path=None,
    ):
        """Load an Inspector from a model's file.

        Args:
            path: file that ``main.py --save_model`` wrote.
            checkpoint_dir: folder of the networks' weights.
            device: auto, cpu, cuda or mps.
            fusion_module_path: the UFF checkpoint; None: the file of its name in ``checkpoint_dir``, else the path
                that the fit used.
            false_alarm, scoring, gate: as for the class.

        Raises:
            InputError: the file is damaged, no model, or of a newer format; weights are missing or differ; and the
                errors of the class.
        """
        return cls.of_model(read_saved(path), checkpoint_dir, device, false_alarm, scoring, gate, fusion_module_path)

    @classmethod
    def of_model(
        cls,
        model,
        checkpoint_dir="checkpoints",
        device="auto",
        false_alarm=0.05,
        scoring=None,
        gate=True,
        fusion_module_path=None,
    ):
        """As :meth:`load`, from a SavedModel."""
        check_rate(model.path, model.meta, false_alarm, scoring)
        extractor = extractor_of(model, checkpoint_dir, device, fusion_module_path)
        return cls(model, extractor, false_alarm, scoring, gate)

    def judge(self, rgb, xyz):
        """Judge one part; returns a Judgement.

        Args:
            rgb: [H, W, 3] uint8.
            xyz: [h, w, 3] metres, on a pixel grid that shows the same view as ``rgb``; 0, NaN or infinity where nothing
                was measured.

        Raises:
            InputError: an array has another shape or type.
        """
        clock = Clock()
        with clock("preparation"):
            prepared = self.preparation(scan_of(rgb, xyz))
        return self.judge_prepared(prepared, clock)

    def judge_depth(self, rgb, depth):
        """Judge one part from a depth image as the camera delivers it; returns a Judgement.

        The intrinsics and the unit of the depth are those of the training parts' import, which the model keeps.

        Args:
            rgb: [H, W, 3] uint8.
            depth: [h, w] counts or lengths in the unit of the import; 0, NaN or infinity where nothing was measured.

        Raises:
            InputError: the model keeps no camera, or an array has another shape or type.
        """
        known = self.model.meta.get("camera")
        if not known or known["cropped"]:
            raise InputError(
                f"{self.category}: the model keeps no camera (its parts were not imported from whole depth images): "
                "give points, or import the training parts again and fit anew"
            )
        depth = np.asarray(depth, np.float64)
        if depth.ndim != 2:
            raise InputError(f"the depth has shape {depth.shape}, expected height × width")
        size = known["size"] and tuple(known["size"])
        camera = Intrinsics(**{name: known[name] for name in ("fx", "fy", "cx", "cy")})._replace(size=size)
        points = points_from_depth(np.nan_to_num(depth, posinf=0, neginf=0), fit_to(camera, depth.shape, "the depth"))
        return self.judge(rgb, (points * known["unit"]).astype(np.float32))

    def judge_prepared(self, prepared, clock=None):
        """As :meth:`judge`, for a scan that ``preparation`` has prepared, in this or another process."""
        clock = Clock() if clock is None else clock
        if prepared.problem:
            return cannot_judge(prepared, self.threshold, self.pixel_threshold, prepared.problem, clock)
        try:
            with self._lock:
                result = self._scorer.judge(prepared.sample, clock=clock)
        except InputError as error:
            return cannot_judge(prepared, self.threshold, self.pixel_threshold, str(error), clock)
        with clock("verdict"):
            score, pixels = result.scored[self.scoring]
            found = verdict.decide(self._scores, score, self.alpha)
            terms, shares = self._explain(result)
            nearest, depth = result.judged.banks.nearest, self.model.arrays["parts.depth"]
            matches = Matches(nearest, self._rows, self.training_names, depth, self._method.map_size)
            placed, in_place = prepared.placed, None
            if placed is not None:
                in_place = InPlace(self._method.reference, placed.appearance, self._method.placement.frame.pitch)
            regions = inspect_regions(pixels, self.pixel_threshold, prepared.cloud, terms, matches, in_place)
            explanation = explained(found.verdict, found, shares, regions, placed.doubt if placed else "")
            if found.verdict == verdict.FAIL and not regions and in_place is not None:
                # no place is above the pixel threshold: the regions' own promise holds, but a fail needs a place
                strongest = inspect_regions(pixels, HIGHEST * np.max(pixels), prepared.cloud, terms, matches, in_place)
                text = f"strongest: {region_text(strongest[0])}; {explanation.text}"
                explanation = explanation._replace(text=text)
        return Judgement(
            found.verdict,
            found.p_value,
            found.score,
            found.threshold,
            np.asarray(pixels),
            self.pixel_threshold,
            regions,
            explanation,
            "",
            {name: of[0] for name, of in result.scored.items()},
            clock,
            prepared.picture,
            prepared.cloud,
            None if in_place is None else in_place.height_mm,
        )

    def picture_of(self, number):
        """Image [224, 224, 3] uint8 of the training part ``number``, for display."""
        return picture_of_part(self.model, number)

    def _explain(self, result):
        method, training = self._method, self._method.training
        of_scores, of_maps = (
            {**dict.fromkeys(MAPS, 0.0), **of} for of in method.weights
        )  # in place: not in the decision
        parameters, banks = self._scorer.parameters, result.judged.banks
        statistics = training and training.calibrated
        terms = map_terms(self.scoring, banks.maps, of_maps, parameters, statistics)
        return terms, score_shares(
            self.scoring,
            terms,
            banks.maps,
            banks.scores,
            of_scores,
            parameters,
            training and training.statistics,
            statistics,
        )


def gate_text(ranges, gate):
    """A sentence on what the health gate guarantees."""
    if not gate:
        return "no health gate (--no_gate): only a dead sensor is reported"
    if ranges is None:
        return "no health gate: too few scans to learn from; only a dead sensor is reported"
    return ranges.promise_text


def extractor_of(model, checkpoint_dir="checkpoints", device="auto", fusion_module_path=None):
    """The PatchExtractor that a SavedModel was fitted with; arguments as in :meth:`Inspector.load`.

    Raises:
        InputError: weights are missing, or differ from those of the fit.
    """
    options, device = _networks(model, Path(checkpoint_dir), fusion_module_path), choose_device(device)
    built: list[PatchExtractor] = []

    def build():
        if not built:
            built.append(PatchExtractor.from_checkpoints(device=device, **options))
        return built[0]

    check_weights(model, used_weights(options, build))
    return build()


def _networks(model, checkpoint_dir, fusion_module_path):
    """Arguments of ``PatchExtractor.from_checkpoints``."""
    options = {**model.meta["extractor"], "folder": checkpoint_dir}
    if "rgb_onnx" in model.arrays:
        options["rgb_onnx"] = model.arrays["rgb_onnx"].tobytes()
    if options.get("uff"):
        beside = checkpoint_dir / Path(options["uff"]).name
        options["uff"] = str(fusion_module_path or (beside if beside.is_file() else options["uff"]))
    return options
