"""Samples from disk: which files belong together, and how they become tensors.

Layout: ``<dataset_path>/<class>/{train,test}/<defect>/{rgb/*.png, xyz/*.tiff, gt/*.png}``; other suffixes:
``utils.pairing``.
"""

import logging
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from utils.commands import available_cores
from utils.errors import InputError, show_warnings
from utils.mvtec3d_util import (
    Reading,
    count_distinct,
    organized_pc_to_depth_map,
    point_keys,
    read_tiff_organized_pc,
    resize_organized_pc,
    valid_points,
)
from utils.names import CATEGORIES, find_categories, same_name  # noqa: F401  found here too
from utils.pairing import GOOD, defect_folders, pair, too_few_shots
from utils.pictures import read_mask, read_picture
from utils.signals import begin_worker, beginning_workers, raise_if_stopping

RGB_SIZE = 224
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS_FOR_GPU = 4
NO_SHARED_MEMORY = ("shared memory", "Bus error", "shm")  # of torch's messages


def mvtec3d_classes():
    """The ten categories of MVTec 3D-AD."""
    return list(CATEGORIES["mvtec3d"])


def eyecandies_classes():
    """The ten categories of Eyecandies."""
    return list(CATEGORIES["eyecandies"])


def realiad_d3_classes():
    """The twenty categories of Real-IAD D3; the paper uses fork_crimp_terminal, knob-cap and limit-switch."""
    return list(CATEGORIES["realiad_d3"])


class _Split(Dataset):
    """Shared by both splits: files and their reading.

    Args:
        class_name: category.
        img_size: side in pixels that point clouds are resized to (pictures: ``rgb_size``).
        dataset_path: folder of the categories.
        min_points: fewer distinct valid points than this cause a warning, none an error; 0 where points are not used.
        reading: how the files are read, as an examination settles it.

    Attributes:
        files: [(rgb, xyz, gt or None)], the parts' files.
        labels: [0 or 1], 1 for parts of a defect folder.
        has_masks: whether every defective part has a mask; else pixel metrics are undefined.
    """

    split = None
    rgb_size = RGB_SIZE  # side in pixels that pictures are resized to

    def __init__(self, class_name, img_size=RGB_SIZE, dataset_path="datasets/mvtec3d", min_points=0, reading=Reading()):
        self.folder = Path(dataset_path) / class_name / self.split
        self.dataset_path, self.img_size, self.min_points, self.reading = (
            Path(dataset_path),
            img_size,
            min_points,
            reading,
        )
        self.files = self._list()
        self.labels = [int(rgb.parent.parent.name != GOOD) for rgb, _, _ in self.files]
        self.has_masks = all(gt is not None for (_, _, gt), label in zip(self.files, self.labels) if label)
        self.warned = torch.zeros(len(self.files), dtype=torch.uint8)  # each file is warned about once, not once a pass

    def __len__(self):
        return len(self.files)

    def _sample(self, index):
        """(rgb [3, R, R], R = ``rgb_size``, xyz [3, S, S], depth [3, S, S])."""
        rgb_path, xyz_path = self.files[index][:2]
        rgb = picture_tensor(read_picture(rgb_path, "RGB", self.reading.picture_bits), self.rgb_size)
        xyz, _, notes = read_points(xyz_path, self.img_size, self.min_points, self.reading)
        if notes and not self.reading.examined and not self.warned[index]:
            self.warned[index] = 1
            logging.warning("%s: %s", xyz_path, "; ".join(notes))
        return rgb, xyz, organized_pc_to_depth_map(xyz)

    def describe(self, index):
        """(rgb path relative to the data set with forward slashes, defect folder, label)."""
        rgb_path = self.files[index][0]
        return rgb_path.relative_to(self.dataset_path).as_posix(), rgb_path.parent.parent.name, self.labels[index]


class TrainDataset(_Split):
    """Normal training parts; an item is ((rgb [3, 224, 224], xyz [3, S, S], depth [3, S, S]), 0).

    Args:
        shots: only so many parts, see :func:`few_shots`; None: all.
        seed: chooses them, and the parts that are held out.
        held_out_share: share of the parts that is left out, for calibration; None: no part.

    Attributes:
        held_out_files: as ``files``, of the parts that are left out.

    Raises:
        InputError: no ``train/good``, no files in it, files that do not pair, or fewer parts than ``shots``.
    """

    split = "train"

    def __init__(
        self,
        class_name,
        img_size=RGB_SIZE,
        dataset_path="datasets/mvtec3d",
        min_points=0,
        shots=None,
        seed=0,
        reading=Reading(),
        held_out_share=None,
    ):
        super().__init__(class_name, img_size, dataset_path, min_points, reading)
        self.held_out_files = []
        if held_out_share is not None:
            out = held_out(len(self.files), held_out_share, seed, class_name)
            self.held_out_files = [self.files[i] for i in out]
            self.files = [files for i, files in enumerate(self.files) if i not in set(out)]
            self.labels = [0] * len(self.files)
        if shots is not None:
            if shots > len(self.files):
                raise InputError(too_few_shots(self.folder / GOOD, len(self.files), shots))
            self.files = [self.files[i] for i in few_shots(len(self.files), shots, seed, class_name)]
            self.labels = [0] * shots

    def _list(self):
        if not (self.folder / GOOD).is_dir():
            raise InputError(f"{self.folder / GOOD}: missing folder: the category's normal training parts belong there")
        return pair_files(self.folder / GOOD, with_masks=False)

    def __getitem__(self, index):
        return self._sample(index), 0


class TestDataset(_Split):
    """Test parts; an item is (sample as in TrainDataset, mask [1, 224, 224], label 0 or 1, rgb path).

    The mask of a defective part without one is all zero; ``has_masks`` is False then.

    Raises:
        InputError: no ``test`` split, no files in it, or files that do not pair.
    """

    split = "test"
    __test__ = False  # not a test case, whatever pytest thinks of the name

    def _list(self):
        folders, _ = defect_folders(self.folder)
        if not folders:
            raise InputError(
                f"{self.folder}: missing or empty: the category's test parts belong there, one folder a defect, and "
                f"good"
            )
        return [files for folder in folders for files in pair_files(folder, with_masks=folder.name != GOOD)]

    def __getitem__(self, index):
        rgb_path, _, gt_path = self.files[index]
        mask = torch.zeros(1, RGB_SIZE, RGB_SIZE) if gt_path is None else read_mask(gt_path, RGB_SIZE)
        return self._sample(index), mask, self.labels[index], str(rgb_path)


def picture_tensor(picture, size=RGB_SIZE):
    """A PIL picture as the networks take it: [3, size, size] float32."""
    picture = picture.resize((size, size), Image.BICUBIC)
    rgb = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)
    return (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def sample_of(scan, size, rgb_size=RGB_SIZE):
    """The sample (rgb [1, 3, rgb_size, rgb_size], xyz [1, 3, size, size], depth likewise) of a ``utils.scans.Scan``:
    what a loader makes of the same part's files."""
    xyz = resize_organized_pc(scan.xyz, size)
    return picture_tensor(Image.fromarray(scan.rgb), rgb_size)[None], xyz[None], organized_pc_to_depth_map(xyz)[None]


def held_out(count, share, seed, class_name):
    """Positions, sorted, of the training parts that calibrate: the given share of ``count``, at least one, drawn by
    seed and name.

    Raises:
        InputError: no training part would be left.
    """
    out = max(1, round(share * count))
    if out >= count:
        raise InputError(
            f"{class_name}: --calibration {share:g} takes {out} of {count} training parts and leaves none; give a "
            "smaller share or more parts"
        )
    draw = random.Random(f"calibration {seed} {same_name(class_name)}")
    rank = [draw.random() for _ in range(count)]
    return sorted(sorted(range(count), key=rank.__getitem__)[:out])


def few_shots(count, shots, seed, class_name):
    """Positions, sorted, of ``shots`` out of ``count`` training parts.

    They follow from the seed and the category's name in any spelling alone; no other random number is drawn for them.
    The parts of fewer shots are among those of more.
    """
    draw = random.Random(f"{seed} {same_name(class_name)}")
    rank = [draw.random() for _ in range(count)]  # of Python's generator only random() is the same in all versions
    return sorted(sorted(range(count), key=rank.__getitem__)[:shots])


def read_points(path, size, min_points, reading=Reading()):
    """A part's point cloud as a run takes it.

    Returns:
        (xyz [3, size, size] in metres, number of valid points in it, texts that warn of the file).

    Raises:
        InputError: unreadable, or without a valid point although ``min_points`` are wanted.
    """
    points, broken = read_tiff_organized_pc(path, reading)
    xyz = resize_organized_pc(points, size)
    valid = valid_points(xyz, reading.zero_points)
    found = len(valid)
    notes = (
        [f"{broken} pixels with NaN or inf are taken as background, {found} valid points are left"] if broken else []
    )
    if min_points and not found:
        raise InputError(f"{path}: no valid point is left (x, y and z non-zero and finite); remove or rescan this part")
    if min_points:
        distinct = count_distinct(point_keys(xyz.flatten(1).T[valid].numpy()))
        if distinct < min_points:
            what = f"{found} valid points" if found == distinct else f"{found} valid points, {distinct} distinct"
            notes.append(f"{what}, fewer than the {min_points} that its 3D features take: they say little of it")
    return xyz, found, notes


def pair_files(folder, with_masks):
    """[(rgb, xyz, gt or None)] of one defect folder, as ``utils.pairing.pair`` finds them.

    Raises:
        InputError: no files, or files without a partner.
    """
    found = pair(folder, with_masks)
    if found.problems:
        raise InputError(
            found.problems[0] + (f" (and {len(found.problems) - 1} more files)" if len(found.problems) > 1 else "")
        )
    return [tuple(part) for part in found.parts]


class Loader(DataLoader):
    """Says in one line what helps where a container has too little shared memory."""

    def __iter__(self):
        try:
            with beginning_workers():
                batches = super().__iter__()
            yield from batches
        except (RuntimeError, OSError) as error:
            raise_if_stopping()  # a worker that the stop ended is no failure
            if (
                self.num_workers
                and not isinstance(error, InputError)
                and any(word in str(error) for word in NO_SHARED_MEMORY)
            ):
                raise InputError(
                    "loading data: there is not enough shared memory for processes that load data (usual in "
                    "containers): "
                    "use --num_workers 0, or give the container more (docker run --shm-size 2g)"
                ) from None
            raise


def default_workers(device):
    """Processes that load data for a run on ``device`` (auto, cpu, cuda or mps) where the user names no number.

    On the CPU one, as released: the networks need the cores. A GPU takes a part faster than one process reads it.
    """
    on_gpu = device == "cuda" or device == "auto" and torch.cuda.is_available()
    return min(WORKERS_FOR_GPU, available_cores()) if on_gpu else 1


def get_data_loader(split, class_name, img_size, args):
    """Loader of ``split`` ("train" or "test"): batch size 1, no shuffling, ``args.num_workers`` processes that load.

    ``args`` needs ``dataset_path``; ``rgb_size`` (224), ``num_workers`` (None: see :func:`default_workers`),
    ``device`` ("cpu"), ``min_points`` (0), ``shots`` (None), ``seed`` (0), ``readings`` ({category: Reading}, what an
    examination settled) and ``held_out`` (share of the training parts that is left out for calibration) are optional.

    Raises:
        InputError: as the data sets; while iterating: a file cannot be used, or too little shared memory for workers.
    """
    common = class_name, img_size, args.dataset_path, getattr(args, "min_points", 0)
    reading, workers = getattr(args, "readings", {}).get(class_name, Reading()), getattr(args, "num_workers", None)
    if workers is None:
        workers = default_workers(getattr(args, "device", "cpu"))
    data = (
        TrainDataset(
            *common, getattr(args, "shots", None), getattr(args, "seed", 0), reading, getattr(args, "held_out", None)
        )
        if split == "train"
        else TestDataset(*common, reading)
    )
    data.rgb_size = getattr(args, "rgb_size", None) or RGB_SIZE
    if workers:
        try:
            data.warned.share_memory_()  # so that each file is warned about once, not once a pass of the workers
        except (RuntimeError, OSError):
            pass  # without shared memory the workers will say what to do
    return Loader(data, batch_size=1, shuffle=False, num_workers=workers, worker_init_fn=_begin_worker)


def _begin_worker(_):
    begin_worker()
    show_warnings()
