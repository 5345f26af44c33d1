"""Ctrl-C and SIGTERM: the first stops a command, further ones do not disturb it while it writes what it has."""
import contextlib
import signal
import sys
import threading

_stopping = threading.Event()


def raise_if_stopping():
    """Raise KeyboardInterrupt if the user has asked for a stop.

    Long loops call this before each step. The signal itself raises the same exception at once, but Python drops
    exceptions that are raised while it cleans up an object; without a second look the loop would run to its end.
    """
    if _stopping.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def first_signal_stops(program):
    """While the block runs, the first Ctrl-C or SIGTERM raises KeyboardInterrupt, and further ones only ask for
    patience.

    Outside the main thread, which alone can have signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stopping.clear()

    def stop(*_):
        if _stopping.is_set():
            print(f"{program}: stopping already: what is finished is being written", file=sys.stderr, flush=True)
            return
        _stopping.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stopping.clear()
