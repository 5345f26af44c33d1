"""The command line: every flag, its default and meaning, and which combinations make no sense.

Imports nothing heavy, so that --help and a mistyped flag answer at once.
"""

import argparse
from functools import lru_cache

import scoring_addon
from feature_extractors.settings import METHOD_BANKS, TRAIN_MODE, Fixes, needed_backbones
from utils.argument_types import calibration, number
from utils.backbone_options import RADII, RGB_DETAILS, add_backbone_arguments, default_xyz_backbone, settle_backbones
from utils.commands import HelpFormatter, Parser, add_device, add_workers, available_cores  # noqa: F401 (the tools take them from here)
from utils.help_tables import fix_table, scoring_table, shorten_scoring
from utils.names import CATEGORIES
from utils.presets import add_preset_arguments, options_table, parse_with_preset
from utils.scorings import CALIBRATED, add_scoring_arguments, available_scorings, needs_training_parts, scoring_problem

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


def build_parser():
    """The argument parser of main.py."""
    parser = Parser(
        prog="main.py",
        formatter_class=HelpFormatter,
        description="M3DM, RGB-3D industrial anomaly detection, with the scoring add-on (--scoring disagreement). "
        "Every category is fitted and evaluated in turn; three result tables come at the end. "
        "Defaults are the release's, defects included; --preset and --fix change them.",
        epilog=f"{scoring_table()}\n\n{fix_table(FIXES)}",
    )
    add_preset_arguments(parser)
    most = 2**31 - 1
    whole, seed = number(int, 1, most), number(int, 0, 2**32 - 1)  # numpy takes seeds of 32 bits

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
    group.add_argument(
        "--use_uff", action="store_true", help="load and use the UFF fusion module; fusion methods need it"
    )
    group.add_argument(
        "--fusion_module_path", default="checkpoints/checkpoint-0.pth", metavar="FILE", help="UFF checkpoint"
    )
    group.add_argument(
        "--checkpoint_dir", default="checkpoints", metavar="DIR", help="folder of the backbones' checkpoints"
    )
    group.add_argument("--group_size", type=whole, default=128, metavar="N", help="points per group")
    group.add_argument("--num_group", type=number(int, 3, most), default=1024, metavar="N", help="groups per part")
    group.add_argument(
        "--multiscale",
        action="store_true",
        help="average of point features of two group sizes, --group_size and twice it; our reading of "
        "the paper's multiscale row, which it does not define",
    )

    group = parser.add_argument_group("data", "what is read")
    group.add_argument(
        "--dataset_type",
        default="mvtec3d",
        choices=(*CATEGORIES, "folder"),
        metavar="NAME",
        help="mvtec3d, eyecandies or realiad_d3: the official list of categories, all of which have to be there (the "
        "paper ran realiad_d3 with --category fork_crimp_terminal knob-cap limit-switch); folder: your own data, "
        "every folder that has train/good",
    )
    group.add_argument("--dataset_path", default="datasets/mvtec3d", metavar="DIR", help="folder of the categories")
    group.add_argument(
        "--category",
        nargs="+",
        metavar="NAME",
        help="only these; also folders not on the official list (default: the whole list). "
        "Case, '-', '_' and blanks of a name do not matter; tables and file names show the folder's own",
    )
    group.add_argument(
        "--img_size",
        type=number(int, 56, most),
        default=224,
        metavar="N",
        help="side that point clouds are resized to; also of the fusion methods' maps",
    )
    group.add_argument(
        "--max_sample",
        type=whole,
        default=400,
        metavar="N",
        help="training parts used (one more, as released; see --fix max_sample)",
    )
    group.add_argument(
        "--shots",
        type=whole,
        metavar="K",
        help="few-shot: exactly K training parts, chosen by --seed and the category's name; run.json lists them. A "
        "smaller K chooses some of a larger K's parts. Not with --max_sample",
    )
    group.add_argument(
        "--unit",
        choices=("m", "cm", "mm", "um"),
        help="unit of the point clouds' coordinates (default: metres; clouds that do not look like metres are "
        "refused. m: they are metres, whatever they look like)",
    )
    group.add_argument(
        "--no_check",
        action="store_true",
        help="do not examine the files before the run; a faulty file then shows when its turn comes",
    )
    group.add_argument(
        "--num_workers",
        type=number(int, 0, most),
        metavar="N",
        help="processes that load data (default: 1, as released; on a CUDA device 4, or as many as there are cores)",
    )

    group = parser.add_argument_group("memory bank and late fusion")
    group.add_argument(
        "--coreset_eps",
        type=number(float, 0, 0.999, True),
        default=0.9,
        metavar="E",
        help="distortion of the random projection",
    )
    group.add_argument(
        "--f_coreset",
        type=number(float, 0, 1, True),
        default=0.1,
        metavar="F",
        help="kept fraction of the rows; the paper's runs use 0.2",
    )
    group.add_argument(
        "--asy_memory_bank",
        type=whole,
        metavar="N",
        help="at most N parts in the xyz and fusion banks of the methods with several",
    )
    group.add_argument(
        "--half_coreset",
        action="store_true",
        help="pick the coreset in half precision, row by row, as the release does: slow, to "
        "separate this difference from others when comparing with it",
    )
    group.add_argument(
        "--coreset_partitions",
        type=number(int, 2, most),
        metavar="P",
        help="pick the coreset from P parts of the rows, then from these picks. The picks differ: the farthest row "
        "is at most 4 times as far as with the best possible picks (all rows at once: 2 times); docs/scale.md says "
        "when it pays",
    )
    group.add_argument(
        "--bank_shards",
        type=whole,
        default=1,
        metavar="N",
        help="split each bank's rows over N places, for banks that one device cannot hold. Picks and nearest rows "
        "stay the same, distances up to float32 rounding; docs/scale.md says what that costs",
    )
    group.add_argument(
        "--shard_engine",
        choices=("devices", "ray"),
        default="devices",
        help="where those places are. devices: the GPUs of this machine in turn, or its one device. ray: Ray actors "
        "on any hosts, each with a GPU if --device is one, else with a core (needs requirements-ray.txt)",
    )
    group.add_argument(
        "--random_state",
        type=seed,
        metavar="N",
        help="seed of the random projection (default: numpy's generator, seeded by --seed)",
    )
    group.add_argument(
        "--ocsvm_nu",
        type=number(float, 0, 1, True),
        default=0.5,
        metavar="NU",
        help="of the late fusion's one-class SVMs",
    )
    group.add_argument(
        "--ocsvm_maxiter", type=whole, default=1000, metavar="N", help="of the late fusion's one-class SVMs"
    )
    group.add_argument(
        "--rm_zero_for_project", action="store_true", help="Point_MAE method: drop all rows that hold a zero"
    )
    for bank, value in (("xyz", 1.0), ("rgb", 0.1), ("fusion", 1.0)):
        group.add_argument(
            f"--{bank}_s_lambda",
            type=number(),
            default=value,
            metavar="X",
            help=f"late-fusion scale of the {bank} score",
        )
        group.add_argument(
            f"--{bank}_smap_lambda",
            type=number(),
            default=value,
            metavar="X",
            help=f"late-fusion scale of the {bank} map",
        )

    group = parser.add_argument_group(
        "scoring",
        "the add-on of Xu et al. (Appl. Sci. 2026); defaults are the paper's. Not the paper's but ours: "
        "the scoring calibrated",
    )
    add_scoring_arguments(group)
    shorten_scoring(group)

    group = parser.add_argument_group("defects of the release", "kept by default, so that its numbers are reproduced")
    group.add_argument(
        "--fix",
        nargs="+",
        choices=[*FIXES, "all"],
        default=[],
        metavar="NAME",
        help="switch these defects off: " + ", ".join(FIXES) + "; or all; the table at the end describes them",
    )
    group.add_argument("--eval_mode", action="store_true", help="short for --fix eval_mode")

    group = parser.add_argument_group("run and output")
    add_device(group)
    group.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of numpy, random and torch, set anew for each category"
    )
    group.add_argument(
        "--seeds",
        type=seed,
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
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="compute everything anew, also what an earlier run of the same command has finished",
    )
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
    group.add_argument(
        "--save_preds", action="store_true", help="write a picture of each test part to <output_dir>/pred_maps"
    )
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
        metavar="DIR",
        help="write DIR/<category>.m3dm after each fit, for tools/predict.py; needs --eval_mode",
    )
    group.add_argument(
        "--model_precision",
        choices=("full", "half"),
        default="full",
        help="half: saved banks as float16, half as large; scores differ a little, and calibration knows it",
    )
    group.add_argument(
        "--calibration",
        type=calibration,
        metavar="WHAT",
        help="which normal parts, kept out of the banks, the verdict's false-alarm rate rests on. validation: the "
        "good parts of that split; a number such as 0.2: this share of the training parts, drawn by --seed; none: "
        "the rate is an estimate without guarantee (default: validation where the category has it, else none)",
    )
    group.add_argument(
        "--calibration_dir",
        metavar="DIR",
        help="calibrate with the parts below DIR/<category>, or below DIR where that is not there",
    )
    group.add_argument("--save_feature", action="store_true", help="write the training parts' patches for UFF training")
    group.add_argument(
        "--save_feature_path", default="datasets/patch_lib", metavar="DIR", help="folder for --save_feature"
    )
    group.add_argument(
        "--save_feature_format",
        default="pt",
        choices=("pt", "safetensors"),
        help="file kind of --save_feature; pt: as released; safetensors: with xyz width and checksum",
    )
    group.add_argument(
        "--save_feature_half", action="store_true", help="--save_feature in half precision: half the disk"
    )
    return parser


def parse_arguments(argv=None):
    """Parsed and checked options, those of --preset among them. A contradiction is printed in one line and exits with
    2; --show_options prints the options and exits with 0.

    Adds to the namespace: ``memory_bank`` where it was not given, ``fix`` as a sorted list without ``all``,
    ``min_points`` for the data set, ``train_maps`` whether training parts are measured without their own rows.
    """
    parser, args, given, from_preset = parse_with_preset(build_parser, argv)
    if args.show_options:
        print(options_table(args, given, from_preset))
        parser.exit(0)
    del args.show_options
    method, banks = args.method_name, METHOD_BANKS[args.method_name]
    fitting = "single" if len(banks) == 1 else "multiple"
    if getattr(args, "memory_bank", fitting) != fitting:
        parser.error(
            f"--method_name {method} has {len(banks)} bank{'s' * (len(banks) > 1)} and needs --memory_bank {fitting}"
        )
    args.memory_bank = fitting
    if "fusion" in banks and not args.use_uff:
        parser.error(
            f"--method_name {method} needs the fusion module: add --use_uff and --fusion_module_path FILE. A first run "
            f"needs three "
            "things: a data set (--dataset_path), the backbones' checkpoints (--checkpoint_dir) and the fusion "
            "module's; README "
            'says where they come from, and "make demo" runs without any of them'
        )
    if args.save_feature and len(banks) == 1 and "fusion" not in banks:
        parser.error(f"--save_feature needs a method with both modalities, --method_name {method} has one")
    for flag in ("save_feature_format", "save_feature_half"):
        if getattr(args, flag) != parser.get_default(flag) and not args.save_feature:
            parser.error(f"--{flag} needs --save_feature")
    args.min_points = settle_backbones(args, parser.error)
    both = {"rgb", "xyz"} <= set(banks)
    if args.scoring_map == "bank" and "fusion" not in banks:
        parser.error(f"--scoring_map bank needs a fusion bank, --method_name {method} has none")
    args.scoring = (
        available_scorings(banks, args.scoring_map) if "all" in args.scoring else scoring_addon.names_from(args)
    )
    for problem in filter(None, (scoring_problem(name, banks, args.scoring_map) for name in args.scoring)):
        parser.error(problem.replace("the method has", f"--method_name {method} has"))
    for flag in ("save_maps", "save_train_maps"):
        if getattr(args, flag) and not both:
            parser.error(f"--{flag} needs an RGB and an xyz bank, --method_name {method} has only: {', '.join(banks)}")
    if args.save_train_maps and not args.save_maps:
        parser.error("--save_train_maps needs --save_maps DIR")
    if args.shots and args.max_sample != parser.get_default("max_sample"):
        parser.error(
            f"--shots {args.shots} already says how many training parts are used; leave out --max_sample "
            f"{args.max_sample}"
        )
    args.fixes = Fixes.of([*args.fix, *(["eval_mode"] if args.eval_mode else [])])
    args.fix, args.eval_mode = args.fixes.names, args.fixes.eval_mode
    needed_by = two_parts_for(args)
    if args.shots == 1 and needed_by:
        parser.error(f"--shots 1: {too_few_parts(needed_by)}; use at least --shots 2")
    if args.asy_memory_bank == 1 and needed_by and len(banks) > 1:
        parser.error(f"--asy_memory_bank 1: {too_few_parts(needed_by)}; use at least 2")
    if args.coreset_partitions and args.half_coreset:
        parser.error("--coreset_partitions and --half_coreset are two ways to pick a coreset; leave one out")
    if args.coreset_partitions and args.f_coreset == 1:
        parser.error("--coreset_partitions has nothing to pick with --f_coreset 1, which keeps all rows; leave one out")
    if args.shard_engine != "devices" and args.bank_shards == 1:
        parser.error(f"--shard_engine {args.shard_engine} places the shards of --bank_shards N; give N, 2 or more")
    _check_model_options(parser, args)
    args.train_maps = (
        CALIBRATED in args.scoring or both and (args.save_maps is not None or args.scoring_reference == "train")
    )
    args.spool_dir = args.spool_dir or args.output_dir
    return args


def two_parts_for(args):
    """What of parsed options cannot be done with a single training part, as the command line has it; "" if nothing."""
    banks = METHOD_BANKS[args.method_name]
    late_fusion = args.fixes.late_fusion and {"rgb", "xyz"} <= set(banks)
    return needs_training_parts(args.scoring, args.scoring_reference, banks) or (
        "--fix late_fusion" if late_fusion else ""
    )


def model_scorings(args):
    """The scorings of a saved model; the first of them that needs no test set decides in its verdicts: the first that
    was asked for. Who asks for every one says nothing about an order: then it is calibrated."""
    every = available_scorings(METHOD_BANKS[args.method_name], args.scoring_map)
    return list(dict.fromkeys([CALIBRATED, *every])) if args.scoring == every else args.scoring


def too_few_parts(needed_by):
    """Why a single training part does not do, as a text; ``needed_by``: what asks for more."""
    return f"a single training part cannot be measured without its own rows, which {needed_by} does"


def parts_used(args, available):
    """How many of a category's training parts are used: one more than --max_sample, as released (defect 5)."""
    return min(available, args.shots or args.max_sample + (not args.fixes.max_sample))


def _check_model_options(parser, args):
    """Refuse what contradicts --save_model; adds ``held_out``, the share of the training parts that calibrate."""
    share = args.calibration if isinstance(args.calibration, float) else None
    if args.save_model and not args.eval_mode:
        parser.error(TRAIN_MODE)
    for flag in ("model_precision", "calibration", "calibration_dir"):
        if not args.save_model and getattr(args, flag) != parser.get_default(flag):
            parser.error(f"--{flag} needs --save_model DIR")
    if args.calibration_dir and args.calibration is not None:
        parser.error("--calibration_dir already says which parts calibrate; leave out --calibration")
    args.held_out = share


# ---------------------------------------------------------------- what the options mean further down


def extractor_options(args):
    """Keyword arguments of ``PatchExtractor.from_checkpoints``, but for the device."""
    needed = needed_backbones(METHOD_BANKS[args.method_name])
    return {
        "folder": args.checkpoint_dir,
        "rgb": args.rgb_backbone_name if "rgb" in needed else None,
        "xyz": args.xyz_backbone_name if "xyz" in needed else None,
        "uff": args.fusion_module_path if args.use_uff else None,
        "group_size": args.group_size,
        "num_group": args.num_group,
        "multiscale": args.multiscale,
        "amp": args.amp,
        **{name: getattr(args, name) for name in (*RGB_DETAILS, *RADII)},
    }


def method_settings(args):
    """The fields of ``feature_extractors.settings.Settings``."""
    same = (
        "seed",
        "f_coreset",
        "coreset_eps",
        "half_coreset",
        "coreset_partitions",
        "bank_shards",
        "shard_engine",
        "random_state",
        "img_size",
        "asy_memory_bank",
        "rm_zero_for_project",
        "ocsvm_nu",
        "ocsvm_maxiter",
        "spool_dir",
    )
    lambdas = {
        f"{title}_lambdas": {bank: getattr(args, f"{bank}_{flag}_lambda") for bank in ("xyz", "rgb", "fusion")}
        for title, flag in (("score", "s"), ("map", "smap"))
    }
    return {**{name: getattr(args, name) for name in same}, **lambdas, "training_maps": args.train_maps}


DERIVED = ("fixes", "train_maps", "min_points", "readings", "examination", "held_out")  # set by parse_arguments
# options that cannot change a score or metric: which categories, where things lie, how it runs, what else is written;
# what the weights and the data are is recorded by content
NEUTRAL = (
    "category",
    "dataset_type",
    "dataset_path",
    "no_check",
    "checkpoint_dir",
    "fusion_module_path",
    "num_workers",
    "device",
    "bank_shards",
    "shard_engine",
    "output_dir",
    "spool_dir",
    "overwrite",
    "save_preds",
    "save_maps",
    "save_train_maps",
    "save_feature",
    "save_feature_path",
    "save_feature_format",
    "save_feature_half",
    "seeds",
    "eval_mode",
    "save_model",
    "model_precision",
    "calibration_dir",
    "quiet",
    "preset",
)


def recorded_options(args):
    """{name: value} of the command line's options, as run.json and saved maps record them."""
    return {name: value for name, value in vars(args).items() if name not in DERIVED}


def deciding_options(options):
    """Those of recorded options that can change a score or metric; ``eval_mode`` stands in ``fix``."""
    return {
        name: value
        for name, value in options.items()
        if name not in NEUTRAL + DERIVED and (name != "calibration" or isinstance(value, float))
    }  # a share is taken from the training parts


def changed_options(options):
    """Those of recorded deciding options that differ from main.py's defaults; unknown ones count as changed."""
    method = options.get("method_name", default_of("method_name"))
    return {name: value for name, value in deciding_options(options).items() if value != default_of(name, method)}


@lru_cache(maxsize=None)
def default_of(name, method="DINO+Point_MAE+Fusion"):
    """main.py's default of the option ``name`` with that method; None for one that it does not have."""
    implied = {
        "memory_bank": "single" if len(METHOD_BANKS.get(method, ())) == 1 else "multiple",
        "xyz_backbone_name": default_xyz_backbone(method),
    }
    return implied[name] if name in implied else vars(build_parser().parse_args([])).get(name)
