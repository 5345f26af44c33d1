"""The presets of ``--preset``, named sets of options. A run's id depends on the options, not on the preset's name."""

from typing import Any, NamedTuple

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
    """{option: value} that the preset ``name`` sets instead of main.py's defaults, for a ``method``: the fusion module
    only if it has a fusion bank, and only scorings that its banks and ``map_source`` (--scoring_map) allow."""
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
