"""The report's page: text, tables and figures, collected and written as one file that can be sent around alone."""
import base64
import re
from html import escape
from pathlib import Path

from utils.files import atomic_path, atomic_write_text
from utils.results import UNDEFINED

NUMBER, SUM = ' class="number"', ' class="sum"'
STYLE = """
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1d2733; background: #fff;
       max-width: 1060px; margin: 0 auto; padding: 16px 24px 64px; overflow-wrap: anywhere; }
h1 { font-size: 28px; line-height: 1.25; }
h2 { font-size: 21px; margin-top: 44px; border-bottom: 1px solid #d5dce3; } h3 { font-size: 17px; margin-top: 28px; }
figure { margin: 20px 0; } img { width: 100%; height: auto; } figcaption { font-size: 14px; color: #46535f; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 4px 10px; text-align: left; border-bottom: 1px solid #e3e8ed; overflow-wrap: normal; }
th { background: #f2f5f8; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.sum td { font-weight: 600; background: #f8fafb; }
.warning { background: #fff4d6; border-left: 5px solid #d99a00; padding: 10px 14px; }
"""


class Page:
    """The page and its figures, collected in memory so that a failure leaves nothing half done."""

    def __init__(self):
        self.body, self.files = [], {}

    def tag(self, name, text, attributes=""):
        self.body.append(f"<{name}{attributes}>{escape(text)}</{name}>")

    def table(self, header, rows, sums=()):
        """A table of texts; cells that hold a number or "undefined" go right, the rows numbered in ``sums`` stand
        out."""
        def cell(text):
            kind = NUMBER if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?|" + UNDEFINED, text) else ""
            return f"<td{kind}>{escape(text)}</td>"

        body = "".join(f"<tr{SUM if i in sums else ''}>{''.join(map(cell, row))}</tr>\n" for i, row in enumerate(rows))
        heads = "".join(f"<th>{escape(text)}</th>" for text in header)
        self.body.append(
            f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table></div>')

    def figure(self, name, files, alt, caption):
        """A figure ({suffix: bytes}): on the page as SVG where there is one, and kept as figures/<name>.<suffix>."""
        self.files.update({f"{name}.{suffix}": content for suffix, content in files.items()})
        kind, content = ("svg+xml", files["svg"]) if "svg" in files else ("png", files["png"])
        source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        self.body.append(
            f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>')

    def write(self, folder, title):
        for name, content in self.files.items():
            with atomic_path(Path(folder) / "figures" / name) as temporary:
                Path(temporary).write_bytes(content)
        atomic_write_text(
            Path(folder) / "report.html",
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width">'
            f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>\n' +
            "\n".join(self.body) + "\n</body></html>\n")
