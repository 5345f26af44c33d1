"""Each patch's nearest row of a memory bank."""
import numpy as np
import torch

ROWS_A_BLOCK = 8192  # bank rows whose distances are held at once
DIRECTIONS = 64  # principal directions of the lower bound
SAMPLE = 16384  # rows that the directions are taken from
SMALL = 16384  # banks of fewer rows are searched without the bound: it would not pay
BLOCK = 2**24  # entries of a block of bounds
PAYS = 0.3  # share of the rows left by the bound above which it is not tried again
ROUNDING = 2e-6  # of a squared distance from float32 products, as a share of the two squared norms


def nearest_rows(patches, rows, bound=None, among=None):
    """Distance to and index of each patch's nearest row.

    Distances are float32 expansions of the matrix product, as in the release: the distance of a row to
    itself comes out as about 0.02 for 1000 columns of unit scale. Equal patches (background) are looked up once.

    Args:
        patches: [P, C]; rows: [R, C].
        bound: LowerBound of ``rows``, or None to compare with every row.
        among: [K] int64 positions of the rows that count, in rising order; None: all.

    Returns:
        (distance [P], index [P] int64).
    """
    if patches.is_cuda:  # there the product is cheap, and waiting for the host is not
        return _compare(patches, rows, among)
    first, inverse = distinct_rows(patches)
    patches = patches[first]
    distance, index = _compare(patches, rows, among) if bound is None else _compare_with_few(patches, rows, bound, among)
    return distance[inverse], index[inverse]


def _compare(patches, rows, among=None):
    """:func:`nearest_rows` by comparison with each row, a block of them at a time."""
    best = patches.new_full((len(patches),), torch.inf)
    index = torch.zeros(len(patches), dtype=torch.long, device=patches.device)
    for start in range(0, len(rows if among is None else among), ROWS_A_BLOCK):
        some = slice(start, start + ROWS_A_BLOCK)
        distance, nearest = _distances(patches, rows[some if among is None else among[some]]).min(1)
        closer = distance < best
        best, index = torch.where(closer, distance, best), torch.where(closer, nearest + start, index)
    return best, index if among is None else among[index]


def _compare_with_few(patches, rows, bound, among):
    """As :func:`_compare`, but only with rows whose lower bound does not exceed an upper bound.

    Patches go in groups of similar ones. The upper bound is the distance to the row of the smallest lower
    bound; the rows that any patch of the group may have as its nearest are compared with all of the group.
    """
    z, rows_z = bound.project(patches), bound.z if among is None else bound.z[among]
    best = patches.new_empty(len(patches))
    index = torch.empty(len(patches), dtype=torch.long, device=patches.device)
    slack = ROUNDING * ((patches * patches).sum(1) + bound.largest_norm)
    groups = list(z[:, 0].argsort().split(max(1, min(256, BLOCK // len(rows_z)))))
    for i, group in enumerate(groups):
        lower = _distances(z[group], rows_z)
        guess = lower.argmin(1)
        upper = torch.linalg.vector_norm(patches[group] - rows[guess if among is None else among[guess]], dim=1)
        limit = (upper * upper + slack[group]).sqrt_()
        few = (lower <= limit[:, None]).any(0).nonzero()[:, 0]
        if len(few) > PAYS * len(rows_z):  # features without a structure: all that are left in the plain way
            group = torch.cat(groups[i:])
            best[group], index[group] = _compare(patches[group], rows, among)
            break
        best[group], index[group] = _compare(patches[group], rows, few if among is None else among[few])
    return best, index


def _distances(a, b):
    return torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist")


class LowerBound:
    """Bounds the distances of patches to rows from below, in few dimensions.

    With orthonormal directions Q, a vector splits into Qᵀv and a rest at right angles to them, of length ρ.
    Rests of lengths ρ and ρ' are at least |ρ - ρ'| apart, so ‖p - r‖ ≥ ‖z(p) - z(r)‖ with z(v) = (Qᵀv, ρ(v)).
    Q are the rows' principal directions, which makes the bound tight; any others would keep it true.

    Args:
        rows: [R, C].

    Attributes:
        z: [R, DIRECTIONS + 1].
        largest_norm: the largest squared norm of a row.
    """

    def __init__(self, rows):
        sample = rows[::max(1, len(rows) // SAMPLE)]
        self._centre = sample.mean(0)
        sample = sample - self._centre
        directions = torch.linalg.eigh(sample.T @ sample).eigenvectors
        self._directions = directions[:, -DIRECTIONS:].flip(1).contiguous()  # the most spread first
        self.largest_norm = max(float((block * block).sum(1).max()) for block in rows.split(ROWS_A_BLOCK))
        self.z = torch.cat([self.project(block) for block in rows.split(ROWS_A_BLOCK)])

    @classmethod
    def where_it_pays(cls, rows):
        """The bound of ``rows``, or None where plain comparison is as good: few rows, or a GPU."""
        return None if rows.is_cuda or len(rows) < SMALL else cls(rows)

    def project(self, v):
        """z [n, DIRECTIONS + 1] of vectors [n, C]."""
        v = v - self._centre
        along = v @ self._directions
        return torch.cat([along, torch.linalg.vector_norm(v - along @ self._directions.T, dim=1, keepdim=True)], dim=1)


def distinct_rows(rows):
    """The different ones among rows.

    Rows are told apart by a hash of their bits; rows that it puts together are compared.

    Args:
        rows: [R, C] float32 tensor.

    Returns:
        (first [D], inverse [R]): where each distinct row stands first, in rising order, and which of them each row equals, bit for bit.
    """
    bits = rows.cpu().contiguous().numpy().view(np.uint32)
    factors = np.random.Generator(np.random.PCG64(0)).integers(1, 2**63, bits.shape[1], dtype=np.uint64) | np.uint64(1)
    step = max(1, BLOCK // 4 // bits.shape[1])
    starts = range(0, len(bits), step)
    keys = np.concatenate([bits[s:s + step].astype(np.uint64) @ factors for s in starts])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    first, inverse = np.sort(first), rank[inverse.reshape(-1)]
    if not all(np.array_equal(bits[s:s + step], bits[first[inverse[s:s + step]]]) for s in starts):
        first = inverse = np.arange(len(bits))  # two rows share a hash by chance: then none is put together
    return torch.from_numpy(first).to(rows.device), torch.from_numpy(inverse).to(rows.device)
