"""The two backbones together, and the point transformer for the point cloud."""

from pathlib import Path

import torch
from torch import nn

from models import checkpoints
from models.onnx_backbone import OnnxBackbone
from models.pointnet2_utils import farthest_point_sample, nearest_points
from models.rgb_backbones import RGB_BACKBONES, RGBBackbone, build_rgb_backbone

__all__ = ["RGB_BACKBONES", "Model", "PointTransformer"]
XYZ_BACKBONES = {"Point_MAE": (checkpoints.POINT_MAE, 384), "Point_Bert": (checkpoints.POINT_BERT, 256)}
XYZ_DIM = 3 * 384
PATCH_BACKBONES = RGBBackbone, OnnxBackbone  # they give patches, and the same ones in train mode


class Model(nn.Module):
    """Both backbones with loaded weights.

    Args:
        rgb_backbone_name: a name of ``models.rgb_backbones``; None: no RGB backbone.
        xyz_backbone_name: key of ``XYZ_BACKBONES``; None: no point transformer.
        rgb_size: side of the pictures, see ``RGBBackbone``.
        rgb_onnx: bytes from ``export_backbone`` of this RGB backbone, which ONNX Runtime then runs; no weights are
            loaded. None: torch runs it.
    """

    def __init__(
        self,
        device="cpu",
        rgb_backbone_name="vit_base_patch8_224_dino",
        xyz_backbone_name="Point_MAE",
        group_size=128,
        num_group=1024,
        checkpoint_dir="checkpoints",
        rgb_size=None,
        rgb_onnx=None,
    ):
        super().__init__()
        self.rgb_backbone = self.xyz_backbone = None
        if xyz_backbone_name:  # before the ViT, whose download may take a long time to fail
            role, encoder_dims = XYZ_BACKBONES[xyz_backbone_name]
            self.xyz_backbone = PointTransformer(group_size, num_group, encoder_dims)
            checkpoints.load_into(self.xyz_backbone, Path(checkpoint_dir) / role.file, role)
        if rgb_onnx is not None:
            self.rgb_backbone = OnnxBackbone(rgb_onnx)
        elif rgb_backbone_name:
            self.rgb_backbone = build_rgb_backbone(rgb_backbone_name, checkpoint_dir, rgb_size)
        self.rgb_dim = getattr(self.rgb_backbone, "embed_dim", None)
        self.to(device)

    def forward_rgb_features(self, rgb):
        """Patch tokens [B, 784, width] without CLS token, of images [B, 3, 224, 224] (or the backbone's own size)."""
        if isinstance(self.rgb_backbone, PATCH_BACKBONES):
            return self.rgb_backbone(rgb)
        return self.rgb_backbone.forward_features(rgb)[:, 1:]


def cast_once(network, device_type):
    """Store the weights of linear and convolutional layers in autocast's type, so that no call has to cast them.

    Results under autocast stay the same bit for bit. The mini-PointNet is not changed: it runs without autocast in
    train mode, and has few weights. ``network`` is changed in place and returned; ``device_type``: "cpu" or "cuda".
    """
    kind = torch.get_autocast_dtype(device_type)
    spared = {id(layer) for part in network.modules() if isinstance(part, PointNetEncoder) for layer in part.modules()}
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and id(layer) not in spared:
            layer.to(kind)
    return network


class PointNetEncoder(nn.Module):
    """Mini-PointNet: one token from the points of each group: f = conv(relu(bn(conv(points)))), g = max of f over the
    group, then max over the group of conv(relu(bn(conv([g, f]))))."""

    POINTS_A_BLOCK = 4096

    def __init__(self, out_dim):
        super().__init__()
        self.first_conv = nn.Sequential(nn.Conv1d(3, 128, 1), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1))
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, out_dim, 1)
        )

    def forward(self, groups):
        """Tokens [G, out_dim] of groups [G, K, 3] (coordinates relative to their centres).

        The convolution of [g, f] is one product per group for g plus one product per point for f. f's own convolution
        has no non-linearity after it, so the two convolutions of f multiply out: W_f (W_2 x + b_2).

        In train mode, the batch norms use this sample's statistics, computed from second moments of the layers' inputs.
        Running averages are not updated, since the release never reads them in train mode.
        """
        count, size, _ = groups.shape
        conv1, norm1, _, conv2 = self.first_conv
        conv3, norm2, _, conv4 = self.second_conv
        w1, w2, w3, w4 = (conv.weight[:, :, 0] for conv in (conv1, conv2, conv3, conv4))
        points = groups.reshape(-1, 3)

        mean, var = self._moments(points, w1, conv1.bias) if self.training else (norm1.running_mean, norm1.running_var)
        w1, b1 = _fold(w1, conv1.bias, mean, var, norm1)
        block = max(1, self.POINTS_A_BLOCK // size) * size
        hidden, peaks = [], []
        for part in points.split(block):
            x = torch.addmm(b1, part, w1.T).relu_()
            hidden.append(x)
            peaks.append(torch.addmm(conv2.bias, x, w2.T).view(-1, size, w2.shape[0]).amax(1))
        w_g, w_f = w3.split(w2.shape[0], dim=1)
        w_x, per_group = w_f @ w2, torch.cat(peaks) @ w_g.T + (conv3.bias + w_f @ conv2.bias)

        mean, var = norm2.running_mean, norm2.running_var
        if self.training:
            mean, var = self._group_moments(hidden, size, w_x, per_group)
        scale = norm2.weight / torch.sqrt(var + norm2.eps)
        w_x, per_group = w_x * scale[:, None], (per_group - mean) * scale + norm2.bias
        tokens = []
        for x, start in zip(hidden, per_group.split(block // size)):
            y = (x @ w_x.T).view(-1, size, w_x.shape[0]).add_(start[:, None]).relu_()
            tokens.append((y.view(-1, y.shape[-1]) @ w4.T).view(len(start), size, -1).amax(1))
        return torch.cat(tokens) + conv4.bias

    @staticmethod
    def _moments(x, weight, bias):
        """Mean and biased variance over the rows of x·Wᵀ + b, from x's: W·mean + b and diag(W·cov·Wᵀ)."""
        mean = x.mean(0)
        centred = x - mean
        cov = centred.T @ centred / len(x)
        return weight @ mean + bias, ((weight @ cov) * weight).sum(1)

    @staticmethod
    def _group_moments(blocks, size, weight, per_group):
        """Mean and biased variance over all points of x·Wᵀ + c, where c [G, C] is constant within each group.

        var = var(x·Wᵀ) + var(c) + 2 cov(x·Wᵀ, c); the last term needs only the groups' means of x.
        """
        means = torch.cat([x.view(-1, size, x.shape[-1]).mean(1) for x in blocks])
        centre = means.mean(0)
        cov = sum((x - centre).T @ (x - centre) for x in blocks) / (len(means) * size)
        between = (means - centre) @ weight.T
        spread = per_group - per_group.mean(0)
        var = ((weight @ cov) * weight).sum(1) + (spread * spread + 2 * spread * between).mean(0)
        return weight @ centre + per_group.mean(0), var


def _fold(weight, bias, mean, var, norm):
    """Weight and bias of one linear map that equals a linear map followed by a batch norm with these statistics."""
    scale = norm.weight / torch.sqrt(var + norm.eps)
    return weight * scale[:, None], (bias - mean) * scale + norm.bias


class Blocks(nn.Module):
    """Transformer blocks; each gets x + position as input, and their stochastic depth rises linearly."""

    def __init__(self, width, depth, num_heads, drop_path):
        from timm.models.vision_transformer import Block  # imported here, since that takes two seconds

        super().__init__()
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            Block(width, num_heads, mlp_ratio=4, qkv_bias=False, drop_path=rate, norm_layer=nn.LayerNorm)
            for rate in rates
        )


class PointTransformer(nn.Module):
    """Encoder of Point-MAE (``encoder_dims`` 384) or Point-BERT (256); concatenates outputs of blocks 4, 8 and 12."""

    WIDTH, DEPTH, HEADS, DROP_PATH, FETCH = 384, 12, 6, 0.1, (3, 7, 11)

    def __init__(self, group_size=128, num_group=1024, encoder_dims=384):
        super().__init__()
        self.group_size, self.num_group = group_size, num_group
        self.encoder = PointNetEncoder(encoder_dims)
        self.has_cls = encoder_dims != self.WIDTH  # Point-BERT
        if self.has_cls:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, self.WIDTH))
            self.cls_pos = nn.Parameter(torch.zeros(1, 1, self.WIDTH))
            self.reduce_dim = nn.Linear(encoder_dims, self.WIDTH)
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, self.WIDTH))
        self.blocks = Blocks(self.WIDTH, self.DEPTH, self.HEADS, self.DROP_PATH)
        self.norm = nn.LayerNorm(self.WIDTH)

    def group(self, points, group_size):
        """(Indices of the centres [G], centres [G, 3], indices of the groups' points [G, K], nearest first) of points
        [N, 3], which are repeated in order if there are fewer than num_group or ``group_size``, K."""
        total = max(len(points), self.num_group, group_size)
        repeated = torch.arange(total, device=points.device) % len(points)
        points = points[repeated]
        center_index = farthest_point_sample(points, self.num_group)  # repetitions are never farther than the originals
        neighbours = nearest_points(points[center_index], points, group_size)[0]
        return repeated[center_index], points[center_index], repeated[neighbours]

    def forward(self, points):
        """(tokens [num_group, 1152], centres [num_group, 3]) of a point cloud [N, 3], N >= 1."""
        (tokens,), center = self.forward_sizes(points, [self.group_size])
        return tokens, center

    def forward_sizes(self, points, group_sizes):
        """As :meth:`forward`, for several group sizes: (list of tokens [num_group, 1152], centres [num_group, 3])."""
        half = torch.is_autocast_enabled(points.device.type) and not self.training
        tokens = []
        for size in group_sizes:
            _, center, neighbours = self.group(points, size)
            with torch.autocast(points.device.type, enabled=half):  # batch statistics need full precision
                of_groups = self.encoder(points[neighbours] - center[:, None])
            tokens.append(self.transform(of_groups, center))
        return tokens, center

    def transform(self, tokens, center):
        """Concatenated outputs [G, 1152] of the FETCH blocks, for group tokens [G, encoder_dims] at centres [G, 3]."""
        tokens, position = tokens[None], self.pos_embed(center)[None]
        if self.has_cls:
            tokens = torch.cat([self.cls_token, self.reduce_dim(tokens)], dim=1)
            position = torch.cat([self.cls_pos, position], dim=1)
        fetched = []
        for i, block in enumerate(self.blocks.blocks):
            tokens = block(tokens + position)
            if i in self.FETCH:
                fetched.append(self.norm(tokens)[0, int(self.has_cls) :])
        return torch.cat(fetched, dim=1)
