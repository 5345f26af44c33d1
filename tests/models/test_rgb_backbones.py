"""RGB backbones from timm against timm's own calls; no weights are downloaded: random ones stand in files where a
download would be."""

import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F

from common.errors import InputError
from models.rgb_backbones import GRID, IMAGENET_MEAN, IMAGENET_STD, RGB_BACKBONES, RGBBackbone, build_rgb_backbone
from models.timm_models import weights_path

SMALL_GRID, SMALL_PYRAMID = "vit_tiny_patch16_224", "resnet18"
FULL = {SMALL_GRID: "vit_tiny_patch16_224.augreg_in21k_ft_in1k", SMALL_PYRAMID: "resnet18.a1_in1k"}


def write_weights(folder, name, file, **options):
    """A random model ``name``, written to ``folder/file``."""
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    folder.mkdir(exist_ok=True)
    if file.endswith(".safetensors"):
        state = {key: value.contiguous() for key, value in model.state_dict().items()}
        safetensors.torch.save_file(state, folder / file)
    else:
        torch.save(model.state_dict(), folder / file)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with weights of a patch grid and of a pyramid."""
    folder = tmp_path_factory.mktemp("weights")
    for name, full in FULL.items():
        write_weights(folder, name, f"{full}.safetensors")
    return folder


@pytest.fixture
def picture():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1


def as_patches(level):
    return level.flatten(2).transpose(1, 2)


def test_a_patch_grid_is_the_models_last_tokens_resampled(folder, picture):
    backbone = build_rgb_backbone(f"timm:{SMALL_GRID}", folder)
    model = timm.create_model(SMALL_GRID).eval()
    model.load_state_dict(safetensors.torch.load_file(folder / f"{FULL[SMALL_GRID]}.safetensors"))
    with torch.no_grad():
        raw = picture * torch.tensor(IMAGENET_STD)[:, None, None] + torch.tensor(IMAGENET_MEAN)[:, None, None]
        tokens = model.forward_features((raw - 0.5) / 0.5)[:, 1:]  # this model's own normalisation
        expected = as_patches(F.interpolate(tokens.transpose(1, 2).reshape(2, 192, 14, 14), (28, 28), mode="bilinear"))
        got = backbone(picture)
    assert got.shape == (2, GRID * GRID, 192) and backbone.embed_dim == 192
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    finer = build_rgb_backbone(f"timm:{SMALL_GRID}", folder, size=448)
    with torch.no_grad():
        (level,) = finer._levels(torch.zeros(1, 3, 448, 448))
    assert level.shape == (1, 192, 28, 28)  # not resampled
    with pytest.raises(ValueError, match="448"):
        finer(picture)


def test_a_pyramid_gives_strides_8_and_16(folder, picture):
    backbone = build_rgb_backbone(f"timm:{SMALL_PYRAMID}", folder)
    model = timm.create_model(SMALL_PYRAMID, features_only=True, out_indices=(2, 3)).eval()
    state = safetensors.torch.load_file(folder / f"{FULL[SMALL_PYRAMID]}.safetensors")
    model.load_state_dict({key: value for key, value in state.items() if not key.startswith(("fc.", "layer4."))})
    with torch.no_grad():
        fine, coarse = (
            F.layer_norm(level.permute(0, 2, 3, 1), level.shape[1:2]).permute(0, 3, 1, 2) for level in model(picture)
        )
        expected = torch.cat([as_patches(fine), as_patches(F.interpolate(coarse, (28, 28), mode="bilinear"))], dim=2)
        torch.testing.assert_close(backbone(picture), expected, rtol=1e-4, atol=1e-4)
    assert backbone.embed_dim == 384


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_families(name):
    """Registers and other prefix tokens are no patches; each family gives what its feature list says."""
    try:
        model = timm.create_model(name, img_size=224)
    except TypeError:
        model = timm.create_model(name)
    backbone = RGBBackbone(model, f"timm:{name}")
    assert backbone.is_grid == name.startswith("vit")
    widths = [model.feature_info[index]["num_chs"] for index in backbone.indices]
    with torch.no_grad():
        patches = backbone(torch.randn(1, 3, 224, 224))
    assert patches.shape == (1, 784, sum(widths)) and patches.std() > 0.1


def test_finer_levels_are_averaged_not_skipped(folder):
    """Stride 2 gives 112×112: every position has to reach the patches."""
    backbone = build_rgb_backbone(f"timm:{SMALL_PYRAMID}", folder)
    level = torch.zeros(1, 64, 112, 112)
    backbone._levels = lambda rgb: [level]
    plain = backbone(torch.zeros(1, 3, 224, 224))
    level = torch.randn(1, 64, 112, 112, generator=torch.Generator().manual_seed(0)).requires_grad_()
    backbone(torch.zeros(1, 3, 224, 224)).square().sum().backward()
    assert (level.grad.abs().sum(1) > 0).all() and not plain.any()


@pytest.mark.parametrize("file", [f"{FULL[SMALL_PYRAMID]}.pth", f"{SMALL_PYRAMID}.safetensors", f"{SMALL_PYRAMID}.bin"])
def test_local_files_under_each_name(tmp_path, file):
    written = write_weights(tmp_path, SMALL_PYRAMID, file)
    loaded = build_rgb_backbone(f"timm:{SMALL_PYRAMID}", tmp_path)
    assert torch.equal(loaded.model.conv1.weight, written.conv1.weight)
    assert weights_path(SMALL_PYRAMID, tmp_path) == tmp_path / file


def test_timms_download_is_found_in_its_cache(tmp_path, monkeypatch):
    """The cache of a download that was made earlier, laid out as huggingface_hub does it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / f"models--timm--{FULL[SMALL_PYRAMID]}"
    commit = "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    (model / "snapshots").mkdir()
    written = write_weights(model / "snapshots" / commit, SMALL_PYRAMID, "model.safetensors")
    file = model / "snapshots" / commit / "model.safetensors"
    assert weights_path(SMALL_PYRAMID, tmp_path / "none") == file
    backbone = build_rgb_backbone(f"timm:{SMALL_PYRAMID}", tmp_path / "none")
    assert torch.equal(backbone.model.conv1.weight, written.conv1.weight)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("timm:resnet18x", {}, "has no model resnet18x; did you mean resnet18"),
        ("timm:resnet18.nope", {}, "has no weights 'nope' in timm .*a1_in1k"),
        (f"timm:{SMALL_GRID}", {"size": 230}, "--rgb_size 230: .*224 or 240; 448 gives 28×28"),
    ],
)
def test_what_cannot_work_is_refused(folder, name, options, message):
    with pytest.raises(InputError, match=message) as refusal:
        build_rgb_backbone(name, folder, **options)
    assert "\n" not in str(refusal.value)


def test_no_weights_anywhere_names_file_and_source(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = r"resnet18.a1_in1k.safetensors: missing, .* failed .*huggingface.co/timm/resnet18.a1_in1k"
    assert weights_path("resnet18", tmp_path) is None
    with pytest.raises(InputError, match=message):
        build_rgb_backbone("timm:resnet18", tmp_path)


@pytest.mark.parametrize("damage", ["lacking", "other", "text", "pickle"])
def test_weights_that_do_not_fit_are_refused(tmp_path, damage):
    file = tmp_path / (f"{SMALL_PYRAMID}.pth" if damage == "pickle" else f"{SMALL_PYRAMID}.safetensors")
    state = timm.create_model("resnet26" if damage == "other" else SMALL_PYRAMID).state_dict()
    if damage == "lacking":
        del state["layer3.0.conv1.weight"]
    if damage == "text":
        file.write_text("no weights")
    elif damage == "pickle":
        torch.save({"fc.weight": InputError("not a tensor")}, file)
    else:
        safetensors.torch.save_file(state, file)
    with pytest.raises(InputError, match=f"{file.name}: does not fit timm's resnet18.a1_in1k") as refusal:
        build_rgb_backbone(f"timm:{SMALL_PYRAMID}", tmp_path)
    assert "\n" not in str(refusal.value)


def test_models_without_spatial_features_are_refused():
    class Flat(torch.nn.Module):
        pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        feature_info = [{"num_chs": 8, "reduction": 32}]

        def forward_intermediates(self, x, **_):
            return [x.mean((2, 3))]

    class NoFeatures(torch.nn.Module):
        pretrained_cfg = Flat.pretrained_cfg

    for model in (Flat(), NoFeatures()):
        with pytest.raises(InputError, match="--rgb_backbone_name timm:x: the model gives no spatial features"):
            RGBBackbone(model, "timm:x")


def test_the_released_names_exist_in_timm():
    for name, _ in RGB_BACKBONES.values():
        assert timm.is_model(name.split(".")[0]) and name in timm.list_pretrained()
