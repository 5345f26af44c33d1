"""A memory bank: the normal patches of one modality, and how a part is scored against them."""
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from feature_extractors.coreset import coreset_indices
from utils.errors import InputError

ROWS_A_BLOCK = 8192  # bank rows whose distances are held at once
BLUR = 4  # pixels: radius of the released blur, sigma of the one on float maps
NO_OWNER = -1


class MemoryBank:
    """Patches of normal parts and the released nearest-row scoring.

    Args:
        weight_eps: added to the denominator of the score's weight.
        divisor: s*, e2 and e3 are divided by it before the exponentials, and the score with them.

    Attributes:
        rows: [R, C] float32 tensor, after :meth:`join` one row a patch, later scaled and thinned out.
        owner: [R] int64 tensor, the training sample each row came from; -1 for an appended row.
        mean, std: scalars; every patch is measured as (v - mean) / std.
    """

    def __init__(self, weight_eps=0.0, divisor=1.0):
        self.weight_eps, self.divisor = weight_eps, divisor
        self.mean, self.std = 0.0, 1.0
        self.rows = self.owner = None
        self._parts = []

    def __len__(self):
        return len(self._parts) if self.rows is None else len(self.rows)

    def add(self, patches, owner):
        """Add one training sample's patches [P, C], ``owner`` being its number."""
        self._parts.append((patches.cpu(), owner))

    def join(self):
        """Make one matrix of the parts, giving each part's memory back as it is copied."""
        if not self._parts:
            raise InputError("the memory bank is empty: no training part was added")
        width = self._parts[0][0].shape[1]
        sizes = [len(part) for part, _ in self._parts]
        self.rows = torch.empty(sum(sizes), width)
        self.owner = torch.empty(sum(sizes), dtype=torch.long)
        for i, (rows, owner) in enumerate(zip(self.rows.split(sizes), self.owner.split(sizes))):
            part, number = self._parts[i]
            rows.copy_(part)
            owner.fill_(number)
            self._parts[i] = None
        self._parts = []

    def scale(self, mean, std):
        """Replace every row v by (v - mean) / std, and every patch measured later on."""
        self.mean, self.std = float(mean), float(std)
        self.rows.sub_(self.mean).div_(self.std)

    def keep(self, index):
        """Keep only the rows of ``index`` (positions or a mask)."""
        self.rows, self.owner = self.rows[index], self.owner[index]

    def drop_rows_with_zero(self):
        """Drop the rows that hold an exact zero."""
        self.keep((self.rows != 0).all(1))

    def append_row(self, value):
        """Append one row of ``value`` in every column."""
        self.rows = torch.cat([self.rows, self.rows.new_full((1, self.rows.shape[1]), value)])
        self.owner = torch.cat([self.owner, self.owner.new_full((1,), NO_OWNER)])

    def thin_out(self, count, eps, random_state, device, progress=None):
        """Keep a coreset of at most ``count`` rows (at least one)."""
        self.keep(coreset_indices(self.rows, max(1, count), eps, random_state, device, progress))

    def to(self, device):
        self.rows, self.owner = self.rows.to(device), self.owner.to(device)

    def measure(self, patches, without_owner=None):
        """Score one sample against the bank.

        Args:
            patches: [P, C], unscaled.
            without_owner: leave out the rows of this training sample.

        Returns:
            (score, distance): a 0-d tensor, and [P] each patch's distance to its nearest row.

        With p the patch of the largest distance s*, b its nearest row, e2 and e3 p's distances to the 2nd
        and 3rd of the rows nearest to b (b is the first), and D = sqrt(C):
        score = s* (1 - exp(s*/D) / (exp(e2/D) + exp(e3/D))).
        """
        rows = self.rows
        if without_owner is not None:
            rows = rows[self.owner != without_owner]
        if len(rows) < 3:
            raise InputError(f"a memory bank of {len(rows)} rows cannot score (3 are needed): "
                             "raise --f_coreset or give more training parts")
        patches = (patches.to(rows.device) - self.mean) / self.std
        distance, nearest = nearest_rows(patches, rows)
        farthest = distance.argmax()
        p, b, s = patches[farthest], nearest[farthest], distance[farthest]
        around = torch.cdist(rows[b, None], rows)[0]
        around[b] = -1
        others = around.sort(stable=True).indices[1:3]
        e = torch.linalg.vector_norm(p - rows[others], dim=1)
        s, e = s / self.divisor, e / self.divisor
        root = rows.shape[1] ** 0.5
        weight = 1 - torch.exp(s / root) / (torch.exp(e / root).sum() + self.weight_eps)
        return weight * s, distance


def nearest_rows(patches, rows):
    """Distance to and index of each patch's nearest row.

    Distances are float32 expansions of the matrix product, as in the release: the distance of a row to
    itself comes out as about 0.02 for 1000 columns of unit scale.

    Args:
        patches: [P, C]; rows: [R, C].

    Returns:
        (distance [P], index [P] int64).
    """
    best = patches.new_full((len(patches),), torch.inf)
    index = torch.zeros(len(patches), dtype=torch.long, device=patches.device)
    for start in range(0, len(rows), ROWS_A_BLOCK):
        block = torch.cdist(patches, rows[start:start + ROWS_A_BLOCK], compute_mode="use_mm_for_euclid_dist")
        distance, nearest = block.min(1)
        closer = distance < best
        best, index = torch.where(closer, distance, best), torch.where(closer, nearest + start, index)
    return best, index


def anomaly_map(distance, size, float_blur=False):
    """Picture of patch distances, upsampled and blurred.

    Args:
        distance: [h·w] of a square grid.
        size: side of the map in pixels.
        float_blur: blur the float map (Gaussian, sigma 4, edge replicated, cut at 4 sigma) instead of the
            released way: through an 8-bit picture (256 levels of the map's maximum) and PIL's Gaussian blur.

    Returns:
        [size, size] float32 array.
    """
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
