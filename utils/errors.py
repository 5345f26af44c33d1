"""What a user is told: the one exception for everything that they can mend, and warnings."""

import logging
import sys


class InputError(Exception):
    """Bad input: the message is one line that names the file, what is wrong and what to do.

    A ``DataLoader`` worker re-raises by passing its whole traceback as the message; only the last
    line, the original message, is kept.
    """

    def __init__(self, message):
        message = str(message)
        if "Original Traceback" in message:
            message = message.strip().splitlines()[-1].partition(": ")[2]
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


def tell(program, text):
    """Write the line "<program>: <text>" to stderr in one write, so that lines of several processes stay apart:
    print() writes text and newline one after the other where Python does not buffer, as under torchrun."""
    sys.stderr.write(f"{program}: {text}\n")
    sys.stderr.flush()


def show_warnings(_=None):
    """Print warnings as one line each; also what a loader's worker process calls with its number."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
