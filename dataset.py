"""Samples from disk: which files belong together, and how they become tensors.

Layout: ``<dataset_path>/<class>/{train,test}/<defect>/{rgb/*.png, xyz/*.tiff, gt/*.png}``.
"""
import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from utils.errors import InputError, show_warnings
from utils.mvtec3d_util import (organized_pc_to_depth_map, read_mask, read_picture, read_tiff_organized_pc,
                                resize_organized_pc, valid_points)

RGB_SIZE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GOOD = "good"


def mvtec3d_classes():
    """The ten categories of MVTec 3D-AD."""
    return ["bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"]


def eyecandies_classes():
    """The ten categories of Eyecandies."""
    return ["CandyCane", "ChocolateCookie", "ChocolatePraline", "Confetto", "GummyBear", "HazelnutTruffle",
            "LicoriceSandwich", "Lollipop", "Marshmallow", "PeppermintCandy"]


DATASET_CLASSES = {"mvtec3d": mvtec3d_classes, "eyecandies": eyecandies_classes}


class _Split(Dataset):
    """Shared by both splits: files and their reading.

    Args:
        class_name: category.
        img_size: side in pixels that point clouds are resized to (pictures are always 224).
        dataset_path: folder of the categories.
        min_points: fewer valid points than this cause a warning, none an error; 0 where points are not used.
    """

    split = None

    def __init__(self, class_name, img_size=RGB_SIZE, dataset_path="datasets/mvtec3d", min_points=0):
        self.folder = Path(dataset_path) / class_name / self.split
        self.dataset_path, self.img_size, self.min_points = Path(dataset_path), img_size, min_points
        self.files = self._list()
        # shared with worker processes, so that each file is warned about once, not once a pass
        self._warned = torch.zeros(len(self.files), dtype=torch.uint8).share_memory_()

    def __len__(self):
        return len(self.files)

    def _sample(self, index):
        """(rgb [3, 224, 224], xyz [3, S, S], depth [3, S, S])."""
        rgb_path, xyz_path = self.files[index][:2]
        picture = read_picture(rgb_path, "RGB").resize((RGB_SIZE, RGB_SIZE), Image.BICUBIC)
        rgb = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)
        rgb = (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]
        points, broken = read_tiff_organized_pc(xyz_path)
        xyz = resize_organized_pc(points, self.img_size)
        notes = [f"{broken} pixels with NaN or inf are taken as background"] if broken else []
        found = len(valid_points(xyz))
        if self.min_points and not found:
            raise InputError(f"{xyz_path}: no valid point is left (x, y and z non-zero and finite); remove or rescan this part")
        if found < self.min_points:
            notes.append(f"{found} valid points, fewer than the {self.min_points} groups: points are repeated")
        if notes and not self._warned[index]:
            self._warned[index] = 1
            logging.warning("%s: %s", xyz_path, "; ".join(notes))
        return rgb, xyz, organized_pc_to_depth_map(xyz)


class TrainDataset(_Split):
    """Normal training parts; an item is ((rgb [3, 224, 224], xyz [3, S, S], depth [3, S, S]), 0).

    Raises:
        InputError: no ``train/good``, no files in it, or files that do not pair.
    """

    split = "train"

    def _list(self):
        if not (self.folder / GOOD).is_dir():
            raise InputError(f"{self.folder / GOOD}: missing folder: the category's normal training parts belong there")
        return pair_files(self.folder / GOOD, with_masks=False)

    def __getitem__(self, index):
        return self._sample(index), 0


class TestDataset(_Split):
    """Test parts; an item is (sample as in TrainDataset, mask [1, 224, 224], label 0 or 1, rgb path).

    Raises:
        InputError: no ``test`` split, no files in it, or files that do not pair.
    """

    split = "test"
    __test__ = False  # not a test case, whatever pytest thinks of the name

    def _list(self):
        folders = sorted(f for f in self.folder.iterdir() if f.is_dir()) if self.folder.is_dir() else []
        if not folders:
            raise InputError(f"{self.folder}: missing or empty: the category's test parts belong there, one folder a defect, and good")
        return [files for folder in folders for files in pair_files(folder, with_masks=folder.name != GOOD)]

    def __getitem__(self, index):
        rgb_path, _, gt_path = self.files[index]
        mask = torch.zeros(1, RGB_SIZE, RGB_SIZE) if gt_path is None else read_mask(gt_path, RGB_SIZE)
        return self._sample(index), mask, int(gt_path is not None), str(rgb_path)

    def describe(self, index):
        """(rgb path relative to the data set with forward slashes, defect folder, label)."""
        rgb_path, _, gt_path = self.files[index]
        return rgb_path.relative_to(self.dataset_path).as_posix(), rgb_path.parent.parent.name, int(gt_path is not None)


def pair_files(folder, with_masks):
    """[(rgb, xyz, gt or None)] of one defect folder: paired by name where names match, else by sorted position.

    Raises:
        InputError: no files, unequal numbers, or names of which only some match.
    """
    rgb = _files(folder / "rgb", "*.png")
    if not rgb:
        raise InputError(f"{folder / 'rgb'}: no *.png found")
    columns = [rgb, _partners(rgb, _files(folder / "xyz", "*.tiff"), folder / "xyz", "*.tiff")]
    columns.append(_partners(rgb, _files(folder / "gt", "*.png"), folder / "gt", "*.png") if with_masks else [None] * len(rgb))
    return list(zip(*columns))


def _files(folder, pattern):
    return sorted(p for p in folder.glob(pattern) if not p.name.startswith("."))  # macOS leaves ._NAME beside NAME


def _partners(rgb, others, folder, pattern):
    names, other_names = {p.stem for p in rgb}, {p.stem for p in others}
    if names == other_names or (len(rgb) == len(others) and not names & other_names):
        return others
    example = sorted(names ^ other_names)[0]
    side = f"{example}.png has no partner in {folder}" if example in names else f"{folder / (example + pattern[1:])} has no picture"
    raise InputError(f"{folder}: {len(others)} files {pattern} for {len(rgb)} pictures in {rgb[0].parent}: {side}; "
                     "add or remove files until each part has all of its own")


def get_data_loader(split, class_name, img_size, args):
    """Loader of ``split`` ("train" or "test"): batch size 1, no shuffling, ``args.num_workers`` workers.

    ``args`` needs ``dataset_path``; ``num_workers`` (1) and ``min_points`` (0) are optional.
    """
    kind = TrainDataset if split == "train" else TestDataset
    data = kind(class_name, img_size, args.dataset_path, getattr(args, "min_points", 0))
    return DataLoader(data, batch_size=1, shuffle=False, num_workers=getattr(args, "num_workers", 1),
                      worker_init_fn=show_warnings)
