"""EfficientNet-Lite0 by ONNX Runtime against torch; skipped where a package is missing."""

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import InputError
from feature_extractors.extraction import PatchExtractor
from feature_extractors.memory_bank import MemoryBank
from models import onnx_backbone
from models.lite0 import fold_batch_norms, load_lite0
from models.onnx_backbone import TOLERANCE, OnnxBackbone, export_backbone
from models.rgb_backbones import LITE0, RGBBackbone
from tests.models.test_lite0 import needs_package, photographs

pytestmark = needs_package
needs_onnx = pytest.mark.skipif(
    not onnx_backbone.is_installed(onnx_backbone.PACKAGES), reason="requirements-onnx.txt is not installed"
)


def sample(number, stained=False):
    """A sample as a loader gives it, with its picture alone: drawn by ``number``."""
    rng = np.random.default_rng(number)
    rgb = np.array(Image.fromarray(rng.integers(60, 200, (14, 14, 3), np.uint8)).resize((224, 224)))
    rgb[80:120, 100:150] //= 4 if stained else 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (((torch.from_numpy(rgb) / 255 - mean) / std).permute(2, 0, 1)[None], torch.zeros(1, 3, 224, 224))


def test_folded_batch_norms_change_nothing_but_rounding():
    plain, folded = load_lite0()[0], fold_batch_norms(load_lite0()[0])
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    pictures = (photographs() - 0.5) / 0.5
    with torch.no_grad():
        levels = [model.forward_intermediates(pictures, intermediates_only=True) for model in (plain, folded)]
        torch.testing.assert_close(folded(pictures), plain(pictures), rtol=1e-3, atol=1e-4)
    for before, after in zip(*levels):
        assert (after - before).abs().max() < 1e-5 * before.abs().max()


@needs_onnx
def test_features_and_scores_are_those_of_torch():
    torch_one = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None)
    fitted = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None)
    data = fitted.export_rgb()
    onnx_one = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None, rgb_onnx=data)
    assert torch_one.rgb_runtime.startswith("torch") and onnx_one.rgb_runtime.startswith("ONNX Runtime 1.")
    assert onnx_one.widths == torch_one.widths == {"rgb": 152} and onnx_one.steady and onnx_one.export_rgb() is None
    scores = {}
    for name, extractor in {"torch": torch_one, "fitted": fitted, "onnx": onnx_one}.items():
        bank = MemoryBank()
        for number in range(3):
            bank.add(extractor.extract(sample(number))["rgb"], number)
        bank.gather()
        bank.finish("cpu")
        parts = [sample(7), sample(8), sample(7, True), sample(8, True)]
        scores[name] = torch.stack([bank.measure(extractor.extract(part)["rgb"]).score for part in parts])
    assert torch.equal(scores["fitted"], scores["onnx"])
    assert (scores["onnx"] - scores["torch"]).abs().max() < 1e-4
    assert torch.equal(scores["onnx"].argsort(), scores["torch"].argsort())
    pictures = photographs()
    with torch.no_grad():
        expected, got = (e.deep_feature_extractor.forward_rgb_features(pictures) for e in (torch_one, onnx_one))
    assert got.shape == (3, 784, 152) and (got - expected).abs().max() < 5e-5 * expected.abs().max()
    with pytest.raises(ValueError, match="pictures have to be"):
        OnnxBackbone(data)(pictures[..., :200])


@needs_onnx
def test_an_export_that_differs_is_refused(monkeypatch):
    backbone = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None).deep_feature_extractor.rgb_backbone
    right = OnnxBackbone.forward
    monkeypatch.setattr(OnnxBackbone, "forward", lambda self, rgb: right(self, rgb) * (1 + 20 * TOLERANCE))
    with pytest.raises(InputError, match="other features"):
        export_backbone(backbone)


@needs_onnx
def test_damaged_bytes_are_refused():
    with pytest.raises(InputError, match="cannot be read .*fit the model again"):
        OnnxBackbone(b"no model")


def test_without_the_runtime_torch_runs(monkeypatch):
    monkeypatch.setattr("feature_extractors.extraction.is_installed", lambda *names: False)
    extractor = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None, rgb_onnx=b"not looked at")
    assert extractor.rgb_runtime.startswith("torch") and extractor.export_rgb() is None
    assert isinstance(extractor.deep_feature_extractor.rgb_backbone, RGBBackbone)
    monkeypatch.setattr(onnx_backbone, "is_installed", lambda *names: False)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        OnnxBackbone(b"")
