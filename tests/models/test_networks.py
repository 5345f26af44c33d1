"""The networks at once against their plain form, group sizes, and weights cast for mixed precision."""

import copy

import pytest
import timm
import torch

import reference_m3dm
from dataset import get_data_loader
from feature_extractors.extraction import PatchExtractor
from m3dm_runner import build_method
from models.feature_fusion import FeatureFusionBlock
from models.models import PointTransformer, cast_once


@pytest.mark.parametrize("count", [20, 40, 200])
def test_multiscale_is_the_mean_of_two_group_sizes(count):
    """Of 20 and of 40 points too, which are fewer than the larger groups have and --num_group are."""
    torch.manual_seed(0)
    networks = torch.nn.Module()
    networks.rgb_backbone, networks.xyz_backbone = None, PointTransformer(24, 8, encoder_dims=256)
    xyz = torch.zeros(1, 3, 32, 32)
    xyz.flatten(2)[..., 300 : 300 + count] = torch.randn(1, 3, count) + 3

    def at(*sizes):
        return PatchExtractor(networks, group_sizes=sizes).eval().extract((None, xyz))["xyz"]

    torch.testing.assert_close(at(24, 48), (at(24) + at(48)) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [["--eval_mode"], []])
def test_extraction_equals_the_plain_form(arguments, extractor, mode):
    """Every shortcut of the extraction at once, at the released sizes."""
    args = arguments(*mode)
    method = build_method(args, extractor)
    sample = next(iter(get_data_loader("train", "cookie", args.img_size, args)))[0]
    patches = []
    for extract in (method.extract, lambda sample: reference_m3dm.extract(method, sample)):
        torch.manual_seed(0)  # stochastic depth
        patches.append(extract(sample))
    for name, expected in patches[1].items():
        assert (patches[0][name] - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("train", [False, True])
def test_weights_cast_once_change_nothing_under_autocast(train):
    torch.manual_seed(0)
    networks = [
        timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0),
        PointTransformer(16, 32, encoder_dims=256),
        FeatureFusionBlock(48, 24),
    ]
    picture, points, patches = torch.randn(1, 3, 32, 32), torch.randn(200, 3), torch.randn(50, 48)

    def run(vit, transformer, fusion):
        torch.manual_seed(0)  # stochastic depth
        with torch.no_grad(), torch.autocast("cpu"):
            return [
                vit.train(train).forward_features(picture),
                transformer.train(train)(points)[0],
                fusion.xyz_branch(patches),
                fusion.rgb_branch(patches[:, :24]),
            ]

    expected, cast = run(*networks), [cast_once(copy.deepcopy(network), "cpu") for network in networks]
    assert all(torch.equal(a, b) for a, b in zip(expected, run(*cast)))
    assert cast[0].blocks[0].mlp.fc1.weight.dtype == torch.bfloat16
