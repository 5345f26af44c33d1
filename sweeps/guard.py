"""Run a Python program; kill it and everything it has started when the process that started this one is gone.

    python sweeps/guard.py PROGRAM WORDS...

Standard input must be a pipe from the starting process; when the pipe ends, that process is gone. So if a driver or a
worker is killed with SIGKILL, no job goes on computing while it is repeated elsewhere.
"""

import os
import runpy
import signal
import sys
import threading


def main():
    end = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the program itself gets no standard input
    threading.Thread(target=watch, args=(end,), daemon=True).start()
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(program))
    runpy.run_path(program, run_name="__main__")


def watch(end):
    """Wait until no process holds the other end of the pipe; then kill everything."""
    while os.read(end, 1):
        pass
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(137)


if __name__ == "__main__":
    main()
