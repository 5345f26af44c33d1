"""The inspection station: judges parts over HTTP or from a folder, keeps a journal, shows a page to review.

    python tools/station.py --models fitted --journal station.db --port 8000
    python tools/station.py --models fitted --journal station.db --watch incoming/

Stops at Ctrl-C or SIGTERM after the part at hand. Exit code 0: stopped so; 1: something failed; 2: refused.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number, share
from common.commands import FAILED, FINE, Parser, add_networks, add_values, prose_and_examples, run_command
from common.errors import InputError, show_warnings, tell
from common.files import check_writable
from common.progress import note
from common.signals import run_to_the_end

LOCAL = ("127.0.0.1", "localhost")
LAST_SECONDS = 25.0  # for the part at hand after a signal


def build_parser():
    """The argument parser."""
    description, epilog = prose_and_examples(__doc__)
    parser = Parser(prog="station.py", description=description, epilog=epilog)
    add, count, amount, above = parser.add_argument, number(int, 0), number(float, 0), number(float, 0, open_low=True)
    add("--models", type=Path, required=True, metavar="DIR", help="RECIPE.m3dm files, further versions RECIPE@X.m3dm")
    add("--journal", type=Path, required=True, metavar="FILE", help="SQLite file of all verdicts; made if missing")
    add_values(
        parser,
        ("port", number(int, 0, 65535), 8000, "N", "of HTTP and the page"),
        ("host", str, LOCAL[0], "ADDRESS", "to listen at; others than this one need --token_file"),
        ("token_file", Path, None, "FILE", "one line that callers have to show"),
        ("watch", Path, None, "DIR", "folder that cameras write into"),
        ("settle", number(float, 0.05), 1.0, "S", "a file in --watch is complete after"),
    )
    judging = parser.add_argument_group("judging")
    add_networks(judging)
    add_values(
        judging,
        ("false_alarm", share, 0.05, "A", "promised share of good parts that fail"),
        ("scoring", str, None, "NAME", "which of the model's scorings decides (default: its first)"),
        ("sample", count, 50, "N", "draw 1 in N parts for review, before judging; 0: none"),
    )
    add_values(
        parser.add_argument_group("limits"),
        ("waiting", number(int, 1), 32, "N", "parts in the queue; then 503"),
        ("part_seconds", above, 60.0, "S", "for one part"),
        ("upload_mib", above, 256.0, "MIB", "of one upload"),
        ("keep_days", amount, 90.0, "DAYS", "files of fails and cannot-judges"),
        ("keep_passed", count, 1000, "N", "files of the newest passed parts"),
        ("keep_drawn", count, 3000, "N", "files of the newest drawn parts"),
        ("keep_gib", amount, 50.0, "GIB", "all files together"),
        ("free_gib", amount, 2.0, "GIB", "of the disk; with less, verdicts alone are kept"),
    )
    add_values(
        parser.add_argument_group("to the line"),
        ("webhook", str, None, "URL", "gets each verdict and review as JSON"),
        ("mqtt", str, None, "URL", "mqtt://HOST:1883; needs requirements-mqtt.txt"),
        ("mqtt_prefix", str, "m3dm", "TOPIC", "of the topics"),
        ("mqtt_login_file", Path, None, "FILE", "user in the first line, password in the second"),
        ("opcua", str, None, "URL", "opc.tcp://127.0.0.1:4840; needs requirements-opcua.txt"),
    )
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.host not in LOCAL and args.token_file is None:
        parser.error(f"--host {args.host} is open to others: give --token_file FILE with a token that callers show")
    show_warnings()
    return run_command("station.py", args, run, "interrupted before the station had begun")


def run(args):
    """Serve until a signal; returns the exit code. What cannot be used is refused before any part is taken."""
    from common.locks import hold

    token = read_lines(args.token_file, 1)[0] if args.token_file else None
    if args.watch is not None and not args.watch.is_dir():
        raise InputError(f"{args.watch}: is no folder to watch; make it first")
    check_writable(args.journal.parent)
    busy = lambda who: f"{args.journal}: another station writes this journal ({who}); stop it first"
    with hold(Path(f"{args.journal}.lock"), busy):
        return serve(args, token)


def serve(args, token):
    """Build the station, serve, stop; returns the exit code."""
    from station.folder import Folder
    from station.journal import Journal, JournalError
    from station.judging import load
    from station.recipes import Recipes
    from station.service import Station

    options = args.checkpoint_dir, args.device, args.false_alarm, args.scoring, args.fusion_module_path

    def loader(path, recipe, sha256):
        note(f"station.py: loading {path.name}", sys.stderr)
        return load(path, recipe, sha256, *options)

    journal = Journal(args.journal, webhook=bool(args.webhook))
    station = Station(journal, Recipes(args.models, journal, loader), args)
    lines = connections(args, station)
    server, listening = http_server(args, station, token)
    problems = []

    def stop(*_):
        threading.Thread(target=station.begin_stop).start()  # the signal may have come while the queue is locked
        server.should_exit = True

    def work():
        try:
            station.start()
            for model, _ in station.judging:
                note(f"station.py: {model.id}: {model.promise}; {model.memory / 2**20:.0f} MiB", sys.stderr)
            if args.watch:
                Folder(args.watch, station, args.settle).run()
        except Exception as error:
            problems.append(error)
            stop()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signal_number) != signal.SIG_IGN:
            signal.signal(signal_number, stop)
    for line in lines:
        line.start()
    thread = threading.Thread(target=work, name="starting and folder", daemon=True)
    thread.start()
    server.run(sockets=[listening])
    finished = station.finish(LAST_SECONDS)
    thread.join(LAST_SECONDS if finished else 0)
    for line in lines:
        line.end()
    if not finished:
        tell("station.py", f"the part at hand did not end within {LAST_SECONDS:g} s; it is not recorded")
        os._exit(FAILED)  # sys.exit would wait for it
    journal.close()
    if problems and isinstance(problems[0], JournalError):
        tell("station.py", problems[0])
        return FAILED
    if problems:
        raise problems[0]
    return FINE


def connections(args, station):
    """The connections to the line that the options ask for."""
    from station.lines import Mqtt, OpcUa, Webhook

    for package, asked, extra in (("paho", args.mqtt, "mqtt"), ("asyncua", args.opcua, "opcua")):
        if asked and importlib.util.find_spec(package) is None:
            raise InputError(f"--{extra}: pip install -r requirements-{extra}.txt first")
    login = read_lines(args.mqtt_login_file, 2) if args.mqtt_login_file else None
    found = [Webhook(station, args.webhook)] if args.webhook else []
    found += [Mqtt(station, args.mqtt, args.mqtt_prefix, login)] if args.mqtt else []
    return found + ([OpcUa(station, args.opcua)] if args.opcua else [])


def http_server(args, station, token):
    """(uvicorn server that leaves signals alone, the socket on which it will listen)."""
    import socket

    import uvicorn

    from station.api import make_app
    from station.store import MIB

    try:
        listening = socket.create_server((args.host, args.port))
    except OSError as error:
        raise InputError(f"--port {args.port}: {args.host} cannot be listened at ({error.strerror or error})") from None
    app = make_app(station, token, int(args.upload_mib * MIB))
    options = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    config = uvicorn.Config(app, timeout_graceful_shutdown=int(LAST_SECONDS), **options)
    note(f"station.py: http://{args.host}:{listening.getsockname()[1]}", sys.stderr)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext
    return server, listening


def read_lines(path, count):
    """The first ``count`` lines of a small text file, none of them empty."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()][:count]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(lines) < count or not all(lines):
        raise InputError(f"{path}: its first {count} lines have to be there and not empty")
    return lines


if __name__ == "__main__":
    run_to_the_end(main)
