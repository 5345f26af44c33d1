"""The data sets and their categories: a new data set is one entry here; folders whose spelling differs are found."""

from pathlib import Path

from common.errors import InputError
from data.folders import is_junk_folder
from data.pairing import GOOD

CATEGORIES = {
    "mvtec3d": ("bagel", "cable_gland", "carrot", "cookie", "dowel", "foam", "peach", "potato", "rope", "tire"),
    "eyecandies": tuple(
        "CandyCane ChocolateCookie ChocolatePraline Confetto GummyBear HazelnutTruffle LicoriceSandwich Lollipop "
        "Marshmallow PeppermintCandy".split()
    ),
    "realiad_d3": tuple(
        "audio_jack_socket common_mode_filter connector_housing-female crimp_st_cable_mount_box dc_power_connector "
        "ethernet_connector ferrite_bead fork_crimp_terminal fuse_holder headphone_jack_socket humidity_sensor "
        "knob-cap lattice_block_plug lego_pin_connector_plate lego_propeller limit-switch miniature_lifting_motor "
        "power_jack purple-clay-pot telephone_spring_switch".split()
    ),
}


def same_name(text):
    """``text`` in lower case without "-", "_" and blanks: equal for two spellings of one name."""
    return text.lower().translate(str.maketrans("", "", "-_ "))


def printable(path) -> str:
    """A path with slashes, as text that any file can hold: bytes that are no UTF-8 are written as \\udc80 … \\udcff."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def find_folder(root, name):
    """The folder in ``root`` with this ``name``; else one that differs in case, "-", "_" and blanks; else None.
    Raises InputError: several folders match that way, and none has exactly this name."""
    root = Path(root)
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    # compared as text: a file system that ignores case would accept any spelling
    exact = [p for p in folders if p.name == name]
    alike = exact or [p for p in folders if same_name(p.name) == same_name(name)]
    if len(alike) > 1:
        names = ", ".join(p.name for p in alike)
        raise InputError(f"{root}: {names} all answer to the category {name}; rename or remove all but one")
    return alike[0] if alike else None


def find_categories(dataset_path, dataset_type, asked=None):
    """(names of the folders of the categories ``asked`` for, {name on the official list: why it has no folder}). By
    default those of the official list, or, for the type "folder", all that have ``train/good``.
    Raises InputError: the data set is missing; a category asked for is no plain name, has no folder, or several."""
    root = Path(dataset_path)
    if not root.is_dir():
        mend = "give the folder that holds the data set's categories (main.py: --dataset_path)"
        raise InputError(f"{root}: missing folder: {mend}")
    if (root / "train" / GOOD).is_dir():
        mend = f"give the folder it lies in, and --category {root.resolve().name}"
        raise InputError(f"{root}: is a category itself; {mend}")
    folders, missing = [], {}
    for name in (text.rstrip("/\\") for text in asked or ()):  # shells add a slash when they complete a folder's name
        if Path(name).name != name:
            raise InputError(f"--category {name}: give the name of a folder in {root}, not a path")
        folders.append(find_folder(root, name))
        if folders[-1] is None:
            there = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir())) or "none"
            raise InputError(f"{root / name}: missing folder of the category given with --category; there are: {there}")
    if not asked and dataset_type == "folder":
        found = [good.parents[1] for good in root.glob(f"*/train/{GOOD}") if good.is_dir()]
        folders = sorted(folder for folder in found if not is_junk_folder(folder.name))
        if not folders:
            raise InputError(f"{root}: no category: no folder in it has train/{GOOD} with the normal training parts")
    elif not asked:
        for name in CATEGORIES[dataset_type]:
            try:
                folders.append(find_folder(root, name))
                if folders[-1] is None:
                    missing[name] = f"{root / name}: missing folder; give the categories you have with --category"
            except InputError as error:
                missing[name] = str(error)
    return list(dict.fromkeys(folder.name for folder in folders if folder)), missing
