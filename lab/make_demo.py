"""Write demo data: generated RGB-3D categories in the MVTec 3D-AD layout, and stand-in checkpoints to run them with.

    python lab/make_demo.py demo
    python lab/make_demo.py demo --categories cookie dowel foam --train 20 --only dino point_bert uff
    python lab/make_demo.py demo --categories fabric bracket cookie --defects color hole combined faint --area 0.2 5

OUT/data gets <category>/{train,test}/<defect>/{rgb,xyz,gt}/NNN.{png,tiff,png}; OUT/checkpoints gets the checkpoints.
Each part has random numbers of its own, seeded by its path. So a run with more parts leaves the earlier parts as they
are.
"""

import argparse
import shlex
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number
from common.commands import FINE, Parser, add_target, run_command
from common.files import atomic_path, check_writable
from common.progress import note
from lab.demo_kinds import ALL_DEFECTS, DEFECTS, FAINT, KINDS, blend, kind_of, smoothstep
from lab.standin_checkpoints import RECIPES, write_checkpoints

VIEW = 0.15  # metres that the shorter side of the picture covers
DISTANCE = 0.45  # metres from the camera to the ground the part lies on
LIGHT = np.array([-0.45, -0.55, 0.70])  # direction to the light: left and up in the picture, and towards the camera
FULL = {"color": (1, 0), "hole": (0, 1), "combined": (1, 1), FAINT: (0.3, 0.15)}  # strength of stain and dent


class Part(NamedTuple):
    """A scan: ``rgb`` [H, W, 3] uint8, ``xyz`` [H, W, 3] float32 metres (background 0), ``mask`` [H, W] bool."""

    rgb: np.ndarray
    xyz: np.ndarray
    mask: np.ndarray


def stream(seed, name):
    """Random generator for ``name``, independent of those for other names."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def defect_depth(rng, kind, surface, u, v):
    """Where a part's defect is: a blob that lies fully on the part, where there is room.

    Args:
        kind: Kind of the part; its ``share`` is the range of the share of the part's area that the blob takes.
        surface: (u, v) → Surface of this part.
        u, v: [H, W] metres, in the part's own frame.

    Returns:
        [H, W]; positive inside the blob, 1 in its middle.
    """
    share = rng.uniform(*kind.share) if kind.even else np.exp(rng.uniform(*np.log(kind.share)))
    radius, squeeze = np.sqrt(share * kind.area / np.pi), rng.uniform(0.85, 1)
    turn, phase, candidates = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2), rng.uniform(-1, 1, (2, 64))
    candidates = candidates * np.array(kind.reach)[:, None]
    room = np.minimum(surface(*candidates).inside, 1.35 * radius)
    centre_u, centre_v = candidates[:, np.argmax(room)]  # the first with enough room; else the one with the most
    du, dv = u - centre_u, v - centre_v
    along, across = np.cos(turn) * du + np.sin(turn) * dv, np.cos(turn) * dv - np.sin(turn) * du
    along, across = along * squeeze / radius, across / squeeze / radius
    angle = np.arctan2(across, along)
    outline = 1 + 0.10 * np.cos(2 * angle + phase[0]) + 0.07 * np.cos(3 * angle + phase[1])
    return 1 - np.hypot(along, across) / outline


def render_part(name, size=(224, 224), seed=0, defect=None, share=None):
    """The part ``name`` with ``defect`` (a name in ALL_DEFECTS), or the same part undamaged (None; its mask is empty).

    Args:
        name: "<category>/<split>/<defect folder>/<number>"; it decides the kind of part and the random numbers.
        size: (height, width) in pixels.
        share: (smallest, largest) share of the part's area that the defect takes; its logarithm is drawn uniformly.
            None: the share of the kind.

    Returns:
        Part. A stain changes only rgb, a dent only xyz, both only inside the mask.
    """
    kind = kind_of(name.split("/")[0])
    kind = kind if share is None else kind._replace(share=share, even=False)
    pose, spot, sensor = (stream(seed, f"{name}:{what}") for what in ("pose", "defect", "sensor"))

    def surface(u, v):
        return kind.surface(stream(seed, f"{name}:shape"), u, v)

    rays, pitch = camera(size)
    u, v = place(pose, *(DISTANCE * rays), kind.turn)
    shape = surface(u, v)
    valid, depth = shape.inside > 0, defect_depth(spot, kind, surface, u, v)
    dent, strength = spot.uniform(*kind.dent), spot.uniform(0.75, 0.9)
    mask = valid & (depth > 0) & (defect is not None)
    stained, dented = FULL.get(defect, (0, 0))

    shift, brightness = DISTANCE + pose.uniform(-0.004, 0.004), pose.uniform(0.96, 1.04)
    height = shape.height
    if kind.tilt:
        slope_u, slope_v = pose.uniform(-kind.tilt, kind.tilt, 2)
        height = height + slope_u * u + slope_v * v
    light, glint = (brightness * x for x in shading(np.where(valid, height, 0), pitch))
    z = shift - height + 0.00005 * sensor.standard_normal(size)
    stain = mask * stained * strength * (0.7 + 0.3 * smoothstep(5 * depth))
    albedo = blend(shape.albedo, kind.stain, stain)
    z = z + mask * dented * dent * (0.03 + 0.97 * smoothstep(2 * depth))  # the rim is a step, so the mask is exact
    rgb = 255 * albedo * light[..., None] + 1.5 * sensor.standard_normal((*size, 3))
    rgb = rgb + 255 * (kind.gloss * glint * (1 - stain))[..., None]  # a stain is matt
    rgb = np.where(valid[..., None], np.clip(np.rint(rgb), 1, 255), 0).astype(np.uint8)
    xyz = np.where(valid, np.stack([*(rays * z), z]), 0).astype(np.float32)
    return Part(rgb, np.ascontiguousarray(xyz.transpose(1, 2, 0)), mask)


def camera(size):
    """A camera above the part: (x/z and y/z of each pixel's ray, array [2, H, W]; metres per pixel at ``DISTANCE``).

    The optical axis is a quarter of a pixel off every pixel centre and edge, so that no coordinate is 0.
    """
    height, width = size
    pitch = VIEW / min(size)
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns - width / 2 + 0.25, rows - height / 2 + 0.25]) * pitch / DISTANCE, pitch


def place(rng, x, y, most=0.3):
    """Turn points x, y [H, W] (metres) from the camera's frame into the frame of a part that lies a little shifted and
    is turned by at most ``most`` radians."""
    turn, (shift_x, shift_y) = rng.uniform(-most, most), rng.uniform(-0.006, 0.006, 2)
    x, y = x - shift_x, y - shift_y
    return np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x


def shading(height, pitch):
    """Shading of a surface under ``LIGHT`` and diffuse light; ``height`` [H, W] metres, ``pitch`` metres per pixel.

    Returns:
        (brightness [H, W] of a matt surface, highlight [H, W] from 0 to 1 of a glossy one).
    """
    slope_y, slope_x = np.gradient(gaussian_filter(height, 0.0006 / pitch), pitch)
    length = np.sqrt(1 + slope_x**2 + slope_y**2)
    towards = LIGHT[2] - LIGHT[0] * slope_x - LIGHT[1] * slope_y
    half = LIGHT / np.linalg.norm(LIGHT) + (0, 0, 1)  # half-way between light and camera
    mirror = (half[2] - half[0] * slope_x - half[1] * slope_y) / length / np.linalg.norm(half)
    return 0.42 + 0.68 * np.maximum(towards / length, 0), np.maximum(mirror, 0) ** 24


def write_part(root, name, part):
    """Write the files of the part ``name`` under ``root``; a file gets its name only when it is complete."""
    folder, number_text = (Path(root) / name).parent, Path(name).name
    with atomic_path(folder / "rgb" / f"{number_text}.png") as temporary:
        Image.fromarray(part.rgb).save(temporary, format="PNG")
    with atomic_path(folder / "xyz" / f"{number_text}.tiff") as temporary:
        tifffile.imwrite(temporary, part.xyz, photometric="rgb", planarconfig="contig")
    if "/test/" in name:
        with atomic_path(folder / "gt" / f"{number_text}.png") as temporary:
            Image.fromarray(part.mask.astype(np.uint8) * 255).save(temporary, format="PNG")


def write_category(root, category, size=(224, 224), train=5, good=4, defective=2, seed=0, defects=None, share=None):
    """Write ``train`` training parts, ``good`` good test parts and ``defective`` test parts of each defect.

    Parts of an earlier run with the same name are replaced, others stay.

    Args:
        defects: names in ALL_DEFECTS; None: the defects of the kind.
        share: see :func:`render_part`.

    Returns:
        Number of parts written.
    """
    defects = kind_of(category).defects if defects is None else defects
    folders = [("train/good", None, train), ("test/good", None, good), *((f"test/{d}", d, defective) for d in defects)]
    parts = [(f"{category}/{folder}/{i:03d}", defect) for folder, defect, count in folders for i in range(count)]
    for name, defect in parts:
        write_part(root, name, render_part(name, size, seed, defect, share))
    return len(parts)


def command_line(out, categories):
    """The main.py command line for ``categories`` with the checkpoints in OUT/checkpoints; if there are none, with
    main.py's default folder."""
    folder = Path(out) / "checkpoints"
    have = {name for name, recipe in RECIPES.items() if (folder / recipe.file).is_file()}
    rgb, xyz = have & {"dino", "dino_small"}, have & {"point_mae", "point_bert"}
    if not rgb and not xyz:
        flags = ["--use_uff"]
    elif "dino" in rgb and xyz and "uff" in have:
        flags = ["--use_uff", "--fusion_module_path", str(folder / RECIPES["uff"].file)]
    else:
        flags = ["--method_name", "DINO+Point_MAE" if rgb and xyz else "DINO" if rgb else "Point_MAE"]
    if rgb == {"dino_small"}:
        flags += ["--rgb_backbone_name", "vit_small_patch8_224_dino"]
    if xyz == {"point_bert"}:
        flags += ["--xyz_backbone_name", "Point_Bert"]
    if rgb or xyz:
        flags += ["--checkpoint_dir", str(folder)]
    data = ["--dataset_path", str(Path(out) / "data"), "--category", *categories]
    return shlex.join(["python", "main.py", *flags, *data])


def category_name(text):
    """argparse type: a text that can be a folder's name."""
    if not text.strip(". ") or set(text) & set('/\\:*?"<>|\0'):
        raise argparse.ArgumentTypeError(f"{text!r}: has to be a plain folder name")
    return text


def build_parser():
    """The argument parser."""
    parser = Parser(prog="make_demo.py", description=__doc__.splitlines()[0])
    seed = {"type": number(int, 0), "default": 0, "metavar": "N"}
    add_target(parser, "folder for data/ and checkpoints/")
    parser.add_argument(
        "--category",
        "--categories",
        dest="categories",
        nargs="+",
        type=category_name,
        default=["cookie"],
        metavar="NAME",
        help=f"{', '.join(KINDS)}, or any other name: it gets the shape of one of these",
    )
    parser.add_argument(
        "--size", nargs="+", type=number(int, 32), default=[224], metavar="N", help="pixels a side, or height and width"
    )
    parser.add_argument("--train", type=number(int, 1), default=5, metavar="N", help="training parts")
    parser.add_argument("--good", type=number(int, 0), default=4, metavar="N", help="good test parts")
    parser.add_argument("--defective", type=number(int, 0), default=2, metavar="N", help="test parts of each defect")
    parser.add_argument(
        "--defects",
        nargs="+",
        choices=ALL_DEFECTS,
        default=argparse.SUPPRESS,
        help="color: a stain; hole: a dent; combined: both; faint: both, weak in both "
        f"(default: {', '.join(DEFECTS)}; of fabric and bracket all four)",
    )
    parser.add_argument(
        "--area",
        nargs=2,
        type=number(float, 0.05),
        default=argparse.SUPPRESS,
        metavar=("LOW", "HIGH"),
        help="a defect's smallest and largest share of the part's area in %% (default: 4 to 7; of "
        "fabric and bracket 0.2 to 5)",
    )
    parser.add_argument("--seed", **seed, help="of the parts")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=RECIPES,
        default=["dino", "point_mae", "uff"],
        metavar="NAME",
        help="checkpoints to write, of: " + ", ".join(RECIPES),
    )
    parser.add_argument("--no_checkpoints", action="store_true", help="data only")
    parser.add_argument("--checkpoint_seed", **seed, help="of the weights")
    return parser


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 failed on the way, 2 refused."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if len(args.size) > 2:
        parser.error("--size takes one number, or height and width")
    args.size, args.categories = (args.size[0], args.size[-1]), list(dict.fromkeys(args.categories))
    args.defects = list(dict.fromkeys(args.defects)) if "defects" in args else None
    args.share = tuple(percent / 100 for percent in args.area) if "area" in args else None
    if args.share and not args.share[0] <= args.share[1] <= 0.1:
        parser.error("--area takes the smaller share first, and at most 10 %")
    return run_command("make_demo.py", args, write_demo)


def write_demo(args):
    """Write what the options ask for, and print where it lies; returns the exit code."""
    check_writable(args.out)
    for category in args.categories:
        count = write_category(
            args.out / "data",
            category,
            args.size,
            args.train,
            args.good,
            args.defective,
            args.seed,
            args.defects,
            args.share,
        )
        print(f"{args.out / 'data' / category}: {count} generated parts of {args.size[0]}×{args.size[1]} pixels")
    if not args.no_checkpoints:
        done = write_checkpoints(args.out / "checkpoints", args.only, args.checkpoint_seed)
        for path, state in done.items():
            print(f"{path}: {state}")
        if {"written", "kept"} & set(done.values()):
            print("These weights are untrained stand-ins: scores obtained with them mean nothing as a benchmark.")
    note("To run it: " + command_line(args.out, args.categories))
    return FINE


if __name__ == "__main__":
    sys.exit(main())
