"""Reading pictures and masks of any kind that cameras and annotation tools write.

torch is imported only where a tensor is made: preprocessing reads files too, in many processes, and torch takes
seconds to import.
"""

import warnings
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import tifffile
from PIL import Image

from utils.errors import InputError

PNG_SIGNATURE, PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # position of the bit depth in the file
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras deliver in files of 16 bits
MOST_MARKS = 16  # values: up to so many, a mask's values are marks and no shades
DARK = 128  # a mask of shades that are all darker is no ramp from 0 to 255
LOSSY = 32  # JPEG leaves smaller values than this where nothing was marked


class Picture(NamedTuple):
    """A file's content: a PIL picture of 8 bits a channel, or an array [H, W] or [H, W, C] where it has more."""

    content: Union[Image.Image, np.ndarray]
    mode: str  # "RGB", or "RGB 16 bits"
    size: tuple  # (height, width)
    bits: int  # 8, or the bits that the values of a deeper file need: one of DEPTHS


class Mask(NamedTuple):
    """A defect mask and what was found in its file."""

    defect: np.ndarray  # [H, W] bool
    largest: int  # value in the file
    background: Optional[str]  # what was taken as background where nothing is black; None: black or transparent


def load_picture(path):
    """Content of a picture file: Picture.

    Raises:
        InputError: unreadable or truncated.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(PNG_BIT_DEPTH + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's hint about palettes with transparency
            deep = _read_deep(path, head)
            if deep is not None:
                return _as_picture(deep)
            with Image.open(path) as picture:
                if picture.mode[:1] in "IF":
                    return _as_picture(np.asarray(picture))
                picture.load()
                return Picture(picture, picture.mode, picture.size[::-1], 8)
    except Exception as error:  # PIL raises many kinds for damaged files
        raise InputError(
            f"{path}: cannot be read as picture ({error or type(error).__name__}); fetch it again"
        ) from None


def _read_deep(path, head):
    """Array of a PNG or tiff with more than 8 bits a channel, None for other files. PIL would drop the lower bits
    without a word."""
    if head.startswith(PNG_SIGNATURE) and head[PNG_BIT_DEPTH:] == b"\x10":
        import imagecodecs

        return imagecodecs.png_decode(Path(path).read_bytes())
    if head.startswith(TIFF_SIGNATURES):
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if page.bitspersample != 8 and page.bitspersample != 1:
                array = file.asarray(series=0)
                if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind == "u":
                    array = np.iinfo(array.dtype).max - array
                return np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[-1] > 4 >= array.shape[0] else array
    return None


def _as_picture(array):
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise ValueError(f"shape {array.shape}")
    name = {2: "L", 3: {2: "LA", 3: "RGB", 4: "RGBA"}.get(array.shape[-1])}[array.ndim]
    if array.dtype.kind == "f":
        return Picture(array, f"{name} {array.dtype}", array.shape[:2], 32)
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(f"values from {array.min()} to {array.max()}")
    array = array.astype(np.uint16, copy=False)
    return Picture(array, f"{name} 16 bits", array.shape[:2], next(bits for bits in DEPTHS if array.max() < 2**bits))


def to_8_bits(picture, mode, bits=16):
    """A Picture as PIL picture of ``mode`` ("RGB" or "L"); deeper values are scaled so that ``bits`` bits fill the
    range.

    Raises:
        ValueError: floating-point values.
    """
    if isinstance(picture.content, Image.Image):
        return picture.content if picture.content.mode == mode else picture.content.convert(mode)
    if picture.content.dtype.kind == "f":
        raise ValueError(f"holds {picture.content.dtype}; convert it to 8 or 16 bits")
    scaled = np.minimum(picture.content.astype(np.float32) * np.float32(255 / (2**bits - 1)) + 0.5, 255)
    return Image.fromarray(scaled.astype(np.uint8)).convert(mode)


def read_picture(path, mode, bits=16):
    """Picture of any kind as 8-bit PIL picture of ``mode`` ("RGB" or "L").

    Args:
        bits: that the values of a 16-bit file use, so that a camera of 12 bits does not come out dark.

    Raises:
        InputError: unreadable or truncated file, or one of floating-point values.
    """
    picture = load_picture(path)
    try:
        return to_8_bits(picture, mode, bits)
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as picture ({error})") from None


def load_mask(path):
    """Defect mask of a file: Mask.

    Few distinct values, a palette, colours or transparency: everything that is not background is defect. Background
    is black or transparent; in a file that has neither, the value that fills most of it. Grey from 0 to 255: a pixel
    counts from above half, as in the release.

    Raises:
        InputError: unreadable or truncated file.
    """
    picture = load_picture(path)
    image, lossy = picture.content, False
    if isinstance(image, Image.Image):
        lossy = image.format == "JPEG"
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
    values = values.astype(np.uint8) * 255 if values.dtype == bool else values
    alpha = None
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
    largest, full = values.max(), 255 if picture.bits == 8 else 1 if picture.bits == 32 else 2**picture.bits - 1
    largest = int(largest) if values.dtype.kind != "f" else float(largest)
    if values.ndim == 3 and values.shape[2] == 1 or (values.ndim == 3 and (values[..., :1] == values).all()):
        values = values[..., 0]
    if alpha is not None and alpha.min() != alpha.max():
        shown, _ = _marked(alpha, 255 if picture.bits == 8 else 65535, False)
        brightest = values if values.ndim == 2 else values.max(2)
        inside = np.unique(brightest[shown])
        if (
            1 < len(inside) <= MOST_MARKS and inside[0] == 0
        ):  # marks on black, cut out; many values are a photo, cut out
            shown = _marked(np.where(shown, brightest, 0), full, lossy)[0]
        return Mask(shown, int(alpha.max()), None)
    if values.ndim == 2:
        return Mask(*_order(_marked(values, full, lossy), largest))
    brightest = values.max(2)
    if (brightest == 0).any() or lossy:
        marks = len(np.unique(brightest)) <= MOST_MARKS and not lossy
        return Mask(brightest > (0 if marks else max(largest, LOSSY) / 2), largest, None)
    colours, numbers = np.unique(values.reshape(-1, 3), axis=0, return_inverse=True)
    background = np.bincount(numbers.ravel()).argmax()
    return Mask(
        numbers.reshape(brightest.shape) != background if len(colours) > 1 else brightest > full / 2,
        largest,
        str(tuple(int(c) for c in colours[background])) if len(colours) > 1 else None,
    )


def _order(marked, largest):
    return marked[0], largest, marked[1]


def _marked(values, full, lossy):
    """(defect [H, W] bool, background's value as text where it is not 0) of grey ``values`` [H, W] whose range ends
    at ``full``."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        present = np.flatnonzero(counts)
        counts = counts[present]
    else:
        present, counts = np.unique(values, return_counts=True)
    if lossy:  # near 0 and near the mark there are other values too
        return values > max(present[-1], LOSSY) / 2, None
    if len(present) == 1:
        return (values > full / 2) | (values == 1), None
    if len(present) <= MOST_MARKS or present[-1] < DARK < full:
        background = present[0] if present[0] == 0 else present[counts.argmax()]
        return values != background, None if background == 0 else str(background)
    return values > full / 2, None


def read_defect(path):
    """Defect mask [H, W] bool of a file, as ``load_mask`` finds it."""
    return load_mask(path).defect


def resize_mask(defect, size):
    """[H, W] bool, nearest-neighbour resized to [size, size] uint8, by PIL's rule as in the release."""
    return np.asarray(Image.fromarray(defect.astype(np.uint8)).resize((size, size), Image.NEAREST))


def read_mask(path, size):
    """``read_defect``, resized to [1, size, size] float, 1 where defective."""
    import torch

    return torch.from_numpy(resize_mask(read_defect(path), size).astype(np.float32))[None]
