"""Ctrl-C and SIGTERM: the first one stops a command; further ones do not disturb it while it writes its results.

A signal that was ignored when the command began (nohup, a shell's background job) stays ignored. In a ``held`` block,
and while workers are started, the handler raises nothing but remembers the stop: the end of the block, or the next step
of a long loop, raises it.
"""

import contextlib
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

STOPS = (signal.SIGINT, signal.SIGTERM)
MOMENT = 0.05  # seconds until a worker looks again whether its ``held`` block has ended
PATIENCE = 2  # seconds that a worker waits for its parent, which got the signal too, to end it in an orderly way


class _State:
    stopping = False  # the user has asked for a stop
    raised = False  # the stop was raised as KeyboardInterrupt
    holds = 0  # number of held blocks around the code that runs


def raise_if_stopping() -> None:
    """Raise KeyboardInterrupt if the user has asked for a stop. Long loops call this before each step: a library, or a
    finaliser, may have dropped the exception that the signal raised."""
    if _State.stopping:
        _State.raised = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Delay a stop that comes while the block runs until its end. A worker process, too, completes the block first."""
    _State.holds += 1
    try:
        yield
    finally:
        _State.holds -= 1
    if not _State.holds:
        raise_if_stopping()


@contextlib.contextmanager
def beginning_workers() -> Iterator[None]:
    """Start worker processes in this block (``ProcessPoolExecutor``: in ``submit`` and ``map``, ``DataLoader``: in
    ``__iter__``). Signals reach them only after ``begin_worker``, which they must call first."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    with held():  # needed too: another thread may receive the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker() -> None:
    """The first call in a worker process. It then ignores Ctrl-C, which its parent handles. After SIGTERM it completes
    its ``held`` block and waits a moment for its parent to take the result. It ends when its parent was killed."""
    _State.stopping, _State.raised, _State.holds = False, False, 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _leave)
        signal.signal(signal.SIGTERM, lambda *_: signal.setitimer(signal.ITIMER_REAL, PATIENCE))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _leave(*_: object) -> None:
    if _State.holds:
        signal.setitimer(signal.ITIMER_REAL, MOMENT)
    else:
        os._exit(0)  # torch would report any other code in the parent


@contextlib.contextmanager
def first_signal_stops(program: str) -> Iterator[None]:
    """While the block runs, the first Ctrl-C or SIGTERM raises KeyboardInterrupt; further ones only print a line.
    Outside the main thread, which alone can have signal handlers, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    patience = f"{program}: stopping already: what is finished is being written\n".encode()

    def stop(*_: object) -> None:
        already, _State.stopping = _State.stopping, True
        if not (_State.raised or _State.holds):
            raise_if_stopping()
        elif already:
            with contextlib.suppress(OSError):
                os.write(2, patience)  # print could be interrupted within its own line

    before = {number: signal.getsignal(number) for number in STOPS}
    handled = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, stop)
        raise_if_stopping()  # run_to_the_end may have remembered a stop
        yield
    finally:
        _State.stopping = _State.raised = True  # from now on signals change nothing
        for number in handled:
            signal.signal(number, before[number])
        _State.stopping = _State.raised = False


def run_to_the_end(main: Callable[[], int | None]) -> NoReturn:
    """Run a command's ``main`` and end the process with its exit code. A signal after the end of ``main`` does not
    disturb the process's end; a signal before ``first_signal_stops`` is remembered until then."""

    def remember(*_: object) -> None:
        _State.stopping = True

    used = [number for number in STOPS if signal.getsignal(number) != signal.SIG_IGN]
    for number in used:
        signal.signal(number, remember)
    code = main()
    for number in used:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)
