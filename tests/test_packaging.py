"""The wheel: built from a clean clone, installed beside a program with names of its own, and used there."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from setup import ROOMS, inside_package
from tests.contributing import clone

ROOT = Path(__file__).resolve().parents[1]
NO_NETWORK = ("--no-deps", "--no-index", "--quiet")
PROGRAM = """
import data, models, sys, utils
from m3dm import Inspector
from m3dm.data.scans import read_scan

inspector = Inspector.load(sys.argv[1], false_alarm=0.5)
judgement = inspector.judge(*read_scan(*sys.argv[2:]))
print(judgement.verdict, utils.NAME, models.NAME, data.NAME, sys.modules["__main__"].__file__)
"""


def run(*command, folder, code=0):
    hidden = ("PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel: its ``python``, its folders of ``scripts`` and of modules (``site``), the folder
    of a ``program`` whose modules are called utils, models, data and main, and ``run(*command)`` in it."""
    folder = tmp_path_factory.mktemp("packaging")
    source, program = folder / "source", folder / "program"
    clone(source)
    for old in ("build/lib/m3dm/leaked.py", "build/lib/utils/__init__.py"):
        (source / old).parent.mkdir(parents=True, exist_ok=True)
        (source / old).write_text("NAME = 'an earlier build'\n")
    before = sorted(source.iterdir())
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", *NO_NETWORK, "--no-build-isolation", "-w", folder, source, folder=folder)
    assert sorted(source.iterdir()) == before
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "fresh", with_pip=False, symlinks=True)
    (site,) = (folder / "fresh/lib").glob("python*/site-packages")
    scripts, python = folder / "fresh/bin", folder / "fresh/bin/python"
    run(*pip, "--python", python, "install", *NO_NETWORK, wheel, folder=folder)
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(others) + "\n")
    for name in ("utils/__init__.py", "models.py", "data/__init__.py"):
        (program / name).parent.mkdir(parents=True, exist_ok=True)
        (program / name).write_text("NAME = 'the program'\n")
    (program / "main.py").write_text(PROGRAM)
    with tarfile.open(ROOT / "tests" / "data" / "cookie.tar.gz") as archive:
        archive.extractall(program / "parts", filter="data")
    there = partial(run, folder=program)
    return SimpleNamespace(python=python, scripts=scripts, site=site, program=program, run=there)


@pytest.mark.slow
def test_one_name_is_installed(installed):
    files = [path.relative_to(installed.site) for path in installed.site.rglob("*") if path.is_file()]
    names = {path.parts[0] for path in files if path.suffix != ".pth"}
    assert {name for name in names if not name.endswith(".dist-info")} == {"m3dm"}
    assert {path.parts[1] for path in files if path.parts[0] == "m3dm" and len(path.parts) > 2} >= set(ROOMS)
    assert not [path for path in files if {"tests", "lab"} & set(path.parts) or path.name == "leaked.py"]
    assert Path("m3dm/reports/templates/maps.html") in files


@pytest.mark.slow
def test_every_module_can_be_imported_beside_foreign_names(installed):
    code = """
import importlib, pkgutil, sys, utils, models, data, m3dm
assert not {"numpy", "torch"} & set(sys.modules)
names = [m.name for m in pkgutil.walk_packages(m3dm.__path__, "m3dm.")]
for name in names:
    if not name.startswith("m3dm.patches"):
        importlib.import_module(name)
print(len(names), utils.NAME, models.NAME, data.NAME)
assert not {"common", "scoring", "runs", "tools", "main", "dataset"} & set(sys.modules)
"""
    count, names = installed.run(installed.python, "-c", code).stdout.split(maxsplit=1)
    assert int(count) > 100 and names.split() == ["the", "program"] * 3


@pytest.mark.parametrize("line", ["import scoring.metrics", "import os, main", "pass; import main"])
def test_an_import_that_cannot_be_rewritten_stops_the_build(line):
    with pytest.raises(SystemExit, match="x.py:1: .*: write from FOLDER import MODULE"):
        inside_package(line + "\n", "x.py")


@pytest.mark.slow
def test_every_command_answers(installed):
    commands = {path.stem for path in installed.scripts.glob("m3dm*")}
    assert {"m3dm", *(f"m3dm-{name}" for name in "check import predict rescore report sweep".split())} <= commands
    for command in sorted(commands):
        text = installed.run(installed.scripts / command, "--help").stdout
        assert text.startswith(f"usage: {command} ") and "--quiet" in text
    done = installed.run(installed.scripts / "m3dm-check", "nowhere", code=2)
    assert done.stderr.startswith("check_dataset.py: nowhere: missing folder") and done.stderr.count("\n") == 1


FIT = "--method_name FPFH --dataset_path parts --category cookie --num_workers 0 --device cpu".split()


@pytest.mark.slow
def test_a_fit_and_a_verdict_in_the_program(installed):
    installed.run(installed.scripts / "m3dm", *FIT, "--eval_mode", "--save_model", "fitted", "--fit_only")
    part = Path("parts/cookie/test/hole")
    files = (part / "rgb" / "000.png", part / "xyz" / "000.tiff")
    words = installed.run(installed.python, "main.py", "fitted/cookie.m3dm", *files).stdout.split(maxsplit=1)
    assert words[0] in ("pass", "fail") and words[1].startswith("the program the program the program ")
    assert words[1].strip().endswith("main.py")
    predict = "fitted/cookie.m3dm parts/cookie/test -o judged --false_alarm 0.5".split()
    installed.run(installed.scripts / "m3dm-predict", *predict)
    assert len((installed.program / "judged" / "verdicts.csv").read_text().splitlines()) > 5


@pytest.mark.slow
def test_a_sweep_on_the_process_pool(installed):
    options = "\n".join(f"  {k[2:]}: {v}" for k, v in zip(FIT[::2], FIT[1::2]) if k != "--category")
    grid = "\ngrid:\n  category: [cookie]\n  seed: [0, 1]\n"
    (installed.program / "sweep.yaml").write_text(f"options:\n{options}{grid}")
    installed.run(installed.scripts / "m3dm-sweep", *"sweep.yaml -o swept --engine processes --workers 2".split())
    assert "FPFH" in (installed.program / "swept" / "tables.md").read_text()
