"""Tables at the end of --help: what each scoring computes, and which defect each fix removes."""

import textwrap

from common.commands import HELP_WIDTH
from scoring.scorings import SCORINGS

NAME_WIDTH = 19  # columns of a name, with the blanks before and after it


def scoring_table() -> str:
    """The scorings, one per paragraph: name, pixel map, image score and the row of the paper."""
    rows = {name: "{}; {} [{}]".format(*scoring.described) for name, scoring in SCORINGS.items()}
    title = "scorings; name, pixel map; image score [row of the paper], (ours): the paper leaves it open"
    return f"{title}\n{_table(rows)}"


def fix_table(fixes: dict[str, str]) -> str:
    """The table of the fixes {name: text}, one per paragraph."""
    return "defects of the release; name for --fix, what it changes (what the release does)\n" + _table(fixes)


def _table(rows: dict[str, str]) -> str:
    lines = []
    for name, text in rows.items():
        wrapped = textwrap.wrap(text, HELP_WIDTH - NAME_WIDTH - 2)
        lines += [f"  {name:<{NAME_WIDTH}}{wrapped[0]}", *(" " * (NAME_WIDTH + 2) + line for line in wrapped[1:])]
    return "\n".join(lines)
