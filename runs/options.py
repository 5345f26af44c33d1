"""main.py's options after parsing: which combinations are refused, what follows from them, what is recorded.

The flags themselves are in ``runs/arguments.py``. The module imports nothing heavy, so a mistyped flag is refused
at once.
"""

from functools import lru_cache

from common.commands import print_all
from feature_extractors.settings import METHOD_BANKS, REFERENCE, TRAIN_MODE, Fixes, needed_backbones
from runs.arguments import build_parser
from runs.backbone_options import RADII, RGB_DETAILS, default_xyz_backbone, settle_backbones
from runs.presets import options_table, parse_with_preset
from scoring.scorings import CALIBRATED, available_scorings, needs_training_parts, scoring_names, scoring_problem


def parse_arguments(argv=None):
    """Parsed and checked options, including those of --preset. A contradiction prints one line and exits with 2;
    --show_options prints the options and exits with 0.

    It adds to the namespace: ``memory_bank`` if it was not given, ``fix`` as a sorted list without ``all``,
    ``min_points`` for the data set, ``train_maps``: whether training parts are measured without their own rows.
    """
    parser, args, given, from_preset = parse_with_preset(build_parser, argv)
    if args.show_options:
        print_all(options_table(args, given, from_preset))
        parser.exit(0)
    del args.show_options
    method, banks = args.method_name, METHOD_BANKS[args.method_name]
    if method == REFERENCE and args.frame == "none":
        args.frame = "auto"  # it compares parts in their frame and nothing else
    fitting = "single" if len(banks) < 2 else "multiple"
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
    args.scoring = scoring_names(args.scoring, banks, args.scoring_map)
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
    _check_model_options(parser, args)
    args.train_maps = (
        bool(needs_training_parts(args.scoring, "test", banks))
        or both
        and (args.save_maps is not None or args.scoring_reference == "train")
    )
    args.spool_dir = args.spool_dir or args.output_dir
    return args


def two_parts_for(args):
    """The flag, as on the command line, that needs more than one training part; "" if none does."""
    banks = METHOD_BANKS[args.method_name]
    late_fusion = args.fixes.late_fusion and {"rgb", "xyz"} <= set(banks)
    return needs_training_parts(args.scoring, args.scoring_reference, banks) or (
        "--fix late_fusion" if late_fusion else ""
    )


def model_scorings(args):
    """The scorings of a saved model, in the order asked for. Verdicts use the first one that needs no test set. If all
    scorings were asked for, the order means nothing: then calibrated comes first."""
    every = available_scorings(METHOD_BANKS[args.method_name], args.scoring_map)
    return list(dict.fromkeys([CALIBRATED, *every])) if args.scoring == every else args.scoring


def too_few_parts(needed_by):
    """Text on why a single training part is not enough; ``needed_by``: the flag that needs more."""
    return f"a single training part cannot be measured without its own rows, which {needed_by} does"


def parts_used(args, available):
    """Number of a category's training parts that are used: --shots; else --max_sample plus one, as released (defect 5;
    the fix uses exactly --max_sample)."""
    return min(available, args.shots or args.max_sample + (not args.fixes.max_sample))


def _check_model_options(parser, args):
    """Refuse options that contradict --save_model; add ``held_out``, the share of the training parts that are used for
    calibration."""
    share = args.calibration if isinstance(args.calibration, float) else None
    if args.save_model and not args.eval_mode:
        parser.error(TRAIN_MODE)
    for flag in ("model_precision", "calibration", "calibration_dir"):
        if not args.save_model and getattr(args, flag) != parser.get_default(flag):
            parser.error(f"--{flag} needs --save_model DIR")
    if args.fit_only and not args.save_model:
        parser.error("--fit_only needs --save_model DIR, or nothing would be left of the fit")
    for flag in ("save_preds", "save_maps", "seeds"):
        if args.fit_only and getattr(args, flag):
            parser.error(f"--{flag} needs test parts, and --fit_only tests none")
    if args.calibration_dir and args.calibration is not None:
        parser.error("--calibration_dir already says which parts calibrate; leave out --calibration")
    args.held_out = share


# ---------------------------------------------------------------- what other modules get from the options


def extractor_options(args):
    """Keyword arguments of ``PatchExtractor.from_checkpoints``, without the device."""
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


DERIVED = ("fixes", "train_maps", "min_points", "readings", "examination", "held_out")  # set after parsing
# options that cannot change a score or metric: which categories, where files lie, how it runs, what else is written.
# Weights and data are recorded by their content instead
NEUTRAL = (
    "category",
    "dataset_type",
    "dataset_path",
    "no_check",
    "checkpoint_dir",
    "fusion_module_path",
    "num_workers",
    "device",
    "bank_shards",  # this and the next stand only in records of version 0.9, whose results they did not change
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
    """Those of the recorded options that can change a score or metric. ``eval_mode`` is not among them: ``fix``
    contains it."""
    return {
        name: value
        for name, value in options.items()
        if name not in NEUTRAL + DERIVED and (name != "calibration" or isinstance(value, float))
    }  # as a share, --calibration takes parts away from training


def changed_options(options):
    """The deciding options that differ from main.py's defaults; options unknown to main.py count as changed."""
    method = options.get("method_name", default_of("method_name"))
    return {name: value for name, value in deciding_options(options).items() if value != default_of(name, method)}


@lru_cache(maxsize=None)
def default_of(name, method="DINO+Point_MAE+Fusion"):
    """main.py's default of the option ``name`` for that method; None for an option that it does not have."""
    implied = {
        "memory_bank": "single" if len(METHOD_BANKS.get(method, ())) < 2 else "multiple",
        "xyz_backbone_name": default_xyz_backbone(method),
    }
    return implied[name] if name in implied else vars(build_parser().parse_args([])).get(name)
