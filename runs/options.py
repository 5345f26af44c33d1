"""main.py's options after parsing: which combinations are refused, what follows from them, what is recorded.

The flags themselves are in ``runs/arguments.py``. The module imports nothing heavy, so a mistyped flag is refused
at once.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from common.commands import Parser
from feature_extractors.settings import METHOD_BANKS, REFERENCE, TRAIN_MODE, Fixes, needed_backbones
from runs.arguments import build_parser
from runs.backbone_options import RGB_DETAILS, check_backbones, default_xyz_backbone
from runs.presets import parse_with_preset
from scoring.scorings import CALIBRATED, available_scorings, needs_training_parts, scoring_names, scoring_problem

if TYPE_CHECKING:
    from data.organised_clouds import Reading
    from data.part_facts import Facts

FRAME_POINTS = 200  # distinct points of a part that can be laid into a frame

T = TypeVar("T")
# cannot change a score or metric: which categories, where files lie, how it runs, what else is written; weights and
# data are recorded by their content instead
Neutral = Annotated[T, "neutral"]
Derived = Annotated[T, "derived"]  # follows from other options
# can change a score, but is younger than version 0.9: ids contain it only where it differs from its default
Added = Annotated[T, "added"]
# options that version 0.9 had: those that could not change a score, and {option: default} of those that could. Every
# id of a run contains the latter, so that the results of that version are found again
GONE_NEUTRAL = ("bank_shards", "shard_engine", "save_feature_format", "save_feature_half")
GONE_DECIDING = {
    **dict.fromkeys(("coreset_partitions", "fpfh_normal_radius", "fpfh_feature_radius")),
    "half_coreset": False,
}


@dataclass(frozen=True)
class RunOptions:
    """The options of a run, one field per flag of ``runs/arguments.py`` and in its order, and what follows from them.

    Attributes:
        memory_bank, fix, eval_mode, scoring, spool_dir, xyz_backbone_name, frame: settled, as if each had been given.
        fixes: the fixes that ``fix`` and ``eval_mode`` name.
        min_points: number of distinct points that a part should have at least; 0 if points are not used.
        train_maps: whether training parts are measured without their own rows.
        held_out: share of the training parts that calibrate a saved model; None: none of them.
        readings, usual: {category: Reading} and {category: Facts that the training parts have in common}, settled
            before the work by the examination of the files.
    """

    quiet: Neutral[bool]
    preset: Neutral[str]
    method_name: str
    memory_bank: str
    rgb_backbone_name: str
    rgb_layers: list[int] | None
    rgb_size: int | None
    xyz_backbone_name: str
    use_uff: bool
    fusion_module_path: Neutral[str]
    checkpoint_dir: Neutral[str]
    group_size: int
    num_group: int
    multiscale: bool
    dataset_type: Neutral[str]
    dataset_path: Neutral[str]
    category: Neutral[list[str] | None]
    img_size: int
    frame: Added[str]
    ignore: Added[str | None]
    max_sample: int
    shots: int | None
    unit: str | None
    no_check: Neutral[bool]
    num_workers: Neutral[int | None]
    coreset_eps: float
    f_coreset: float
    max_rows: Added[int | None]
    max_memory: Added[float | None]
    max_measured: Added[int | None]
    asy_memory_bank: int | None
    random_state: int | None
    ocsvm_nu: float
    ocsvm_maxiter: int
    rm_zero_for_project: bool
    xyz_s_lambda: float
    xyz_smap_lambda: float
    rgb_s_lambda: float
    rgb_smap_lambda: float
    fusion_s_lambda: float
    fusion_smap_lambda: float
    scoring: list[str]
    scoring_lambda: float
    scoring_topk: int
    scoring_weights: list[float]
    scoring_eta: list[float]
    scoring_delta: float
    scoring_map: str
    scoring_recovery: str
    scoring_reference: str
    fix: list[str]
    eval_mode: Neutral[bool]  # ``fix`` contains it
    device: Neutral[str]
    threads: Neutral[int | None]
    seed: int
    seeds: Neutral[list[int] | None]
    output_dir: Neutral[str]
    overwrite: Neutral[bool]
    spool_dir: Neutral[str]
    amp: bool
    save_preds: Neutral[bool]
    save_maps: Neutral[str | None]
    save_train_maps: Neutral[bool]
    save_model: Neutral[str | None]
    fit_only: bool
    model_precision: Neutral[str]
    calibration: str | float | None  # decides as a share: then it takes parts away from training
    calibration_dir: Neutral[str | None]
    strict: Neutral[bool]
    save_feature: Neutral[bool]
    save_feature_path: Neutral[str]
    fixes: Derived[Fixes]
    min_points: Derived[int]
    train_maps: Derived[bool]
    held_out: Derived[float | None]
    readings: Derived["Mapping[str, Reading]"] = field(default_factory=dict)
    usual: Derived["Mapping[str, Facts]"] = field(default_factory=dict)

    @property
    def banks(self) -> tuple[str, ...]:
        """Names of the method's banks."""
        return METHOD_BANKS[self.method_name]


def _marked(mark: str) -> frozenset[str]:
    return frozenset(f.name for f in fields(RunOptions) if mark in getattr(f.type, "__metadata__", ()))


DERIVED = _marked("derived")
ADDED = _marked("added")
NEUTRAL = _marked("neutral") | DERIVED | set(GONE_NEUTRAL)


def parse_arguments(argv: list[str] | None = None) -> RunOptions:
    """Parsed and checked options, including those of --preset. A contradiction prints one line and exits with 2."""
    parser, args = parse_with_preset(build_parser, argv)
    min_points = _check_method(parser, args)
    args.fixes = Fixes.of([*args.fix, *(["eval_mode"] if args.eval_mode else [])])
    args.fix, args.eval_mode = args.fixes.names, args.fixes.eval_mode
    _check_scoring(parser, args)
    _check_parts(parser, args)
    _check_outputs(parser, args)
    banks = METHOD_BANKS[args.method_name]
    measured = bool(needs_training_parts(args.scoring, "test", banks))
    maps_wanted = args.save_maps is not None or args.scoring_reference == "train"
    return RunOptions(
        **{**vars(args), "spool_dir": args.spool_dir or args.output_dir},
        min_points=min_points,
        train_maps=measured or {"rgb", "xyz"} <= set(banks) and maps_wanted,
        held_out=args.calibration if isinstance(args.calibration, float) else None,
    )


def _check_method(parser: Parser, args: argparse.Namespace) -> int:
    """Refuse a method and networks that do not fit; settle ``memory_bank`` and the xyz backbone; returns the least
    number of points of a part."""
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
            "needs three things: a data set (--dataset_path), the backbones' checkpoints (--checkpoint_dir) and the "
            'fusion module\'s; README says where they come from, and "make demo" runs without any of them'
        )
    args.xyz_backbone_name = getattr(args, "xyz_backbone_name", default_xyz_backbone(method))
    if args.ignore and args.frame == "none":
        parser.error("--ignore is a mask in the part's frame: it needs --frame part, aligned or auto, or --preset best")
    least = check_backbones(args, parser.error)
    return max(least, FRAME_POINTS) if args.frame != "none" else least


def _check_scoring(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse scorings and maps that the method's banks do not allow; settle ``scoring`` as a list without "all"."""
    method, banks = args.method_name, METHOD_BANKS[args.method_name]
    if args.scoring_map == "bank" and "fusion" not in banks:
        parser.error(f"--scoring_map bank needs a fusion bank, --method_name {method} has none")
    args.scoring = scoring_names(args.scoring, banks, args.scoring_map)
    for problem in filter(None, (scoring_problem(name, banks, args.scoring_map) for name in args.scoring)):
        parser.error(problem.replace("the method has", f"--method_name {method} has"))
    for flag in ("save_maps", "save_train_maps"):
        if getattr(args, flag) and not {"rgb", "xyz"} <= set(banks):
            parser.error(f"--{flag} needs an RGB and an xyz bank, --method_name {method} has only: {', '.join(banks)}")


def _check_parts(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse numbers of training parts that contradict each other, or are too small for what is asked for."""
    if args.shots and args.max_sample != parser.get_default("max_sample"):
        parser.error(
            f"--shots {args.shots} already says how many training parts are used; leave out --max_sample "
            f"{args.max_sample}"
        )
    needed_by = two_parts_for(args)
    if args.shots == 1 and needed_by:
        parser.error(f"--shots 1: {too_few_parts(needed_by)}; use at least --shots 2")
    if args.asy_memory_bank == 1 and needed_by and len(METHOD_BANKS[args.method_name]) > 1:
        parser.error(f"--asy_memory_bank 1: {too_few_parts(needed_by)}; use at least 2")


def _check_outputs(parser: Parser, args: argparse.Namespace) -> None:
    """Refuse options on features, maps and models that contradict each other."""
    banks = METHOD_BANKS[args.method_name]
    if args.save_feature and len(banks) == 1 and "fusion" not in banks:
        parser.error(f"--save_feature needs a method with both modalities, --method_name {args.method_name} has one")
    if args.save_model and not args.eval_mode:
        parser.error(TRAIN_MODE)
    needs = {
        "save_train_maps": (args.save_maps, "--save_maps DIR"),
        "model_precision": (args.save_model, "--save_model DIR"),
        "calibration": (args.save_model, "--save_model DIR"),
        "calibration_dir": (args.save_model, "--save_model DIR"),
        "strict": (args.save_model, "--save_model DIR"),
        "fit_only": (args.save_model, "--save_model DIR, or nothing would be left of the fit"),
    }
    for flag, (there, other) in needs.items():
        if not there and getattr(args, flag) != parser.get_default(flag):
            parser.error(f"--{flag} needs {other}")
    for flag in ("save_preds", "save_maps", "seeds"):
        if args.fit_only and getattr(args, flag):
            parser.error(f"--{flag} needs test parts, and --fit_only tests none")
    if args.calibration_dir and args.calibration is not None:
        parser.error("--calibration_dir already says which parts calibrate; leave out --calibration")


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
        **{name: getattr(options, name) for name in ("group_size", "num_group", "multiscale", "amp")},
        **{name: getattr(options, name) for name in RGB_DETAILS},
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
    return {f.name: getattr(options, f.name) for f in fields(options) if f.name not in DERIVED}


def deciding_options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the recorded options that can change a score or metric."""
    found = {
        name: value
        for name, value in recorded.items()
        if name not in NEUTRAL
        and (name not in ADDED or value != default_of(name))
        and (name != "calibration" or isinstance(value, float))
    }
    return {**GONE_DECIDING, **found}


def changed_options(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The deciding options that differ from main.py's defaults; options unknown to main.py count as changed."""
    method = recorded.get("method_name", default_of("method_name"))
    return {name: value for name, value in deciding_options(recorded).items() if value != default_of(name, method)}


@lru_cache(maxsize=None)
def default_of(name: str, method: str = "DINO+Point_MAE+Fusion") -> Any:
    """main.py's default of the option ``name`` for that method; None for an option that it never had."""
    implied = {
        "memory_bank": "single" if len(METHOD_BANKS.get(method, ())) < 2 else "multiple",
        "xyz_backbone_name": default_xyz_backbone(method),
    }
    return {**GONE_DECIDING, **vars(build_parser().parse_args([])), **implied}.get(name)
