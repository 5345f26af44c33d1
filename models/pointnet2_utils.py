"""Point operations: farthest point sampling, nearest neighbours, interpolation weights.

On CUDA, plain torch does the work; on the CPU, fpsample and scipy's k-d tree. Both follow the same rules:

* Sampling starts at index 0, and ties go to the lowest index. After the start, points whose squared norm is at most
  1e-3 are never chosen (the rule of the pointnet2_ops kernel).
* Neighbours are found by exact squared distance (float64); ties at the boundary go to the lowest index.
"""

import fpsample
import numpy as np
import torch
import torch.nn.functional as F

NEAR_ORIGIN = 1e-3  # squared norm, in the squared unit of the points
TIE = 1e-12  # relative gap of squared distances below which the k-d tree's order is checked again
SQUARES = 2**24  # squared distances per block in plain torch: 128 MiB, held a few times


def farthest_point_sample(points, count):
    """Indices [count] int64 of ``points`` [N, 3], each the farthest from those before it (squares in float32).

    Once every admissible point is used, the first admissible one is repeated.
    """
    points = points.float()
    admissible = _sum_of_squares(points.T).double() > NEAR_ORIGIN
    return (_sample_torch if points.is_cuda else _sample_fpsample)(points, admissible, count)


def _sample_fpsample(points, admissible, count):
    # the start is always sampled; if it is not admissible, the first admissible point is repeated instead of it
    start_only = not admissible[0]
    admissible[0] = True
    candidates = admissible.nonzero()[:, 0]
    asked, last = min(count, len(candidates)), len(candidates) - 1
    # fpsample gives ties to the last index, so it gets the points in reverse order
    picked = fpsample.fps_sampling(np.ascontiguousarray(points[candidates].numpy()[::-1]), asked, start_idx=last)
    picked = torch.from_numpy(np.append(last - picked.astype(np.int64), np.zeros(count - asked, np.int64)))
    if start_only and last > 0:
        picked[1:][picked[1:] == 0] = 1
    return candidates[picked]


def _sample_torch(points, admissible, count):
    # kernel launches take most of the time: launch few per centre, and send no value to the host in between
    points = points.T.contiguous()
    nearest = torch.where(admissible, torch.inf, -torch.inf)  # points that are not admissible stay below any distance
    picked = torch.zeros(count, dtype=torch.long, device=points.device)
    for before, now in zip(picked.split(1), picked.split(1)[1:]):
        x, y, z = F.mse_loss(points, points.index_select(1, before).expand_as(points), reduction="none")  # the squares
        torch.minimum(nearest, (x + y).add_(z), out=nearest)
        torch.argmax(nearest, 0, keepdim=True, out=now)  # the first of equal maxima
    return picked


def nearest_points(queries, points, k):
    """The ``k`` nearest ``points`` [N, 3], N >= k, of each of the ``queries`` [M, 3]: (index [M, k] int64, squared
    distance [M, k] float32), nearest first."""
    queries, points = queries.double(), points.double()
    index = (_nearest_torch if queries.is_cuda else _nearest_tree)(queries, points, k)
    squared = _sum_of_squares((points[index] - queries[:, None]).unbind(-1))
    return index, squared.float()


def _nearest_torch(queries, points, k):
    # The last bits of a squared distance are replaced by the point's index, so that all keys differ and every selection
    # finds the same points. A few more than k are selected, and then sorted by their exact distances. (If more than
    # these few had nearly the k-th squared distance, within 2**-32 but not equal, lower indices would come first.)
    taken = min(k + 8 + k // 16, len(points))
    low = (1 << max(1, (len(points) - 1).bit_length())) - 1  # bits of an index; 20 leave 32 of the distance's 52
    numbers = torch.arange(len(points), device=points.device)
    found = []
    for block in queries.split(max(1, SQUARES // len(points))):
        squared = _sum_of_squares([block[:, i, None] - points[:, i] for i in range(3)])
        key = squared.view(torch.int64).bitwise_and_(~low).bitwise_or_(numbers)  # doubles >= 0: ordered as their bits
        index = key.topk(taken, largest=False).values.bitwise_and_(low).sort().values
        order = _sum_of_squares((points[index] - block[:, None]).unbind(-1)).sort(stable=True).indices
        found.append(index.gather(1, order[:, :k]))
    return torch.cat(found)


def _nearest_tree(queries, points, k):
    from scipy.spatial import cKDTree  # imported here, since FPFH does without

    queries, points = queries.numpy(), points.numpy()
    tree = cKDTree(points)
    asked = min(k + 1 + k // 16, len(points))  # a few more than k: most ties are settled without a second query
    index = tree.query(queries, asked, workers=-1)[1].reshape(len(queries), asked)

    def distances(rows):  # summed in one fixed order, since the tree's own distances may differ in the last bit
        return _sum_of_squares(np.moveaxis(points[index[rows]] - queries[rows, None], -1, 0))

    squared = distances(slice(None))
    order = np.lexsort((index, squared), axis=1)
    index, squared = np.take_along_axis(index, order, 1), np.take_along_axis(squared, order, 1)
    if asked < len(points):
        for row in np.flatnonzero(squared[:, -1] <= squared[:, k - 1] * (1 + TIE)):  # more ties than were asked for
            near = np.array(tree.query_ball_point(queries[row], np.sqrt(squared[row, k - 1]) * (1 + 1e-9)))
            reach = _sum_of_squares((points[near] - queries[row]).T)
            index[row, :k] = near[np.lexsort((near, reach))][:k]
    return torch.from_numpy(index[:, :k].astype(np.int64))


def interpolation_weights(points, centers):
    """(Index [N, 3] int64, weight [N, 3] float32) of each point's 3 nearest of the ``centers`` [G, 3], G >= 3, for
    ``points`` [N, 3]; a weight is 1 / (squared distance + 1e-8), and they sum to 1."""
    index, squared = nearest_points(points, centers, 3)
    weight = 1 / (squared + 1e-8)
    return index, weight / weight.sum(1, keepdim=True)


def _sum_of_squares(difference):
    x, y, z = difference
    return x * x + y * y + z * z
