"""patches/apply.py on generated checkouts of the shapes of public forks: check, apply, self-test, run, revert."""

import difflib
import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from patches import apply
from patches.edit import MARKER
from tests.patches import make_checkout as make
from tests.patches.make_checkout import BASE, FULL, MULTIPLE, ONE, RUN, TREE, edited, lines_end, write_tree
from tests.patches.run_checkout import APPLY, ROOT, TABLES, compare_with_reference, contents, python, run


class Shape(NamedTuple):
    files: object  # function that gives {path: text}
    lines: int = 6  # inserted
    flags: tuple = ()  # of apply.py
    runs: tuple = ((),)  # options of main.py, each run is scored
    refused: tuple = ()  # options of main.py that --scoring refuses before any feature
    rounds: int = 2  # in all categories
    before_run: dict = {}


TWO = ("--method_name", "DINO+Point_MAE")
FUSED, KEEP = "        self.fused.append([s_xyz, s_rgb, s_fusion])\n", "        self.keep(s, s_map, mask, label)\n"
SHARED = "        self.compute_s_s_map(*self.patches(sample), (24, 24), None, None)\n"
SHAPES = {
    "as released": Shape(
        lambda: TREE, runs=((), TWO), refused=(("--method_name", "DINO"), (*TWO, "--scoring_map", "bank"))
    ),
    "per-defect rounds": Shape(make.rounds, rounds=6),
    "lists that grow": Shape(make.cumulative, rounds=6),
    "methods of its own": Shape(
        make.own_names,
        lines=7,
        runs=(("--method", "TripleFeatures_PS"), ("--method", "Mine")),
        refused=(("--method", "Separate"), ("--method", "Hiding"), ("--method", "DINO")),
    ),
    "two banks": Shape(lambda: {**TREE, FULL: MULTIPLE[: MULTIPLE.index("class Triple")]}, lines=5, runs=(TWO,)),
    "a runner elsewhere": Shape(make.elsewhere, flags=("--main", "Test.py")),
    # a runner file that main.py no longer imports under that name, as one data set's fork was published
    "a renamed runner": Shape(
        lambda: {"m3dm_runner1.py" if path == RUN else path: text for path, text in TREE.items()},
        before_run={"m3dm_runner1.py": RUN},
    ),
    "black": Shape(make.black),
    "training runs the function of the maps too": Shape(
        lambda: edited({FULL: [(FUSED, SHARED), (KEEP, f"        if mask is not None:\n    {KEEP}")]}, make.ONE),
        lines=5,
    ),
    "mixed line endings": Shape(lambda: lines_end(["\n", "\r\n"])),
    "CRLF, BOM, tabs, no line end": Shape(
        lambda: {path: "\ufeff" + text.rstrip("\n").replace("    ", "\t") for path, text in lines_end(["\r\n"]).items()}
    ),
    "latin-1, a backup and a broken file": Shape(
        lambda: {
            **{path: "# -*- coding: latin-1 -*-\nHELLO = 'Grüße'\n" + text for path, text in TREE.items()},
            **{"old/multiple_features.py": MULTIPLE, "old/draft.py": "def (:\n", ".hidden/f.py": MULTIPLE},
        }
    ),
}


def check_shape(shape, folder, program):
    """Everything that is done to a checkout, with a Python program."""
    write_tree(folder, shape.files())
    before, entry = contents(folder), shape.flags[1] if shape.flags else "main.py"
    for old, new in shape.before_run.items():
        (folder / old).rename(folder / new)
    plain = [run(folder, *flags, entry=entry, program=program) for flags in shape.runs]
    for old, new in shape.before_run.items():
        (folder / new).rename(folder / old)
    command = (APPLY, folder, *shape.flags)
    shutil.rmtree(folder / "results")
    said = python(folder, *command, "--check", program=program)
    assert contents(folder) == before and said.count("scoring_addon.") == shape.lines + 1
    assert "results: made" in python(folder, *command, program=program)  # the release writes into it at the very end
    after = contents(folder)

    assert after.pop("scoring_addon.py") == (ROOT / "scoring_addon.py").read_bytes() and set(after) == set(before)
    texts = [[of[path].decode("latin-1").splitlines(True) for path in before] for of in (before, after)]
    steps = [step for old, new in zip(*texts) for step in difflib.ndiff(old, new) if step[0] in "+-"]
    assert len(steps) == shape.lines <= 10 and all(step[0] == "+" and MARKER in step for step in steps)
    assert "already applied" in python(folder, *command, program=program) and "scoring_addon.py" in contents(folder)

    for old, new in shape.before_run.items():
        (folder / old).rename(folder / new)
    for flags, (out, files, arrays) in zip(shape.runs, plain):
        patched = run(folder, *flags, entry=entry, program=program)
        assert patched[:2] == (out, files)  # without the flag every byte is the same
        scored = run(folder, *flags, "--scoring", "disagreement", entry=entry, program=program)
        assert compare_with_reference(arrays, scored[2]) == shape.rounds
        check_table(scored[1].pop("scoring.md").decode(), arrays, scored[2], shape.rounds)
        assert set(scored[1]) == set(TABLES)
        tested = python(folder, *command, "--selftest", " ".join(flags), program=program)
        assert tested.count("3 samples recorded and scored") == shape.rounds and "passed" in tested
    for flags in shape.refused:
        err = python(folder, entry, "--scoring", "disagreement", *flags, program=program, code=2)
        assert len(err.splitlines()) == 1 and err.startswith("error: --scoring")
        assert not list((folder / "results").iterdir())
    for old, new in shape.before_run.items():
        (folder / new).rename(folder / old)
    python(folder, *command, "--revert", program=program)
    assert contents(folder) == before


def check_table(text, plain, scored, rounds):
    """Each round's two rows are what the checkout's own metrics say of both lists."""
    blocks = text.split("\n## ")[1:]
    assert len(blocks) == rounds
    first = [v for key, v in plain.items() if key.endswith("/metrics")][0]
    second = [v for key, v in scored.items() if key.endswith("/metrics")][0]
    rows = [line.strip("| ").split(" | ") for line in blocks[0].splitlines()[4:]]
    assert [row[0] for row in rows] == ["baseline", "disagreement", "difference"]
    for row, values in zip(rows, (first, second)):
        assert row[1:] == ["%.3f" % value for value in values]


def old_python():
    """A Python 3.8 that has numpy: $OLD_PYTHON, else python3.8; skips the test if there is none."""
    program = os.environ.get("OLD_PYTHON") or shutil.which("python3.8")
    test = [program, "-c", "import sys, numpy; assert sys.version_info[:2] == (3, 8)"]
    if not program or subprocess.run(test, capture_output=True).returncode:
        pytest.skip("no Python 3.8 with numpy: give one with OLD_PYTHON")
    return program


@pytest.mark.parametrize("old", [False, pytest.param(True, marks=pytest.mark.old_python)], ids=["", "3.8"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_checkout_of_any_shape(name, old, tmp_path):
    check_shape(SHAPES[name], tmp_path / "checkout", old_python() if old else sys.executable)


def enhanced():
    """A runner that predicts with a function that runs none of the classes' maps, in a main.py with a fixed method."""
    return edited(
        {
            RUN: [("method.predict(sample, mask, label)", "method.predict_enhanced(sample, mask, label)")],
            "main.py": [
                ("        runner.fit(name)\n", "        runner.methods['DINO'].depth = 1\n        runner.fit(name)\n")
            ],
        }
    )


def one_with(path, *pairs):
    """A checkout whose only class that can be recorded is TripleFeatures, with texts replaced in one file."""
    return lambda: edited({path: list(pairs)}, ONE)


RGB_LINE, CLASS = "        " + make.RGB_CALL, "class TripleFeatures(Features):"
LAST = "feature_map_dims, modal='fusion')\n"
OVERRIDE = CLASS + "\n    def calculate_metrics(self):\n        pass\n"
FIRST = "    first = argparse.ArgumentParser()\n    first.parse_known_args()\n    parser = "
FLAG = "parser.add_argument('--scoring')\n    " + make.PARSE
ROUND = """        for method in self.methods.values():
            for sample, mask, label, _ in test_loader:
                method.predict(sample, mask, label)
            method.calculate_metrics()
"""
MEASURE = "        for method_name, method in self.methods.items():\n"
# files, words that the message has to hold
REFUSED = {
    "predicts otherwise": (enhanced, (RUN, "predict_enhanced", "TripleFeatures.compute_s_s_map")),
    "metrics overridden": (one_with(FULL, (CLASS, OVERRIDE)), ("TripleFeatures.calculate_metrics", "apply(self)")),
    "metrics of other lists": (one_with(BASE, ("self.predictions", "self.pc_maps")), (BASE, "self.predictions")),
    "no runner": (one_with(RUN, (".calculate_metrics()", ".measure()")), ("main.py", "calculate_metrics")),
    "rounds in two loops": (one_with(RUN, (MEASURE, 2 * ROUND + MEASURE)), ("measures in several loops", "check(self")),
    "maps that never meet": (one_with(FULL, ("modal='rgb'", "modal=self.third")), ("modal='rgb'", "record(self")),
    "changed in between": (one_with(FULL, (RGB_LINE, "        s_map_xyz *= 2\n" + RGB_LINE)), ("assigned once each",)),
    "in a loop": (make.in_a_loop, (FULL, "stands in a loop")),
    "on one line": (one_with(FULL, (LAST, LAST[:-1] + "; done = 1\n")), (FULL, "shares its line")),
    "two parsers": (one_with("main.py", ("    parser = ", FIRST)), ("several places", "add_arguments(PARSER)")),
    "no parser": (one_with("main.py", (make.PARSE, "args = None")), ("main.py", "parse_args()")),
    "a flag of the same name": (one_with("main.py", (make.PARSE, FLAG)), ("main.py", "--scoring")),
    "another scoring_addon.py": (lambda: {**TREE, "scoring_addon.py": "mine = 1\n"}, ("move it away",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_a_guess_is_refused(name, tmp_path, capsys):
    files, words = REFUSED[name]
    folder = write_tree(tmp_path, files())
    before = contents(folder)
    for flags, code in (([], 2), (["--check"], 1), (["--selftest"], 2)):
        assert apply.main([str(folder), *flags]) == code
        out, err = capsys.readouterr()
        assert out == "" and all(word in err for word in words) and err.endswith("nothing was changed\n")
        assert ("by hand" in err) == (name != "another scoring_addon.py")
        named = {word.split(":")[0] for word in err.split() if word.split(":")[0].endswith(".py")} - {"apply.py"}
        assert all((folder / path).is_file() for path in named)  # no file that the tree does not have
    assert contents(folder) == before
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before


def test_at_most_ten_lines(tmp_path, capsys):
    more = "".join("\n\n" + make.TRIPLE.replace("TripleFeatures", f"Ours{i}") for i in range(6))
    folder = write_tree(tmp_path, {**TREE, FULL: MULTIPLE + more})
    assert apply.main([str(folder)]) == 0
    said = capsys.readouterr().out
    inserted = "".join(path.read_text() for path in folder.rglob("*.py") if path.name != "scoring_addon.py")
    assert inserted.count(MARKER) == 10 and re.search("\nrecorded: .*TripleFeatures", said) and "Ours5" in said


def test_lines_inserted_by_hand_count(tmp_path, capsys):
    by_hand = "        import scoring_addon; scoring_addon.record(self, s_map_rgb, s_map_xyz, s_map_fusion)\n"
    files = edited({FULL: [("        s = s_xyz + 0.1", by_hand + "        s = s_xyz + 0.1")]})
    folder = write_tree(tmp_path / "patched", files)
    before = contents(folder)
    plain = run(write_tree(tmp_path / "plain", TREE))[2]
    assert apply.main([str(folder)]) == 0
    assert contents(folder)[FULL] == before[FULL] and MARKER in (folder / BASE).read_text()
    assert compare_with_reference(plain, run(folder, "--scoring", "disagreement")[2]) == 2
    python(folder, "main.py", "--scoring", "disagreement", *TWO, code=2)
    assert apply.main([str(folder), "--revert"]) == 1 and FULL in capsys.readouterr().err  # that line needs the file
    assert contents(folder).pop("scoring_addon.py") and contents(folder)[BASE] == before[BASE]


def test_a_self_test_that_fails_says_so(tmp_path, capsys):
    folder = write_tree(tmp_path / "a", edited({RUN: [("print(class_name,", "print(1 / 0,")]}))
    assert apply.main([str(folder), "--selftest"]) == 1
    assert f"ZeroDivisionError: division by zero ({RUN}, line 34)" in capsys.readouterr().out
    folder = write_tree(tmp_path / "b", TREE)
    assert apply.main([str(folder), "--selftest", "--method_name DINO"]) == 1
    assert "main.py ended with code 2" in capsys.readouterr().out
    assert contents(folder) == contents(write_tree(tmp_path / "c", TREE))
    wrong = "        import scoring_addon; scoring_addon.record(self, s_map_fusion, s_map_xyz)\n        s = s_xyz + 0.1"
    folder = write_tree(tmp_path / "d", edited({FULL: [("        s = s_xyz + 0.1", wrong)]}))
    assert apply.main([str(folder), "--selftest"]) == 1  # a map that the RGB bank has not computed
    said = capsys.readouterr().out
    assert said.count("3 samples recorded and scored") == 2 and said.endswith("failed\n")


def test_the_workflow_runs_the_self_test_in_the_fork(tmp_path, capsys):
    folder = write_tree(tmp_path, TREE)
    before = contents(folder)
    assert apply.main([str(folder)]) == 0 and apply.main([str(folder), "--workflow"]) == 0
    text = (folder / ".github/workflows/scoring_addon.yml").read_text()
    command = next(line.split("run: python ")[1] for line in text.splitlines() if "run: python " in line)
    assert "passed" in python(folder, *command.split())
    (folder / "categories.txt").write_text("")
    real = python(folder, ".github/scoring_selftest.py", ".", "--category", "bagel")
    assert real.count("8 samples recorded and scored") == 1 and "passed" in real  # the checkout's own data
    (folder / "categories.txt").unlink()
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before
