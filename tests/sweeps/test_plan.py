"""sweeps/plan.py: which jobs a file means, their names, their command lines."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data.names import CATEGORIES
from runs.options import parse_arguments
from sweeps.file import check, read
from sweeps.plan import fill_in, plan, shell_line, variables

ROOT = Path(__file__).resolve().parents[2]
DINO = {"method_name": "DINO"}


def jobs(options=None, grid=None, exclude=()):
    content = {"options": {**DINO, **(options or {})}, "grid": grid or {}, "exclude": list(exclude)}
    return plan(check(content, "sweep.yaml"))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_product_without_what_is_excluded(data):
    axes = {
        "category": ["a", "b", "c"],
        "seed": [0, 1, 2],
        "shots": [1, 5, None],
        "f_coreset": [0.1, 0.5],
        "eval_mode": [True, False],
    }
    grid = {
        name: data.draw(st.lists(st.sampled_from(values), min_size=1, unique=True)) for name, values in axes.items()
    }
    combination = st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in grid.items()})
    exclude = data.draw(st.lists(combination.filter(bool), max_size=3))
    expected = {
        tuple(values)
        for values in itertools.product(*grid.values())
        if not any(all(dict(zip(grid, values))[n] == v for n, v in one.items()) for one in exclude)
    }
    if not expected:
        with pytest.raises(InputError, match="no job"):
            jobs(grid=grid, exclude=exclude)
        return
    planned = jobs(grid=grid, exclude=exclude)
    found = set()
    for job in planned.jobs:
        args = parse_arguments(job.words("out"))
        found.add((args.category[0], args.seed, args.shots, args.f_coreset, args.eval_mode))
        assert (job.category, job.seed) == (args.category[0], args.seed) and args.output_dir == "out"
    assert found == expected and len(planned.jobs) == len(expected) == len({job.name for job in planned.jobs})
    assert {job.setting for job in planned.jobs} == set(planned.settings)


def test_names_stay_when_a_sweep_grows():
    small = jobs({"dataset_path": "${DATA}/x"}, {"category": ["a"], "seed": [0, 1]})
    large = jobs(
        {"dataset_path": "${DATA}/x", "num_workers": 3},
        {"f_coreset": [0.2, 0.1], "seed": [2, 1, 0], "category": ["b", "a"]},
    )
    names = {job.name for job in large.jobs}
    assert {job.name for job in small.jobs} < names and len(names) == 12
    elsewhere = jobs({"dataset_path": "${DATA}/y"}, {"category": ["a"], "seed": [0, 1]})
    assert not names & {job.name for job in elsewhere.jobs}


def test_what_the_grid_leaves_out():
    official = jobs({"dataset_type": "eyecandies", "seed": 4})
    assert tuple(job.category for job in official.jobs) == CATEGORIES["eyecandies"] and official.jobs[0].seed == 4
    assert [job.category for job in jobs({"category": ["a", "b"]}).jobs] == ["a", "b"]
    assert [job.category for job in jobs({"category": 3}).jobs] == ["3"]
    with pytest.raises(InputError, match="grid.category is missing"):
        jobs({"dataset_type": "folder"})
    with pytest.raises(InputError, match="are one category"):
        jobs(grid={"category": ["cable gland", "cable_gland"]})
    with pytest.raises(InputError, match="is given twice"):
        jobs(grid={"category": ["a"], "f_coreset": [None, 0.1]})  # 0.1 is the default


@pytest.mark.parametrize(
    "options, grid, words",
    [
        ({}, {"shots": [0]}, "--shots: 0"),
        ({"max_sample": 4}, {"shots": [3]}, "leave out --max_sample 4"),
        ({}, {"scoring": ["baseline", "disagreement"]}, "needs an RGB and an xyz bank"),
        ({}, {"seed": [-1]}, "--seed: -1"),
        ({"f_coreset": "many"}, {}, "invalid number value"),
        ({"save_maps": True}, {}, "needs an RGB and an xyz bank"),
    ],
)
def test_what_main_would_refuse_is_refused_before_any_work(options, grid, words, capsys):
    with pytest.raises(InputError) as error:
        jobs(options, {"category": ["a"], **grid})
    assert words in str(error.value) and "main.py would refuse" in str(error.value) and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "name, count, settings",
    [("few-shot", 300, 6), ("paper-mvtec3d", 60, 2), ("paper-eyecandies", 30, 1), ("paper-realiad_d3", 9, 1)],
)
def test_ready_sweep_files(name, count, settings):
    planned = plan(read(ROOT / "docs" / "sweeps" / f"{name}.yaml"))
    assert (len(planned.jobs), len(planned.settings)) == (count, settings)
    args = [parse_arguments(job.words("out")) for job in planned.jobs]
    assert {arg.method_name for arg in args} == {"DINO+Point_MAE+Fusion"} and all(arg.use_uff for arg in args)
    assert variables(planned.jobs[0].words("out")) == ["CHECKPOINTS", "DATA"]
    if name == "few-shot":
        assert {arg.shots for arg in args} == {1, 2, 4, 5, 10, 50} and {arg.f_coreset for arg in args} == {0.1}
    else:
        assert {arg.f_coreset for arg in args} == {0.2} and all("disagreement" in arg.scoring for arg in args)
    if name == "paper-mvtec3d":
        assert {(arg.multiscale, arg.group_size, arg.num_group) for arg in args} == {
            (False, 128, 1024),
            (True, 64, 784),
        }
        assert len(args[0].scoring) >= 8


def test_folders_of_a_job():
    options = {"method_name": "DINO+Point_MAE", "save_maps": True, "save_feature": True}
    (job,) = jobs(options, {"category": ["a"]}).jobs
    words = job.words("/out/jobs/x")
    assert words[words.index("--save_maps") + 1] == "/out/jobs/x/maps"
    assert words[words.index("--save_feature_path") + 1] == "/out/jobs/x/features"
    assert words[-2:] == ["--output_dir", "/out/jobs/x"]


def test_host_dependent_words():
    assert fill_in(["${A}/b", "$A", "c${A}${A}"], {"A": "x y"}) == ["x y/b", "$A", "cx yx y"]
    with pytest.raises(InputError, match="MISSING is not set"):
        fill_in(["${MISSING}/b"], {"A": "x"})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8), min_size=1, max_size=4))
def test_a_printed_line_means_the_same_to_a_shell(texts):
    words = [text + "${FAKE_A}" + text for text in texts] + texts
    environment = {"FAKE_A": "a 'b' \"$c\" `d`"}
    echo = [sys.executable, "-c", "import sys; sys.stdout.write('\\0'.join(sys.argv[1:]))"]
    said = subprocess.run(
        ["sh", "-c", shell_line([*echo, *words])], env=environment, stdout=subprocess.PIPE, check=True
    )
    assert said.stdout.decode().split("\0") == fill_in(words, environment)
