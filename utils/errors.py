"""The one exception for everything a user can mend."""


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
