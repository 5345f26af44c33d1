"""The release's methods and attributes of a method object, for users who know them; our own code does not use them."""

import numpy as np
import torch.nn.functional as F

from scoring.metrics import compute_metrics


class ReleasedNames:
    """Call ``predict`` for each test part, then ``calculate_metrics``; the attributes are the release's: image_preds
    one [1] array and image_labels one [1] tensor per part, both stacked to [n, 1] by ``calculate_metrics``; predictions
    and gts one map and one 0/1 mask [S, S] per part; pixel_preds and pixel_labels flat; the metrics None if undefined.
    """

    def __init__(self):
        self.image_preds, self.image_labels, self.predictions, self.gts = [], [], [], []
        self.image_rocauc = self.pixel_rocauc = self.au_pro = None

    pixel_preds = property(lambda self: np.concatenate([np.ravel(m) for m in self.predictions]))
    pixel_labels = property(lambda self: np.concatenate([np.ravel(m) for m in self.gts]))
    deep_feature_extractor = property(lambda self: self.extractor.deep_feature_extractor)
    fusion = property(lambda self: self.extractor.fusion)
    detect_fuser = property(lambda self: self.late_fusion and self.late_fusion.score_model)
    seg_fuser = property(lambda self: self.late_fusion and self.late_fusion.pixel_model)
    patch_xyz_lib = property(lambda self: self.banks["xyz"].rows)
    patch_rgb_lib = property(lambda self: self.banks["rgb"].rows)
    patch_fusion_lib = property(lambda self: self.banks["fusion"].rows)
    patch_lib = property(lambda self: self.banks[self.bank_names[0]].rows)

    def predict(self, sample, mask, label):
        """Score one test part and keep the result; ``mask``: [1, 1, H, W], ``label``: [1], tensors, 1 if defective."""
        judged = self.judge(sample)
        self.image_preds.append(np.array([judged.score]))
        self.image_labels.append(label)
        self.predictions.append(judged.map)
        self.gts.append(mask_of_map(mask, self.map_size))

    def calculate_metrics(self):
        """The metrics of the predicted parts, as attributes."""
        self.image_preds = np.stack(self.image_preds)
        self.image_labels = np.stack([np.asarray(label) for label in self.image_labels])
        found = compute_metrics(np.ravel(self.image_labels), self.image_preds, self.gts, self.predictions)
        self.image_rocauc, self.pixel_rocauc, self.au_pro = found


def mask_of_map(mask, size):
    """A loader's mask [1, 1, H, W] as a 0/1 uint8 array [size, size], resized to the maps' size."""
    if mask.shape[-1] != size:
        mask = F.interpolate(mask, size=(size, size), mode="nearest")
    return mask.reshape(size, size).numpy().astype(np.uint8)
