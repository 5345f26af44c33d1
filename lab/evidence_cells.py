"""One cell of the evidence: a setting on one category with one seed, fitted and measured with main.py's classes.

A cell's file is small JSON: metrics and scores of every scoring, overlap of each part, and resamples for intervals.
"""

import dataclasses
import hashlib
import io
import json
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common.errors import InputError
from common.files import atomic_path, atomic_write_text
from data.organised_clouds import valid_points
from dataset import TestDataset, read_points
from feature_extractors.late_fusion import LateFusion
from feature_extractors.settings import Fixes
from lab.evidence_words import LATE_FUSION, SCORINGS
from m3dm_runner import M3DM
from runs.options import deciding_options, parse_arguments, recorded_options
from runs.runs import data_id, file_facts, run_id
from scoring import calibrated
from scoring.au_pro import area_up_to
from scoring.evaluation import extra_metrics, metrics, score
from scoring.metrics import count_below
from scoring.significance import LIMIT, PixelCounts, image_rocauc, resample_weights
from scoring_addon import Scored

VERSION = 2  # of a cell file's content
RESAMPLES = 400
EXTRA = ("au_pro_1", "au_pro_5", "au_pro_30", "aupimo", "pg_5", "pb_5")
LITE0 = ("--rgb_backbone_name", "efficientnet_lite0")
FEATURES = {  # name → flags, title, methods by number of banks
    "lite0_fpfh": (LITE0, "lite0 + FPFH", {"two": "DINO+FPFH"}),
    "lite0_point_mae": (LITE0, "lite0 + Point-MAE", {"two": "DINO+Point_MAE"}),
    "dino_point_mae": ((), "DINO + Point-MAE", {"two": "DINO+Point_MAE", "three": "DINO+Point_MAE+Fusion"}),
}
ALL = tuple(Fixes.of(["all"]).names)
FIX_SETS = {  # name → --fix names
    "released": (),
    "eval": ("eval_mode",),
    "fixed": ALL,
    "own_rows": tuple(name for name in ALL if name != "late_fusion"),
    **{
        f"eval+{name}": ("eval_mode", name)
        for name in ("scaling", "coreset_sizes", "float_maps", "zero_row", "zero_points", "late_fusion")
    },
}


class Cell(NamedTuple):
    """A setting on one category with one seed.

    ``features``: name in FEATURES; ``banks``: "two" or "three"; ``fixes``: name in FIX_SETS; ``shots``: number of
    training parts.
    """

    features: str
    banks: str
    fixes: str
    shots: int
    category: str
    seed: int

    @property
    def setting(self):
        """(features, banks, fixes, shots): a row of a table is one setting over all categories and seeds."""
        return self[:4]

    def path(self, folder):
        """The cell's file below ``folder``."""
        name = f"{self.features}-{self.banks}-{self.fixes}-{self.shots}-seed_{self.seed}"
        return Path(folder) / name / f"{self.category}.json"


class Source(NamedTuple):
    """Where parts and weights are. ``data``: folder of the categories; its name has "{seed}" if parts depend on the
    seed."""

    data: str
    dataset_type: str
    checkpoints: str
    uff: str
    work: str  # output folder of the runs
    device: str = "auto"
    generated: bool = False


class CachedExtractor:
    """A PatchExtractor that extracts each part once and keeps its patches in files, named after the part's content.

    It keeps nothing in train mode, where the same part gives different patches each time.

    Args:
        build: function that returns the PatchExtractor; called when it is first needed.
        folder: where the files go: <sha256 of the sample>.<bank>.npy, float32. It may change between parts.
    """

    def __init__(self, build, folder):
        self._build, self.folder, self._inner = build, Path(folder), None

    @property
    def inner(self):
        """The wrapped PatchExtractor, built at the first use."""
        if self._inner is None:
            self._inner = self._build()
        return self._inner

    def __getattr__(self, name):
        if name.startswith("_"):  # asked for by copy and pickle, before the attributes exist
            raise AttributeError(name)
        return getattr(self.inner, name)

    def extract(self, sample, banks=None, zero_points=False):
        """As ``PatchExtractor.extract``. The first call for a part extracts and keeps the patches of all its banks."""
        if not self.inner.steady:
            return self.inner.extract(sample, banks, zero_points)
        banks, name = self.inner.widths if banks is None else banks, self._name(sample, zero_points)
        files = {bank: self.folder / f"{name}.{bank}.npy" for bank in banks}
        if not all(path.is_file() for path in files.values()):
            for bank, patches in self.inner.extract(sample, None, zero_points).items():
                content = io.BytesIO()  # np.save into a file hides why a write failed
                np.save(content, patches.cpu().numpy())
                with atomic_path(self.folder / f"{name}.{bank}.npy") as temporary, open(temporary, "wb") as file:
                    file.write(content.getbuffer())
        return {
            bank: torch.from_numpy(np.array(np.load(path, mmap_mode="r"))).to(self.inner.device)
            for bank, path in files.items()
        }

    @staticmethod
    def _name(sample, zero_points):
        """Hash of image and cloud; also of ``zero_points`` if that changes which points are valid."""
        digest = hashlib.sha256()
        for tensor in sample[:2]:
            digest.update(tensor.contiguous().numpy().tobytes())
        if zero_points and len(valid_points(sample[1][0], True)) != len(valid_points(sample[1][0], False)):
            digest.update(b"zero_points")
        return digest.hexdigest()[:32]


def words(cell, source):
    """main.py's command line for a cell."""
    flags, _, methods = FEATURES[cell.features]
    fixes = ["--fix", *FIX_SETS[cell.fixes]] if FIX_SETS[cell.fixes] else []
    uff = ["--use_uff", "--fusion_module_path", source.uff] if cell.banks == "three" else []
    return [
        "--method_name",
        methods[cell.banks],
        *flags,
        *uff,
        "--checkpoint_dir",
        source.checkpoints,
        "--dataset_path",
        source.data.format(seed=cell.seed),
        "--dataset_type",
        source.dataset_type,
        "--category",
        cell.category,
        "--shots",
        str(cell.shots),
        "--seed",
        str(cell.seed),
        *fixes,
        "--device",
        source.device,
        "--num_workers",
        "0",
        "--output_dir",
        source.work,
        *(["--no_check"] if source.generated else []),
    ]


def options_of(cell, source):
    """main.py's options for a cell. With two or more training parts these are also measured without their own rows,
    which changes no result."""
    return dataclasses.replace(parse_arguments(words(cell, source)), train_maps=cell.shots > 1)


def cell_id(cell, source, weights):
    """Id of everything that decides a cell's numbers: options, weights, and the data's files."""
    args = options_of(cell, source)
    folder = Path(args.dataset_path) / cell.category
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    decided = deciding_options(recorded_options(args))
    return f"{run_id(decided, weights)}-{data_id(file_facts(files, args.dataset_path))}-{VERSION}"


def weights_key(weights):
    """Short hash of these WeightFiles; part of the cache folder's name."""
    return hashlib.sha256("".join(file.sha256 for file in weights).encode()).hexdigest()[:8]


def read_cell(path, identity=None):
    """The content of a cell's file; None if there is no usable file, or if its id is not ``identity``."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if identity in (None, content.get("id")) else None


def run_cell(cell, source, extractor, identity, settle):
    """Fit and measure a cell; returns its content, which fits into JSON.

    Args:
        extractor: PatchExtractor or CachedExtractor for the cell's features.
        settle: function (args, [category]) → ({category: Reading}, {category: why it cannot be used}).

    Raises:
        InputError: the data cannot be used with these options.
    """
    start, args = time.perf_counter(), options_of(cell, source)
    readings, faulty = settle(args, [cell.category])
    args = dataclasses.replace(args, readings=readings)
    if faulty:
        raise InputError(faulty[cell.category])
    runner = M3DM(args, extractor)
    runner.fit(cell.category)
    runner.evaluate(cell.category, {"options": recorded_options(args), "seed": args.seed})
    e = runner.evaluation
    scored = all_scorings(e, runner.method)
    content = {
        "id": identity,
        "cell": cell._asdict(),
        "command": words(cell, source),
        "seconds": {**runner.timings, "all": time.perf_counter() - start},
        "late_fusion_weights": runner.method.late_fusion.weights,
        **measured(e, scored, _sizes(args, e)),
    }
    content["seconds"]["all"] = time.perf_counter() - start
    return content


def write_cell(path, content):
    """Write a cell's file in one step."""
    atomic_write_text(path, json.dumps(_rounded(content)) + "\n")


# ---------------------------------------------------------------- scorings


def all_scorings(evaluation, method):
    """{name: Scored}: the scorings in SCORINGS and each bank alone; also the variants in LATE_FUSION, if training parts
    were measured and the late_fusion fix is on."""
    names = [name for name in SCORINGS if name != "calibrated" or evaluation.training is not None]
    scored = score(evaluation, names)
    scored.update(
        {f"bank_{bank}": Scored(evaluation.bank_score[bank], list(maps)) for bank, maps in evaluation.bank_map.items()}
    )
    if evaluation.training is not None and method.fixes.late_fusion:
        scored.update(late_fusion_variants(evaluation, method.late_fusion))
    return scored


def late_fusion_variants(evaluation, fusion):
    """{name: Scored} of the variants in LATE_FUSION: the late fusion with one component exchanged. All learn from
    training parts that were measured without their own rows."""
    maps, training, banks = evaluation.bank_map, evaluation.training.bank_map, list(evaluation.bank_map)
    scores = np.stack([evaluation.bank_score[bank] for bank in banks], axis=1)
    known = calibrated.training_statistics(training)
    if known.left_out:
        raise InputError(f"{evaluation.category}: the {known.left_out[0]} bank's training maps show no spread")
    train_scores = np.stack(fusion.train_scores) / fusion.score_lambdas
    stacked = [np.stack([maps[bank][i] for bank in banks]) for i in range(len(evaluation))]
    shown = [np.stack([training[bank][i] for bank in banks]) for i in range(len(evaluation.training.path))]

    def learned(score_lambdas, map_lambdas):
        other = LateFusion(score_lambdas, map_lambdas, fusion.pixel_model.nu, fusion.pixel_model.max_iter)
        for row, one in zip(train_scores, shown):
            other.add(row, one)
        return _predicted(other.fit().predict, scores, stacked)

    def summed(score_lambdas, map_lambdas):
        return _predicted(
            lambda row, one: ((row * score_lambdas).sum(), np.tensordot(map_lambdas, one, 1)), scores, stacked
        )

    units = 1 / train_scores.mean(axis=0), 1 / np.array(known.scale)
    found = (
        summed(fusion.score_lambdas, fusion.map_lambdas),
        learned(*np.ones((2, len(banks)))),
        learned(*units),
        summed(*units),
    )
    return dict(zip(LATE_FUSION, found))


def _predicted(predict, scores, maps):
    pairs = [predict(row, one) for row, one in zip(scores, maps)]
    return Scored(np.array([float(np.ravel(value)[0]) for value, _ in pairs]), [one for _, one in pairs])


# ---------------------------------------------------------------- what is kept


def measured(evaluation, scored, sizes):
    """Metrics, scores, per-part values and resamples of every scoring, in a form that fits into JSON.

    ``separation`` of a defective part: the share of good parts that score lower. ``overlap``: AU-PRO of that part's
    regions alone, with the false-positive rates of the whole test set. Their means over the parts are image ROCAUC and
    (if each part has one region) AU-PRO.
    """
    e, labels, masked = evaluation, evaluation.label != 0, bool(evaluation.has_mask.all())
    usual, extra = metrics(e, scored), extra_metrics(e, scored, EXTRA)
    seed = zlib.crc32(np.ascontiguousarray(e.mask).tobytes())  # cells with the same test parts get the same draws
    weights, known, parts, resamples = resample_weights(labels, RESAMPLES, seed), {}, {}, {}
    for name, (image_scores, maps) in scored.items():
        if masked and id(maps) not in known:
            known[id(maps)] = PixelCounts(e.mask, maps)
        separation = count_below(image_scores[labels], np.sort(image_scores[~labels])) / max((~labels).sum(), 1)
        parts[name] = {"separation": separation, "overlap": _overlap(known[id(maps)])[labels] if masked else None}
        resamples[name] = {
            "image_rocauc": image_rocauc(labels, image_scores, weights),
            "au_pro": known[id(maps)].au_pro(weights) if masked else None,
        }
    return {
        "path": e.path,
        "defect": e.defect,
        "label": e.label,
        "size": sizes,
        "metrics": {
            name: {
                "image_rocauc": usual[name].image_rocauc,
                "pixel_rocauc": usual[name].pixel_rocauc,
                "au_pro": usual[name].au_pro,
                **{key: value for key, (value, _) in extra[name].items()},
            }
            for name in scored
        },
        "scores": {name: of.image_preds for name, of in scored.items()},
        "parts": parts,
        "resamples": resamples,
    }


def _overlap(counts):
    """[n] AU-PRO of each part's regions alone; nan for parts without a region."""
    rates = np.append(1.0, counts.above.sum(axis=0) / counts.normal.sum())[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.where(counts.regions[:, None] > 0, counts.overlap / counts.regions[:, None], np.nan)
    curves = np.hstack([np.ones((len(overlap), 1)), overlap])[:, ::-1]
    return area_up_to(rates[None], curves, LIMIT) / LIMIT


def _sizes(args, evaluation):
    """Size of each test part's defect, in per cent of the part's valid points."""
    sizes, reading = [], args.readings[evaluation.category]
    files = _clouds(args, evaluation.category)
    for path, mask in zip(files, evaluation.mask):
        found = read_points(path, mask.shape[0], 0, reading)[1]
        sizes.append(100 * np.count_nonzero(mask) / max(found, 1))
    return sizes


def _clouds(args, category):
    return [xyz for _, xyz, _ in TestDataset(category, args.img_size, args.dataset_path).files]


def _rounded(value):
    """Copy that fits into JSON: arrays as lists, floats with 7 digits, nan as None; metrics are not rounded."""
    if isinstance(value, dict):
        return {key: of if key == "metrics" else _rounded(of) for key, of in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_rounded(of) for of in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
