"""The demo's parts are what their folders say, the same on every run; stand-in weights are the recorded ones."""

import shlex

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lab import make_demo
from lab.demo_kinds import DEFECTS, KINDS, SHAPES_OF_OTHERS, kind_of
from lab.make_demo import command_line, main, render_part
from lab.standin_checkpoints import RECIPES, draw, write_checkpoints
from models import checkpoints as files
from runs.options import parse_arguments

SIZE, FINE = (64, 64), (176, 176)
SMALL = ("--size", "64", "--train", "2", "--good", "1", "--defective", "1", "--no_checkpoints")


def changed(a, b):
    return (a != b).any(axis=2)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pair(category, defect, size=SIZE, number=0):
    name = f"{category}/test/{defect}/{number:03d}"
    return render_part(name, size, defect=defect), render_part(name, size)


def test_layout(tmp_path):
    assert main([str(tmp_path), "--categories", "foam", *SMALL]) == 0
    parts = ["train/good/{}/000", "train/good/{}/001"] + [f"test/{d}/{{}}/000" for d in ("good", *DEFECTS)]
    wanted = {f"data/foam/{p.format(kind)}.{end}" for p in parts for kind, end in (("rgb", "png"), ("xyz", "tiff"))}
    wanted |= {f"data/foam/{p.format('gt')}.png" for p in parts if p.startswith("test")}
    assert set(tree(tmp_path)) == wanted


def test_same_bytes_twice_and_earlier_parts_stay(tmp_path, capsys):
    for folder, extra in (("a", ()), ("b", ()), ("more", ("--train", "3", "--good", "2"))):
        assert main([str(tmp_path / folder), *SMALL, *extra]) == 0
    first, second, more = (tree(tmp_path / folder) for folder in ("a", "b", "more"))
    assert first == second
    assert len(more) == len(first) + 5 and first.items() <= more.items()
    assert main([str(tmp_path / "a"), *SMALL]) == 0
    assert tree(tmp_path / "a") == first
    assert main([str(tmp_path / "b"), *SMALL, "--seed", "1"]) == 0
    assert all(first[name] != content for name, content in tree(tmp_path / "b").items() if "good/gt" not in name)
    assert "untrained" not in capsys.readouterr().out


def test_files_hold_the_parts(tmp_path):
    main([str(tmp_path), *SMALL, "--size", "48", "70"])
    for place, defect in [("train/good", None), ("test/good", None)] + [(f"test/{d}", d) for d in DEFECTS]:
        part, folder = render_part(f"cookie/{place}/000", (48, 70), defect=defect), tmp_path / "data/cookie" / place
        rgb, xyz = Image.open(folder / "rgb/000.png"), tifffile.imread(folder / "xyz/000.tiff")
        assert rgb.mode == "RGB" and xyz.dtype == np.float32 and xyz.shape == (48, 70, 3)
        np.testing.assert_array_equal(np.asarray(rgb), part.rgb)
        np.testing.assert_array_equal(xyz, part.xyz)
        if place.startswith("test"):
            gt = Image.open(folder / "gt/000.png")
            assert gt.mode == "L"
            np.testing.assert_array_equal(np.asarray(gt), part.mask * np.uint8(255))


@pytest.mark.parametrize("category", KINDS)
def test_defects_change_what_they_should(category):
    kind, size = KINDS[category], SIZE if KINDS[category].even else FINE
    for number in range(3):
        part, good = pair(category, "color", size, number)
        np.testing.assert_array_equal(part.xyz, good.xyz)
        np.testing.assert_array_equal(changed(part.rgb, good.rgb), part.mask)
        assert np.abs(part.rgb.astype(int) - good.rgb)[part.mask].sum(axis=1).mean() > 60

        part, good = pair(category, "hole", size, number)
        np.testing.assert_array_equal(part.rgb, good.rgb)
        np.testing.assert_array_equal(changed(part.xyz, good.xyz), part.mask)
        assert 0.8 * kind.dent[0] <= (part.xyz - good.xyz)[..., 2].max() <= 1.1 * kind.dent[1]

        part, good = pair(category, "combined", size, number)
        np.testing.assert_array_equal(changed(part.rgb, good.rgb), part.mask)
        np.testing.assert_array_equal(changed(part.xyz, good.xyz), part.mask)


@pytest.mark.parametrize("category", KINDS)
def test_faint_defects_are_weak_in_both(category):
    for number in range(2):
        part, good = pair(category, "faint", FINE, number)
        np.testing.assert_array_equal(changed(part.xyz, good.xyz), part.mask)
        assert (part.xyz - good.xyz)[..., 2].max() < 0.16 * KINDS[category].dent[1]
        stained = changed(part.rgb, good.rgb)
        assert not (stained & ~part.mask).any() and stained[part.mask].mean() > 0.8
        assert np.abs(part.rgb.astype(int) - good.rgb)[part.mask].mean() < 50


@pytest.mark.parametrize("category", KINDS)
def test_defect_area(category):
    low, high = KINDS[category].share
    for number in range(3):
        part, good = pair(category, "hole", SIZE if KINDS[category].even else FINE, number)
        assert not good.mask.any()
        assert 0.75 * low <= part.mask.sum() / good.xyz.any(axis=2).sum() <= 1.2 * high
        small = render_part(f"{category}/test/hole/{number:03d}", FINE, defect="hole", share=(0.005, 0.006))
        assert 0.003 <= small.mask.sum() / small.xyz.any(axis=2).sum() <= 0.009


@pytest.mark.parametrize("size", [SIZE, (45, 70)])
@pytest.mark.parametrize("category", KINDS)
def test_points(category, size):
    reach = 2.1 * np.hypot(*KINDS[category].reach) if KINDS[category].turn > 1 else 0.12
    part = render_part(f"{category}/train/good/000", size)
    valid = part.xyz.any(axis=2)
    assert part.rgb.shape == part.xyz.shape == (*size, 3) and part.mask.shape == size
    assert (part.xyz[valid] != 0).all() and not part.xyz[~valid].any()
    np.testing.assert_array_equal(part.rgb.any(axis=2), valid)
    assert not valid[[0, -1]].any() and not valid[:, [0, -1]].any()
    x, y, z = part.xyz[valid].T
    assert 0.4 < z.min() and z.max() < 0.5
    assert 0.05 < np.ptp(x) < reach and np.ptp(y) < reach
    rows, columns = np.nonzero(valid)
    assert np.corrcoef(columns, x)[0, 1] > 0.999 and np.corrcoef(rows, y)[0, 1] > 0.99


def test_parts_differ_and_other_names_get_a_shape():
    first, second = (render_part(f"cookie/train/good/{i:03d}", SIZE) for i in range(2))
    assert changed(first.xyz, second.xyz).mean() > 0.2 and changed(first.rgb, second.rgb).mean() > 0.2
    names = [f"part {i}" for i in range(30)]
    assert {id(kind_of(name)) for name in names} == {id(KINDS[shape]) for shape in SHAPES_OF_OTHERS}
    assert kind_of("bagel") is kind_of("bagel")


def test_defects_and_their_size_can_be_chosen(tmp_path):
    assert main([str(tmp_path), *SMALL, "--defects", "faint", "hole", "faint", "--area", "1", "2"]) == 0
    assert {path.name for path in (tmp_path / "data/cookie/test").iterdir()} == {"good", "faint", "hole"}
    mask = np.asarray(Image.open(tmp_path / "data/cookie/test/hole/gt/000.png"))
    part = render_part("cookie/test/hole/000", SIZE, defect="hole", share=(0.01, 0.02))
    np.testing.assert_array_equal(mask, part.mask * np.uint8(255))


def test_metal_lies_any_way_and_shines():
    parts = [render_part(f"bracket/train/good/{i:03d}", FINE) for i in range(12)]
    valid = [part.xyz.any(axis=2) for part in parts]
    ratios = [np.ptp(part.xyz[v][:, 0]) / np.ptp(part.xyz[v][:, 1]) for part, v in zip(parts, valid)]
    assert min(ratios) < 0.8 and max(ratios) > 1.3
    tilts = [
        np.linalg.lstsq(np.c_[part.xyz[v][:, :2], np.ones(v.sum())], part.xyz[v][:, 2], rcond=None)[0][:2]
        for part, v in zip(parts, valid)
    ]
    assert 0.03 < np.abs(tilts).max() < 0.13
    assert np.std([part.rgb[v].mean() for part, v in zip(parts, valid)]) > 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--categories", "../x"),
        ("--categories", ".."),
        ("--categories", "a/b"),
        ("--categories", ""),
        ("--size", "1", "2"),
        ("--size", "64", "64", "3"),
        ("--train", "0"),
        ("--only", "clip"),
        ("--area", "5", "1"),
        ("--area", "1", "20"),
        ("--defects", "crack"),
    ],
)
def test_bad_options_are_refused(tmp_path, flags):
    with pytest.raises(SystemExit) as info:
        main([str(tmp_path / "out"), *flags])
    assert info.value.code == 2 and not (tmp_path / "out").exists()


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
        files.read_checkpoint(path, files.UFF)["rgb_norm.bias"],
        draw("rgb_norm.bias", (768,), "bias", 0),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(
    "present, method, backbones",
    [
        ((), "DINO+Point_MAE+Fusion", None),
        (("dino", "point_mae", "uff"), "DINO+Point_MAE+Fusion", ("vit_base_patch8_224_dino", "Point_MAE")),
        (("dino", "point_bert", "uff"), "DINO+Point_MAE+Fusion", ("vit_base_patch8_224_dino", "Point_Bert")),
        (("dino_small", "point_mae", "uff"), "DINO+Point_MAE", ("vit_small_patch8_224_dino", "Point_MAE")),
        (("dino",), "DINO", None),
        (("point_bert",), "Point_MAE", (None, "Point_Bert")),
        (("uff",), "DINO+Point_MAE+Fusion", None),
    ],
)
def test_command_line_fits_the_checkpoints(tmp_path, present, method, backbones):
    (tmp_path / "checkpoints").mkdir()
    for name in present:
        (tmp_path / "checkpoints" / RECIPES[name].file).touch()
    python, script, *flags = shlex.split(command_line(tmp_path, ["a b", "cookie"]))
    args = parse_arguments(flags)
    assert (python, script, args.method_name, args.category) == ("python", "main.py", method, ["a b", "cookie"])
    for wanted, found in zip(backbones or (), (args.rgb_backbone_name, args.xyz_backbone_name)):
        assert wanted in (None, found)


def test_command_line_writes_checkpoints_and_says_what_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        make_demo, "write_checkpoints", lambda folder, names, seed: {folder / f"{'-'.join(names)}-{seed}": "written"}
    )
    assert main([str(tmp_path), *SMALL[:-1], "--checkpoint_seed", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].endswith("dino-point_mae-uff-3: written")
    assert sum("untrained" in line for line in out) == 1 and "main.py" in out[-1]
