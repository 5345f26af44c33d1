"""Unsupervised feature fusion (UFF) of M3DM: one MLP per modality; their outputs are concatenated."""

import torch
from torch import nn

from models.checkpoints import UFF, load_into


class Mlp(nn.Module):
    """Linear → GELU → Linear; the output has the width of the input."""

    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class FeatureFusionBlock(nn.Module):
    """UFF with the key names of the released checkpoints; only training uses the heads.

    The linear layers are created in the order in which the release draws their initial weights, so that torch's random
    generator is in the same state afterwards.
    """

    def __init__(self, xyz_dim=1152, rgb_dim=768, mlp_ratio=4):
        super().__init__()
        self.xyz_dim, self.rgb_dim = xyz_dim, rgb_dim
        self.xyz_norm, self.rgb_norm = nn.LayerNorm(xyz_dim), nn.LayerNorm(rgb_dim)
        self.xyz_mlp = Mlp(xyz_dim, int(xyz_dim * mlp_ratio))
        self.rgb_mlp = Mlp(rgb_dim, int(rgb_dim * mlp_ratio))
        self.rgb_head = nn.Linear(rgb_dim, 256)
        self.xyz_head = nn.Linear(xyz_dim, 256)

    @classmethod
    def from_checkpoint(cls, path, xyz_dim, rgb_dim):
        """UFF with the weights of the file at ``path``; InputError as in ``load_into``."""
        return load_into(cls(xyz_dim, rgb_dim), path, UFF, optional=("rgb_head", "xyz_head"))

    def feature_fusion(self, xyz_feature, rgb_feature):
        """Fused patches [..., xyz_dim + rgb_dim], xyz first, of patches [..., xyz_dim] and [..., rgb_dim]."""
        return torch.cat([self.xyz_branch(xyz_feature), self.rgb_branch(rgb_feature)], dim=-1)

    def xyz_branch(self, x):
        """xyz half of the fusion of patches [P, xyz_dim]; on the CPU, all-zero (background) rows are computed once.

        On a GPU all rows are computed, which costs less than finding the zero rows, for which the host has to wait.
        """
        if x.is_cuda:
            return self.xyz_mlp(self.xyz_norm(x))
        filled = (x != 0).any(-1)
        out = self.xyz_mlp(self.xyz_norm(torch.cat([x.new_zeros(1, self.xyz_dim), x[filled]])))
        return out[torch.where(filled, filled.cumsum(0), 0)]

    def rgb_branch(self, x):
        """RGB half of the fusion of patches [..., rgb_dim]."""
        return self.rgb_mlp(self.rgb_norm(x))

    def match(self, xyz_feature, rgb_feature):
        """Embeddings that training compares: (queries [P, 256] from RGB patches [P, rgb_dim], keys [P, 256] from xyz
        patches [P, xyz_dim]), rows of unit length. Those of a matching pair should be each other's nearest."""
        normalise = nn.functional.normalize
        keys = self.xyz_head(self.xyz_mlp(self.xyz_norm(xyz_feature)))
        return normalise(self.rgb_head(self.rgb_branch(rgb_feature)), dim=-1), normalise(keys, dim=-1)
