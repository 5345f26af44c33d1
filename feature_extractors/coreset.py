"""Coreset selection: sparse random projection, then greedy k-centre (farthest-first) in the projected space.

Each row has an upper bound of the squared distance to its nearest pick, and a count of the picks it has *seen*. A new
pick can only reduce that distance, so a bound from fewer picks still holds. The *pool* holds the rows with the largest
bounds, brought up to date; the *limit* is the largest bound outside it. As long as the pool's farthest row lies above
the limit, it is the farthest of all, and is picked without a look at the others."""

import numpy as np
import torch
from tqdm import tqdm

from feature_extractors.nearest_rows import SAMPLE, RowSearch, distinct_rows

# sizes of the work steps; they change the speed, never the picks
POOL = 512  # rows in the candidate pool
TOGETHER = 32  # times the pool's rows are brought up to date at once
PRODUCTS = 2**21  # entries in one block of products: it fits into a cache of 8 MiB
PAIRS = 2**15  # pairs of rows compared exactly in one step
COMPACT = 64  # picks after which the pool drops rows below the limit

SPACING_SAMPLE = 1024  # rows from which the spacing of neighbours is estimated: all their pairs are measured
LEFT_OVER = 0.01  # share of the squared spacing that the short form of the rows may leave out on average
RADIUS_BLOCK = 4096  # rows measured at once
BYTES = 4 * 6  # per number of a chunk: its rows, the distinct ones, their short forms, and the picks of all chunks
ROUNDING = 1e-6  # bound of the float32 rounding of a squared distance, as a share of the two squared norms


def pick(blocks, count, width, picks, eps, random_state=None, max_memory=None, device="cpu", progress=None):
    """Numbers [min(picks, N)] int64 (CPU) of the coreset's rows: a random projection, then :func:`k_center_by_chunks`.

    ``blocks`` are float32 tensors [n, C] (CPU), N = ``count`` rows of C = ``width`` in all. ``eps`` in (0, 1) is the
    allowed distortion of distances; it decides the number of projected columns (Johnson and Lindenstrauss). Rows are
    not projected if these would exceed C. ``random_state``: seed of the projection; None: numpy's global generator.
    ``max_memory``: GiB; rows that need more are picked chunk by chunk, at least twice ``picks`` rows each; None: one
    chunk."""
    # imported here, since that takes a second
    from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

    columns = int(johnson_lindenstrauss_min_dim(count, eps=eps))
    if 0 < columns <= width:
        projection = SparseRandomProjection(n_components=columns, random_state=random_state)
        projection.fit(np.zeros((1, width), np.float32))
        blocks = (torch.from_numpy(projection.transform(block.numpy())) for block in blocks)
    else:
        columns = width
    picks, chunk = max(1, picks), count
    if max_memory is not None:
        chunk = min(count, max(2 * picks, int(max_memory * 2**30) // (BYTES * columns)))
    return k_center_by_chunks(blocks, picks, chunk, device, progress)


def k_center_by_chunks(blocks, count, chunk, device="cpu", progress=None):
    """Greedy k-centre in bounded memory: merge and reduce (composable coresets); result as :func:`greedy_k_center`.

    Every ``chunk`` rows, at least twice ``count`` unless there are no more, are reduced to ``count`` picks, and these
    in the same way, until they are one chunk. With one level above the chunks, the radius is at most 4 times the best
    possible (Malkomes et al. 2015), and each further level adds 2 at most. Up to ``chunk`` rows, the picks are the
    exact ones."""
    index, rows, start = [], [], 0
    for some in _regrouped(blocks, chunk):
        picks = greedy_k_center(some, count, device, progress)
        index.append(start + picks)
        rows.append(some[picks])
        start += len(some)
    if len(index) == 1:
        return index[0]
    return torch.cat(index)[k_center_by_chunks([torch.cat(rows)], count, chunk, device, progress)]


def _regrouped(blocks, size):
    """The rows of ``blocks`` in tensors of at most ``size`` rows, and of nearly as many."""
    held = []
    for block in blocks:
        for part in block.split(size):
            if sum(map(len, held)) + len(part) > size:
                yield torch.cat(held)
                held = []
            held.append(part)
    yield torch.cat(held)


def radius(rows, picks):
    """The largest distance of a row [N, C] to its nearest pick, from products in float32; a coreset's quality."""
    search = RowSearch(rows[picks], bounded=False)
    return max(float(search.nearest(block).distance.max()) for block in rows.split(RADIUS_BLOCK))


def greedy_k_center(rows, count, device="cpu", progress=None):
    """Greedy k-centre of ``rows`` [N, C] float32 (CPU): row 0, then always the row farthest from all picked ones (ties:
    lowest index). Returns [min(count, N)] int64 (CPU), filled up with row 0 once every distinct row is picked, as in
    the release.

    Of equal rows only the first takes part, and only those are moved to ``device``. In the pool, float32 distances come
    from differences, so that near rows keep their order. The bounds come from products and are widened by their
    rounding. ``progress``: label of a progress bar; None: no bar."""
    first, _ = distinct_rows(rows)
    picks = torch.zeros(min(count, len(rows)), dtype=torch.long)
    if len(first) < len(rows):
        rows = rows[first]
    picks[: len(first)] = first[FarthestFirst(rows.to(device), min(count, len(rows))).run(progress)]
    return picks


class FarthestFirst:
    """Picks ``count`` of the distinct ``rows`` [N, C] one by one, beginning with row 0."""

    def __init__(self, rows, count):
        size = len(rows)
        self.rows = rows
        centred = rows - rows.mean(0)  # centred rows are shorter, so products round less
        self.norms = _squared_norms(centred)
        self.reduced, self.reduced_negated = _reduced(centred, self.norms, _directions(centred, self.norms))
        self.picked, self.done = torch.zeros(count, dtype=torch.long, device=rows.device), 1
        self.bound = torch.full((size,), torch.inf, device=rows.device)  # of the squared distance to the nearest pick
        self.seen = torch.zeros(size, dtype=torch.long, device=rows.device)  # number of picks included in the bound
        self._tighten(torch.arange(size, device=rows.device))

    def run(self, progress):
        """Make the picks; returns them, [count] int64 (CPU)."""
        count = len(self.picked)
        hidden = None if progress else True  # None: hidden where the output is no terminal
        with tqdm(total=count, desc=progress, disable=hidden, leave=False, unit="row", mininterval=1) as bar:
            while self.done < count:
                before, size = self.done, POOL
                while True:
                    candidate_pool, limit = self._farthest(size)
                    self._pick_within(candidate_pool, limit)
                    if self.done > before or len(candidate_pool) == len(self.rows):
                        break
                    size *= 4  # too many rows are equally far: the lowest index of them may lie outside the pool
                bar.update(self.done - bar.n)
                # in float32 all rows left equal a picked row: the plain way picks row 0
                if self.done == before:
                    break
        return self.picked.cpu()

    def _farthest(self, size):
        """(Indices of the ``size`` rows with the largest bounds, up to date, ascending; limit: largest other bound)."""
        if size >= len(self.rows):
            return torch.arange(len(self.rows), device=self.rows.device), -torch.inf
        while True:
            bounds, index = self.bound.topk(min(TOGETHER * size, len(self.rows)))
            stale = self.seen[index] < self.done
            if not stale[: size + 1].any():
                return index[:size].sort().values, float(bounds[size])
            self._tighten(index[stale])

    def _tighten(self, index):
        """Bring the bounds of the rows ``index`` [M] up to date, by ‖a - b‖² = ‖a‖² + (‖b‖² - 2 a·b)."""
        seen, order = self.seen[index].sort()
        since, counts = (values.tolist() for values in seen.unique_consecutive(return_counts=True))
        for start, together in zip(since, index[order].split(counts)):
            new = self.picked[start : self.done]
            others, bias = self.reduced_negated[new].T, self.norms[new] * (1 + ROUNDING)
            for some in together.split(max(1, PRODUCTS // len(new))):
                squared = torch.addmm(bias, self.reduced[some], others, alpha=-2).amin(1)
                squared += self.norms[some] * (1 + ROUNDING)
                self.bound[some] = torch.minimum(self.bound[some], squared)
        self.seen[index] = self.done

    def _pick_within(self, candidate_pool, limit):
        """Pick rows of the pool as long as the farthest lies above ``limit``; of equally far rows the first."""
        rows, nearest = self.rows[candidate_pool], self._exact_nearest(candidate_pool)
        floor, first = max(limit, 0.0) ** 0.5 * (1 + 1e-6), self.done
        while self.done < len(self.picked):
            if (self.done - first) % COMPACT == 0:  # rows below the limit can no longer be picked here
                above = (nearest > floor).nonzero()[:, 0]
                rows, nearest, candidate_pool = rows[above], nearest[above], candidate_pool[above]
                if not len(above):
                    break
            height, best = nearest.max(0, keepdim=True)
            if not float(height) > floor:
                break
            self.picked[self.done] = candidate_pool[best]
            self.done += 1
            torch.minimum(nearest, distances(rows, rows[best])[:, 0], out=nearest)

    def _exact_nearest(self, candidate_pool):
        """Distance [P] of each pool row to its nearest pick, from differences; products say which to compare."""
        centers = self.picked[: self.done]
        norms, nearest = self.norms[centers], torch.full((len(candidate_pool),), torch.inf, device=self.rows.device)
        below, above = self.reduced[centers].T, self.reduced_negated[centers].T
        largest = norms.max()
        numbers = torch.arange(len(candidate_pool), device=self.rows.device)
        for at in numbers.split(max(1, PRODUCTS // len(centers))):
            some = candidate_pool[at]
            # without the row's own norm, see _tighten
            lower = upper = torch.addmm(norms, self.reduced[some], above, alpha=-2)
            if self.reduced is not self.reduced_negated:
                lower = torch.addmm(norms, self.reduced[some], below, alpha=-2)
            limit = upper.amin(1) + 2 * ROUNDING * (self.norms[some] + largest)
            row, center = (lower <= limit[:, None]).nonzero(as_tuple=True)
            for r, c in zip(row.split(PAIRS), center.split(PAIRS)):
                exact = distances(self.rows[some[r]][:, None], self.rows[centers[c]][:, None])[:, 0, 0]
                nearest.scatter_reduce_(0, at[r], exact, "amin")
        return nearest


def distances(a, b):
    """Distances [.., n, m] of rows a [.., n, C] to rows b [.., m, C], from differences: the same two rows always give
    the same number."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _squared_norms(rows):
    return torch.linalg.vector_norm(rows, dim=1).square_()


def _directions(centred, norms):
    """Orthonormal directions Q [C, k] for :func:`_reduced` of rows [N, C]: principal ones, enough of them that the
    rests are short compared with the distances between neighbours; None if these are more than half of the columns."""
    some = centred[:: max(1, len(centred) // SPACING_SAMPLE)]
    spacing = distances(some, some).fill_diagonal_(torch.inf).amin(1).median()
    allowed = LEFT_OVER * spacing**2 / norms.mean().clamp(min=1e-30)  # as a share of the mean squared length
    allowed = float(allowed) if len(some) > 1 else 0.0
    sample = centred[:: max(1, len(centred) // SAMPLE)]
    values, directions = torch.linalg.eigh((sample.T @ sample).cpu().double())  # float64: orthogonal to full float32
    directions, left = directions.to(centred), values.clamp(min=0).cumsum(0)
    dropped = int((left <= allowed * left[-1]).sum())
    return None if 2 * dropped < len(values) else directions[:, dropped:]


def _reduced(centred, norms, directions):
    """Short forms a' and b'' [N, k + 1] of rows a, b [N, C] with a'·b'' ≤ a·b ≤ a'·b'; they bound distances.

    Orthonormal directions Q split a row into Qᵀa and a rest of length ρ(a): a' = (Qᵀa, ρ(a)) and b'' = (Qᵀb, -ρ(b))."""
    if directions is None:
        return centred, centred
    along = centred @ directions
    rest = (norms - _squared_norms(along)).clamp_(min=0)
    rest = (rest + ROUNDING * norms).sqrt_()[:, None]  # a little larger, to allow for rounding
    return torch.cat([along, rest], dim=1), torch.cat([along, -rest], dim=1)
