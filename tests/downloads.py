"""Small generated downloads of the three data sets, with their folders, file names, types, sizes and quirks.

The scenes have a known geometry, against which the preprocessing is tested.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.make_data import write_png, write_tiff

EYECANDIES_FOCAL = 711.11  # pixels
NORMAL = np.array([0.05, -0.03, 1]) / np.linalg.norm([0.05, -0.03, 1])  # normal of the MVTec scene's plane
DISTANCE = 0.45  # metres from the camera to that plane


class Scene(NamedTuple):
    """A scan of two objects on a plane: ``rgb`` [H, W, 3] uint8, ``xyz`` [H, W, 3] float32 metres (0: not measured).
    For tests: ``height`` [H, W] metres above the plane, ``larger`` [H, W] bool where the larger object is, ``measured``
    [H, W] bool."""

    rgb: np.ndarray
    xyz: np.ndarray
    height: np.ndarray
    larger: np.ndarray
    measured: np.ndarray


def scene(size, seed=0, shift=0.0, view=0.16):
    """A dome of 4 cm radius and a box of 2.4 × 3 cm on a tilted plane, 3 % of the pixels not measured. ``shift``:
    metres by which the dome is moved to the left; from 0.045 on it reaches the picture's frame. ``view``: metres that
    the shorter side covers."""
    rng, pitch = np.random.default_rng(seed), view / min(size)
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = (columns - size[1] / 2 + 0.25) * pitch, (rows - size[0] / 2 + 0.25) * pitch
    dome = 0.03 * np.sqrt(np.clip(1 - (np.hypot(x + 0.015 + shift, y) / 0.04) ** 2, 0, None))
    box = 0.02 * ((np.abs(x - 0.052) < 0.012) & (np.abs(y - 0.03) < 0.015))
    height, measured = np.maximum(dome, box), rng.random(size) >= 0.03
    plane = DISTANCE - (NORMAL[0] * x + NORMAL[1] * y) / NORMAL[2]
    xyz = np.stack([x, y, plane - height / NORMAL[2] + 0.0002 * rng.standard_normal(size)], axis=-1)
    rgb = np.clip(90 + 3000 * height[..., None] + rng.normal(0, 5, (*size, 3)), 1, 255).astype(np.uint8)
    return Scene(rgb, np.where(measured[..., None], xyz, 0).astype(np.float32), height, dome > 0, measured)


def make_mvtec3d(root, category="bagel", size=(120, 120), train=2, validation=1, defects=("hole",)):
    """An MVTec 3D-AD category as downloaded; returns its folder. Good test parts have an empty mask, as in the
    download."""
    folder = Path(root) / category
    for name in ("class_ids.json", "license.txt", "readme.txt", "calibration/camera_parameters.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}" if name.endswith("json") else "as downloaded\n", encoding="utf-8")
    parts = [("train/good", number) for number in range(train)]
    parts += [("validation/good", number) for number in range(validation)]
    for seed, (where, number) in enumerate([*parts, *((f"test/{defect}", 0) for defect in ("good", *defects))]):
        part, upper = scene(size, seed), np.indices(size)[0] < size[0] // 2
        defect = part.larger & (part.height > 0.01) & upper & (where[:4] == "test" and where != "test/good")
        part.xyz[..., 2] += 0.003 * (defect & part.measured)
        part.rgb[defect] //= 2
        write_png(folder / where / "rgb" / f"{number:03d}.png", part.rgb)
        write_tiff(folder / where / "xyz" / f"{number:03d}.tiff", part.xyz)
        if where.startswith("test"):
            write_png(folder / where / "gt" / f"{number:03d}.png", defect.astype(np.uint8) * 255)
    return folder


class Candy(NamedTuple):
    """A rendered ball on the ground."""

    depth: np.ndarray  # [H, W] metres
    points: np.ndarray  # [H, W, 3] in the world's frame
    ball: np.ndarray  # [H, W] bool, where the ball is
    pose: np.ndarray  # [4, 4] from the world's frame to the camera's


def turned(angle):
    """Rotation [3, 3] about x by ``angle`` radians; it turns y towards z."""
    return np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])


def candy(side=512, tilt=0.15, lean=0.02, distance=2.5):
    """A ball half sunk in the ground, seen by a camera that looks down on it. The ground is tilted by ``tilt`` radians
    against the world's x-z plane.

    Each pixel's point is where its ray meets the ball or the ground. y points down, as in the data set.
    """
    view = distance * side / EYECANDIES_FOCAL  # width of the view
    ground, middle = turned(tilt), np.array([0.013, 0.2, 0.1])  # columns: x, down, ahead; a point on the ground
    roll = np.array([[np.cos(lean), -np.sin(lean), 0], [np.sin(lean), np.cos(lean), 0], [0, 0, 1]])
    rotation = roll @ turned(-0.9).T @ ground.T  # world to camera: looks ahead and 0.9 radians down
    eye = middle - distance * rotation[2]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ eye
    v, u = np.mgrid[:side, :side]
    across, down = (u - side / 2) / EYECANDIES_FOCAL, (v - side / 2) / EYECANDIES_FOCAL
    rays = np.stack([across, down, np.ones((side, side))], axis=-1) @ rotation
    on_ground = ground[:, 1] @ (middle - eye) / (rays @ ground[:, 1])
    centre = middle + [0.031 * view, 0, 0]
    a, b, c = (rays**2).sum(-1), rays @ (eye - centre), ((eye - centre) ** 2).sum() - (0.2 * view) ** 2
    root = b**2 - a * c
    on_ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    depth = np.minimum(on_ball, on_ground)
    return Candy(depth, eye + rays * depth[..., None], on_ball < on_ground, pose)


def write_candy(stem, thing, seed=0, test=None):
    """Write a sample's files; their names begin with ``stem``. ``test``: None (training part), False (good test part)
    or True (defective test part)."""
    rng, side = np.random.default_rng(seed), len(thing.depth)
    low, high = float(thing.depth.min()), float(thing.depth.max())
    defect = thing.ball & (np.indices((side, side))[1] < side // 2) & bool(test)
    pictures = {"normals": np.zeros((side, side, 3), np.uint8)}
    for light in range(6):
        plain = np.where(thing.ball[..., None], (200, 60 + 20 * light, 80), 150)
        picture = plain + rng.integers(-9, 10, (side, side, 3)) - 60 * defect[..., None]
        pictures[f"image_{light}"] = picture.clip(0).astype(np.uint8)
    pictures["depth"] = Image.fromarray(np.rint((thing.depth - low) / (high - low) * 65535).astype(np.uint16))
    if test is not None:
        mask = defect.astype(np.uint8) * 255
        pictures |= {"mask": mask, "dents_mask": mask, "bumps_mask": 0 * mask, "colors_mask": 0 * mask}
    for name, picture in pictures.items():
        write_png(f"{stem}_{name}.png", picture)
    Path(f"{stem}_info_depth.yaml").write_text(f"normalization:\n  max: {high!r}\n  min: {low!r}\n", encoding="utf-8")
    np.savetxt(f"{stem}_pose.txt", thing.pose)


def make_eyecandies(root, category="CandyCane", side=64, train=2, test=(False, True)):
    """An Eyecandies category as downloaded; returns its folder. ``test``: for each test part whether it is defective.
    The ground of each sample has a different tilt, so that no two samples have the same cloud."""
    folder = Path(root) / category
    for number in range(train):
        write_candy(folder / "train" / "data" / f"{number:03d}", candy(side, 0.1 + 0.02 * number), number)
    for number, bad in enumerate(test):
        thing, stem = candy(side, 0.1 + 0.02 * (train + number)), folder / "test_public" / "data" / f"{number:02d}"
        write_candy(stem, thing, 100 + number, bad)
    return folder


def chip(size, seed=0, dtype=np.float32):
    """Organised points [H, W, 3] in millimetres: a disc 300 mm away, NaN in z where nothing was measured."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    x, y = (columns / size[1] - 0.5) * 40 + 0.013, (rows / size[0] - 0.5) * 40 + 0.017
    away = np.hypot(x, y)
    bulge = 300 - 4 * np.exp(-((away / 8) ** 2)) + 0.01 * rng.standard_normal(size)
    z = np.where(away < 15, bulge, np.nan)
    return np.stack([x, y, z], axis=-1).astype(dtype)


def make_realiad_d3(
    root,
    category="knob-cap",
    rgb_size=(60, 80),
    xyz_size=(60, 80),
    gt_size=None,
    dtype=np.float32,
    train=2,
    defects=("scratch",),
    names=None,
):
    """A Real-IAD D3 category as downloaded; returns its folder.

    ``names``: {kind: pattern} of the file names, with the fields ``id`` and ``seed``, to test other spellings.
    """
    names = {"rgb": "{id}_20240101_L05_{seed}_RGB.jpg", "xyz": "{id}_{seed}_cloud.tiff", **(names or {})}
    folder, seed = Path(root) / category, 0
    for where, count in (("train/GOOD", train), ("test/GOOD", 1), *((f"test/{defect}", 2) for defect in defects)):
        for number in range(count):
            seed += 1
            sample = f"S{number + 1}"  # for sorting: "S10_..." is before "S1_...", "S1.tiff" before "S10.tiff"
            part, name = folder / where, {kind: of.format(id=sample, seed=seed) for kind, of in names.items()}
            shape = np.isfinite(chip(rgb_size, seed)[..., 2])
            picture = (np.where(shape[..., None], (90, 120, 10 * seed), 15)).astype(np.uint8)
            if "GOOD" not in where:
                picture[shape & (np.indices(rgb_size)[0] < rgb_size[0] // 2)] += np.uint8((0, 60, 0))
                own = gt_size or rgb_size
                mask = np.isfinite(chip(own, seed)[..., 2]) & (np.indices(own)[0] < own[0] // 2)
                write_png(part / "gt" / "rgb" / f"{sample}_mask_{seed}.png", mask.astype(np.uint8) * 255)
            write_png(part / "rgb" / sample / name["rgb"], picture)  # the name says JPEG
            write_png(part / "rgb" / sample / f"{sample}_20240101_L01_{seed}_RGB.jpg", picture // 2)
            write_png(part / "ps" / f"{sample}_ps.jpg", picture)
            write_tiff(part / "xyz" / name["xyz"], chip(xyz_size, seed, dtype))
    return folder
