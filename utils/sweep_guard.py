"""Runs a Python program and kills it, with all it has started, once the process that started this one is gone.

    python utils/sweep_guard.py PROGRAM WORDS...

Standard input has to be a pipe from the starting process: its end is the sign. So a driver or a worker that is killed
with SIGKILL leaves no job behind that goes on computing beside its repetition.
"""

import os
import runpy
import signal
import sys
import threading


def main():
    end = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the program has no standard input
    threading.Thread(target=watch, args=(end,), daemon=True).start()
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(program))
    runpy.run_path(program, run_name="__main__")


def watch(end):
    """Wait until nobody holds the pipe's other end any more; then end all."""
    while os.read(end, 1):
        pass
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(137)


if __name__ == "__main__":
    main()
