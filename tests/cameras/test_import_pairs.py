"""What files are, and which belong together: by content, by name, by number."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cameras.recordings import find_recording
from common.errors import InputError


def fill(root, *names):
    """Write tiny files; depth where a name or folder says depth, xyz or cloud, else pictures. Empty ones for other
    formats."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        deep = any(word in name.lower() for word in ("depth", "xyz", "cloud"))
        if path.suffix in (".pcd", ".ply", ".npy"):
            path.write_bytes(b"")
        elif path.suffix in (".tif", ".tiff"):
            array, kind = (np.ones((4, 4), np.float32), "minisblack") if deep else (np.ones((4, 4, 3), np.uint8), "rgb")
            tifffile.imwrite(path, array, photometric=kind)
        else:
            Image.fromarray(np.full((4, 4), 300, np.uint16) if deep else np.zeros((4, 4, 3), np.uint8)).save(path)
    return root


def paired(root, **options):
    """([(picture, cloud, mask)], names without partner) with paths as texts."""
    found = find_recording(root, **options)
    parts = [tuple(p and p.relative_to(root).as_posix() for p in files) for files in found.parts]
    return parts, sorted(found.lonely)


@pytest.mark.parametrize(
    "names",
    [
        ["rgb/0.png xyz/0.tiff", "rgb/1.png xyz/1.tiff"],
        ["color_9.png depth_0009.png", "color_10.png depth_0010.png"],
        ["rs_Color_7.png rs_Depth_7.png", "rs_Color_12.png rs_Depth_12.png"],
        ["color_image/a-1.jpg depth_image/a-1.png", "color_image/a-2.jpg depth_image/a-2.png"],
        ["one/scan.png one/scan.pcd", "two/scan.png two/scan.pcd"],
        ["scan.png scan.cloud.pcd", "scan2.png scan2.cloud.pcd"],
        ["ColorImage003.bmp part_cloud_03.npy", "ColorImage004.bmp part_cloud_04.npy"],
        ["left/p1_v2.png depth/p1_v2_depth.tiff", "left/p2_v1.png depth/p2_v1_depth.tiff"],
        ["bad_dent.png bad_dent_depth.png", "bad_label.png bad_label_depth.png"],  # no mask: its scan has the word too
    ],
)
def test_pairs(tmp_path, names):
    fill(tmp_path, *" ".join(reversed(names)).split())
    assert paired(tmp_path) == ([(*pair.split(), None) for pair in names], [])


def test_masks_and_what_lacks_one(tmp_path):
    fill(tmp_path, *(f"rgb/{n}.png" for n in "123"), *(f"depth/{n}.png" for n in "124"), "ground_truth/001_mask.png")
    mask, lonely = "ground_truth/001_mask.png", ["depth/4.png", "rgb/2.png", "rgb/3.png"]
    assert paired(tmp_path) == ([("rgb/1.png", "depth/1.png", mask)], lonely)
    unmasked = [(f"rgb/{n}.png", f"depth/{n}.png", None) for n in "12"]
    assert paired(tmp_path, with_masks=False)[0] == unmasked


def test_globs_and_order(tmp_path):
    fill(tmp_path, "color/a1.png", "color/a2.png", "ir/a1.png", "ir/a2.png", "depth/t105.png", "depth/t107.png")
    with pytest.raises(InputError, match="no depth image or cloud has the same name or number"):
        find_recording(tmp_path, picture_glob="color/*.png")
    ordered = [("color/a1.png", "depth/t105.png", None), ("color/a2.png", "depth/t107.png", None)]
    assert paired(tmp_path, picture_glob="color/*.png", by_order=True) == (ordered, [])
    with pytest.raises(InputError, match="needs as many"):
        find_recording(tmp_path, by_order=True)
    fill(tmp_path / "new", *(f"{n}_{kind}.png" for n in "12" for kind in ("color", "depth")))
    fill(tmp_path / "new", "masks/task-41.png", "masks/task-57.png")
    with pytest.raises(InputError, match="no mask has the same name or number.*--by_order"):
        find_recording(tmp_path / "new")


def test_several_pictures_of_one_part_are_refused(tmp_path):
    fill(tmp_path, "1_color.png", "1_ir.png", "1_depth.png")
    with pytest.raises(InputError, match="--picture_glob"):
        find_recording(tmp_path)
    assert len(find_recording(tmp_path, picture_glob="*_color.png").parts) == 1


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="missing folder"):
        find_recording(tmp_path / "no")
    with pytest.raises(InputError, match="no files"):
        find_recording(tmp_path)
    fill(tmp_path, "1.png")
    with pytest.raises(InputError, match="no depth images or clouds"):
        find_recording(tmp_path)
