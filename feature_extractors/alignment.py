"""Point feature alignment: from tokens at group centres to patches on the image grid.

All steps are linear and depend on the geometry alone. So on the CPU they form one sparse matrix [PATCHES, num_group];
on a GPU, where scattered sums are not reproducible, they are done one after the other."""

from functools import lru_cache

import torch
import torch.nn.functional as F

from models.pointnet2_utils import interpolation_weights

GRID = 56  # patches per side
PATCHES = GRID * GRID


def align(tokens, centers, points, valid, size):
    """xyz patches [3136, C] of one sample, row-major; exactly 0 where no valid pixel contributes.

    Each valid pixel gets the weighted mean of its 3 nearest centres' ``tokens`` [G, C]; other pixels are 0. Then follow
    3×3 average pooling (stride 1, no padding) and adaptive average pooling to 56×56. ``points`` [N, 3] lie at the
    row-major positions ``valid`` [N] int64 of the image of ``size`` × ``size``."""
    index, weight = interpolation_weights(points, centers)
    if points.device.type == "cpu":
        return _matrix(index, weight, valid, size, len(centers)) @ tokens
    return _step_by_step(tokens, index, weight, valid, size)


def _step_by_step(tokens, index, weight, valid, size):
    picture = tokens.new_zeros(size * size, tokens.shape[1])
    picture[valid] = (tokens[index] * weight[:, :, None]).sum(1)
    pooled = F.avg_pool2d(picture.T.reshape(1, -1, size, size), 3, stride=1)
    return F.adaptive_avg_pool2d(pooled, GRID)[0].flatten(1).T


def _matrix(index, weight, valid, size, count):
    """The sparse [3136, G] matrix of :func:`align`: pooling · scatter · interpolation, from their non-zero entries."""
    patch, pixel, share = pooling_entries(size)
    at = torch.full((size * size,), len(valid))
    at[valid] = torch.arange(len(valid))
    # one more row after all points: background
    index, weight = torch.cat([index, index[:1]]), torch.cat([weight, torch.zeros_like(weight[:1])])
    cells = patch[:, None] * count + index[at[pixel]]
    matrix = weight.new_zeros(PATCHES * count)
    matrix.index_add_(0, cells.reshape(-1), (share[:, None] * weight[at[pixel]]).reshape(-1))
    return matrix.view(PATCHES, count).to_sparse()


@lru_cache(maxsize=4)
def pooling_entries(size):
    """Both poolings of a size×size image as a sparse matrix: (patch, pixel, share), tensors on the CPU."""
    eye = torch.eye(size)[:, None]
    side = F.adaptive_avg_pool1d(F.avg_pool1d(eye, 3, stride=1), GRID)[:, 0].T  # along one axis: they are separable
    r, c = side.nonzero(as_tuple=True)
    share = side[r, c]
    patch = r[:, None] * GRID + r[None]
    pixel = c[:, None] * size + c[None]
    return tuple(t.reshape(-1) for t in (patch, pixel, share[:, None] * share[None]))
