"""The report for the plant: what stands on it, that odd names do no harm, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest
from PIL import Image

from inspection.verdict import percent, rate
from tools import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = 'odd <b>&"{{ x }}'
WIDE = """<script>
const shown = "h1, h2, p, img, table, .count, li"
addEventListener("load", () => { parent.document.title = [innerWidth, document.documentElement.scrollWidth,
  ...[...document.querySelectorAll(shown)].map(of => of.getBoundingClientRect().right)].join() })
</script>"""


def row(path, verdict, day, score=None, **more):
    base = {"path": path, "verdict": verdict, "judged_with": "x", "recording": ODD, "folder": "/a", "files": [[1, 2]]}
    return {**base, "time": f"2026-07-{day:02d}T06:30:00+02:00", "score": score, "threshold": 2.0, **more}


@pytest.fixture
def judged(tmp_path):
    """A folder of verdicts: 12 pass, 3 fail, of which 2 have a picture, and 1 cannot be judged, on two days."""
    folder = tmp_path / "judged"
    (folder / "pictures/rgb").mkdir(parents=True)
    rows = [row(f"rgb/{n}.png", "pass", 1 + n % 2, 1.0 + n / 20, label=0) for n in range(12)]
    why = f"0.8 mm lower than good parts over 31 mm² {ODD}; score 3 above 2: height 3, RGB 0"
    for n, (score, label) in enumerate(((3.0, 1), (9.0, 1), (2.5, 0))):
        rows.append(row(f"rgb/f{n}.png", "fail", 2, score, explanation=why, pictures=f"rgb/f{n}.png", label=label))
        if n < 2:
            Image.new("RGB", (1168, 1000), (190, 0, 0)).save(folder / "pictures/rgb" / f"f{n}.png")
    rows.append(row(f"rgb/{ODD}\udcff.png", "cannot judge", 2, reason="no part: nothing lies on the table", label=0))
    text = "".join(json.dumps(of) + "\n" for of in rows)
    (folder / "verdicts.jsonl").write_text(text + '{"cut off', encoding="utf-8", errors="surrogateescape")
    return folder


def test_verdicts_first_then_failed_parts_rates_and_trend(judged, capsys):
    assert report.main([str(judged)]) == 0
    assert capsys.readouterr().out.strip() == str(judged / "report.html")
    page = (judged / "report.html").read_text(encoding="utf-8")
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", page.partition("<body>")[2])).split())
    order = "16 parts judged.*12 pass.*3 fail.*1 cannot judge.*Parts that fail.*Rates.*Trend.*cannot be"
    assert re.search(order, text) and re.findall(r"<b>rgb/(f\d)", page) == ["f1", "f0", "f2"]  # the worst first
    assert page.count("data:image/jpeg") == 2 and page.count("data:image/png") == 1 and "0.8 mm lower" in text
    fails = rate(3, 15)
    assert f"3 of 15 {percent(fails.value)} ({percent(fails.low)} to {percent(fails.high)})" in text
    assert "good parts that fail (false alarms) 1 of 13" in text
    assert "defective parts that pass (escapes) 0 of 2" in text and "no part: nothing lies on the table" in text
    assert not any(word in text for word in ("height 3", "lambda", "λ"))
    assert "<b>&" not in page and ODD in text and "{{" in text  # names stay text


def test_what_is_no_set_of_verdicts(judged, tmp_path, capsys):
    for words, told in (
        ([judged, "--category", "a"], "is for saved maps"),
        ([tmp_path / "other"], "holds no verdicts (verdicts.jsonl); for saved maps give -o OUT too"),
    ):
        assert report.main(list(map(str, words))) == 2
        err = capsys.readouterr().err
        assert told in err and len(err.splitlines()) == 1
    (judged / "verdicts.jsonl").write_text("")
    assert report.main([str(judged), "-o", str(tmp_path / "out")]) == 2
    assert "no verdicts" in capsys.readouterr().err and not (tmp_path / "out/report.html").exists()


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_cut_off(judged, tmp_path, width):
    assert report.main([str(judged)]) == 0
    page = tmp_path / "page.html"
    inside = escape((judged / "report.html").read_text(encoding="utf-8").replace("</head>", WIDE + "</head>"))
    frame = f'<iframe style="width: {width}px; height: 2000px; border: 0" srcdoc="{inside}"></iframe>'
    page.write_text(f"<title></title>{frame}", encoding="utf-8")  # in a frame: a window is at least 500 wide
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=1500,1000"]
    done = subprocess.run([BROWSER, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)
    seen, whole, *edges = map(float, re.search(r"<title>([-0-9.,]+)</title>", done.stdout)[1].split(","))
    assert seen == width and whole <= seen and len(edges) > 10 and max(edges) <= seen
