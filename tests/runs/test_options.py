"""What main.py's command line parses to: defaults, presets, ids of runs, contradictions, --help."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import main
from feature_extractors.multiple_features import METHODS
from feature_extractors.settings import FPFH, FPFH_METHODS, METHOD_BANKS, Fixes, needed_backbones
from models import models
from runs.arguments import COMMON, FIXES, build_parser
from runs.backbone_options import RGB_BACKBONE_NAMES, XYZ_BACKBONE_NAMES
from runs.options import (
    FRAME_POINTS,
    RunOptions,
    changed_options,
    deciding_options,
    default_of,
    extractor_options,
    method_settings,
    model_scorings,
    parse_arguments,
    recorded_options,
)
from runs.presets import BEST, PAPER, PRESETS, RELEASED
from runs.runs import run_id
from tests.command_lines import parse, usage_error

ROOT = Path(__file__).resolve().parents[2]
ONE_BANK = ("DINO", "Point_MAE", "Fusion", "FPFH", "Reference")  # Reference has none, which is one way of "single"

IDS = [  # as version 0.9 gave them
    ("--use_uff", "1835c169cf16"),
    ("--use_uff --preset paper", "60594c8c5a52"),
    ("--preset best --method_name DINO+Point_MAE+Fusion --frame none", "4fabee5d1745"),
    ("--method_name FPFH", "cf42f8329a5a"),
    ("--method_name DINO+FPFH --scoring all --seed 3", "2c0a7134a8ab"),
    ("--method_name DINO --eval_mode --save_model m --calibration 0.2", "76a8e8e2b9a7"),
    ("--method_name Point_MAE --shots 2 --amp --rgb_backbone_name timm:resnet18", "3dd086c8c9c9"),
    (
        "--method_name DINO+Point_MAE --scoring disagreement calibrated --scoring_weights 1 2 3 --fix all --unit mm",
        "79a3a61f518f",
    ),
]


@pytest.mark.parametrize("words, expected", IDS)
def test_results_of_earlier_versions_are_found_again(words, expected):
    options = recorded_options(parse_arguments(words.split()))
    assert run_id(deciding_options(options), [SimpleNamespace(network="a", sha256="b")]) == expected


def test_ids_follow_from_what_can_change_a_score():
    def deciding(*flags):
        return deciding_options(recorded_options(parse(*flags)))

    same = ("--device", "cpu", "--num_workers", "3", "--output_dir", "x", "--dataset_path", "y", "--save_preds")
    assert deciding() == deciding(*same) == deciding("--save_feature") != deciding("--seed", "1")
    model = ("--eval_mode", "--save_model", "m")
    assert deciding("--eval_mode") == deciding(*model, "--calibration", "validation")
    assert deciding(*model, "--calibration", "0.2") != deciding(*model, "--calibration", "0.3")


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse().seed = 1  # type: ignore[misc]
    flags = set(vars(build_parser().parse_args([]))) | {"memory_bank", "xyz_backbone_name"}
    derived = {"fixes", "min_points", "train_maps", "held_out", "readings", "usual"}
    assert {field.name for field in dataclasses.fields(RunOptions)} == flags | derived


def test_names_agree_with_the_networks():
    assert list(RGB_BACKBONE_NAMES) == list(models.RGB_BACKBONES)
    assert list(XYZ_BACKBONE_NAMES) == [*models.XYZ_BACKBONES, FPFH]
    assert {name: tuple(kind.bank_names) for name, kind in METHODS.items()} == METHOD_BANKS


def test_fixes():
    assert set(FIXES) == {field.name for field in dataclasses.fields(Fixes)}
    assert parse("--fix", "scaling", "all").fixes == Fixes.of(["all"]) == Fixes(**dict.fromkeys(FIXES, True))
    assert parse("--fix", "all").fix == sorted(FIXES) and parse("--fix", "all").eval_mode
    assert parse("--fix", "zero_row", "scaling", "zero_row").fix == ["scaling", "zero_row"]
    assert parse("--eval_mode") == parse("--fix", "eval_mode") == parse("--eval_mode", "--fix", "eval_mode")
    assert parse("--eval_mode", "--fix", "scaling").fix == ["eval_mode", "scaling"]


# ---------------------------------------------------------------- what is refused


CONTRADICTIONS = [
    *[(["--method_name", m, "--use_uff", "--memory_bank", "multiple"], "--memory_bank") for m in ONE_BANK],
    *[
        (["--method_name", m, "--use_uff", "--memory_bank", "single"], "--memory_bank")
        for m in METHOD_BANKS
        if m not in ONE_BANK
    ],
    ([], "--use_uff"),
    (["--method_name", "Fusion"], "--use_uff"),
    *[
        (["--method_name", m, "--use_uff", "--scoring", "baseline", "disagreement"], "--scoring disagreement")
        for m in ONE_BANK
    ],
    *[
        (["--method_name", m, "--scoring_map", "bank"], "--scoring_map bank")
        for m in ("DINO", "Point_MAE", "DINO+Point_MAE", "DINO+Point_MAE+add")
    ],
    *[(["--method_name", m, "--save_feature"], "--save_feature") for m in ("DINO", "Point_MAE")],
]


@pytest.mark.parametrize("flags, named", CONTRADICTIONS)
def test_contradiction(capsys, flags, named):
    line = usage_error(capsys, *flags)
    assert named in line and (not flags or flags[1] in line)


def test_every_combination_of_method_scoring_and_map_works_or_is_refused(capsys):
    """What parses can be scored: the same evaluation is scored for real, so that nothing fails after hours."""
    from scoring import evaluation
    from scoring.scorings import SCORINGS
    from scoring_addon import DEFAULTS, parameters_from
    from tests.make_maps import make_evaluation

    everything = make_evaluation(size=16, train=2)
    accepted, methods = 0, [method for method in METHOD_BANKS if METHOD_BANKS[method]]  # Reference takes the frame's
    for method, scoring, source, reference in itertools.product(
        methods, [*SCORINGS, "all"], ("decision", "bank"), ("test", "train")
    ):
        flags = ["--use_uff", "--scoring", scoring, "--scoring_map", source, "--scoring_reference", reference]
        try:
            args = parse(*flags, method=method)
        except SystemExit as end:
            err = capsys.readouterr().err
            assert end.code == 2 and len(err.splitlines()) == 1 and (scoring in err or source == "bank"), (
                method,
                *flags,
            )
            continue
        banks = METHOD_BANKS[method]
        known = everything.training
        trained = [{name: known.bank_map[name][i] for name in banks} for i in range(2)]
        own = dataclasses.replace(
            everything,
            bank_map={name: everything.bank_map[name] for name in banks},
            bank_score={name: everything.bank_score[name] for name in banks},
            training=evaluation.TrainingParts.of(known.path, known.decision_map, trained, DEFAULTS),
        )
        assert "all" not in args.scoring
        scored = evaluation.score(own, args.scoring, parameters_from(args), args.scoring_reference)
        assert set(scored) == {"baseline", *args.scoring} and all(
            len(evaluation.metrics(own, {n: s})) == 1 for n, s in scored.items()
        )
        accepted += 1
    assert accepted > 60


def test_all_is_all_that_the_method_has():
    assert parse("--scoring", "all", method="DINO").scoring == ["baseline", "pixel_max", "pixel_topk", "calibrated"]
    assert len(parse("--scoring", "all").scoring) == 9
    assert parse("--scoring", "all", method="DINO+FPFH").scoring == parse("--scoring", "all").scoring


RGB = ((), ("--rgb_backbone_name", "timm:resnet18"), ("--rgb_backbone_name", "vit_small_patch8_224_dino"))
XYZ = ((), *(("--xyz_backbone_name", name) for name in XYZ_BACKBONE_NAMES))
MORE = (
    ("--rgb_layers", "2", "3"),
    ("--rgb_size", "256"),
    ("--multiscale",),
    ("--num_group", "512"),
    ("--rm_zero_for_project",),
    ("--fix", "all"),
)


@pytest.mark.parametrize("method", METHOD_BANKS)
def test_every_combination_of_backbones_works_or_is_refused(capsys, method):
    needed = needed_backbones(METHOD_BANKS[method])
    for rgb, xyz, more in itertools.product(RGB, XYZ, MORE):
        named = xyz[1] if xyz else FPFH if method in FPFH_METHODS else "Point_MAE"
        histograms = "xyz" in needed and named == FPFH
        sensible = not (
            (method in FPFH_METHODS and named != FPFH)
            or (more[0].startswith("--rgb_") and not (rgb[1:] == ("timm:resnet18",) and "rgb" in needed))
            or (more[0] in ("--multiscale", "--num_group", "--rm_zero_for_project") and histograms)
        )
        words = ("--use_uff", "--method_name", method, *rgb, *xyz, *more)
        if not sensible:
            assert any(flag in usage_error(capsys, *words) for flag in words if flag.startswith("--"))
            continue
        options = parse_arguments(list(words))
        networks = extractor_options(options)
        assert options.xyz_backbone_name == named and networks["xyz"] == (named if "xyz" in needed else None)
        assert networks["rgb"] == (options.rgb_backbone_name if "rgb" in needed else None)
        least = 0 if "xyz" not in needed else 100 if histograms else options.num_group
        assert options.min_points == (least if options.frame == "none" else max(least, FRAME_POINTS))


REFUSED = [
    (("--rgb_backbone_name", "resnet18"), "timm:resnet18"),
    (("--rgb_backbone_name", "timm:"), "timm:"),
    (("--rgb_layers", "0"), "at least 1"),
    (("--rgb_layers", "x"), "whole number"),
    (("--rgb_size", "31"), "from 32"),
    (("--xyz_backbone_name", "fpfh"), "FPFH"),
    (("--method_name", "DINO+FPFH", "--xyz_backbone_name", "Point_Bert"), "--method_name DINO+Point_MAE"),
    (("--method_name", "FPFH", "--save_feature"), "--method_name FPFH has one"),
    (("--method_name", "FPFH", "--save_maps", "m"), "--save_maps"),
    (("--method_name", "DINO+FPFH", "--scoring_map", "bank"), "--scoring_map bank"),
    (("--save_train_maps",), "--save_train_maps needs --save_maps DIR"),
    (("--fit_only",), "--fit_only needs --save_model DIR"),
    (("--calibration", "1.5", "--eval_mode", "--save_model", "m"), "has to be validation, none, or a share"),
    (("--save_model", "m"), "--save_model needs --eval_mode"),
    (("--strict",), "--strict needs --save_model DIR"),
    (("--save_model", "m", "--eval_mode", "--fit_only", "--save_preds"), "--save_preds needs test parts"),
    (("--bank_shards", "2"), "unrecognized arguments: --bank_shards"),
]


@pytest.mark.parametrize("flags, named", REFUSED)
def test_refused_in_one_line(capsys, flags, named):
    assert named in usage_error(capsys, "--use_uff", *flags)


# ---------------------------------------------------------------- what follows


@pytest.mark.parametrize("method", METHOD_BANKS)
def test_calibrated_measures_the_training_parts(method):
    for names, wanted in ((["baseline"], False), (["baseline", "calibrated"], True), (["all"], True)):
        options = parse("--use_uff", "--scoring", *names, method=method)
        assert options.train_maps == method_settings(options)["training_maps"] == wanted


def test_which_scoring_decides_in_a_saved_model():
    for given, first in (
        (["baseline", "calibrated"], "baseline"),
        (["calibrated", "baseline"], "calibrated"),
        (["all"], "calibrated"),
        (["disagreement", "calibrated"], "disagreement"),
    ):
        options = parse("--scoring", *given)
        assert model_scorings(options)[0] == first and sorted(model_scorings(options)) == sorted(options.scoring)


def test_what_differs_from_the_defaults():
    def changed(*flags):
        return changed_options(recorded_options(parse_arguments(list(flags))))

    assert changed("--method_name", "FPFH") == {"method_name": "FPFH"}
    assert changed("--method_name", "DINO+Point_MAE", "--xyz_backbone_name", "FPFH") == {
        "method_name": "DINO+Point_MAE",
        "xyz_backbone_name": "FPFH",
    }
    assert default_of("xyz_backbone_name") == "Point_MAE" and default_of("xyz_backbone_name", "FPFH") == "FPFH"


# ---------------------------------------------------------------- presets


def test_presets():
    assert PRESETS[RELEASED].options == {} and list(PRESETS) == [RELEASED, PAPER, BEST]
    assert parse_arguments(["--use_uff"]) == parse_arguments(["--use_uff", "--preset", RELEASED])
    paper, best = parse_arguments(["--preset", PAPER]), parse_arguments(["--preset", BEST])
    assert (paper.f_coreset, paper.num_workers, paper.use_uff, paper.fixes) == (0.2, 4, True, Fixes())
    assert paper.scoring == ["baseline", "disagreement"] and paper.method_name == "DINO+Point_MAE+Fusion"
    assert paper.fusion_module_path == "checkpoints/uff_pretrain.pth"
    assert best.fixes == Fixes.of(["all"]) and best.scoring == ["calibrated"] and best.f_coreset == 0.1


@pytest.mark.parametrize("preset", [PAPER, BEST])
@pytest.mark.parametrize(
    "words, name, value",
    [
        ("--fusion_module_path mine.pth", "fusion_module_path", "mine.pth"),
        ("--frame part", "frame", "part"),
        ("--f_coreset 0.1", "f_coreset", 0.1),  # by hand it wins also where it is the default
        ("--num_workers 0", "num_workers", 0),
        ("--scoring baseline", "scoring", ["baseline"]),
        ("--fix scaling", "fix", ["scaling"]),
    ],
)
def test_a_flag_given_by_hand_wins(preset, words, name, value):
    words = [*words.split(), "--method_name", "DINO+Point_MAE+Fusion"]
    for line in ([*words, "--preset", preset], ["--preset", preset, *words]):
        options = parse_arguments(line)
        assert getattr(options, name) == value
        others = set(PRESETS[preset].options) - {name, "fix", "scoring"}
        assert all(getattr(options, other) == PRESETS[preset].options[other] for other in others)


@pytest.mark.parametrize("method", METHOD_BANKS)
@pytest.mark.parametrize("preset", [PAPER, BEST])
def test_a_preset_fits_every_method(preset, method):
    options = parse_arguments(["--preset", preset, "--method_name", method])
    assert options.use_uff == ("fusion" in METHOD_BANKS[method]) and options.scoring
    if preset == PAPER:
        both = {"rgb", "xyz"} <= set(METHOD_BANKS[method])
        assert options.scoring == (["baseline", "disagreement"] if both else ["baseline"])


# ---------------------------------------------------------------- help


def shown(capsys, flag):
    with pytest.raises(SystemExit) as ended:
        main.main([flag])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_shows_what_people_use_and_help_all_the_rest(capsys):
    common, everything = shown(capsys, "--help"), shown(capsys, "--help_all")
    flags = {flag for action in build_parser()._actions for flag in action.option_strings}
    assert {flag for flag in flags if flag not in everything} == set()
    listed = {action.dest for action in build_parser()._actions if f"\n  {action.option_strings[0]}" in common}
    assert listed == set(COMMON) and len(COMMON) < 26
    assert common.splitlines()[-1].strip().startswith("main.py --preset paper") and "SUPPRESS" not in common
    assert [name for name in (*FIXES, *METHODS, *RGB_BACKBONE_NAMES) if name not in everything] == []
    assert "ours, not the paper's" in " ".join(everything.split()).rpartition(" calibrated ")[2][:200]
    assert "(default: 0)" in everything and "(default: False)" not in everything


def test_a_first_run_is_told_what_it_needs(capsys):
    line = usage_error(capsys)
    assert all(word in line for word in ("--dataset_path", "--checkpoint_dir", "--fusion_module_path", "make demo"))


@pytest.mark.parametrize("words", [["--help"], ["--no_such_flag"], ["--method_name", "DINO", "--dataset_path", "no"]])
def test_help_and_refusals_wait_for_nothing_slow(words, tmp_path):
    """torch takes seconds; scipy and its like tenths."""
    code = """
import atexit, sys, main
slow = {"torch", "scipy", "sklearn", "timm", "matplotlib", "pandas", "tifffile", "PIL"}
atexit.register(lambda: print(slow & set(sys.modules)))
main.main(sys.argv[1:])"""
    words = [sys.executable, "-c", code, *words, "-o", tmp_path]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("set()\n"), done.stdout + done.stderr
