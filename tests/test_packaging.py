"""The wheel: built without network, installed into an environment of its own, run from another folder."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.demo import real_features

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("m3dm", "m3dm-check", "m3dm-import", "m3dm-predict", "m3dm-rescore", "m3dm-report", "m3dm-sweep")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", "demo", "results", "datasets", "build", "*.egg-info", "__pycache__", "tests"
)
PACKAGES = ("feature_extractors", "models", "patches", "tools", "utils")


class Installed(NamedTuple):
    """An environment with the wheel: its ``python``, its folders of ``scripts`` and modules (``site``)."""

    python: Path
    scripts: Path
    site: Path


def run(*command, folder):
    """A finished command that has to end well; run in ``folder`` without this checkout on the path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    for module in ("pip", "setuptools"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: a wheel cannot be built without network")
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_COPIED)
    pip = (sys.executable, "-m", "pip")
    run(
        *pip,
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        folder,
        folder / "source",
        folder=folder,
    )
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "fresh", with_pip=False, symlinks=os.name != "nt")
    scheme = "venv" if "venv" in sysconfig.get_scheme_names() else sysconfig.get_default_scheme()
    paths = sysconfig.get_paths(scheme, vars=dict.fromkeys(("base", "platbase"), str(folder / "fresh")))
    place = Installed(
        Path(paths["scripts"]) / ("python.exe" if os.name == "nt" else "python"),
        Path(paths["scripts"]),
        Path(paths["purelib"]),
    )
    run(*pip, "--python", place.python, "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    (place.site / "packages_of_the_tests.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n"
    )
    return place


def test_the_installed_modules_are_those_of_the_wheel(installed, tmp_path):
    code = "import main, utils, tools, scoring_addon; print(main.__file__, utils.__file__, scoring_addon.__file__)"
    for path in run(installed.python, "-c", code, folder=tmp_path).stdout.split():
        assert installed.site in Path(path).parents
    for package in PACKAGES:
        ours = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert all((installed.site / path).is_file() for path in ours), f"{package}: a file is not in the wheel"
    assert not (installed.site / "tests").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_answer_in_another_folder(installed, tmp_path, command):
    text = run(installed.scripts / command, "--help", folder=tmp_path).stdout
    assert text.startswith(f"usage: {command} ") and "--quiet" in text
    assert os.listdir(tmp_path) == []


def test_the_first_command_of_the_demo(installed, tmp_path):
    program, *words = next(iter(real_features(Path("demo"))))
    done = run(installed.python, "-m", program.removesuffix(".py").replace("/", "."), *words, folder=tmp_path)
    assert "generated parts" in done.stdout
    checked = run(installed.scripts / "m3dm-check", "demo/real/data", "--workers", 1, folder=tmp_path).stdout
    assert "errors: 0" in checked and "ready to run" in checked


def test_exit_codes_come_through(installed, tmp_path):
    command = [str(installed.scripts / "m3dm-check"), "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "check_dataset.py: nowhere: no such folder\n"


@pytest.mark.skipif(tomllib is None, reason="tomllib came with Python 3.11")
def test_every_module_is_listed():
    with open(ROOT / "pyproject.toml", "rb") as file:
        content = tomllib.load(file)
    listed = content["tool"]["setuptools"]
    assert set(listed["py-modules"]) == {path.stem for path in ROOT.glob("*.py")}
    assert tuple(listed["packages"]) == PACKAGES and set(content["project"]["scripts"]) == set(COMMANDS)
    for name, of in listed["dynamic"]["optional-dependencies"].items():
        assert of["file"] == [f"requirements-{name}.txt"] and (ROOT / of["file"][0]).read_text().strip()
