"""Point feature alignment: from tokens at group centres to patches on the picture's grid.

Interpolation to the valid pixels, scattering into the picture and both poolings are linear and depend on the
geometry alone. Together they are one sparse matrix [PATCHES, num_group] that is applied to the tokens once.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F

from models.pointnet2_utils import interpolation_weights

GRID = 56  # patches a side
PATCHES = GRID * GRID
BLOCK = 2**24  # entries of interpolation written out at once on a GPU: 64 MiB


def align(tokens, centers, points, valid, size):
    """xyz patches of one sample.

    Each valid pixel gets the weighted mean of its 3 nearest centres' tokens, the rest are 0; then 3×3 average
    pooling (stride 1, no padding) and adaptive average pooling to 56×56.

    Args:
        tokens: [G, C] features at the centres.
        centers: [G, 3].
        points: [N, 3], the valid pixels' points.
        valid: [N] int64, their row-major positions in the picture.
        size: side of the picture in pixels.

    Returns:
        [3136, C], row-major; exactly 0 where no valid pixel contributes.
    """
    matrix = alignment_matrix(centers, points, valid, size)
    if matrix.device.type == "cpu":  # elsewhere the dense product is cheap, and counting the entries is not
        matrix = matrix.to_sparse()
    return matrix @ tokens


def alignment_matrix(centers, points, valid, size):
    """The dense [3136, G] matrix of :func:`align`: pooling · scatter · interpolation, multiplied out.

    On a GPU the products are made, since sums into scattered entries come out differently each time there.
    """
    index, weight = interpolation_weights(points, centers)
    if points.device.type == "cpu":
        return _pool_entries(index, weight, valid, size, len(centers))
    return _pool_products(index, weight, valid, size, len(centers))


def _pool_entries(index, weight, valid, size, count):
    """The matrix from the non-zero entries of its factors."""
    patch, pixel, share = pooling_entries(size, weight.device)
    at = torch.full((size * size,), len(valid), device=weight.device)
    at[valid] = torch.arange(len(valid), device=weight.device)
    # behind all points: background
    index, weight = torch.cat([index, index[:1]]), torch.cat([weight, torch.zeros_like(weight[:1])])
    cells = patch[:, None] * count + index[at[pixel]]
    matrix = weight.new_zeros(PATCHES * count)
    matrix.index_add_(0, cells.reshape(-1), (share[:, None] * weight[at[pixel]]).reshape(-1))
    return matrix.view(PATCHES, count)


def _pool_products(index, weight, valid, size, count):
    """The matrix from products with the separable pooling, some lines of the picture at a time; the same each time."""
    side = pooling_side(size, weight.device)
    pixel_index, pixel_weight = index.new_zeros(size * size, 3), weight.new_zeros(size * size, 3)  # 0: background
    pixel_index[valid], pixel_weight[valid] = index, weight
    step = max(1, BLOCK // (size * count)) * size
    across = []  # [lines, GRID, G]: pooled along the lines
    for i, w in zip(pixel_index.split(step), pixel_weight.split(step)):
        written = weight.new_zeros(len(i), count).scatter_(1, i, w)  # a pixel's three centres differ
        across.append(side @ written.view(-1, size, count))
    return (side @ torch.cat(across).view(size, GRID * count)).view(PATCHES, count)


@lru_cache(maxsize=4)
def pooling_side(size, device):
    """Both poolings along one side of a picture: [GRID, size] on ``device``; they are separable."""
    eye = torch.eye(size)[:, None]
    return F.adaptive_avg_pool1d(F.avg_pool1d(eye, 3, stride=1), GRID)[:, 0].T.contiguous().to(device)


@lru_cache(maxsize=4)
def pooling_entries(size, device):
    """Both poolings of a size×size picture as a sparse matrix: (patch, pixel, share), tensors on ``device``."""
    side = pooling_side(size, torch.device("cpu"))
    r, c = side.nonzero(as_tuple=True)
    share = side[r, c]
    patch = r[:, None] * GRID + r[None]
    pixel = c[:, None] * size + c[None]
    return tuple(t.reshape(-1).to(device) for t in (patch, pixel, share[:, None] * share[None]))
