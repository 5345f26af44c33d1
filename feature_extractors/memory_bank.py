"""A memory bank: the normal patches of one modality, and how far from them a part is: its anomaly score and map."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from common.errors import InputError
from feature_extractors.nearest_rows import RowSearch

BLUR = 4  # pixels: radius of the released blur, and sigma of the blur of float maps
NEEDED = 3  # fewest rows that can score: a patch's nearest row, and the two rows nearest to that row
NO_PART = -1  # part of a row that comes from no training part


class MemoryBank:
    """Patches of normal parts and the released nearest-row scoring.

    ``rows`` [R, C] float32 are scaled: a patch v is measured as (v - mean) / std. ``part`` [R] int64 (CPU): the
    training part that each row comes from, or ``NO_PART``. ``weight_eps`` is added to the denominator of the score's
    weight; ``divisor``: of s*, e2 and e3 (see :meth:`measure`), and so of the score."""

    def __init__(self, rows, part, mean=0.0, std=1.0, weight_eps=0.0, divisor=1.0, search=None):
        self.rows, self.part = rows, part
        self.mean, self.std, self.weight_eps, self.divisor = mean, std, weight_eps, divisor
        self.search = search or RowSearch(rows)
        self._part_there = part.to(rows.device)
        self._rows_of_part = np.bincount(part.numpy() + 1)[1:].tolist()  # counted once, so no GPU waits later

    def __len__(self):
        return len(self.rows)

    @torch.no_grad()
    def measure(self, patches, excluding_part=None):
        """(Score of a sample, a 0-d tensor; Nearest of [P] each), from its unscaled patches [P, C], without the rows of
        the training part ``excluding_part``. Raises InputError: fewer than 3 rows are left.

        Let p be the patch with the largest distance s*, b its nearest row, e2 and e3 the distances of p to the 2nd and
        3rd of the rows nearest to b (b is the first), and D = sqrt(C). Then score = s* (1 - exp(s*/D) / (exp(e2/D) +
        exp(e3/D)))."""
        own = self._rows_of_part[excluding_part] if excluding_part in range(len(self._rows_of_part)) else 0
        if len(self) - own < NEEDED:
            raise InputError(
                f"a memory bank of {len(self) - own} rows cannot score ({NEEDED} are needed): "
                "raise --f_coreset or give more training parts"
            )
        patches = (patches.to(self.rows.device) - self.mean) / self.std
        excluded = None if excluding_part is None else self._part_there == excluding_part
        nearest = self.search.nearest(patches, excluded)
        farthest = nearest.distance.argmax(0, keepdim=True)  # [1], since indexing by a number would wait for the GPU
        p, b, s = patches[farthest], nearest.index[farthest], nearest.distance[farthest][0]
        neighbours = self.search.nearest_of_row(b, NEEDED - 1, excluded)
        spread = torch.linalg.vector_norm(p - self.rows[neighbours], dim=1)
        s, spread = s / self.divisor, spread / self.divisor
        root = self.rows.shape[1] ** 0.5
        weight = 1 - torch.exp(s / root) / (torch.exp(spread / root).sum() + self.weight_eps)
        return weight * s, nearest


def anomaly_map(distance, size, float_blur=False):
    """Anomaly map [size, size] float32: patch distances [h·w] of a square grid, upsampled and blurred. ``float_blur``:
    Gaussian, sigma 4, edge replicated, cut at 4 sigma. If False, as released, the map becomes an 8-bit image (its
    maximum is 255) and is blurred by PIL's Gaussian blur."""
    side = round(len(distance) ** 0.5)
    grid = distance.reshape(1, 1, side, side)
    grid = F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
    peak = grid.max()
    if not peak > 0:
        return grid
    if float_blur:
        return gaussian_filter(grid, sigma=BLUR, mode="nearest", truncate=4)
    picture = Image.fromarray((grid / peak * 255).astype(np.uint8))
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius=BLUR)), dtype=np.float32)
    return blurred / np.float32(255) * peak
