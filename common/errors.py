"""Messages to the user: the exception for all errors that a user can fix, and warnings."""

import logging
import sys


class InputError(Exception):
    """Bad input: the message is one line that says which file, what is wrong and what to do.

    Of a traceback, which a ``DataLoader`` worker passes as the message, only the last line is kept.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if "Original Traceback" in text:
            text = text.strip().splitlines()[-1].partition(": ")[2]
        super().__init__(" ".join(line.strip() for line in text.splitlines()))


def tell(program: str, text: object) -> None:
    """Write the line "<program>: <text>" to stderr in one write, so that lines of several processes do not mix."""
    sys.stderr.write(f"{program}: {text}\n")
    sys.stderr.flush()


def show_warnings(_: object = None) -> None:
    """Print each warning as one line; a loader's worker process calls this too, with its number."""
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
