"""From main.py's command line to its options: presets, what is refused, what follows, what is recorded. Nothing heavy
is imported, so a mistyped flag is refused at once.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, NoReturn

from feature_extractors.settings import FPFH, FPFH_METHODS, METHOD_BANKS, REFERENCE, TRAIN_MODE, Fixes, needed_backbones
from runs.flags import FLAGS, OTHER_RGB, PREFIX, RGB_BACKBONE_NAMES, XYZ_BACKBONE_NAMES, RunOptions, build_parser
from runs.presets import BEST, BEST_METHOD, preset_defaults
from scoring.scorings import CALIBRATED, available_scorings, needs_training_parts, scoring_names, scoring_problem

# options of earlier versions: those that could not change a score, and {option: value} of those that could. Every id of
# a run contains the latter, so that the results of those versions are found again
GONE_NEUTRAL = ("bank_shards", "shard_engine", "save_feature_format", "save_feature_half", "model_precision")
GONE_DECIDING = {
    **dict.fromkeys(("coreset_partitions", "fpfh_normal_radius", "fpfh_feature_radius", "rgb_layers")),
    "half_coreset": False,
}
NUMBERS, OF_FRAMES = 2, 3  # version of the results, and of those with --frame: raised when the program changes them
Refuse = Callable[[str], NoReturn]


def parse_arguments(argv: list[str] | None = None) -> RunOptions:
    """Parsed and checked options. Those of --preset change the defaults, a flag given by hand wins; a contradiction
    prints one line and exits with 2."""
    parser, absent = build_parser(), object()
    asked = parser.parse_args(argv)
    parser.set_defaults(**dict.fromkeys(vars(asked), absent))
    given = {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not absent}
    best = BEST_METHOD if asked.preset == BEST and "method_name" not in given else {}
    method = {**vars(asked), **best}["method_name"]
    preset = preset_defaults(asked.preset, method, asked.scoring_map)
    args = argparse.Namespace(**{**vars(asked), **preset, **best, **given})
    for settle in (_settle_method, _check_backbones, _settle_scoring, _check_parts, _check_outputs):
        settle(args, parser.error)
    del args.fixes  # the checks need it; of RunOptions it is a property
    return RunOptions(**vars(args))


def _settle_method(args: argparse.Namespace, error: Refuse) -> None:
    """Settle the frame, the kind of memory bank, the xyz backbone, the fixes and the folder of the spool."""
    method, banks = args.method_name, METHOD_BANKS[args.method_name]
    if method == REFERENCE and args.frame == "none":
        args.frame = "auto"  # it compares parts in their frame and nothing else
    given, args.memory_bank = getattr(args, "memory_bank", None), implied_by(method)["memory_bank"]
    if given not in (None, args.memory_bank):
        error(
            f"--method_name {method} has {len(banks)} bank{'s' * (len(banks) > 1)} and needs --memory_bank "
            f"{args.memory_bank}"
        )
    if "fusion" in banks and not args.use_uff:
        error(
            f"--method_name {method} needs the fusion module: add --use_uff and --fusion_module_path FILE. A first run "
            "needs three things: a data set (--dataset_path), the backbones' checkpoints (--checkpoint_dir) and the "
            'fusion module\'s; README says where they come from, and "make demo" runs without any of them'
        )
    args.xyz_backbone_name = getattr(args, "xyz_backbone_name", implied_by(method)["xyz_backbone_name"])
    if args.ignore and args.frame == "none":
        error("--ignore is a mask in the part's frame: it needs --frame part, aligned or auto, or --preset best")
    args.fixes = Fixes.of([*args.fix, *(["eval_mode"] if args.eval_mode else [])])
    args.fix, args.eval_mode = args.fixes.names, args.fixes.eval_mode
    args.spool_dir = args.spool_dir or args.output_dir


def _check_backbones(args: argparse.Namespace, error: Refuse) -> None:
    """Refuse flags on backbones that contradict each other."""
    method, needed = args.method_name, needed_backbones(METHOD_BANKS[args.method_name])
    if method in FPFH_METHODS and args.xyz_backbone_name != FPFH:
        error(
            f"--method_name {method} means --xyz_backbone_name FPFH, not {args.xyz_backbone_name}; leave it out, or "
            f"choose --method_name {method.replace(FPFH, 'Point_MAE')}"
        )
    if args.rgb_size is not None and "rgb" not in needed:
        error(f"--rgb_size needs a method with RGB patches, --method_name {method} has none")
    if args.rgb_size is not None and args.rgb_backbone_name in RGB_BACKBONE_NAMES:
        error(
            f"--rgb_size is for {PREFIX}NAME and {OTHER_RGB}: {args.rgb_backbone_name} is taken as released, its "
            "last block at 224×224 pixels"
        )
    if "xyz" not in needed or args.xyz_backbone_name != FPFH:
        return
    if method not in FPFH_METHODS:
        error(f"--xyz_backbone_name FPFH is for --method_name {' and '.join(FPFH_METHODS)}, not for {method}")
    for name in ("group_size", "num_group", "multiscale"):
        if getattr(args, name) != default_of(name):
            error(f"--{name} is for point transformers: FPFH has no groups; leave it out")
    if args.rm_zero_for_project:
        error(
            "--rm_zero_for_project would drop nearly every row: histograms (FPFH) hold zeros that are values; "
            "leave it out"
        )


def _settle_scoring(args: argparse.Namespace, error: Refuse) -> None:
    """Refuse scorings and maps that the method's banks do not allow; settle ``scoring`` as a list without "all"."""
    method, banks = args.method_name, METHOD_BANKS[args.method_name]
    if args.scoring_map == "bank" and "fusion" not in banks:
        error(f"--scoring_map bank needs a fusion bank, --method_name {method} has none")
    args.scoring = scoring_names(args.scoring, banks, args.scoring_map)
    for problem in filter(None, (scoring_problem(name, banks, args.scoring_map) for name in args.scoring)):
        error(problem.replace("the method has", f"--method_name {method} has"))
    for flag in ("save_maps", "save_train_maps"):
        if getattr(args, flag) and not {"rgb", "xyz"} <= set(banks):
            error(f"--{flag} needs an RGB and an xyz bank, --method_name {method} has only: {', '.join(banks)}")


def _check_parts(args: argparse.Namespace, error: Refuse) -> None:
    """Refuse numbers of training parts that contradict each other, or are too small for what is asked for."""
    if args.shots and args.max_sample != default_of("max_sample"):
        error(
            f"--shots {args.shots} already says how many training parts are used; leave out --max_sample "
            f"{args.max_sample}"
        )
    needed_by = two_parts_for(args)
    if args.shots == 1 and needed_by:
        error(f"--shots 1: {too_few_parts(needed_by)}; use at least --shots 2")
    if args.asy_memory_bank == 1 and needed_by and len(METHOD_BANKS[args.method_name]) > 1:
        error(f"--asy_memory_bank 1: {too_few_parts(needed_by)}; use at least 2")


def _check_outputs(args: argparse.Namespace, error: Refuse) -> None:
    """Refuse options on features, maps and models that contradict each other."""
    banks = METHOD_BANKS[args.method_name]
    if args.save_feature and len(banks) == 1 and "fusion" not in banks:
        error(f"--save_feature needs a method with both modalities, --method_name {args.method_name} has one")
    if args.save_feature and args.method_name in FPFH_METHODS:
        error(f"--save_feature is for point transformers, --method_name {args.method_name} has none")
    if args.save_model and not args.eval_mode:
        error(TRAIN_MODE)
    if args.save_train_maps and not args.save_maps:
        error("--save_train_maps needs --save_maps DIR")
    for flag in ("calibration", "calibration_dir", "strict", "fit_only"):
        if getattr(args, flag) and not args.save_model:
            why = ", or nothing would be left of the fit" if flag == "fit_only" else ""
            error(f"--{flag} needs --save_model DIR{why}")
    for flag in ("save_preds", "save_maps", "seeds"):
        if args.fit_only and getattr(args, flag):
            error(f"--{flag} needs test parts, and --fit_only tests none")
    if args.calibration_dir and args.calibration is not None:
        error("--calibration_dir already says which parts calibrate; leave out --calibration")


# ---------------------------------------------------------------- what other modules get from the options


def two_parts_for(options: RunOptions | argparse.Namespace) -> str:
    """The flag, as on the command line, that needs more than one training part; "" if none does."""
    banks = METHOD_BANKS[options.method_name]
    late_fusion = options.fixes.late_fusion and {"rgb", "xyz"} <= set(banks)
    return needs_training_parts(options.scoring, options.scoring_reference, banks) or (
        "--fix late_fusion" if late_fusion else ""
    )


def too_few_parts(needed_by: str) -> str:
    """Text on why a single training part is not enough; ``needed_by``: the flag that needs more."""
    return f"a single training part cannot be measured without its own rows, which {needed_by} does"


def parts_used(options: RunOptions, available: int) -> int:
    """Number of a category's training parts that are used: --shots; else --max_sample plus one, as released (defect 5;
    the fix uses exactly --max_sample)."""
    return min(available, options.shots or options.max_sample + (not options.fixes.max_sample))


def model_scorings(options: RunOptions) -> list[str]:
    """The scorings of a saved model, in the order asked for. Verdicts use the first one that needs no test set. If all
    scorings were asked for, the order means nothing: then calibrated comes first."""
    every = available_scorings(options.banks, options.scoring_map)
    return list(dict.fromkeys([CALIBRATED, *every])) if options.scoring == every else options.scoring


def extractor_options(options: RunOptions) -> dict[str, Any]:
    """Keyword arguments of ``PatchExtractor.from_checkpoints``, without the device."""
    needed = needed_backbones(options.banks)
    return {
        "folder": options.checkpoint_dir,
        "rgb": options.rgb_backbone_name if "rgb" in needed else None,
        "xyz": options.xyz_backbone_name if "xyz" in needed else None,
        "uff": options.fusion_module_path if options.use_uff else None,
        **{name: getattr(options, name) for name in ("group_size", "num_group", "multiscale", "amp", "rgb_size")},
    }


def method_settings(options: RunOptions) -> dict[str, Any]:
    """The fields of ``feature_extractors.settings.Settings``."""
    same = (
        *("seed", "img_size", "spool_dir", "rm_zero_for_project", "asy_memory_bank", "max_rows", "max_memory"),
        *("f_coreset", "coreset_eps", "random_state", "ocsvm_nu", "ocsvm_maxiter"),
    )
    lambdas = {
        f"{title}_lambdas": {bank: getattr(options, f"{bank}_{flag}_lambda") for bank in ("xyz", "rgb", "fusion")}
        for title, flag in (("score", "s"), ("map", "smap"))
    }
    return {**{name: getattr(options, name) for name in same}, **lambdas, "training_maps": options.train_maps}


# ---------------------------------------------------------------- what is recorded


def recorded_options(options: RunOptions) -> dict[str, Any]:
    """{name: value} of the command line's options, as run.json and saved maps record them."""
    return {option.name: getattr(options, option.name) for option in fields(options) if option.name in FLAGS}


def deciding_options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the recorded options that can change a score or metric."""

    def decides(name: str, value: Any) -> bool:
        if name == "calibration":  # as a share it takes parts away from training
            return isinstance(value, float)
        if name not in FLAGS:
            return name not in GONE_NEUTRAL
        return FLAGS[name]["decides"] and (not FLAGS[name].get("younger") or value != default_of(name))

    return {**GONE_DECIDING, **{name: value for name, value in recorded.items() if decides(name, value)}}


def changed_options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The deciding options that differ from main.py's defaults; options unknown to main.py count as changed."""
    method = recorded.get("method_name", default_of("method_name"))
    usual = {**GONE_DECIDING, **implied_by(method)}
    return {
        name: value
        for name, value in deciding_options(recorded).items()
        if value != (usual[name] if name in usual else default_of(name))
    }


def implied_by(method: str) -> dict[str, Any]:
    """{option: value} of what a method implies where the user does not name it."""
    return {
        "memory_bank": "single" if len(METHOD_BANKS.get(method, ())) < 2 else "multiple",
        "xyz_backbone_name": FPFH if method in FPFH_METHODS else XYZ_BACKBONE_NAMES[0],
    }


def default_of(name: str, method: str = "DINO+Point_MAE+Fusion") -> Any:
    """main.py's default of the option ``name`` for that method; None for an option that it does not have."""
    implied = implied_by(method)
    return implied[name] if name in implied else _defaults().get(name)


@lru_cache(maxsize=None)
def _defaults() -> dict[str, Any]:
    return vars(build_parser().parse_args([]))


def run_id(deciding: Mapping[str, Any], weights: Iterable[Any]) -> str:
    """Id of a run: 12 hexadecimal digits; ``deciding``: see :func:`deciding_options`; ``weights``: [WeightFile]."""
    files = [[file.network, file.sha256] for file in weights]
    numbers = OF_FRAMES if "frame" in deciding else NUMBERS
    return short_hash({"numbers": numbers, "options": deciding, "weights": files}, 12)


def short_hash(content: object, digits: int) -> str:
    """The first hexadecimal ``digits`` of a hash of what JSON can hold."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]
