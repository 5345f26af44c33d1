"""patches/apply.py on generated checkouts of many shapes: what it inserts, what it refuses, and what the patched
programs compute."""

import ast
import difflib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation import Evaluation, metrics, score
from patches import apply
from patches.edit import MARKER, Source
from scoring_addon import parameters_from
from tests.checkout_shapes import REFUSED, SHAPES
from tests.make_checkout import BASE, CALL, FULL, MULTIPLE, PARSE, TREE, edited, write_tree
from utils.options import parse_arguments

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("image_rocauc_results.md", "pixel_rocauc_results.md", "aupro_results.md")


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def make(tmp_path):
    """Function: a checkout of {path: text} in a folder of its own."""
    return lambda files, name="checkout": write_tree(tmp_path / name, files)


def contents(folder):
    """{path: bytes} of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def docstrings(data):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return [ast.get_docstring(node) for node in ast.walk(ast.parse(data)) if isinstance(node, kinds)]


def run(folder, *flags, python=sys.executable, code=0):
    """Run the checkout's main.py; returns (stdout, {table: bytes}, {array name: array}) and leaves no trace."""
    result = subprocess.run(
        [python, "-B", "main.py", "--dump", "dump.npz", *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == code, result.stderr
    if code:
        return result.stderr
    tables = {name: (folder / "results" / name).read_bytes() for name in TABLES}
    with np.load(folder / "dump.npz") as file:
        arrays = dict(file)
    for path in [folder / "dump.npz", *(folder / "results").iterdir()]:
        path.unlink()
    return result.stdout, tables, arrays


def ours(arrays, category, *flags):
    """What our own tree makes of the maps that a checkout's baseline run computed for a category."""
    args = parse_arguments(["--use_uff", "--scoring", *flags])
    of = {key: arrays[f"{category}/{key}"] for key in ("seen", "image_preds", "predictions", "gts", "labels")}
    names, scores = [str(i) for i in range(len(of["labels"]))], np.ravel(of["image_preds"])
    maps = dict(zip(("rgb", "xyz", "fusion"), np.moveaxis(of["seen"], 1, 0)))
    found = Evaluation(
        category,
        names,
        names,
        np.ravel(of["labels"]),
        of["gts"],
        scores,
        of["predictions"],
        dict.fromkeys(maps, scores),
        maps,
    )
    scored = score(found, args.scoring, parameters_from(args))
    chosen, of_it = scored[args.scoring[0]], metrics(found, scored)[args.scoring[0]]
    return SimpleNamespace(
        image_preds=chosen.image_preds[:, None],
        predictions=chosen.predictions,
        image_rocauc=of_it.image_rocauc,
        pixel_rocauc=of_it.pixel_rocauc,
    )


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


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(set(SHAPES) - {"latin-1"})),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["    ", "\t", "  "]),
    st.booleans(),
    st.booleans(),
)
def test_revert_restores_every_byte(tmp_path, shape, newline, indent, bom, end):
    folder = write_tree(
        tmp_path,
        {
            path: "\ufeff" * bom
            + text.lstrip("\ufeff")
            .rstrip("\n" * end)
            .replace("    ", indent)
            .replace("\r\n", "\n")
            .replace("\n", newline)
            for path, text in SHAPES[shape]().items()
            if path.endswith(".py")
        },
    )
    before = contents(folder)
    assert apply.main([str(folder)]) == 0
    done = contents(folder)
    assert sum(done[path].count(MARKER.encode()) for path in before) == 3
    assert apply.main([str(folder)]) == 0 and contents(folder) == done
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before
    shutil.rmtree(tmp_path)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a = 1", "b = 'ü'  # c", "", "if a:\n\tb = 2", "b = (1,\n\n2)"]),
            st.sampled_from(["\n", "\r\n", "\r"]),
        ),
        min_size=1,
    ),
    st.booleans(),
    st.data(),
)
def test_an_inserted_line_has_its_neighbours_ending_and_comes_out_again(lines, end, data):
    text = "".join(line.replace("\n", newline) + newline for line, newline in lines).encode()
    source = Source("x.py", "x.py", text if end else text.rstrip(b"\r\n"))
    places = [node.lineno - 1 for node in source.tree.body] + [node.end_lineno for node in source.tree.body]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    new = Source(
        "x.py",
        "x.py",
        source.with_lines(
            {place: (b"", f"import scoring_addon; scoring_addon.apply(a)  {MARKER} 0123456789ab".encode())}
        ),
    )
    assert list(new.our_lines()) == [place] and new.without_our_lines().data == source.data
    if 0 < place < len(source.lines):
        before, ours = source.lines[place - 1], new.lines[place]
        assert ours[len(ours.rstrip(b"\r\n")) :] == before[len(before.rstrip(b"\r\n")) :]


@pytest.mark.parametrize("missing", range(1, 16))
def test_half_applied_is_completed(missing, make):
    folder, parts = make(TREE), ["main.py", FULL, BASE, "scoring_addon.py"]
    before = contents(folder)
    assert apply.main([str(folder)]) == 0
    after = contents(folder)
    for i, path in enumerate(parts):
        if missing >> i & 1:
            if path in before:
                (folder / path).write_bytes(before[path])
            else:
                (folder / path).unlink()
    assert apply.main([str(folder)]) == 0 and contents(folder) == after


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


def test_text_that_looks_like_ours_stays(make):
    line = f"import scoring_addon; scoring_addon.apply(self)  {MARKER} 0123456789ab"
    inside = f"        text = '''\n    {line}\n'''\n        self.image_preds = np.stack"
    files = {
        **TREE,
        BASE: f'"""\n{line}\n"""\n# {line}\n' + TREE[BASE].replace("        self.image_preds = np.stack", inside),
    }
    folder = make(files)
    before = contents(folder)
    assert apply.main([str(folder)]) == 0 and (folder / BASE).read_text().count(line[:-12]) == 4
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before


def test_a_file_of_another_version_is_replaced_only_if_we_copied_it(make, capsys, monkeypatch, tmp_path):
    folder = make(TREE)
    old = tmp_path / "old"
    old.mkdir()
    (old / "scoring_addon.py").write_bytes((ROOT / "scoring_addon.py").read_bytes() + b"# older\n")
    monkeypatch.setattr(apply, "PROJECT", old)
    assert apply.main([str(folder)]) == 0
    monkeypatch.undo()
    assert apply.main([str(folder)]) == 0
    assert (folder / "scoring_addon.py").read_bytes() == (ROOT / "scoring_addon.py").read_bytes()
    (folder / "scoring_addon.py").write_text("edited = True\n")
    capsys.readouterr()
    assert apply.main([str(folder)]) == 2 and "scoring_addon.py" in capsys.readouterr().err
    assert apply.main([str(folder), "--revert"]) == 1 and "is kept" in capsys.readouterr().err
    left = contents(folder)
    assert left.pop("scoring_addon.py") == b"edited = True\n" and left == contents(make(TREE, "other"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("flags", [[], ["--revert"]])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_all_files_or_none(error, flags, call, make, monkeypatch, capsys):
    folder, replace, count = make(TREE), os.replace, []
    if flags:
        apply.main([str(folder)])
    before = contents(folder)

    def failing(*args):
        count.append(args)
        if len(count) == call:
            raise error
        replace(*args)

    monkeypatch.setattr(os, "replace", failing)
    assert apply.main([str(folder), *flags]) == (2 if isinstance(error, OSError) else 1)
    monkeypatch.undo()
    assert contents(folder) == before and len(capsys.readouterr().err.splitlines()) == 1


def test_permissions_and_links_are_kept(make, tmp_path):
    folder = make(TREE)
    (folder / "main.py").chmod(0o755)
    shutil.move(folder / FULL, tmp_path / "elsewhere.py")
    try:
        (folder / FULL).symlink_to(tmp_path / "elsewhere.py")
    except OSError:
        pytest.skip("no symbolic links here")
    mode = (folder / "main.py").stat().st_mode
    assert apply.main([str(folder)]) == 0
    assert (
        (folder / "main.py").stat().st_mode == mode
        and (folder / FULL).is_symlink()
        and MARKER in (tmp_path / "elsewhere.py").read_text()
    )
    assert apply.main([str(folder), "--revert"]) == 0 and (tmp_path / "elsewhere.py").read_text() == MULTIPLE


@pytest.mark.parametrize("shape", ["as released", "CRLF", "latin-1", "no newline at the end"])
def test_the_diff_is_what_git_applies(shape, make):
    folder, other = make(SHAPES[shape]()), make(SHAPES[shape](), "other")
    result = subprocess.run(
        [sys.executable, ROOT / "patches" / "apply.py", folder, "--diff"], capture_output=True, check=True
    )
    assert contents(folder) == contents(other)
    apply.main([str(folder)])
    subprocess.run(["git", "init", "-q", other], check=True)
    subprocess.run(
        ["git", "-c", "core.autocrlf=false", "-C", other, "apply", "--whitespace=nowarn"],
        input=result.stdout,
        check=True,
    )
    shutil.rmtree(other / ".git")
    assert contents(other) == contents(folder)
    again = subprocess.run(
        [sys.executable, ROOT / "patches" / "apply.py", folder, "--diff"], capture_output=True, check=True
    )
    assert again.stdout == b""


@pytest.mark.parametrize(
    "path, text, line",
    [
        (FULL, MULTIPLE + "def broken(:\n", MULTIPLE.count("\n") + 1),
        ("main.py", "a = 1\n\n'''", 3),
        (BASE, "x = '\x00'\n", None),
    ],
)
def test_a_file_that_is_no_python_is_named_with_its_line(path, text, line, make, capsys):
    folder = make({**TREE, path: text})
    before = contents(folder)
    for flags in ([], ["--check"], ["--diff"]):
        assert apply.main([str(folder), *flags]) == 2
        err = capsys.readouterr().err
        assert path in err and len(err.splitlines()) == 1 and (line is None or f"line {line}:" in err)
    assert contents(folder) == before


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
