"""Exact search for each patch's nearest row in a memory bank.

*Bound*: orthonormal directions Q split a vector v into Qᵀv and a rest at right angles to Q, of length ρ(v). Rests of
lengths ρ and ρ' are at least |ρ - ρ'| apart, so ‖p - r‖ ≥ ‖z(p) - z(r)‖ with z(v) = (Qᵀv, ρ(v)). Any Q gives a valid
bound; the rows' principal directions give a tight one. So few rows have to be compared in all columns.
"""

import importlib.util
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

PRODUCTS = 2**22  # entries in a block of products on the CPU: 16 MiB, about the size of a cache
PRODUCTS_GPU = 2**26  # the same on a GPU: 256 MiB, so that few kernels are launched
ROWS_A_BLOCK = 8192  # largest number of bank rows per block: a block may be copied (36 MiB with 1152 columns)
ALIGNED = 256  # rows per block are a multiple of it: products of 3136 patches and 1337 rows took 1.4 times as long as
# those with 1280
DIRECTIONS = 64  # principal directions of the lower bound: 5 % of the columns hold most of the features' spread
SAMPLE = 16384  # rows from which the directions are computed: more rows hardly change them
FEWEST_BOUNDED = 16384  # banks with fewer rows are searched without the bound, which would not pay
FIRST_GROUP = 32  # patches that the bound is tried with first, so that a vain attempt costs little
BOUNDS = 2**24  # entries in a block of lower bounds: 64 MiB
MOST_LEFT = 0.3  # if the bound leaves more than this share of the rows, it is not used again
ROUNDING = 2e-6  # rounding of a squared distance from float32 products, as a share of the two squared norms


class Nearest(NamedTuple):
    """For each patch: the distance to its nearest row, and that row's index (int64)."""

    distance: torch.Tensor
    index: torch.Tensor


class LowerBound(NamedTuple):
    """What the lower bound of the distances to R rows needs: centre [C], subtracted first; directions [C, DIRECTIONS],
    Q; z [R, DIRECTIONS + 1]; the largest squared norm of a row."""

    centre: torch.Tensor
    directions: torch.Tensor
    z: torch.Tensor
    largest_norm: float

    @classmethod
    def of(cls, rows, norms):
        """The bound for ``rows`` [R, C] with squared norms ``norms`` [R]."""
        sample = rows[:: max(1, len(rows) // SAMPLE)]
        centre = sample.mean(0)
        sample = sample - centre
        directions = torch.linalg.eigh(sample.T @ sample).eigenvectors
        directions = directions[:, -DIRECTIONS:].flip(1).contiguous()  # the most spread first
        bound = cls(centre, directions, None, float(norms.max()))
        return bound._replace(z=torch.cat([bound.project(block) for block in rows.split(ROWS_A_BLOCK)]))

    def project(self, v):
        """z [n, DIRECTIONS + 1] of vectors [n, C]."""
        v = v - self.centre
        along = v @ self.directions
        return torch.cat([along, torch.linalg.vector_norm(v - along @ self.directions.T, dim=1, keepdim=True)], dim=1)


class RowSearch:
    """``rows`` [R, C] float32 of a memory bank, prepared for the search on their device.

    Distances are computed in float32 as ‖p‖² + ‖r‖² - 2 p·r, with one matrix product, as in the release. With 1000
    columns of unit scale, rounding makes the distance of a row to itself about 0.02. ``bounded``: whether to use a
    :class:`LowerBound`; None: if it pays. ``norms``, ``bound``: from a RowSearch of the same rows, if known."""

    def __init__(self, rows, bounded=None, norms=None, bound=None):
        self.rows, self.norms, self.bound = rows, norms, bound
        if norms is None:
            self.norms = torch.cat([(block * block).sum(1) for block in rows.split(ROWS_A_BLOCK)])
            if bounded is None:  # on a GPU the products are cheap, but the bound makes it wait for the host
                bounded = rows.device.type == "cpu" and len(rows) >= FEWEST_BOUNDED
            self.bound = LowerBound.of(rows, self.norms) if bounded else None

    def nearest(self, patches, excluded=None):
        """Nearest of [P] each, of patches [P, C] on the rows' device; ``excluded``: [R] bool, rows left out."""
        norms = self._norms(excluded)
        merged = patches.device.type == "cpu"
        if merged:  # equal patches (background) are looked up once
            first, inverse = distinct_rows(patches)
            patches = patches[first]
        own = (patches * patches).sum(1)
        squared, index = (self._compare if self.bound is None else self._compare_with_candidates)(patches, norms)
        distance = (squared + own).clamp_(min=0).sqrt_()
        return Nearest(distance[inverse], index[inverse]) if merged else Nearest(distance, index)

    def nearest_of_row(self, index, count, excluded=None):
        """Indices [count] of the rows nearest to the row at ``index`` ([1] int64), without that row and the excluded
        ones; of equally near rows the first. No value is sent to the host, so a GPU need not wait."""
        away = torch.addmv(self._norms(excluded), self.rows, self.rows[index][0], alpha=-2)
        found = [index]
        for _ in range(count):
            away.index_fill_(0, found[-1], torch.inf)
            found.append(away.argmin(0, keepdim=True))
        return torch.cat(found[1:])

    def _norms(self, excluded):
        """The squared norms; infinite for excluded rows, so that no row is farther away."""
        return self.norms if excluded is None else self.norms.masked_fill(excluded, torch.inf)

    def _compare(self, patches, norms, positions=None):
        """The Nearest of all rows, or of those at ``positions``, block by block; its distances are squared, and lack
        the patches' own squared norms."""
        count, on_cpu = len(self.rows if positions is None else positions), patches.device.type == "cpu"
        best = patches.new_full((len(patches),), torch.inf)
        index = torch.zeros(len(patches), dtype=torch.long, device=patches.device)
        size = (PRODUCTS if on_cpu else PRODUCTS_GPU) // max(1, len(patches))
        size = max(512, min(size, ROWS_A_BLOCK) // ALIGNED * ALIGNED)
        room = patches.new_empty(len(patches) * min(size, count))  # for all blocks: new memory costs time
        for start in range(0, count, size):
            some = slice(start, start + size) if positions is None else positions[start : start + size]
            rows = self.rows[some]
            squared = room[: len(patches) * len(rows)].view(len(patches), len(rows))  # without the patches' own norms
            torch.addmm(norms[some], patches, rows.T, alpha=-2, out=squared)
            least = squared.amin(1)
            closer = least < best
            if on_cpu:  # positions are slow to find, and later blocks improve few patches
                closer = closer.nonzero()[:, 0]
                squared, least = squared[closer], least[closer]
            nearest = squared.argmin(1)
            nearest = nearest + start if positions is None else some[nearest]
            if on_cpu:
                best[closer], index[closer] = least, nearest
            else:
                best, index = torch.where(closer, least, best), torch.where(closer, nearest, index)
        return Nearest(best, index)

    def _compare_by_faiss(self, patches, norms):
        """As :meth:`_compare` with all rows, by faiss's matrix products, which are faster than torch's on CPUs."""
        faiss().omp_set_num_threads(torch.get_num_threads())
        squared, index = (torch.from_numpy(of[:, 0]) for of in faiss().knn(patches.numpy(), self.rows.numpy(), 1))
        return Nearest(squared - (patches * patches).sum(1), index)

    def _compare_with_candidates(self, patches, norms):
        """As :meth:`_compare`, but groups of similar patches meet only rows whose lower bound is at most an upper
        bound."""
        bound, excluded = self.bound, (~norms.isfinite()).nonzero()[:, 0]
        z = bound.project(patches)
        slack = ROUNDING * ((patches * patches).sum(1) + bound.largest_norm)
        order = z[:, 0].argsort()
        groups = [order[:FIRST_GROUP], *order[FIRST_GROUP:].split(max(1, min(256, BOUNDS // len(self.rows))))]
        found = Nearest(torch.empty(len(z)), torch.empty(len(z), dtype=torch.long))
        for i, group in enumerate(groups):
            lower = torch.cdist(z[group], bound.z, compute_mode="use_mm_for_euclid_dist")
            guess = lower.index_fill_(1, excluded, torch.inf).argmin(1)
            upper = torch.linalg.vector_norm(patches[group] - self.rows[guess], dim=1)
            limit = (upper * upper + slack[group]).sqrt_()
            candidates = (lower <= limit[:, None]).any(0).nonzero()[:, 0]  # none of them is excluded
            if len(candidates) > MOST_LEFT * len(self.rows):  # the features have no structure that it could use
                left = torch.cat(groups[i:])
                whole = self._compare if len(excluded) or faiss() is None else self._compare_by_faiss
                found.distance[left], found.index[left] = whole(patches[left], norms)
                break
            found.distance[group], found.index[group] = self._compare(patches[group], norms, candidates)
        return found


@lru_cache(maxsize=None)
def faiss():
    """The module faiss, or None where it is not installed (requirements-faiss.txt)."""
    return importlib.import_module("faiss") if importlib.util.find_spec("faiss") else None


def distinct_rows(rows):
    """(first [D], inverse [R]) of float32 rows [R, C] on the CPU: the position of each distinct row's first occurrence,
    ascending; and for each row the number of the distinct row that it equals bit for bit."""
    number = {}
    values = rows.contiguous().numpy()
    inverse = np.array([number.setdefault(row.tobytes(), len(number)) for row in values], dtype=np.int64)
    first = np.unique(inverse, return_index=True)[1]
    return torch.from_numpy(first), torch.from_numpy(inverse)
