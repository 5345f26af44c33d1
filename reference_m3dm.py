"""Plain implementations, short and obvious, against which the fast ones are measured and checked.

They use the project's networks layer by layer and share none of its shortcuts. Anomaly maps and late fusion, which have
no shortcuts, are the project's own.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.random_projection import SparseRandomProjection

from feature_extractors.late_fusion import LateFusion
from feature_extractors.memory_bank import anomaly_map


def k_center(rows, count):
    """Greedy k-centre of rows [N, C], a pass over all rows per pick: row numbers, [min(count, N)] int64 tensor."""
    picked, nearest = [0], torch.full((len(rows),), torch.inf)
    while len(picked) < min(count, len(rows)):
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(rows - rows[picked[-1]], dim=1))
        picked.append(int(nearest.argmax()))
    return torch.tensor(picked)


def nearest_rows(patches, rows):
    """(distance [P], index [P]) of each patch's nearest row: one matrix product, the norms, and the minimum."""
    squared, index = torch.addmm((rows * rows).sum(1), patches, rows.T, alpha=-2).min(1)
    return (squared + (patches * patches).sum(1)).clamp_(min=0).sqrt_(), index


def farthest_points(points, count):
    """Indices [count] of the centres of a point cloud [N, 3]; points near the origin are never chosen."""
    far = (points**2).sum(1) > 1e-3
    nearest, picked = torch.full((len(points),), torch.inf), [0]
    while len(picked) < count:
        nearest = torch.minimum(nearest, ((points - points[picked[-1]]) ** 2).sum(1))
        picked.append(int(torch.where(far, nearest, -1).argmax()))
    return torch.tensor(picked)


def batch_norm(layer, x):
    """Batch norm: with this sample's statistics in train mode, else with the stored ones, which are never changed."""
    if layer.training:
        return F.batch_norm(x, None, None, layer.weight, layer.bias, training=True, eps=layer.eps)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)


def mini_pointnet(encoder, groups):
    """Tokens [G, E] of groups [G, K, 3]."""

    def layers(sequence, x):
        return sequence[3](sequence[2](batch_norm(sequence[1], sequence[0](x))))

    f = layers(encoder.first_conv, groups.transpose(1, 2))
    g = f.amax(2, keepdim=True).expand(-1, -1, f.shape[2])
    return layers(encoder.second_conv, torch.cat([g, f], dim=1)).amax(2)


def xyz_patches(transformer, points, valid, size):
    """Patches [3136, 1152] of the valid points [N, 3], whose pixels are the positions ``valid`` [N] of an image of
    size × size."""
    center = points[farthest_points(points, transformer.num_group)]
    neighbours = (
        torch.cdist(center, points, compute_mode="donot_use_mm_for_euclid_dist")
        .topk(transformer.group_size, largest=False)
        .indices
    )
    tokens = transformer.transform(mini_pointnet(transformer.encoder, points[neighbours] - center[:, None]), center)
    distance, index = torch.cdist(points, center, compute_mode="donot_use_mm_for_euclid_dist").topk(3, largest=False)
    weight = 1 / (distance**2 + 1e-8)
    weight = weight / weight.sum(1, keepdim=True)
    picture = torch.zeros(size * size, tokens.shape[1])
    picture[valid] = (tokens[index] * weight[:, :, None]).sum(1)
    picture = picture.T.reshape(1, -1, size, size)
    return F.adaptive_avg_pool2d(F.avg_pool2d(picture, 3, stride=1), 56)[0].flatten(1).T


@torch.no_grad()
def extract(method, sample):
    """{bank: patches} of one sample, with the networks of ``method``, the full setting."""
    rgb, xyz = sample[0], sample[1][0]
    model, fusion = method.deep_feature_extractor, method.fusion
    rgb = model.rgb_backbone.forward_features(rgb)[0, 1:]
    points = xyz.flatten(1).T
    valid = (points != 0).all(1).nonzero()[:, 0]
    xyz = xyz_patches(model.xyz_backbone, points[valid], valid, xyz.shape[1])
    grid = F.adaptive_avg_pool2d(rgb.T.reshape(1, -1, 28, 28), 56)[0].flatten(1).T
    fused = torch.cat([fusion.xyz_mlp(fusion.xyz_norm(xyz)), fusion.rgb_mlp(fusion.rgb_norm(grid))], dim=1)
    return {"rgb": rgb, "xyz": xyz, "fusion": fused}


def measure(patches, rows):
    """(image score, distance [P] of each patch to its nearest row) for one bank."""
    distance, index = nearest_rows(patches, rows)
    p, b, s = patches[distance.argmax()], rows[index[distance.argmax()]], distance.max()
    others = rows[torch.cdist(b[None], rows)[0].topk(3, largest=False).indices[1:]]
    e, root = torch.linalg.vector_norm(p - others, dim=1), rows.shape[1] ** 0.5
    return (1 - torch.exp(s / root) / torch.exp(e / root).sum()) * s, distance


def full_setting(method, train, test):
    """(image scores [n], anomaly maps) of the test samples: the whole full setting as released, with default options.

    Args:
        method: the method whose networks and options are used.
        train, test: functions that yield the training and test samples.
    """
    args = method.settings
    parts = [extract(method, sample) for sample in train()]
    banks = {name: torch.cat([part[name] for part in parts]) for name in ("xyz", "rgb", "fusion")}
    mean, std = banks["xyz"].mean(), banks["rgb"].std()
    kept = len(banks["xyz"])
    for name in banks:
        rows = (banks[name] - mean) / std
        projection = SparseRandomProjection(eps=args.coreset_eps, random_state=args.random_state)
        kept_here = int(args.f_coreset * kept)
        banks[name] = rows[k_center(torch.from_numpy(projection.fit_transform(rows.numpy())), kept_here)]
        if name == "xyz":
            kept = kept_here
    xyz = banks["xyz"]
    banks["xyz"] = torch.cat([xyz[(xyz != 0).all(1)], torch.zeros(1, xyz.shape[1])])

    def score(sample):
        patches = extract(method, sample)
        measured = {name: measure((patches[name] - mean) / std, rows) for name, rows in banks.items()}
        return [float(s) for s, _ in measured.values()], [anomaly_map(d, args.img_size) for _, d in measured.values()]

    fusion = LateFusion(*method.lambdas(), nu=args.ocsvm_nu, max_iter=args.ocsvm_maxiter)
    for sample in train():
        fusion.add(*score(sample))
    fusion.fit()
    scored = [fusion.predict(*score(sample)) for sample in test()]
    return np.array([float(s[0]) for s, _ in scored]), [m for _, m in scored]
