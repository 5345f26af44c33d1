"""Small generated files that tools/import_parts.py reads: depth images with intrinsics (PNG, tiff), PCD and PLY of the
part of ``tests/field/parts.py``, seen by a pinhole camera. The true geometry is known."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
import yaml
from PIL import Image
from pypcd4 import Encoding, PointCloud

from cameras.intrinsics import Intrinsics
from tests.field import parts


class Recording(NamedTuple):
    """What a camera saw of one part."""

    rgb: np.ndarray  # [H, W, 3] uint8
    depth: np.ndarray  # [H, W] metres along the optical axis, NaN where nothing was measured
    points: np.ndarray  # [H, W, 3] metres, NaN where nothing was measured
    part: np.ndarray  # [H, W] bool, where the part is
    defect: np.ndarray  # [H, W] bool, where its defect is
    camera: Intrinsics


def record(seed=0, size=(240, 320), dented=False):
    """Recording of one part on a table. A fiftieth of the pixels has no measurement."""
    rgb, depth, defect = parts.part(seed, size, dented)
    part = np.isfinite(parts.part(seed, size, dented, table=False)[1])
    depth[np.random.default_rng(seed).random(size) < 0.02] = np.nan
    focal = parts.FOCAL * min(size) / 120
    camera = Intrinsics(focal, focal, size[1] / 2 - 0.5, size[0] / 2 - 0.5, size)
    return Recording(rgb, depth / 1000, parts.points_of(depth) / 1000, part, defect, camera)


def write_pcd(path, points, colours=None, encoding="binary", height=None):
    """Write points [H, W, 3] as PCD with a padding field; ``encoding``: ascii, binary or binary_compressed; ``height``:
    value of the header's HEIGHT (default H); 1 for an unorganised cloud."""
    columns = {name: points[..., axis].astype(np.float32).ravel() for axis, name in enumerate("xyz")}
    columns["_"] = np.zeros_like(columns["x"])
    if colours is not None:
        red, green, blue = np.moveaxis(colours.reshape(-1, 3).astype(np.uint32), 1, 0)
        columns["rgb"] = red << 16 | green << 8 | blue
    cloud = PointCloud.from_points(list(columns.values()), list(columns), [of.dtype for of in columns.values()])
    cloud.metadata.height = height or points.shape[0]
    cloud.metadata.width = cloud.points // cloud.metadata.height
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    cloud.save(path, Encoding(encoding))
    return Path(path)


def write_ply(path, points, colours=None, encoding="binary_little_endian", head_lines=(), kind="float"):
    """Write points [H, W, 3] as PLY, row by row; ``encoding``: ascii, binary_little_endian or binary_big_endian;
    ``kind``: float or double."""
    number = (">" if "big" in encoding else "<") + ("f8" if kind == "double" else "f4")
    columns = [("xyz"[axis], kind, number, points[..., axis]) for axis in range(3)]
    if colours is not None:
        columns += [(name, "uchar", "u1", colours[..., i]) for i, name in enumerate(("red", "green", "blue"))]
    rows = np.zeros(points[..., 0].size, [(name, of) for name, _, of, _ in columns])
    for name, _, _, values in columns:
        rows[name] = values.ravel()
    head = ["ply", f"format {encoding} 1.0", *head_lines, f"element vertex {len(rows)}"]
    head += [f"property {of} {name}" for name, of, _, _ in columns] + ["end_header", ""]
    body = io.BytesIO()
    np.savetxt(body, rows.tolist(), "%.9g") if encoding == "ascii" else body.write(rows.tobytes())
    return _write_bytes(path, "\n".join(head).encode() + body.getvalue())


def write_camera_info(path, camera, bend=(0, 0, 0, 0, 0)):
    """Write intrinsics as a ROS camera_info YAML file."""
    matrix = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    projection = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    content = {"image_width": camera.size[1], "image_height": camera.size[0], "distortion_model": "plumb_bob"}
    content |= {"camera_matrix": {"data": matrix}, "projection_matrix": {"data": projection}}
    return _write_bytes(path, yaml.safe_dump({**content, "distortion_coefficients": {"data": [*bend]}}).encode())


def _depth_png(folder, name, part):
    parts.save(folder / "color" / f"{name}.png", part.rgb)
    parts.save_depth(folder / "depth" / f"{name}.png", part.depth * 1000)
    parts.save_camera(folder.parent / "camera.json", part.camera.size)


def _depth_tiff(folder, name, part):
    # a colour camera of higher resolution with the same view
    parts.save(folder / f"rgb_{int(name)}.jpg", _doubled(part.rgb, Image.BICUBIC))
    tifffile.imwrite(folder / f"depth_{name}.tiff", part.depth.astype(np.float32))
    write_camera_info(folder.parent / "camera_info.yaml", part.camera)


def _doubled(array, method):
    return np.asarray(Image.fromarray(array).resize((2 * array.shape[1], 2 * array.shape[0]), method))


def _pcd(folder, name, part):
    parts.save(folder / f"{name}_color.png", part.rgb)
    write_pcd(folder / f"{name}_cloud.pcd", part.points, part.rgb, "binary_compressed")


def _ply(folder, name, part):  # as Zivid cameras write it: millimetres, colours, all pixels
    head = f"obj_info num_cols {part.depth.shape[1]}", f"obj_info num_rows {part.depth.shape[0]}"
    write_ply(folder / f"{name}.ply", part.points * 1000, part.rgb, head_lines=head)


KINDS = {"depth_png": _depth_png, "depth_tiff": _depth_tiff, "pcd": _pcd, "ply": _ply}


def make_recording(root, kind, count=4, size=(240, 320)):
    """Write ``root``/``kind`` with ``count`` training parts, two good and two dented test parts; returns the folder
    ``root``/``kind``."""
    folder = Path(root) / kind
    for first, (where, number) in enumerate((("train_good", count), ("test_good", 2), ("test_dent", 2))):
        for i in range(number):
            name, part = f"{i + 1:03d}", record(1000 * first + i, size, where == "test_dent")
            KINDS[kind](folder / where, name, part)
            if part.defect.any():
                like = next(path for path in sorted((folder / where).rglob(f"*{name}*")) if path.parent.name != "mask")
                mask, own = part.defect.astype(np.uint8) * 255, like.stem
                if kind == "depth_tiff":
                    mask, own = _doubled(mask, Image.NEAREST), f"rgb_{int(name)}"
                parts.save(folder / where / "mask" / f"{own}.png", mask)
    return folder


def _write_bytes(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)
    return Path(path)
