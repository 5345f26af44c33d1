"""Values of the command line that are out of range, and those at the limit, which are allowed."""

import argparse

import pytest

from common.argument_types import share
from tests.command_lines import parse, usage_error

OUT_OF_RANGE = [
    "max_sample 0",
    "max_sample -1",
    "max_sample 1.5",
    "shots 0",
    "shots 1.5",
    "max_sample nan",
    "group_size 0",
    "num_group 2",
    "img_size 55",
    "num_workers -1",
    "coreset_eps 0",
    "coreset_eps 1",
    "coreset_eps nan",
    "f_coreset 0",
    "f_coreset -0.1",
    "f_coreset 1.01",
    "f_coreset nan",
    "asy_memory_bank 0",
    "ocsvm_nu 0",
    "ocsvm_nu 1.1",
    "ocsvm_nu nan",
    "ocsvm_maxiter 0",
    "seed -1",
    "seed x",
    "seed 4294967296",
    "random_state -1",
    "random_state 4294967296",
    "random_state 1.5",
    *[
        f"{bank}_{kind}_lambda {value}"
        for bank in ("xyz", "rgb", "fusion")
        for kind in ("s", "smap")
        for value in ("nan", "inf")
    ],
    "scoring_lambda -1",
    "scoring_lambda nan",
    "scoring_lambda inf",
    "scoring_topk 0",
    "scoring_topk 2.5",
    "scoring_delta -0.1",
    "scoring_delta nan",
    "scoring_weights 1 nan 1",
    "scoring_weights 1 1",
    "scoring_eta inf 1",
    "scoring_eta 1",
    "scoring_eta 1 x",
    *[f"{flag} 1{'0' * 400}" for flag in ("seed", "random_state", "max_sample", "scoring_topk", "scoring_lambda")],
    "scoring other",
    "scoring_map other",
    "fix other",
    "fix",
    "method_name other",
    "memory_bank other",
    "device other",
    "rgb_backbone_name other",
    "xyz_backbone_name other",
    "dataset_type other",
    "calibration other",
    "calibration 0",
    "calibration 1",
    "calibration nan",
    "model_precision other",
]


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_out_of_range(capsys, text):
    flag, *values = text.split()
    assert f"--{flag}" in usage_error(capsys, "--use_uff", f"--{flag}", *values)


@pytest.mark.parametrize(
    "text",
    [
        "f_coreset 1",
        "coreset_eps 0.999",
        "ocsvm_nu 1",
        "num_group 3",
        "img_size 56",
        "num_workers 0",
        "max_sample 1",
        "seed 4294967295",
        "random_state 0",
        "scoring_lambda 0",
        "scoring_topk 1",
        "xyz_s_lambda -1",
    ],
)
def test_limits_are_allowed(text):
    flag, value = text.split()
    assert getattr(parse(f"--{flag}", value), flag) == float(value)


@pytest.mark.parametrize("text, value", [("0.01", 0.01), ("1%", 0.01), ("2.5 %", 0.025), ("100%", 1.0), ("1", 1.0)])
def test_shares(text, value):
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "-1%", "5", "101%", "nan", "%", "five", ""])
def test_no_shares(text):
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0.01 or 1%"):
        share(text)
