"""The report about saved maps: what is on the page."""

import base64
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import escape

import scoring_addon
from reports import maps_report
from reports.scored import scored_category
from scoring.evaluation import metrics, read, score
from scoring.metrics import roc_auc
from tests.make_maps import write_category
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


def refusal(capsys, *arguments):
    """The one line with which a call is refused."""
    assert report.main(list(map(str, arguments))) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and err.startswith("report.py: ")
    return err


def test_page_is_self_contained(made):
    addresses = re.findall(r'(?:src|href|url|action|srcset)\s*[=(]\s*["\']?([^"\'\s>)]*)', made.page)
    assert addresses
    assert all(a.startswith("data:") or re.fullmatch(r"#c\d+", a) for a in addresses)
    assert not re.search(r"https?:|<script|@import|<link (?!rel=\"icon\" href=\"data:,\")", made.page)


def test_names_are_escaped(made):
    assert ODD not in made.page
    assert f'<h2 id="c1">Category {escape(ODD)}</h2>' in made.page
    tags = set(re.findall(r"</?([a-zA-Z0-9]+)", made.page.partition("<body>")[2]))
    assert tags == set("h1 h2 h3 p div table thead tbody tr th td figure img figcaption a body html".split())


def test_pictures(made):
    embedded = re.findall(r'<img src="data:image/([^;]+);base64,([^"]+)" alt="([^"]+)">', made.page)
    assert len(embedded) == made.page.count("<img")
    for kind, content, alt in embedded:
        begins = base64.b64decode(content)[:400]
        assert alt.strip() and (begins.startswith(b"\x89PNG") if kind == "png" else b"<svg" in begins)
    what = "Input, mask, baseline map, proposed map and disagreement of"
    shown = [sum(text.startswith(f"{what} {escape(name)}/test") for *_, text in embedded) for name in ("cookie", ODD)]
    assert shown[0] in (2, 3) and shown[1] == 1  # without gains the random draw alone


def test_caption_and_undefined(made):
    text = unescape(re.sub(r"<[^>]*>", " ", made.page))
    assert "untrained stand-ins" in text and "DINO+Point_MAE+Fusion" in text and "K = 8" in text
    row = re.search(rf"<tr><td>{re.escape(escape(ODD))}</td>((?:<td class=\"number\">[^<]*</td>)+)</tr>", made.page)[1]
    assert re.findall(">([^<]+)<", row)[:3] == ["undefined"] * 3
    assert "Largest gain" in made.page and "Random draw" in text and "gain undefined" in text
    assert all(variant in text for variant in maps_report.VARIANTS)


def test_calibrated_stands_in_every_table_and_figure(maps, made):
    saved, text = read(maps / "a.npz"), unescape(made.page)
    found = score(saved, ["calibrated"])["calibrated"]
    value = metrics(saved, {"calibrated": found})["calibrated"]
    row = re.search(
        r"<tr><td>cookie</td>((?:<td class=\"number\">[^<]*</td>)+)</tr>",
        made.page.partition("image ROCAUC baseline")[2],
    )[1]
    cells = re.findall(">([^<]+)<", row)
    assert len(cells) == 15 and [float(cells[i]) for i in (3, 8, 13)] == pytest.approx([*value], abs=5e-5)
    assert "Calibrated is left out of " + ODD + ": no statistics of training parts" in text
    assert "<td>calibrated</td><td>larger of the banks" in made.page and "(ours, not the paper's)" in text


def test_page_opens_with_the_verdict(maps, made):
    text = unescape(re.sub(r"<[^>]*>", "|", made.page.partition("<body>")[2]))
    first = text.partition("95 % intervals")[0]
    gains = []
    for saved in map(read, sorted(maps.iterdir())):
        found = metrics(saved, score(saved, ["disagreement"]))
        gains.append(found["disagreement"].au_pro - found["baseline"].au_pro)
    assert re.search(r"Disagreement is [^|]*\.\|", first) and re.search(r"Calibrated \(ours\) is [^|]*\.\|", first)
    found = re.search(r"Disagreement is [^|]*AU-PRO \(([-+.0-9]+) \[([-+.0-9]+), ([-+.0-9]+)\]", first)
    value, low, high = map(float, found.groups())
    assert low <= value <= high
    assert "1 of 2 categories" in first  # the odd one has no good part, so no image ROCAUC
    assert value == pytest.approx(np.mean(gains), abs=5.1e-4)


def category(path):
    return scored_category(path, choose=lambda _: (PARAMETERS, "test"))


def test_verdict_of_two_metrics_and_of_none():
    found = {"au_pro": (0.02, 0.01, 0.03, 3), "image_rocauc": (-0.01, -0.05, 0.03, 2)}
    assert maps_report.verdict_sentence("Ours", found, 3) == (
        "Ours is better than the baseline in AU-PRO (+0.020 [+0.010, +0.030]), and not shown to differ from the "
        "baseline in image ROCAUC (-0.010 [-0.050, +0.030], 2 of 3 categories), mean of 3 categories."
    )
    assert "cannot be compared" in maps_report.verdict_sentence("Ours", {}, 1)
    worse = maps_report.verdict_sentence("Ours", {"au_pro": (-0.02, -0.03, -0.01, 1)}, 1)
    assert worse.startswith("Ours is worse than the baseline in AU-PRO (-0.020")


def test_separation():
    label, scores = np.array([1, 1, 0, 0, 0]), np.array([5.0, 2.0, 1.0, 2.0, 3.0])
    assert maps_report.separation(label, scores) == pytest.approx([1, 0.5, 1, 0.75, 0.5])
    rng = np.random.default_rng(0)
    label, scores = rng.integers(0, 2, 50), rng.integers(0, 9, 50)
    parts = maps_report.separation(label, scores)
    assert parts[label == 0].mean() == pytest.approx(roc_auc(label, scores)) == parts[label == 1].mean()
    assert maps_report.separation(np.ones(3), np.arange(3)) is None


def test_shown_parts_are_the_extremes(maps):
    known, odd = (category(maps / name) for name in ("a.npz", "b.npz"))
    reasons = {reason.partition(" (")[0]: i for i, why in maps_report.shown_parts(known, 0).items() for reason in why}
    assert set(reasons) == {"largest gain", "largest loss", "random draw"}
    before, after = maps_report.separations(known)
    gain = after - before
    assert gain[reasons["largest gain"]] == gain.max() and gain[reasons["largest loss"]] == gain.min()
    drawn = {i for seed in range(20) for i in maps_report.shown_parts(odd, seed)}
    assert drawn == {0, 1, 2}


def test_bad_input(maps, tmp_path, capsys):
    out = tmp_path / "out"
    assert "no saved maps" in refusal(capsys, tmp_path / "nowhere", "-o", out)
    assert "--scoring_map bank needs a fusion bank" in refusal(capsys, maps, "-o", out, "--scoring_map", "bank")
    (tmp_path / "c.npz").write_bytes(b"no zip")
    assert "c.npz: cannot be read as saved maps" in refusal(capsys, tmp_path, "-o", out)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(capsys, maps, "-o", tmp_path / "file")
    assert not list(out.iterdir())


def test_scores_that_are_not_finite(tmp_path, capsys):
    with np.load(write_category(tmp_path / "a.npz", good=0, size=32)) as file:
        arrays = dict(file)
    arrays["map_rgb"][1, 3, 4] = np.nan
    np.savez(tmp_path / "a.npz", **arrays)
    assert "not finite" in refusal(capsys, tmp_path, "-o", tmp_path / "out")
