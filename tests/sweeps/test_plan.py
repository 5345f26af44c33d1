"""sweeps/plan.py: what a sweep file may hold, which jobs it means, their names and command lines."""

from pathlib import Path

import pytest

from common.errors import InputError
from data.names import CATEGORIES
from runs.options import parse_arguments
from sweeps.plan import Resources, plan, read

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
    assert found.resources == Resources(0.5, 4, 8) and len(found.settings) == 3
    left = {(job.category, dict(job.setting)["fix"]) for job in found.jobs}
    scaled = ("eval_mode", "scaling")
    assert left == {("one", None), ("one", scaled), ("two", None), ("two", "all"), ("two", scaled)}
    words = " ".join(found.jobs[-1].words("/out/jobs/x"))
    assert "--fix eval_mode scaling --" in words and "--use_uff --" in words and "--output_dir /out/jobs/x" in words
    assert "--save_maps /out/jobs/x/maps" in words and "--save_feature_path /out/jobs/x/features" in words


@pytest.mark.parametrize(
    "text, words",
    [
        ("grid:\n  sead: [1]", "grid.sead: unknown option; main.py --help_all lists them"),
        ("options:\n  shots: [1, 2]", "main.py would refuse seed=0, category=bagel: unrecognized arguments: 2"),
        ("options:\n  output_dir: x", "options.output_dir: not here: every job has its own folder"),
        ("grid:\n  seed: [1]\n  seed: [2]", "line 3: no YAML: seed is given twice"),
        ("options: {method_name: DINO}\ngrid: {scoring: [baseline, [full, foo]]}", "'foo'"),
        ("options: {seed: 1}\ngrid: {seed: [1]}", "grid.seed: stands in options, too"),
        ("grid: {seed: [1, 2]}\nexclude:\n  - {seed: 1}\n  - {seed: 3}", "exclude.seed: 3 is no value in grid"),
        ("grid: {seed: [1]}\nresources:\n  gpus: 2", "resources.gpus: 2 is not possible"),
        ("grid: {category: [cable gland, cable_gland]}", "are one category"),
        ("options: {dataset_type: folder}", "grid.category is missing"),
        ("options: {method_name: DINO}\ngrid: {category: [a]}\nexclude: [{category: a}]", "exclude leaves no job"),
        ("options: {method_name: DINO}\ngrid: {f_coreset: [null, 0.1]}", "is given twice"),  # 0.1 is the default
    ],
)
def test_a_fault_names_file_and_key_or_job(tmp_path, text, words, capsys):
    with pytest.raises(InputError) as error:
        read_plan(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "sweep.yaml")) and words in str(error.value)
    assert "\n" not in str(error.value) and capsys.readouterr() == ("", "")


def test_names_stay_when_a_sweep_grows():
    small = planned({"dataset_path": "data/x"}, {"category": ["a"], "seed": [0, 1]})
    grid = {"f_coreset": [0.2, 0.1], "seed": [2, 1, 0], "category": ["b", "a"]}
    large = planned({"dataset_path": "data/x", "num_workers": 3}, grid)
    names = {job.name for job in large.jobs}
    assert {job.name for job in small.jobs} < names and len(names) == 12
    elsewhere = planned({"dataset_path": "data/y"}, {"category": ["a"], "seed": [0, 1]})
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
    assert {arg.f_coreset for arg in args} == {0.1 if name == "few-shot" else 0.2}
