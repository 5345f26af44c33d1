"""Saved maps of an imaginary category, for tests of programs that read saved maps."""

import numpy as np
from scipy.ndimage import gaussian_filter

import scoring_addon
from scoring import evaluation

DEFECTS = ("crack", "stain")


def smooth(rng, size):
    """Smooth positive noise [size, size]."""
    return gaussian_filter(rng.gamma(2.0, size=(size, size)), size / 40) + 0.1


def make_evaluation(category="cookie", good=6, defective=4, train=0, size=64, seed=0, fusion=True, **options):
    """An Evaluation of generated maps; a defect raises the maps inside its mask. ``options``: recorded options."""
    rng = np.random.default_rng(seed)
    banks = ["xyz", "rgb", "fusion"][: 3 if fusion else 2]
    defects = [DEFECTS[i % len(DEFECTS)] for i in range(defective)] + ["good"] * good
    masks, maps, decisions = [], {name: [] for name in banks}, []
    for i in range(good + defective):
        mask = np.zeros((size, size), np.uint8)
        if i < defective:
            y, x = rng.integers(size // 8, size // 2, 2)
            mask[y : y + size // 5, x : x + size // 6] = 1
        raised = gaussian_filter(mask.astype(float), size / 40) * rng.uniform(0.1, 1.0)
        rgb, xyz = smooth(rng, size) + raised, smooth(rng, size) + raised * rng.uniform(0, 1)
        bank = smooth(rng, size) + raised
        decision = 0.3 * rgb + 0.5 * xyz + bank
        masks.append(mask)
        for name, m in zip(banks, (xyz, rgb, bank)):
            maps[name].append(m.astype(np.float32))
        decisions.append(decision)
    training = None
    if train:
        trained = [{name: smooth(rng, size) for name in banks} for _ in range(train)]
        decided = [0.3 * part["rgb"] + 0.5 * part["xyz"] + part.get("fusion", 0) for part in trained]
        training = evaluation.TrainingParts.of(
            [f"{category}/train/good/rgb/{i:03d}.png" for i in range(train)], decided, trained, scoring_addon.DEFAULTS
        )
    pictures = rng.integers(0, 255, (good + defective, 224, 224, 3), dtype=np.uint8)
    meta = {
        "method_name": "DINO+Point_MAE+Fusion",
        "options": {"f_coreset": 0.1, "fix": [], **options},
        "seed": 0,
        "weights": [{"network": "RGB", "path": "dino.pth", "standin": True}],
    }
    scores = np.stack(decisions).max((1, 2))
    return evaluation.Evaluation(
        category,
        tuple(f"{category}/test/{defect}/rgb/{i:03d}.png" for i, defect in enumerate(defects)),
        tuple(defects),
        np.array([defect != "good" for defect in defects], np.uint8),
        np.stack(masks),
        scores,
        np.stack(decisions),
        {name: scores.copy() for name in banks},
        {name: np.stack(m) for name, m in maps.items()},
        pictures,
        training=training,
        meta=meta,
    )


def write_category(path, *args, train_maps=True, **kwargs):
    """Write the file of saved maps of :func:`make_evaluation` at ``path``; returns the path."""
    evaluation.write(make_evaluation(*args, **kwargs), path, train_maps)
    return path
