"""The presets of ``--preset``: named sets of options. A flag on the command line wins over the preset.

A run's id depends on its options, not on the preset's name: the same options given as flags are the same run.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from common.commands import Parser
from feature_extractors.settings import METHOD_BANKS, REFERENCE
from scoring.scorings import CALIBRATED, available_scorings

RELEASED, PAPER, BEST = "released", "paper", "best"


# the features of --preset best where no method is named: they need no download but one package
BEST_METHOD = {"method_name": "DINO+FPFH", "rgb_backbone_name": "efficientnet_lite0"}


class Preset(NamedTuple):
    """A preset: when to use it, and the options that it changes, {name: value}."""

    use: str
    options: dict[str, Any]


PRESETS = {
    RELEASED: Preset("the released defaults, with their defects: to compare with numbers of the release", {}),
    PAPER: Preset(
        "the setting of Xu et al. (2026): to reproduce its tables",
        {
            "use_uff": True,
            "fusion_module_path": "checkpoints/uff_pretrain.pth",
            "f_coreset": 0.2,
            "num_workers": 4,
            "scoring": ["baseline", "disagreement"],
        },
    ),
    BEST: Preset(
        "eval mode, all defects off, calibrated scoring, each part in its own frame: to inspect parts of your own",
        {
            "use_uff": True,
            "fusion_module_path": "checkpoints/uff_pretrain.pth",
            "fix": ["all"],
            "scoring": [CALIBRATED],
            "frame": "auto",
            "max_rows": 10_000,
            "max_measured": 200,
        },
    ),
}


def preset_defaults(name: str, method: str, map_source: str = "decision") -> dict[str, Any]:
    """The defaults that a preset sets instead of main.py's, for one method.

    Args:
        name: name in PRESETS.
        method: --method_name. The preset uses the fusion module only if the method has a fusion bank, and only scorings
            that the method's banks allow.
        map_source: --scoring_map.

    Returns:
        {option: value}.
    """
    banks = METHOD_BANKS[method]
    values = dict(PRESETS[name].options)
    if "fusion" not in banks:
        values.pop("use_uff", None)
        values.pop("fusion_module_path", None)
    if method != REFERENCE and "xyz" not in banks and "fusion" not in banks:
        values.pop("frame", None)  # a method that reads no clouds; parts are laid into a frame by their clouds
    if "scoring" in values:
        possible = available_scorings(banks, map_source)
        values["scoring"] = [scoring for scoring in values["scoring"] if scoring in possible]
    return values


def add_preset_arguments(group: argparse._ActionsContainer) -> None:
    """Add --preset and --show_options to the parser or group of main.py."""
    group.add_argument(
        "--preset",
        default=RELEASED,
        choices=PRESETS,
        help="options that belong together; a flag given by hand wins. "
        + "; ".join(f"{name}: {preset.use}" for name, preset in PRESETS.items()),
    )
    group.add_argument(
        "--show_options",
        action="store_true",
        help="print all options as a table and end, before anything is read or checked",
    )


def parse_with_preset(
    build_parser: Callable[[], Parser], argv: list[str] | None = None
) -> tuple[Parser, argparse.Namespace, set[str], set[str]]:
    """Parse a command line whose --preset changes the defaults.

    Args:
        build_parser: function without arguments that returns the parser, with those of ``add_preset_arguments`` added.
        argv: words of the command line; None: those of the process.

    Returns:
        (parser, parsed options, names of the options on the command line, names of those that the preset decided).
    """
    parser, probe = build_parser(), build_parser()
    asked = parser.parse_args(argv)
    absent = object()  # default of every option, to see which ones are on the command line
    probe.set_defaults(**dict.fromkeys(vars(asked), absent))
    given = {name for name, value in vars(probe.parse_args(argv)).items() if value is not absent}
    method, chosen = asked.method_name, {}
    if asked.preset == BEST and "method_name" not in given:
        chosen = {name: value for name, value in BEST_METHOD.items() if name not in given}
        method = BEST_METHOD["method_name"]
    values = {**preset_defaults(asked.preset, method, asked.scoring_map), **chosen}
    parser.set_defaults(**values)
    return parser, parser.parse_args(argv), given, set(values) - given


def options_table(args: argparse.Namespace, given: set[str], from_preset: set[str]) -> str:
    """A table of all options, one per line: name, value, and where the value comes from ("" for the default).

    Args:
        args, given, from_preset: what ``parse_with_preset`` returns.
    """
    from tabulate import tabulate

    rows = []
    for name, value in sorted(vars(args).items()):
        if name == "show_options":
            continue
        source = "given" if name in given else f"preset {args.preset}" if name in from_preset else ""
        text = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
        rows.append((f"--{name}", text, source))
    return tabulate(rows, ["option", "value", "from"], tablefmt="simple", disable_numparse=True)
