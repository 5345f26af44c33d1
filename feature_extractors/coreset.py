"""Coreset selection: sparse random projection, then greedy k-centre (farthest-first) in the projected space."""
import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim
from tqdm import tqdm

from feature_extractors.nearest_rows import distinct_rows

POOL = 512  # rows that picks are made among between two passes over all rows
BLOCK = 2**21  # entries of a block of distances: what stays in cache
CHUNK = 2**15  # pairs of rows that are compared exactly at once
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

    Of equal rows one is enough, since a picked row leaves its equals at distance 0. A row's distance to the picked rows only shrinks, so a stale distance is an upper bound. Picks are made
    among a pool of the farthest rows for as long as its farthest lies above the bounds of all others; then one
    pass brings every row up to date with all new picks in matrix products, and the next pool is taken. Within
    the pool distances are float32 from differences, not from products, so that near rows keep their order; the
    products' rounding widens the bounds of the others.

    Args:
        rows: [N, C] float32 tensor.
        count: number of picks; at most N are made.
        progress: label of a progress bar, or None for none.

    Returns:
        [min(count, N)] int64 tensor (CPU), in the order picked; row 0 again once every distinct row is
        picked, as in the release.
    """
    first, _ = distinct_rows(rows)
    count = min(count, len(rows))
    picks = torch.zeros(count, dtype=torch.long)
    if len(first) < len(rows):
        rows = rows[first]
    picks[:len(first)] = first.cpu()[_farthest_first(rows, min(count, len(rows)), progress)]
    return picks


def _farthest_first(rows, count, progress):
    """:func:`greedy_k_center` of distinct rows, ``count`` of them at most N."""
    picked = torch.zeros(count, dtype=torch.long, device=rows.device)
    centred = rows - rows.mean(0)  # shorter vectors, less rounding in products
    norms = (centred * centred).sum(1)
    bound = torch.full((len(rows),), torch.inf, device=rows.device)  # of the squared distance
    done, passed, size = 1, 0, POOL
    with tqdm(total=count, desc=progress, disable=None if progress else True, leave=False, unit="row", mininterval=1) as bar:
        while done < count:
            _tighten(bound, centred, norms, picked[passed:done])
            passed = done
            while True:
                pool, limit = _farthest(bound, size)
                done = _pick_within(rows, pool, limit, picked, done, centred, norms)
                if done > passed or len(pool) == len(rows):
                    break
                size *= 4  # so many rows are equally far that the pool's farthest need not be the first of them
            size = POOL
            bar.update(done - bar.n)
            if done == passed:  # nothing is left that float32 tells from a picked row: the plain loop returns row 0
                break
    return picked.cpu()


def _tighten(bound, centred, norms, new):
    """Lower ``bound`` [N] to upper bounds of the squared distances to the rows ``new`` [M].

    ‖a - b‖² = ‖a‖² + (‖b‖² - 2 a·b), of which only the bracket takes part in the minimum over b.
    """
    others, bias = centred[new].T, norms[new] * (1 + ROUNDING)
    step = max(1, BLOCK // len(new))
    for part, own, low in zip(centred.split(step), norms.split(step), bound.split(step)):
        squared = torch.addmm(bias, part, others, alpha=-2).amin(1) + own * (1 + ROUNDING)
        torch.minimum(low, squared, out=low)


def _farthest(bound, size):
    """(indices of the ``size`` rows of the largest bounds in rising order, the largest bound of the others)."""
    if size >= len(bound):
        return torch.arange(len(bound), device=bound.device), -torch.inf
    values, index = bound.topk(size + 1)
    return index[:size].sort().values, float(values[size])


def _pick_within(rows, pool, limit, picked, done, centred, norms):
    """Continue ``picked`` with rows of ``pool`` for as long as they lie above ``limit``; returns how many are picked then."""
    members = rows[pool]
    nearest = _exact_nearest(members, rows[picked[:done]], centred[pool], centred[picked[:done]])
    floor = max(limit, 0.0) ** 0.5 * (1 + 1e-6)
    while done < len(picked):
        best = nearest.argmax()
        if not float(nearest[best]) > floor:
            break
        picked[done] = pool[best]
        done += 1
        distance = torch.cdist(members, members[best, None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        torch.minimum(nearest, distance, out=nearest)
    return done


def _exact_nearest(members, centers, members_centred, centers_centred):
    """Distance [P] of each member to its nearest centre, from differences; products only choose whom to compare.

    Centres whose product distance lies within twice the rounding of the smallest are compared exactly.
    """
    nearest = torch.full((len(members),), torch.inf, device=members.device)
    others, norms = centers_centred.T, (centers_centred * centers_centred).sum(1)
    step = max(1, BLOCK // len(centers))
    for start in range(0, len(members), step):
        part = members_centred[start:start + step]
        squared = torch.addmm(norms, part, others, alpha=-2)  # but for the member's own norm, as in _tighten
        slack = 2 * ROUNDING * ((part * part).sum(1) + norms.max())
        member, center = (squared <= (squared.amin(1) + slack)[:, None]).nonzero(as_tuple=True)
        for m, c in zip(member.split(CHUNK), center.split(CHUNK)):
            exact = torch.linalg.vector_norm(members[start + m] - centers[c], dim=1)
            nearest.scatter_reduce_(0, start + m, exact, "amin")
    return nearest
