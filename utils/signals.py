"""Ctrl-C and SIGTERM: the first stops a command, further ones do not disturb it while it writes what it has.

A signal that was ignored when the command began (nohup, a shell's background job) stays ignored. The handler never
raises where the exception would be lost or do harm: in a finaliser, in a ``held`` block, while workers are begun.
There the stop is remembered, and raised a moment later.
"""

import contextlib
import os
import signal
import sys
import threading

STOPS = (signal.SIGINT, signal.SIGTERM)
WEAK = ("weakref.py", "_weakrefset.py")  # their functions are called where Python ignores exceptions
MOMENT = 0.05  # seconds until a remembered stop is tried again
PATIENCE = 2  # seconds that a worker leaves its parent, which was told too, to end it in an orderly way


class _State:
    stopping = False  # the user has asked for a stop
    raised = False  # and it was raised
    holds = 0  # held blocks around this place


def raise_if_stopping():
    """Raise KeyboardInterrupt if the user has asked for a stop.

    Long loops call this before each step. The signal itself mostly raises the same exception at once; but some
    library may have dropped it, and without a second look the loop would run to its end.
    """
    if _State.stopping:
        _State.raised = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def held():
    """A stop that is asked for while the block runs is raised after it; a worker that has begun it ends it."""
    _State.holds += 1
    try:
        yield
    finally:
        _State.holds -= 1
    if not _State.holds:
        raise_if_stopping()


@contextlib.contextmanager
def beginning_workers():
    """Processes begun in the block have no signal reach them until they call ``begin_worker``, their first act.

    ``ProcessPoolExecutor`` begins them in ``submit`` and ``map``, ``DataLoader`` in ``__iter__``.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with held():  # as well, since another thread may take the signal for this one
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker():
    """First act of a worker process: Ctrl-C is its parent's business; after SIGTERM it ends its ``held`` block and
    gives its parent a moment to take the result."""
    _State.stopping, _State.raised, _State.holds = False, False, 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _leave)
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, PATIENCE))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def _leave(*_):
    if _State.holds:
        signal.setitimer(signal.ITIMER_REAL, MOMENT)
    else:
        os._exit(0)  # quietly: torch reports any other code in the parent


@contextlib.contextmanager
def first_signal_stops(program):
    """While the block runs, the first Ctrl-C or SIGTERM raises KeyboardInterrupt, and further ones only ask for
    patience.

    Outside the main thread, which alone can have signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    patience = f"{program}: stopping already: what is finished is being written\n".encode()

    def stop(_, frame):
        if _State.stopping:
            with contextlib.suppress(OSError):
                os.write(2, patience)  # print could meet its own half-written line here
            return
        _State.stopping = True
        raise_where_possible(None, frame)

    def raise_where_possible(_, frame):
        if _State.raised:
            return
        if _State.holds or _in_finaliser(frame):
            try_again()
        else:
            raise_if_stopping()

    def try_again():
        if hasattr(signal, "setitimer"):  # elsewhere the stop waits for raise_if_stopping
            before.setdefault(signal.SIGALRM, signal.getsignal(signal.SIGALRM))
            signal.signal(signal.SIGALRM, raise_where_possible)
            signal.setitimer(signal.ITIMER_REAL, MOMENT)

    def unraisable(lost):
        if _State.stopping and issubclass(lost.exc_type, KeyboardInterrupt):  # a finaliser of another kind
            _State.raised = False
            try_again()
        else:
            hook(lost)

    before, hook = {}, sys.unraisablehook
    try:
        sys.unraisablehook = unraisable
        for number in STOPS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
        raise_if_stopping()  # one that run_to_the_end remembered
        yield
    finally:
        _State.stopping = _State.raised = True  # whatever comes now changes nothing
        if getattr(signal, "SIGALRM", None) in before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _State.stopping = _State.raised = False


def run_to_the_end(main):
    """Run a command's ``main`` and end the process with its exit code; a signal that comes after ``main``'s end does
    not disturb the process's end, one before ``first_signal_stops`` waits for it."""

    def remember(*_):
        _State.stopping = True

    used = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]
    for number in used:
        signal.signal(number, remember)
    code = main()
    for number in used:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def _in_finaliser(frame):
    """Whether Python ignores an exception that is raised in ``frame``."""
    while frame:
        if frame.f_code.co_name == "__del__" or os.path.basename(frame.f_code.co_filename) in WEAK:
            return True
        frame = frame.f_back
    return False
