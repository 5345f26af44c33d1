"""The networks against plain layers, and the key names and random numbers of the release."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F

import reference_m3dm
from dataset import get_data_loader
from feature_extractors.extraction import PatchExtractor, to_xyz_grid
from m3dm_runner import build_method
from models.feature_fusion import FeatureFusionBlock
from models.models import PointNetEncoder, PointTransformer, cast_once


def random_encoder(out_dim):
    torch.manual_seed(0)
    encoder = PointNetEncoder(out_dim)
    for norm in (encoder.first_conv[1], encoder.second_conv[1]):
        for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.1)):
            getattr(norm, name).data.uniform_(low, low + 1)
    return encoder


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("out_dim", [384, 256])
def test_mini_pointnet_equals_its_layers(training, out_dim):
    encoder = random_encoder(out_dim).train(training)
    groups = torch.randn(70, 64, 3)
    with torch.no_grad():
        ours = encoder(groups)
        f = encoder.first_conv(groups.transpose(1, 2))
        joined = torch.cat([f.amax(2, keepdim=True).expand_as(f), f], dim=1)
        reference_m3dm = encoder.second_conv(joined).amax(2)
    torch.testing.assert_close(ours, reference_m3dm, rtol=1e-4, atol=1e-4 * reference_m3dm.abs().max().item())


def test_fusion_draws_its_weights_in_the_released_order():
    torch.manual_seed(0)
    uff = FeatureFusionBlock(12, 8)
    torch.manual_seed(0)
    sizes = {
        "xyz_mlp.fc1": (12, 48),
        "xyz_mlp.fc2": (48, 12),
        "rgb_mlp.fc1": (8, 32),
        "rgb_mlp.fc2": (32, 8),
        "rgb_head": (8, 256),
        "xyz_head": (12, 256),
    }
    for name, (inputs, outputs) in sizes.items():
        layer = torch.nn.Linear(inputs, outputs)
        assert torch.equal(uff.state_dict()[f"{name}.weight"], layer.weight)
        assert torch.equal(uff.state_dict()[f"{name}.bias"], layer.bias)


def test_rgb_patches_repeat_as_adaptive_pooling_does():
    patches = torch.randn(784, 5)
    pooled = F.adaptive_avg_pool2d(patches.T.reshape(1, 5, 28, 28), 56)[0].reshape(5, -1).T
    torch.testing.assert_close(to_xyz_grid(patches), pooled)


@pytest.mark.slow
def test_multiscale_is_the_mean_of_two_group_sizes(arguments, full_method, passes):
    sample = passes["train"][0][0]

    def at(*sizes):
        return (
            PatchExtractor(full_method.deep_feature_extractor, group_sizes=sizes).eval().extract(sample, ["xyz"])["xyz"]
        )

    torch.testing.assert_close(at(32, 64), (at(32) + at(64)) / 2)


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
