"""Coreset selection: sparse random projection, then greedy k-centre (farthest-first) in the projected space."""
import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim
from tqdm import tqdm

from feature_extractors.nearest_rows import distinct_rows

POOL = 512  # rows that picks are made among at a time
WIDER = 32  # times as many rows are brought up to date at once
BLOCK = 2**21  # entries of a block of distances: what stays in cache
CHUNK = 2**15  # pairs of rows that are compared exactly at once
COMPACT = 64  # picks after which a pool gives up the rows that fell behind
SAMPLE = 16384  # rows that principal directions are taken from
FEW = 1024  # rows that the distance between neighbours is taken from
LEFT_OVER = 0.01  # of that squared distance, that a shorter form may leave out on average
ROUNDING = 1e-6  # bound of a squared distance's float32 rounding, as a share of the two squared norms


def project(blocks, count, width, eps, random_state):
    """Sparse random projection to the Johnson-Lindenstrauss dimension of ``eps``.

    Args:
        blocks: iterable of float32 tensors [n, C] (CPU), N rows in all.
        count, width: N and C.
        eps: allowed distortion of distances, in (0, 1).
        random_state: seed, or None for numpy's global generator.

    Returns:
        [N, C'] float32; the rows themselves where C' would exceed C.
    """
    target = int(johnson_lindenstrauss_min_dim(count, eps=eps))
    reduce = 0 < target <= width
    if reduce:
        projection = SparseRandomProjection(n_components=target, random_state=random_state).fit(np.zeros((1, width), np.float32))
    rows, start = torch.empty(count, target if reduce else width), 0
    for block in blocks:
        rows[start:start + len(block)] = torch.from_numpy(projection.transform(block.numpy())) if reduce else block
        start += len(block)
    return rows


def greedy_k_center(rows, count, progress=None):
    """Greedy k-centre: start with row 0, then always the row farthest from all picked ones (ties: lowest index).

    Of equal rows one is enough, since a picked row leaves its equals at distance 0. A row's distance to the picked rows only
    shrinks, so a distance to some of them is an upper bound, and a row whose bound is small need not be looked at. Picks are
    made among a pool of the rows of the largest bounds, for as long as its farthest lies above the bounds of all others; then
    the rows of the largest bounds are brought up to date with the picks they have not seen, many at a time in matrix products,
    and the next pool is taken. Within the pool distances are float32 from differences, not from products, so that near rows
    keep their order; the products' rounding widens the bounds.

    Args:
        rows: [N, C] float32 tensor.
        count: number of picks; at most N are made.
        progress: label of a progress bar, or None for none.

    Returns:
        [min(count, N)] int64 tensor (CPU), in the order picked; row 0 again once every distinct row is
        picked, as in the release.
    """
    first, _ = distinct_rows(rows)
    picks = torch.zeros(min(count, len(rows)), dtype=torch.long)
    if len(first) < len(rows):
        rows = rows[first]
    picks[:len(first)] = first.cpu()[_FarthestFirst(rows, min(count, len(rows))).run(progress)]
    return picks


class _FarthestFirst:
    """:func:`greedy_k_center` of distinct rows [N, C], ``count`` of them at most N."""

    def __init__(self, rows, count):
        self.rows = rows
        centred = rows - rows.mean(0)  # smaller numbers, less rounding in products
        self.norms = torch.linalg.vector_norm(centred, dim=1).square_()
        self.short, self.mirrored = _shortened(centred, self.norms)
        self.picked, self.done = torch.zeros(count, dtype=torch.long, device=rows.device), 1
        self.bound = torch.full((len(rows),), torch.inf, device=rows.device)  # of the squared distance to the picked rows
        self.seen = torch.zeros(len(rows), dtype=torch.long, device=rows.device)  # how many of the picks are in the bound
        self._tighten(torch.arange(len(rows), device=rows.device))

    def run(self, progress):
        """Make the picks; returns them, [count] int64 (CPU)."""
        count = len(self.picked)
        with tqdm(total=count, desc=progress, disable=None if progress else True, leave=False, unit="row", mininterval=1) as bar:
            while self.done < count:
                before, size = self.done, POOL
                while True:
                    pool, limit = self._farthest(size)
                    self._pick_within(pool, limit)
                    if self.done > before or len(pool) == len(self.rows):
                        break
                    size *= 4  # so many rows are equally far that the pool's farthest need not be the first of them
                bar.update(self.done - bar.n)
                if self.done == before:  # nothing is left that float32 tells from a picked row: the plain loop returns row 0
                    break
        return self.picked.cpu()

    def _farthest(self, size):
        """(indices of the ``size`` rows of the largest bounds, up to date, in rising order; the largest bound of the others)."""
        if size >= len(self.rows):
            return torch.arange(len(self.rows), device=self.rows.device), -torch.inf
        while True:
            bounds, index = self.bound.topk(min(WIDER * size, len(self.rows)))
            if (self.seen[index[:size + 1]] == self.done).all():
                return index[:size].sort().values, float(bounds[size])
            self._tighten(index[self.seen[index] < self.done])

    def _tighten(self, index):
        """Bring the bounds of the rows ``index`` [M] up to date.

        ‖a - b‖² = ‖a‖² + (‖b‖² - 2 a·b), of which only the bracket takes part in the minimum over b; see _shortened for a·b.
        """
        for since in self.seen[index].unique().tolist():
            new = self.picked[since:self.done]
            others, bias = self.mirrored[new].T, self.norms[new] * (1 + ROUNDING)
            for some in index[self.seen[index] == since].split(max(1, BLOCK // len(new))):
                squared = torch.addmm(bias, self.short[some], others, alpha=-2).amin(1) + self.norms[some] * (1 + ROUNDING)
                self.bound[some] = torch.minimum(self.bound[some], squared)
        self.seen[index] = self.done

    def _pick_within(self, pool, limit):
        """Pick rows of ``pool`` for as long as they lie above ``limit``."""
        nearest, floor = self._exact_nearest(pool), max(limit, 0.0) ** 0.5 * (1 + 1e-6)
        for i in range(len(self.picked) - self.done):
            if i % COMPACT == 0:  # what lies below can no longer be picked here
                above = nearest > floor
                pool, nearest = pool[above], nearest[above]
                members = self.rows[pool]
                if not len(pool):
                    break
            best = nearest.argmax()
            if not float(nearest[best]) > floor:
                break
            self.picked[self.done] = pool[best]
            self.done += 1
            distance = torch.cdist(members, members[best, None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
            torch.minimum(nearest, distance, out=nearest)

    def _exact_nearest(self, pool):
        """Distance [P] of each row of ``pool`` to its nearest pick, from differences; products only choose whom to compare.

        Compared are the picks whose lower bound does not exceed the smallest upper bound.
        """
        centers = self.picked[:self.done]
        norms, nearest = self.norms[centers], torch.full((len(pool),), torch.inf, device=pool.device)
        below, above = self.short[centers].T, self.mirrored[centers].T
        for some, at in zip(pool.split(max(1, BLOCK // len(centers))), torch.arange(len(pool), device=pool.device).split(max(1, BLOCK // len(centers)))):
            upper = torch.addmm(norms, self.short[some], above, alpha=-2)  # but for the row's own norm, as in _tighten
            lower = upper if self.short is self.mirrored else torch.addmm(norms, self.short[some], below, alpha=-2)
            limit = upper.amin(1) + 2 * ROUNDING * (self.norms[some] + norms.max())
            row, center = (lower <= limit[:, None]).nonzero(as_tuple=True)
            for r, c in zip(row.split(CHUNK), center.split(CHUNK)):
                exact = torch.linalg.vector_norm(self.rows[some[r]] - self.rows[centers[c]], dim=1)
                nearest.scatter_reduce_(0, at[r], exact, "amin")
        return nearest


def _shortened(centred, norms):
    """Vectors a' and b'' [N, k + 1] of rows a, b [N, C] with a'·b'' ≤ a·b ≤ a'·b', which bound distances in fewer columns.

    With orthonormal directions Q a row splits into Qᵀa and a rest of length ρ(a); the product of two rests lies within ±ρ(a)ρ(b), so
    a' = (Qᵀa, ρ(a)) and b'' = (Qᵀb, -ρ(b)). Q are as many principal directions as leave rests that are short against the distances
    between a sample's neighbours; where that would not halve the columns, the rows are taken as they are.
    """
    few = centred[::max(1, len(centred) // FEW)]
    spacing = torch.cdist(few, few, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf).amin(1).median()
    allowed = float(LEFT_OVER * spacing**2 / norms.mean().clamp(min=1e-30)) if len(few) > 1 else 0.0  # as a share of the squared lengths
    sample = centred[::max(1, len(centred) // SAMPLE)]
    values, directions = torch.linalg.eigh((sample.T @ sample).cpu().double())  # directions at right angles to float32's last bit
    directions, left = directions.to(centred), values.clamp(min=0).cumsum(0)
    dropped = int((left <= allowed * left[-1]).sum())
    if 2 * dropped < len(values):
        return centred, centred
    along = centred @ directions[:, dropped:]
    rest = (norms - torch.linalg.vector_norm(along, dim=1).square_()).clamp_(min=0) + ROUNDING * norms  # a little more, for their rounding
    rest = rest.sqrt_()[:, None]
    return torch.cat([along, rest], dim=1), torch.cat([along, -rest], dim=1)
