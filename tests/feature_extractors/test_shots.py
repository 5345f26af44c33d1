"""--shots K: which training parts, the same in every pass, and what is recorded of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import main
from common.errors import InputError
from dataset import TrainDataset, few_shots, get_data_loader
from runs.options import parts_used
from scoring.evaluation import read
from tests.command_lines import TINY, copy_category, flags, parse, usage_error  # noqa: F401 (flags is a fixture)
from tests.make_data import add_part

NAMES = st.text("ab-_ C", min_size=1, max_size=6)


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), NAMES, st.data())
def test_exactly_k_sorted_and_nested(count, seed, name, data):
    shots = data.draw(st.integers(1, count))
    chosen = few_shots(count, shots, seed, name)
    assert chosen == sorted(set(chosen)) and len(chosen) == shots and set(chosen) <= set(range(count))
    assert set(chosen) <= set(few_shots(count, min(shots + 1, count), seed, name))
    assert chosen == few_shots(count, shots, seed, name.swapcase().replace("-", " "))


def test_pinned():
    """A change of the draw would change published few-shot runs."""
    assert few_shots(244, 5, 0, "bagel") == [10, 68, 72, 179, 223]


def parts(root, count):
    for i in range(count):
        add_part(root, "train/good", f"{i:03d}")
    return root


def test_dataset_and_loader_give_the_chosen_parts(tmp_path):
    data = TrainDataset("toy", 56, parts(tmp_path, 8), shots=3, seed=5)
    wanted = [f"toy/train/good/rgb/{i:03d}.png" for i in few_shots(8, 3, 5, "toy")]
    assert [data.describe(i)[0] for i in range(len(data))] == wanted and len(TrainDataset("toy", 56, tmp_path)) == 8
    args = parse("--shots", "3", "--seed", "5", "--dataset_path", str(tmp_path), "--num_workers", "0")
    loader = get_data_loader("train", "toy", 56, args)
    assert loader.dataset.files == data.files and len(list(loader)) == 3


@pytest.mark.parametrize(
    "given, count",
    [("--shots 3", 3), ("--max_sample 3", 4), ("--max_sample 3 --fix max_sample", 3), ("--shots 8", 8), ("", 8)],
)
def test_number_of_parts_that_are_used(given, count):
    """As released, --max_sample uses one more."""
    assert parts_used(parse(*given.split()), 8) == count


@pytest.mark.parametrize("extra", [["--fix", "late_fusion"], ["--scoring_reference", "train"], ["--scoring", "all"]])
def test_one_part_cannot_be_measured_without_itself(capsys, extra):
    assert "--shots 1" in usage_error(capsys, "--method_name", "DINO+Point_MAE", "--shots", "1", *extra)
    assert parse("--shots", "2", *extra).shots == 2
    assert parse("--shots", "1", "--fix", "late_fusion", method="DINO").shots == 1
    assert "--asy_memory_bank 1" in usage_error(
        capsys, "--method_name", "DINO+Point_MAE", "--asy_memory_bank", "1", *extra
    )


def test_a_folder_with_one_training_part_is_refused_before_work(tmp_path, capsys):
    add_part(parts(tmp_path / "data", 1), "test/good", "000")
    words = "--method_name DINO --dataset_type folder --scoring calibrated --no_check".split()
    assert main.main([*words, "--dataset_path", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "--scoring calibrated" in err and "at least two" in err


def test_more_shots_than_parts(tmp_path):
    parts(tmp_path, 3)
    assert len(TrainDataset("toy", 56, tmp_path, shots=3)) == 3
    with pytest.raises(InputError) as info:
        TrainDataset("toy", 56, tmp_path, shots=4)
    assert all(word in str(info.value) for word in (str(tmp_path / "toy"), "3 training parts", "--shots 4"))


def test_not_with_max_sample(capsys):
    assert "--max_sample 7" in usage_error(capsys, "--method_name", "DINO", "--shots", "5", "--max_sample", "7")
    assert parse("--shots", "500").max_sample == 400  # no bound then


@pytest.mark.slow
def test_run(flags, dataset_path, tmp_path, capsys):  # noqa: F811
    """Two of four parts in both passes; a category with fewer is left out; odd spellings; paths in run.json and in
    the saved maps."""
    data = tmp_path / "data"
    words = "--method_name DINO+Point_MAE --f_coreset 0.03 --fix coreset_sizes --dataset_type folder --shots 2 --seed 3"
    maps = ["--save_maps", str(tmp_path / "maps"), "--save_train_maps"]
    copy_category(dataset_path, data / "Cookie-A", train=4)
    copy_category(dataset_path, data / "few", train=1)
    names = ["--category", "cookie_a", "COOKIE A", "few"]
    code = main.main([*flags, *TINY, *words.split(), "--dataset_path", str(data), *names, *maps])
    out, err = capsys.readouterr()
    assert code == 1 and "few is left out" in err and "--shots 2" in err
    assert out.count("Cookie-A: DINO") == 1 and "Cookie-A |" in out
    run = json.loads((tmp_path / "results" / "run.json").read_text())
    wanted = [f"Cookie-A/train/good/rgb/{i:03d}.png" for i in few_shots(4, 2, 3, "cookie a")]
    entry = run["categories"]["Cookie-A"]
    assert entry["shots"] == wanted and entry["training_parts"] == 2 and set(run["categories"]) == {"Cookie-A"}
    saved = read(tmp_path / "maps" / "Cookie-A.npz")
    assert (
        saved.meta["training_paths"] == wanted
        and saved.training.path == tuple(wanted)
        and len(saved.training.decision_map) == 2
    )
