"""The report about saved maps: what is on the page."""

import base64
import dataclasses
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import escape

import scoring_addon
from reports import maps_report
from reports.scored import scored_category
from scoring.evaluation import metrics, read, score, write
from scoring.metrics import roc_auc
from tests.make_maps import make_evaluation, write_category
from tools import report

ODD = 'odd <&>"$x$'
PARAMETERS = scoring_addon.DEFAULTS._replace(topk=8)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Folder with two categories; the odd one has no good part, so that its image ROCAUC is undefined."""
    folder = tmp_path_factory.mktemp("maps")
    write_category(folder / "a.npz", "cookie", size=32, train=3, train_maps=False)
    write_category(folder / "b.npz", ODD, good=0, defective=3, size=32, seed=1, fusion=False)
    return folder


@pytest.fixture(scope="module")
def made(maps, tmp_path_factory):
    """The report about them: its folder, and its page as text."""
    folder = tmp_path_factory.mktemp("report")
    assert report.main([str(maps), "-o", str(folder), "--scoring_topk", "8"]) == 0
    return SimpleNamespace(folder=folder, page=(folder / "report.html").read_text(encoding="utf-8"))


def test_page_is_self_contained_and_names_are_escaped(made):
    addresses = re.findall(r'(?:src|href|url|action|srcset)\s*[=(]\s*["\']?([^"\'\s>)]*)', made.page)
    assert addresses and all(a.startswith("data:") or re.fullmatch(r"#c\d+", a) for a in addresses)
    assert not re.search(r"https?:|<script|@import|<link (?!rel=\"icon\" href=\"data:,\")", made.page)
    assert ODD not in made.page and f'<h2 id="c1">Category {escape(ODD)}</h2>' in made.page
    tags = set(re.findall(r"</?([a-zA-Z0-9]+)", made.page.partition("<body>")[2]))
    assert tags == set("h1 h2 h3 p div table thead tbody tr th td figure img figcaption a body html".split())


def test_pictures(made):
    embedded = re.findall(r'<img src="data:image/([^;]+);base64,([^"]+)" alt="([^"]+)">', made.page)
    assert len(embedded) == made.page.count("<img")
    for kind, content, _ in embedded:
        assert kind == "png" and base64.b64decode(content).startswith(b"\x89PNG")
    what = "Input, mask, baseline map, proposed map and disagreement of"
    shown = [sum(text.startswith(f"{what} {escape(name)}/test") for *_, text in embedded) for name in ("cookie", ODD)]
    assert shown[0] in (2, 3) and shown[1] == 1  # without gains the random draw alone


def row_of(page, name):
    """Cells of a category's row in the table of metrics, without its name."""
    cells = rf"<tr><td>{re.escape(escape(name))}</td>((?:<td class=\"number\">[^<]*</td>)+)</tr>"
    return re.findall(">([^<]+)<", re.search(cells, page.partition("image ROCAUC baseline")[2])[1])


def test_tables(maps, made):
    text = unescape(re.sub(r"<[^>]*>", " ", made.page))
    assert "untrained stand-ins" in text and "DINO+Point_MAE+Fusion" in text and "K = 8" in text
    assert row_of(made.page, ODD)[:3] == ["undefined"] * 3
    assert "Largest gain" in made.page and "Random draw" in text and "gain undefined" in text
    saved = read(maps / "a.npz")
    found = metrics(saved, score(saved, ["calibrated"]))["calibrated"]
    cells = row_of(made.page, "cookie")
    assert len(cells) == 15 and [float(cells[i]) for i in (3, 8, 13)] == pytest.approx([*found], abs=5e-5)
    assert "Calibrated is left out of " + ODD + ": no statistics of training parts" in text
    assert "(ours, not the paper's)" in text


def test_separation():
    label, scores = np.array([1, 1, 0, 0, 0]), np.array([5.0, 2.0, 1.0, 2.0, 3.0])
    assert maps_report.separation(label, scores) == pytest.approx([1, 0.5, 1, 0.75, 0.5])
    rng = np.random.default_rng(0)
    label, scores = rng.integers(0, 2, 50), rng.integers(0, 9, 50)
    parts = maps_report.separation(label, scores)
    assert parts[label == 0].mean() == pytest.approx(roc_auc(label, scores)) == parts[label == 1].mean()
    assert maps_report.separation(np.ones(3), np.arange(3)) is None


def test_shown_parts_are_the_extremes(maps):
    known, odd = (scored_category(maps / name, choose=lambda _: (PARAMETERS, "test")) for name in ("a.npz", "b.npz"))
    reasons = {reason.partition(" (")[0]: i for i, why in maps_report.shown_parts(known, 0).items() for reason in why}
    assert set(reasons) == {"largest gain", "largest loss", "random draw"}
    before, after = maps_report.separations(known)
    gain = after - before
    assert gain[reasons["largest gain"]] == gain.max() and gain[reasons["largest loss"]] == gain.min()
    drawn = {i for seed in range(20) for i in maps_report.shown_parts(odd, seed)}
    assert drawn == {0, 1, 2}


def test_bad_input(maps, tmp_path, capsys):
    with np.load(write_category(tmp_path / "nan" / "a.npz", good=0, size=32)) as file:
        arrays = dict(file)
    arrays["map_rgb"][1, 3, 4] = np.nan
    np.savez(tmp_path / "nan" / "a.npz", **arrays)
    (tmp_path / "file").write_text("")
    whole = make_evaluation("bagel", size=32)
    alone = {name: {"rgb": getattr(whole, name)["rgb"]} for name in ("bank_map", "bank_score")}
    write(dataclasses.replace(whole, training=None, **alone), tmp_path / "alone/bagel.npz")
    for words, told in (
        ([tmp_path / "alone"], "bagel.npz: holds the maps of rgb alone: the page compares"),
        ([tmp_path / "nowhere"], "no saved maps"),
        ([maps, "--scoring_map", "bank"], "--scoring_map bank needs a fusion bank"),
        ([tmp_path / "nan"], "not finite"),
        ([maps, "-o", tmp_path / "file"], "cannot be written"),
    ):
        assert report.main(["-o", str(tmp_path / "out"), *map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert not out and err.count("\n") == 1 and err.startswith("report.py: ") and told in err
    assert not list((tmp_path / "out").iterdir())
