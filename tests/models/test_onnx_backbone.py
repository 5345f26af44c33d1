"""EfficientNet-Lite0 by ONNX Runtime against torch; skipped where a package is missing."""

import dataclasses

import pytest
import torch

import m3dm_runner
from common.errors import InputError
from feature_extractors.extraction import PatchExtractor
from inspection.inspector import Inspector
from models import onnx_backbone
from models.onnx_backbone import TOLERANCE, OnnxBackbone, export_backbone
from models.rgb_backbones import LITE0, RGBBackbone
from models.weights import weight_files
from tests.make_data import picture_of, scan
from tests.make_models import examined, fitted_runner, make_parts, options_for
from tests.models.test_lite0 import needs_package, photographs

pytestmark = needs_package
needs_onnx = pytest.mark.skipif(
    not onnx_backbone.is_installed(onnx_backbone.PACKAGES), reason="requirements-onnx.txt is not installed"
)


@needs_onnx
def test_features_are_those_of_torch():
    torch_one = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None)
    fitted = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None)
    assert fitted.export_rgb()
    onnx_one = PatchExtractor.from_checkpoints("none", rgb=LITE0, xyz=None, rgb_onnx=fitted.rgb_onnx)
    assert torch_one.rgb_runtime.startswith("torch") and onnx_one.rgb_runtime.startswith("ONNX Runtime 1.")
    assert onnx_one.widths == torch_one.widths == {"rgb": 152} and onnx_one.steady
    pictures, extractors = photographs(), (torch_one, fitted, onnx_one)
    with torch.no_grad():
        expected, of_fit, got = (of.deep_feature_extractor.forward_rgb_features(pictures) for of in extractors)
    assert got.shape == (3, 784, 152) and (got - expected).abs().max() < 5e-5 * expected.abs().max()
    assert torch.equal(got, of_fit)
    with pytest.raises(ValueError, match="pictures have to be"):
        OnnxBackbone(onnx_one.rgb_onnx)(pictures[..., :200])


@needs_onnx
def test_a_model_judges_alike_by_either_runtime(tmp_path, monkeypatch):
    root = make_parts(tmp_path, train=3, validation=4)
    asked = options_for(root, "DINO", "--rgb_backbone_name", LITE0, "--scoring", "baseline")
    args = examined(dataclasses.replace(asked, use_uff=False))
    weights = [file._asdict() for file in weight_files(rgb=LITE0)]
    path = fitted_runner(args, m3dm_runner.build_extractor(args), weights)[1]
    by_onnx = Inspector.load(path, device="cpu", false_alarm=0.2)
    monkeypatch.setattr("feature_extractors.extraction.is_installed", lambda *_: False)
    by_torch = Inspector.load(path, device="cpu", false_alarm=0.2)
    assert by_onnx.rgb_runtime.startswith("ONNX Runtime") and by_torch.rgb_runtime.startswith("torch")
    for seed in range(5):
        cloud = scan(seed=seed)
        one, other = (of.judge(picture_of(cloud, seed), cloud) for of in (by_onnx, by_torch))
        assert one.verdict == other.verdict and one.score == pytest.approx(other.score, abs=1e-4)


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
    assert extractor.rgb_runtime.startswith("torch") and not extractor.export_rgb()
    assert isinstance(extractor.deep_feature_extractor.rgb_backbone, RGBBackbone)
