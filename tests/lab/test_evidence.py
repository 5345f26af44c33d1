"""The evidence command: cells computed once, failed ones named, a page that says what the cells say."""

import json
import re

import numpy as np
import pytest

from common.errors import InputError
from lab import evidence, evidence_page
from lab.commands import command
from lab.evidence import PARTS, RECORDINGS, Cell
from lab.evidence_page import failed_shares
from scoring.evaluation import extra_metrics, metrics, score
from tests.make_maps import make_evaluation

SETTINGS = {PARTS: {"one": ["--preset", "best"]}, RECORDINGS: {"banks": [], "all": []}}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Two kinds of part, and settings that need no networks."""
    monkeypatch.setattr(evidence, "SETTINGS", SETTINGS)
    monkeypatch.setattr(evidence, "KINDS", ["cookie", "foam"])


def judged(seed, shift, sets=("to_judge", "shifted", "dent_size_0.5")):
    """Rows as a recording's cell has them: 40 pool parts, per set 8 good parts and 8 dents; one good part unjudged."""
    rng = np.random.default_rng(seed)
    rows = [["pool", "good", "pass", float(v)] for v in rng.normal(size=40)]
    for name in sets:
        rows += [[name, "good", "pass", float(v)] for v in rng.normal(size=7)] + [[name, "good", "cannot judge", None]]
        rows += [[name, "dent", "fail", float(v)] for v in rng.normal(size=8) + shift]
    return {"judged": rows, "calibration": 20}


def test_cells_are_computed_once_and_failed_ones_named(tmp_path, monkeypatch, capsys):
    run = []

    def cell(cell, out, sizes):
        run.append(cell)
        if cell.kind == "foam":
            raise InputError("main.py ended with 2: no such method")
        return evidence.measured(make_evaluation("cookie", size=32, train=3, seed=cell.seed))

    monkeypatch.setattr(evidence, "parts_cell", cell)
    argv = ["-o", str(tmp_path), "--cells", "parts", "--seeds", "0", "1"]
    assert evidence.main(argv) == 1
    assert "parts foam one 0 0: main.py ended with 2" in capsys.readouterr().err
    page = (tmp_path / "evidence.md").read_text()
    assert "2 of 4 cells" in page and page.count("- failed: parts foam") == 2
    assert evidence.main(argv) == 1 and len(run) == 4 + 2  # the failed ones alone again
    assert evidence.main([*argv, "--page"]) == 0 and len(run) == 6
    assert (tmp_path / "evidence.md").read_text().count("- not run: parts foam") == 2
    monkeypatch.setitem(SETTINGS[PARTS], "one", ["--preset", "paper"])
    assert evidence.main([*argv, "--kinds", "cookie"]) == 0 and len(run) == 8  # other options, other cells
    monkeypatch.setitem(SETTINGS[PARTS], "one", ["--preset", "best"])
    assert evidence.main([*argv, "--kinds", "nothing"]) == 2


def test_measured_are_the_metrics():
    saved = make_evaluation(size=32, train=3)
    scored = score(saved, ["calibrated"])
    usual, extra = metrics(saved, scored)["calibrated"], extra_metrics(saved, scored, ["au_pro_1"])["calibrated"]
    own = evidence.measured(saved)["calibrated"]
    assert list(own.values()) == [*usual, extra["au_pro_1"]]


def test_good_parts_fail_as_promised_and_defects_are_found():
    rng = np.random.default_rng(0)
    found = [
        failed_shares(rng.normal(size=60), {"dent": rng.normal(size=30) + 9}, 20, draws=40, seed=i) for i in range(60)
    ]
    assert np.mean([of["good"] for of in found]) == pytest.approx(1 / 21, abs=0.006)
    assert all((of["dent"] == 1).all() and len(of["good"]) == 40 for of in found)


def test_parts_that_cannot_be_judged_and_parts_that_the_model_has_seen():
    pool = np.r_[np.full(20, 1.0), np.nan, np.nan]
    shares = failed_shares(pool, {"good": [0.5, np.inf], "dent": [2, -np.inf]}, 20, draws=3)
    assert (shares["good"] == 3 / 4).all() and (shares["dent"] == 0.5).all()
    seen = failed_shares(pool, {}, 20, draws=3, seen=range(20))
    assert (seen["good"] == 1).all()
    with pytest.raises(ValueError, match="20 good parts could be judged, 21 are needed"):
        failed_shares(pool, {}, 21)
    drawn = failed_shares(np.arange(40.0), {"dent": [1, 99]}, 20, draws=50, resample=True)["dent"]
    assert set(drawn) == {0, 0.5, 1}


def test_the_recordings_tables(tmp_path, monkeypatch):
    cells = evidence.plan([RECORDINGS], [0, 1], [2, 14], ["foam"])
    assert [(c.setting, c.shots, c.seed) for c in cells] == [
        *(("banks", 14, 0), ("banks", 2, 0), ("all", 14, 0), ("all", 2, 0)),
        *(("banks", 14, 1), ("all", 14, 1)),
    ]
    monkeypatch.setattr(
        evidence, "recordings_cell", lambda cell, *_: judged(cell.seed, 0 if cell.setting == "banks" else 20)
    )
    assert (
        evidence.main(
            ["-o", str(tmp_path), "--cells", "recordings", "--kinds", "foam", "--seeds", "0", "1", "--shots", "2"]
        )
        == 0
    )
    page = (tmp_path / "evidence.md").read_text()
    (row,) = re.findall(r"\| foam: dent +\|(.*)\|", page)
    few, every = (int(cell.split("%")[0]) for cell in row.split("|"))
    assert few < 40 and every == 100
    content = json.loads((tmp_path / "cells" / f"{Cell(RECORDINGS, 'foam', 'all', 14, 0).name}.json").read_text())
    rates = evidence_page.rates_of(content["found"], 0)
    good = rates["shifted", evidence_page.GOOD]
    assert good.mean() == pytest.approx(1 / 8 + 7 / 8 / 21, abs=0.1)  # the one that cannot be judged counts as failed
    for title in ("On another day", "By training parts", "dent_size_0.5", "5 % promised"):
        assert title in page
    assert "shifted" in page.partition("On another day")[2].partition("###")[0]


def test_commands_that_fail_end_in_one_line():
    with pytest.raises(InputError, match="tools/rescore.py ended with 2: .*nowhere"):
        command("tools/rescore.py", "nowhere")


def test_options_of_a_setting_name_the_stand_in_weights(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(evidence, "write_checkpoints", lambda folder, names, seed: written.append(folder))
    monkeypatch.setitem(SETTINGS[PARTS], "one", evidence.UFF)
    words = Cell(PARTS, "cookie", "one", 0, 3).options(tmp_path)
    assert written == [tmp_path / "checkpoints"] and str(tmp_path / "checkpoints" / "uff_pretrain.pth") in words
    assert words[words.index("--seed") + 1] == 3 and words[words.index("--category") + 1] == "cookie"
