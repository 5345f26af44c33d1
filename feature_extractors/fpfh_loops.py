"""The compiled loops of FPFH (Numba): nearest points, normals, histograms.

The points lie in an order in which neighbours in space are neighbours in memory, cut into leaves of ``LEAF`` points.
Each loop works on the leaves ``first`` to ``last``, so that threads can share the work, and releases Python's lock.

*Exact nearest points*. The points of a leaf share their candidates: all points within a distance R of the leaf's box, R
guessed from the leaf before. If a point's k-th smallest distance to the candidates is at most R, no other point can be
nearer. Otherwise R becomes the largest of these distances, which makes the second result exact."""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    USER_CACHE = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
elif sys.platform == "darwin":
    USER_CACHE = Path.home() / "Library" / "Caches"
else:
    USER_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(USER_CACHE) / "m3dm" / "numba"))  # read when numba is imported

import numba
import numpy as np

LEAF = 16  # points of one leaf
BINS = 11
WIDE = 48  # columns of a table of 33-column histograms: full registers are faster than a few numbers less
PAIRS = 112  # pairs computed at once
PARALLEL = np.float32(1e-6)  # squared sine below which a line counts as parallel to a normal, in single precision
TIE = np.float32(1e-6)  # difference of cosines below which both ends' normals count as equally near to the line
STEPS = 40  # of the search for a limit, at most
SWEEPS = 12  # of Jacobi's rotations, at most: they end once the rest is 0
_TURNS = np.pi * np.arange(1, BINS, 2) / BINS  # bounds of the turn's bins above 0: π/11, 3π/11, ..., 9π/11
COSINES, SINES = np.cos(_TURNS).astype(np.float32), np.sin(_TURNS).astype(np.float32)


def _compiled(function):
    """``function`` compiled at its first call, or loaded from the cache; without one where no folder can be written."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)


def are_kept():
    """Whether a folder holds the compiled code of this file."""
    folder = getattr(getattr(add_weighted_means, "_cache", None), "cache_path", None)
    return folder is not None and any(Path(folder).glob(f"{Path(__file__).stem}.*.nbc"))


@_compiled
def _select(values, index, low, high, k):
    """Order ``values`` and ``index`` from ``low`` to ``high`` so that the ``k`` smallest come first; in place."""
    high -= 1
    k += low - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                index[i], index[j] = index[j], index[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@_compiled
def order_by_place(points):
    """The order [N] int64 of ``points`` [N, 3] in which every ``LEAF`` points are a leaf of a balanced k-d tree."""
    count = len(points)
    order, values = np.arange(count), np.empty(count)
    stack = [(0, count)]
    while stack:
        low, high = stack.pop()
        if high - low <= LEAF:
            continue
        widest, axis = -1.0, 0
        for a in range(3):
            least, most = np.inf, -np.inf
            for i in range(low, high):
                v = points[order[i], a]
                least, most = min(least, v), max(most, v)
            if most - least > widest:
                widest, axis = most - least, a
        for i in range(low, high):
            values[i] = points[order[i], axis]
        leaves = (high - low + LEAF - 1) // LEAF
        middle = (leaves + 1) // 2 * LEAF
        _select(values, order, low, high, middle)
        stack.append((low, low + middle))
        stack.append((low + middle, high))
    return order


def boxes_of(points):
    """[L, 6]: least and largest x, y and z of each leaf of ``points`` [N, 3]."""
    leaves = np.arange(0, len(points), LEAF)
    return np.hstack([extreme.reduceat(points, leaves) for extreme in (np.minimum, np.maximum)])


@_compiled
def _gather(points, boxes, leaf, reach, out, index):
    """Write the points within the squared distance ``reach`` of the leaf's box to ``out`` [3, N]; returns how many."""
    found = 0
    x0, y0, z0, x1, y1, z1 = boxes[leaf]
    for other in range(len(boxes)):
        box = boxes[other]
        dx = max(box[0] - x1, x0 - box[3], 0.0)
        dy = max(box[1] - y1, y0 - box[4], 0.0)
        dz = max(box[2] - z1, z0 - box[5], 0.0)
        if dx * dx + dy * dy + dz * dz > reach:
            continue
        for i in range(other * LEAF, min(len(points), (other + 1) * LEAF)):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            dx, dy, dz = max(x - x1, x0 - x, 0.0), max(y - y1, y0 - y, 0.0), max(z - z1, z0 - z, 0.0)
            out[0, found], out[1, found], out[2, found], index[found] = x, y, z, i
            found += dx * dx + dy * dy + dz * dz <= reach
    return found


@_compiled
def _limit(values, count, k, guess):
    """A limit, interpolated, that ``k`` of the first ``count`` ``values`` do not exceed; inf if there is none."""
    low, below, high, above = 0.0, 0, np.inf, count
    for step in range(STEPS):
        found = 0
        for j in range(count):
            found += values[j] <= guess
        if found == k:
            return guess
        if found < k:
            low, below = guess, found
        else:
            high, above = guess, found
        if high == np.inf:
            guess *= max(1.2, (k + 0.5) / (found + 0.5))
        elif step % 4 == 3:
            guess = (low + high) / 2
        else:
            guess = low + (high - low) * (k + 0.5 - below) / (above - below + 1)
    return np.inf


@_compiled
def nearest(points, boxes, few, many, first, last, index, squared):
    """The ``many`` nearest points of each point [N, 3] of the leaves, N >= many >= few, the ``few`` nearest of them
    first. ``index`` [N, many] int32 and ``squared`` [N, many] float64, squared distances, are written."""
    count = len(points)
    near, number = np.empty((3, count + 1)), np.empty(count + 1, np.int64)
    away, kept, place = np.empty(count), np.empty(count + 1), np.empty(count + 1, np.int64)
    # a first guess from the points around in memory
    start = max(0, min(first * LEAF - many, count - 2 * many))
    beside = points[start : start + 2 * many] - points[first * LEAF]
    reach = np.partition(beside[:, 0] ** 2 + beside[:, 1] ** 2 + beside[:, 2] ** 2, many - 1)[many - 1]
    limit, inner = reach, reach * few / many
    for leaf in range(first, last):
        start, stop = leaf * LEAF, min(count, (leaf + 1) * LEAF)
        while True:
            found = _gather(points, boxes, leaf, reach, near, number)
            if found < many:
                reach = 4 * reach if reach > 0 else 1e-300
                continue
            largest = 0.0
            for i in range(start, stop):
                x, y, z = points[i, 0], points[i, 1], points[i, 2]
                for j in range(found):
                    dx, dy, dz = near[0, j] - x, near[1, j] - y, near[2, j] - z
                    away[j] = dx * dx + dy * dy + dz * dz
                exact = _limit(away, found, many, limit)
                left = 0
                for j in range(found):
                    kept[left], place[left] = away[j], number[j]
                    left += away[j] <= exact
                if left > many:
                    _select(kept, place, 0, left, many)
                most = 0.0
                for j in range(many):
                    most = max(most, kept[j])
                exact = _limit(kept, many, few, inner)
                if exact == np.inf:
                    _select(kept, place, 0, many, few)
                    for j in range(many):
                        index[i, j], squared[i, j] = place[j], kept[j]
                    inner = most * few / many
                else:
                    to = np.array([few, 0])
                    for j in range(many):
                        inside = int(kept[j] <= exact)
                        at = to[inside]
                        index[i, at], squared[i, at] = place[j], kept[j]
                        to[inside] = at + 1
                    inner = exact
                largest = max(largest, most)
                limit = most
            if largest <= reach:
                break
            reach = largest
        reach = 1.2 * largest


@_compiled
def _flattest(a, v):
    """(direction x, y, z in which a symmetric matrix is smallest, its largest eigenvalue), by Jacobi; ``a``, ``v`` are
    written."""
    for i in range(3):
        for j in range(3):
            v[i, j] = i == j
    for _ in range(SWEEPS):
        if a[0, 1] == 0 and a[0, 2] == 0 and a[1, 2] == 0:
            break
        for p, q in ((0, 1), (0, 2), (1, 2)):
            if a[p, q] == 0:
                continue
            theta = (a[q, q] - a[p, p]) / (2 * a[p, q])
            t = (1.0 if theta >= 0 else -1.0) / (abs(theta) + np.sqrt(theta * theta + 1))
            c = 1 / np.sqrt(t * t + 1)
            s = t * c
            r = 3 - p - q
            a[p, p] -= t * a[p, q]
            a[q, q] += t * a[p, q]
            a[p, q] = a[q, p] = 0.0
            a[r, p], a[r, q] = c * a[r, p] - s * a[r, q], s * a[r, p] + c * a[r, q]
            a[p, r], a[q, r] = a[r, p], a[r, q]
            for i in range(3):
                v[i, p], v[i, q] = c * v[i, p] - s * v[i, q], s * v[i, p] + c * v[i, q]
    k = 0
    for i in range(1, 3):
        if a[i, i] < a[k, k]:
            k = i
    return v[0, k], v[1, k], v[2, k], max(a[0, 0], a[1, 1], a[2, 2])


@_compiled
def normals(points, index, few, first, last, out):
    """Write ``out`` [N, 3]: unit normals, turned to the camera at 0, where the ``few`` nearest points spread least. If
    there are fewer than 3, or all lie at one place, the normal points to the camera."""
    total, matrix, axes = np.empty(3), np.empty((3, 3)), np.empty((3, 3))
    for i in range(first * LEAF, min(len(points), last * LEAF)):
        total[:] = 0
        matrix[:] = 0
        for k in range(few):
            j = index[i, k]
            for p in range(3):
                total[p] += points[j, p] - points[i, p]
                for q in range(p, 3):
                    matrix[p, q] += (points[j, p] - points[i, p]) * (points[j, q] - points[i, q])
        a, b, c, spread = 0.0, 0.0, 0.0, 0.0
        if few >= 3:
            total /= few
            for p in range(3):
                for q in range(p, 3):
                    matrix[p, q] -= few * total[p] * total[q]
                    matrix[q, p] = matrix[p, q]
            a, b, c, spread = _flattest(matrix, axes)
        dx, dy, dz = -points[i, 0], -points[i, 1], -points[i, 2]
        if spread <= 0:
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            a, b, c = (dx / length, dy / length, dz / length) if length > 0 else (0.0, 0.0, 1.0)
        sign = -1.0 if a * dx + b * dy + c * dz < 0 else 1.0
        out[i, 0], out[i, 1], out[i, 2] = sign * a, sign * b, sign * c


@_compiled
def single_histograms(points, index, squared, first, last, out):
    """Write the simplified histograms, see ``feature_extractors.fpfh.fpfh``, into ``out`` [N, WIDE] float32, 0.
    ``points`` [N, 8] float32: centred places, so that they keep their precision, a 0, normals, a 0."""
    # rows of fixed length, so that the compiler sees that they are apart, and computes many pairs at once
    d, m, bins = np.empty((3, PAIRS), np.float32), np.empty((3, PAIRS), np.float32), np.empty((3, PAIRS), np.int32)
    length = np.empty(PAIRS, np.float32)
    d[:], m[:], length[:] = 0, 0, 1
    half, one, middle = np.float32(BINS / 2), np.float32(1), np.int32(BINS // 2)
    for i in range(first * LEAF, min(len(points), last * LEAF)):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        nx, ny, nz = points[i, 4], points[i, 5], points[i, 6]
        total, many = 0, index.shape[1]
        for start in range(0, many, PAIRS):
            stop = min(PAIRS, many - start)
            for k in range(stop):
                j = np.uint32(index[i, start + k])
                d[0, k], d[1, k], d[2, k] = points[j, 0] - px, points[j, 1] - py, points[j, 2] - pz
                m[0, k], m[1, k], m[2, k] = points[j, 4], points[j, 5], points[j, 6]
                length[k] = squared[i, start + k]
            for k in range(PAIRS):
                scale = one / np.sqrt(length[k])
                dx, dy, dz, mx, my, mz = d[0, k] * scale, d[1, k] * scale, d[2, k] * scale, m[0, k], m[1, k], m[2, k]
                triple = dx * (ny * mz - nz * my) + dy * (nz * mx - nx * mz) + dz * (nx * my - ny * mx)
                between = nx * mx + ny * my + nz * mz
                here, there = nx * dx + ny * dy + nz * dz, mx * dx + my * dy + mz * dz
                # the source's cosine is here or -there, whichever is larger in size; the other end's is minus the other
                swap = (abs(there) > abs(here)) & (abs(here - there) >= TIE)
                own = -there if swap else here
                other = -here if swap else there
                squared_sine = one - own * own
                sine = np.sqrt(max(squared_sine, PARALLEL))
                rise, run = other - own * between, between * sine
                up, passed = abs(rise), np.int32(0)
                for b in range(5):
                    passed += np.int32(up * COSINES[b] >= run * SINES[b])
                passed = passed if rise >= 0 else -passed
                parallel = squared_sine < PARALLEL
                bins[0, k] = middle if parallel else middle + passed
                bins[1, k] = middle if parallel else np.int32((triple / sine + one) * half)
                bins[2, k] = middle if parallel else np.int32((own + one) * half)
            for k in range(stop):
                if squared[i, start + k] > 0:
                    total += 1
                    out[i, bins[0, k]] += one
                    out[i, BINS + min(max(bins[1, k], 0), BINS - 1)] += one
                    out[i, 2 * BINS + min(max(bins[2, k], 0), BINS - 1)] += one
        share = np.float32(100 / max(total, 1))
        for b in range(3 * BINS):
            out[i, b] *= share


@_compiled
def add_weighted_means(single, index, squared, first, last, out):
    """Each point's histogram ``single`` [N, WIDE] plus the mean of its neighbours' with weights 1/distance²; ``out``
    [N, 33] float32 is written."""
    many = index.shape[1]
    mean, weight = np.empty(WIDE, np.float32), np.empty(many, np.float32)
    for i in range(first * LEAF, min(len(single), last * LEAF)):
        largest = 0.0
        for k in range(many):
            largest = max(largest, squared[i, k])
        for k in range(many):
            weight[k] = largest / squared[i, k] if squared[i, k] > 0 else 0.0
        mean[:] = 0
        for k in range(0, many - 3, 4):
            p, q = np.uint32(index[i, k]), np.uint32(index[i, k + 1])
            r, s = np.uint32(index[i, k + 2]), np.uint32(index[i, k + 3])
            for b in range(WIDE):
                mean[b] += (weight[k] * single[p, b] + weight[k + 1] * single[q, b]) + (
                    weight[k + 2] * single[r, b] + weight[k + 3] * single[s, b]
                )
        for k in range(many // 4 * 4, many):
            p = np.uint32(index[i, k])
            for b in range(WIDE):
                mean[b] += weight[k] * single[p, b]
        for angle in range(3):
            total = np.float32(0)
            for b in range(angle * BINS, (angle + 1) * BINS):
                total += mean[b]
            share = np.float32(100) / total if total > 0 else np.float32(0)
            for b in range(angle * BINS, (angle + 1) * BINS):
                out[i, b] = single[i, b] + mean[b] * share
