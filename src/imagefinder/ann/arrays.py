"""Immutable files of arrays: a JSON header, then the raw data, which are memory-mapped when read."""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.files import write_atomically

Arrays = dict[str, NDArray[Any]]

_MAGIC = b"imagefinder arrays 1\n"
_ALIGNMENT = 64
_CHUNK = 16 << 20
_IN_MEMORY = 64 << 20


def write(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to a file atomically.

    Args:
        path: The file; an existing one is replaced.
        meta: Any JSON object.
        arrays: Name -> array.

    Raises:
        OSError: the file cannot be written.
    """
    described, at = [], 0
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        little = array.dtype.newbyteorder("<").str
        described.append({"name": name, "dtype": little, "shape": array.shape, "at": at, "crc": _checksum(array)})
        at += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"meta": dict(meta), "arrays": described, "bytes": at}).encode() + b"\n"
    checked = b"%08x\n" % zlib.crc32(header)
    lead = _MAGIC + checked + header
    lead += b"\n" * (-len(lead) % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _chunks(lead, plain.values()))


def read(path: Path, *, scattered: bool = False) -> tuple[dict[str, Any], Arrays]:
    """Read the metadata and the arrays, read-only and memory-mapped, after verifying all checksums.

    Args:
        path: The file.
        scattered: Small parts of the arrays will be read, so the system should not read ahead.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged, or not a file of arrays.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path.name} is not a file of arrays")
        checked, header = file.readline(16), file.readline()
        if checked != b"%08x\n" % zlib.crc32(header):
            raise ValueError(f"the header of {path.name} is damaged")
        begin = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        document = json.loads(header)
        if os.fstat(file.fileno()).st_size != begin + document["bytes"]:
            raise ValueError(f"{path.name} is truncated")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: Arrays = {}
    for item in document["arrays"]:
        dtype, shape = np.dtype(item["dtype"]), tuple(item["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(mapped, dtype, count, begin + item["at"]).reshape(shape)
        if _checksum(array) != item["crc"]:
            raise ValueError(f"the array {item['name']} in {path.name} is damaged")
        arrays[item["name"]] = array
    if scattered and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return document["meta"], arrays


def allocate(folder: Path | None, shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Allocate an array of any content; a large one in a temporary file in this folder.

    Raises:
        OSError: the file cannot be written.
    """
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if folder is None or nbytes < _IN_MEMORY or not nbytes:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # otherwise, a full disk would end the process
            os.posix_fallocate(file.fileno(), 0, nbytes)
        else:
            file.truncate(nbytes)
        return np.memmap(file, dtype, "r+", shape=shape)


def release(arrays: Iterable[NDArray[Any]]) -> None:
    """Let the system take the memory of mapped arrays; what is read again is mapped again, from its file cache."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


def _chunks(lead: bytes, arrays: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield lead
    for array in arrays:
        yield from _parts(array)
        yield b"\0" * (-array.nbytes % _ALIGNMENT)


def _parts(array: NDArray[Any]) -> Iterator[memoryview]:
    """The bytes of an array in parts; a mapped array does not stay in memory."""
    data = array.reshape(-1).view(np.uint8).data
    for begin in range(0, len(data), _CHUNK):
        yield data[begin : begin + _CHUNK]
        release([array])


def _checksum(array: NDArray[Any]) -> int:
    value = 0
    for part in _parts(array):
        value = zlib.crc32(part, value)
    return value
