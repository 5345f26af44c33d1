"""docs/verdict.md: its example runs, and its numbers are those of the code."""

import re
from pathlib import Path

import tifffile
from PIL import Image

from inspection.verdict import bound, lowest_rate, parts_needed
from tests.make_data import picture_of, scan

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "verdict.md").read_text(encoding="utf-8")


def test_the_example(toy_model, tmp_path, monkeypatch, no_networks, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    cloud = scan(seed=50)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir(exist_ok=True)
    Path("models/bagel.m3dm").write_bytes(toy_model.read_bytes())
    Image.fromarray(picture_of(cloud)).save("000.png")
    tifffile.imwrite("000.tiff", cloud, photometric="minisblack")
    names = {}
    exec(example, names)
    assert names["judgement"].verdict in ("pass", "fail") and names["judgement"].verdict in capsys.readouterr().out


def test_the_numbers():
    rows = re.findall(r"^\| ([\d.]+) % \| ([\d,]+) \| ([\d,]+) \|$", TEXT, re.M)
    assert len(rows) == 5
    for alpha, any_promise, kept_at in rows:
        rate = float(alpha) / 100
        assert parts_needed(rate) == int(any_promise.replace(",", ""))
        enough = int(kept_at.replace(",", ""))
        kept = [bound(parts, lowest_rate(parts)) <= rate for parts in (enough - 1, enough)]
        assert kept == [False, True]
