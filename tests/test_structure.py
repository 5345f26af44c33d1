"""The structure that docs/architecture.md promises, and README's example."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(p for p in ROOT.rglob("*.py") if not {".venv", "demo", "results"} & set(p.relative_to(ROOT).parts))
FLOORS = {
    "main.py": 5,
    "tools": 5,
    "m3dm_runner.py": 4,
    "feature_extractors": 3,
    "models": 2,
    "dataset.py": 2,
    "utils": 0,
}
VALUES = {"evaluation.py": 1, "scoring_addon.py": 0}


def imports(path):
    """First names of what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize("module", ["tools.rescore", "tools.report", "evaluation"])
def test_no_torch_where_no_network_runs(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_nothing_but_tests_imports_tests():
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] != "tests":
            assert not [name for name in imports(path) if name.split(".")[0] == "tests"], path


def floor(name):
    parts = name.split(".")
    for key in (parts[0], f"{parts[0]}.py"):
        if key in VALUES or key in FLOORS:
            return {**FLOORS, **VALUES}[key]
    return None


def test_imports_point_down():
    for path in MODULES:
        own = path.relative_to(ROOT).parts[0]
        here = {**FLOORS, **VALUES}.get(own)
        for name in imports(path) if here is not None else ():
            there = floor(name)
            assert there is None or there <= here, f"{path.relative_to(ROOT)} imports {name}"
    assert floor("feature_extractors.coreset") == 3 and floor("main") == 5 and floor("numpy") is None


def test_no_command_line_below_the_runner():
    for folder in ("feature_extractors", "models"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "self.args" not in text and "args.fix" not in text, path
    assert "scoring_addon.record" not in "".join((ROOT / name).read_text() for name in ("m3dm_runner.py", "main.py"))


def test_modules_are_small():
    assert [str(p) for p in MODULES if len(p.read_text(encoding="utf-8").splitlines()) > 400] == []


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
