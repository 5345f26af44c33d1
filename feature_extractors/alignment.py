"""Point feature alignment: from tokens at group centres to patches on the image grid.

It interpolates the tokens to the valid pixels, scatters them into the image, and pools twice. All steps are linear
and depend on the geometry alone, so they form one sparse matrix [PATCHES, num_group], applied to the tokens once.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F

from models.pointnet2_utils import interpolation_weights

GRID = 56  # patches per side
PATCHES = GRID * GRID
BLOCK = 2**24  # interpolation weights held in dense form at once on a GPU: 64 MiB


def align(tokens, centers, points, valid, size):
    """xyz patches of one sample.

    Each valid pixel gets the weighted mean of its 3 nearest centres' tokens; other pixels are 0. Then follow 3×3
    average pooling (stride 1, no padding) and adaptive average pooling to 56×56.

    Args:
        tokens: [G, C] features at the centres.
        centers: [G, 3].
        points: [N, 3], the valid pixels' points.
        valid: [N] int64, row-major positions of these pixels in the image.
        size: side of the image in pixels.

    Returns:
        [3136, C], row-major; exactly 0 where no valid pixel contributes.
    """
    matrix = alignment_matrix(centers, points, valid, size)
    if matrix.device.type == "cpu":  # on a GPU the dense product is cheaper than finding the non-zero entries
        matrix = matrix.to_sparse()
    return matrix @ tokens


def alignment_matrix(centers, points, valid, size):
    """The dense [3136, G] matrix of :func:`align`: pooling · scatter · interpolation, multiplied out.

    On a GPU it is computed by matrix products, since scattered sums are not reproducible there.
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
    # one more row after all points: background
    index, weight = torch.cat([index, index[:1]]), torch.cat([weight, torch.zeros_like(weight[:1])])
    cells = patch[:, None] * count + index[at[pixel]]
    matrix = weight.new_zeros(PATCHES * count)
    matrix.index_add_(0, cells.reshape(-1), (share[:, None] * weight[at[pixel]]).reshape(-1))
    return matrix.view(PATCHES, count)


def _pool_products(index, weight, valid, size, count):
    """The matrix as products with the separable pooling, a few image rows at a time; the result is reproducible."""
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
    """Both poolings along one axis of an image: [GRID, size] on ``device``; they are separable."""
    eye = torch.eye(size)[:, None]
    return F.adaptive_avg_pool1d(F.avg_pool1d(eye, 3, stride=1), GRID)[:, 0].T.contiguous().to(device)


@lru_cache(maxsize=4)
def pooling_entries(size, device):
    """Both poolings of a size×size image as a sparse matrix: (patch, pixel, share), tensors on ``device``."""
    side = pooling_side(size, torch.device("cpu"))
    r, c = side.nonzero(as_tuple=True)
    share = side[r, c]
    patch = r[:, None] * GRID + r[None]
    pixel = c[:, None] * size + c[None]
    return tuple(t.reshape(-1).to(device) for t in (patch, pixel, share[:, None] * share[None]))
