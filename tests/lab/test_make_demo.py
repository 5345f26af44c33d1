"""The demo's categories are parts of the recordings, cut out, the same on every run; stand-in weights are kept."""

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lab.make_demo import KINDS, cut_out, main
from lab.standin_checkpoints import draw, write_checkpoints
from models import checkpoints as files

SMALL = ("--kinds", "tray", "--train", "2", "--good", "1", "--defective", "1", "--no_checkpoints", "--defects")


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout_and_the_same_bytes_twice_and_earlier_parts_stay(tmp_path, capsys):
    defects, more = ("crushed", "stain"), ("crushed", "--train", "3", "--good", "2")
    for folder, extra in (("a", defects), ("b", defects), ("more", more), ("c", (*defects, "--seed", "1"))):
        assert main([str(tmp_path / folder), *SMALL, *extra]) == 0
    first, second, larger, other = (tree(tmp_path / folder) for folder in ("a", "b", "more", "c"))
    parts = ["train/good/{}/000", "train/good/{}/001"] + [f"test/{d}/{{}}/000" for d in ("good", *defects)]
    wanted = {f"data/tray/{p.format(kind)}.{end}" for p in parts for kind, end in (("rgb", "png"), ("xyz", "tiff"))}
    wanted |= {f"data/tray/{p.format('gt')}.png" for p in parts if p.startswith("test")}
    assert set(first) == wanted and first == second
    folder = tmp_path / "a/data/tray/test/crushed"
    rgb, xyz = np.asarray(Image.open(folder / "rgb/000.png")), tifffile.imread(folder / "xyz/000.tiff")
    gt = np.asarray(Image.open(folder / "gt/000.png"))
    assert rgb.shape == xyz.shape == (*gt.shape, 3) and xyz.dtype == np.float32 and set(np.unique(gt)) == {0, 255}
    kept = {name: content for name, content in first.items() if "good" in name or "crushed" in name}
    assert len(larger) == len(kept) + 5 and kept.items() <= larger.items()
    assert all(first[name] != content for name, content in other.items() if "good/gt" not in name)
    assert main([str(tmp_path / "d"), *SMALL, "no_such"]) == 2
    assert "tray has no defect 'no_such'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["housing", "tray", "connector"])  # cameras of three sizes
def test_a_part_lies_on_the_rays_of_its_camera_and_the_rest_is_zero(name):
    kind = KINDS[name]
    part = cut_out(name, [3, 0], list(kind.faults)[0])
    measured, seen = part.xyz.all(axis=2), part.rgb.any(axis=2)
    assert np.array_equal(measured, part.xyz.any(axis=2)) and 0.1 < measured.mean() < 0.6
    assert not part.rgb[0].any() and not seen[:, 0].any() and (measured & ~seen).sum() < 0.01 * measured.sum()
    rows, columns = np.nonzero(measured)
    x, y, z = part.xyz[measured].astype(float).T
    for of, at in ((x, columns), (y, rows)):
        assert np.ptp(kind.camera.focal * of / z - at) < 0.01  # pixels: one camera
    assert np.ptp(x) < kind.grid.width / 1000 and 0.7 < z.mean() / (kind.camera.distance / 1000) < 1.1
    assert part.mask.any() and not cut_out(name, [3, 0]).mask.any()


def test_checkpoint_files_are_kept_unless_damaged(tmp_path):
    path = tmp_path / "uff_pretrain.pth"
    assert write_checkpoints(tmp_path, ["uff"]) == {path: "written"}
    content = path.read_bytes()
    assert write_checkpoints(tmp_path, ["uff", "uff"]) == {path: "kept"}
    assert write_checkpoints(tmp_path, ["uff"], seed=1)[path].startswith("kept: ")
    path.write_bytes(content[:-1000])
    assert write_checkpoints(tmp_path, ["uff"]) == {path: "written"}
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    torch.testing.assert_close(
        files.read_checkpoint(path, files.UFF)["rgb_norm.bias"], draw("rgb_norm.bias", (768,), 0), rtol=0, atol=0
    )
