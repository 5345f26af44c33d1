"""The file of a saved model: arrays and JSON with a checksum; one file per category.

It is a safetensors file, which any safetensors library reads. ``__metadata__`` of its header holds "format"
("m3dm-model"), "version" of this layout, and "meta", JSON text of everything that is not an array. The arrays follow,
those with the largest items first, so that each is aligned. The last, ``.sha256``, has 32 bytes: the SHA-256 of all
bytes before it. It detects damage and careless edits, but not somebody who computes it anew. Reading runs no code from
the file.

The file is written here, because ``safetensors.numpy.save_file`` copies all arrays at once.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import InputError
from common.files import atomic_path

Arrays = Mapping[str, NDArray[Any]]
Meta = dict[str, Any]

FORMAT, VERSION = "m3dm-model", 1
SUFFIX = ".m3dm"
METADATA, CHECKSUM, DIGEST_BYTES = "__metadata__", ".sha256", 32
LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors library
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1", "BOOL": "|b1"}
CODES = {np.dtype(kind): code for code, kind in DTYPES.items()}
WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError)  # of content that does not fit
MENDING = "write it again with --save_model"


def write_model(path: str | Path, arrays: Arrays, meta: Meta) -> None:
    """Write a model's file in one step: under a temporary name, synced to the disk, then renamed.

    Args:
        arrays: {name: array of one of DTYPES, of any shape}.
        meta: fits into JSON, without NaN and infinity. Tuples come back as lists.

    Raises InputError: the folder cannot be written to, or the disk is full.
    """
    ordered = {name: arrays[name] for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))}
    text = json.dumps(meta, ensure_ascii=False, allow_nan=False)
    header: Meta = {METADATA: {"format": FORMAT, "version": str(VERSION), "meta": text}}
    position = 0
    for name, array in {**ordered, CHECKSUM: np.zeros(DIGEST_BYTES, np.uint8)}.items():
        place = [position, position := position + array.nbytes]
        kind = CODES[array.dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hashlib.sha256()
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            for piece in _pieces(head + b" " * (-len(head) % 8), ordered.values()):
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); choose another folder or make room") from None


def read_model(path: str | Path) -> tuple[dict[str, NDArray[Any]], Meta]:
    """({name: array}, metadata) of a model, after a check of all bytes. The arrays are read-only views of the
    memory-mapped file. InputError where it cannot be read, is no model file, cut off, damaged, or of a newer format."""
    data, header, start = _opened(path)
    with memoryview(data) as view:
        digest = hashlib.sha256(view[:-DIGEST_BYTES]).digest()
    if digest != data[-DIGEST_BYTES:]:
        text = f"is damaged or was changed: its checksum does not fit its contents; {MENDING}, or copy it again"
        raise InputError(f"{path}: {text}")
    try:
        arrays = {}
        for name, entry in header.items():
            if name not in (METADATA, CHECKSUM):
                shape, begin = entry["shape"], start + entry["data_offsets"][0]
                values = np.frombuffer(data, DTYPES[entry["dtype"]], int(np.prod(shape, dtype=np.int64)), begin)
                arrays[name] = values.reshape(shape)
        return arrays, json.loads(header[METADATA]["meta"])
    except WRONG as error:  # the checksum is right: somebody wrote the file like this
        raise damaged(path, error) from None


def read_meta(path: str | Path) -> tuple[Meta, str]:
    """(a model's metadata, its checksum in hexadecimal) from the file's head and end; the arrays are not checked.
    InputError where it cannot be read, is no model file, is cut off, or of a newer format."""
    data, header, _ = _opened(path)
    try:
        return json.loads(header[METADATA]["meta"]), data[-DIGEST_BYTES:].hex()
    except WRONG as error:
        raise damaged(path, error) from None


def damaged(path: str | Path, error: Exception) -> InputError:
    """The InputError of a model whose content is wrong though its form is right."""
    return InputError(f"{path}: is no sound model ({type(error).__name__}: {error}); {MENDING}")


def tuples(content: Any) -> Any:
    """What JSON gave, with tuples in the place of lists, as the immutable results here hold them."""
    if isinstance(content, dict):
        return {key: tuples(value) for key, value in content.items()}
    return tuple(map(tuples, content)) if isinstance(content, list) else content


def _pieces(header: bytes, arrays: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield len(header).to_bytes(8, "little")
    yield header
    for array in arrays:
        yield np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def _opened(path: str | Path) -> tuple[mmap.mmap | bytes, Meta, int]:
    """(the file's bytes, memory-mapped; its header; position of the arrays)."""
    if Path(path).is_dir():
        raise InputError(f"{path}: cannot be read: it is a folder; give one of its *{SUFFIX} files")
    data: mmap.mmap | bytes = b""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : min(start, LONGEST_HEADER)])
        name, version = header[METADATA]["format"], int(header[METADATA]["version"])
        end = start + max(entry["data_offsets"][1] for key, entry in header.items() if key != METADATA)
        if name != FORMAT:
            raise ValueError(name)
    except WRONG:
        text = "is no model of this program, or its head is cut off or damaged"
        raise InputError(f"{path}: {text}; give a {SUFFIX} file that --save_model wrote, or copy it again") from None
    if version > VERSION:
        newer = f"has format {version}, newer than the {VERSION} that this program reads, or is damaged"
        raise InputError(f"{path}: {newer}; use a newer program")
    if len(data) < end:
        text = f"is cut off: {len(data)} of {end} bytes are there; {MENDING}, or copy it again"
        raise InputError(f"{path}: {text}")
    return data, header, start
