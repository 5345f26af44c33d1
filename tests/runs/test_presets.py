"""--preset: what it sets, that a flag given by hand wins, that it changes no id, and --show_options."""

import subprocess
import sys
from pathlib import Path

import pytest

from feature_extractors.settings import METHOD_BANKS, Fixes
from runs.arguments import build_parser
from runs.options import deciding_options, default_of, parse_arguments, recorded_options
from runs.presets import BEST, PAPER, PRESETS, RELEASED, preset_defaults

ROOT = Path(__file__).resolve().parents[2]
# options of the presets as a user writes them, and another value for each that can be given by hand
WORDS = {
    "use_uff": ["--use_uff"],
    "fusion_module_path": ["--fusion_module_path", "checkpoints/uff_pretrain.pth"],
    "f_coreset": ["--f_coreset", "0.2"],
    "num_workers": ["--num_workers", "4"],
    "fix": ["--fix", "all"],
}
OTHER = {
    "fusion_module_path": (["--fusion_module_path", "mine.pth"], "mine.pth"),
    "f_coreset": (["--f_coreset", "0.1"], 0.1),
    "num_workers": (["--num_workers", "0"], 0),
    "scoring": (["--scoring", "baseline"], ["baseline"]),
    "fix": (["--fix", "scaling"], ["scaling"]),
}
ON_OFF = {"use_uff"}  # a flag without a value: by hand it can only be switched on, as the presets do


def written_out(preset):
    """The words of main.py's command line that a preset stands for."""
    words = []
    for name, value in PRESETS[preset].options.items():
        words += ["--scoring", *value] if name == "scoring" else WORDS[name]
    return words


def test_released_is_the_default_and_changes_nothing():
    assert PRESETS[RELEASED].options == {} and list(PRESETS) == [RELEASED, PAPER, BEST]
    assert build_parser().parse_args([]).preset == RELEASED
    assert vars(parse_arguments(["--use_uff"])) == vars(parse_arguments(["--use_uff", "--preset", RELEASED]))


def test_paper_is_the_setting_of_the_papers_runs():
    args = parse_arguments(["--preset", PAPER])
    assert (args.f_coreset, args.num_workers, args.use_uff, args.fixes) == (0.2, 4, True, Fixes())
    assert args.scoring == ["baseline", "disagreement"] and args.method_name == "DINO+Point_MAE+Fusion"
    assert args.fusion_module_path == "checkpoints/uff_pretrain.pth"


def test_best_switches_all_defects_off():
    args = parse_arguments(["--preset", BEST])
    assert args.fixes == Fixes.of(["all"]) and args.eval_mode and args.scoring == ["calibrated"]
    assert args.f_coreset == default_of("f_coreset")


@pytest.mark.parametrize(
    "preset, name",
    [(preset, name) for preset in (PAPER, BEST) for name in PRESETS[preset].options if name not in ON_OFF],
)
def test_a_flag_given_by_hand_wins(preset, name):
    words, value = OTHER[name]
    for line in ([*words, "--preset", preset], ["--preset", preset, *words]):
        args = parse_arguments(line)
        assert getattr(args, name) == value
        others = set(PRESETS[preset].options) - {name, "fix", "scoring"}
        assert all(getattr(args, other) == PRESETS[preset].options[other] for other in others)


@pytest.mark.parametrize("preset", [PAPER, BEST])
def test_a_value_given_by_hand_wins_also_where_it_is_the_default(preset):
    assert parse_arguments(["--preset", preset, "--scoring", "baseline"]).scoring == ["baseline"]
    assert parse_arguments(["--preset", preset, "--f_coreset", "0.1"]).f_coreset == 0.1


@pytest.mark.parametrize("preset", PRESETS)
def test_ids_depend_on_the_options_and_not_on_the_name(preset):
    by_name = recorded_options(parse_arguments(["--preset", preset, "--use_uff"]))
    by_hand = recorded_options(parse_arguments(["--use_uff", *written_out(preset)]))
    assert by_name["preset"] == preset and by_hand["preset"] == RELEASED  # which run.json records
    assert deciding_options(by_name) == deciding_options(by_hand)
    assert {**by_name, "preset": None} == {**by_hand, "preset": None}


@pytest.mark.parametrize("method", METHOD_BANKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fits_every_method(preset, method):
    words = ["--use_uff"] if preset == RELEASED and "fusion" in METHOD_BANKS[method] else []
    args = parse_arguments(["--preset", preset, "--method_name", method, *words])
    assert args.use_uff == ("fusion" in METHOD_BANKS[method]) and args.scoring
    if preset == PAPER:
        both = {"rgb", "xyz"} <= set(METHOD_BANKS[method])
        assert args.scoring == (["baseline", "disagreement"] if both else ["baseline"])


def test_values_are_copies():
    preset_defaults(PAPER, "DINO+Point_MAE+Fusion")["scoring"].append("full")
    assert parse_arguments(["--preset", PAPER]).scoring == ["baseline", "disagreement"]


@pytest.mark.parametrize("preset", PRESETS)
def test_show_options_prints_the_options_and_does_no_work(preset, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "main.py"),
            "--preset",
            preset,
            "--show_options",
            "--seed",
            "7",
            "--f_coreset",
            "0.2",
            "--dataset_path",
            "nowhere",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "" and list(tmp_path.iterdir()) == []
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[2:]}
    assert rows["--seed"] == ["7", "given"] and rows["--f_coreset"] == ["0.2", "given"]
    assert rows["--preset"][0] == preset and rows["--img_size"] == ["224"] and "--show_options" not in rows
    for name in PRESETS[preset].options:
        if name != "f_coreset":
            assert rows[f"--{name}"][-2:] == ["preset", preset]
    assert all(f"--{name}" in rows for name in vars(build_parser().parse_args([])) if name != "show_options")
