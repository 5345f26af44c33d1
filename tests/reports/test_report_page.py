"""The page of tools/report.py: every text is escaped, numbers go right, figures are kept as files."""

import base64
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reports.page import Link, Page

# what HTML keeps of a text; a reader of HTML replaces other control characters and line ends
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), min_codepoint=32), min_size=1)


class Reader(HTMLParser):
    """What stands on a page: [(element, attributes)] and [text]."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.texts.append(text)


def page_with(text):
    """A page that has ``text`` wherever one can be."""
    page = Page()
    page.tag("h2", text, anchor=text, style=text)
    page.links(text, [Link(text, "#" + text), Link(text, "#" + text)])
    page.table([text, "value"], [[text, "0.5"], [Link(text, text), ""]], sums=[0])
    page.figure("a", {"png": b"picture"}, text, text)
    return page


@settings(max_examples=30, deadline=None)
@given(TEXT)
@example("""<script>alert("1")</script> & 'x' {{ title }} {% raw %}""")
def test_texts_come_out_as_they_went_in(text):
    read = Reader(page_with(text).html(text))
    known = {name for name, _ in Reader(page_with("x").html("x")).elements}
    assert {name for name, _ in read.elements} == known  # no text became an element
    assert dict(read.elements)["h2"] == {"id": text, "class": text}
    assert dict(read.elements)["a"] == {"href": text} and dict(read.elements)["img"]["alt"] == text
    assert "".join(read.texts).count(text) >= 8


@pytest.mark.parametrize(
    "text, number",
    [
        ("0.5", True),
        ("-1e-05", True),
        ("+0.0100", True),
        ("undefined", True),
        ("3 parts", False),
        ("", False),
        ("1.0.x", False),
    ],
)
def test_numbers_go_right(text, number):
    page = Page()
    page.table(["of"], [[text], ["a"]], sums=[1])
    elements = Reader(page.html("t")).elements
    assert [of for name, of in elements if name == "td"] == [{"class": "number"} if number else {}, {}]
    assert [of for name, of in elements if name == "tr"] == [{}, {}, {"class": "sum"}]


@pytest.mark.parametrize(
    "files, kind, shown", [({"png": b"p"}, "png", b"p"), ({"png": b"p", "svg": b"s"}, "svg+xml", b"s")]
)
def test_figures_are_on_the_page_and_beside_it(tmp_path, files, kind, shown):
    page = Page()
    page.figure("bars", files, "alt", "caption")
    page.write(tmp_path, "t")
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == {
        f"bars.{suffix}": content for suffix, content in files.items()
    }
    source = dict(Reader((tmp_path / "report.html").read_text(encoding="utf-8")).elements)["img"]["src"]
    assert source == f"data:image/{kind};base64,{base64.b64encode(shown).decode()}"
