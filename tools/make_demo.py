"""Write demo data: generated RGB-3D categories in the MVTec 3D-AD layout, and stand-in checkpoints to run them with.

    python tools/make_demo.py demo
    python tools/make_demo.py demo --categories cookie dowel foam --train 20 --only dino point_bert uff

OUT/data gets <category>/{train,test}/<defect>/{rgb,xyz,gt}/NNN.{png,tiff,png}; OUT/checkpoints the checkpoints.
Each part comes from its own random stream, named after its place, so more parts leave the earlier ones as they are.
"""
import argparse
import shlex
import sys
import zlib
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.standin_checkpoints import RECIPES, write_checkpoints  # noqa: E402
from utils.errors import InputError  # noqa: E402
from utils.files import atomic_path, check_writable  # noqa: E402
from utils.options import number  # noqa: E402

VIEW = 0.15  # metres that the picture's shorter side shows
DISTANCE = 0.45  # metres from the camera to the ground the part lies on
LIGHT = np.array([-0.45, -0.55, 0.70])  # towards the light: left, up in the picture, towards the camera
DEFECTS = ("color", "hole", "combined")  # stain, dent, both in one place
LATTICE = 128  # random numbers a side of the noise


class Surface(NamedTuple):
    """A shape at some points [...] of the ground: ``inside`` [...] metres to the outline (positive inside),
    ``height`` [...] metres above the ground, ``albedo`` [..., 3] from 0 to 1."""

    inside: np.ndarray
    height: np.ndarray
    albedo: np.ndarray


class Kind(NamedTuple):
    """A kind of object: how its surface is drawn, and the reflectance of its stains."""

    surface: Callable  # (random generator, u [...], v [...] in metres) → Surface
    area: float  # square metres, about
    reach: tuple  # half extents in metres
    stain: tuple


class Part(NamedTuple):
    """A scan: ``rgb`` [H, W, 3] uint8, ``xyz`` [H, W, 3] float32 metres (background 0), ``mask`` [H, W] bool, the defect."""

    rgb: np.ndarray
    xyz: np.ndarray
    mask: np.ndarray


def stream(seed, name):
    """Random generator of its own for ``name``."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def noise(rng, u, v, *grain):
    """Smooth noise of unit order at points u, v [...] in metres; ``grain``: feature size in metres, or one each for u and v."""
    lattice = rng.standard_normal((LATTICE, LATTICE))
    return map_coordinates(lattice, [u / grain[0], v / grain[-1]], order=3, mode="grid-wrap")


def rounded(inside, radius, height):
    """Quarter-ellipse edge: height 0 at the outline, ``height`` from ``radius`` inwards (all in metres)."""
    return height * np.sqrt(1 - (1 - np.clip(inside / radius, 0, 1)) ** 2)


def box_inside(u, v, half_u, half_v, corner):
    """Metres from u, v [...] to the outline of a box with rounded corners, positive inside."""
    du, dv = np.abs(u) - half_u + corner, np.abs(v) - half_v + corner
    return corner - np.hypot(np.maximum(du, 0), np.maximum(dv, 0)) - np.minimum(np.maximum(du, dv), 0)


def blend(base, other, weight):
    """Colours [..., 3] from ``base`` (weight [...] 0) to ``other`` (1)."""
    return base + (np.asarray(other) - base) * weight[..., None]


def smoothstep(x):
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def cookie(rng, u, v):
    """A baked disc, slightly out of round, with chips that stick out."""
    angle, phase = np.arctan2(v, u), rng.uniform(0, 2 * np.pi, 2)
    inside = 0.050 * (1 + 0.015 * np.cos(2 * angle + phase[0]) + 0.010 * np.cos(3 * angle + phase[1])) - np.hypot(u, v)
    height = rounded(inside, 0.028, 0.013) + 0.0004 * noise(rng, u, v, 0.006) + 0.0002 * noise(rng, u, v, 0.002)
    albedo = blend(np.array([0.80, 0.58, 0.33]), (0.52, 0.30, 0.13), 1 - smoothstep(inside / 0.016))
    albedo = albedo * (1 + 0.05 * noise(rng, u, v, 0.002) + 0.05 * noise(rng, u, v, 0.009))[..., None]
    for reach, turn, size in rng.uniform((0.1, 0, 0.0030), (0.82, 2 * np.pi, 0.0050), (14, 3)):
        centre = 0.050 * np.sqrt(reach) * np.array([np.cos(turn), np.sin(turn)])
        near = 1 - np.hypot(u - centre[0], v - centre[1]) / size
        height = height + 0.0022 * smoothstep(1.6 * near)
        albedo = blend(albedo, (0.25, 0.14, 0.09), smoothstep(5 * near))
    return Surface(inside, height, albedo)


def dowel(rng, u, v):
    """An elongated round bar with chamfered ends and wood grain along it."""
    half_length, radius = rng.uniform((0.053, 0.0155), (0.055, 0.0165))
    inside = box_inside(u, v, half_length, radius, 0.003)
    height = rounded(radius - np.abs(v), radius, radius) + radius / 2
    height = np.minimum(height, radius * 1.5 - 0.008 * (1 - smoothstep((half_length - np.abs(u)) / 0.005)))
    grain = 0.06 * noise(rng, u, v, 0.030, 0.0012) + 0.05 * noise(rng, u, v, 0.012, 0.0006) + 0.03 * noise(rng, u, v, 0.02)
    return Surface(inside, height + 0.00008 * noise(rng, u, v, 0.004), np.array([0.83, 0.66, 0.45]) * (1 + grain)[..., None])


def foam(rng, u, v):
    """A flat block with soft edges and open pores."""
    half_u, half_v = rng.uniform((0.049, 0.037), (0.051, 0.039))
    inside = box_inside(u, v, half_u, half_v, 0.007) + 0.0003 * noise(rng, u, v, 0.006)
    pores = np.maximum(smoothstep(noise(rng, u, v, 0.0014) - 0.5), smoothstep(2 * noise(rng, u, v, 0.003) - 2.2))
    height = rounded(inside, 0.006, 0.020) + 0.0003 * noise(rng, u, v, 0.012) - 0.0006 * pores
    albedo = blend(np.array([0.48, 0.60, 0.70]), (0.22, 0.29, 0.36), 0.8 * pores)
    return Surface(inside, height, albedo * (1 + 0.04 * noise(rng, u, v, 0.010))[..., None])


KINDS = {
    "cookie": Kind(cookie, 0.0079, (0.05, 0.05), (0.20, 0.26, 0.62)),
    "dowel": Kind(dowel, 0.0035, (0.054, 0.016), (0.10, 0.42, 0.28)),
    "foam": Kind(foam, 0.0076, (0.05, 0.038), (0.72, 0.22, 0.13)),
}


def kind_of(category):
    """The Kind of a category: its own, or for other names one that depends on nothing but the name."""
    return KINDS.get(category) or list(KINDS.values())[zlib.crc32(category.encode()) % len(KINDS)]


def defect_depth(rng, kind, surface, u, v):
    """Where a part's defect is: a blob of 4 to 7 % of its area, wholly on it.

    Args:
        kind: Kind of the part.
        surface: (u, v) → Surface of this part.
        u, v: [H, W] metres, in the part's own frame.

    Returns:
        [H, W]; positive inside the blob, 1 in its middle.
    """
    radius, squeeze = np.sqrt(rng.uniform(0.04, 0.07) * kind.area / np.pi), rng.uniform(0.85, 1)
    turn, phase, candidates = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2), rng.uniform(-1, 1, (2, 64))
    candidates = candidates * np.array(kind.reach)[:, None]
    room = np.minimum(surface(*candidates).inside, 1.35 * radius)
    centre_u, centre_v = candidates[:, np.argmax(room)]  # the first with enough room, else that with the most
    du, dv = u - centre_u, v - centre_v
    along, across = np.cos(turn) * du + np.sin(turn) * dv, np.cos(turn) * dv - np.sin(turn) * du
    along, across = along * squeeze / radius, across / squeeze / radius
    angle = np.arctan2(across, along)
    return 1 - np.hypot(along, across) / (1 + 0.10 * np.cos(2 * angle + phase[0]) + 0.07 * np.cos(3 * angle + phase[1]))


def render_part(name, size=(224, 224), seed=0, defect=None):
    """The part ``name`` with ``defect`` ("color", "hole", "combined"), or the same part undamaged (None, empty mask).

    Args:
        name: "<category>/<split>/<defect folder>/<number>"; it chooses the kind of object and the random numbers.
        size: (height, width) in pixels.

    Returns:
        Part. A stain changes the rgb inside the mask alone, a dent the xyz inside the mask alone.
    """
    kind = kind_of(name.split("/")[0])
    pose, spot, sensor = (stream(seed, f"{name}:{what}") for what in ("pose", "defect", "sensor"))

    def surface(u, v):
        return kind.surface(stream(seed, f"{name}:shape"), u, v)

    rays, pitch = camera(size)
    u, v = place(pose, *(DISTANCE * rays))
    shape = surface(u, v)
    valid, depth = shape.inside > 0, defect_depth(spot, kind, surface, u, v)
    dent, strength = spot.uniform(0.006, 0.009), spot.uniform(0.75, 0.9)
    mask = valid & (depth > 0) & (defect is not None)

    albedo, shift = shape.albedo, DISTANCE + pose.uniform(-0.004, 0.004)
    light = shading(np.where(valid, shape.height, 0), pitch) * pose.uniform(0.96, 1.04)
    z = shift - shape.height + 0.00005 * sensor.standard_normal(size)
    if defect in ("color", "combined"):
        albedo = blend(albedo, kind.stain, mask * strength * (0.7 + 0.3 * smoothstep(5 * depth)))
    if defect in ("hole", "combined"):
        z = z + mask * dent * (0.03 + 0.97 * smoothstep(2 * depth))  # a step at the rim keeps the mask exact
    rgb = 255 * albedo * light[..., None] + 1.5 * sensor.standard_normal((*size, 3))
    rgb = np.where(valid[..., None], np.clip(np.rint(rgb), 1, 255), 0).astype(np.uint8)
    xyz = np.where(valid, np.stack([*(rays * z), z]), 0).astype(np.float32)
    return Part(rgb, np.ascontiguousarray(xyz.transpose(1, 2, 0)), mask)


def camera(size):
    """(x/z and y/z of each pixel's ray, array [2, H, W]; metres a pixel at ``DISTANCE``) of a pinhole camera above the part.

    The axis passes a quarter of a pixel beside a pixel's middle or edge, so that no coordinate is 0.
    """
    height, width = size
    pitch = VIEW / min(size)
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns - width / 2 + 0.25, rows - height / 2 + 0.25]) * pitch / DISTANCE, pitch


def place(rng, x, y):
    """Points x, y [H, W] in metres of the camera's frame, in the frame of a part that lies a little shifted and turned."""
    turn, (shift_x, shift_y) = rng.uniform(-0.3, 0.3), rng.uniform(-0.006, 0.006, 2)
    x, y = x - shift_x, y - shift_y
    return np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x


def shading(height, pitch):
    """Brightness [H, W] of a surface of ``height`` [H, W] metres, ``pitch`` metres a pixel, under ``LIGHT`` and diffuse light."""
    slope_y, slope_x = np.gradient(gaussian_filter(height, 0.0006 / pitch), pitch)
    towards = LIGHT[2] - LIGHT[0] * slope_x - LIGHT[1] * slope_y
    return 0.42 + 0.68 * np.maximum(towards / np.sqrt(1 + slope_x**2 + slope_y**2), 0)


def write_part(root, name, part):
    """Write the three files of the part ``name`` under ``root``; each takes its name only when it is complete."""
    folder, number_text = (Path(root) / name).parent, Path(name).name
    with atomic_path(folder / "rgb" / f"{number_text}.png") as temporary:
        Image.fromarray(part.rgb).save(temporary, format="PNG")
    with atomic_path(folder / "xyz" / f"{number_text}.tiff") as temporary:
        tifffile.imwrite(temporary, part.xyz, photometric="rgb", planarconfig="contig")
    if "/test/" in name:
        with atomic_path(folder / "gt" / f"{number_text}.png") as temporary:
            Image.fromarray(part.mask.astype(np.uint8) * 255).save(temporary, format="PNG")


def write_category(root, category, size=(224, 224), train=5, good=4, defective=2, seed=0):
    """Write ``train`` training parts, ``good`` good test parts and ``defective`` ones of each defect; returns their number.

    Parts of an earlier run with the same name are replaced, others stay.
    """
    folders = [("train/good", None, train), ("test/good", None, good), *((f"test/{d}", d, defective) for d in DEFECTS)]
    parts = [(f"{category}/{folder}/{i:03d}", defect) for folder, defect, count in folders for i in range(count)]
    for name, defect in parts:
        write_part(root, name, render_part(name, size, seed, defect))
    return len(parts)


def run_command(out, categories):
    """The main.py command for ``categories`` and those checkpoints that are in OUT/checkpoints (none: main.py's own folder)."""
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
    return shlex.join(["python", "main.py", *flags, "--dataset_path", str(Path(out) / "data"), "--category", *categories])


def category_name(text):
    """argparse type: a name that can be a folder."""
    if not text.strip(". ") or set(text) & set('/\\:*?"<>|\0'):
        raise argparse.ArgumentTypeError(f"{text!r}: has to be a plain folder name")
    return text


def build_parser():
    """The argument parser."""
    parser = argparse.ArgumentParser(prog="make_demo.py", description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    seed = {"type": number(int, 0), "default": 0, "metavar": "N"}
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for data/ and checkpoints/")
    parser.add_argument("--categories", nargs="+", type=category_name, default=["cookie"], metavar="NAME",
                        help=f"{', '.join(KINDS)}, or any other name: it gets the shape of one of these")
    parser.add_argument("--size", nargs="+", type=number(int, 32), default=[224], metavar="N", help="pixels a side, or height and width")
    parser.add_argument("--train", type=number(int, 1), default=5, metavar="N", help="training parts")
    parser.add_argument("--good", type=number(int, 0), default=4, metavar="N", help="good test parts")
    parser.add_argument("--defective", type=number(int, 0), default=2, metavar="N", help=f"test parts of each defect: {', '.join(DEFECTS)}")
    parser.add_argument("--seed", **seed, help="of the parts")
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=["dino", "point_mae", "uff"], help="checkpoints to write")
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
    try:
        check_writable(args.out)
        write_demo(args)
    except InputError as error:
        print(f"make_demo.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"make_demo.py: {error.filename or args.out}: cannot be written ({error.strerror or error})", file=sys.stderr)
        return 1
    return 0


def write_demo(args):
    """Write what the options ask for and say what is where."""
    for category in args.categories:
        count = write_category(args.out / "data", category, args.size, args.train, args.good, args.defective, args.seed)
        print(f"{args.out / 'data' / category}: {count} generated parts of {args.size[0]}×{args.size[1]} pixels")
    if not args.no_checkpoints:
        done = write_checkpoints(args.out / "checkpoints", args.only, args.checkpoint_seed)
        for path, state in done.items():
            print(f"{path}: {state}")
        if {"written", "kept"} & set(done.values()):
            print("These weights are untrained stand-ins: scores obtained with them mean nothing as a benchmark.")
    print("To run it: " + run_command(args.out, args.categories))


if __name__ == "__main__":
    sys.exit(main())
