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
    """The dense [3136, G] matrix of :func:`align`: pooling · scatter · interpolation, multiplied out."""
    index, weight = interpolation_weights(points, centers)
    patch, pixel, share = pooling_entries(size, points.device)
    at = torch.full((size * size,), len(valid), device=points.device)
    at[valid] = torch.arange(len(valid), device=points.device)
    index, weight = torch.cat([index, index[:1]]), torch.cat([weight, torch.zeros_like(weight[:1])])  # behind all points: background
    cells = patch[:, None] * len(centers) + index[at[pixel]]
    matrix = points.new_zeros(PATCHES * len(centers))
    matrix.index_add_(0, cells.reshape(-1), (share[:, None] * weight[at[pixel]]).reshape(-1))
    return matrix.view(PATCHES, len(centers))


@lru_cache(maxsize=4)
def pooling_entries(size, device):
    """Both poolings of a size×size picture as a sparse matrix: (patch, pixel, share), one entry each, tensors on ``device``."""
    eye = torch.eye(size)[:, None]
    side = F.adaptive_avg_pool1d(F.avg_pool1d(eye, 3, stride=1), GRID)[:, 0].T  # [GRID, size]: separable
    r, c = side.nonzero(as_tuple=True)
    share = side[r, c]
    patch = r[:, None] * GRID + r[None]
    pixel = c[:, None] * size + c[None]
    return tuple(t.reshape(-1).to(device) for t in (patch, pixel, share[:, None] * share[None]))
