"""The inspection station: judges parts over HTTP or from a folder, keeps a journal, shows a page to review.

    python tools/station.py --models fitted --journal station.db --port 8000
    python tools/station.py --models fitted --journal station.db --watch incoming/

Stops at Ctrl-C or SIGTERM after the part at hand. Exit code 0: stopped so; 1: something failed; 2: refused.
"""

import contextlib
import importlib.util
import signal
import sys
import threading
from pathlib import Path

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.argument_types import number, share
from common.commands import FAILED, FINE, HelpFormatter, Parser, add_device, prose_and_examples, run_command
from common.errors import InputError, show_warnings, tell
from common.files import check_writable
from common.progress import note
from common.signals import run_to_the_end

LOCAL = ("127.0.0.1", "localhost", "::1")
LAST_SECONDS = 25.0  # for the part at hand after a signal


def build_parser():
    """The argument parser."""
    description, epilog = __doc__.splitlines()[0], prose_and_examples(__doc__)[1]
    parser = Parser(prog="station.py", formatter_class=HelpFormatter, description=description, epilog=epilog)
    add, count, amount = parser.add_argument, number(int, 0), number(float, 0)
    add("--models", type=Path, required=True, metavar="DIR", help="RECIPE.m3dm files, further versions RECIPE@X.m3dm")
    add("--journal", type=Path, required=True, metavar="FILE", help="SQLite file of all verdicts; made if missing")
    add("--port", type=number(int, 0, 65535), default=8000, metavar="N", help="of HTTP and the page")
    add("--host", default=LOCAL[0], metavar="ADDRESS", help="to listen at; others than this one need --token_file")
    add("--token_file", type=Path, metavar="FILE", help="one line that callers have to show")
    add("--watch", type=Path, metavar="DIR", help="folder that cameras write into")
    add("--recipe", metavar="NAME", help="for the parts of --watch, where there are several recipes")
    add("--settle", type=number(float, 0.05), default=1.0, metavar="S", help="a file in --watch is complete after")
    judging = parser.add_argument_group("judging")
    add = judging.add_argument
    add("--false_alarm", type=share, default=0.05, metavar="A", help="promised share of good parts that fail")
    add("--checkpoint_dir", type=Path, default=Path("checkpoints"), metavar="DIR", help="the networks' checkpoints")
    add("--fusion_module_path", type=Path, metavar="FILE", help="UFF checkpoint, where it is not in --checkpoint_dir")
    add("--scoring", metavar="NAME", help="which of the model's scorings decides (default: its first)")
    add("--no_gate", action="store_true", help="judge also scans unlike the training scans")
    add("--sample", type=count, default=50, metavar="N", help="draw 1 in N parts for review, before judging; 0: none")
    add_device(judging)
    add = parser.add_argument_group("limits").add_argument
    add("--waiting", type=number(int, 1), default=32, metavar="N", help="parts in the queue; then 503")
    add("--part_seconds", type=number(float, 0, open_low=True), default=60.0, metavar="S", help="for one part")
    add("--upload_mib", type=number(float, 0, open_low=True), default=256.0, metavar="MIB", help="of one upload")
    add("--keep_days", type=amount, default=90.0, metavar="DAYS", help="files of fails and cannot-judges")
    add("--keep_passed", type=count, default=1000, metavar="N", help="files of the newest passed parts")
    add("--keep_drawn", type=count, default=3000, metavar="N", help="files of the newest drawn parts")
    add("--keep_gib", type=amount, default=50.0, metavar="GIB", help="all files together")
    add("--free_gib", type=amount, default=2.0, metavar="GIB", help="of the disk; with less, verdicts alone are kept")
    add = parser.add_argument_group("to the line").add_argument
    add("--webhook", metavar="URL", help="gets each verdict and review as JSON")
    add("--mqtt", metavar="URL", help="mqtt://HOST:1883; needs requirements-mqtt.txt")
    add("--mqtt_prefix", default="m3dm", metavar="TOPIC", help="of the topics")
    add("--mqtt_login_file", type=Path, metavar="FILE", help="user in the first line, password in the second")
    add("--opcua", metavar="URL", help="opc.tcp://127.0.0.1:4840; needs requirements-opcua.txt")
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
    """Serve until a signal; returns the exit code.

    Raises:
        InputError: something cannot be used; raised before any part is taken.
    """
    from filelock import FileLock, Timeout

    token = read_lines(args.token_file, 1)[0] if args.token_file else None
    if args.watch is not None and not args.watch.is_dir():
        raise InputError(f"{args.watch}: is no folder to watch; make it first")
    check_writable(args.journal.parent)
    try:
        with FileLock(f"{args.journal}.lock", timeout=0):
            return serve(args, token)
    except Timeout:
        raise InputError(f"{args.journal}: another station writes this journal; stop it first") from None


def serve(args, token):
    """Build the station, serve, stop; returns the exit code."""
    from station.folder import Folder
    from station.journal import Journal, JournalError
    from station.judging import load
    from station.recipes import Recipes
    from station.service import Settings, Station
    from station.store import GIB, Rules, Store, store_of

    def loader(path, recipe, sha256):
        note(f"station.py: loading {path.name}", sys.stderr)
        options = args.checkpoint_dir, args.device, args.false_alarm, args.scoring
        return load(path, recipe, sha256, *options, not args.no_gate, args.fusion_module_path)

    journal = Journal(args.journal, webhook=bool(args.webhook))
    recipes = Recipes(args.models, journal, loader)
    rules = Rules(args.keep_days, args.keep_passed, args.keep_drawn, args.keep_gib * GIB, args.free_gib * GIB)
    store = Store(store_of(args.journal), journal, rules)
    station = Station(journal, recipes, store, Settings(args.sample, args.waiting, args.part_seconds))
    lines = connections(args, station)
    folder = Folder(args.watch, station, args.recipe, args.settle) if args.watch else None
    server, listening = http_server(args, station, token)
    problems = []

    def stop(*_):
        station.begin_stop()
        server.should_exit = True
        if folder is not None:
            folder.stop.set()

    def work():
        try:
            station.start()
            for name in recipes.names:
                model = recipes.get(name)
                note(f"station.py: {model.id}: {model.promise}; {model.memory / 2**20:.0f} MiB", sys.stderr)
            if folder is not None:
                folder.run()
        except Exception as error:
            problems.append(error)
            stop()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signal_number) != signal.SIG_IGN:
            signal.signal(signal_number, stop)
    for connection in lines:
        connection.start()
    thread = threading.Thread(target=work, name="station", daemon=True)
    thread.start()
    server.run(sockets=[listening])
    stop()
    finished = station.finish(LAST_SECONDS)
    thread.join(LAST_SECONDS if finished else 0)
    for connection in lines:
        connection.end()
    if not finished:
        tell("station.py", f"the part at hand did not end within {LAST_SECONDS:g} s; it is not recorded")
        return FAILED
    journal.close()
    if problems and isinstance(problems[0], JournalError):
        tell("station.py", problems[0])
        return FAILED
    if problems:
        raise problems[0]
    return FINE


def connections(args, station):
    """The connections to the line that the options ask for.

    Raises:
        InputError: a package is missing, or an address is of the wrong kind.
    """
    found = []
    if args.webhook:
        from station.webhook import Webhook

        if not args.webhook.startswith(("http://", "https://")):
            raise InputError(f"--webhook {args.webhook}: has to begin with http:// or https://")
        found.append(Webhook(station, args.webhook))
    for package, asked, extra in (("paho", args.mqtt, "mqtt"), ("asyncua", args.opcua, "opcua")):
        if asked and importlib.util.find_spec(package) is None:
            raise InputError(f"--{extra}: pip install -r requirements-{extra}.txt first")
    if args.mqtt:
        from station.mqtt import Mqtt

        login = read_lines(args.mqtt_login_file, 2) if args.mqtt_login_file else None
        found.append(Mqtt(station, args.mqtt, args.mqtt_prefix, login))
    if args.opcua:
        from station.opcua import OpcUa

        found.append(OpcUa(station, args.opcua))
    return found


def http_server(args, station, token):
    """(uvicorn server that leaves signals alone, the socket on which it will listen).

    Raises:
        InputError: the address cannot be listened at.
    """
    import socket

    import uvicorn

    from station.api import make_app
    from station.store import MIB

    class Server(uvicorn.Server):
        capture_signals = contextlib.nullcontext

    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    try:
        listening = socket.create_server((args.host, args.port), family=family)
    except OSError as error:
        raise InputError(f"--port {args.port}: {args.host} cannot be listened at ({error.strerror or error})") from None
    app = make_app(station, token, int(args.upload_mib * MIB))
    options = {"log_level": "warning", "access_log": False, "lifespan": "off"}
    config = uvicorn.Config(app, timeout_graceful_shutdown=int(LAST_SECONDS), **options)
    shown = f"[{args.host}]" if ":" in args.host else args.host
    note(f"station.py: http://{shown}:{listening.getsockname()[1]}", sys.stderr)
    return Server(config), listening


def read_lines(path, count):
    """The first ``count`` lines of a small text file, none of them empty.

    Raises:
        InputError: it cannot be read or has fewer.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()][:count]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(lines) < count or not all(lines):
        raise InputError(f"{path}: its first {count} lines have to be there and not empty")
    return lines


if __name__ == "__main__":
    run_to_the_end(main)
