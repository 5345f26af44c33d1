"""How the files of a data set are named and written, and what lies beside them; see tests/field_cases.py."""

import re

import numpy as np
from PIL import Image

from tests.make_field_cases import both, clouds, doubles, left_behind, pages, pictures, renamed, resaved, write_pages

SAME, ANYTHING = "reads the same", None
QUIET = ("", "")
# name: (change, flags, (level, words that are said), whether a run reads what the sound set holds)
FILES = {
    # names
    "padded on one side": (
        both(renamed("img_{n}{s}", ["rgb"]), renamed("{n:04}{s}", ["xyz"])),
        [],
        ("note", "paired by the number"),
        SAME,
    ),
    "two numbers": (
        both(renamed("cam1_part{n}_v2{s}", ["rgb"]), renamed("part{n:05}_xyz{s}", ["xyz"])),
        [],
        ("note", "paired by the number"),
        SAME,
    ),
    "two numbers in another order": (
        both(renamed("2024_{n}{s}", ["rgb"]), renamed("{n:05}_2025{s}", ["xyz"])),
        [],
        ("note", "paired by the number"),
        SAME,
    ),
    "numbered from 1 on one side": (renamed("c_{n:03}{s}", ["xyz"], "test/good"), [], ("note", "number"), SAME),
    "other numbers": (
        both(
            renamed("a{n}{s}", ["rgb"]),
            lambda f: [
                p.rename(p.with_name(f"b{int(p.stem) + 1}.tiff")) for p in sorted(f.glob("*/*/xyz/*"), reverse=True)
            ],
        ),
        [],
        ("error", "same number"),
        ANYTHING,
    ),
    # suffixes and formats
    "tif": (renamed("{n:03}.tif", ["xyz"]), [], QUIET, SAME),
    "upper case": (both(renamed("{n:03}.TIFF", ["xyz"]), renamed("{n:03}.PNG", ["rgb", "gt"])), [], QUIET, SAME),
    "jpg": (resaved(".jpg"), [], QUIET, SAME),
    "JPEG": (resaved(".JPEG"), [], QUIET, SAME),
    "bmp pictures": (resaved(".bmp"), [], QUIET, SAME),
    "tiff pictures": (resaved(".tif", compression="tiff_lzw"), [], QUIET, SAME),
    "webp": (resaved(".webp"), [], ("error", "no pictures.*webp"), ANYTHING),
    "mixed suffixes": (
        pictures(lambda path, image: image.save(path.with_suffix(".bmp")) or path.unlink(), "test/good"),
        [],
        QUIET,
        SAME,
    ),
    "grey pictures": (pictures(lambda path, image: image.convert("L").save(path)), [], QUIET, SAME),
    "pictures with alpha": (pictures(lambda path, image: image.convert("RGBA").save(path)), [], QUIET, SAME),
    "16-bit pictures": (
        pictures(lambda path, image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 16).save(path)),
        [],
        ("note", "16 bits"),
        SAME,
    ),
    **{
        f"{name} tiff": (clouds(lambda p: p, **options), [], QUIET, SAME)
        for name, options in (
            ("lzw", {"compression": "lzw", "photometric": "rgb"}),
            ("zstd", {"compression": "zstd", "photometric": "rgb"}),
            ("deflate with predictor", {"compression": "zlib", "predictor": 3, "photometric": "rgb"}),
            ("tiled", {"tile": (16, 16), "photometric": "rgb"}),
            ("big-endian", {"byteorder": ">", "photometric": "rgb"}),
            ("big", {"bigtiff": True, "photometric": "rgb"}),
        )
    },
    "double tiff": (clouds(lambda p: p.astype(np.float64)), [], QUIET, SAME),
    "planes": (clouds(pages, photometric="rgb", planarconfig="separate"), [], ("note", "planes or pages"), SAME),
    "stack": (clouds(pages, photometric="minisblack"), [], ("note", "planes or pages"), SAME),
    "pages": (write_pages, [], ("note", "planes or pages"), SAME),
    "intensity": (
        clouds(lambda p: np.concatenate([p, p[..., :1] * 0 + 7], -1), photometric="minisblack"),
        [],
        ("note", "fourth of the channels"),
        SAME,
    ),
    "four planes": (
        clouds(lambda p: pages(np.concatenate([p, p[..., :1] * 0 + 7], -1)), photometric="minisblack"),
        [],
        ("note", "fourth of the channels"),
        SAME,
    ),
    "depth": (clouds(lambda p: p[..., 2]), [], ("error", "depth only.*tools/import_parts.py"), ANYTHING),
    "depth of one channel": (
        clouds(lambda p: p[..., 2:], photometric="minisblack"),
        [],
        ("error", "depth only.*tools/import_parts.py"),
        ANYTHING,
    ),
    "two channels": (
        clouds(lambda p: p[..., :2], photometric="minisblack"),
        [],
        ("error", "import_parts.py"),
        ANYTHING,
    ),
    "a list of points": (
        clouds(lambda p: p.reshape(-1, 3), photometric="minisblack"),
        [],
        ("error", "list of points.*tools/import_parts.py"),
        ANYTHING,
    ),
    "small": (clouds(lambda p: p[:48]), [], ("error", "48×64 pixels.*tools/import_parts.py"), ANYTHING),
    "ply": (renamed("{n:03}.ply", ["xyz"]), [], ("error", "ply.*tools/import_parts.py"), ANYTHING),
    "a picture for a cloud": (clouds(lambda p: (p * 255).astype(np.uint8)), [], ("error", "uint8"), ANYTHING),
    "cut short": (
        lambda f: [p.write_bytes(p.read_bytes()[:5000]) for p in f.glob("test/good/xyz/004*")],
        [],
        ("error", "004.tiff: cannot be read"),
        ANYTHING,
    ),
    "no bytes": (
        lambda f: [p.write_bytes(b"") for p in f.glob("test/good/rgb/004*")],
        [],
        ("error", "004.png: cannot be read"),
        ANYTHING,
    ),
    # what programs leave behind
    **{
        name: (left_behind(f"test/{name}/"), [], ("warning", f"{re.escape(name)}: is no defect folder"), SAME)
        for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN")
    },
    "notebooks beside the good parts": (
        left_behind("train/.ipynb_checkpoints/rgb/000.png"),
        [],
        ("warning", "ipynb_checkpoints: is no"),
        SAME,
    ),
    "an empty defect folder": (
        left_behind("test/scratch/rgb/", "test/scratch/gt/"),
        [],
        ("warning", "scratch: is empty"),
        SAME,
    ),
    "thumbnails": (
        left_behind("test/good/rgb/Thumbs.db", "train/good/xyz/desktop.ini", "test/.DS_Store"),
        [],
        QUIET,
        SAME,
    ),
    "doubles": (doubles, [], QUIET, SAME),
    "folders inside": (
        left_behind("test/good/rgb/@eaDir/004.png", "train/good/xyz/.ipynb_checkpoints/000.tiff"),
        [],
        QUIET,
        SAME,
    ),
    "a defect folder of something else": (left_behind("test/notes/readme.txt"), [], ("error", "notes"), ANYTHING),
}
