"""patches/apply.py on checkouts of the shapes that public forks have: which class is recorded, why, and that it is."""

import ast
import compileall
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patches import apply
from patches.edit import MARKER
from tests.patches.fork_shapes import FORKS, NAME
from tests.patches.fork_styles import GUESSES, STYLES, styled
from tests.patches.make_checkout import FULL, write_tree
from tests.patches.run_checkout import contents, ours, run


def recording(files):
    """{"path: class"} of the classes that hold an inserted recording; each has exactly one."""
    found = []
    for path in (path for path in files if path.endswith(".py") and path != "scoring_addon.py"):
        for node in ast.parse(files[path]).body:
            if isinstance(node, ast.ClassDef):
                calls = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr == "record"]
                found += [f"{path}: {node.name}"] * len(calls)
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("shape", FORKS)
def test_a_fork(shape, tmp_path, capsys):
    fork = FORKS[shape]
    folder = write_tree(tmp_path / "checkout", fork.files)
    before = contents(folder)
    assert apply.main([str(folder), "--check"]) == 0 and contents(folder) == before
    said = capsys.readouterr().out
    for text in fork.says:
        assert text in said
    assert said.count(": is recorded, since ") == len(fork.recorded)

    assert apply.main([str(folder)]) == 0
    after = contents(folder)
    assert recording(after) == fork.recorded
    assert sum(text.count(MARKER.encode()) for path, text in after.items() if path != "scoring_addon.py") == 2 + len(
        fork.recorded
    )
    assert compileall.compile_dir(folder, quiet=2, legacy=True, force=True)
    for path in folder.rglob("*.pyc"):
        path.unlink()
    assert apply.main([str(folder)]) == 0 and contents(folder) == after
    capsys.readouterr()

    for old, new in (fork.before_run or {}).items():
        (folder / old).rename(folder / new)
    for flags in fork.runs:
        plain = run(folder, *flags)[2]
        arrays = run(folder, "--scoring", "disagreement", *flags)[2]
        for category in ("bagel", "cable_gland"):
            expected = ours(plain, category, "disagreement")
            assert np.array_equal(arrays[f"{category}/image_preds"], expected.image_preds)
            assert np.array_equal(arrays[f"{category}/predictions"], np.stack(expected.predictions))
            assert not np.array_equal(arrays[f"{category}/predictions"], plain[f"{category}/predictions"])
    for name in fork.refused:
        assert f"not {name}" in run(folder, "--scoring", "disagreement", "--method_name", name, code=2)
    for old, new in (fork.before_run or {}).items():
        (folder / new).rename(folder / old)
    assert apply.main([str(folder), "--revert"]) == 0 and contents(folder) == before


@pytest.mark.parametrize("shape", GUESSES)
def test_what_would_be_a_guess_is_refused(shape, tmp_path, capsys):
    files, words = GUESSES[shape]
    folder = write_tree(tmp_path / "checkout", files)
    before = contents(folder)
    for flags, code in (([], 2), (["--check"], 1)):
        assert apply.main([str(folder), *flags]) == code and contents(folder) == before
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 2 and all(word in err for word in words), err
        assert "by hand, insert" in err and err.endswith("nothing was changed\n")


NAMES = [NAME, NAME + "+PS", "DINO", "ours", "Point_MAE"]
CLASSES = ["TripleFeatures", "TripleFeatures_PS", "TripleFeatures_VS", "RGBFeatures"]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(STYLES)), st.permutations(NAMES), st.data())
def test_whatever_the_table_the_full_settings_class_is_recorded(tmp_path, capsys, style, names, data):
    table = {name: data.draw(st.sampled_from(CLASSES[: 3 if name == NAME else 4])) for name in names}
    folder = write_tree(tmp_path / "checkout", styled(style, table))
    try:
        capsys.readouterr()
        assert apply.main([str(folder)]) == 0
        said, after = capsys.readouterr().out, contents(folder)
        assert recording(after) == {f"{FULL}: {table[NAME]}"} and f"builds it for {NAME}\n" in said
        refused = sorted(name for name in names if table[name] not in (table[NAME], "RGBFeatures"))
        assert [name for name in sorted(names) if f"it is built for {name} only" in said] == refused
    finally:
        shutil.rmtree(folder)
