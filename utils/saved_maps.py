"""--save_maps: one npz file a category with everything that scoring needs, so that no network has to run again.

Format version 1, no pickles. Arrays, for n test parts and maps of S×S pixels:

    version             int, 1
    meta                str, JSON: category, method_name, options, seed, training_parts (their number), training_paths
                        (rgb paths of these in order, which is that of the train_ arrays), untrained (whether the weights
                        look like random draws)
    path, defect        str [n], as in scores_<category>.csv
    label               uint8 [n]
    mask                uint8 [n, S, S], 1 where defective
    picture             uint8 [n, 224, 224, 3], RGB
    map_rgb, map_xyz    float32 [n, S, S], single-bank maps
    map_bank            float32 [n, S, S], the fusion bank's map; absent where the method has none
    map_decision        float32 [n, S, S], the released map
    score_decision      float64 [n], the released image score
    bank_names          str [b];  bank_scores  float64 [n, b], before the lambdas
    train_statistics    float64 [t, 6], of t training parts measured without their own rows: S_base, Q95, Q99, mean, mean
                        disagreement and maximum, for the run's lambda, K and M_fusion (meta: train_parameters); absent
                        where there was only one training part
    train_map_*         maps as above of those training parts; with --save_train_maps or --scoring_reference train only

A test part takes about 1 MB at 224 pixels before compression (4 maps of 200 kB, picture and mask of 200 kB), a
training part 800 kB.
"""
import json
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
from PIL import Image

from models.checkpoints import looks_untrained
import scoring_addon
from scoring_addon import SampleMaps, Statistics
from utils.errors import InputError
from utils.files import atomic_path
from utils.mvtec3d_util import read_picture

VERSION = 1
SUFFIX = ".npz"
PICTURE = 224


class SavedMaps(NamedTuple):
    """A category as read back; arrays as in the module's text."""

    meta: dict
    path: np.ndarray
    defect: np.ndarray
    label: np.ndarray
    mask: np.ndarray
    picture: np.ndarray
    decision: np.ndarray
    score: np.ndarray
    samples: list  # n SampleMaps
    bank_names: list
    bank_scores: np.ndarray
    reference: Optional[tuple]  # (t decision maps, t SampleMaps) of training parts, or None
    statistics: Optional[Statistics]  # of arrays [t], or None

    @property
    def category(self):
        return self.meta["category"]

    def reference_for(self, parameters):
        """What score_all takes as reference for these parameters: maps or Statistics of training parts, or None if there is none."""
        fits = self.statistics is not None and [parameters.lam, parameters.topk, parameters.map_source] == self.meta["train_parameters"]
        return self.reference or (self.statistics if fits else None)


def save_maps(path, meta, described, pictures, method, with_training=False):
    """Write one category.

    Args:
        meta: JSON-able dict with "category".
        described: (path, defect, label) of each test part.
        pictures: n RGB arrays [224, 224, 3] uint8.
        method: a Features object with both modalities' banks, after ``calculate_metrics``.
        with_training: also the training parts' maps (``method.scoring_reference``, where it is set), not only their statistics.
    """
    paths, defects, labels = zip(*described)
    banks = list(method.bank_scores[0])
    reference, parameters = getattr(method, "scoring_reference", None), scoring_addon.parameters_from(method.args)
    meta = {**meta, "train_parameters": [parameters.lam, parameters.topk, parameters.map_source]}
    arrays = {"version": np.array(VERSION), "meta": np.array(json.dumps(meta, default=str)), "path": np.array(paths),
              "defect": np.array(defects), "label": np.array(labels, np.uint8), "mask": np.stack(method.gts).astype(np.uint8),
              "picture": np.stack(pictures).astype(np.uint8), "score_decision": method.scored["baseline"].image_preds,
              "bank_names": np.array(banks), "bank_scores": np.array([[s[b] for b in banks] for s in method.bank_scores]),
              **_map_arrays("map", method.scored["baseline"].predictions, method.scoring_samples)}
    if reference is not None:
        arrays["train_statistics"] = np.stack(scoring_addon.modulate_all(*reference, parameters)[1], axis=1)
        if with_training:
            arrays.update(_map_arrays("train_map", *reference))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def save_run_maps(args, category, described, method, training_paths):
    """Write ``<args.save_maps>/<category>.npz`` of a run on the training parts ``training_paths``; see :func:`save_maps`."""
    pictures = [np.asarray(read_picture(Path(args.dataset_path) / path, "RGB").resize((PICTURE, PICTURE), Image.BICUBIC)) for path, _, _ in described]
    meta = {"category": category, "method_name": args.method_name, "options": vars(args), "seed": args.seed,
            "training_parts": method.added, "training_paths": training_paths, "untrained": looks_untrained(method)}
    save_maps(Path(args.save_maps) / f"{category}{SUFFIX}", meta, described, pictures, method, 
              with_training=args.save_train_maps or args.scoring_reference == "train")


def load_maps(path):
    """Read one category.

    Returns:
        SavedMaps.

    Raises:
        InputError: the file is missing, damaged, or of another version.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        version = int(arrays["version"])
        if version != VERSION:
            raise InputError(f"{path}: saved maps of version {version}, this program reads version {VERSION}; save them again")
        meta = json.loads(str(arrays["meta"]))
        if not {"category", "options", "seed"} <= set(meta):
            raise InputError(f"{path}: its meta entry lacks category, options or seed; save the maps again")
        return SavedMaps(meta, arrays["path"], arrays["defect"], arrays["label"], arrays["mask"],
                         arrays["picture"], arrays["map_decision"], arrays["score_decision"], _samples("map", arrays),
                         [str(name) for name in arrays["bank_names"]], arrays["bank_scores"],
                         (list(arrays["train_map_decision"]), _samples("train_map", arrays)) if "train_map_decision" in arrays else None,
                         Statistics(*arrays["train_statistics"].T) if "train_statistics" in arrays else None)
    except InputError:
        raise
    except Exception as error:  # zip, numpy and JSON errors of damaged files
        raise InputError(f"{path}: cannot be read as saved maps ({error or type(error).__name__}); "
                         "give a file that --save_maps wrote") from None


def find_maps(folder):
    """The saved categories of ``folder``, sorted by name.

    Raises:
        InputError: there are none.
    """
    files = sorted(Path(folder).glob(f"*{SUFFIX}"))
    if not files:
        raise InputError(f"{folder}: no saved maps (*{SUFFIX}) found; write them with main.py --save_maps {folder}")
    return files


def _map_arrays(prefix, decision, samples):
    arrays = {f"{prefix}_decision": decision, f"{prefix}_rgb": [s.rgb for s in samples], f"{prefix}_xyz": [s.xyz for s in samples]}
    if samples[0].bank is not None:
        arrays[f"{prefix}_bank"] = [s.bank for s in samples]
    return {name: np.stack(maps).astype(np.float32) for name, maps in arrays.items()}


def _samples(prefix, arrays):
    bank = arrays.get(f"{prefix}_bank", [None] * len(arrays[f"{prefix}_rgb"]))
    return [SampleMaps(*maps) for maps in zip(arrays[f"{prefix}_rgb"], arrays[f"{prefix}_xyz"], bank)]
