"""A memory bank: the normal patches of one modality, and how a part is scored against them."""
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from feature_extractors.coreset import greedy_k_center, project
from feature_extractors.nearest_rows import LowerBound, nearest_rows
from feature_extractors.row_store import RowStore
from utils.errors import InputError

BLUR = 4  # pixels: radius of the released blur, sigma of the one on float maps
NO_OWNER = -1


class MemoryBank:
    """Patches of normal parts and the released nearest-row scoring.

    Training rows lie in ``store``, as they were added, until :meth:`gather` brings the kept ones into memory.

    Args:
        weight_eps: added to the denominator of the score's weight.
        divisor: s*, e2 and e3 are divided by it before the exponentials, and the score with them.
        spool_dir: folder that training rows are spooled to, or None to keep them in memory.

    Attributes:
        store: RowStore of all training rows.
        rows: [R, C] float32 tensor, scaled, from :meth:`gather` on; None before.
        owner: [R] int64 tensor, the training sample each row came from; -1 for an appended row.
        mean, std: scalars; every patch is measured as (v - mean) / std.
    """

    def __init__(self, weight_eps=0.0, divisor=1.0, spool_dir=None):
        self.weight_eps, self.divisor = weight_eps, divisor
        self.mean, self.std = 0.0, 1.0
        self.store, self.rows, self.owner = RowStore(spool_dir), None, torch.empty(0, dtype=torch.long)
        self._kept = None  # positions in the store before gather; None: all
        self._bound = None

    def __len__(self):
        """Rows kept so far."""
        if self.rows is not None:
            return len(self.rows)
        return len(self.store) if self._kept is None else len(self._kept)

    def add(self, patches, owner):
        """Add one training sample's patches [P, C], ``owner`` being its number."""
        self.store.append(patches)
        self.owner = torch.cat([self.owner, self.owner.new_full((len(patches),), owner)])

    def scale(self, mean, std):
        """From now on every row v and every patch measured is (v - mean) / std; to be called before :meth:`gather`."""
        self.mean, self.std = float(mean), float(std)

    def thin_out(self, count, eps, random_state, device, progress=None):
        """Keep a coreset of at most ``count`` rows (at least one)."""
        self._keep(greedy_k_center(project(self._blocks(), len(self), self.store.width, eps, random_state).to(device), max(1, count), progress))

    def drop_rows_with_zero(self):
        """Drop the rows that hold an exact zero."""
        self._keep(torch.cat([(block != 0).all(1) for block in self._blocks()]))

    def gather(self):
        """Bring the kept rows into memory."""
        rows, start = torch.empty(len(self), self.store.width), 0
        for block in self._blocks():
            rows[start:start + len(block)] = block
            start += len(block)
        self.owner = self.owner[self._positions()]
        self.rows, self._kept = rows, None

    def append_row(self, value):
        """Append one row of ``value`` in every column, after :meth:`gather`."""
        self.rows = torch.cat([self.rows, self.rows.new_full((1, self.rows.shape[1]), value)])
        self.owner = torch.cat([self.owner, self.owner.new_full((1,), NO_OWNER)])

    def finish(self, device):
        """Make the gathered rows ready to be measured against, on ``device``."""
        self.rows, self.owner = self.rows.to(device), self.owner.to(device)
        self._bound = LowerBound.where_it_pays(self.rows)

    def _positions(self):
        return torch.arange(len(self.store)) if self._kept is None else self._kept

    def _blocks(self):
        if self.rows is not None:
            return iter([self.rows])
        return (block.sub_(self.mean).div_(self.std) for block in self.store.blocks(self._positions()))

    def _keep(self, index):
        if self.rows is None:
            self._kept = self._positions()[index]
        else:
            self.rows, self.owner = self.rows[index], self.owner[index]

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
        rows, among = self.rows, None
        if without_owner is not None:
            among = (self.owner != without_owner).nonzero()[:, 0]
        if len(rows if among is None else among) < 3:
            raise InputError(f"a memory bank of {len(rows if among is None else among)} rows cannot score (3 are needed): "
                             "raise --f_coreset or give more training parts")
        patches = (patches.to(rows.device) - self.mean) / self.std
        distance, nearest = nearest_rows(patches, rows, self._bound, among)
        farthest = distance.argmax(0, keepdim=True)  # [1], since indexing by a single number would wait for a GPU
        p, b, s = patches[farthest], nearest[farthest], distance[farthest][0]
        around = torch.cdist(rows[b], rows)[0].index_fill_(0, b, -1)
        if among is not None:
            around[self.owner == without_owner] = torch.inf
        others = around.sort(stable=True).indices[1:3]
        e = torch.linalg.vector_norm(p - rows[others], dim=1)
        s, e = s / self.divisor, e / self.divisor
        root = rows.shape[1] ** 0.5
        weight = 1 - torch.exp(s / root) / (torch.exp(e / root).sum() + self.weight_eps)
        return weight * s, distance


    def measure_both(self, patches, part):
        return self.measure(patches), self.measure(patches, part)


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
