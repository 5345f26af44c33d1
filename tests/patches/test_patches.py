"""patches/apply.py on generated checkouts of many shapes: what it inserts, what it refuses, and what the patched
programs compute."""

import ast
import difflib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from patches import apply
from patches.edit import MARKER
from tests.patches.checkout_shapes import REFUSED, SHAPES
from tests.patches.make_checkout import BASE, CALL, FULL, PARSE, TREE, edited, write_tree
from tests.patches.run_checkout import TABLES, contents, ours, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def make(tmp_path):
    """Function: a checkout of {path: text} in a folder of its own."""
    return lambda files, name="checkout": write_tree(tmp_path / name, files)


def docstrings(data):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [ast.get_docstring(node) for node in ast.walk(ast.parse(data)) if isinstance(node, kinds)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_checkout_of_any_shape(shape, make, capsys):
    folder = make(SHAPES[shape]())
    before = contents(folder)
    plain = run(folder)
    assert apply.main([str(folder)]) == 0
    after = contents(folder)

    assert after.pop("scoring_addon.py") == (ROOT / "scoring_addon.py").read_bytes() and set(after) == set(before)
    steps = [
        step
        for path in before
        for step in difflib.ndiff(
            before[path].decode("latin-1").splitlines(True), after[path].decode("latin-1").splitlines(True)
        )
    ]
    assert not [step for step in steps if step.startswith("-")]
    assert 3 == len([step for step in steps if step.startswith("+")]) <= 10 and all(
        MARKER in step for step in steps if step.startswith("+")
    )
    assert all(docstrings(after[path]) == docstrings(before[path]) for path in TREE if path.endswith(".py"))
    patched = run(folder)
    assert patched[:2] == plain[:2] and all(np.array_equal(patched[2][key], plain[2][key]) for key in plain[2])

    out, tables, arrays = run(folder, "--scoring", "disagreement")
    for i, category in enumerate(("bagel", "cable_gland")):
        expected = ours(plain[2], category, "disagreement")
        assert np.array_equal(arrays[f"{category}/image_preds"], expected.image_preds)
        assert np.array_equal(arrays[f"{category}/predictions"], np.stack(expected.predictions))
        assert np.array_equal(arrays[f"{category}/pixel_preds"], np.ravel(expected.predictions))
        assert not np.array_equal(arrays[f"{category}/pixel_preds"], plain[2][f"{category}/pixel_preds"])
        shown = [float(tables[name].decode().splitlines()[4].split("|")[2 + i]) for name in TABLES[:2]]
        assert shown == pytest.approx([expected.image_rocauc, expected.pixel_rocauc], abs=6e-4)

    stamps = {path: os.stat(folder / path).st_mtime_ns for path in contents(folder)}
    for flags in ([], ["--check"]):
        capsys.readouterr()
        assert apply.main([str(folder), *flags]) == 0 and "already applied" in capsys.readouterr().out
    assert {path: os.stat(folder / path).st_mtime_ns for path in contents(folder)} == stamps
    assert apply.main([str(folder), "--revert"]) == 0
    assert contents(folder) == before


@pytest.mark.parametrize("shape", REFUSED)
def test_what_would_be_a_guess_is_refused(shape, make, capsys):
    files, words = REFUSED[shape]
    folder = make(files())
    before = contents(folder)
    for flags, code in (([], 2), (["--diff"], 2), (["--check"], 1)):
        assert apply.main([str(folder), *flags]) == code
        out, err = capsys.readouterr()
        assert out == "" and all(word in err for word in words) and "nothing was changed" in err
        assert ("by hand" in err) == (shape != "user's own scoring_addon.py")
    assert contents(folder) == before
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before


def test_code_that_moved_and_changed_since_is_followed(make):
    folder = make(TREE)
    apply.main([str(folder)])
    path = folder / FULL
    path.write_text("\n\n" + path.read_text().replace("s_map_rgb", "rgb_map"))
    assert apply.main([str(folder)]) == 0
    run(folder, "--scoring", "disagreement")
    assert "record(self, rgb_map, s_map_xyz, s_map_fusion)" in path.read_text() and path.read_text().count(MARKER) == 1


def test_lines_inserted_by_hand_count(make, capsys):
    shape, _ = REFUSED["shared with training"]
    files = shape()
    files[FULL] = files[FULL].replace(
        "        s = np.array([[s_xyz",
        "        if mask is not None:\n            import scoring_addon; scoring_addon.record("
        "self, s_map_rgb, s_map_xyz, s_map_fusion)\n        s = np.array([[s_xyz",
    )
    folder = make(files)
    before = contents(folder)
    assert apply.main([str(folder)]) == 0
    assert (folder / FULL).read_bytes() == before[FULL] and MARKER in (folder / BASE).read_text()
    assert apply.main([str(folder), "--revert"]) == 1  # that line still needs the file
    assert f"{FULL}: line " in capsys.readouterr().err
    assert {path: data for path, data in contents(folder).items() if path != "scoring_addon.py"} == before


def test_wrong_paths(tmp_path, capsys):
    for path, word in ((tmp_path / "no", "no such folder"), (tmp_path, "no main.py"), (ROOT, "built in")):
        assert apply.main([str(path)]) == 2 and apply.main([str(path), "--revert"]) in (
            (0, 2) if path == tmp_path else (2,)
        )
        err = capsys.readouterr().err
        assert word in err and "Traceback" not in err
    assert (ROOT / "scoring_addon.py").is_file()


@pytest.mark.parametrize(
    "flags",
    [
        ["--scoring", "disagreement", "--method_name", "DINO"],
        ["--scoring", "pixel_max", "--method_name", "DINO+Point_MAE"],
        ["--scoring", "disagreement", "baseline"],
        ["--scoring", "all"],
        ["--scoring_reference", "train"],
    ],
)
def test_a_patched_checkout_refuses_what_it_cannot_score(flags, make):
    folder = make(TREE)
    apply.main([str(folder)])
    err = run(folder, *flags, code=2)
    assert "Traceback" not in err and flags[1] in err.splitlines()[-1] or "baseline" in err.splitlines()[-1]
    assert not list((folder / "results").iterdir())
    if "--method_name" in flags:
        assert len(err.splitlines()) == 1


def test_other_methods_and_entries_go_on_as_before(make):
    folder = make(
        {
            **TREE,
            "evaluate.py": "import argparse, m3dm_runner\n"
            "r = m3dm_runner.M3DM(argparse.Namespace(method_name='DINO+Point_MAE+Fusion'))\n"
            "r.fit('bagel')\nprint(r.evaluate('bagel'))\n",
        }
    )

    def results():
        other = subprocess.run(
            [sys.executable, "-B", "evaluate.py"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        return [run(folder, "--method_name", name)[:2] for name in ("DINO", "DINO+Point_MAE")], other

    before = results()
    apply.main([str(folder)])
    assert results() == before


def test_tensors_with_gradients_and_options_in_a_dictionary(make):
    files = edited(
        {
            BASE: [
                ("import numpy as np\n", "import numpy as np\nimport torch\n"),
                (
                    "        return s_map.max(), s_map",
                    "        return s_map.max(), torch.from_numpy(s_map).requires_grad_()",
                ),
            ],
            FULL: [
                ("np.array(m[0])", "m[0].detach().numpy()"),
                ("        s_map_rgb *= 0\n", ""),
                (
                    "append_all(self, s, s_map[0], mask, label)\n\n\ndef",
                    "append_all(self, s, s_map[0].detach().numpy(), mask, label)\n\n\ndef",
                ),
            ],
            "m3dm_runner.py": [("[args.method_name](args)", "[args.method_name](vars(args))")],
        }
    )
    folder = make(files)
    plain = run(folder)[2]
    apply.main([str(folder)])
    arrays = run(folder, "--scoring", "full", "--scoring_map", "bank", "--scoring_lambda", "0.7")[2]
    expected = ours(plain, "bagel", "full", "--scoring_map", "bank", "--scoring_lambda", "0.7")
    assert np.array_equal(arrays["bagel/image_preds"], expected.image_preds)
    assert np.array_equal(arrays["bagel/pixel_preds"], np.ravel(expected.predictions))


def test_a_debug_branch_that_parses_twice(make):
    twice = (
        "if __debug__:\n        args = parser.parse_args()\n    else:\n"
        "        args = parser.parse_args(['--dump', 'x'])"
    )
    folder = make(edited({"main.py": [(PARSE, twice)]}))
    assert apply.main([str(folder)]) == 0
    run(folder, "--scoring", "disagreement")


def test_the_calls_in_training_stay_as_they_are(make):
    folder = make(TREE)
    apply.main([str(folder)])
    text = (folder / FULL).read_text()
    training = text[
        text.index("class TripleFeatures") : text.index(
            "    def predict(self, sample, mask, label):\n        xyz_patch"
        )
    ]
    assert training.count(CALL) == 3 and MARKER not in training
