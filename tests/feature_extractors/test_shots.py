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
from tests.command_lines import parse
from tests.make_data import add_part
from tests.runs.conftest import command, parts, run  # noqa: F401 (fixtures)

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


def normal_parts(root, count):
    for i in range(count):
        add_part(root, "train/good", f"{i:03d}")
    return root


def test_dataset_and_loader_give_the_chosen_parts(tmp_path):
    data = TrainDataset("toy", 56, normal_parts(tmp_path, 8), shots=3, seed=5)
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


def test_a_folder_with_one_training_part_is_refused_before_work(tmp_path, capsys):
    add_part(normal_parts(tmp_path / "data", 1), "test/good", "000")
    words = "--method_name DINO --dataset_type folder --scoring calibrated --no_check".split()
    assert main.main([*words, "--dataset_path", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "--scoring calibrated" in err and "at least two" in err


def test_more_shots_than_parts(tmp_path):
    normal_parts(tmp_path, 3)
    with pytest.raises(InputError) as info:
        TrainDataset("toy", 56, tmp_path, shots=4)
    assert all(word in str(info.value) for word in (str(tmp_path / "toy"), "3 training parts", "--shots 4"))


def test_what_is_recorded_of_them(run, tmp_path):  # noqa: F811
    words = (
        "--category TWO --dataset_type folder --f_coreset 1 --shots 3 --seed 3 --save_train_maps --save_maps".split()
    )
    assert run(*words, tmp_path / "maps") == 0
    wanted = [f"two/train/good/rgb/{i:03d}.png" for i in few_shots(4, 3, 3, "two")]
    entry = json.loads((tmp_path / "results" / "run.json").read_text())["categories"]["two"]
    saved = read(tmp_path / "maps" / "two.npz")
    assert entry["shots"] == wanted == saved.meta["training_paths"] == list(saved.training.path)
    assert entry["training_parts"] == len(saved.training.decision_map) == 3
