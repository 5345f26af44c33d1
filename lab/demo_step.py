"""Shared by the demo's steps: the Step itself, and the flags of the full setting."""

from collections.abc import Callable
from typing import NamedTuple

from lab.standin_checkpoints import RECIPES


class Step(NamedTuple):
    """A part of the demo.

    Attributes:
        title: what it shows, printed before it.
        commands: function of the demo's folder that returns the commands. Each is a list of words, program first.
        closing: function of the demo's folder that returns the text to print after all commands succeeded.
    """

    title: str
    commands: Callable
    closing: Callable = "".format


def full_setting(out):
    """Words of main.py's command line for the released full setting, with the stand-in weights under ``out``."""
    checkpoints = out / "checkpoints"
    return [
        "main.py",
        "--method_name",
        "DINO+Point_MAE+Fusion",
        "--use_uff",
        "--memory_bank",
        "multiple",
        "--rgb_backbone_name",
        "vit_base_patch8_224_dino",
        "--xyz_backbone_name",
        "Point_MAE",
        "--fusion_module_path",
        checkpoints / RECIPES["uff"].file,
        "--checkpoint_dir",
        checkpoints,
        "--scoring",
        "disagreement",
    ]
