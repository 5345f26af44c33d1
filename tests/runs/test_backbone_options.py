"""The flags that choose features: every combination parses to something sensible or is refused in one line."""

import itertools

import pytest

from feature_extractors.settings import FPFH, FPFH_METHODS, METHOD_BANKS, needed_backbones
from runs.options import changed_options, default_of, extractor_options, parse_arguments, recorded_options

RGB = (
    (),
    ("--rgb_backbone_name", "timm:resnet18"),
    ("--rgb_backbone_name", "efficientnet_lite0"),
    ("--rgb_backbone_name", "vit_small_patch8_224_dino"),
)
XYZ = ((), *(("--xyz_backbone_name", name) for name in ("Point_MAE", "Point_Bert", "FPFH")))
MORE = (
    (),
    ("--rgb_layers", "2", "3"),
    ("--rgb_size", "256"),
    ("--fpfh_normal_radius", "0.01"),
    ("--fpfh_feature_radius", "0.02"),
    ("--multiscale",),
    ("--group_size", "64"),
    ("--num_group", "512"),
    ("--rm_zero_for_project",),
    ("--amp",),
    ("--fix", "all"),
)


def parse(capsys, *flags):
    """Options, or None where the flags were refused in one line that names one of them."""
    try:
        return parse_arguments(["--use_uff", *flags])
    except SystemExit as end:
        out, err = capsys.readouterr()
        assert end.code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: error: ")
        assert any(flag in err for flag in flags if flag.startswith("--"))
        return None


@pytest.mark.parametrize("method", METHOD_BANKS)
def test_every_combination_works_or_is_refused(capsys, method):
    needed = needed_backbones(METHOD_BANKS[method])
    accepted = 0
    for rgb, xyz, more in itertools.product(RGB, XYZ, MORE):
        args = parse(capsys, "--method_name", method, *rgb, *xyz, *more)
        named = xyz[1] if xyz else FPFH if method in FPFH_METHODS else "Point_MAE"
        histograms = "xyz" in needed and named == FPFH
        ours = rgb and rgb[1] != "vit_small_patch8_224_dino"
        flag = more[0] if more else ""
        sensible = not (
            (method in FPFH_METHODS and named != FPFH)
            or (flag.startswith("--rgb_") and not (ours and "rgb" in needed))
            or (flag.startswith("--fpfh") and not histograms)
            or (flag in ("--multiscale", "--group_size", "--num_group", "--rm_zero_for_project") and histograms)
        )
        assert (args is not None) == sensible, (method, rgb, xyz, more)
        if args:
            accepted += 1
            options = extractor_options(args)
            assert args.xyz_backbone_name == named and options["xyz"] == (named if "xyz" in needed else None)
            assert options["rgb"] == (args.rgb_backbone_name if "rgb" in needed else None)
            assert args.min_points == (0 if "xyz" not in needed else 100 if histograms else args.num_group)
    assert accepted > 20


@pytest.mark.parametrize(
    "flags, named",
    [
        (("--rgb_backbone_name", "resnet18"), "timm:resnet18"),
        (("--rgb_backbone_name", "timm:"), "timm:"),
        (("--rgb_backbone_name", ""), "timm:NAME"),
        (("--rgb_layers", "0"), "at least 1"),
        (("--rgb_layers", "x"), "whole number"),
        (("--rgb_size", "31"), "from 32"),
        (("--fpfh_normal_radius", "0"), "more than 0"),
        (("--fpfh_feature_radius", "nan"), "nan"),
        (("--save_feature_half",), "--save_feature_half needs --save_feature"),
        (("--save_feature_format", "safetensors"), "--save_feature_format needs --save_feature"),
        (("--save_feature_format", "npy"), "npy"),
        (("--xyz_backbone_name", "fpfh"), "FPFH"),
        (("--method_name", "DINO+FPFH", "--xyz_backbone_name", "Point_Bert"), "--method_name DINO+Point_MAE"),
        (("--method_name", "FPFH", "--save_feature"), "--method_name FPFH has one"),
        (("--method_name", "FPFH", "--scoring", "disagreement"), "--scoring disagreement"),
        (("--method_name", "FPFH", "--save_maps", "m"), "--save_maps"),
        (("--method_name", "DINO+FPFH", "--scoring_map", "bank"), "--scoring_map bank"),
        (("--method_name", "DINO+FPFH", "--memory_bank", "single"), "--memory_bank"),
        (("--method_name", "FPFH", "--memory_bank", "multiple"), "--memory_bank"),
    ],
)
def test_refused_in_one_line(capsys, flags, named):
    with pytest.raises(SystemExit) as end:
        parse_arguments(["--use_uff", *flags])
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and len(err.splitlines()) == 1 and named in err


def test_all_scorings_of_two_banks():
    everything = parse_arguments(["--method_name", "DINO+Point_MAE", "--scoring", "all"]).scoring
    assert parse_arguments(["--method_name", "DINO+FPFH", "--scoring", "all"]).scoring == everything


def test_what_differs_from_the_defaults():
    def changed(*flags):
        return changed_options(recorded_options(parse_arguments(list(flags))))

    assert changed("--method_name", "DINO+FPFH") == {"method_name": "DINO+FPFH"}
    assert changed("--method_name", "FPFH") == {"method_name": "FPFH"}
    assert changed("--method_name", "DINO+Point_MAE", "--xyz_backbone_name", "FPFH", "--fpfh_normal_radius", "0.1") == {
        "method_name": "DINO+Point_MAE",
        "xyz_backbone_name": "FPFH",
        "fpfh_normal_radius": 0.1,
    }
    assert default_of("xyz_backbone_name") == "Point_MAE" and default_of("xyz_backbone_name", "FPFH") == "FPFH"
    assert changed("--method_name", "DINO+FPFH", "--save_feature", "--save_feature_half") == {
        "method_name": "DINO+FPFH"
    }  # how features are written changes no score


def test_options_of_version_0_9_that_are_gone(capsys):
    """Its records say them; those that split the work over devices changed no result."""
    plain = recorded_options(parse_arguments(["--method_name", "DINO"]))
    older = {**plain, "bank_shards": 4, "shard_engine": "ray", "coreset_partitions": None}
    assert changed_options(older) == changed_options(plain)
    assert changed_options({**older, "coreset_partitions": 4})["coreset_partitions"] == 4
    for flag in ("--bank_shards", "--shard_engine", "--coreset_partitions"):
        with pytest.raises(SystemExit):
            parse_arguments([flag, "2"])
        assert capsys.readouterr().err.count("\n") == 1
