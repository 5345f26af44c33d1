"""HTML pages that can be sent as one file: Jinja2 fills in a template and escapes every text; pictures are in it."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from common.files import atomic_path


def write_page(template: str, path: str | Path, **facts: Any) -> None:
    """Write the page at ``path`` that the file ``template`` of templates/ makes of ``facts``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    text = environment.get_template(template).render(facts)
    with atomic_path(path) as temporary:  # a file's name may hold bytes that are no UTF-8
        Path(temporary).write_bytes(text.encode("utf-8", "replace"))


def picture_url(content: bytes, kind: str) -> str:
    """A picture as a URL that contains it; ``kind``: "png", "jpeg" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
