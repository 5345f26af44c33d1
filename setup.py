"""Builds the wheel, whose only importable name is ``m3dm``.

A checkout's modules import each other by their own names. The wheel has all of them inside ``m3dm``, and while it is
built the imports are rewritten: ``from scoring.evaluation import score`` to ``from m3dm.scoring.evaluation import
score``.
"""

import ast
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

NAME = "m3dm"
NOT_INSTALLED = {"setup", "tests", "lab", NAME}
ROOT = Path(__file__).resolve().parent
ROOMS = sorted({path.parent.name for path in ROOT.glob("*/__init__.py")} - NOT_INSTALLED)
MODULES = sorted({path.stem for path in ROOT.glob("*.py")} - NOT_INSTALLED)


def inside_package(source: str, path: object) -> str:
    """``source``, the text of the module ``path``, with its imports of ROOMS and MODULES from within ``m3dm``."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names, old, new = [node.module or ""], "from ", f"from {NAME}."
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            parent, _, last = names[0].rpartition(".")
            old, new = f"import {names[0]}", f"from {'.'.join(filter(None, (NAME, parent)))} import {last}"
        else:
            continue
        if any(name.split(".")[0] in (*ROOMS, *MODULES) for name in names):
            line = lines[node.lineno - 1]
            binds_room = isinstance(node, ast.Import) and "." in names[0] and not node.names[0].asname
            if len(names) > 1 or binds_room or not line.lstrip().startswith(old):
                raise SystemExit(f"{path}:{node.lineno}: {line.strip()}: write from FOLDER import MODULE, one per line")
            lines[node.lineno - 1] = line.replace(old, new, 1)
    return "".join(lines)


class OneName(build_py):
    """Puts the rooms and the top-level modules into ``m3dm``."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return found + [(NAME, name, f"{name}.py") for name in MODULES] if package == NAME else found

    def build_module(self, module, module_file, package):
        target, copied = super().build_module(module, module_file, package)
        text = Path(module_file).read_text(encoding="utf-8")
        Path(target).write_text(inside_package(text, module_file), encoding="utf-8")
        return target, copied


class NoEditable(editable_wheel):
    """Refuses ``pip install -e``: what is imported from a checkout has other names than what is installed."""

    def run(self):
        raise SystemExit(
            "m3dm cannot be installed as editable. A checkout runs as it is, without installation: "
            "python main.py --help; in a program of yours, put the checkout's folder on PYTHONPATH"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # a build/ of before cannot leak into the wheel
        setup(
            packages=[NAME, *(f"{NAME}.{room}" for room in ROOMS)],
            package_dir={f"{NAME}.{room}": room for room in ROOMS},
            cmdclass={"build_py": OneName, "editable_wheel": NoEditable},
            options={"build": {"build_base": folder}, "egg_info": {"egg_base": folder}},
        )
