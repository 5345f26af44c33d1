"""sweeps/plan.py: what a sweep file may hold, which jobs it means, their names and command lines."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from data.names import CATEGORIES
from runs.options import parse_arguments
from sweeps.plan import VARIABLE, Resources, fill_in, plan, read

ROOT = Path(__file__).resolve().parents[2]
DINO = {"method_name": "DINO"}


def planned(options=None, grid=None, exclude=()):
    return plan({"options": {**DINO, **(options or {})}, "grid": grid or {}, "exclude": list(exclude)}, "sweep.yaml")


def read_plan(folder, text):
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return plan(read(path), path)


def test_a_whole_file(tmp_path):
    text = """
options: {method_name: DINO+Point_MAE, use_uff: true, scoring: [baseline, full], save_maps: true, save_feature: true}
grid:
  category: [one, two]
  fix: [null, all, [eval_mode, scaling]]
exclude: [{category: one, fix: all}]
resources: {gpus: 0.5, cpus: 4, memory_gib: 8}
"""
    found = read_plan(tmp_path, text)
    assert found.resources == Resources(0.5, 4, 8) and len(found.jobs) == 5 and len(found.settings) == 3
    assert plan(found.content, "sweep.json") == found
    words = " ".join(found.jobs[-1].words("/out/jobs/x"))
    assert "--fix eval_mode scaling --" in words and "--use_uff --" in words and "--output_dir /out/jobs/x" in words
    assert "--save_maps /out/jobs/x/maps" in words and "--save_feature_path /out/jobs/x/features" in words


def test_words_of_a_host():
    assert fill_in(["${A}/b", "$A", "c${A}${A}"], {"A": "x y"}) == ["x y/b", "$A", "cx yx y"]
    with pytest.raises(InputError, match="MISSING is not set"):
        fill_in(["${MISSING}/b"], {"A": "x"})


@pytest.mark.parametrize(
    "text, words",
    [
        ("grid:\n  sead: [1]", "grid.sead: unknown option; did you mean seed?"),
        ("options:\n  --shots: 3", "options.--shots: unknown option; did you mean shots?"),
        ("options:\n  shots: [1, 2]", "main.py would refuse seed=0, category=bagel: unrecognized arguments: 2"),
        ("options: {method_name: foo}", "argument --method_name: invalid choice: 'foo'"),
        ("options:\n  output_dir: x", "options.output_dir: not here: every job has its own folder"),
        ("grid:\n  category: [no]", "grid.category: False is neither text nor number"),
        ("options: {method_name: DINO}\ngrid: {seed: [1, 1]}", "the job bagel seed=1 is given twice"),
        ("grid:\n  seed: [1]\n  seed: [2]", "line 3: no YAML: seed is given twice"),
        ("options: {method_name: DINO}\ngrid: {scoring: [baseline, [full, foo]]}", "'foo'"),
        ("options: {seed: 1}\ngrid: {seed: [1]}", "grid.seed: stands in options, too"),
        ("grid: {seed: [1, 2]}\nexclude:\n  - {seed: 1}\n  - {seed: 3}", "exclude.seed: 3 is no value in grid"),
        ("grid: {multiscale: [true]}\nexclude:\n  - {multiscale: 1}", "exclude.multiscale: 1 is no value"),
        ("grid: {seed: [1]}\nresources:\n  gpus: 2", "resources.gpus: 2 is not possible"),
        ("grid: {f_coreset: [.nan]}", "--f_coreset"),
        ("options: {method_name: DINO, scoring: disagreement}", "needs an RGB and an xyz bank"),
        ("grid: {category: [cable gland, cable_gland]}", "are one category"),
        ("options: {dataset_type: folder}", "grid.category is missing"),
        (
            "options: {method_name: DINO}\ngrid: {category: [a], f_coreset: [null, 0.1]}",
            "is given twice",
        ),  # 0.1 is the default
        ("grid: [1", "line 1: no YAML"),
        ("", "is not keys with values"),
    ],
)
def test_a_fault_names_file_and_key_or_job(tmp_path, text, words, capsys):
    with pytest.raises(InputError) as error:
        read_plan(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "sweep.yaml")) and words in str(error.value)
    assert "\n" not in str(error.value) and capsys.readouterr() == ("", "")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_the_product_without_what_is_excluded(data):
    axes = {"category": ["a", "b"], "seed": [0, 1], "shots": [1, None], "f_coreset": [0.1, 0.5], "amp": [True, False]}
    grid = {n: data.draw(st.lists(st.sampled_from(values), min_size=1, unique=True)) for n, values in axes.items()}
    combination = st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in grid.items()})
    exclude = data.draw(st.lists(combination.filter(bool), max_size=3))
    every = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    expected = {
        tuple(of.values()) for of in every if not any(all(of[n] == v for n, v in one.items()) for one in exclude)
    }
    if not expected:
        with pytest.raises(InputError, match="no job"):
            planned(grid=grid, exclude=exclude)
        return
    found = planned(grid=grid, exclude=exclude)
    parsed = [parse_arguments(job.words("out")) for job in found.jobs]
    assert {(a.category[0], a.seed, a.shots, a.f_coreset, a.amp) for a in parsed} == expected
    assert len(found.jobs) == len(expected) == len({job.name for job in found.jobs})
    assert {job.setting for job in found.jobs} == set(found.settings)


def test_names_stay_when_a_sweep_grows():
    small = planned({"dataset_path": "${DATA}/x"}, {"category": ["a"], "seed": [0, 1]})
    grid = {"f_coreset": [0.2, 0.1], "seed": [2, 1, 0], "category": ["b", "a"]}
    large = planned({"dataset_path": "${DATA}/x", "num_workers": 3}, grid)
    names = {job.name for job in large.jobs}
    assert {job.name for job in small.jobs} < names and len(names) == 12
    elsewhere = planned({"dataset_path": "${DATA}/y"}, {"category": ["a"], "seed": [0, 1]})
    assert not names & {job.name for job in elsewhere.jobs}


def test_what_the_grid_leaves_out():
    official = planned({"dataset_type": "eyecandies", "seed": 4})
    assert tuple(job.category for job in official.jobs) == CATEGORIES["eyecandies"] and official.jobs[0].seed == 4
    assert [job.category for job in planned({"category": ["a", "b"]}).jobs] == ["a", "b"]
    assert [job.category for job in planned({"category": 3}).jobs] == ["3"]
    assert [job.category for job in planned(grid={"category": [3, 4]}, exclude=[{"category": 3}]).jobs] == ["4"]


@pytest.mark.parametrize(
    "name, count, settings",
    [("few-shot", 300, 6), ("paper-mvtec3d", 60, 2), ("paper-eyecandies", 30, 1), ("paper-realiad_d3", 9, 1)],
)
def test_ready_sweep_files(name, count, settings):
    found = plan(read(ROOT / "docs" / "sweeps" / f"{name}.yaml"), name)
    assert (len(found.jobs), len(found.settings)) == (count, settings)
    args = [parse_arguments(job.words("out")) for job in found.jobs[:: count // 6]]
    assert {arg.method_name for arg in args} == {"DINO+Point_MAE+Fusion"} and all(arg.use_uff for arg in args)
    assert {v for word in found.jobs[0].words("out") for v in VARIABLE.findall(word)} == {"CHECKPOINTS", "DATA"}
    assert {arg.f_coreset for arg in args} == {0.1 if name == "few-shot" else 0.2}
