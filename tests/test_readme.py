"""README and docs: short enough, links that lead somewhere, commands whose programs and flags exist."""

import re
import shlex
import subprocess
import sys
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
    done = subprocess.run([sys.executable, str(ROOT / program), *subcommand, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist_with_their_flags(page):
    for program, *words in commands(page.read_text(encoding="utf-8")):
        if program.startswith("THIS_PROJECT/"):
            program = program.partition("/")[2]
        subcommand = words[:1] if words[:1] in (["status"], ["tables"]) else []
        known = set(re.findall(r"(?<![\w-])--?[a-z]\w*", help_of(program, *subcommand)))
        flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert flags <= known, (program, flags - known)
