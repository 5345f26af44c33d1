"""The file of a saved model: arrays and JSON with a checksum; one file per category.

It is a safetensors file, which any safetensors library reads. Its header's ``__metadata__`` holds

    format      "m3dm-model"
    version     the version of this layout, 1
    meta        JSON text of everything that is not an array

The arrays follow, those with the largest items first, so that each is aligned. The last array, ``.sha256``, has 32
bytes: the SHA-256 of all bytes before it, header and length included. It detects damage and careless edits, but not
somebody who computes it anew. There is no pickle, and reading runs no code from the file.

This module writes the file itself, because ``safetensors.numpy.save_file`` copies all arrays at once. It streams the
arrays and computes the checksum on the way. Tests read the files with the library.
"""

import hashlib
import json
import mmap
import os
from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import atomic_path

FORMAT, VERSION = "m3dm-model", 1
SUFFIX = ".m3dm"
CHECKSUM, DIGEST_BYTES = ".sha256", 32
BLOCK = 1 << 24  # bytes hashed at a time
LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors library
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
CODES = {np.dtype(kind): code for code, kind in DTYPES.items()}
MENDING = "write it again with --save_model"


def write_model(path, arrays, meta):
    """Write a model's file in one step: under a temporary name, synced to the disk, then renamed.

    Args:
        path: the file to write.
        arrays: {name: array of numbers or booleans, of any shape}; stored little-endian and contiguous.
        meta: dict that fits into JSON. Tuples come back as lists; keys must be text.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
        TypeError, ValueError: an array's type or ``meta`` cannot be stored (JSON has no NaN and no infinity).
    """
    ordered = sorted(arrays, key=lambda name: (-np.asarray(arrays[name]).itemsize, name))
    header, position = {"__metadata__": {"format": FORMAT, "version": str(VERSION), "meta": _json(meta)}}, 0
    for name in ordered:
        array = np.asarray(arrays[name])
        if not isinstance(name, str) or name in (CHECKSUM, "__metadata__"):
            raise ValueError(f"{name!r} cannot be the name of an array")
        if array.dtype.newbyteorder("<") not in CODES:
            raise TypeError(f"array {name} of {array.dtype} cannot be stored")
        header[name] = {
            "dtype": CODES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    header[CHECKSUM] = {"dtype": "U8", "shape": [DIGEST_BYTES], "data_offsets": [position, position + DIGEST_BYTES]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LONGEST_HEADER:
        raise ValueError(
            f"{len(text)} bytes of metadata are too many, a safetensors file holds {LONGEST_HEADER}; make "
            "arrays of the long lists"
        )
    digest = hashlib.sha256()
    try:
        with atomic_path(path) as temporary:
            with open(temporary, "wb") as file:
                for piece in _pieces(text, (arrays[name] for name in ordered)):
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
                file.flush()
                os.fsync(file.fileno())
        _sync_folder(Path(path).parent)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder or make room"
        ) from None


def read_model(path):
    """A model's arrays and metadata, after a check of all bytes.

    Args:
        path: file that :func:`write_model` wrote.

    Returns:
        ({name: array}, meta). The arrays are read-only views of the memory-mapped file: its pages are read when needed
        and shared between processes. The mapping lives as long as any of the arrays.

    Raises:
        InputError: the file cannot be read, is no model file, is cut off, damaged, or of a newer format.
    """
    data = _mapped(path)
    header, start = _header(path, data)
    _check(path, data, header, start)
    try:
        entries = {
            name: (np.dtype(DTYPES[e["dtype"]]), e["shape"], start + e["data_offsets"][0])
            for name, e in header.items()
            if name not in ("__metadata__", CHECKSUM)
        }
        arrays = {
            name: np.frombuffer(data, kind, int(np.prod(shape, dtype=np.int64)), offset).reshape(shape)
            for name, (kind, shape, offset) in entries.items()
        }
        return arrays, json.loads(header["__metadata__"]["meta"])
    except (KeyError, TypeError, ValueError) as error:  # the checksum is right: somebody wrote the file like this
        raise InputError(
            f"{path}: is no model of this program, though its checksum is right ({error}); {MENDING}"
        ) from None


def read_meta(path):
    """(a model's metadata, its checksum in hexadecimal) from the file's head and end; the arrays are not checked.

    Raises:
        InputError: the file cannot be read, is no model file, is cut off, or of a newer format.
    """
    data = _mapped(path)
    header, _ = _header(path, data)
    try:
        return json.loads(header["__metadata__"]["meta"]), data[-DIGEST_BYTES:].hex()
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no model of this program ({error}); {MENDING}") from None


def _mapped(path):
    """The bytes of the file, memory-mapped; raises InputError if it cannot be read."""
    if Path(path).is_dir():
        raise InputError(f"{path}: cannot be read: it is a folder; give one of its *{SUFFIX} files")
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(file.fileno()).st_size else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _json(meta):
    if not isinstance(meta, dict):
        raise TypeError(f"metadata have to be a dict, not {type(meta).__name__}")
    return json.dumps(meta, ensure_ascii=False, allow_nan=False)


def _pieces(header, arrays):
    """Yield the file's bytes up to the checksum. Contiguous little-endian arrays are not copied."""
    yield len(header).to_bytes(8, "little")
    yield header
    for array in arrays:
        array = np.asarray(array)
        flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
        for begin in range(0, len(flat), BLOCK):
            yield flat[begin : begin + BLOCK].data


def _header(path, data):
    """(header, position of the arrays).

    Raises:
        InputError: the file is no model file, of a newer format, or cut off.
    """
    length = int.from_bytes(data[:8], "little")
    foreign = InputError(
        f"{path}: is no model of this program, or its head is damaged; give a {SUFFIX} file that --save_model wrote"
    )
    if len(data) < 8 or not 2 <= length <= LONGEST_HEADER:
        raise foreign
    start = 8 + length
    if start > len(data):
        if data[8:9] == b"{":
            raise InputError(
                f"{path}: is cut off or damaged: {len(data)} bytes, its head alone says {start}; {MENDING}, or "
                "copy it again"
            )
        raise foreign
    try:
        header = json.loads(data[8:start])
        meta = header["__metadata__"]
        name, version = meta["format"], int(meta["version"])
        end = start + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
        raise foreign from None
    if name != FORMAT:
        raise foreign
    if version > VERSION:
        raise InputError(
            f"{path}: has format {version}, newer than the {VERSION} that this program reads, or is damaged; "
            "use a newer program"
        )
    if len(data) < end:
        raise InputError(f"{path}: is cut off: {len(data)} of {end} bytes are there; {MENDING}, or copy it again")
    return header, start


def _check(path, data, header, start):
    """Raise InputError unless the last 32 bytes are the SHA-256 of all others."""
    digest = hashlib.sha256()
    with memoryview(data) as view:
        for begin in range(0, len(data) - DIGEST_BYTES, BLOCK):
            digest.update(view[begin : min(begin + BLOCK, len(data) - DIGEST_BYTES)])
    if digest.digest() != data[-DIGEST_BYTES:]:
        raise InputError(
            f"{path}: is damaged or was changed: its checksum does not fit its contents; {MENDING}, or copy it again"
        )


def _sync_folder(folder):
    """Sync ``folder``, so that a rename in it survives a power cut, if the system supports that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
