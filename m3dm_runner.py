"""Fit and evaluate one category: calls the method's steps in order, with progress and timings."""

import contextlib
import dataclasses
import json
import logging
import random
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import scoring_addon
from common.clock import Clock
from common.devices import choose_device
from common.errors import InputError
from common.files import atomic_path
from common.progress import note, track
from data.conversion import read_record
from data.pairing import GOOD
from data.pictures import FRAME_WHITE, read_ignored
from data.scans import PartFiles, read_scan
from dataset import MM, get_data_loader
from feature_extractors.extraction import PatchExtractor
from feature_extractors.multiple_features import METHODS
from feature_extractors.released import mask_of_map
from inspection.one_part import Scorer, small_picture
from inspection.saved_model import read_parts, write_fitted
from part_frame import placement
from runs.options import extractor_options, method_settings, model_scorings, parts_used, recorded_options
from scoring import evaluation
from scoring.dominating import dominating_part
from scoring.scorings import CALIBRATED
from uff_training.patch_pairs import save_patch_pair

NO_FRAME = "none"  # --frame, as released
MUCH = 0.3  # of the part: more than this is seldom meant to be ignored
LEARNED = 60  # training parts from which the frame is learned
PICTURE = 2  # cells of the picture in the frame per cell of height


def build_extractor(args):
    """The PatchExtractor that the options ask for; InputError if a checkpoint or the device is missing."""
    extractor = PatchExtractor.from_checkpoints(device=choose_device(args.device), **extractor_options(args))
    if args.save_model and extractor.export_rgb():
        note(f"RGB features by {extractor.rgb_runtime}")
    return extractor


def spread_evenly(count, most):
    """Numbers below ``count``: all, or ``most`` from the first to the last, since parts are often numbered in the order
    of their making; most: None: no limit."""
    if most is None or count <= most:
        return list(range(count))
    return sorted({round(number) for number in np.linspace(0, count - 1, most).tolist()})


def build_method(args, extractor):
    """The method that the options ask for, with empty memory banks; this also seeds the random generators."""
    return METHODS[args.method_name](extractor, args.fixes, **method_settings(args))


@contextlib.contextmanager
def draws_apart():
    """Context that restores the random generators at its end: in train mode, as released, random numbers affect the
    features, and an extra pass must not change the released scores."""
    known = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(known[0])
            np.random.set_state(known[1])


class M3DM:
    """The method ``args.method_name`` for one category.

    ``args``: options from ``runs.options.parse_arguments``; ``extractor``: PatchExtractor, or None: built from these.
    """

    def __init__(self, args, extractor=None):
        self.args = args
        self.timings = Clock()  # {phase: seconds} so far
        with self.timings("load networks"):
            self.extractor = build_extractor(args) if extractor is None else extractor
            self.method = build_method(args, self.extractor)  # each fit makes a new one
        self.training_paths, self._settled = [], None  # rgb paths of the fit's parts, relative to the data set
        # of the last evaluate: Evaluation, {scoring: Scored}, {scoring: Metrics}
        self.evaluation = self.scored = self.metrics = self._model = None

    def fit(self, class_name):
        """Build the memory banks and fit the late fusion from the category's training parts."""
        args = self.args
        self.method = method = build_method(args, self.extractor)
        method.class_name = class_name
        frame, poses = self._frame(class_name)
        if frame is not None:
            method.use_frame(frame)
        loader = get_data_loader("train", class_name, args.img_size, args, frame, poses)
        count = parts_used(args, len(loader.dataset))
        self.training_paths = [loader.dataset.describe(i)[0] for i in range(count)]
        chosen = spread_evenly(count, args.max_measured)
        with self.timings("memory bank"):
            method.reserve(count)
            for number, (sample, _) in enumerate(track(islice(loader, count), count, f"{class_name}: memory bank")):
                patches = method.extract(sample)
                if args.save_feature:
                    self._save_feature(class_name, number, method.feature_to_save(patches))
                method.add_patches(patches, number in chosen)
        with self.timings("coreset"):
            method.run_coreset()
        if args.ignore and method.reference is not None:
            share = method.reference.ignore(read_ignored(args.ignore))
            print(f"{class_name}: {100 * share:.1f} % of the part are not judged ({args.ignore})")
            if share > MUCH:
                logging.warning("%s: white is what is not judged: is %s meant so?", class_name, args.ignore)
        if method.needs_late_fusion_pass:
            added = args.memory_bank == "single"  # the release has no such pass for these methods
            what = "training maps" if added else "late fusion"
            with self.timings(what), draws_apart() if added else contextlib.nullcontext():
                if method.keeps_patches:
                    again = ((number, method.kept_patches(number)) for number in chosen)
                else:
                    samples = enumerate(sample for sample, _ in islice(loader, count))
                    again = ((number, method.extract(sample)) for number, sample in samples if number in chosen)
                for number, patches in track(again, len(chosen), f"{class_name}: {what}"):
                    method.add_patches_to_late_fusion(patches, number)
                paths = [self.training_paths[number] for number in chosen]
                method.run_late_fusion(paths, scoring_addon.parameters_from(args))
        if CALIBRATED in args.scoring:
            left_out = " and ".join(evaluation.units_from(class_name, method.training).left_out)  # or an InputError
            if left_out:
                told = "%s: calibrated: the training parts' maps of the %s bank show no spread: it is left out"
                logging.warning(told, class_name, left_out)

    def _frame(self, class_name):
        """(Placement, {index of a training part: its Pose}), settled once from the training parts; (None, {}) without
        --frame. InputError names a training scan in which no part is found."""
        args = self.args
        if getattr(args, "frame", NO_FRAME) == NO_FRAME:
            return None, {}
        if self._settled is not None and self._settled[0] == class_name:
            return self._settled[1:]
        dataset = get_data_loader("train", class_name, args.img_size, args).dataset
        count = parts_used(args, len(dataset))
        chosen = spread_evenly(count, LEARNED)

        def scans():
            for index in track(chosen, len(chosen), f"{class_name}: frame"):
                scan = read_scan(*dataset.files[index][:2], dataset.reading)
                yield index, scan.rgb, scan.xyz * MM

        forced = {"part": placement.NONE, "aligned": placement.ALIGNED}.get(args.frame)
        with self.timings("frame"):
            size = self.method.map_size
            try:
                settled, placed, lost = placement.learn(scans, size, PICTURE * size, forced)
            except placement.CannotPlace as error:
                raise InputError(f"{dataset.folder}: no part is found in any training scan: {error}") from None
        if lost:
            index, reason = lost[0]
            more = f" (and {len(lost) - 1} more training parts)" if len(lost) > 1 else ""
            raise InputError(f"{dataset.files[index][0]}: {reason}{more}; take it out, or record it again")
        note(f"{class_name}: {settled.describe()}")
        self._settled = class_name, settled, {index: pose for index, _, pose in placed}
        return self._settled[1:]

    # ------------------------------------------------------------ the saved model

    def read_parts(self, class_name, calibration):
        """Read the training and calibration parts for a saved model; called before the fit.

        ``calibration``: CalibrationFiles. InputError: a file cannot be read, or a calibration part is a training part.
        """
        args, dataset = self.args, get_data_loader("train", class_name, self.args.img_size, self.args).dataset
        count = parts_used(args, len(dataset))
        files = [PartFiles(dataset.describe(i)[0], *dataset.files[i][:2]) for i in range(count)]
        frame, poses = self._frame(class_name)
        with self.timings("read parts"):
            self._model = read_parts(class_name, files, calibration, dataset.reading, frame, poses)

    def save(self, path, class_name, weights, about):
        """Calibrate the fitted method and write its model to ``path``; call :meth:`read_parts` first.

        ``weights``: [dict], one per WeightFile; ``about``: dict of further entries for the model's metadata.
        """
        args, parameters = self.args, scoring_addon.parameters_from(self.args)
        scorer = Scorer(self.method, model_scorings(args), parameters, args.scoring_reference)
        options = {key: value for key, value in extractor_options(args).items() if key != "folder"}
        camera = read_record(Path(args.dataset_path) / class_name / "train" / GOOD).get("camera")
        usual = args.usual.get(class_name)
        about = {
            **about,
            "extractor": options,
            "weights": weights,
            "options": json.loads(json.dumps(recorded_options(args), default=str)),
            "seed": args.seed,
            "camera": camera,
            "min_points": args.min_points,
            "usual": usual and usual._asdict(),
        }
        with self.timings("model"):
            found = write_fitted(path, scorer, args.method_name, self._model, about, strict=args.strict)
            for text in found:
                logging.warning("%s: %s", class_name, text)
        self.save_frame(Path(path).with_name(f"{class_name}_frame.png"), class_name)

    def save_frame(self, path, class_name):
        """Write a training part in its frame as PNG, for masks of --ignore to be drawn on; nothing without a frame."""
        frame, poses = self._frame(class_name)
        if frame is None:
            return
        dataset = get_data_loader("train", class_name, self.args.img_size, self.args).dataset
        scan = read_scan(*dataset.files[0][:2], dataset.reading)
        with atomic_path(path) as temporary:
            picture = frame.place(scan.rgb, scan.xyz * MM, poses.get(0)).picture
            Image.fromarray(np.minimum(picture, FRAME_WHITE)).save(temporary, "PNG")

    # ------------------------------------------------------------ test

    def evaluate(self, class_name, meta=None):
        """Measure and score the category's test parts; ``meta``: dict for ``Evaluation.meta``.

        Returns:
            (image ROCAUC, pixel ROCAUC, AU-PRO), three dicts {method name: value, None where undefined}.
        """
        args, method = self.args, self.method
        loader = get_data_loader("test", class_name, args.img_size, args, method.placement)
        judged, masks, pictures = [], [], []
        with self.timings("test"):
            for sample, mask, _, _ in track(loader, len(loader), f"{class_name}: test"):
                judged.append(method.judge(sample))
                masks.append(mask_of_map(mask, method.map_size))
                pictures.append(small_picture(sample))
        with self.timings("metrics"):
            paths, defects, labels = zip(*map(loader.dataset.describe, range(len(loader))))
            masked = [label == 0 or gt is not None for label, (*_, gt) in zip(labels, loader.dataset.files)]
            self.evaluation = evaluation.Evaluation.of(
                class_name,
                *(paths, defects, labels, np.stack(masks), judged),
                picture=np.stack(pictures),
                has_mask=np.array(masked),
                training=method.training,
                meta=meta or {},
            )
            parameters = scoring_addon.parameters_from(args)
            self.scored = evaluation.score(self.evaluation, args.scoring, parameters, args.scoring_reference)
            self.metrics = evaluation.metrics(self.evaluation, self.scored)
        if args.scoring_reference == "test":
            dominating = dominating_part(paths, self.scored, args.scoring_topk)
            if dominating:
                logging.warning("%s", dominating)
        return tuple({args.method_name: value} for value in self.metrics[args.scoring[0]])

    def record(self):
        """The entry in run.json of the category that was evaluated, or only fitted: a JSON-able dict."""
        method, metrics = self.method, self.metrics or {}
        entry = {
            "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
            "metrics": {name: dataclasses.asdict(of) for name, of in metrics.items()},
            "training_parts": method.added,
            "test_parts": 0 if self.evaluation is None else len(self.evaluation),
            "banks": {name: list(bank.rows.shape) for name, bank in method.banks.items()},
            "seconds": self.timings,
        }
        if getattr(method, "late_fusion", None) and method.late_fusion.train_scores:
            entry["late_fusion_weights"] = method.late_fusion.weights
        if CALIBRATED in metrics:
            entry["calibrated"] = method.training.calibrated._asdict()
        if self.args.shots:
            entry["shots"] = self.training_paths
        return entry

    def _save_feature(self, class_name, number, feature):
        """Write a training part's patches as ``<class><number>.pt``, the released name; "-" between two digits, so that
        cookie1 + 0 and cookie + 10 differ."""
        divider = "-" if class_name[-1:].isdigit() or class_name.endswith("-") else ""
        save_patch_pair(Path(self.args.save_feature_path) / f"{class_name}{divider}{number}.pt", feature)
