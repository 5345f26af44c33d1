"""Ctrl-C and SIGTERM: the first stops a command, further ones do not disturb it while it writes what it has."""
import contextlib
import signal
import sys
import threading

_stopping = threading.Event()


def raise_if_stopping():
    """Raise the KeyboardInterrupt that was asked for, should it have got lost where Python ignores exceptions, as in
    the clean-up of an object."""
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
