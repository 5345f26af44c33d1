"""Values of the command line that are out of range, and those at the limit, which are allowed."""

import argparse

import pytest

from common.argument_types import share
from tests.command_lines import usage_error

OUT_OF_RANGE = """max_sample 0, max_sample 1.5, max_sample nan, shots 0, group_size 0, num_group 2, img_size 55,
num_workers -1, coreset_eps 0, coreset_eps 1, coreset_eps nan, f_coreset 0, f_coreset 1.01, asy_memory_bank 0,
ocsvm_nu 0, ocsvm_nu 1.1, ocsvm_maxiter 0, seed -1, seed x, seed 4294967296, random_state -1, random_state 1.5,
xyz_s_lambda nan, fusion_smap_lambda inf, scoring_lambda -1, scoring_lambda inf, scoring_topk 0, scoring_delta -0.1,
scoring_weights 1 nan 1, scoring_weights 1 1, scoring_eta inf 1, scoring other, fix other, fix, calibration other,
calibration 1, calibration nan""".replace("\n", " ").split(", ")
OUT_OF_RANGE += [f"{flag} 1{'0' * 400}" for flag in ("seed", "max_sample", "scoring_lambda")]


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_out_of_range(capsys, text):
    flag, *values = text.split()
    assert f"--{flag}" in usage_error(capsys, "--use_uff", f"--{flag}", *values)


@pytest.mark.parametrize("text, value", [("0.01", 0.01), ("1%", 0.01), ("2.5 %", 0.025), ("100%", 1.0), ("1", 1.0)])
def test_shares(text, value):
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "-1%", "5", "101%", "nan", "%", "five", ""])
def test_no_shares(text):
    with pytest.raises(argparse.ArgumentTypeError, match="such as 0.01 or 1%"):
        share(text)
