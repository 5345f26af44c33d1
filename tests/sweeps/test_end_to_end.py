"""A sweep of the real main.py on a tiny category gives what main.py gives alone."""

import csv
import json

import pytest

import main
from tests.command_lines import TINY, copy_category
from tools import rescore, sweep

OPTIONS = """
options: {method_name: DINO+Point_MAE, eval_mode: true, group_size: 16, num_group: 64, num_workers: 0, device: cpu,
  checkpoint_dir: CHECKPOINTS, dataset_path: DATA, scoring: [disagreement], save_maps: true}
grid: {category: [one], shots: [1, 2]}
resources: {cpus: 1}
"""


@pytest.mark.slow
def test_the_jobs_are_main_s_runs(checkpoints, dataset_path, tmp_path, capsys):
    copy_category(dataset_path, tmp_path / "data" / "one")
    text = OPTIONS.replace("DATA", str(tmp_path / "data")).replace("CHECKPOINTS", str(checkpoints))
    (tmp_path / "sweep.yaml").write_text(text)
    out = tmp_path / "out"
    command = [str(tmp_path / "sweep.yaml"), "-o", str(out), "--engine", "processes", "--workers", "2"]
    assert sweep.main(command) == 0, capsys.readouterr().err
    folders = {json.loads((path / "run.json").read_text())["options"]["shots"]: path for path in out.glob("jobs/*")}
    assert set(folders) == {1, 2}
    words = "--method_name DINO+Point_MAE --device cpu --scoring disagreement --category one --shots 1".split()
    where = ["--checkpoint_dir", checkpoints, "--dataset_path", tmp_path / "data", "--output_dir", tmp_path / "alone"]
    assert main.main([*words, *TINY, *map(str, where)]) == 0
    rows = [list(csv.reader((folder / "scores_one.csv").open())) for folder in (folders[1], tmp_path / "alone")]
    assert [row[:3] for row in rows[0]] == [row[:3] for row in rows[1]] and rows[0][0] == rows[1][0]
    for row, other in zip(rows[0][1:], rows[1][1:]):  # another number of threads rounds sums otherwise
        assert [float(x) for x in row[3:]] == pytest.approx([float(x) for x in other[3:]], rel=1e-4)
    linked = out / "maps" / "shots=2" / "seed_0" / "one.npz"
    assert linked.samefile(folders[2] / "maps" / "one.npz")
    assert rescore.main([str(linked.parent), "-o", str(tmp_path / "tables")]) == 0
    text = (out / "tables.md").read_bytes()
    assert sweep.main(command) == 0 and (out / "tables.md").read_bytes() == text
