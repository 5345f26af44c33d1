"""A memory bank: the normal patches of one modality, and how far from them a part is: its anomaly score and map."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from common.errors import InputError
from feature_extractors.coreset import (
    greedy_k_center,
    greedy_k_center_half,
    k_center_by_chunks,
    project,
    projected,
    projected_width,
    rows_at_once,
)
from feature_extractors.nearest_rows import RowSearch
from feature_extractors.row_store import RowStore

BLUR = 4  # pixels: radius of the released blur, and sigma of the blur of float maps
NEEDED = 3  # fewest rows that can score: a patch's nearest row, and the two rows nearest to that row
NO_PART = -1


class NearestRows(NamedTuple):
    """One sample measured against one bank: its score (0-d tensor); of each patch the distance to its nearest row [P],
    and that row's index [P] int64."""

    score: torch.Tensor
    distance: torch.Tensor
    nearest: torch.Tensor


class MemoryBank:
    """Patches of normal parts and the released nearest-row scoring.

    ``store`` holds the training rows, unscaled, until :meth:`gather` loads the kept ones into memory.

    Args:
        weight_eps: added to the denominator of the score's weight.
        divisor: s*, e2 and e3 (see :meth:`measure`) are divided by it, so the score is as well.
        spool_dir: folder of the file for training rows; None: they stay in memory.

    Attributes:
        store: RowStore of all training rows.
        rows: [R, C] float32 tensor, scaled, set by :meth:`gather`; None before.
        part: [R] int64 tensor (CPU), the number of the training part that each row comes from; -1: an appended row.
            Set by :meth:`gather`; empty before.
        place: [R] int64 tensor (CPU), the row-major position of each row's patch in that part; -1: an appended row.
        search: RowSearch over the rows, set by :meth:`finish`; None before.
        mean, std: scalars; a patch v is measured as (v - mean) / std.
    """

    def __init__(self, weight_eps=0.0, divisor=1.0, spool_dir=None):
        self.weight_eps, self.divisor = weight_eps, divisor
        self.mean, self.std = 0.0, 1.0
        self.store, self.rows = RowStore(spool_dir), None
        self.part = self.place = torch.empty(0, dtype=torch.long)
        self._numbers = []  # the number of each part in the store
        self._kept = None  # positions in the store before gather; None: all
        self.search = self._part_there = self._rows_of_part = None  # see finish

    def __len__(self):
        """Number of rows kept so far."""
        if self.rows is not None:
            return len(self.rows)
        return len(self.store) if self._kept is None else len(self._kept)

    def add(self, patches, part):
        """Add the patches [P, C] of training part number ``part``, counted from 0."""
        self.store.append(patches)
        self._numbers.append(part)

    def scale(self, mean, std):
        """Set the scaling of all rows and patches v, (v - mean) / std; call it before :meth:`gather`."""
        self.mean, self.std = float(mean), float(std)

    def thin_out(self, count, eps, random_state, device, progress=None, half=False, max_memory=None):
        """Keep a coreset of at most ``count`` rows (at least one).

        Args:
            eps, random_state: of the random projection.
            device: where the rows are compared.
            progress: label of a progress bar; None: no bar.
            half: pick in half precision, as the release does.
            max_memory: GiB; rows that need more are compared chunk by chunk, see ``coreset.k_center_by_chunks``.
        """
        of, count, chunk = (self._blocks(), len(self), self.store.width, eps, random_state), max(1, count), len(self)
        if max_memory is not None:
            chunk = rows_at_once(max_memory, projected_width(len(self), self.store.width, eps), count)
        if chunk < len(self):
            picks = k_center_by_chunks(projected(*of), count, chunk, device, progress)
        else:
            picks = (greedy_k_center_half if half else greedy_k_center)(project(*of), count, device, progress)
        self._keep(picks)

    def drop_rows_with_zero(self):
        """Drop all rows that contain an exact zero."""
        self._keep(torch.cat([(block != 0).all(1) for block in self._blocks()]))

    def gather(self):
        """Load the kept rows into memory."""
        rows, start = torch.empty(len(self), self.store.width), 0
        for block in self._blocks():
            rows[start : start + len(block)] = block
            start += len(block)
        positions, starts = self._positions(), torch.tensor(self.store.starts)
        added = torch.searchsorted(starts, positions, right=True) - 1  # the store holds the part as its ``added``-th
        self.part, self.place = torch.tensor(self._numbers)[added], positions - starts[added]
        self.rows, self._kept = rows, None

    def append_row(self, value):
        """Append one row with ``value`` in every column; call it after :meth:`gather`."""
        self.rows = torch.cat([self.rows, self.rows.new_full((1, self.rows.shape[1]), value)])
        self.part, self.place = (torch.cat([of, of.new_full((1,), NO_PART)]) for of in (self.part, self.place))
        self.search = None

    def finish(self, device, search=None):
        """Prepare the gathered rows for :meth:`measure`, on ``device``.

        search: an existing RowSearch over the rows, or None.
        """
        self.rows = self.rows.to(device)
        self.search = search or RowSearch(self.rows)
        self._part_there = self.part.to(self.search.device)
        self._rows_of_part = np.bincount(self.part.numpy() + 1)[1:].tolist()  # counted once, so no GPU waits later

    @classmethod
    def of_rows(cls, rows, part, place, mean, std, weight_eps, divisor, search=None):
        """A finished bank from another bank's attributes; ``rows`` are already on their device."""
        bank = cls(weight_eps, divisor)
        bank.store.close()
        bank.rows, bank.part, bank.place, bank.mean, bank.std = rows, part, place, mean, std
        bank.finish(rows.device, search)
        return bank

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
            self.rows, self.part, self.place = self.rows[index], self.part[index], self.place[index]
            self.search = None

    @torch.no_grad()
    def measure(self, patches, excluding_part=None):
        """Score one sample against the bank.

        Args:
            patches: [P, C], unscaled.
            excluding_part: number of a training part whose rows are left out.

        Returns:
            NearestRows.

        Raises:
            InputError: fewer than 3 rows are left.

        Let p be the patch with the largest distance s*, b its nearest row, e2 and e3 the distances of p to the 2nd
        and 3rd of the rows nearest to b (b is the first), and D = sqrt(C). Then
        score = s* (1 - exp(s*/D) / (exp(e2/D) + exp(e3/D))).
        """
        if self.search is None:
            self.finish(self.rows.device)
        own = self._rows_of_part[excluding_part] if excluding_part in range(len(self._rows_of_part)) else 0
        if len(self.rows) - own < NEEDED:
            raise InputError(
                f"a memory bank of {len(self.rows) - own} rows cannot score ({NEEDED} are needed): "
                "raise --f_coreset or give more training parts"
            )
        patches = (patches.to(self.search.device) - self.mean) / self.std
        excluded = None if excluding_part is None else self._part_there == excluding_part
        nearest = self.search.nearest(patches, excluded)
        return NearestRows(self._score(patches, nearest, excluded), *nearest)

    def _score(self, patches, nearest, excluded):
        farthest = nearest.distance.argmax(0, keepdim=True)  # [1], since indexing by a number would wait for the GPU
        p, b, s = patches[farthest], nearest.index[farthest], nearest.distance[farthest][0]
        neighbours = self._neighbours(b, excluded)
        spread = torch.linalg.vector_norm(p - self.rows[neighbours], dim=1)
        s, spread = s / self.divisor, spread / self.divisor
        root = self.rows.shape[1] ** 0.5
        weight = 1 - torch.exp(s / root) / (torch.exp(spread / root).sum() + self.weight_eps)
        return weight * s

    def _neighbours(self, row, excluded):
        """Indices [2] of the two rows nearest to the row at ``row`` ([1]), without that row and the excluded ones."""
        away = self.search.from_row(row)
        if excluded is not None:
            away.masked_fill_(excluded, torch.inf)
        found = []
        for _ in range(NEEDED - 1):
            away.index_fill_(0, row if not found else found[-1], torch.inf)
            found.append(away.argmin(0, keepdim=True))  # of equally near rows the first
        return torch.cat(found)


def anomaly_map(distance, size, float_blur=False):
    """Anomaly map: the patch distances, upsampled and blurred.

    Args:
        distance: [h·w] of a square grid.
        size: side of the map in pixels.
        float_blur: blur the float map (Gaussian, sigma 4, edge replicated, cut at 4 sigma). If False, as released, the
            map becomes an 8-bit image (its maximum is 255) and is blurred by PIL's Gaussian blur.

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
