"""Reading the files of a category: organised point clouds, pictures, masks.

torch is imported only where a tensor is made: preprocessing reads files too, in many processes, and torch takes seconds to import.
"""
import logging
import warnings

import numpy as np
import tifffile
from PIL import Image

from utils.errors import InputError

PNG_SIGNATURE, PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # position of the bit depth in the file


def read_tiff(path):
    """Organised points [H, W, 3] of a tiff, of the file's type and with its NaN and inf.

    Raises:
        InputError: unreadable or truncated file, not [H, W, 3], not floating point.
    """
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would print a second, unclear line
    try:
        points = tifffile.imread(path)
    except Exception as error:  # tifffile raises many kinds for damaged files
        raise InputError(f"{path}: cannot be read as tiff ({error or type(error).__name__}); "
                         "the file is damaged or no tiff: fetch or convert it again") from None
    if points.ndim != 3 or points.shape[2] != 3:
        raise InputError(f"{path}: has shape {points.shape}, expected height × width × 3 (x, y, z)")
    if not np.issubdtype(points.dtype, np.floating):
        raise InputError(f"{path}: holds {points.dtype}, expected float coordinates in metres")
    return points


def read_tiff_organized_pc(path):
    """Organised point cloud of a tiff.

    Returns:
        (points [H, W, 3] float32, number of pixels with NaN or inf); those pixels are set to 0, background.

    Raises:
        InputError: as ``read_tiff``.
    """
    with np.errstate(over="ignore"):  # beyond float32 is inf, which counts as broken below
        points = read_tiff(path).astype(np.float32)
    broken = ~np.isfinite(points).all(axis=2)
    points[broken] = 0
    return points, int(broken.sum())


def resize_organized_pc(points, size):
    """Nearest-neighbour resize of [H, W, 3] (array) to [3, size, size] (tensor), as torch's ``interpolate`` does it."""
    import torch

    tensor = torch.from_numpy(points).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(tensor, size=(size, size), mode="nearest")[0].contiguous()


def organized_pc_to_depth_map(points):
    """The z channel of a [3, S, S] point cloud, repeated to [3, S, S]."""
    return points[2:].repeat(3, 1, 1)


def valid_points(points):
    """Row-major positions [N] of the pixels of [3, S, S] whose x, y and z are all non-zero."""
    return (points != 0).all(0).flatten().nonzero()[:, 0]


def read_picture(path, mode):
    """8-bit picture of any mode, converted to ``mode`` ("RGB" or "L").

    Raises:
        InputError: unreadable, truncated or 16-bit file.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(PNG_BIT_DEPTH + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's hint about palettes with transparency
            with Image.open(path) as picture:
                deep = picture.mode[:1] in "IF" or (head.startswith(PNG_SIGNATURE) and head[PNG_BIT_DEPTH] == 16)
                converted = None if deep else picture.convert(mode)
    except Exception as error:  # PIL raises many kinds for damaged files
        raise InputError(f"{path}: cannot be read as picture ({error or type(error).__name__}); fetch it again") from None
    if converted is None:
        raise InputError(f"{path}: has 16 bits or more a channel; convert it to 8 bits")
    return converted


def read_defect(path):
    """Defect mask [H, W] bool: a pixel counts from above half of 255; in a file of values 0 and 1 only, from 1."""
    mask = np.asarray(read_picture(path, "L"))
    return mask > (0 if mask.max() <= 1 else 127)


def read_mask(path, size):
    """``read_defect``, nearest-neighbour resized to [1, size, size] float, 1 where defective."""
    import torch

    picture = Image.fromarray(read_defect(path).astype(np.uint8))
    return torch.from_numpy(np.asarray(picture.resize((size, size), Image.NEAREST)).astype(np.float32))[None]
