"""The demo's commands: they are run in order, the first failure ends it, and each program has the flags."""

import subprocess
import sys
from pathlib import Path

from lab import demo


def test_the_demo_runs_every_command_of_the_way(tmp_path, monkeypatch, capfd):
    seen = []

    def run(words):
        seen.append(words[1:])
        return subprocess.CompletedProcess(words, 3 if "rescore" in words[1] else 0)

    monkeypatch.setattr(demo.subprocess, "run", run)
    assert demo.main([str(tmp_path / "my demo"), "--full"]) == 3  # the first failure ends it
    out, err = capfd.readouterr()
    assert "exit code 3" in err and f"$ python lab/make_demo.py '{tmp_path / 'my demo'}'" in out
    tools = [Path(words[0]).name for words in seen]
    assert tools == [
        *["make_demo.py", "make_line.py", "main.py", "predict.py", *["report.py"] * demo.has_lite0()],
        *["make_demo.py", "main.py"],
        "make_camera.py",
        *["import_parts.py"] * 3,
        *["check_dataset.py", "main.py"],
        "make_downloads.py",
        "preprocessing.py",
        "preprocess_eyecandies.py",
        "preprocess_realiad_d3.py",
        *["check_dataset.py", "main.py"] * 3,
        "rescore.py",
    ]
    flags = {}
    for words in seen:
        flags.setdefault(words[0], set()).update(word for word in words[1:] if word.startswith("-"))
    for program, asked in flags.items():  # every flag is one that its program has
        asks = [sys.executable, program, "--help_all" if program.endswith("main.py") else "--help"]
        help_text = subprocess.Popen(asks, stdout=subprocess.PIPE, text=True).communicate()[0]
        assert not [flag for flag in asked if flag not in help_text], program
