"""Command lines of main.py for tests: what they parse to, how they are refused, small categories to run them on."""

import csv

import pytest

from runs.options import parse_arguments

TINY = ["--eval_mode", "--group_size", "16", "--num_group", "64", "--num_workers", "0"]  # seconds a part → tenths


def parse(*flags, method="DINO+Point_MAE"):
    """RunOptions of these flags."""
    return parse_arguments(["--method_name", method, *flags])


def usage_error(capsys, *flags):
    """The one line on stderr after the flags were refused with exit code 2."""
    with pytest.raises(SystemExit) as info:
        parse_arguments(list(flags))
    assert info.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: error: ")
    return err


@pytest.fixture
def flags(checkpoints, dataset_path, tmp_path):
    """Words for a run on the fixture's category with stand-in checkpoints."""
    where = {
        "--checkpoint_dir": checkpoints,
        "--dataset_path": dataset_path,
        "--output_dir": tmp_path / "results",
        "--device": "cpu",
    }
    return [str(word) for pair in where.items() for word in pair]


def read_csv(path):
    """Rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.reader(file))


def copy_category(dataset_path, target, train=2, test=("good", "hole")):
    """A category of links to the fixture's files, one test part a folder."""
    for where, count in (("train/good", train), *((f"test/{defect}", 1) for defect in test)):
        for source in (dataset_path / "cookie" / where).glob("*/*"):
            if int(source.stem) < count:
                link = target / where / source.parent.name / source.name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(source)
    return target
