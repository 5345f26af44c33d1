"""Patch extractors without networks, for tests."""

import torch


class FakeExtractor:
    """An extractor that returns the sample as it is: the "sample" already holds patches. It draws no random numbers.

    Args:
        widths: {bank: number of columns}.
    """

    device = torch.device("cpu")
    deep_feature_extractor = fusion = fpfh = None
    rgb_size, rgb_onnx, rgb_runtime = 224, None, None

    steady = property(lambda self: not self.training)

    def __init__(self, **widths):
        self.widths, self.training, self.seeds = widths, None, []

    def train(self, mode):
        self.training = mode

    def reseed(self, seed):
        self.seeds.append(seed)
        torch.manual_seed(seed)

    def extract(self, sample, banks=None, zero_points=False):
        return sample


class PoolingExtractor(FakeExtractor):
    """An extractor that makes patches from a sample's pixels: means and products of the pooled image and cloud."""

    def __init__(self):
        super().__init__(rgb=5, xyz=6, fusion=11)

    def extract(self, sample, banks=None, zero_points=False):
        from torch.nn.functional import adaptive_avg_pool2d

        rgb, xyz = (adaptive_avg_pool2d(of, side)[0].flatten(1).T for of, side in zip(sample[:2], (28, 56)))
        xyz = 30 * xyz
        patches = {"rgb": torch.cat([rgb, rgb[:, :2] ** 2], 1), "xyz": torch.cat([xyz, torch.sin(3 * xyz)], 1)}
        grid = patches["rgb"].reshape(28, 1, 28, 1, 5).expand(-1, 2, -1, 2, -1).reshape(3136, 5)
        patches["fusion"] = torch.cat([patches["xyz"], grid], 1)
        return {name: patches[name] for name in banks or self.widths}
