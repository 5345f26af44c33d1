"""Samples from disk: which files belong together, and how they become tensors.

Layout: ``<dataset_path>/<class>/{train,test}/<defect>/{rgb/*.png, xyz/*.tiff, gt/*.png}``.
"""
import logging
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from utils.errors import InputError, show_warnings
from utils.mvtec3d_util import (organized_pc_to_depth_map, read_mask, read_picture, read_tiff_organized_pc,
                                resize_organized_pc, valid_points)
from utils.names import CATEGORIES, find_folder, same_name

RGB_SIZE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GOOD = "good"
PATTERNS = {"rgb": "*.png", "xyz": "*.tiff", "gt": "*.png"}  # kind of file = its folder → what is read of it


def mvtec3d_classes():
    """The ten categories of MVTec 3D-AD."""
    return list(CATEGORIES["mvtec3d"])


def eyecandies_classes():
    """The ten categories of Eyecandies."""
    return list(CATEGORIES["eyecandies"])


def realiad_d3_classes():
    """The twenty categories of Real-IAD D3; the paper uses fork_crimp_terminal, knob-cap and limit-switch."""
    return list(CATEGORIES["realiad_d3"])


def find_categories(dataset_path, dataset_type, asked=None):
    """Folders of the categories ``asked`` for, by default of the data set's official list, or of all with ``train/good`` (type "folder").

    Returns:
        (names of the folders as they stand on disk, each once; {name on the official list: why it has no folder}).

    Raises:
        InputError: no such data set; a category asked for is no plain name, or has no folder or several.
    """
    root = Path(dataset_path)
    if not root.is_dir():
        raise InputError(f"{root}: missing: the data set's folder; give it with --dataset_path")
    if (root / "train" / GOOD).is_dir():
        raise InputError(f"{root}: is a category itself; give the folder it lies in, and --category {root.resolve().name}")
    folders, missing = [], {}
    for name in (text.rstrip("/\\") for text in asked or ()):  # shells complete a folder's name with a slash
        if Path(name).name != name:
            raise InputError(f"--category {name}: give the name of a folder in {root}, not a path")
        folders.append(find_folder(root, name))
        if folders[-1] is None:
            raise InputError(f"{root / name}: missing folder of the category given with --category; there are: "
                             f"{', '.join(sorted(p.name for p in root.iterdir() if p.is_dir())) or 'none'}")
    if not asked and dataset_type == "folder":
        folders = sorted(good.parents[1] for good in root.glob(f"[!.]*/train/{GOOD}") if good.is_dir())
        if not folders:
            raise InputError(f"{root}: no category: no folder in it has train/{GOOD} with the normal training parts")
    elif not asked:
        for name in CATEGORIES[dataset_type]:
            try:
                folders.append(find_folder(root, name))
                if folders[-1] is None:
                    missing[name] = f"{root / name}: missing folder; give the categories you have with --category"
            except InputError as error:
                missing[name] = str(error)
    return list(dict.fromkeys(folder.name for folder in folders if folder)), missing


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
        xyz, _, notes = read_points(xyz_path, self.img_size, self.min_points)
        if notes and not self._warned[index]:
            self._warned[index] = 1
            logging.warning("%s: %s", xyz_path, "; ".join(notes))
        return rgb, xyz, organized_pc_to_depth_map(xyz)

    def describe(self, index):
        """(rgb path relative to the data set with forward slashes, defect folder, label)."""
        rgb_path, _, gt_path = self.files[index]
        return rgb_path.relative_to(self.dataset_path).as_posix(), rgb_path.parent.parent.name, int(gt_path is not None)


class TrainDataset(_Split):
    """Normal training parts; an item is ((rgb [3, 224, 224], xyz [3, S, S], depth [3, S, S]), 0).

    Args:
        shots: only so many parts, see :func:`few_shots`; None: all.
        seed: chooses them.

    Raises:
        InputError: no ``train/good``, no files in it, files that do not pair, or fewer parts than ``shots``.
    """

    split = "train"

    def __init__(self, class_name, img_size=RGB_SIZE, dataset_path="datasets/mvtec3d", min_points=0, shots=None, seed=0):
        super().__init__(class_name, img_size, dataset_path, min_points)
        if shots is not None:
            if shots > len(self.files):
                raise InputError(f"{self.folder / GOOD}: {len(self.files)} training parts, fewer than --shots {shots}; lower it or add parts")
            self.files = [self.files[i] for i in few_shots(len(self.files), shots, seed, class_name)]

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


def few_shots(count, shots, seed, class_name):
    """Positions, sorted, of ``shots`` out of ``count`` training parts.

    They follow from the seed and the category's name in any spelling alone; no other random number is drawn for them.
    The parts of fewer shots are among those of more.
    """
    draw = random.Random(f"{seed} {same_name(class_name)}")
    rank = [draw.random() for _ in range(count)]  # of Python's generator only random() is the same in all versions
    return sorted(sorted(range(count), key=rank.__getitem__)[:shots])


def read_points(path, size, min_points):
    """A part's point cloud as a run takes it.

    Returns:
        (xyz [3, size, size], number of valid points in it, texts that warn of the file).

    Raises:
        InputError: unreadable, or without a valid point although ``min_points`` are wanted.
    """
    points, broken = read_tiff_organized_pc(path)
    xyz = resize_organized_pc(points, size)
    notes = [f"{broken} pixels with NaN or inf are taken as background"] if broken else []
    found = len(valid_points(xyz))
    if min_points and not found:
        raise InputError(f"{path}: no valid point is left (x, y and z non-zero and finite); remove or rescan this part")
    if found < min_points:
        notes.append(f"{found} valid points, fewer than the {min_points} groups: points are repeated")
    return xyz, found, notes


def pair_files(folder, with_masks):
    """[(rgb, xyz, gt or None)] of one defect folder: paired by name where names match, else by sorted position.

    Raises:
        InputError: no files, unequal numbers, or names of which only some match.
    """
    problems = unpaired_files(folder, with_masks)
    if problems:
        raise InputError(problems[0] + (f" (and {len(problems) - 1} more files)" if len(problems) > 1 else ""))
    rgb, xyz = part_files(folder, "rgb"), part_files(folder, "xyz")
    return list(zip(rgb, xyz, part_files(folder, "gt") if with_masks else [None] * len(rgb)))


def unpaired_files(folder, with_masks):
    """Why :func:`pair_files` refuses a defect folder: one text a file without a partner; empty where it does not."""
    rgb = {p.stem: p for p in part_files(folder, "rgb")}
    if not rgb:
        return [f"{folder / 'rgb'}: no {PATTERNS['rgb']} found"]
    problems = []
    for kind in ("xyz", "gt") if with_masks else ("xyz",):
        others = {p.stem: p for p in part_files(folder, kind)}
        if not rgb.keys() & others.keys():
            if len(rgb) != len(others):
                problems.append(f"{folder / kind}: {len(others)} files {PATTERNS[kind]} for {len(rgb)} pictures in {folder / 'rgb'}, none of the same name: "
                                "add or remove files until each part has all of its own")
            continue
        problems += [f"{rgb[name]}: has no {name}{PATTERNS[kind][1:]} in {folder / kind}; add or remove files until each part has all of its own"
                     if name in rgb else f"{others[name]}: has no picture {name}.png in {folder / 'rgb'}; add the picture or remove this file"
                     for name in sorted(rgb.keys() ^ others.keys())]
    return problems


def part_files(folder, kind):
    """The files of ``kind`` (a key of PATTERNS) of a defect folder, sorted."""
    return sorted(p for p in (folder / kind).glob(PATTERNS[kind]) if not p.name.startswith("."))  # macOS leaves ._NAME beside NAME


def get_data_loader(split, class_name, img_size, args):
    """Loader of ``split`` ("train" or "test"): batch size 1, no shuffling, ``args.num_workers`` workers.

    ``args`` needs ``dataset_path``; ``num_workers`` (1), ``min_points`` (0), ``shots`` (None) and ``seed`` (0) are optional.
    """
    common = class_name, img_size, args.dataset_path, getattr(args, "min_points", 0)
    data = TrainDataset(*common, getattr(args, "shots", None), getattr(args, "seed", 0)) if split == "train" else TestDataset(*common)
    return DataLoader(data, batch_size=1, shuffle=False, num_workers=getattr(args, "num_workers", 1),
                      worker_init_fn=show_warnings)
