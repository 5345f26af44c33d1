"""Saved maps of an imaginary category, for tests of what works on saved maps."""
import argparse
from types import SimpleNamespace

import numpy as np
from scipy.ndimage import gaussian_filter

import scoring_addon
from utils.saved_maps import save_maps

DEFECTS = ("crack", "stain")


def _arguments():
    parser = argparse.ArgumentParser()
    scoring_addon.add_arguments(parser, several=True)
    return parser.parse_args([])


def smooth(rng, size):
    """[size, size] smooth positive noise."""
    return gaussian_filter(rng.gamma(2.0, size=(size, size)), size / 40) + 0.1


def write_category(path, category="cookie", good=6, defective=4, train=0, size=64, seed=0, fusion=True, train_maps=True):
    """Write one file of saved maps at ``path``; defects raise the maps inside their masks. Returns the path."""
    rng = np.random.default_rng(seed)
    described, masks, samples, decisions, scores = [], [], [], [], []
    for i in range(good + defective):
        defect = "good" if i >= defective else DEFECTS[i % len(DEFECTS)]
        described.append((f"{category}/test/{defect}/rgb/{i:03d}.png", defect, int(i < defective)))
        mask = np.zeros((size, size), np.uint8)
        if i < defective:
            y, x = rng.integers(size // 8, size // 2, 2)
            mask[y:y + size // 5, x:x + size // 6] = 1
        raised = gaussian_filter(mask.astype(float), size / 40) * rng.uniform(0.1, 1.0)
        rgb, xyz = smooth(rng, size) + raised, smooth(rng, size) + raised * rng.uniform(0, 1)
        bank = smooth(rng, size) + raised
        decision = 0.3 * rgb + 0.5 * xyz + bank
        masks.append(mask)
        samples.append(scoring_addon.SampleMaps(rgb, xyz, bank if fusion else None))
        decisions.append(decision)
        scores.append(decision.max())
    trained = [scoring_addon.SampleMaps(smooth(rng, size), smooth(rng, size), smooth(rng, size) if fusion else None) for _ in range(train)]
    banks = ["xyz", "rgb", "fusion"][:3 if fusion else 2]
    method = SimpleNamespace(gts=masks, scored={"baseline": scoring_addon.Scored(np.array(scores), decisions)}, scoring_samples=samples,
                             bank_scores=[dict.fromkeys(banks, s) for s in scores],
                             args=_arguments(), scoring_reference=None if not train else ([0.3 * s.rgb + 0.5 * s.xyz + (s.bank if fusion else 0) for s in trained], trained))
    pictures = rng.integers(0, 255, (good + defective, 224, 224, 3), dtype=np.uint8)
    meta = {"category": category, "method_name": "DINO+Point_MAE+Fusion", "options": {"f_coreset": 0.1, "fix": []}, "seed": 0, "untrained": True}
    save_maps(path, meta, described, pictures, method, with_training=train_maps)
    return path
