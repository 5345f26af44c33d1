"""README and docs: short enough, links that lead somewhere, commands whose programs and flags exist."""

import contextlib
import importlib
import io
import re
import shlex
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_LINES, WIDTH = 350, 120


def anchors(text):
    """What GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_are_short(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > WIDTH and not line.startswith("|")] == []
    if page.name == "README.md":
        assert len(lines) <= MOST_LINES


def commands(text):
    """The words of each indented line that starts a Python program of this project, and of its continuation."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"^ {4}(?:m3dm\(\) \{ )?python3? (.*)$", joined, re.M):
        words = shlex.split(line.split(" #")[0].rstrip(" ;}"))
        if words and words[0].endswith(".py"):
            yield words


@lru_cache(maxsize=None)
def help_of(program, *subcommand):
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit) as ended:
        module.main([*subcommand, "--help_all" if program == "main.py" else "--help"])
    assert ended.value.code == 0
    return text.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist_with_their_flags(page):
    for program, *words in commands(page.read_text(encoding="utf-8")):
        if program.startswith("THIS_PROJECT/"):
            program = program.partition("/")[2]
        subcommand = words[:1] if words[:1] in (["status"], ["tables"]) else []
        known = set(re.findall(r"(?<![\w-])--?[a-z]\w*", help_of(program, *subcommand)))
        flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert flags <= known, (program, flags - known)


@pytest.mark.slow
def test_the_python_example_of_the_readme(checkpoints, passes, monkeypatch):
    from feature_extractors.extraction import PatchExtractor

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    known = {id(entry[0]): entry[3] for split in passes.values() for entry in split}
    monkeypatch.setattr(PatchExtractor, "extract", lambda self, sample, *_: known[id(sample)])
    names = {split: [entry[0] for entry in passes[split]] for split in passes}
    exec(example.replace('"checkpoints"', repr(str(checkpoints))), names)
    assert len(names["judged"]) == 6 and names["judged"][0].map.shape == (224, 224)
    assert len([line for line in example.splitlines() if line and not line.startswith("from")]) <= 10
