"""The report's page: collects texts, tables and figures and writes them as one self-contained file.

Jinja2 makes the HTML from templates/report.html beside this module. Autoescape is on, so every text is escaped.
"""

import base64
import re
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.files import atomic_path, atomic_write_text
from runs.results import UNDEFINED

TEMPLATE = "report.html"
NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|" + UNDEFINED)


class Link(NamedTuple):
    """A link in a text or a table cell; ``address``: "#" and an anchor of the page, or a relative URL."""

    text: str
    address: str


class Page:
    """The page and its figures, collected in memory so that a failure leaves nothing half done.

    Attributes:
        body: blocks, each a dict of the values that the template needs.
        files: {name under figures/: bytes}.
    """

    def __init__(self):
        self.body, self.files = [], {}

    def tag(self, name, text, anchor=None, style=None):
        """Add a heading or paragraph: an HTML element ``name`` with id ``anchor`` and class ``style``."""
        self.body.append({"kind": "text", "tag": name, "text": text, "anchor": anchor, "style": style})

    def links(self, text, links):
        """Add a paragraph of ``text`` and [Link]."""
        self.body.append({"kind": "links", "text": text, "links": list(links)})

    def table(self, header, rows, sums=()):
        """Add a table of texts and Links. Cells with a number or "undefined" are aligned right; the rows whose numbers
        are in ``sums`` are highlighted."""
        self.body.append(
            {"kind": "table", "header": list(header), "rows": [list(row) for row in rows], "sums": list(sums)}
        )

    def figure(self, name, files, alt, caption):
        """Add a figure ({suffix: bytes}): the page shows the SVG if there is one; all are kept as
        figures/<name>.<suffix>."""
        self.files.update({f"{name}.{suffix}": content for suffix, content in files.items()})
        kind, content = ("svg+xml", files["svg"]) if "svg" in files else ("png", files["png"])
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        self.body.append({"kind": "figure", "source": source, "alt": alt, "caption": caption})

    def html(self, title):
        """The page's HTML text."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )
        return environment.get_template(TEMPLATE).render(title=title, body=self.body, is_number=is_number)

    def write(self, folder, title):
        """Write report.html and figures/ into ``folder``."""
        for name, content in self.files.items():
            with atomic_path(Path(folder) / "figures" / name) as temporary:
                Path(temporary).write_bytes(content)
        atomic_write_text(Path(folder) / "report.html", self.html(title))


def is_number(cell):
    """Whether a table's cell is aligned right."""
    return isinstance(cell, str) and NUMBER.fullmatch(cell) is not None
