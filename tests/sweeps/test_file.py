"""sweeps/file.py: what a sweep file may hold, and that a fault names its line and key."""

import pytest

from common.errors import InputError
from runs.arguments import build_parser
from sweeps.file import REFUSED, Resources, check, read, schema


def written(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file(tmp_path):
    sweep = read(
        written(
            tmp_path,
            """
options: {method_name: DINO, use_uff: true, scoring: [baseline, full], f_coreset: 0.2}
grid:
  category: [one, two]
  fix: [null, all, [eval_mode, scaling]]
exclude: [{category: one, fix: all}]
resources: {gpus: 0.5, cpus: 4, memory_gib: 8}
""",
        )
    )
    assert sweep.options["f_coreset"] == 0.2 and sweep.grid["fix"] == [None, "all", ["eval_mode", "scaling"]]
    assert sweep.resources == Resources(0.5, 4, 8) and sweep.line("grid", "fix", 1).endswith("sweep.yaml, line 5")
    again = check(sweep.content(), "sweep.json")
    assert again._replace(name="", lines={}) == sweep._replace(name="", lines={})


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("grid:\n  sead: [1]", 2, "grid.sead: unknown key; did you mean seed?"),
        ("options:\n  use_uff: true\n  --shots: 3", 3, "options.--shots: unknown key; did you mean shots?"),
        ("options:\n  shots: [1, 2]", 2, "options.shots: [1, 2] is not a text or a number"),
        ("options:\n  use_uff: 3", 2, "options.use_uff: 3 is not true or false"),
        ("options: {method_name: foo}", 1, "options.method_name: 'foo' is not one of DINO, "),
        ("options:\n  seeds: [0, 1]", 2, "options.seeds: not here: a sweep has a job per seed"),
        ("options:\n  output_dir: x", 2, "options.output_dir: not here: every job has its own folder"),
        ("options:\n  save_maps: maps", 2, "options.save_maps: 'maps' is not true or false"),
        ("grid:\n  category: bagel", 2, "grid.category: 'bagel' is not a list"),
        ("grid:\n  category: [no]", 2, "grid.category.0: False is not a text"),
        ("grid:\n\n  seed: []", 3, "grid.seed: is empty"),
        ("grid:\n  seed: [1, 1]", 2, "grid.seed: a value is given twice"),
        ("grid:\n  seed: [1]\n  seed: [2]", 3, "grid.seed: is given twice"),
        ("grid:\n  scoring:\n    - baseline\n    - [full, foo]", 4, "grid.scoring.1: ['full', 'foo'] is not one of"),
        ("options: {seed: 1}\ngrid: {seed: [1]}", 2, "grid.seed: seed stands in options, too"),
        ("grid: {seed: [1, 2]}\nexclude:\n  - {seed: 1}\n  - {seed: 3}", 4, "exclude.seed: 3 is no value of grid.seed"),
        ("grid: {seed: [1, 2]}\nexclude:\n  - {shots: 1}", 3, "exclude.shots: not in grid"),
        ("grid: {multiscale: [true]}\nexclude:\n  - {multiscale: 1}", 3, "exclude.multiscale: 1 is no value"),
        ("grid: {seed: [1]}\nresources:\n  gpus: 2", 3, "resources.gpus: 2 is greater"),
        ("grid: {seed: [1]}\nresourses: {}", 2, "resourses: unknown key; did you mean resources?"),
        ("grid: [1", 1, "no YAML"),
        ("- 1", 1, "is not keys with values"),
        ("", 1, "is not keys with values"),
    ],
)
def test_a_fault_names_line_and_key(tmp_path, text, line, words):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}, line {line}: ") and words in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    for path, word in ((tmp_path / "missing.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(InputError, match=word):
            read(path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(InputError, match="cannot be read|no YAML"):
        read(tmp_path / "bytes.yaml")
    with pytest.raises(InputError, match="quote it"):
        read(written(tmp_path, "options: {dataset_path: 2024-01-01}"))
    with pytest.raises(InputError, match="quote it"):
        read(written(tmp_path, "grid: {f_coreset: [.nan]}"))


def test_every_option_of_the_command_line_is_known():
    names = {action.dest for action in build_parser()._actions} - {"help"}
    assert set(schema()["properties"]["options"]["properties"]) == names - set(REFUSED) and set(REFUSED) < names
