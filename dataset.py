"""The data set: which files form a part, and how they become tensors.

Layout: ``<dataset_path>/<class>/{train,test}/<defect>/{rgb/*.png, xyz/*.tiff, gt/*.png}``. ``data.pairing`` lists the
other file suffixes that are read. A new data set is an entry of ``data/names.py``, and needs nothing here."""

import logging
import multiprocessing
import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from common.commands import available_cores
from common.errors import InputError, show_warnings
from common.signals import begin_worker, beginning_workers, raise_if_stopping
from data.names import CATEGORIES, find_categories, printable, same_name  # noqa: F401  found here too
from data.organised_clouds import Reading, organized_pc_to_depth_map, resize_organized_pc, valid_points
from data.pairing import GOOD, defect_folders, pair
from data.pictures import read_defect, read_mask
from data.scans import Scan, read_scan
from part_frame.framed import framed
from part_frame.placement import CannotPlace
from part_frame.reference import packed

RGB_SIZE = 224
MM = 1000.0  # a metre
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS_FOR_GPU = 4
# words in the messages of torch and the system where processes that load data cannot work
NO_WORKERS = "shared memory,Bus error,shm,exited unexpectedly,Read-only,Permission,No space,killed".split(",")


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
    """What both splits share; ``min_points`` 0: folders without ``xyz`` are read, else a part needs a point."""

    split = None

    def __init__(self, class_name, img_size=RGB_SIZE, dataset_path="datasets/mvtec3d", min_points=0, reading=Reading()):
        self.folder = Path(dataset_path) / class_name / self.split
        self.dataset_path, self.img_size = Path(dataset_path), img_size
        self.min_points, self.reading = min_points, reading
        self.rgb_size, self.placement, self.poses = RGB_SIZE, None, {}
        self.files = self._list()

    def __len__(self):
        return len(self.files)

    def _sample(self, index, placed=None):
        """(rgb [3, R, R], xyz [3, S, S], depth [3, S, S]); in a frame also the packed appearance."""
        if self.placement is not None:
            placed = placed or self._placed(index)
            scan = Scan(*framed(placed, self.placement))
            sample = placed_sample(scan, placed.appearance, self.img_size, self.rgb_size)
        else:
            rgb_path, xyz_path = self.files[index][:2]
            sample = sample_of(read_scan(rgb_path, xyz_path, self.reading), self.img_size, self.rgb_size)
            if self.min_points and not len(valid_points(sample[1][0], self.reading.zero_points)):
                raise InputError(
                    f"{xyz_path}: no valid point is left (x, y and z non-zero and finite); remove or rescan this part"
                )
        return tuple(of[0] for of in sample)

    def _placed(self, index):
        rgb_path, xyz_path = self.files[index][:2]
        scan = read_scan(rgb_path, xyz_path, self.reading)
        try:
            return self.placement.place(scan.rgb, scan.xyz * MM, self.poses.get(index))
        except CannotPlace as error:
            raise InputError(f"{rgb_path}: cannot be judged: {error}; take it out, or record it again") from None

    def describe(self, index):
        """(rgb path relative to the data set, with forward slashes; defect folder; label) of the part ``index``."""
        rgb_path = self.files[index][0]
        defect = rgb_path.parent.parent.name
        return printable(rgb_path.relative_to(self.dataset_path)), defect, int(defect != GOOD)


class TrainDataset(_Split):
    """Normal training parts; an item is ((rgb [3, R, R], R = ``rgb_size``, xyz [3, S, S], depth [3, S, S]), 0).
    ``shots``: see :func:`few_shots`; ``held_out_share``: of the parts held out for calibration, ``held_out_files``.
    Raises InputError: no ``train/good``, no files in it, files that do not pair, or fewer parts than ``shots``."""

    split = "train"

    def __init__(self, class_name, *where, shots=None, seed=0, held_out_share=None, **options):
        super().__init__(class_name, *where, **options)
        self.held_out_files = []
        if held_out_share is not None:
            out = held_out(len(self.files), held_out_share, seed, class_name)
            self.held_out_files = [self.files[i] for i in out]
            self.files = [files for i, files in enumerate(self.files) if i not in set(out)]
        if shots is not None:
            if shots > len(self.files):
                few = f"{len(self.files)} training parts, fewer than --shots {shots}; lower it or add parts"
                raise InputError(f"{self.folder / GOOD}: {few}")
            self.files = [self.files[i] for i in few_shots(len(self.files), shots, seed, class_name)]

    def _list(self):
        if not (self.folder / GOOD).is_dir():
            raise InputError(f"{self.folder / GOOD}: missing folder: the category's normal training parts belong there")
        return pair_files(self.folder / GOOD, with_masks=False, with_clouds=bool(self.min_points))

    def __getitem__(self, index):
        return self._sample(index), 0


class TestDataset(_Split):
    """Test parts; an item is (sample as in TrainDataset, mask [1, 224, 224], zeros without a mask file, label 0 or 1,
    rgb path). Raises InputError: no ``test`` split, no files in it, or files that do not pair."""

    split = "test"
    __test__ = False  # tells pytest that this class is no test case

    def _list(self):
        folders, _ = defect_folders(self.folder)
        if not folders:
            text = "missing or empty: the category's test parts belong there, one folder a defect, and good"
            raise InputError(f"{self.folder}: {text}")
        return [
            files
            for folder in folders
            for files in pair_files(folder, with_masks=folder.name != GOOD, with_clouds=bool(self.min_points))
        ]

    def __getitem__(self, index):
        rgb_path, _, gt_path = self.files[index]
        placed = None if self.placement is None else self._placed(index)
        if gt_path is None:
            size = RGB_SIZE if placed is None else self.placement.frame.cells
            mask = torch.zeros(1, size, size)
        elif placed is None:
            mask = read_mask(gt_path, RGB_SIZE)
        else:
            laid = placed.laid.laid(read_defect(gt_path), placed.shape)
            mask = torch.from_numpy(laid.astype(np.float32))[None]
        return self._sample(index, placed), mask, self.describe(index)[2], str(rgb_path)


def picture_tensor(picture, size=RGB_SIZE):
    """A PIL image as the networks take it: [3, size, size] float32, normalised with ImageNet's mean and std."""
    picture = picture.resize((size, size), Image.BICUBIC)
    rgb = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)
    return (rgb - torch.tensor(IMAGENET_MEAN)[:, None, None]) / torch.tensor(IMAGENET_STD)[:, None, None]


def sample_of(scan, size, rgb_size=RGB_SIZE):
    """The sample of a ``data.scans.Scan``: (rgb [1, 3, rgb_size, rgb_size], xyz [1, 3, size, size], depth like xyz)."""
    xyz = resize_organized_pc(scan.xyz, size)
    return picture_tensor(Image.fromarray(scan.rgb), rgb_size)[None], xyz[None], organized_pc_to_depth_map(xyz)[None]


def placed_sample(scan, appearance, size, rgb_size=RGB_SIZE):
    """The sample of a part in its frame, of its ``part_frame.framed.framed`` scan and ``placement.Placed.appearance``:
    as :func:`sample_of`, and the packed Appearance [1, 6, S, S]."""
    return (*sample_of(scan, size, rgb_size), torch.from_numpy(packed(appearance))[None])


def held_out(count, share, seed, class_name):
    """Sorted positions of the training parts held out for calibration: a ``share`` of ``count``, at least one, drawn by
    the seed and the category's name alone.
    Raises InputError: no training part would be left."""
    out = max(1, round(share * count))
    if out >= count:
        raise InputError(
            f"{class_name}: --calibration {share:g} takes {out} of {count} training parts and leaves none; give a "
            "smaller share or more parts"
        )
    return _drawn(count, out, f"calibration {seed} {same_name(class_name)}")


def few_shots(count, shots, seed, class_name):
    """Sorted positions of ``shots`` out of ``count`` training parts, drawn by the seed and the category's name alone;
    more shots contain those of fewer."""
    return _drawn(count, shots, f"{seed} {same_name(class_name)}")


def _drawn(count, number, seed):
    """Sorted positions of ``number`` out of ``count`` parts, drawn by the text ``seed``."""
    draw = random.Random(seed)
    rank = [draw.random() for _ in range(count)]  # only random() gives the same numbers in all Python versions
    return sorted(sorted(range(count), key=rank.__getitem__)[:number])


def pair_files(folder, with_masks, with_clouds=True):
    """[(rgb, xyz or None, gt or None)] of one defect folder, as ``data.pairing.pair`` finds them.
    Raises InputError: no files, or files without a partner."""
    found = pair(folder, with_masks, with_clouds)
    if found.problems:
        more = f" (and {len(found.problems) - 1} more files)" if len(found.problems) > 1 else ""
        raise InputError(found.problems[0] + more)
    return [tuple(part) for part in found.parts]


class Loader(DataLoader):
    """DataLoader without shuffling that reads in this process, and says so, where other processes cannot: containers
    often have little shared memory, or none that can be written."""

    def __iter__(self):
        done = 0
        try:
            if self.num_workers:
                multiprocessing.Lock()  # fails where torch would leave a half-made iterator behind
            with beginning_workers():
                batches = super().__iter__()
            for batch in batches:
                yield batch
                done += 1
            return
        except (RuntimeError, OSError) as error:
            raise_if_stopping()  # a worker ended by Ctrl-C or SIGTERM is no failure
            if not self.num_workers or not any(word in str(error) for word in NO_WORKERS):
                raise
            if not Loader.told:
                Loader.told = True
                logging.warning(
                    "loading data: no other process can (%s): this process does it, more slowly; a container may have "
                    "too little shared memory: docker run --shm-size 2g, or --num_workers 0",
                    " ".join(str(error).split())[:120],
                )
        for index in range(done, len(self.dataset)):
            item = self.dataset[index]
            yield self.collate_fn(item if self.batch_size is None else [item])

    told = False


def get_data_loader(split, class_name, img_size, args, placement=None, poses=None):
    """Loader of ``split`` ("train" or "test"): batch size 1, no shuffling, ``args.num_workers`` loading processes.

    ``args`` needs ``dataset_path``. Optional, with their defaults: ``rgb_size`` (224), ``num_workers`` (None: one on a
    CPU, as released, since the networks need the cores; more on a GPU, which handles a part faster than a process reads
    it), ``device`` ("cpu"), ``min_points`` (0), ``shots`` (None), ``seed`` (0), ``readings`` ({category: Reading}) and
    ``held_out`` (share held out for calibration). ``placement``: see ``part_frame``; ``poses``: {index: Pose} if known.
    Raises InputError: see the data sets; while iterating: a file cannot be used."""
    reading, workers = getattr(args, "readings", {}).get(class_name, Reading()), getattr(args, "num_workers", None)
    where = class_name, img_size, args.dataset_path, getattr(args, "min_points", 0), reading
    if workers is None:
        device = getattr(args, "device", "cpu")
        on_gpu = device == "cuda" or device == "auto" and torch.cuda.is_available()
        workers = min(WORKERS_FOR_GPU, available_cores()) if on_gpu else 1
    if split == "train":
        draw = {"shots": getattr(args, "shots", None), "seed": getattr(args, "seed", 0)}
        data = TrainDataset(*where, **draw, held_out_share=getattr(args, "held_out", None))
    else:
        data = TestDataset(*where)
    data.rgb_size = getattr(args, "rgb_size", None) or RGB_SIZE
    data.placement, data.poses = placement, poses or {}
    return Loader(data, batch_size=1, shuffle=False, num_workers=workers, worker_init_fn=begin_loading)


def begin_loading(_):
    """``worker_init_fn`` of a Loader."""
    begin_worker()
    show_warnings()
