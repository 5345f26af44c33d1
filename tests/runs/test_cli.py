import dataclasses
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import main
from feature_extractors.multiple_features import METHODS
from feature_extractors.settings import FPFH, METHOD_BANKS, Fixes, Settings
from models import models
from runs.arguments import FIXES, build_parser
from runs.backbone_options import RGB_BACKBONE_NAMES, XYZ_BACKBONE_NAMES
from runs.options import parse_arguments

DEFAULTS = {
    "method_name": "DINO+Point_MAE+Fusion",
    "max_sample": 400,
    "memory_bank": "multiple",
    "rgb_backbone_name": "vit_base_patch8_224_dino",
    "xyz_backbone_name": "Point_MAE",
    "fusion_module_path": "checkpoints/checkpoint-0.pth",
    "save_feature": False,
    "save_feature_path": "datasets/patch_lib",
    "use_uff": False,
    "save_preds": False,
    "group_size": 128,
    "num_group": 1024,
    "random_state": None,
    "dataset_type": "mvtec3d",
    "dataset_path": "datasets/mvtec3d",
    "img_size": 224,
    "xyz_s_lambda": 1.0,
    "xyz_smap_lambda": 1.0,
    "rgb_s_lambda": 0.1,
    "rgb_smap_lambda": 0.1,
    "fusion_s_lambda": 1.0,
    "fusion_smap_lambda": 1.0,
    "coreset_eps": 0.9,
    "f_coreset": 0.1,
    "asy_memory_bank": None,
    "ocsvm_nu": 0.5,
    "ocsvm_maxiter": 1000,
    "rm_zero_for_project": False,
    "scoring": ["baseline"],
    "scoring_lambda": 0.5,
    "scoring_topk": 64,
    "scoring_weights": [0.6, 0.25, 0.15],
    "scoring_eta": [1.0, 1.0],
    "scoring_delta": 0.2,
    "scoring_map": "decision",
    "category": None,
    "fix": [],
    "eval_mode": False,
    "device": "auto",
    "num_workers": None,
    "output_dir": "results",
    "checkpoint_dir": "checkpoints",
    "seed": 0,
    "seeds": None,
    "multiscale": False,
    "save_maps": None,
    "save_train_maps": False,
    "scoring_recovery": "printed",
    "scoring_reference": "test",
    "shots": None,
    "spool_dir": "results",
    "amp": False,
    "overwrite": False,
    "half_coreset": False,
    "unit": None,
    "no_check": False,
    "rgb_layers": None,
    "rgb_size": None,
    "fpfh_normal_radius": None,
    "fpfh_feature_radius": None,
    "save_feature_format": "pt",
    "save_feature_half": False,
    "save_model": None,
    "fit_only": False,
    "model_precision": "full",
    "calibration": None,
    "calibration_dir": None,
    "quiet": False,
    "preset": "released",
}
FIX_NAMES = {
    "eval_mode",
    "scaling",
    "coreset_sizes",
    "float_maps",
    "max_sample",
    "zero_row",
    "late_fusion",
    "save_feature",
    "zero_points",
}
ONE_BANK = ("DINO", "Point_MAE", "Fusion", "FPFH")


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def parse(*flags, method="DINO+Point_MAE"):
    return parse_arguments(["--method_name", method, *flags])


def usage_error(capsys, *flags):
    """The one line on stderr after the flags were refused with exit code 2."""
    with pytest.raises(SystemExit) as info:
        parse_arguments(list(flags))
    assert info.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: error: ")
    return err


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(name):
    extra = [] if name == "use_uff" else ["--use_uff"]
    args = build_parser().parse_args([]) if name in ("use_uff", "method_name") else parse_arguments(extra)
    assert getattr(args, name) == DEFAULTS[name]


def test_no_option_beyond_the_documented_ones():
    derived = {"min_points", "train_maps", "fixes", "held_out"}
    assert set(vars(parse_arguments(["--use_uff"]))) == set(DEFAULTS) | derived


@pytest.mark.parametrize(
    "method, banks",
    [
        ("DINO", ["rgb"]),
        ("Point_MAE", ["xyz"]),
        ("Fusion", ["fusion"]),
        ("DINO+Point_MAE", ["xyz", "rgb"]),
        ("DINO+Point_MAE+add", ["xyz", "rgb"]),
        ("DINO+Point_MAE+Fusion", ["xyz", "rgb", "fusion"]),
    ],
)
def test_memory_bank_follows_from_the_method(method, banks):
    fitting = "single" if len(banks) == 1 else "multiple"
    assert list(METHOD_BANKS[method]) == banks
    assert parse("--use_uff", method=method).memory_bank == fitting
    assert parse("--use_uff", "--memory_bank", fitting, method=method).memory_bank == fitting


@pytest.mark.parametrize("method, groups", [("DINO", 0), ("Point_MAE", 7), ("Fusion", 7), ("DINO+Point_MAE", 7)])
def test_min_points(method, groups):
    assert parse("--use_uff", "--num_group", "7", method=method).min_points == groups


def test_names_agree_with_the_networks():
    assert list(RGB_BACKBONE_NAMES) == list(models.RGB_BACKBONES)
    assert list(XYZ_BACKBONE_NAMES) == [*models.XYZ_BACKBONES, FPFH]
    assert list(METHOD_BANKS) == list(METHODS)
    assert {name: list(kind.bank_names) for name, kind in METHODS.items()} == {
        k: list(v) for k, v in METHOD_BANKS.items()
    }


def test_fix_all():
    assert set(FIXES) == FIX_NAMES == {field.name for field in dataclasses.fields(Fixes)}
    assert parse("--fix", "all").fixes == Fixes.of(["all"]) == Fixes(**dict.fromkeys(FIX_NAMES, True))
    assert parse("--fix", "all").fix == sorted(FIX_NAMES)
    assert parse("--fix", "scaling", "all").fix == sorted(FIX_NAMES)
    assert parse("--fix", "zero_row", "scaling", "zero_row").fix == ["scaling", "zero_row"]
    assert parse("--fix", "all").eval_mode and not parse("--fix", "scaling").eval_mode


def test_eval_mode_equals_its_fix():
    assert (
        vars(parse("--eval_mode"))
        == vars(parse("--fix", "eval_mode"))
        == vars(parse("--eval_mode", "--fix", "eval_mode"))
    )
    assert parse("--eval_mode", "--fix", "scaling").fix == ["eval_mode", "scaling"]
    assert parse("--eval_mode").eval_mode


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


@pytest.mark.parametrize(
    "flags",
    [
        ["--scoring", "disagreement"],
        ["--scoring", "disagreement", "--method_name", "DINO+Point_MAE+add"],
        ["--save_feature"],
        ["--scoring_map", "bank", "--use_uff", "--method_name", "DINO+Point_MAE+Fusion"],
        ["--save_feature", "--use_uff", "--method_name", "Fusion"],
    ],
)
def test_sensible_combination(flags):
    parse(*flags)


def test_every_combination_of_method_scoring_and_map_works_or_is_refused(capsys):
    """What parses can be scored: the same evaluation is scored for real, so that nothing fails after hours."""
    from scoring import evaluation
    from scoring.scorings import ALL
    from scoring_addon import DEFAULTS, parameters_from
    from tests.make_maps import make_evaluation

    everything = make_evaluation(size=16, train=2)
    accepted = 0
    for method, scoring, source, reference in itertools.product(
        METHOD_BANKS, [*ALL, "all"], ("decision", "bank"), ("test", "train")
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


@pytest.mark.parametrize("method", METHOD_BANKS)
def test_calibrated_measures_the_training_parts(method):
    from runs.options import method_settings

    for scoring, wanted in (
        (["baseline"], False),
        (["calibrated"], True),
        (["baseline", "calibrated"], True),
        (["all"], True),
    ):
        args = parse("--use_uff", "--scoring", *scoring, method=method)
        assert args.train_maps == method_settings(args)["training_maps"] == wanted
        assert args.scoring == scoring or scoring == ["all"]


def test_which_scoring_decides_in_a_saved_model():
    from runs.options import model_scorings

    for given, first in (
        (["baseline", "calibrated"], "baseline"),
        (["calibrated", "baseline"], "calibrated"),
        (["all"], "calibrated"),
        (["disagreement", "calibrated"], "disagreement"),
    ):
        args = parse("--scoring", *given)
        assert model_scorings(args)[0] == first and sorted(model_scorings(args)) == sorted(args.scoring)
    assert model_scorings(parse("--scoring", "all", method="DINO"))[0] == "calibrated"


def test_help_names_calibrated_as_ours(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "ours, not the paper's" in text.rpartition(" calibrated ")[2][:200]


def test_a_first_run_is_told_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        parse_arguments([])
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1 and all(
        word in line for word in ("--dataset_path", "--checkpoint_dir", "--fusion_module_path", "make demo")
    )


def test_help_shows_defaults_of_zero(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "of numpy, random and torch, set anew for each category (default: 0)" in words
    assert "(default: False)" not in words


def test_the_settings_follow_the_command_line():
    from runs.options import default_of, method_settings

    settings = Settings(**method_settings(parse_arguments(["--use_uff"])))
    released = Settings()
    for name in {field.name for field in dataclasses.fields(released)} - {"spool_dir", "score_lambdas", "map_lambdas"}:
        assert getattr(settings, name) == getattr(released, name), name
    assert dict(settings.score_lambdas) == dict(released.score_lambdas) and dict(settings.map_lambdas) == dict(
        released.map_lambdas
    )
    assert default_of("f_coreset") == released.f_coreset


def test_help_answers_without_torch():
    code = (
        "import sys, main\ntry:\n    main.main(['--help'])\n"
        "except SystemExit as end:\n    assert 'torch' not in sys.modules; sys.exit(end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(main.__file__).parent)
    assert done.returncode == 0 and done.stderr == ""
    words = done.stdout.replace(",", " ").split()
    assert [name for name in DEFAULTS if f"--{name}" not in words] == []
    assert [name for name in (*FIX_NAMES, "all") if f"{name}" not in words and f"{name}:" not in words] == []
    assert [name for name in (*METHODS, *models.RGB_BACKBONES) if name not in words] == []
