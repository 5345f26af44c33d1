"""Reading pictures and masks of all kinds that cameras and annotation tools write."""

import warnings
from pathlib import Path
from typing import NamedTuple, Optional, Union

import numpy as np
import tifffile
from PIL import Image

from common.errors import InputError

PNG_SIGNATURE, PNG_BIT_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # byte of the file that holds the bit depth
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras use in 16-bit files
MOST_MARKS = 16  # a mask with at most so many different values holds marks, not shades of grey
DARK = 128  # a mask whose values are all below this does not hold shades from 0 to 255
ORIENTATION_TAG = 274  # of Exif; 1 is upright
FRAME_WHITE = 250  # brightest value of NAME_frame.png, so that what is painted white on it can be told
LOSSY = 32  # JPEG artefacts in the background are smaller than this


class Picture(NamedTuple):
    """A file's content: a PIL picture if it has 8 bits per channel, an array [H, W] or [H, W, C] if it has more."""

    content: Union[Image.Image, np.ndarray]
    mode: str  # "RGB", or "RGB 16 bits"
    size: tuple  # (height, width)
    bits: int  # 8; for a deeper file the bits that its values need, one of DEPTHS, or 32 for floating point


class Mask(NamedTuple):
    """A defect mask and what was taken as its background."""

    defect: np.ndarray  # [H, W] bool
    background: Optional[str] = None  # the value taken as background; None: black or transparent


def load_picture(path):
    """The Picture in a file. Raises InputError: the file is unreadable or truncated."""
    try:
        with open(path, "rb") as file:
            head = file.read(PNG_BIT_DEPTH + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns about palettes with transparency
            deep = _read_deep(path, head)
            if deep is not None:
                return _as_picture(deep)
            with Image.open(path) as picture:
                if picture.mode[:1] in "IF":
                    return _as_picture(np.asarray(picture))
                picture.load()
                return Picture(picture, picture.mode, picture.size[::-1], 8)
    except Exception as error:  # PIL raises many kinds for damaged files
        why = error or type(error).__name__
        raise InputError(f"{path}: cannot be read as picture ({why}); fetch it again") from None


def _read_deep(path, head):
    """Array of a PNG or tiff with more than 8 bits per channel, which PIL would cut silently; None for other files."""
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


def orientation(image):
    """Text on the tag by which viewers turn or mirror a PIL picture before they show it; "" if there is none."""
    tag = image.getexif().get(ORIENTATION_TAG, 1)
    return f"turned or mirrored (Exif orientation {tag})" if tag in range(2, 9) else ""


def to_8_bits(picture, mode, path, bits=16):
    """A Picture as an 8-bit PIL picture of ``mode`` ("RGB" or "L"); the largest number of ``bits`` bits becomes 255.
    Raises InputError: the values are floating-point; the message names ``path``."""
    if isinstance(picture.content, Image.Image):
        return picture.content if picture.content.mode == mode else picture.content.convert(mode)
    if picture.content.dtype.kind == "f":
        why = f"holds {picture.content.dtype}; convert it to 8 or 16 bits"
        raise InputError(f"{path}: cannot be read as picture ({why})")
    scaled = np.minimum(picture.content.astype(np.float32) * np.float32(255 / (2**bits - 1)) + 0.5, 255)
    return Image.fromarray(scaled.astype(np.uint8)).convert(mode)


def read_picture(path, mode, bits=16):
    """A picture file of any kind as an 8-bit PIL picture of ``mode``. ``bits``: that the values of a 16-bit file use;
    with 12, pictures of a 12-bit camera do not become dark.
    Raises InputError: the file is unreadable or truncated, or its values are floating-point."""
    return to_8_bits(load_picture(path), mode, path, bits)


def load_mask(path):
    """The Mask in a file.

    In a file with few different values, a palette, colours or transparency, all but the background is defect: what is
    black or transparent, else the most frequent value. In shades of grey from 0 to 255, pixels above half are defect,
    as in the release.
    Raises InputError: the file is unreadable or truncated.
    """
    picture = load_picture(path)
    image, lossy = picture.content, False
    if isinstance(image, Image.Image):
        lossy = image.format == "JPEG"
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
    values, alpha = np.nan_to_num(np.asarray(image)), None
    values = values.astype(np.uint8) * 255 if values.dtype == bool else values
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
    full = {8: 255, 32: 1}.get(picture.bits, 2**picture.bits - 1)
    brightest = values if values.ndim == 2 else values.max(2)
    if alpha is not None and alpha.min() != alpha.max():
        shown, _ = _marked(alpha, 255 if picture.bits == 8 else 65535, False)
        inside = np.unique(brightest[shown])
        if 1 < len(inside) <= MOST_MARKS and inside[0] == 0:  # cut-out marks on black; more values mean a cut-out photo
            shown = _marked(np.where(shown, brightest, 0), full, lossy)[0]
        return Mask(shown)
    if values.ndim == 2 or (values[..., :1] == values).all():
        shown, background = _marked(brightest, full, lossy)
        return Mask(shown, background)
    if (brightest == 0).any() or lossy:
        marks = len(np.unique(brightest)) <= MOST_MARKS and not lossy
        return Mask(brightest > (0 if marks else max(brightest.max(), LOSSY) / 2))
    colours, numbers = np.unique(values.reshape(-1, 3), axis=0, return_inverse=True)
    background = np.bincount(numbers.ravel()).argmax()
    if len(colours) == 1:
        return Mask(brightest > full / 2)
    text = str(tuple(int(c) for c in colours[background]))
    return Mask(numbers.reshape(brightest.shape) != background, text)


def _marked(values, full, lossy):
    """(defect [H, W] bool, the background's value as text, None for 0) of grey ``values`` [H, W] from 0 to ``full``."""
    present, counts = np.unique(values, return_counts=True)
    if lossy:  # JPEG adds values near 0 and near the mark
        return values > max(present[-1], LOSSY) / 2, None
    if len(present) == 1:
        return (values > full / 2) | (values == 1), None
    if len(present) <= MOST_MARKS or present[-1] < DARK < full:
        background = present[0] if present[0] == 0 else present[counts.argmax()]
        return values != background, None if background == 0 else str(background)
    return values > full / 2, None


def read_defect(path):
    """Defect mask [H, W] bool in a file, see ``load_mask``."""
    return load_mask(path).defect


def read_ignored(path):
    """[H, W] bool: the white places of a picture painted for ``main.py --ignore``, black elsewhere or a copy of
    NAME_frame.png, whose own brightest value is ``FRAME_WHITE``.
    Raises InputError: the file is unreadable, or nothing in it is white."""
    white = (np.asarray(read_picture(path, "RGB")) > FRAME_WHITE).all(2)
    if not white.any():
        raise InputError(f"{path}: nothing in it is white: paint what is not to be judged white on NAME_frame.png")
    return white


def resize_mask(defect, size):
    """A mask [H, W] bool as [size, size] uint8 by nearest neighbour, with PIL's rule as in the release."""
    return np.asarray(Image.fromarray(defect.astype(np.uint8)).resize((size, size), Image.NEAREST))


def read_mask(path, size):
    """Defect mask in a file as a tensor [1, size, size] float, 1 where defective."""
    import torch

    return torch.from_numpy(resize_mask(read_defect(path), size).astype(np.float32))[None]
