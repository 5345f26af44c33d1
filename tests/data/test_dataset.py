"""What a run reads of a part's files, its loader, and what is said of files and workers that fail."""

from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torchvision import transforms

from common.errors import InputError
from data.organised_clouds import Reading, valid_points
from data.pictures import read_picture
from dataset import TestDataset, TrainDataset, find_categories, get_data_loader
from tests.make_data import add_part, make_category, picture, points, spot, write_png, write_tiff

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RELEASED = transforms.Compose(
    [
        transforms.Resize((224, 224), interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(MEAN.tolist(), STD.tolist()),
    ]
)


def train(root, size=224, min_points=0):
    return TrainDataset("toy", size, root, min_points)


def loader(root, split="train", workers=1, min_points=0):
    args = SimpleNamespace(dataset_path=root, num_workers=workers, min_points=min_points)
    return get_data_loader(split, "toy", 224, args)


def refusal(call, *words):
    with pytest.raises(InputError) as info:
        call()
    text = str(info.value)
    assert len(text.splitlines()) == 1 and [str(word) for word in words if str(word) not in text] == []
    return text


@pytest.mark.parametrize("height, width", [(40, 50), (224, 224), (300, 400), (501, 333)])
def test_picture_as_torchvision_makes_it(tmp_path, height, width):
    add_part(tmp_path, "train/good", rgb=picture(height, width))
    (rgb, _, _), _ = train(tmp_path)[0]
    assert rgb.shape == (3, 224, 224) and rgb.dtype == torch.float32
    torch.testing.assert_close(rgb, RELEASED(Image.fromarray(picture(height, width))), rtol=0, atol=1e-6)


@pytest.mark.parametrize("height, width", [(224, 224), (240, 240), (501, 333), (57, 800)])
@pytest.mark.parametrize("size", [224, 56])
def test_points_resized_to_nearest(tmp_path, height, width, size):
    cloud = points(height, width)
    add_part(tmp_path, "train/good", xyz=cloud)
    (_, xyz, depth), _ = train(tmp_path, size)[0]
    assert xyz.shape == depth.shape == (3, size, size) and xyz.dtype == torch.float32
    planes = torch.tensor(cloud).permute(2, 0, 1)[None]
    assert torch.equal(xyz, torch.nn.functional.interpolate(planes, size=(size, size))[0])
    np.testing.assert_array_equal(depth.numpy(), np.repeat(xyz.numpy()[2:], 3, axis=0))


def test_test_items_in_order_of_folders_and_names(tmp_path):
    for where in ("test/hole", "test/good", "test/cut"):
        for name in ("010", "002"):
            add_part(tmp_path, where, name, gt=spot())
    data = TestDataset("toy", 56, tmp_path)
    wanted = [(defect, name) for defect in ("cut", "good", "hole") for name in ("002", "010")]
    for index, (defect, name) in enumerate(wanted):
        sample, mask, label, path = data[index]
        assert data.describe(index) == (f"toy/test/{defect}/rgb/{name}.png", defect, label)
        assert [tuple(t.shape) for t in sample] == [(3, 224, 224), (3, 56, 56), (3, 56, 56)]
        assert mask.shape == (1, 224, 224) and mask.dtype == torch.float32 and label == (defect != "good")
        assert path == str(tmp_path / "toy/test" / defect / f"rgb/{name}.png")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "test"])
def test_loader_gives_the_items_in_order(tmp_path, split, workers):
    make_category(tmp_path)
    found = loader(tmp_path, split, workers)
    data = (TrainDataset if split == "train" else TestDataset)("toy", 224, tmp_path)
    for batch, item in zip(found, data, strict=True):
        for got, wanted in zip(batch[0], item[0], strict=True):
            assert torch.equal(got, wanted[None])
        if split == "train":
            assert batch[1].tolist() == [item[1]] == [0]
        else:
            assert torch.equal(batch[1], item[1][None])
            assert batch[2].tolist() == [item[2]] and list(batch[3]) == [item[3]]


def test_good_mask_is_empty_whatever_gt_holds(tmp_path):
    make_category(tmp_path)
    write_png(tmp_path / "toy/test/good/gt/000.png", np.full((40, 50), 255, np.uint8))
    write_png(tmp_path / "toy/test/good/gt/extra.png", np.full((40, 50), 255, np.uint8))
    _, mask, label, _ = TestDataset("toy", 224, tmp_path)[0]
    assert mask.shape == (1, 224, 224) and not mask.any() and label == 0


@pytest.mark.parametrize("shape", [(60, 75), (60, 75, 3), (60, 75, 4)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_16_bit_picture_is_scaled_by_its_range(tmp_path, shape, suffix, bits):
    deep = np.random.default_rng(0).integers(0, 2**bits, shape).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, deep, photometric="rgb" if len(shape) > 2 else "minisblack")
    else:
        path.write_bytes(imagecodecs.png_encode(deep))
    wanted = deep[..., :3] / (2**bits - 1) * 255 if len(shape) > 2 else np.dstack([deep / (2**bits - 1) * 255] * 3)
    found = np.asarray(read_picture(path, "RGB", bits)).astype(float)
    assert np.abs(found - wanted).max() <= 0.51
    add_part(tmp_path, "train/good")
    (tmp_path / "toy/train/good/rgb/000.png").unlink()
    path.rename(tmp_path / f"toy/train/good/rgb/000.{suffix}")
    (rgb, _, _), _ = TrainDataset("toy", 224, tmp_path, reading=Reading(picture_bits=bits))[0]
    released = RELEASED(Image.fromarray(np.round(wanted).astype(np.uint8)))
    torch.testing.assert_close(rgb, released, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "kind, content, workers",
    [("rgb", b"no picture", 0), ("rgb", "floats", 0), ("xyz", "no point", 0), ("xyz", b"no tiff", 1)]
    + [("xyz", kept, 0) for kept in (0, 4, 8, 100, 220, 0.5, 0.999)],
)
def test_message_on_a_damaged_file_is_one_line(tmp_path, caplog, kind, content, workers):
    make_category(tmp_path)
    path = next((tmp_path / "toy/train/good" / kind).glob("001*"))
    data = path.read_bytes()
    if content == "no point":
        write_tiff(path, np.zeros((40, 50, 3), np.float32))
    elif content == "floats":
        path = path.rename(path.with_suffix(".tiff"))
        tifffile.imwrite(path, picture()[..., 0].astype(np.float32))
    else:
        whole = isinstance(content, bytes)
        path.write_bytes(content if whole else data[: int(content if content >= 1 else content * len(data))])
    text = refusal(lambda: list(loader(tmp_path, workers=workers, min_points=1)), path)
    assert text.startswith(str(path)) and "Traceback" not in text and caplog.messages == []


@pytest.mark.parametrize("workers", [0, 1])
def test_without_shared_memory_this_process_reads(tmp_path, monkeypatch, caplog, workers):
    """Containers: torch says that a worker got a bus error after the first part; all parts are there all the same."""
    make_category(tmp_path)
    wanted, begin = list(loader(tmp_path, workers=0)), torch.utils.data.DataLoader.__iter__

    def broken(self):
        yield next(begin(self))
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. Workers may be out of it.")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", broken)
    monkeypatch.setattr("dataset.Loader.told", False)
    if not workers:  # no worker is to blame
        with pytest.raises(RuntimeError, match="Bus error"):
            list(loader(tmp_path, workers=0))
        return
    for _ in range(2):
        found = list(loader(tmp_path, workers=1))
        assert len(found) == len(wanted) > 1
        assert all(torch.equal(a, b) for (one, _), (other, _) in zip(found, wanted) for a, b in zip(one, other))
    assert caplog.text.count("--num_workers 0") == 1


# ---------------------------------------------------------------- which categories a run takes


@pytest.fixture
def data(tmp_path):
    """Function: a data set with these categories; returns its folder."""

    def make(*names):
        for name in names:
            make_category(tmp_path, name)
        return tmp_path

    return make


def test_official_names_in_other_spellings(data):
    root = data("Candy Cane", "lollipop", "gummy_bear")
    names, missing = find_categories(root, "eyecandies")
    assert names == ["Candy Cane", "gummy_bear", "lollipop"] and len(missing) == 7
    assert str(root / "Confetto") in missing["Confetto"] and "--category" in missing["Confetto"]


def test_asked_for(data):
    root = data("bagel", "my part")
    for kind in ("folder", "mvtec3d"):
        assert find_categories(root, kind, ["My_Part", "BAGEL/", "my part", "bagel"]) == (["my part", "bagel"], {})


def test_refusals(data, tmp_path):
    refusal(lambda: find_categories(tmp_path, "folder"), tmp_path, "train/good")
    root = data("one", "two", "T-wo")
    refusal(lambda: find_categories(root, "folder", ["one", "three"]), root / "three", "one", "two")
    refusal(lambda: find_categories(root, "folder", ["TWO"]), "two", "T-wo")
    assert find_categories(root, "folder", ["T-wo"]) == (["T-wo"], {})  # the exact name wins
    refusal(lambda: find_categories(root, "folder", ["one/train"]), "one/train", "not a path")


# ---------------------------------------------------------------- how the data sets' files arrive


def test_eyecandies_dropped_points_are_background(tmp_path):
    """The converter's dropped points have x exactly 0 and any y and z; its tiffs are float64."""
    cloud = points(224, 224).astype(np.float64)
    cloud[:100] = (0, 0.03, -0.2)
    add_part(tmp_path, "train/good", xyz=cloud)
    (_, xyz, _), _ = TrainDataset("toy", 224, tmp_path, 1)[0]
    assert valid_points(xyz).tolist() == list(range(100 * 224, 224 * 224))
    cloud[:] = (0, 0.03, -0.2)
    _, path, _ = add_part(tmp_path, "train/good", xyz=cloud)
    refusal(lambda: TrainDataset("toy", 224, tmp_path, 1)[0], path, "no valid point")
