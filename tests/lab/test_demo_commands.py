"""The demo's commands: they are run in order, the first failure ends it, and each program has the flags."""

import re
import subprocess
import sys
from pathlib import Path

from lab import demo


def test_the_demo_runs_every_command_of_the_way(tmp_path, monkeypatch, capfd):
    seen = []

    def run(words, env):  # the last one fails
        seen.append(words[2:] if words[1] == "-m" else words[1:])
        return subprocess.CompletedProcess(words, 3 if len(seen) == 8 else 0)

    monkeypatch.setattr(demo.subprocess, "run", run)
    assert demo.main([str(tmp_path / "my demo")]) == 3  # the first failure ends it
    out, err = capfd.readouterr()
    assert "exit code 3" in err and f"$ python lab/make_demo.py '{tmp_path / 'my demo'}'" in out
    tools = [Path(words[0]).name for words in seen]
    assert tools == [
        *["lab.recordings", "import_parts.py", "import_parts.py", "main.py", "import_parts.py", "predict.py"],
        *["make_demo.py", "main.py"],
    ]
    flags = {}
    for words in seen:
        flags.setdefault(words[0], set()).update(word for word in words[1:] if word.startswith("-"))
    for program, asked in flags.items():  # every flag is one that its program has
        start = [sys.executable, *(["-m"] if program == "lab.recordings" else []), program]
        flag = "--help_all" if program.endswith("main.py") else "--help"
        help_text = subprocess.Popen([*start, flag], stdout=subprocess.PIPE, text=True).communicate()[0]
        assert not [flag for flag in asked if flag not in help_text], program


def test_the_five_commands_are_those_of_the_readme():
    """Options and their order are README's; only folders are the demo's own."""
    text = (Path(demo.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    written = [line for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.startswith("    python ")][:5]
    readme = [[word.replace("RECORDING", "OUT/recording") for word in line.split()[1:]] for line in written]
    ours = [words for words in demo.steps_of(True)[0].commands("OUT") if words[0] != "-m"]
    bare = [[word.removeprefix("OUT/") for word in words] for words in ours]
    assert bare == [[word.removeprefix("OUT/") for word in words] for words in readme]


def test_pictures_of_failed_parts_are_named(tmp_path):
    (tmp_path / "judged").mkdir()
    (tmp_path / "judged" / "verdicts.csv").write_text("path,verdict\nrgb/a.png,pass\nrgb/b.png,fail\n")
    assert demo.failed_pictures(tmp_path).strip() == str(tmp_path / "judged" / "pictures" / "rgb" / "b.png")
