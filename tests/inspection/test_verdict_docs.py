"""docs/verdict.md: its example runs, and its numbers are those of the code."""

import re
from pathlib import Path

import tifffile
from PIL import Image

from feature_extractors.extraction import PatchExtractor
from inspection.gate import KINDS, needed
from inspection.verdict import lowest_rate, parts_needed, promise
from tests.fakes import PoolingExtractor
from tests.make_data import picture_of, scan
from tests.make_models import fitted_runner, make_parts, options_for

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "verdict.md").read_text(encoding="utf-8")


def test_the_example(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(PatchExtractor, "from_checkpoints", lambda **_: PoolingExtractor())
    monkeypatch.setattr("inspection.inspector.used_weights", lambda *_: [])
    path = fitted_runner(options_for(make_parts(tmp_path, validation=5)))[1]
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    cloud = scan(seed=50)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir(exist_ok=True)
    Path("models/bagel.m3dm").write_bytes(path.read_bytes())
    Image.fromarray(picture_of(cloud)).save("000.png")
    tifffile.imwrite("000.tiff", cloud, photometric="minisblack")
    names = {}
    exec(example, names)
    assert names["judgement"].verdict in ("pass", "fail") and names["judgement"].verdict in capsys.readouterr().out


def test_the_numbers():
    rows = re.findall(r"^\| ([\d.]+) % \| ([\d,]+) \| ([\d,]+) \|$", TEXT, re.M)
    assert len(rows) == 5
    for alpha, any_promise, bound in rows:
        rate = float(alpha) / 100
        assert parts_needed(rate) == int(any_promise.replace(",", ""))
        enough = int(bound.replace(",", ""))
        kept = [promise(parts, lowest_rate(parts)).bound <= rate for parts in (enough - 1, enough)]
        assert kept == [False, True]
    assert f"{needed(len(KINDS)):,}" in TEXT and f"{needed(len(KINDS) - 1):,}" in TEXT and "over 15" in TEXT
    assert len(KINDS) == 15
