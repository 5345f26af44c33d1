"""All flags of main.py with their defaults and meanings; one function per group of --help.

The module imports nothing heavy, so --help and a mistyped flag are answered at once.
"""

import argparse

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, add_switches, add_threads, add_values
from data.names import CATEGORIES
from data.units import unit
from feature_extractors.settings import METHOD_BANKS
from runs.backbone_options import add_backbone_arguments
from runs.help_tables import fix_table, scoring_table
from runs.presets import add_preset_arguments
from scoring.scorings import add_scoring_arguments

MOST = 2**31 - 1
WHOLE, SEED = number(int, 1, MOST), number(int, 0, 2**32 - 1)  # numpy takes seeds of 32 bits
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


# what --help shows; --help_all shows the rest too
COMMON = (
    *("help", "quiet", "preset", "method_name", "rgb_backbone_name", "use_uff", "fusion_module_path", "checkpoint_dir"),
    *("dataset_type", "dataset_path", "category", "shots", "f_coreset", "scoring", "fix", "device", "seed", "seeds"),
    *("output_dir", "save_preds", "save_maps", "save_model", "calibration", "frame"),
)
EXAMPLES = """Examples:
  main.py --preset best --dataset_type folder --dataset_path MY_PARTS --save_model fitted -o results
  main.py --preset paper --dataset_path datasets/mvtec3d --category bagel rope -o results"""


class _ShortHelp(argparse.Action):
    """Prints the help of the flags in COMMON, and ends."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        for action in parser._actions:
            if action.dest not in COMMON:
                action.help = argparse.SUPPRESS
        for group in parser._action_groups:
            if all(action.help == argparse.SUPPRESS for action in group._group_actions):
                group.description = None  # else its title would stand there alone
        parser.epilog = EXAMPLES
        parser.print_help()
        parser.exit()


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
    add_preset_arguments(parser)
    _add_method(parser)
    _add_data(parser)
    _add_banks(parser)
    _add_scoring(parser)
    _add_fixes(parser)
    _add_run(parser)
    return parser


def _calibration(text: str) -> str | float:
    """argparse type of --calibration: "validation", "none", or a share of the training parts."""
    from data.calibration_parts import calibration_choice

    try:
        return calibration_choice(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: has to be validation, none, or a share of the training parts as 0.2"
        ) from None


def _add_method(parser: Parser) -> None:
    group = parser.add_argument_group("method", "which features and banks")
    group.add_argument(
        "--method_name",
        default="DINO+Point_MAE+Fusion",
        choices=METHOD_BANKS,
        metavar="NAME",
        help="one of: " + ", ".join(METHOD_BANKS),
    )
    group.add_argument(
        "--memory_bank",
        choices=("multiple", "single"),
        default=argparse.SUPPRESS,
        help="multiple: several banks and a late-fusion pass; single: one bank "
        "(default: multiple; single for the one-bank methods)",
    )
    add_backbone_arguments(group)
    add_switches(group, ("use_uff", "load and use the UFF fusion module; fusion methods need it"))
    add_values(
        group,
        ("fusion_module_path", str, "checkpoints/checkpoint-0.pth", "FILE", "UFF checkpoint"),
        ("checkpoint_dir", str, "checkpoints", "DIR", "folder of the backbones' checkpoints"),
        ("group_size", WHOLE, 128, "N", "points per group"),
        ("num_group", number(int, 3, MOST), 1024, "N", "groups per part"),
    )
    group.add_argument(
        "--multiscale",
        action="store_true",
        help="average of point features of two group sizes, --group_size and twice it; our reading of "
        "the paper's multiscale row, which it does not define",
    )


def _add_data(parser: Parser) -> None:
    group = parser.add_argument_group("data", "what is read")
    group.add_argument(
        "--dataset_type",
        default="mvtec3d",
        choices=(*CATEGORIES, "folder"),
        metavar="NAME",
        help=f"{', '.join(CATEGORIES)}: the official list of categories, all of which must be there (the "
        "paper ran realiad_d3 with --category fork_crimp_terminal knob-cap limit-switch); folder: your own data, "
        "every folder that has train/good",
    )
    add_values(group, ("dataset_path", str, "datasets/mvtec3d", "DIR", "folder of the categories"))
    group.add_argument(
        "--category",
        nargs="+",
        metavar="NAME",
        help="only these; also folders not on the official list (default: the whole list). "
        "Case, '-', '_' and blanks of a name do not matter; tables and file names show the folder's own",
    )
    side = "side that point clouds are resized to; also of the fusion methods' maps"
    add_values(group, ("img_size", number(int, 56, MOST), 224, "N", side))
    group.add_argument(
        "--frame",
        default="none",
        choices=("none", "part", "aligned", "auto"),
        help="lay the part into a frame of its own, at constant millimetres per pixel, and compare it there with "
        "normal parts place by place. part: as it lies; aligned: turned and shifted into one pose; auto: aligned where "
        "the training parts show that it pays; none: the whole view, as released",
    )
    group.add_argument(
        "--ignore",
        metavar="MASK.png",
        help="places of the part that are not judged, such as a date code: painted white on a copy of NAME_frame.png, "
        "which --save_model writes beside the model",
    )
    used = "training parts used (one more, as released; see --fix max_sample)"
    add_values(group, ("max_sample", WHOLE, 400, "N", used))
    group.add_argument(
        "--shots",
        type=WHOLE,
        metavar="K",
        help="few-shot: exactly K training parts, chosen by --seed and the category's name; run.json lists them. A "
        "smaller K chooses some of a larger K's parts. Not with --max_sample",
    )
    group.add_argument(
        "--unit",
        type=unit,
        metavar="UNIT",
        help="unit of the point clouds' coordinates: m, cm, mm, um, or the metres of one count, such as 0.0001 "
        "(default: metres; clouds that do not look like metres are refused. m: they are metres, whatever they look "
        "like)",
    )
    unchecked = "do not examine the files before the run; a faulty file then shows when its turn comes"
    add_switches(group, ("no_check", unchecked))
    group.add_argument(
        "--num_workers",
        type=number(int, 0, MOST),
        metavar="N",
        help="processes that load data (default: 1, as released; on a CUDA device 4, or as many as there are cores)",
    )


def _add_banks(parser: Parser) -> None:
    group = parser.add_argument_group("memory bank and late fusion")
    share = number(float, 0, 1, True)
    rows = "most rows of a bank, whatever their share: beyond some thousands, more cost time and gain nothing"
    memory = "memory in which a coreset is picked: chunk by chunk if all rows need more, with slightly other picks"
    measured = (
        "most training parts that are measured against the banks for the late fusion and for calibrated, spread evenly "
        "from the first to the last (default: all, as released)"
    )
    add_values(
        group,
        ("coreset_eps", number(float, 0, 0.999, True), 0.9, "E", "distortion of the random projection"),
        ("f_coreset", share, 0.1, "F", "kept fraction of the rows; the paper's runs use 0.2"),
        ("max_rows", number(int, 3, MOST), None, "N", rows),
        ("max_memory", number(float, 0, open_low=True), None, "GIB", memory),
        ("max_measured", number(int, 2, MOST), None, "N", measured),
        (
            "asy_memory_bank",
            WHOLE,
            None,
            "N",
            "at most N parts in the xyz and fusion banks of the methods with several",
        ),
    )
    drawn = "seed of the random projection (default: numpy's generator, seeded by --seed)"
    add_values(
        group,
        ("random_state", SEED, None, "N", drawn),
        ("ocsvm_nu", share, 0.5, "NU", "of the late fusion's one-class SVMs"),
        ("ocsvm_maxiter", WHOLE, 1000, "N", "of the late fusion's one-class SVMs"),
    )
    add_switches(group, ("rm_zero_for_project", "Point_MAE method: drop all rows that hold a zero"))
    for bank, value in (("xyz", 1.0), ("rgb", 0.1), ("fusion", 1.0)):
        add_values(
            group,
            (f"{bank}_s_lambda", number(), value, "X", f"late-fusion scale of the {bank} score"),
            (f"{bank}_smap_lambda", number(), value, "X", f"late-fusion scale of the {bank} map"),
        )


def _add_scoring(parser: Parser) -> None:
    group = parser.add_argument_group(
        "scoring",
        "the add-on of Xu et al. (Appl. Sci. 2026); defaults are the paper's. Not the paper's but ours: "
        "the scoring calibrated",
    )
    add_scoring_arguments(group)


def _add_fixes(parser: Parser) -> None:
    group = parser.add_argument_group("defects of the release", "kept by default, so that its numbers are reproduced")
    group.add_argument(
        "--fix",
        nargs="+",
        choices=[*FIXES, "all"],
        default=[],
        metavar="NAME",
        help="switch these defects off: " + ", ".join(FIXES) + "; or all; --help_all describes them",
    )
    add_switches(group, ("eval_mode", "short for --fix eval_mode"))


def _add_run(parser: Parser) -> None:
    group = parser.add_argument_group("run and output")
    add_device(group)
    add_threads(group)
    add_values(group, ("seed", SEED, 0, "N", "of numpy, random and torch, set anew for each category"))
    group.add_argument(
        "--seeds",
        type=SEED,
        nargs="+",
        metavar="N",
        help="repeat the run for each seed under <output_dir>/seed_<n>; adds a table of mean ± standard deviation",
    )
    group.add_argument(
        "-o",
        "--output",
        "--output_dir",
        dest="output_dir",
        default="results",
        metavar="DIR",
        help="tables, scores, run.json, pictures",
    )
    anew = "compute everything anew, also what an earlier run of the same command has finished"
    add_switches(group, ("overwrite", anew))
    group.add_argument(
        "--spool_dir",
        metavar="DIR",
        help="training rows wait here for the coreset if they take more than 2 GiB (about 50 parts of the full "
        "setting, 41 MB each). The file has no name and is gone when the run ends, however it ends (default: "
        "--output_dir)",
    )
    group.add_argument(
        "--amp",
        action="store_true",
        help="mixed precision in the networks (float16 on a GPU, bfloat16 on the CPU): faster where the "
        "hardware has it, features differ by about a per cent",
    )
    add_switches(group, ("save_preds", "write a picture of each test part to <output_dir>/pred_maps"))
    group.add_argument(
        "--save_maps",
        metavar="DIR",
        help="write each category's maps and scores to DIR, for tools/rescore.py and tools/report.py; "
        "about 0.8 MB per test part",
    )
    group.add_argument(
        "--save_train_maps",
        action="store_true",
        help="with --save_maps: also write the training parts' maps, not only their statistics; each part is "
        "measured without its own rows (implied by --scoring_reference train); about 0.7 MB per training part",
    )
    group.add_argument(
        "--save_model",
        nargs="?",
        const="fitted",
        metavar="DIR",
        help="write DIR/<category>.m3dm after each fit, for tools/predict.py; needs --eval_mode (without DIR: fitted)",
    )
    untested = "with --save_model: end with the model and test nothing; no test split is needed"
    add_switches(group, ("fit_only", untested))
    group.add_argument(
        "--model_precision",
        choices=("full", "half"),
        default="full",
        help="half: saved banks as float16, half as large; scores differ a little, and calibration knows it",
    )
    group.add_argument(
        "--calibration",
        type=_calibration,
        metavar="WHAT",
        help="which normal parts, kept out of the banks, the verdict's false-alarm rate rests on. validation: the "
        "good parts of that split; a number such as 0.2: this share of the training parts, drawn by --seed; none: "
        "the rate is an estimate without guarantee (default: validation where the category has it, else none)",
    )
    given = "calibrate with the parts below DIR/<category>, or below DIR where that is not there"
    add_values(group, ("calibration_dir", str, None, "DIR", given))
    add_switches(
        group,
        ("strict", "with --save_model: write no model if a training or calibration part scores far from the others"),
        ("save_feature", "write the training parts' patches for UFF training"),
    )
    add_values(group, ("save_feature_path", str, "datasets/patch_lib", "DIR", "folder for --save_feature"))
