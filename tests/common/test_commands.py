"""The manner that all commands share: parser, options of one meaning, exit codes, --quiet."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common import commands, progress
from common.commands import HELP_WIDTH, Parser, add_target, run_command
from common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# patches/apply.py runs on its own on Python 3.8 in a checkout of the release
ALONE = {"patches/apply.py"}
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "tools", "utils", "patches")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)
SHARED = [name for name in PROGRAMS if name not in ALONE]
OUTPUT = {"tools/check_dataset.py", "tools/compare_runs.py", "lab/measure_sweeps.py"}  # these write no file
BOOTSTRAP = (
    "if not __package__:  # run as a file of a checkout, not as an installed module\n"
    "    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))\n"
)


class Stop(Exception):
    """The parser of a command, taken when it parses."""


def parser_of(program, monkeypatch):
    """The parser that a command's main() parses with."""
    module = importlib.import_module(program.removesuffix(".py").replace("/", "."))

    def stop(self, *_, **__):
        raise Stop(self)

    with monkeypatch.context() as patched:
        for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
            patched.setattr(Parser, name, stop)
        with pytest.raises(Stop) as stopped:
            module.main([])
    return stopped.value.args[0]


@pytest.mark.parametrize("program", SHARED)
def test_every_command_has_the_shared_parser(program, monkeypatch):
    parser = parser_of(program, monkeypatch)
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    assert type(parser) is Parser and issubclass(parser.formatter_class, commands.HelpFormatter)
    assert parser.prog == Path(program).name
    assert flags["--quiet"].default is False and flags["--quiet"].nargs == 0
    assert flags.get("--categories") in (None, flags.get("--category"))
    for old in ("--output_dir", "--target_dir"):
        assert flags.get(old) in (None, flags.get("--output"))
    assert flags.get("-o") is flags.get("--output") and ("--output" in flags) == (program not in OUTPUT)
    for action in parser._actions:
        assert action.help, f"{program}: {action.dest} has no help"


@pytest.mark.parametrize("program", SHARED)
def test_help_is_readable(program, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    text = parser_of(program, monkeypatch).format_help()
    assert [line for line in text.splitlines() if len(line) > HELP_WIDTH] == []
    assert "%(" not in text and "SUPPRESS" not in text


@pytest.mark.parametrize("program", SHARED)
def test_a_mistyped_flag_is_one_line_and_exit_code_2(program, monkeypatch, capsys):
    main = importlib.import_module(program.removesuffix(".py").replace("/", ".")).main
    with pytest.raises(SystemExit) as ended:
        main(["--no_such_flag"])
    text = capsys.readouterr().err
    assert ended.value.code == commands.REFUSED and text.count("\n") == 1 and text.startswith(Path(program).name)


@pytest.mark.parametrize("program", [name for name in SHARED if "/" in name])
def test_a_file_of_a_checkout_finds_its_modules_in_one_manner(program):
    text = (ROOT / program).read_text(encoding="utf-8")
    assert text.count(BOOTSTRAP) == 1 and text.count("sys.path") == 1


def test_no_module_besides_programs_touches_the_path():
    for folder in (".", "tools", "utils", "models", "feature_extractors"):
        for path in (ROOT / folder).glob("*.py"):
            if path.relative_to(ROOT).as_posix() not in PROGRAMS:
                assert "sys.path" not in path.read_text(encoding="utf-8"), path


def test_mains_return_exit_codes():
    for program in SHARED:
        tree = ast.parse((ROOT / program).read_text(encoding="utf-8"))
        last = ast.unparse(tree.body[-1])
        assert re.search(r"sys\.exit\(main\(\)\)|run_to_the_end\(main\)", last), program


def test_an_import_leaves_the_path_alone():
    code = (
        "import sys; before = list(sys.path)\n"
        "import tools.check_dataset, tools.predict, tools.sweep, tools.import_parts, utils.preprocessing\n"
        "sys.exit(sys.path != before)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("words", [["there"], ["-o", "there"], ["--output", "there", "--n"], ["--n", "there"]])
def test_the_folder_of_a_generator_is_given_either_way(words):
    parser = Parser(prog="x")
    add_target(parser, "folder")
    parser.add_argument("--n", action="store_true")
    assert parser.parse_args(words).out == Path("there")


@pytest.mark.parametrize("words, told", [([], "required"), (["a", "-o", "b"], "not allowed with")])
def test_the_folder_of_a_generator_is_given_once(words, told, capsys):
    parser = Parser(prog="x")
    add_target(parser, "folder")
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert told in capsys.readouterr().err


def stopped_by(error):
    def work(_):
        raise error

    return work


@pytest.mark.parametrize(
    "work, code, told",
    [
        (lambda _: 0, 0, ""),
        (lambda _: 1, 1, ""),
        (stopped_by(InputError("a.txt: is missing")), 2, "x.py: a.txt: is missing\n"),
        (stopped_by(OSError(28, "No space left on device", "b.txt")), 1, "x.py: b.txt: No space left on device\n"),
        (stopped_by(KeyboardInterrupt()), 1, "x.py: go on\n"),
    ],
)
def test_exit_codes(work, code, told, capsys):
    assert run_command("x.py", Parser(prog="x").parse_args([]), work, "go on") == code
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_hides_progress_and_notes_alone(quiet, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)

    def work(_):
        progress.note("a note")
        print("a result")
        print("an error", file=sys.stderr)
        assert list(progress.track([1, 2], 2, "counting")) == [1, 2]
        return 0

    assert run_command("x.py", Parser(prog="x").parse_args(["--quiet"] * quiet), work) == 0
    out, err = capsys.readouterr()
    assert out == ("a result\n" if quiet else "a note\na result\n") and err.startswith("an error\n")
    assert ("counting: 1 of 2 parts" in err) == (not quiet) and not progress.is_quiet()
