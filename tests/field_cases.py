"""Data sets as users have them: each case changes a sound data set and states the right answer to it."""

import re

import numpy as np
from PIL import Image

from tests.field_files import ANYTHING, FILES, QUIET, SAME
from tests.make_field_cases import (
    MASK,
    background,
    both,
    clouds,
    copied,
    left_behind,
    masks,
    one,
    palette,
    pictures,
    removed,
    renamed,
    scattered,
    with_z,
)

# name: (change, flags, (level, pattern of the message), whether a run reads the same as from the sound set)
CASES = {
    "sound": (lambda folder: None, [], QUIET, SAME),
    # units
    "millimetres": (clouds(lambda p: p * 1000), [], ("error", "look like millimetres.*--unit mm"), ANYTHING),
    "millimetres, said": (clouds(lambda p: p * 1000), ["--unit", "mm"], QUIET, SAME),
    "whole millimetres": (
        clouds(lambda p: np.rint(p * 1000).astype(np.int16)),
        [],
        ("error", "int16.*--unit"),
        ANYTHING,
    ),
    "whole millimetres as uint16": (
        clouds(lambda p: np.rint(np.abs(p) * 1000).astype(np.uint16)),
        [],
        ("error", "uint16.*--unit"),
        ANYTHING,
    ),
    "centimetres": (clouds(lambda p: p * 100), [], ("error", "look like centimetres.*--unit cm"), ANYTHING),
    "centimetres, said": (clouds(lambda p: p * 100), ["--unit", "cm"], QUIET, SAME),
    "micrometres": (clouds(lambda p: p * 1e6), [], ("error", "micrometres"), ANYTHING),
    "micrometres as millimetres": (clouds(lambda p: p * 1e6), ["--unit", "mm"], ("error", "--unit mm"), ANYTHING),
    "metres, said to be millimetres": (lambda folder: None, ["--unit", "mm"], ("error", "--unit mm"), ANYTHING),
    "test in millimetres": (
        clouds(lambda p: p * 1000, "test"),
        [],
        ("error", "1,?000 times as large.*mixes"),
        ANYTHING,
    ),
    "test in centimetres": (clouds(lambda p: p * 100, "test/good"), [], ("error", "100 times as large"), ANYTHING),
    "one training part in millimetres": (one(1, lambda p: p * 1000), [], ("error", "mixes units"), ANYTHING),
    "mixed, one unit said": (
        clouds(lambda p: p * 1000, "test"),
        ["--unit", "mm"],
        ("error", "mixes units|--unit mm"),
        ANYTHING,
    ),
    "coordinates of a map": (
        clouds(lambda p: np.where(p == 0, 0, p.astype(np.float64) + np.array([4.5e6, 6e5, 0]))),
        [],
        ("error", "from the origin.*take the offset away"),
        ANYTHING,
    ),
    # masks
    "red": (masks(lambda m: np.stack([m, 0 * m, 0 * m], -1)), [], QUIET, SAME),
    "class two": (masks(lambda m: m // 255 * 2), [], QUIET, SAME),
    "palette": (masks(palette((0, 0, 0), (128, 0, 0))), [], QUIET, SAME),
    "white on transparent": (masks(lambda m: np.dstack([m * 0 + 255] * 3 + [m])), [], QUIET, SAME),
    "black on transparent": (masks(lambda m: np.dstack([m * 0] * 3 + [m])), [], QUIET, SAME),
    "red, half transparent": (masks(lambda m: np.dstack([m, m * 0, m * 0, m // 2])), [], QUIET, SAME),
    "grey and alpha": (masks(lambda m: np.dstack([m * 0 + 255, m])), [], QUIET, SAME),
    "1 bit": (masks(lambda m: Image.fromarray(m).convert("1")), [], QUIET, SAME),
    "1 bit tiff": (masks(lambda m: m > 0, ".tiff", photometric="minisblack"), [], QUIET, SAME),
    "1 bit tiff, white is zero": (masks(lambda m: m == 0, ".tiff", photometric="miniswhite"), [], QUIET, SAME),
    "16 bits, white is zero": (
        masks(lambda m: 65535 - m.astype(np.uint16) * 257, ".tiff", photometric="miniswhite"),
        [],
        QUIET,
        SAME,
    ),
    "16 bits": (masks(lambda m: m.astype(np.uint16) * 257), [], QUIET, SAME),
    "16 bits, class one": (masks(lambda m: (m // 255).astype(np.uint16)), [], QUIET, SAME),
    "16 bits, 255": (masks(lambda m: m.astype(np.uint16)), [], QUIET, SAME),
    "32-bit numbers": (masks(lambda m: (m // 255).astype(np.int32), ".tif"), [], QUIET, SAME),
    "floats 0 and 1": (masks(lambda m: (m // 255).astype(np.float32), ".tif"), [], QUIET, SAME),
    "compressed tiff": (masks(lambda m: m, ".TIF", compression="lzw"), [], QUIET, SAME),
    "bmp": (masks(lambda m: m, ".bmp"), [], QUIET, SAME),
    "jpeg": (masks(lambda m: m, ".jpg", quality=95), [], QUIET, ANYTHING),
    "a photo with the mask as alpha": (
        masks(lambda m: np.dstack([np.random.default_rng(0).integers(1, 255, (64, 64, 3)), m]).astype(np.uint8)),
        [],
        QUIET,
        SAME,
    ),
    "masks as arrays": (
        both(removed("test/hole/gt/*"), left_behind("test/hole/gt/006.npy")),
        [],
        ("warning", "1 .npy not read"),
        ANYTHING,
    ),
    "another class number in each mask": (
        lambda folder: [
            Image.fromarray(MASK // 255 * (n + 1)).save(p) for n, p in enumerate(sorted(folder.glob("test/hole/gt/*")))
        ],
        [],
        QUIET,
        SAME,
    ),
    "mask with a suffix": (renamed("{n:03}_mask{s}", ["gt"]), [], ("note", "paired by the number"), SAME),
    "mask with a word before": (renamed("GT_{n}{s}", ["gt"]), [], ("note", "paired by the number"), SAME),
    "inverted": (masks(lambda m: 255 - m), [], ("warning", "inverted"), ANYTHING),
    "inverted 1 bit": (masks(lambda m: Image.fromarray(255 - m).convert("1")), [], ("warning", "inverted"), ANYTHING),
    "inverted palette": (
        masks(lambda m: palette((255, 255, 255), (0, 0, 0))(m)),
        [],
        ("warning", "inverted"),
        ANYTHING,
    ),
    "inverted classes": (masks(lambda m: 1 - m // 255), [], ("warning", "inverted"), ANYTHING),
    "inverted 16 bits": (masks(lambda m: 65535 - m.astype(np.uint16) * 257), [], ("warning", "inverted"), ANYTHING),
    "inverted alpha": (masks(lambda m: np.dstack([m * 0] * 3 + [255 - m])), [], ("warning", "inverted"), ANYTHING),
    "all white": (masks(lambda m: m * 0 + 255), [], ("warning", "covers 100%"), ANYTHING),
    "empty": (masks(lambda m: m * 0), [], ("warning", "empty.*largest value in the file is 0"), ANYTHING),
    "a dark ramp": (masks(lambda m: (m // 255 * np.arange(1, 65)).astype(np.uint8)), [], QUIET, SAME),
    "one mask missing": (removed("test/hole/gt/007.png"), [], ("error", "006.png|007.png"), ANYTHING),
    "no mask": (removed("test/hole/gt"), [], ("warning", "pixel metrics are undefined"), ANYTHING),
    "no mask in an empty folder": (removed("test/hole/gt/*"), [], ("warning", "pixel metrics are undefined"), ANYTHING),
    # points that were not measured
    **{
        f"missing is {name}": (background(value), [], ("warning", re.escape(said)), SAME)
        for name, value, said in (
            ("-1", -1, "(-1, -1, -1)"),
            ("-9999", -9999, "(-9999, -9999, -9999)"),
            ("1e5", 1e5, "(100000, 100000, 100000)"),
            ("0 0 65.535", (0, 0, 65.535), "(0, 0, 65.535)"),
            ("the largest float", np.finfo(np.float32).max, "3.40282e+38"),
            ("the smallest float", np.finfo(np.float32).min, "-3.40282e+38"),
            ("0 0 10", (0, 0, 10), "(0, 0, 10)"),
            ("0 0 -1", (0, 0, -1), "(0, 0, -1)"),
        )
    },
    **{
        f"missing is z = {z}": (with_z(z), [], ("warning", re.escape(f"z = {z}") + " fills"), SAME)
        for z in (-1, 65.535, -9999, 0, -0.001)
    },
    "missing is NaN": (background(np.nan), [], ("warning", "NaN or inf.*points are left"), SAME),
    "missing is inf": (background(np.inf), [], ("warning", "NaN or inf.*points are left"), SAME),
    "z is NaN": (with_z(np.nan), [], ("warning", "NaN or inf"), SAME),
    "missing is 65535 in millimetres": (
        both(clouds(lambda p: p * 1000), background((0, 0, 65535))),
        ["--unit", "mm"],
        ("warning", re.escape("(0, 0, 65535)")),
        SAME,
    ),
    "missing is -1 in millimetres": (
        both(clouds(lambda p: p * 1000), background(-1)),
        ["--unit", "mm"],
        ("warning", re.escape("(-1, -1, -1)")),
        SAME,
    ),
    "two values": (
        both(background(-1), clouds(lambda p: np.where(np.arange(64)[:, None] < 3, np.float32([0, 0, 65.535]), p))),
        [],
        ("warning", re.escape("(-1, -1, -1), (0, 0, 65.535)")),
        SAME,
    ),
    "a plate far behind": (with_z(1.5), [], ("warning", "z = 1.5 fills"), SAME),
    # coordinates 0
    "height map": (
        clouds(
            lambda p: np.stack(
                np.broadcast_arrays(
                    (np.arange(64) - 32) * 1e-4,
                    np.arange(64)[:, None] * 1e-4,
                    np.round(p[..., 2] * 1e5 - 4e4 + 2) * 1e-5 * (p[..., 2] > 0),
                ),
                -1,
            ).astype(np.float32)
        ),
        [],
        ("warning", "exactly 0 and are lost.*--fix zero_points"),
        ANYTHING,
    ),
    # points
    "all points equal": (
        clouds(lambda p: np.where(p == 0, p, np.float32([0.1, 0.1, 0.4]))),
        [],
        ("warning", "1 distinct"),
        ANYTHING,
    ),
    "a coarse grid": (
        clouds(lambda p: np.where(p == 0, p, np.round(p * 50) / 50 + np.float32(0.001))),
        [],
        ("warning", "distinct, fewer than the"),
        ANYTHING,
    ),
    "no point": (one(4, lambda p: p * 0), [], ("error", "no valid point"), ANYTHING),
    "no point but NaN": (one(4, lambda p: p * np.nan), [], ("error", "no valid point"), ANYTHING),
    "nearly empty": (
        one(4, lambda p: scattered(p, 0.005)),
        [],
        ("warning", "nearly empty: .* points are left"),
        ANYTHING,
    ),
    "far away": (
        one(4, lambda p: np.where(p == 0, 0, p + np.float32([100, 0, 0]))),
        [],
        ("warning", "004.tiff: its centre lies 100 m from"),
        ANYTHING,
    ),
    "far away in depth": (
        one(4, lambda p: np.where(p == 0, 0, p + np.float32([0, 0, 100]))),
        [],
        ("warning", "004.tiff: its centre lies 100 m from"),
        ANYTHING,
    ),
    "a far training part": (
        one(2, lambda p: np.where(p == 0, 0, p + np.float32([0, 100, 0]))),
        [],
        ("warning", "002.tiff: its centre lies 100 m from"),
        ANYTHING,
    ),
    "a few points far off": (
        clouds(lambda p: np.where(np.arange(4096).reshape(64, 64, 1) % 400 == 9, np.float32([0, 0, 65.535]), p)),
        [],
        ("warning", "004.tiff: its points reach over 65.* m"),
        ANYTHING,
    ),
    # the same twice
    "in train and test": (
        copied("train/good/{kind}/000.{suffix}", "test/good/{kind}/004.{suffix}"),
        [],
        ("warning", "000.png = .*004.png: the same part in training and test"),
        ANYTHING,
    ),
    "good and defective": (
        copied("test/good/{kind}/004.{suffix}", "test/hole/{kind}/006.{suffix}"),
        [],
        ("warning", "004.png = .*006.png: the same part"),
        ANYTHING,
    ),
    "twice in training": (
        copied("train/good/{kind}/000.{suffix}", "train/good/{kind}/001.{suffix}"),
        [],
        ("warning", "000.png = .*001.png: the same part"),
        ANYTHING,
    ),
    # cloud and picture
    "mirrored": (
        clouds(lambda p: np.ascontiguousarray(p[:, ::-1])),
        [],
        ("warning", "mirrored left to right"),
        ANYTHING,
    ),
    "shifted": (clouds(lambda p: np.roll(p, 9, 1)), [], ("warning", "shifted by"), ANYTHING),
    "cropped": (clouds(lambda p: np.ascontiguousarray(p[:, :58])), [], ("warning", "different aspect"), ANYTHING),
    "another size, the same view": (pictures(lambda path, image: image.resize((100, 101)).save(path)), [], QUIET, SAME),
    **FILES,
}
