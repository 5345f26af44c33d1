"""What main.py's command line parses to: ids of runs, contradictions, presets, what follows, --help."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import main
from feature_extractors.multiple_features import METHODS
from feature_extractors.settings import FPFH, METHOD_BANKS, Fixes
from models import models
from runs.flags import COMMON, FIXES, RGB_BACKBONE_NAMES, XYZ_BACKBONE_NAMES, build_parser
from runs.options import (
    changed_options,
    deciding_options,
    default_of,
    model_scorings,
    parse_arguments,
    recorded_options,
    run_id,
)
from runs.presets import BEST, PAPER, PRESETS
from scoring import evaluation
from scoring.scorings import SCORINGS
from scoring_addon import DEFAULTS, parameters_from
from tests.command_lines import parse, usage_error
from tests.make_maps import make_evaluation

ROOT = Path(__file__).resolve().parents[2]
ONE_BANK = ("DINO", "Point_MAE", "Fusion", "FPFH", "Reference")  # Reference has none, which is one way of "single"

IDS = [  # as version 0.9 gave them
    ("--use_uff", "1835c169cf16"),
    ("--use_uff --preset paper", "60594c8c5a52"),
    ("--use_uff --fix all --scoring calibrated", "4fabee5d1745"),
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
    recorded = recorded_options(parse_arguments(words.split()))
    gone = {"model_precision": "full", "half_coreset": False, "bank_shards": 1}  # of records of that version
    for options in (recorded, {**recorded, **gone}):
        assert run_id(deciding_options(options), [SimpleNamespace(network="a", sha256="b")]) == expected
    assert "half_coreset" in changed_options({**recorded, "half_coreset": True})


def test_ids_follow_from_what_can_change_a_score():
    def deciding(*flags):
        return deciding_options(recorded_options(parse(*flags)))

    same = ("--device", "cpu", "--num_workers", "3", "--output_dir", "x", "--dataset_path", "y", "--save_preds")
    assert deciding() == deciding(*same) == deciding("--save_feature") != deciding("--seed", "1")
    model = ("--eval_mode", "--save_model", "m")
    assert deciding("--eval_mode") == deciding(*model, "--calibration", "validation")
    assert deciding(*model, "--calibration", "0.2") != deciding(*model, "--calibration", "0.3")


def test_what_differs_from_the_defaults():
    def changed(*flags):
        return changed_options(recorded_options(parse_arguments(list(flags))))

    assert changed("--method_name", "FPFH") == {"method_name": "FPFH"}
    other = {"method_name": "DINO+Point_MAE", "xyz_backbone_name": "Point_Bert"}
    assert changed("--method_name", "DINO+Point_MAE", "--xyz_backbone_name", "Point_Bert") == other
    assert default_of("xyz_backbone_name") == "Point_MAE" and default_of("xyz_backbone_name", "FPFH") == "FPFH"


def test_names_agree_with_the_networks():
    assert list(RGB_BACKBONE_NAMES) == list(models.RGB_BACKBONES)
    assert list(XYZ_BACKBONE_NAMES) == [*models.XYZ_BACKBONES, FPFH]
    assert {name: tuple(kind.bank_names) for name, kind in METHODS.items()} == METHOD_BANKS


def test_fixes():
    assert set(FIXES) == {field.name for field in dataclasses.fields(Fixes)}
    assert parse("--fix", "scaling", "all").fixes == Fixes(**dict.fromkeys(FIXES, True))
    assert parse("--fix", "all").fix == sorted(FIXES) and parse("--fix", "all").eval_mode
    assert parse("--eval_mode") == parse("--fix", "eval_mode") == parse("--eval_mode", "--fix", "eval_mode")
    assert parse("--eval_mode", "--fix", "scaling", "scaling").fix == ["eval_mode", "scaling"]


# ---------------------------------------------------------------- what is refused


MODEL = "--eval_mode --save_model m"
REFUSED = [  # words beside --use_uff; what the line says
    *[
        (f"--method_name {m} --memory_bank {'multiple' if m in ONE_BANK else 'single'}", "--memory_bank")
        for m in METHOD_BANKS
    ],
    *[(f"--method_name {m} --scoring baseline disagreement", "--scoring disagreement") for m in ONE_BANK],
    *[
        (f"--method_name {m} --scoring_map bank", "--scoring_map bank")
        for m in ("DINO", "Point_MAE", "DINO+FPFH", "DINO+Point_MAE+add")
    ],
    ("--method_name DINO --save_feature", "--save_feature needs a method with both modalities, --method_name DINO"),
    ("--method_name FPFH --save_maps m", "--save_maps"),
    ("--rgb_backbone_name resnet18", "timm:resnet18"),
    ("--method_name DINO+FPFH --xyz_backbone_name Point_Bert", "--method_name DINO+Point_MAE"),
    ("--rgb_size 256", "--rgb_size is for timm:NAME and efficientnet_lite0: vit_base_patch8_224_dino is taken"),
    (
        "--method_name DINO+Point_MAE --xyz_backbone_name FPFH",
        "--xyz_backbone_name FPFH is for --method_name DINO+FPFH",
    ),
    ("--method_name DINO+FPFH --save_feature", "--save_feature is for point transformers"),
    ("--method_name FPFH --rgb_size 256", "--rgb_size needs a method with RGB patches, --method_name FPFH has none"),
    *[
        (f"--method_name DINO+FPFH {flag}", flag.split()[0])
        for flag in ("--multiscale", "--num_group 512", "--group_size 64", "--rm_zero_for_project")
    ],
    ("--save_train_maps", "--save_train_maps needs --save_maps DIR"),
    ("--fit_only", "--fit_only needs --save_model DIR"),
    ("--save_model m", "--save_model needs --eval_mode"),
    (f"--calibration 1.5 {MODEL}", "has to be validation, none, or a share"),
    (f"--calibration none --calibration_dir d {MODEL}", "leave out --calibration"),
    (f"--fit_only --save_preds {MODEL}", "--save_preds needs test parts"),
    ("--shots 3 --max_sample 4", "leave out --max_sample 4"),
    ("--shots 1 --scoring calibrated", "a single training part cannot be measured"),
    ("--ignore m.png", "--ignore is a mask in the part's frame"),
    ("--bank_shards 2", "unrecognized arguments: --bank_shards"),
]


@pytest.mark.parametrize("words, told", REFUSED)
def test_refused_in_one_line(capsys, words, told):
    assert told in usage_error(capsys, "--use_uff", *words.split())


def test_a_first_run_is_told_what_it_needs(capsys):
    line = usage_error(capsys)
    assert all(word in line for word in ("--use_uff", "--dataset_path", "--checkpoint_dir", "--fusion_module_path"))
    assert "make demo" in line and "--use_uff" in usage_error(capsys, "--method_name", "Fusion")


def test_every_combination_of_method_scoring_and_map_works_or_is_refused(capsys):
    """What parses can be scored: the same evaluation is scored for real, so that nothing fails after hours."""
    whole, accepted = make_evaluation(size=16, train=2), 0
    methods = [method for method in METHOD_BANKS if METHOD_BANKS[method]]  # Reference takes the frame's
    for method, scoring, source, reference in itertools.product(
        methods, [*SCORINGS, "all"], ("decision", "bank"), ("test", "train")
    ):
        flags = ["--use_uff", "--scoring", scoring, "--scoring_map", source, "--scoring_reference", reference]
        try:
            args = parse(*flags, method=method)
        except SystemExit as end:
            err = capsys.readouterr().err
            assert end.code == 2 and len(err.splitlines()) == 1 and (scoring in err or source == "bank"), flags
            continue
        banks, known = METHOD_BANKS[method], whole.training
        trained = [{name: known.bank_map[name][i] for name in banks} for i in range(2)]
        own = dataclasses.replace(
            whole,
            bank_map={name: whole.bank_map[name] for name in banks},
            bank_score={name: whole.bank_score[name] for name in banks},
            training=evaluation.TrainingParts.of(known.path, known.decision_map, trained, DEFAULTS),
        )
        scored = evaluation.score(own, args.scoring, parameters_from(args), args.scoring_reference)
        assert set(scored) == set(evaluation.metrics(own, scored)) == {"baseline", *args.scoring}
        accepted += 1
    assert accepted > 60


# ---------------------------------------------------------------- what follows


@pytest.mark.parametrize(
    "given, first", [("baseline calibrated", "baseline"), ("all", "calibrated"), ("disagreement full", "disagreement")]
)
def test_which_scoring_decides_in_a_saved_model(given, first):
    options = parse("--scoring", *given.split())
    assert model_scorings(options)[0] == first and sorted(model_scorings(options)) == sorted(options.scoring)


@pytest.mark.parametrize("preset", [PAPER, BEST])
@pytest.mark.parametrize(
    "words, name, value",
    [
        ("", None, None),
        ("--fusion_module_path mine.pth", "fusion_module_path", "mine.pth"),
        ("--frame part", "frame", "part"),
        ("--f_coreset 0.1", "f_coreset", 0.1),  # by hand it wins also where it is the default
        ("--scoring baseline", "scoring", ["baseline"]),
        ("--fix scaling", "fix", ["scaling"]),
    ],
)
def test_a_flag_given_by_hand_wins_over_the_preset(preset, words, name, value):
    words = [*words.split(), "--method_name", "DINO+Point_MAE+Fusion"]
    for line in ([*words, "--preset", preset], ["--preset", preset, *words]):
        expected = {**PRESETS[preset].options, **({name: value} if name else {})}
        expected["fix"] = Fixes.of(expected.get("fix", [])).names
        assert {option: getattr(parse_arguments(line), option) for option in expected} == expected


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
