"""Names of categories: the official lists, and folders found by a name that may be spelled a little differently."""
from pathlib import Path

from utils.errors import InputError

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"),
    "eyecandies": ("CandyCane", "ChocolateCookie", "ChocolatePraline", "Confetto", "GummyBear", "HazelnutTruffle", "LicoriceSandwich",
                   "Lollipop", "Marshmallow", "PeppermintCandy"),
    "realiad_d3": ("audio_jack_socket", "common_mode_filter", "connector_housing-female", "crimp_st_cable_mount_box", "dc_power_connector",
                   "ethernet_connector", "ferrite_bead", "fork_crimp_terminal", "fuse_holder", "headphone_jack_socket", "humidity_sensor",
                   "knob-cap", "lattice_block_plug", "lego_pin_connector_plate", "lego_propeller", "limit-switch",
                   "miniature_lifting_motor", "power_jack", "purple-clay-pot", "telephone_spring_switch"),
}


def same_name(text):
    """``text`` in lower case without "-", "_" and blanks: equal for two spellings of one name."""
    return text.lower().translate(str.maketrans("", "", "-_ "))


def find_folder(root, name):
    """The folder of ``root`` called ``name``, exactly or else but for case, "-", "_" and blanks; None where there is none.

    Raises:
        InputError: several folders answer to the name, none exactly.
    """
    root = Path(root)
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    exact = [p for p in folders if p.name == name]  # listed, since a file system that ignores case would find any spelling
    alike = exact or [p for p in folders if same_name(p.name) == same_name(name)]
    if len(alike) > 1:
        raise InputError(f"{root}: {', '.join(p.name for p in alike)} all answer to the category {name}; rename or remove all but one")
    return alike[0] if alike else None
