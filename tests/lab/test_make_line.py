"""The line's scans are what their names say; the demo judges them."""

import numpy as np
import pytest

from data.scans import find_parts, read_scan
from inspection import gate
from lab import demo
from lab.make_demo import render_part
from lab.make_line import HALF, line_parts, main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    assert main([str(folder), "--size", "64", "--validation", "6", "--good", "2"]) == 0
    return folder


def test_what_is_written(out):
    parts = {part.name: read_scan(part.rgb, part.xyz) for part in find_parts(out / "line")}
    assert len(parts) == 2 + 3 + 3
    ranges = gate.learn(
        gate.measure(*read_scan(part.rgb, part.xyz))
        for part in find_parts(out / "data" / "cookie" / "validation" / "good")
    )
    reasons = {name: gate.check(*scan, ranges).reason for name, scan in parts.items()}
    assert len({name for name in reasons if name.startswith("unjudgeable") and reasons[name]}) == 3, reasons
    assert sum("black" in reason for reason in reasons.values()) == 1
    assert sum("cloud is empty" in reason for reason in reasons.values()) == 1
    assert sum("points are missing" in reason for reason in reasons.values()) == 1


def test_half_of_the_points_are_gone():
    whole = render_part("cookie/line/unjudgeable/000", (64, 64))
    found = dict(line_parts("cookie", (64, 64)))["unjudgeable/half_missing"]
    count = [np.count_nonzero(part.xyz.any(2)) for part in (whole, found)]
    assert 1 - count[1] / count[0] == pytest.approx(HALF, abs=0.1) and np.array_equal(whole.rgb, found.rgb)


def test_the_demo_judges_them():
    words = [[str(word) for word in command] for step in demo.steps_of(True, False) for command in step.commands("out")]
    (fit,) = [command for command in words if "--save_model" in command]
    (judge,) = [command for command in words if command[0] == "tools/predict.py"]
    assert fit[fit.index("--preset") + 1] == "best" and judge[1].endswith("cookie.m3dm") and judge[2].endswith("line")
    assert words.index(fit) < words.index(judge)
