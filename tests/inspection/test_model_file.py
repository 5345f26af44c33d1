"""The saved model's file: read back, read by the safetensors library, damaged in every byte, killed while written."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

from common.errors import InputError
from inspection import model_file
from inspection.model_file import read_model, write_model

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = {
    "bank.rgb": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "n": np.array(7),
    "flags": np.array([True, False, True]),
    "empty": np.zeros((0, 4), np.float64),
    "codes": np.arange(5, dtype=np.uint8),
    "turned": np.arange(6.0).reshape(2, 3).T[:, ::-1],  # a view: stored as it looks
}
META = {
    "category": "bagel",
    "options": {"f_coreset": 0.1, "fix": ["eval_mode"], "shots": None},
    "sign": "Größe ≥ 3",  # kept as it is, outside ASCII too
}


def same(found, wanted):
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == np.asarray(array).dtype.newbyteorder("=") and found[name].shape == np.shape(array)
        np.testing.assert_array_equal(found[name], array)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(path of a small model, its bytes)."""
    path = tmp_path_factory.mktemp("model") / "bagel.m3dm"
    write_model(path, ARRAYS, META)
    return path, path.read_bytes()


def refusal(path, data):
    """The message of reading ``data``."""
    path.write_bytes(data)
    with pytest.raises(InputError) as info:
        read_model(path)
    assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)
    return str(info.value)


def test_the_library_reads_the_same(small):
    with safe_open(small[0], "np") as file:
        assert file.metadata()["format"] == "m3dm-model" and json.loads(file.metadata()["meta"]) == META
        same({name: file.get_tensor(name) for name in file.keys() if name != model_file.CHECKSUM}, ARRAYS)
        assert file.get_tensor(model_file.CHECKSUM).tobytes() == hashlib.sha256(small[1][:-32]).digest()


def test_the_same_model_gives_the_same_bytes(small, tmp_path):
    write_model(tmp_path / "again.m3dm", dict(reversed(ARRAYS.items())), META)
    assert (tmp_path / "again.m3dm").read_bytes() == small[1]


KINDS = st.sampled_from([">f8", "<f4", "<f2", ">i4", "|b1", "|u1", "<i8"])
SHAPES = hnp.array_shapes(min_dims=0, max_side=4, min_side=0)
NAMES = st.text(max_size=5).filter(lambda name: name not in (".sha256", "__metadata__"))
VALUES = st.integers() | st.text() | st.none() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(NAMES, hnp.arrays(KINDS, SHAPES), max_size=4),
    st.dictionaries(NAMES, st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3)), max_size=3),
)
def test_any_arrays_and_metadata_read_back(tmp_path_factory, arrays, meta):
    path = tmp_path_factory.getbasetemp() / "any.m3dm"
    write_model(path, arrays, meta)
    found, found_meta = read_model(path)
    same(found, arrays)
    assert not any(array.flags.writeable or not array.flags.aligned for array in found.values())
    assert found_meta == meta


def test_arrays_outlive_the_file(tmp_path):
    write_model(tmp_path / "a", ARRAYS, META)
    arrays, _ = read_model(tmp_path / "a")
    write_model(tmp_path / "a", {}, {})
    (tmp_path / "a").unlink()
    same(arrays, ARRAYS)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_model(tmp_path / "file" / "a.m3dm", {}, {})


# ---------------------------------------------------------------- damage


def test_a_flipped_bit_in_any_byte_is_noticed(small, tmp_path):
    data, path = bytearray(small[1]), tmp_path / "flipped"
    for position in range(len(data)):
        data[position] ^= 1 << position % 8
        refusal(path, data)
        data[position] ^= 1 << position % 8
    path.write_bytes(data)
    read_model(path)


def test_every_cut_is_noticed_and_so_is_what_was_added(small, tmp_path):
    data, path = small[1], tmp_path / "cut"
    messages = {end: refusal(path, data[:end]) for end in range(len(data))}
    assert "is cut off" in messages[len(data) - 1]
    assert f"{len(data) - 1} of {len(data)} bytes" in messages[len(data) - 1]
    assert "is cut off or damaged" in messages[100] and "is no model" in messages[0]
    assert "checksum" in refusal(path, data + b"\0")
    assert "checksum" in refusal(path, data + data)


def test_foreign_files(small, tmp_path):
    from safetensors.numpy import save

    path = tmp_path / "foreign"
    for data in (
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"{}",
        b"x" * 500,
        save({"a": np.zeros(3)}),
        save({"a": np.zeros(3)}, {"format": "pt"}),
        b"\x02" + bytes(7) + b"[]",
        b"\x02" + bytes(7) + b"{}",
    ):
        assert "is no model of this program" in refusal(path, data)
    with pytest.raises(InputError, match="cannot be read"):
        read_model(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        read_model(tmp_path)


def test_a_newer_format(small, tmp_path, monkeypatch):
    monkeypatch.setattr(model_file, "VERSION", 2)
    write_model(tmp_path / "new", ARRAYS, META)
    monkeypatch.undo()
    assert "has format 2, newer than the 1 that this program reads" in refusal(
        tmp_path / "new", (tmp_path / "new").read_bytes()
    )


def test_a_header_made_to_fit_its_checksum(small, tmp_path):
    """Whoever computes the sum anew can still not make the reader look outside the file."""
    for old, new in (
        (b'"F32","shape":[2,3]', b'"F32","shape":[9,9]'),
        (b'"F32","shape":[2,3]', b'"F3x","shape":[2,3]'),
        (b'"F32","shape":[2,3]', b'"F32","shape":[2,-]'),
        (b'"dtype":"F16"', b'"dtypo":"F16"'),
    ):
        assert old in small[1]
        data = small[1][:-32].replace(old, new)
        refusal(tmp_path / "made", data + hashlib.sha256(data).digest())


# ---------------------------------------------------------------- killed

WRITER = """
import os, signal, sys
import numpy as np
from inspection import model_file
path, point = sys.argv[1:]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
pieces = model_file._pieces
def some(*args):
    for i, piece in enumerate(pieces(*args)):
        if point == f"piece {i}":
            die()
        yield piece
model_file._pieces = some
if point in ("fsync", "replace"):
    setattr(os, point, die)
model_file.write_model(path, {name: np.full(200_000, 1.0) for name in "ab"}, {"i": 1})
"""


@pytest.mark.parametrize("point, new", [("piece 0", 0), ("piece 3", 0), ("fsync", 0), ("replace", 0), ("none", 1)])
def test_killed_at(tmp_path, point, new):
    path = tmp_path / "a.m3dm"
    write_model(path, {"a": np.zeros(200_000)}, {"i": 0})
    words = [sys.executable, "-c", WRITER, str(path), point]
    code = subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode
    assert code == (0 if point == "none" else -signal.SIGKILL)
    arrays, meta = read_model(path)
    assert meta == {"i": new} and (arrays["a"] == new).all()
