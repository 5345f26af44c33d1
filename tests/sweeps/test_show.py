"""sweeps/show.py: lines without a terminal, a live table on one."""

import io

from rich.console import Console

from sweeps.jobs import ATTEMPT, DONE, FAILED, STOPPED, Begun, Ended, Outcome
from sweeps.plan import Job, job_folder
from sweeps.show import Show

JOBS = [Job(f"one-seed{seed}-x", "one", seed, (("shots", 5),), ()) for seed in range(4)]
EVENTS = [
    Begun(JOBS[0]),
    Ended(JOBS[0], Outcome(DONE, 0, 120.0, "here", ())),
    None,
    Begun(JOBS[1]),
    Ended(JOBS[1], Outcome(FAILED, -9, 3.0, "here", ("[bold]killed[/bold]",)), True),
    Begun(JOBS[1]),
    Ended(JOBS[1], Outcome(FAILED, 1, 3.0, "there", ("a", "b"))),
    None,
    Begun(JOBS[2]),
    Ended(JOBS[2], Outcome(STOPPED, 1, 4.0, "here", ())),
]


def shown(tmp_path, terminal=False, quiet=False, events=EVENTS):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, height=40, color_system=None, highlight=False)
    with Show(tmp_path, 4, 0, quiet, console) as show:
        for event in events:
            show.event(event)
            show._drawn = 0.0  # at every event
    return text.getvalue()


def test_lines(tmp_path):
    log = f"{tmp_path}/jobs/one-seed1-x/log.txt"
    assert shown(tmp_path).splitlines() == [
        "[1 of 4] one seed=0 shots=5: done in 2 min; about 6 min left",
        f"[1 of 4] one seed=1 shots=5: failed after 3 s (killed by signal 9 on here); it is begun again; {log} ends "
        "with:",
        "    [bold]killed[/bold]",
        f"[2 of 4] one seed=1 shots=5: failed after 3 s (exit code 1 on there); {log} ends with:",
        "    a",
        "    b",
        "[2 of 4] one seed=2 shots=5: stopped after 4 s",
    ]
    assert shown(tmp_path, quiet=True) == "" == shown(tmp_path, True, True)


def test_live_table(tmp_path):
    for job in JOBS[2:]:
        job_folder(tmp_path, job).mkdir(parents=True)
        (job_folder(tmp_path, job) / ATTEMPT).write_text("{}")
    text = shown(tmp_path, True, events=[*EVENTS[:-1], Begun(JOBS[3]), None])
    last = text.split("1 of 4 done")[-1]
    assert last.startswith(" · 2 running · 1 failed · about 2 min left")
    assert [line.split()[:4] for line in last.splitlines()[1:5]] == [
        ["done", "one", "seed=0", "shots=5"],
        ["failed", "one", "seed=1", "shots=5"],
        ["running", "one", "seed=2", "shots=5"],
        ["running", "one", "seed=3", "shots=5"],
    ]
    assert "it is begun again" in text and "    b" in text  # failures stay above the table
