"""Files of patch pairs: both formats and precisions, damage, widths, the two orders of RGB patches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from tests.make_pairs import RGB, XYZ, make_part, write_parts
from uff_training.patch_pairs import (
    find_pair_files,
    in_matching_order,
    load_pairs,
    patch_of_row,
    read_patch_pair,
    save_patch_pair,
)


def refused(call, *parts):
    """The one line that ``call`` is refused with; it has to hold ``parts``."""
    with pytest.raises(InputError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and all(str(part) in line for part in parts), line
    return line


def test_what_is_written_is_read(tmp_path):
    part = make_part(0)
    save_patch_pair(tmp_path / "a.pt", part)
    assert torch.equal(read_patch_pair(tmp_path / "a.pt"), part)
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True), part)  # the release reads a bare tensor
    part[3, 3] = np.nan
    refused(lambda: save_patch_pair(tmp_path / "b.pt", part), "b.pt", "NaN")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    write_parts(tmp_path, 1, half=True)
    assert len(load_pairs(tmp_path / "toy0.pt", XYZ).xyz) == 108


def test_damage_is_noticed(tmp_path):
    write_parts(tmp_path, 1)
    path = tmp_path / "toy0.pt"
    good = path.read_bytes()
    for position in (len(good) // 2, len(good) // 3):  # one flipped bit among the values
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        find_pair_files(tmp_path, XYZ)
        refused(lambda: read_patch_pair(path), path, "checksum")
    for content in (good[: len(good) // 2], good[:50], b"", b"no tensor at all"):
        path.write_bytes(content)
        refused(lambda: find_pair_files(tmp_path, XYZ), path, "empty" if not content else "cannot be read")


def test_files_that_hold_something_else(tmp_path):
    path = tmp_path / "a.pt"
    for content, told in (
        ({"a": 1}, "dict"),
        (torch.zeros(3), "[3]"),
        (torch.zeros(4, 1920, dtype=torch.long), "int64"),
        (torch.zeros(0, 1920), "[0, 1920]"),
    ):
        torch.save(content, path)
        refused(lambda: find_pair_files(tmp_path), path, told)
    torch.save(torch.full((4, 80), torch.nan), path)
    refused(lambda: load_pairs(path, XYZ), path, "NaN")
    torch.save(make_part(0), path, _use_new_zipfile_serialization=False)  # as torch wrote before 1.6
    assert find_pair_files(tmp_path, XYZ).xyz_dim == XYZ and len(load_pairs(path, XYZ).xyz) == 108


def test_folders(tmp_path):
    refused(lambda: find_pair_files(tmp_path / "none"), tmp_path / "none", "--save_feature")
    refused(lambda: find_pair_files(tmp_path), tmp_path, "--save_feature")
    write_parts(tmp_path, 2)
    (tmp_path / ".toy-0.pt.tmp").write_bytes(b"half a file of a killed run")
    first = find_pair_files(tmp_path, XYZ)
    assert [p.name for p in first.paths] == ["toy0.pt", "toy1.pt"] and first[1:] == (XYZ, RGB)
    write_parts(tmp_path, 1, first=3, rgb_dim=RGB + 1)
    refused(lambda: find_pair_files(tmp_path, XYZ), "toy3.pt", XYZ + RGB, XYZ + RGB + 1)


def test_widths(tmp_path):
    write_parts(tmp_path, 1)
    assert find_pair_files(tmp_path, XYZ)[1:] == (XYZ, RGB)
    for wrong in (XYZ + RGB, 1152):
        refused(lambda: find_pair_files(tmp_path, wrong), "--xyz_dim")
    for wrong in (XYZ - 2, XYZ + 1):
        refused(lambda: load_pairs(tmp_path / "toy0.pt", wrong), "toy0.pt", "--xyz_dim")
    write_parts(tmp_path, 1, background=False)
    assert load_pairs(tmp_path / "toy0.pt", XYZ - 2).rgb.shape[1] == RGB + 2  # nothing shows its width


def test_fusion_outputs_are_refused(tmp_path):
    part = make_part(0)
    part[-36:, :XYZ] = torch.linspace(-1, 1, XYZ)  # what a fusion module makes of zero rows
    save_patch_pair(tmp_path / "toy0.pt", part)
    refused(lambda: load_pairs(tmp_path / "toy0.pt", XYZ), "toy0.pt", "output of a fusion module", "DINO+Point_MAE")


def test_rows_with_a_zero_are_left_out(tmp_path):
    part = make_part(0)
    part[5, 7] = 0
    save_patch_pair(tmp_path / "toy0.pt", part)
    pairs = load_pairs(tmp_path / "toy0.pt", XYZ)
    assert torch.equal(torch.cat([pairs.xyz, pairs.rgb], 1), part[[r for r in range(108) if r != 5]])


def test_orders_are_the_specified_ones():
    matching, released = patch_of_row(3136, "matching"), patch_of_row(3136, "released")
    for row in (0, 1, 57, 783, 784, 2000, 3135):
        a, i = divmod(row, 784)
        y, x = divmod(row, 56)
        assert released[row] == (4 * i + a) % 784 and matching[row] == y // 2 * 28 + x // 2


@settings(max_examples=40, deadline=None)
@given(side=st.integers(1, 9), seed=st.integers(0, 2**31), order=st.sampled_from(["matching", "released"]))
def test_either_order_becomes_the_matching_one(side, seed, order):
    patches = torch.tensor(np.random.default_rng(seed).normal(size=(side**2, 3)))
    found, told = in_matching_order(patches[patch_of_row(4 * side**2, order)])
    assert torch.equal(found, patches[patch_of_row(4 * side**2, "matching")])
    assert told == order or side < 3
    mixed = torch.tensor(np.random.default_rng(seed).normal(size=(4 * side**2 + (seed % 2), 3)))
    found, told = in_matching_order(mixed)
    assert told == "unknown" and torch.equal(found, mixed)
