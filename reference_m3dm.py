"""The whole of M3DM on one page, short and slow: read this first.

M3DM (Wang et al., "Multimodal Industrial Anomaly Detection via Hybrid Fusion", CVPR 2023), full setting with default
options, as its authors released it. ``full_setting`` at the end tells the story; its steps stand above it:

    extract           a part's picture and cloud → patches of three kinds: rgb, xyz, and both fused
    k_center          all training parts' patches → the few rows that a memory bank keeps (coreset)
    measure           a part's patches against a bank → image score, and each patch's distance to its nearest row
    late fusion       the three banks' scores and maps → one score and one map

The tests hold the project's fast code to these functions. The networks (DINO, Point-MAE, UFF) are the project's,
applied layer by layer; so are the blurred map and the late fusion, which have no faster form. S is the side of a map in
pixels, P the number of a part's patches (784 of rgb, 3136 of the others), R the number of a bank's rows, C the width of
a row.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.random_projection import SparseRandomProjection
from torch import Tensor

from feature_extractors.late_fusion import LateFusion
from feature_extractors.memory_bank import anomaly_map

Samples = Callable[[], Iterable[tuple]]

# ---------------------------------------------------------------- 1. from a part to patches


@torch.no_grad()
def extract(method: Any, sample: tuple) -> dict[str, Tensor]:
    """{bank: patches [P, C]} of one part, with the networks of ``method``, a Features of the full setting; ``sample``:
    (picture [1, 3, 224, 224], cloud [1, 3, S, S] in metres, ...)."""
    picture, cloud = sample[0], sample[1][0]
    networks, fusion = method.deep_feature_extractor, method.fusion
    rgb = networks.rgb_backbone.forward_features(picture)[0, 1:]  # without the class token
    points = cloud.flatten(1).T
    valid = (points != 0).all(1).nonzero()[:, 0]
    xyz = point_patches(networks.xyz_backbone, points[valid], valid, cloud.shape[1])
    rgb_on_grid = F.adaptive_avg_pool2d(rgb.T.reshape(1, -1, 28, 28), 56)[0].flatten(1).T
    fused = torch.cat([fusion.xyz_mlp(fusion.xyz_norm(xyz)), fusion.rgb_mlp(fusion.rgb_norm(rgb_on_grid))], dim=1)
    return {"rgb": rgb, "xyz": xyz, "fusion": fused}


def point_patches(transformer: Any, points: Tensor, pixels: Tensor, size: int) -> Tensor:
    """Patches [3136, 1152] of a cloud's valid points [N, 3], whose places in a picture of ``size`` × ``size`` are
    ``pixels`` [N]: features of groups are spread over the points, laid into the picture, and averaged."""
    centres = points[farthest_points(points, transformer.num_group)]
    groups = distances(centres, points).topk(transformer.group_size, largest=False).indices
    tokens = mini_pointnet(transformer.encoder, points[groups] - centres[:, None])
    features = transformer.transform(tokens, centres)
    distance, nearest = distances(points, centres).topk(3, largest=False)
    weight = 1 / (distance**2 + 1e-8)
    weight = weight / weight.sum(1, keepdim=True)
    picture = torch.zeros(size * size, features.shape[1])
    picture[pixels] = (features[nearest] * weight[:, :, None]).sum(1)
    picture = picture.T.reshape(1, -1, size, size)
    return F.adaptive_avg_pool2d(F.avg_pool2d(picture, 3, stride=1), 56)[0].flatten(1).T


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Indices [count] of the centres of a cloud [N, 3]: the first point, then always the point farthest from those
    taken; as released, points within 3 cm of the origin only where no other is left."""
    far = (points**2).sum(1) > 1e-3  # square metres
    nearest, picked = torch.full((len(points),), torch.inf), [0]
    while len(picked) < count:
        nearest = torch.minimum(nearest, ((points - points[picked[-1]]) ** 2).sum(1))
        picked.append(int(torch.where(far, nearest, -1).argmax()))
    return torch.tensor(picked)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """[A, B] Euclidean distances, without the rounding of a matrix product."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def mini_pointnet(encoder: Any, groups: Tensor) -> Tensor:
    """Tokens [G, E] of groups of points [G, K, 3] around their centres."""

    def layers(sequence: Any, x: Tensor) -> Tensor:
        return sequence[3](sequence[2](batch_norm(sequence[1], sequence[0](x))))

    each = layers(encoder.first_conv, groups.transpose(1, 2))
    whole = each.amax(2, keepdim=True).expand(-1, -1, each.shape[2])
    return layers(encoder.second_conv, torch.cat([whole, each], dim=1)).amax(2)


def batch_norm(layer: Any, x: Tensor) -> Tensor:
    """Batch norm: with this sample's statistics in train mode, else with the stored ones, which are never changed."""
    if layer.training:
        return F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)


# ---------------------------------------------------------------- 2. from patches to memory banks


def k_center(rows: Tensor, count: int) -> Tensor:
    """Greedy k-centre of rows [R, C]: row numbers [min(count, R)]; always the row farthest from those picked."""
    picked, nearest = [0], torch.full((len(rows),), torch.inf)
    while len(picked) < min(count, len(rows)):
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(rows - rows[picked[-1]], dim=1))
        picked.append(int(nearest.argmax()))
    return torch.tensor(picked)


# ---------------------------------------------------------------- 3. from patches to scores


def nearest_rows(patches: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(distance [P], index [P]) of each patch's nearest row: one matrix product, the norms, and the minimum."""
    squared, index = torch.addmm((rows * rows).sum(1), patches, rows.T, alpha=-2).min(1)
    return (squared + (patches * patches).sum(1)).clamp_(min=0).sqrt_(), index


def measure(patches: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """(image score, distance [P] of each patch to its nearest row) for one bank.

    The score is the largest distance, weighted as in PatchCore: less if that patch is also near to the two rows
    next to its nearest row.
    """
    distance, index = nearest_rows(patches, rows)
    worst = distance.argmax()
    patch, row, score = patches[worst], rows[index[worst]], distance.max()
    neighbours = rows[torch.cdist(row[None], rows)[0].topk(3, largest=False).indices[1:]]
    apart, root = torch.linalg.vector_norm(patch - neighbours, dim=1), rows.shape[1] ** 0.5
    return (1 - torch.exp(score / root) / torch.exp(apart / root).sum()) * score, distance


# ---------------------------------------------------------------- the whole method


def full_setting(method: Any, train: Samples, test: Samples) -> tuple[np.ndarray, list]:
    """(image scores [n], anomaly maps [n][S, S]) of the test parts, with the networks and settings of ``method``, a
    Features of the full setting; ``train``, ``test``: functions that yield the parts' samples."""
    settings = method.settings
    parts = [extract(method, sample) for sample in train()]
    banks = {name: torch.cat([part[name] for part in parts]) for name in ("xyz", "rgb", "fusion")}
    mean, std = banks["xyz"].mean(), banks["rgb"].std()  # as released: one pair scales all three banks
    kept = len(banks["xyz"])
    for name in banks:
        rows = (banks[name] - mean) / std
        projection = SparseRandomProjection(eps=settings.coreset_eps, random_state=settings.random_state)
        picks = int(settings.f_coreset * kept)  # as released: a share of the xyz bank, which is thinned first
        banks[name] = rows[k_center(torch.from_numpy(projection.fit_transform(rows.numpy())), picks)]
        if name == "xyz":
            kept = picks
    xyz = banks["xyz"]
    # as released: one row for all background, added after scaling, where 0 is the mean and no longer background
    banks["xyz"] = torch.cat([xyz[(xyz != 0).all(1)], torch.zeros(1, xyz.shape[1])])

    def of_banks(sample: tuple) -> tuple[list, list]:
        patches = extract(method, sample)
        found = [measure((patches[name] - mean) / std, rows) for name, rows in banks.items()]
        return [float(score) for score, _ in found], [anomaly_map(apart, settings.img_size) for _, apart in found]

    fusion = LateFusion(*method.lambdas(), nu=settings.ocsvm_nu, max_iter=settings.ocsvm_maxiter)
    for sample in train():
        fusion.add(*of_banks(sample))
    fusion.fit()
    scored = [fusion.predict(*of_banks(sample)) for sample in test()]
    return np.array([float(score[0]) for score, _ in scored]), [pixels for _, pixels in scored]
