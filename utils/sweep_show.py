"""What a sweep shows while it runs: a live table on a terminal, a line per job elsewhere, nothing with --quiet."""

import contextlib
import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from utils.progress import duration
from utils.sweep_engines import Begun, Ended
from utils.sweep_job import ATTEMPT, DONE, FAILED, LOG, RUNNING, STOPPED
from utils.sweep_plan import job_folder

SHOWN = 12  # running jobs and ended ones that the live table has room for
EVERY = 0.5  # seconds between two drawings
COLOURS = {DONE: "green", FAILED: "red", STOPPED: "yellow", RUNNING: "cyan"}


class Show:
    """Takes the events of ``utils.sweep_engines.run`` and shows them on standard output.

    Args:
        out: the sweep's folder.
        total: number of jobs in the sweep.
        kept: number of them that were finished before.
        quiet: show nothing.
        console: rich's Console; None: standard output.
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
        """Take one event, or None."""
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
        """Text on the time left, "" while that is not known."""
        remaining = self.total - self.done - self.failed
        if not self.seconds or not remaining:
            return ""
        at_a_time = max(1, len(self._running()))
        return f"about {duration(sum(self.seconds) / len(self.seconds) * remaining / at_a_time)} left"

    def _running(self):
        """The jobs that have a process; on hosts that do not share the folder that cannot be seen."""
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
    """The lines that say how a job ended; a failed one's last lines with it."""
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
