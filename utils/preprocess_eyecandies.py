"""Convert Eyecandies as downloaded into what M3DM reads: points from depth images, without the background.

    python utils/preprocess_eyecandies.py --dataset_path DOWNLOAD --target_dir datasets/eyecandies

It reads <category>/{train,test_public}/data/*_{image_4,depth}.png, *_info_depth.yaml, *_pose.txt and, in the test
split, *_mask.png. Points are float32, which M3DM computes with; the release wrote float64.
"""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.errors import InputError
from common.signals import run_to_the_end
from data import conversion as common
from data.pictures import read_picture

PROGRAM = "preprocess_eyecandies.py"
FOCAL = 711.11  # pixels
LOWEST, FURTHEST, WIDEST = -0.02, 1.8, 1.0  # limits of y, z and |x| for points that are kept, in the ground's frame
SCALE = 0.1
SPLITS = {"train": "train", "test_public": "test"}  # name in the download → name written
PICTURE, DEPTH, RANGE, POSE, MASK = "_image_4.png", "_depth.png", "_info_depth.yaml", "_pose.txt", "_mask.png"


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    return common.run(PROGRAM, build_parser(), argv, preprocess)


def build_parser():
    """The argument parser."""
    parser = common.build_parser(PROGRAM, __doc__, "eyecandies")
    add, text = parser.add_argument, "the download: folder of the categories"
    add("--dataset_path", type=Path, required=True, metavar="SRC", help=text)
    names = ("-o", "--output", "--target_dir")
    add(*names, dest="target_dir", type=Path, required=True, metavar="DST", help="folder for the result")
    return parser


def preprocess(args, command):
    """Convert what the options ask for; returns the exit code."""
    categories = common.find_categories(args.dataset_path, args.categories, "eyecandies", args.target_dir)
    record = common.Record(args.target_dir, PROGRAM, command, vars(args))
    looked_for = " and ".join(f"{source}/data" for source in SPLITS)
    jobs, missing = common.list_jobs(categories, lambda *of: list_category(*of, args.target_dir), looked_for)
    return common.convert(record, args.target_dir, categories, jobs, missing, args.workers)[0]


def list_category(category, folder, target):
    """([Job], {sample: what it lacks}) of the category in ``folder``. A sample has a depth image or a picture."""
    jobs, missing = [], {}
    for source, split in SPLITS.items():
        data = folder / source / "data"
        ends = (PICTURE, DEPTH, RANGE, POSE) + ((MASK,) if split == "test" else ())
        there = {path.name for path in data.glob("[!.]*")}
        found = {name.removesuffix(end) for end in (DEPTH, PICTURE) for name in there if name.endswith(end)}
        for stem in sorted(found):
            name = f"{category}/{split}/{stem.zfill(3)}"
            lacking = [stem + end for end in ends if stem + end not in there]
            if lacking:
                missing[name] = f"{data}: {', '.join(lacking)} missing"
                continue
            job = common.job_of(target, name, convert, [data / (stem + end) for end in ends])
            good, bad = (common.mark_of(target / category / split / kind, stem.zfill(3)) for kind in ("good", "bad"))
            jobs.append(job._replace(mark=bad if bad.exists() else good))  # only the mask tells good from bad
    return jobs, missing


def convert(files, folder, name):
    """Convert a sample's ``files`` (picture, depth, its range, pose, and in the test split a mask) into a sub-folder.
    Raises InputError: a file cannot be used, or only background is left."""
    picture, depth, limits, pose, *mask = files
    rgb, points = np.asarray(read_picture(picture, "RGB")), to_points(*read_scene(depth, limits, pose))
    try:
        xyz = drop_background(points)
    except InputError as error:
        raise InputError(f"{depth}: {error}; fetch it again") from None
    gt = np.asarray(read_picture(mask[0], "L")) > 0 if mask else np.zeros(rgb.shape[:2], bool)
    common.check_sizes(picture, rgb, (depth, xyz), (mask and mask[0], gt))
    bad = gt.any()
    common.save_sample(folder / ("bad" if bad else "good"), name, rgb, xyz, gt.astype(np.uint8) * 255 if bad else None)
    return []


@contextmanager
def reading(path, needs):
    """Errors in the block become an InputError that says what the file ``needs``."""
    try:
        yield
    except Exception as error:  # the libraries raise many kinds
        raise InputError(f"{path}: needs {needs} ({type(error).__name__}: {error}); fetch it again") from None


def read_scene(depth, limits, pose):
    """(depth [H, W] float64 in metres, camera pose [4, 4], which maps the world's frame to the camera's) of the files
    *_depth.png, whose 16-bit values span what *_info_depth.yaml names, and *_pose.txt.
    Raises InputError: a file is unreadable, or does not hold such values; the message names it."""
    with reading(depth, "a grey picture with 16 bits"), Image.open(depth) as picture:
        counts = np.asarray(picture)
        if picture.mode[:1] != "I":
            raise ValueError(f"mode {picture.mode}")
    with reading(limits, "normalization: {min, max} with 0 ≤ min < max"):
        content = yaml.safe_load(limits.read_text(encoding="utf-8"))["normalization"]
        low, high = float(content["min"]), float(content["max"])
        if not 0 <= low < high < np.inf:
            raise ValueError(f"min {low}, max {high}")
    with reading(pose, "an invertible matrix of 4×4 numbers"):
        matrix = np.loadtxt(pose, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.linalg.det(matrix):
            raise ValueError(f"shape {matrix.shape}")
    return counts / 65535 * (high - low) + low, matrix


def to_points(depth, pose):
    """Points [H, W, 3] of a depth image [H, W] in metres, in the world's frame of ``pose`` [4, 4]: of the pixel at
    column u and row v inverse(intrinsics · pose) applied to (u, v, 1, 1/depth), times depth. The principal point is
    (W/2, H/2)."""
    height, width = depth.shape
    intrinsics = np.array([[FOCAL, 0, width / 2, 0], [0, FOCAL, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    back = np.linalg.inv(intrinsics @ pose)[:3]
    u, v = np.arange(width), np.arange(height)[:, None]
    return np.stack([(row[0] * u + row[1] * v + row[2]) * depth + row[3] for row in back], axis=-1)


def drop_background(points):
    """The points [H, W, 3] as M3DM reads them, float32: background 0, axes (x, z, y) scaled by (0.1, -0.1, 0.1).

    The line from the middle point of the last row to that of the first row lies on the ground. Moved in y and z to its
    beginning, and turned about x until it points to +z, points with y > -0.02, z > 1.8 or |x| > 1 are background.
    Raises InputError: the two points agree in y and z, or no point is left; the caller adds the file's name.
    """
    height, width = points.shape[:2]
    flat = points.reshape(-1, 3)
    far, near = flat[width // 2], flat[-(width // 2)]
    length = np.hypot(*(far - near)[1:])
    if not length:
        raise InputError("the first and the last row's middle points agree, so the ground cannot be found")
    sine, cosine = (far - near)[1:] / length
    y, z = flat[:, 1] - near[1], flat[:, 2] - near[2]
    kept = (cosine * y - sine * z <= LOWEST) & (sine * y + cosine * z <= FURTHEST) & (np.abs(flat[:, 0]) <= WIDEST)
    if not kept.any():
        raise InputError("nothing is left above the ground")
    out = np.zeros((height * width, 3), np.float32)
    out[kept] = flat[kept][:, [0, 2, 1]] * (SCALE, -SCALE, SCALE)
    return out.reshape(height, width, 3)


if __name__ == "__main__":
    run_to_the_end(main)
