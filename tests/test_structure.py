"""The structure: rooms and floors follow from the imports; no import runs up, none in a circle, no room is too big."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from setup import MODULES, ROOMS

ROOT = Path(__file__).resolve().parents[1]
LAB = "lab"  # measures what is installed; nothing may import it, but tests
HOUSE = (*ROOMS, *MODULES)


@cache
def files(room):
    """The modules of a room, or of a module at the top."""
    return [ROOT / f"{room}.py"] if room in MODULES else sorted((ROOT / room).rglob("*.py"))


def imported(path):
    """First names of what a module imports, wherever in it, but for what is for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@cache
def below(room):
    """The rooms and top modules that a room imports from."""
    return {name for path in files(room) for name in imported(path) if name in HOUSE and name != room}


def floors():
    """{room: floor}, 0 at the ground: one above the highest room that it imports from. Fails on a circle."""
    found: dict[str, int] = {}
    while len(found) < len(HOUSE):
        ready = [room for room in HOUSE if room not in found and below(room) <= set(found)]
        left = {room: sorted(below(room) - set(found)) for room in HOUSE if room not in found}
        assert ready, f"these import each other in a circle: {left}"
        found.update({room: 1 + max((found[name] for name in below(room)), default=-1) for room in ready})
    return found


def test_no_circle_and_the_common_ground_below():
    found = floors()
    assert found["common"] == 0 and found["scoring_addon"] == 0
    assert found["main"] > found["m3dm_runner"] > found["feature_extractors"] > found["models"] > found["common"]
    assert found["scoring"] < found["feature_extractors"] and found["tools"] == max(found.values())


def test_nothing_installed_imports_laboratory_or_tests():
    for room in HOUSE:
        for path in files(room):
            assert not {LAB, "tests"} & set(imported(path)), path


def test_no_room_is_above_a_quarter():
    lines = {room: sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(room)) for room in HOUSE}
    assert max(lines.values()) <= sum(lines.values()) / 4, lines


def sentence(room):
    """What a room's docstring says in its one sentence, or a top module's in its first paragraph, without full stop."""
    path = ROOT / room / "__init__.py" if room in ROOMS else ROOT / f"{room}.py"
    text, *more = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).split("\n\n")
    assert text.endswith(".") and not (more and room in ROOMS), room
    return " ".join(text.split()).rstrip(".").replace("|", "\\|")


def table_of_rooms():
    """The table of docs/architecture.md, the highest floor first; ``python -m tests.test_structure`` prints it."""
    rows = ["| floor | room | what it is | stands on |", "|---|---|---|---|"]
    for room, floor in sorted(floors().items(), key=lambda item: (-item[1], item[0])):
        name = f"`{room}/`" if room in ROOMS else f"`{room}.py`"
        rows.append(f"| {floor} | {name} | {sentence(room)} | {', '.join(sorted(below(room) - {'common'})) or '–'} |")
    return "\n".join(rows) + "\n"


def test_the_page_shows_every_arrow():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert table_of_rooms() in page, "docs/architecture.md: put the output of python -m tests.test_structure there"


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= {*ROOMS, LAB}


WITHOUT_TORCH = ("tools.rescore", "tools.report", "scoring.evaluation", "runs.options", "m3dm")
SLOW = {"timm", "torchvision", "torch._dynamo", "sklearn", "scipy.stats", "scipy.spatial", "matplotlib"}


@pytest.mark.parametrize("module", [*WITHOUT_TORCH, "inspection.judged_parts"])
def test_nothing_slow_is_loaded_that_is_not_needed(module):
    """No torch where no network runs; of what judges a part, nothing that it does without."""
    slow = {"torch"} if module in WITHOUT_TORCH else SLOW
    code = f"import sys, {module}; sys.exit(bool({slow} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


if __name__ == "__main__":
    print(table_of_rooms(), end="")
