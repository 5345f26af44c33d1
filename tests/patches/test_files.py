"""patches/apply.py and files: what is inserted comes out again, all files or none, and what is said of it is true."""

import ast
import os
import shutil
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patches import apply
from patches.edit import MARKER, Source
from tests.patches.make_checkout import BASE, FULL, MULTIPLE, TREE, write_tree
from tests.patches.run_checkout import ROOT, contents

FILES = sorted([*(ROOT / "patches").glob("*.py"), ROOT / "common" / "errors.py", ROOT / "common" / "files.py"])
PIECES = ["a = 1", "b = 'ü'  # c", "", "if a:\n\tb = 2", "b = (1,\n\n2)"]
LINE = f"import scoring_addon; scoring_addon.apply(a)  {MARKER} 0123456789ab"


@pytest.fixture
def folder(tmp_path):
    return write_tree(tmp_path / "checkout", TREE)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["\n", "\r\n", "\r"])), min_size=1),
    st.booleans(),
    st.data(),
)
def test_an_inserted_line_has_its_neighbours_ending_and_comes_out_again(lines, end, data):
    text = "".join(line.replace("\n", newline) + newline for line, newline in lines).encode()
    source = Source(None, "x.py", text if end else text.rstrip(b"\r\n"))
    places = [line for node in source.tree.body for line in (node.lineno - 1, node.end_lineno)]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    new = Source(None, "x.py", source.with_lines({place: LINE.encode()}))
    assert list(new.our_lines()) == [place] and new.without_our_lines().data == source.data
    if 0 < place < len(source.lines):
        before, ours = source.lines[place - 1], new.lines[place]
        assert ours[len(ours.rstrip(b"\r\n")) :] == before[len(before.rstrip(b"\r\n")) :]


@pytest.mark.parametrize("missing", range(1, 32, 3))
def test_half_applied_is_completed(missing, folder):
    parts, before = ["main.py", FULL, BASE, "m3dm_runner.py", "scoring_addon.py"], contents(folder)
    assert apply.main([str(folder)]) == 0
    after = contents(folder)
    for i, path in enumerate(parts):
        if missing >> i & 1:
            (folder / path).write_bytes(before[path]) if path in before else (folder / path).unlink()
    assert apply.main([str(folder)]) == 0 and contents(folder) == after
    path = folder / FULL  # code that moved and changed since is followed
    path.write_text("\n\n" + path.read_text().replace("s_map_rgb", "rgb_map"))
    assert apply.main([str(folder)]) == 0
    assert path.read_text().count(MARKER) == 2 and "record(self, rgb_map, s_map_xyz, s_map_fusion)" in path.read_text()


def test_text_that_looks_like_ours_stays(tmp_path):
    inside = f"        text = '''\n    {LINE}\n'''\n        self.image_preds = np.stack"
    text = f'"""\n{LINE}\n"""\n# {LINE}\n' + TREE[BASE].replace("        self.image_preds = np.stack", inside)
    folder = write_tree(tmp_path, {**TREE, BASE: text})
    before = contents(folder)
    assert apply.main([str(folder)]) == 0 and (folder / BASE).read_text().count(MARKER) == 4
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before


def test_a_file_of_another_version_is_replaced_only_if_we_copied_it(folder, capsys, monkeypatch, tmp_path):
    before = contents(folder)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "scoring_addon.py").write_bytes((ROOT / "scoring_addon.py").read_bytes() + b"# older\n")
    monkeypatch.setattr(apply, "PROJECT", tmp_path / "old")
    assert apply.main([str(folder)]) == 0
    monkeypatch.undo()
    assert apply.main([str(folder)]) == 0
    assert (folder / "scoring_addon.py").read_bytes() == (ROOT / "scoring_addon.py").read_bytes()
    (folder / "scoring_addon.py").write_text("edited = True\n")
    capsys.readouterr()
    assert apply.main([str(folder)]) == 2 and "scoring_addon.py" in capsys.readouterr().err
    assert apply.main([str(folder), "--revert"]) == 1 and "is kept" in capsys.readouterr().err
    left = contents(folder)
    assert left.pop("scoring_addon.py") == b"edited = True\n" and left == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("flags", [[], ["--revert"]])
@pytest.mark.parametrize("call", [1, 3])
def test_all_files_or_none(error, flags, call, folder, monkeypatch, capsys):
    replace, count = os.replace, []
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
    err = capsys.readouterr().err
    assert contents(folder) == before and len(err.splitlines()) == 1 and "nothing was changed" in err


def test_permissions_and_links_are_kept(folder, tmp_path):
    (folder / "main.py").chmod(0o755)
    shutil.move(folder / FULL, tmp_path / "elsewhere.py")
    (folder / FULL).symlink_to(tmp_path / "elsewhere.py")
    assert apply.main([str(folder)]) == 0
    assert (folder / "main.py").stat().st_mode & 0o777 == 0o755 and (folder / FULL).is_symlink()
    assert MARKER in (tmp_path / "elsewhere.py").read_text()
    assert apply.main([str(folder), "--revert"]) == 0 and (tmp_path / "elsewhere.py").read_text() == MULTIPLE


@pytest.mark.parametrize(
    "path, text, line", [(FULL, MULTIPLE + "def broken(:\n", MULTIPLE.count("\n") + 1), ("main.py", "a = 1\n\n'''", 3)]
)
def test_a_file_that_is_no_python_is_named_with_its_line(path, text, line, tmp_path, capsys):
    folder = write_tree(tmp_path, {**TREE, path: text})
    before = contents(folder)
    for flags in ([], ["--check"]):
        assert apply.main([str(folder), *flags]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and f"{path}: line {line}:" in err
    assert contents(folder) == before


def test_wrong_paths(tmp_path, capsys):
    write_tree(tmp_path / "other", {"Test.py": "parser.parse_args()\n"})
    for path, words in (
        (tmp_path / "no", "no such folder"),
        (tmp_path / "other", "no main.py in it; --main names the script that parses the options: Test.py"),
        (ROOT, "built in"),
    ):
        assert apply.main([str(path)]) == 2
        err = capsys.readouterr().err
        assert words in err and len(err.splitlines()) == 1
    assert apply.main([str(ROOT), "--revert"]) == 2 and (ROOT / "scoring_addon.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_python_3_8_and_the_standard_library_suffice(path):
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            known = name.split(".")[0] in sys.stdlib_module_names or (ROOT / (name.replace(".", "/") + ".py")) in FILES
            assert known or name in ("patches", "numpy") and (name == "patches" or path.name == "selftest.py"), name
