"""The conventions that all commands of this project share: parser, help, exit codes, --quiet, errors and signals.

Imports nothing that is slow to load, so that --help and a mistyped flag answer at once.
"""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NoReturn

from common import progress
from common.argument_types import number
from common.errors import InputError, tell
from common.signals import first_signal_stops
from common.threads import allowed_cores

FINE, FAILED, REFUSED = 0, 1, 2  # exit codes: all well; something failed during the work; refused before any work
MOST_PROCESSES = 61  # limit of a process pool on Windows
HELP_WIDTH = 100  # columns of --help


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help formatter that shows a default only if there is one and the text does not name it already.

    It keeps indented lines of an epilog or description as they are, such as examples and tables.
    """

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28, width=HELP_WIDTH)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        if action.default is argparse.SUPPRESS:  # the command finds the value itself, so there is no default to show
            return text.replace(" (default: %(default)s)", "")
        if action.default is False or action.default in (None, []) or "(default" in text:
            return action.help
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled: list[str] = []
        for as_it_is, lines in groupby(text.strip("\n").splitlines(), lambda line: line[:1] in ("", " ")):
            filled += lines if as_it_is else [super()._fill_text("\n".join(lines), width, indent)]
        return "\n".join(filled)


class Parser(argparse.ArgumentParser):
    """The parser of every command: it has ``--quiet``, and reports an error in one line, without all flags' usage."""

    def __init__(self, prog: str, formatter_class: type[HelpFormatter] = HelpFormatter, **kwargs: Any):
        called = Path(sys.argv[0]).stem
        if called == "m3dm" or called.startswith("m3dm-"):  # the name of an installed command, see pyproject.toml
            if kwargs.get("epilog"):
                kwargs["epilog"] = re.sub(rf"python (tools/)?{re.escape(prog.split()[0])}", called, kwargs["epilog"])
            prog = " ".join([called, *prog.split()[1:]])
        super().__init__(prog, formatter_class=formatter_class, **kwargs)
        _print_anything()
        self.add_argument(
            "--quiet", action="store_true", help="no progress and no notes; results, warnings and errors stay"
        )

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: error: {message} (--help lists the flags)\n")


def _print_anything() -> None:
    """Have print() write "?" for what the terminal or pipe cannot show: another code page, names that are no UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def prose_and_examples(text: str | None) -> tuple[str, str]:
    """A module's docstring as (its prose, its command lines): a parser's description, and the end of its --help."""
    prose: list[str] = []
    lines: list[str] = []
    for line in (text or "").strip().splitlines():
        example = line.strip().startswith("python ") or (lines and lines[-1].endswith("\\") and line.startswith(" "))
        (lines if example else prose).append(line)
    examples = "\n".join(["Examples:", *("    " + line.removeprefix("    ") for line in lines)])
    return re.sub(r"\n{3,}", "\n\n", "\n".join(prose)), examples


def add_values(parser: argparse._ActionsContainer, *flags: tuple[str, Callable[[str], Any], Any, str, str]) -> None:
    """Add flags of one value; each is (name, type, default, how --help calls the value, help text)."""
    for name, kind, default, metavar, text in flags:
        parser.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)


def add_switches(parser: argparse._ActionsContainer, *flags: tuple[str, str]) -> None:
    """Add flags without a value; each is (name, help text)."""
    for name, text in flags:
        parser.add_argument(f"--{name}", action="store_true", help=text)


def add_device(parser: argparse._ActionsContainer) -> None:
    """Add --device to the parser of a command that runs networks; see ``common.devices.choose_device``."""
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto: CUDA, else CPU")


def add_threads(parser: argparse._ActionsContainer) -> None:
    """Add --threads to the parser of a command that computes; see ``common.threads.set_threads``."""
    text = "threads that compute (default: OMP_NUM_THREADS, or as many as cores are free now)"
    parser.add_argument("--threads", type=number(int, 1, 1024), metavar="N", help=text)


def add_networks(parser: argparse._ActionsContainer) -> None:
    """Add to a parser where the networks' weights are, and --device."""
    text = "UFF checkpoint (default: in --checkpoint_dir, or where it was at the fit)"
    add_values(
        parser,
        ("checkpoint_dir", Path, Path("checkpoints"), "DIR", "folder of the checkpoints"),
        ("fusion_module_path", Path, None, "FILE", text),
    )
    add_device(parser)


def add_workers(parser: argparse._ActionsContainer) -> None:
    """Add --workers to the parser of a command that reads many files."""
    workers = number(int, 1, MOST_PROCESSES)
    add_values(parser, ("workers", workers, available_cores(), "N", "processes (default: all cores)"))


def available_cores() -> int:
    """Number of cores that this process may use, at most MOST_PROCESSES."""
    return min(allowed_cores(), MOST_PROCESSES)


def run_command(program: str, args: Any, work: Callable[[Any], int], goes_on: str = "interrupted") -> int:
    """Run ``work(args)``; returns its exit code, REFUSED after InputError, FAILED after OSError, Ctrl-C or SIGTERM.

    An error or interruption becomes one line on stderr that begins with ``program``; ``goes_on`` is what is said after
    an interruption. ``args.quiet`` applies to the whole work.
    """
    try:
        with progress.quietly(args.quiet), first_signal_stops(program):
            return work(args)
    except InputError as error:
        tell(program, error)
        return REFUSED
    except KeyboardInterrupt:
        tell(program, goes_on)
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough: the rest goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        tell(program, f"{error.filename or 'file'}: {error.strerror or error}")
    return FAILED
