"""README and docs: short enough, links that lead somewhere, commands and flags that exist, messages that are said."""

import ast
import contextlib
import csv
import importlib
import io
import json
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pytest

from lab.recordings.write import write_recording

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
IMPORT = "import_parts.py"
MOST_LINES, WIDTH = 250, 120


def anchors(text):
    """What GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_and_lines_are_short(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert target.startswith("http") or there.exists(), target
        if anchor and not target.startswith("http"):
            assert anchor in anchors(there.read_text(encoding="utf-8")), target
    lines = text.splitlines()
    assert [line for line in lines if len(line) > WIDTH and not line.startswith("|")] == []
    assert page.name != "README.md" or len(lines) <= MOST_LINES


def commands(text):
    """The words of each indented line that starts a Python program of this project, and of its continuation."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^ {4}(?:m3dm\(\) \{ )?python3? (.*)$", joined, re.M):
        words = shlex.split(line.split(" #")[0].rstrip(" ;}"))
        if words and words[0].endswith(".py"):
            yield words


@lru_cache(maxsize=None)
def help_of(program):
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as ended:
        module.main(["--help_all" if program == "main.py" else "--help"])
    assert ended.value.code == 0
    return text.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist_with_their_flags(page):
    for program, *words in commands(page.read_text(encoding="utf-8")):
        if program.startswith("THIS_PROJECT/"):
            program = program.partition("/")[2]
        known = set(re.findall(r"(?<![\w-])--?[a-z]\w*", help_of(program)))
        flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert flags <= known, (program, flags - known)


def constants(folder):
    """The texts in a folder's modules, those of a formatted string with "…" for each value."""
    for path in (ROOT / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_of_the_readme_are_those_that_are_said():
    (table,) = re.findall(r"^\| what it says .*?\n\n", README, re.M | re.S)
    said = [text for line in table.strip().splitlines()[2:] for text in re.findall(r"`([^`]+)`", line.split("|")[1])]
    known = [text for folder in ("part_frame", "inspection", "cameras", "data", "tools") for text in constants(folder)]
    assert len(said) > 10
    for text in said:
        pattern = ".*".join(re.escape(part.strip()) for part in text.split("…"))
        assert any(re.search(pattern, one) for one in known), text


@pytest.fixture(scope="module")
def new_user(tmp_path_factory):
    """A folder in which README's five commands were run on a small recording, and the recording's truth."""
    folder = tmp_path_factory.mktemp("new_user")
    write_recording("housing", folder / "RECORDING", seed=3, train=8, more=19, judge=4)
    ran = list(islice(commands(README), 5))
    assert [words[0] for words in ran] == [f"tools/{IMPORT}"] * 2 + ["main.py", f"tools/{IMPORT}", "tools/predict.py"]
    for program, *words in ran:
        done = subprocess.run(
            [sys.executable, str(ROOT / program), *words], cwd=folder, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, (program, words, done.stdout + done.stderr)
    return folder, json.loads((folder / "RECORDING" / "to_judge_truth.json").read_text())


@pytest.mark.slow
def test_the_five_commands_of_the_readme(new_user):
    folder, truth = new_user
    with open(folder / "judged" / "verdicts.csv", newline="") as file:
        verdicts = {Path(row["path"]).stem: row["verdict"] for row in csv.DictReader(file)}
    assert verdicts == {name: "pass" if kind == "good" else "fail" for name, kind in truth.items()}
    assert {"pass", "fail"} <= set(verdicts.values())
    assert {path.stem for path in (folder / "judged" / "pictures").rglob("*.png")} == set(truth)
    lines = [json.loads(line) for line in (folder / "judged" / "verdicts.jsonl").read_text().splitlines()]
    told = [line["explanation"] for line in lines if line.get("verdict") == "fail"]
    assert all(" mm of the part" in text for text in told), told


@pytest.mark.slow
def test_the_python_example_of_the_readme(new_user, monkeypatch, capsys):
    folder, truth = new_user
    monkeypatch.chdir(folder)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names = {}
    exec(example, names)
    assert names["judgement"].verdict == ("pass" if truth["part_0001"] == "good" else "fail")
    assert names["judgement"].explanation.text in capsys.readouterr().out


@pytest.mark.slow
def test_the_python_example_of_the_architecture(checkpoints, passes, monkeypatch):
    from feature_extractors.extraction import PatchExtractor

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    known = {id(entry[0]): entry[3] for split in passes.values() for entry in split}
    monkeypatch.setattr(PatchExtractor, "extract", lambda self, sample, *_: known[id(sample)])
    names = {split: [entry[0] for entry in passes[split]] for split in passes}
    exec(example.replace('"checkpoints"', repr(str(checkpoints))), names)
    assert len(names["judged"]) == 6 and names["judged"][0].map.shape == (224, 224)
    assert len([line for line in example.splitlines() if line and not line.startswith("from")]) <= 10
