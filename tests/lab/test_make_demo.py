"""The demo's categories are parts of the recordings, cut out, the same on every run; stand-in weights are kept."""

import numpy as np
import tifffile
from PIL import Image

from lab.make_demo import main
from lab.standin_checkpoints import write_checkpoints
from models.checkpoints import is_standin
from tests.lab.test_recordings import tree

SMALL = ("--kinds", "tray", "--train", "2", "--good", "1", "--defective", "1", "--no_checkpoints", "--defects")


def test_layout_and_the_same_bytes_twice_and_earlier_parts_stay(tmp_path, capsys):
    defects, more = ("crushed", "stain"), ("crushed", "--train", "3", "--good", "2")
    for folder, extra in (("a", defects), ("more", more), ("c", ("crushed", "--seed", "1"))):
        assert main([str(tmp_path / folder), *SMALL, *extra]) == 0
    first, larger, other = (tree(tmp_path / folder) for folder in ("a", "more", "c"))
    parts = ["train/good/{}/000", "train/good/{}/001"] + [f"test/{d}/{{}}/000" for d in ("good", *defects)]
    wanted = {f"data/tray/{p.format(kind)}.{end}" for p in parts for kind, end in (("rgb", "png"), ("xyz", "tiff"))}
    wanted |= {f"data/tray/{p.format('gt')}.png" for p in parts if p.startswith("test")}
    assert set(first) == wanted
    folder = tmp_path / "a/data/tray/test/crushed"
    rgb, xyz = np.asarray(Image.open(folder / "rgb/000.png")), tifffile.imread(folder / "xyz/000.tiff")
    gt = np.asarray(Image.open(folder / "gt/000.png"))
    assert rgb.shape == xyz.shape == (*gt.shape, 3) and xyz.dtype == np.float32 and set(np.unique(gt)) == {0, 255}
    measured, shown = xyz.all(axis=2), rgb.any(axis=2)
    assert 0.1 < measured.mean() < 0.6 and not shown[0].any() and (measured & ~shown).sum() < 0.01 * measured.sum()
    kept = {name: content for name, content in first.items() if "good" in name or "crushed" in name}
    assert len(larger) == len(kept) + 5 and kept.items() <= larger.items()
    assert all(first[name] != content for name, content in other.items() if "good/gt" not in name)
    assert main([str(tmp_path / "d"), *SMALL, "no_such"]) == 2
    assert "tray has no defect 'no_such'" in capsys.readouterr().err


def test_a_checkpoint_that_is_there_is_kept(tmp_path):
    write_checkpoints(tmp_path, ["uff"])
    (path,) = tmp_path.iterdir()
    assert path.name == "uff_pretrain.pth" and is_standin(path)
    path.write_bytes(b"a real one, say")
    write_checkpoints(tmp_path, ["uff"])
    assert path.read_bytes() == b"a real one, say"
