"""patches/apply.py and the bytes of files: what is inserted comes out again, all files or none, the diff."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patches import apply
from patches.edit import MARKER, Source
from tests.patches.checkout_shapes import SHAPES
from tests.patches.make_checkout import BASE, FULL, MULTIPLE, TREE, write_tree
from tests.patches.run_checkout import contents
from tests.patches.test_patches import keep_signal_handler, make  # noqa: F401 (fixtures)

ROOT = Path(__file__).resolve().parents[2]


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
