"""Masks of annotation tools, and pictures of cameras."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from data.pictures import read_defect, read_picture

SPOT = np.zeros((64, 64), bool)
SPOT[20:30, 20:30] = True


def grey(mark, background=0, dtype=np.uint8):
    return np.where(SPOT, mark, background).astype(dtype)


def colour(mark, background=(0, 0, 0)):
    return np.where(SPOT[..., None], mark, background).astype(np.uint8)


def palette(colours, indices=SPOT.astype(np.uint8), transparency=None):
    image = Image.fromarray(indices)
    image.putpalette([value for c in colours for value in c])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


classes = grey(1)
classes[20:23, 20:30], classes[23:25, 20:30] = 2, 3
instances = grey(0)
instances[SPOT] = np.arange(100) % 40 + 1
red_shades = colour((255, 0, 0))
red_shades[20, 20:30, 0] = 200
MASKS = {  # how annotation tools write 100 defective pixels
    "classes 1, 2, 3": classes,
    "forty instances": instances,
    "light grey": grey(200),
    "blue": colour((0, 0, 9)),
    "shades of red": red_shades,
    "palette, black last": palette([(128, 0, 0), (0, 0, 0)], 1 - SPOT.astype(np.uint8)),
    "palette on white": palette([(255, 255, 255), (200, 0, 0)]),
    "palette transparent": palette([(255, 0, 0), (255, 255, 255)], transparency=0),
    "red on white": colour((255, 0, 0), (255, 255, 255)),
    "red on grey": colour((255, 0, 0), (90, 90, 90)),
    "nothing is opaque": np.dstack([grey(255)] * 3 + [np.zeros((64, 64), np.uint8)]),
    "16 bits, 4095": grey(4095, dtype=np.uint16),
}


@pytest.mark.parametrize("name", MASKS)
def test_what_is_no_background_is_defect(tmp_path, name):
    mask = MASKS[name]
    (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_defect(tmp_path / "mask.png"), SPOT)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535)])
def test_a_ramp_counts_from_above_half(tmp_path, dtype, top):
    ramp = np.linspace(0, top, 64 * 64).reshape(64, 64).astype(dtype)
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_defect(tmp_path / "mask.png"), ramp > top / 2)


def test_empty_masks_stay_empty(tmp_path):
    noisy = np.random.default_rng(0).integers(0, 4, (64, 64)).astype(np.uint8)
    for name, content in (("a.png", grey(0)), ("b.png", colour((0, 0, 0))), ("c.jpg", noisy)):
        Image.fromarray(content).save(tmp_path / name)
        assert not read_defect(tmp_path / name).any()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L"])
def test_jpeg_of_any_mode(tmp_path, mode):
    smooth = np.mgrid[:64, :64].sum(0).astype(np.uint8)
    image = Image.fromarray(np.dstack([smooth, 255 - smooth, smooth // 2])).convert(mode)
    image.save(tmp_path / "a.jpg", quality=95)
    wanted = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(np.asarray(read_picture(tmp_path / "a.jpg", "RGB")).astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("content", [b"", b"no picture", imagecodecs.png_encode(np.ones((60, 60, 3), np.uint16))[:60]])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="a.png"):
        read_picture(tmp_path / "a.png", "RGB")
