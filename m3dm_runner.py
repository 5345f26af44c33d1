"""Fit and evaluate one category."""
import time
from contextlib import contextmanager

import torch
from tqdm import tqdm

from dataset import get_data_loader
from feature_extractors.multiple_features import METHODS
from utils.errors import InputError


def choose_device(name):
    """torch device for ``name`` (auto, cpu, cuda or mps).

    Raises:
        InputError: the device was named and is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        raise InputError(f"--device {name}: not available on this machine; use --device auto or cpu")
    return torch.device(name)


class M3DM:
    """The method ``args.method_name``, fresh, for one category.

    Args:
        args: options as ``utils.options.parse_arguments`` returns them.

    Attributes:
        method: the Features object.
        timings: seconds of each phase so far.
        training_paths: rgb paths of the parts of the last ``fit``, relative to the data set.
        test_data: the TestDataset of the last ``evaluate``.

    Raises:
        InputError: a checkpoint or the device is not there.
    """

    def __init__(self, args):
        self.args = args
        self.timings = {}
        with self._phase("load networks"):
            self.method = METHODS[args.method_name](args, choose_device(args.device))
        self.training_paths, self.test_data = [], None

    def fit(self, class_name):
        """Build the memory banks and fit the late fusion from the category's training parts."""
        args, method = self.args, self.method
        loader = get_data_loader("train", class_name, args.img_size, args)
        count = min(len(loader), args.shots or args.max_sample + ("max_sample" not in args.fix))  # one more, as released (defect 5)
        self.training_paths = [loader.dataset.describe(i)[0] for i in range(count)]
        with self._phase("memory bank"):
            method.expect(count)
            for sample, _ in self._first(loader, count, f"{class_name}: memory bank"):
                method.add_sample_to_mem_bank(sample, class_name=class_name)
        with self._phase("coreset"):
            method.run_coreset()
        if method.needs_late_fusion_pass:
            with self._phase("late fusion"):
                label = f"{class_name}: late fusion"
                if method.remembers:
                    for number in self._bar(count, label):
                        method.add_patches_to_late_fusion(method.recall(number))
                else:
                    for sample, _ in self._first(loader, count, label):
                        method.add_sample_to_late_fusion_mem_bank(sample)
                method.run_late_fusion()

    def evaluate(self, class_name):
        """Score the category's test parts.

        Returns:
            (image ROCAUC, pixel ROCAUC, AU-PRO), three dicts {method name: value, None where undefined}.
        """
        args, method = self.args, self.method
        loader = get_data_loader("test", class_name, args.img_size, args)
        self.test_data = loader.dataset
        with self._phase("test"):
            for sample, mask, label, _ in self._first(loader, len(loader), f"{class_name}: test"):
                method.predict(sample, mask, label)
        with self._phase("metrics"):
            method.calculate_metrics()
        return tuple({args.method_name: value} for value in (method.image_rocauc, method.pixel_rocauc, method.au_pro))

    @staticmethod
    def _first(loader, count, label):
        """The first ``count`` items under a progress bar."""
        for _, item in zip(M3DM._bar(count, label), loader):
            yield item

    @staticmethod
    def _bar(count, label):
        """range(count) under a progress bar (none where the output is no terminal)."""
        return tqdm(range(count), desc=label, disable=None, unit="part")

    @contextmanager
    def _phase(self, name):
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0) + time.perf_counter() - start
