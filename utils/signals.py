"""Ctrl-C and SIGTERM: the first stops a command, further ones do not disturb it while it writes what it has."""
import contextlib
import signal
import sys
import threading


@contextlib.contextmanager
def first_signal_stops(program):
    """While the block runs, the first Ctrl-C or SIGTERM raises KeyboardInterrupt, and further ones only ask for
    patience.

    Outside the main thread, which alone can have signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = []

    def stop(*_):
        if stopping:
            print(f"{program}: stopping already: what is finished is being written", file=sys.stderr, flush=True)
            return
        stopping.append(True)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
