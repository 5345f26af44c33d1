"""patches/apply.py on checkouts of the shapes that public forks have: which class is recorded, why, and that it is."""
import ast
import compileall

import numpy as np
import pytest

from patches import apply
from patches.edit import MARKER
from tests.fork_shapes import FORKS
from tests.make_checkout import write_tree
from tests.test_patches import contents, ours, run


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
    assert sum(text.count(MARKER.encode()) for path, text in after.items()
               if path != "scoring_addon.py") == 2 + len(fork.recorded)
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
