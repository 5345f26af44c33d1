"""A patch extractor without networks: a "sample" is its patches already."""
import torch


class FakeExtractor:
    """Gives back what it is shown; draws no random numbers.

    Args:
        widths: {bank: columns}.
    """

    device = torch.device("cpu")
    deep_feature_extractor = fusion = fpfh = None

    steady = property(lambda self: not self.training)

    def __init__(self, **widths):
        self.widths, self.training, self.seeds = widths, None, []

    def check(self, banks):
        assert set(banks) <= set(self.widths)

    def train(self, mode):
        self.training = mode

    def reseed(self, seed):
        self.seeds.append(seed)
        torch.manual_seed(seed)

    def extract(self, sample, banks=None, zero_points=False):
        return sample
