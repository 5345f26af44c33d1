"""Each patch's nearest row of a memory bank."""

from typing import NamedTuple

import numpy as np
import torch

PRODUCTS = 2**22  # entries of a block of products on the CPU: 16 MiB, near a cache
PRODUCTS_GPU = 2**26  # the same on a GPU: 256 MiB, so that few kernels are launched
ROWS_A_BLOCK = 8192  # bank rows per block at most: a block's rows may be copied (36 MiB of 1152 columns)
ALIGNED = 256  # rows per block are a multiple of it: products of 3136 patches and 1337 rows took 1.4 times as long as
# those with 1280
DIRECTIONS = 64  # principal directions of the lower bound: 5 % of the columns, most of the spread of features
SAMPLE = 16384  # rows that the directions are taken from: more move them no further
FEWEST_BOUNDED = 16384  # banks of fewer rows are searched without the bound: it would not pay
BOUNDS = 2**24  # entries of a block of lower bounds: 64 MiB
MOST_LEFT = 0.3  # share of the rows left by the bound above which it is not tried again
ROUNDING = 2e-6  # of a squared distance from float32 products, as a share of the two squared norms


class Nearest(NamedTuple):
    """Of each patch: its distance to the nearest row, and that row's index (int64)."""

    distance: torch.Tensor
    index: torch.Tensor


class RowSearch:
    """Rows of a memory bank, made ready for being searched.

    Distances are float32 expansions of the matrix product, ‖p‖² + ‖r‖² - 2 p·r, as in the release: the distance of a
    row to itself comes out as about 0.02 for 1000 columns of unit scale. The rows' squared norms are kept.

    Args:
        rows: [R, C] float32 tensor; searched on its device.
        bounded: whether to keep a :class:`LowerBound`, None: where it pays.

    Attributes:
        rows: as given.
        norms: [R], the rows' squared norms.
        bound: LowerBound, or None.
    """

    def __init__(self, rows, bounded=None):
        self.rows = rows
        self.norms = torch.cat([(block * block).sum(1) for block in rows.split(ROWS_A_BLOCK)])
        if bounded is None:  # on a GPU the products are cheap, and waiting for the host is not
            bounded = rows.device.type == "cpu" and len(rows) >= FEWEST_BOUNDED
        self.bound = LowerBound(rows, self.norms) if bounded else None

    @classmethod
    def of_known(cls, rows, norms, bound=None):
        """A search over ``rows`` [R, C] whose ``norms`` [R] and LowerBound are known."""
        search = cls.__new__(cls)
        search.rows, search.norms, search.bound = rows, norms, bound
        return search

    @property
    def device(self):
        """Where patches are expected and results come."""
        return self.rows.device

    def nearest(self, patches, excluded=None):
        """Nearest row of each patch.

        Args:
            patches: [P, C].
            excluded: [R] bool tensor, the rows that do not count; None: all count.

        Returns:
            Nearest of [P] each.
        """
        return self.nearest_each(patches, (excluded,))[0]

    def nearest_each(self, patches, exclusions):
        """:meth:`nearest` for each of ``exclusions``, from one pass: a list, equal to the single calls bit for bit.

        Every exclusion leaves out at least what those before it do, so None comes first.
        """
        if patches.device.type != "cpu":
            return _distances(patches, self.raw_each(patches, exclusions))
        first, inverse = distinct_rows(patches)  # equal patches (background) are looked up once
        patches = patches[first]
        return [
            Nearest(distance[inverse], index[inverse])
            for distance, index in _distances(patches, self.raw_each(patches, exclusions))
        ]

    def raw_each(self, patches, exclusions):
        """:meth:`nearest_each` with squared distances that lack the patches' own squared norms, patches as they are.

        Of several searches' rows the nearest are found by these: a patch's own norm rounds differences away.
        """
        return (self._compare if self.bound is None else self._compare_with_candidates)(patches, exclusions)

    def rows_at(self, index):
        """Rows [n, C] at the positions ``index`` [n]."""
        return self.rows[index]

    def from_row(self, index):
        """Squared distances [R] of the row at ``index`` ([1] int64) to all rows, without the row's own squared norm.

        So they order the rows by their distance to it.
        """
        return self.from_vector(self.rows[index][0])

    def from_vector(self, vector):
        """The same for any vector [C]."""
        return torch.addmv(self.norms, self.rows, vector, alpha=-2)

    def _compare(self, patches, exclusions, positions=None):
        """:meth:`raw_each` by comparison with each row, or with those at ``positions``, block by block."""
        count = len(self.rows if positions is None else positions)
        found = [
            Nearest(
                patches.new_full((len(patches),), torch.inf),
                torch.zeros(len(patches), dtype=torch.long, device=patches.device),
            )
            for _ in exclusions
        ]
        size = rows_per_block(len(patches), patches.device)
        for start in range(0, count, size):
            some = slice(start, start + size) if positions is None else positions[start : start + size]
            squared = torch.addmm(
                self.norms[some], patches, self.rows[some].T, alpha=-2
            )  # but for the patches' own norms
            for k, (excluded, (best, index)) in enumerate(zip(exclusions, found)):
                least, nearest = _leave_out(squared, excluded, some).min(1)
                nearest = nearest + start if positions is None else some[nearest]
                closer = least < best
                found[k] = Nearest(torch.where(closer, least, best), torch.where(closer, nearest, index))
        return found

    def _compare_with_candidates(self, patches, exclusions):
        """As :meth:`_compare`, but only with rows whose lower bound does not exceed an upper bound.

        Patches go in groups of similar ones. The upper bound is the distance to the row of the smallest lower bound;
        the rows that any patch of the group may have as its nearest are compared with all of the group.
        """
        bound = self.bound
        z = bound.project(patches)
        slack = ROUNDING * ((patches * patches).sum(1) + bound.largest_norm)
        groups = list(z[:, 0].argsort().split(max(1, min(256, BOUNDS // len(self.rows)))))
        found = [Nearest(torch.empty(len(z)), torch.empty(len(z), dtype=torch.long)) for _ in exclusions]
        left = {}  # group from which on an exclusion goes the plain way → those exclusions
        for i, group in enumerate(groups):
            bounded = [k for k in range(len(exclusions)) if not any(k in given_up for given_up in left.values())]
            if not bounded:
                break
            lower = torch.cdist(z[group], bound.z, compute_mode="use_mm_for_euclid_dist")
            for k in bounded:
                guess = _leave_out(lower, exclusions[k], slice(None)).argmin(1)
                upper = torch.linalg.vector_norm(patches[group] - self.rows[guess], dim=1)
                limit = (upper * upper + slack[group]).sqrt_()
                candidates = (lower <= limit[:, None]).any(0).nonzero()[:, 0]
                if len(candidates) > MOST_LEFT * len(self.rows):  # features without a structure
                    left.setdefault(i, []).append(k)
                    continue
                # what is excluded is not among the candidates
                found[k][0][group], found[k][1][group] = self._compare(patches[group], (None,), candidates)[0]
        for i, given_up in left.items():
            group = torch.cat(groups[i:])
            for k, nearest in zip(given_up, self._compare(patches[group], [exclusions[k] for k in given_up])):
                found[k][0][group], found[k][1][group] = nearest
        return found


def rows_per_block(patches, device):
    """How many bank rows are compared with so many ``patches`` at once on ``device``."""
    size = (PRODUCTS if device.type == "cpu" else PRODUCTS_GPU) // max(1, patches)
    return max(512, min(size, ROWS_A_BLOCK) // ALIGNED * ALIGNED)


def _distances(patches, found):
    """Nearest with distances, of those that :meth:`RowSearch.raw_each` found for patches [P, C]."""
    own = (patches * patches).sum(1)
    return [Nearest((squared + own).clamp_(min=0).sqrt_(), index) for squared, index in found]


def _leave_out(distances, excluded, some):
    """``distances`` [n, rows] with infinity in the columns of the excluded ones among the rows ``some``; in place."""
    if excluded is None:
        return distances
    if distances.device.type != "cpu":  # where counting the columns would wait for it
        return distances.masked_fill_(excluded[some], torch.inf)
    return distances.index_fill_(1, excluded[some].nonzero()[:, 0], torch.inf)


class LowerBound:
    """Bounds the distances of patches to rows from below, in few dimensions.

    With orthonormal directions Q, a vector splits into Qᵀv and a rest at right angles to them, of length ρ.
    Rests of lengths ρ and ρ' are at least |ρ - ρ'| apart, so ‖p - r‖ ≥ ‖z(p) - z(r)‖ with z(v) = (Qᵀv, ρ(v)).
    Q are the rows' principal directions, which makes the bound tight; any others would keep it true.

    Args:
        rows: [R, C]; norms: [R], their squared norms.

    Attributes:
        centre, directions: [C] and [C, DIRECTIONS], of the projection.
        z: [R, DIRECTIONS + 1].
        largest_norm: the largest squared norm of a row.
    """

    def __init__(self, rows, norms):
        sample = rows[:: max(1, len(rows) // SAMPLE)]
        self.centre = sample.mean(0)
        sample = sample - self.centre
        directions = torch.linalg.eigh(sample.T @ sample).eigenvectors
        self.directions = directions[:, -DIRECTIONS:].flip(1).contiguous()  # the most spread first
        self.largest_norm = float(norms.max())
        self.z = torch.cat([self.project(block) for block in rows.split(ROWS_A_BLOCK)])

    @classmethod
    def of_known(cls, centre, directions, z, largest_norm):
        """A bound whose attributes are known."""
        bound = cls.__new__(cls)
        bound.centre, bound.directions, bound.z, bound.largest_norm = centre, directions, z, largest_norm
        return bound

    def project(self, v):
        """z [n, DIRECTIONS + 1] of vectors [n, C]."""
        v = v - self.centre
        along = v @ self.directions
        return torch.cat([along, torch.linalg.vector_norm(v - along @ self.directions.T, dim=1, keepdim=True)], dim=1)


def distinct_rows(rows):
    """The different ones among rows.

    Rows are told apart by a hash of their bits; rows that it puts together are compared.

    Args:
        rows: [R, C] float32 tensor on the CPU (from elsewhere, all of it would come back).

    Returns:
        (first [D], inverse [R]): where each distinct row stands first, in rising order, and which of them each row
        equals, bit for bit.
    """
    bits = rows.contiguous().numpy().view(np.uint32)
    factors = np.random.Generator(np.random.PCG64(0)).integers(1, 2**63, bits.shape[1], dtype=np.uint64) | np.uint64(1)
    step = max(1, BOUNDS // 4 // bits.shape[1])
    starts = range(0, len(bits), step)
    keys = np.concatenate([bits[s : s + step].astype(np.uint64) @ factors for s in starts])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    first, inverse = np.sort(first), rank[inverse.reshape(-1)]
    if not all(np.array_equal(bits[s : s + step], bits[first[inverse[s : s + step]]]) for s in starts):
        first = inverse = np.arange(len(bits))  # two rows share a hash by chance: then none is put together
    return torch.from_numpy(first), torch.from_numpy(inverse)
