"""main.py --seeds: a job per seed with the same options, seeds.md, exit codes."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from runs.options import deciding_options, parse_arguments, recorded_options
from sweeps.seeds import run_seeds, seed_job
from tests.sweeps.test_engines import FAKE, computed, wait_for

PROGRAM = [sys.executable, str(FAKE)]


@pytest.mark.parametrize(
    "words",
    [
        "--method_name DINO --scoring pixel_max pixel_topk --category a b --save_model m --eval_mode --calibration 0.2",
        "--method_name DINO+Point_MAE --preset best --save_maps m --fix scaling --f_coreset 0.1 --quiet",
        "--preset paper --f_coreset 0.1 --use_uff --fusion_module_path f.pth --shots 3 --unit mm --save_feature",
        "--method_name Point_MAE --dataset_type folder --rgb_s_lambda 1e-07 --scoring_weights 1 2 3 --spool_dir s",
    ],
)
def test_a_seeds_job_has_the_same_options(words):
    args = parse_arguments([*words.split(), "-o", "out", "--seeds", "5", "6"])
    ours, theirs = map(recorded_options, (args, parse_arguments(seed_job(args, 6).words("out/seed_6"))))
    own = {"seed": 6, "seeds": None, "output_dir": "out/seed_6", "preset": "released"}
    own.update({name: "m/seed_6" for name in ("save_maps", "save_model") if ours[name]})
    assert theirs == {**ours, **own, "spool_dir": theirs["spool_dir"]}
    assert deciding_options({**ours, "seed": 6}) == deciding_options(theirs)


@pytest.fixture
def args(tmp_path):
    (tmp_path / "parts").mkdir()
    words = ["--method_name", "DINO", "--scoring", "pixel_max", "--dataset_path", str(tmp_path / "parts")]
    return parse_arguments([*words, "--category", "one", "-o", str(tmp_path / "out"), "--seeds", "0", "1", "2"])


def test_a_failing_seed_keeps_the_others_and_old_records_do_not_count(args, tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "seed_1").write_text("no folder")
    assert run_seeds(args, PROGRAM) == 1
    out, err = capfd.readouterr()
    assert "seed 0:" in out and "one: begun with" in out and err.startswith("main.py: seed 1: ") and "exists" in err
    text = (tmp_path / "out" / "seeds.md").read_text()
    assert "over seeds 0, 2" in text and text in out and "difference" in text and "±" in text
    (tmp_path / "out" / "seed_1").unlink()
    assert run_seeds(args, PROGRAM) == 0
    assert "over seeds 0, 1, 2" in capfd.readouterr().out
    (tmp_path / "out" / "seeds.md").unlink()
    (tmp_path / "parts").rmdir()
    assert run_seeds(dataclasses.replace(args, scoring=["pixel_topk"]), PROGRAM) == 2  # every seed is refused
    assert capfd.readouterr().err.count("no such folder") == 3 and not (tmp_path / "out" / "seeds.md").exists()


@pytest.mark.slow
def test_a_signal_stops_and_a_killed_run_leaves_no_process(args, tmp_path, monkeypatch):
    words = [*seed_job(args, 0).words(args.output_dir), "--seeds", "0", "1"]
    text = (
        f"import sys; sys.path.insert(0, {str(FAKE.parents[2])!r}); import main, sweeps.jobs as s\n"
        f"s.main_command = lambda: {PROGRAM!r}\nfrom common.signals import run_to_the_end\n"
        f"run_to_the_end(lambda: main.main({words!r}))"
    )
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "computed"))
    environment = {**os.environ, "FAKE_SECONDS": "60"}
    for number, (stop, code) in enumerate(((signal.SIGINT, 1), (signal.SIGKILL, -9)), 1):
        process = subprocess.Popen([sys.executable, "-c", text], env=environment, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: sum(computed(tmp_path, "begin").values()) == number)
        process.send_signal(stop)
        err = process.communicate(timeout=30)[1]  # the end of the pipe: no process of it is left
        assert process.returncode == code and not computed(tmp_path)
        assert stop == signal.SIGKILL or "interrupted; not finished: seed 0, 1; the same command goes on" in err
