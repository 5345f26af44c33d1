"""Progress of a running sweep: a live table on a terminal, one line per job elsewhere, nothing with --quiet."""

import contextlib
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.progress import duration
from sweeps.jobs import ATTEMPT, DONE, FAILED, LOG, RUNNING, STOPPED, Begun, Ended
from sweeps.plan import job_folder

SHOWN = 12  # most running jobs in the live table; half as many ended ones
EVERY = 0.5  # seconds between two drawings of the table
COLOURS = {DONE: "green", FAILED: "red", STOPPED: "yellow", RUNNING: "cyan"}


class Show:
    """Show the events of ``sweeps.engines.run`` on standard output.

    Args:
        out: the sweep's folder.
        total: number of jobs in the sweep.
        kept: number of jobs that were finished before.
        quiet: show nothing.
        console: a rich Console; None: one for standard output.
    """

    def __init__(self, out, total, kept, quiet=False, console=None):
        self.out, self.total, self.done, self.quiet = out, total, kept, quiet
        self.console = console or Console(file=sys.stdout, highlight=False)
        self.begun, self.ended, self.seconds, self._drawn = {}, [], [], 0.0
        self.failed, self.live = 0, None

    def __enter__(self):
        if not self.quiet and self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)
            self.live.start()
        return self

    def __exit__(self, *_):
        if self.live:
            self.live.stop()

    def event(self, event):
        """Show one event, or None."""
        if isinstance(event, Begun):
            self.begun[event.job] = time.time()
        elif isinstance(event, Ended):
            self._end(event)
        if self.live and time.monotonic() - self._drawn > EVERY:
            self._drawn = time.monotonic()
            self.live.update(self._drawing(), refresh=True)

    def _end(self, event):
        job, outcome = event.job, event.outcome
        self.begun.pop(job, None)
        if not event.again:
            self.done += outcome.state == DONE
            self.failed += outcome.state == FAILED
            self.ended.append(event)
        if outcome.state == DONE:
            self.seconds.append(outcome.seconds)
        if self.quiet or (self.live and outcome.state == DONE):
            return
        for line in ended_lines(self.out, event, f"[{self.done + self.failed} of {self.total}] ", self.left()):
            self.console.print(Text(line), soft_wrap=True)

    def left(self):
        """Text on the time left; "" while it is unknown."""
        remaining = self.total - self.done - self.failed
        if not self.seconds or not remaining:
            return ""
        at_a_time = max(1, len(self._running()))
        return f"about {duration(sum(self.seconds) / len(self.seconds) * remaining / at_a_time)} left"

    def _running(self):
        """The jobs whose attempt file exists. On hosts that do not share the folder it cannot be seen; then the first
        job stands for them."""
        jobs = list(self.begun)
        with contextlib.suppress(OSError):
            return [job for job in jobs if (job_folder(self.out, job) / ATTEMPT).exists()] or jobs[:1]
        return jobs

    def _drawing(self):
        running = self._running()
        counts = [
            f"{self.done} of {self.total} done",
            f"{len(running) if self.begun else 0} running",
            f"{self.failed} failed",
            self.left(),
        ]
        table = Table(box=None, show_header=False, padding=(0, 1))
        for event in self.ended[-SHOWN // 2 :]:
            state = event.outcome.state
            table.add_row(Text(state, COLOURS[state]), Text(event.job.title), duration(event.outcome.seconds))
        for job in running[:SHOWN]:
            table.add_row(
                Text(RUNNING, COLOURS[RUNNING]),
                Text(job.title),
                duration(time.time() - self.begun.get(job, time.time())),
            )
        return Group(Text(" · ".join(filter(None, counts)), "bold"), table)


def ended_lines(out, event, before="", left=""):
    """The lines to print about how a job ended; for a failed job with its last lines of output."""
    outcome, title = event.outcome, event.job.title
    took = duration(outcome.seconds)
    if outcome.state == DONE:
        return [f"{before}{title}: done in {took}" + (f"; {left}" if left else "")]
    if outcome.state == STOPPED:
        return [f"{before}{title}: stopped after {took}"]
    code = outcome.exit_code
    how = "not begun" if code is None else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    where = f" on {outcome.host}" if outcome.host else ""
    again = "; it is begun again" if event.again else ""
    log = job_folder(out, event.job) / LOG
    return [
        f"{before}{title}: failed after {took} ({how}{where}){again}; {log} ends with:",
        *(f"    {line}" for line in outcome.lines),
    ]
