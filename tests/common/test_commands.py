"""The manner that all commands share: parser, options of one meaning, exit codes, --quiet, --help."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common import commands, progress
from common.commands import HELP_WIDTH, Parser, run_command
from common.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (".", "tools", "utils")
    for path in (ROOT / folder).glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8") and path.name != "setup.py"
)
WITHOUT_FILES = {"tools/check_dataset.py", "tools/compare_runs.py", "tools/station.py"}  # none; the last has --journal


class Stop(Exception):
    """The parser of a command, taken when it parses."""


def module_of(program):
    return importlib.import_module(program.removesuffix(".py").replace("/", "."))


def parser_of(program, monkeypatch):
    """The parser that a command's main() parses with."""

    def stop(self, *_, **__):
        raise Stop(self)

    with monkeypatch.context() as patched:
        for name in ("parse_args", "parse_known_args", "parse_intermixed_args"):
            patched.setattr(Parser, name, stop)
        with pytest.raises(Stop) as stopped:
            module_of(program).main([])
    return stopped.value.args[0]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_has_the_shared_parser(program, monkeypatch):
    parser = parser_of(program, monkeypatch)
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    assert type(parser) is Parser and issubclass(parser.formatter_class, commands.HelpFormatter)
    assert parser.prog == Path(program).name
    assert flags["--quiet"].default is False and flags["--quiet"].nargs == 0
    for old in ("--output_dir", "--target_dir"):
        assert flags.get(old) in (None, flags.get("--output"))
    assert flags.get("-o") is flags.get("--output") and ("--output" in flags) == (program not in WITHOUT_FILES)
    assert [action.dest for action in parser._actions if not action.help] == []
    monkeypatch.setenv("COLUMNS", "300")
    text = parser.format_help()
    assert [line for line in text.splitlines() if len(line) > HELP_WIDTH] == []
    assert "%(" not in text and "SUPPRESS" not in text
    if program != "main.py":  # its help has the flags by topic, and README its examples
        first, *more = text.rpartition("Examples:\n")[2].strip().splitlines()
        assert any(Path(program).name in line for line in (first, *more))
        assert all(re.match(r" *(python |--)", line) for line in more)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_mistyped_flag_is_one_line_and_exit_code_2(program, capsys):
    with pytest.raises(SystemExit) as ended:
        module_of(program).main(["--no_such_flag"])
    text = capsys.readouterr().err
    assert ended.value.code == commands.REFUSED and text.count("\n") == 1 and text.startswith(Path(program).name)


ONE_OF_EACH_FOLDER = ["main.py", "tools/predict.py", "utils/preprocessing.py", "patches/apply.py"]


@pytest.mark.parametrize("program", ONE_OF_EACH_FOLDER)
def test_a_file_of_a_checkout_runs_from_anywhere_without_installation(program, tmp_path):
    words = [sys.executable, str(ROOT / program), "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "--help" in done.stdout
    alike = [
        (ROOT / name).read_text(encoding="utf-8") for name in PROGRAMS if Path(name).parent == Path(program).parent
    ]
    assert all(("    import checkout" in text) == ("/" in program) for text in alike)  # so the others do, too


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
