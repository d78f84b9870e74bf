"""Arrays in one immutable file: a line of JSON, then the bytes, mapped into memory when read."""

from __future__ import annotations

import json
import mmap
import os
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


def write(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a file under its name at once, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    described, at = [], 0
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in plain.items():
        little = array.dtype.newbyteorder("<").str
        described.append(
            {"name": name, "dtype": little, "shape": array.shape, "at": at, "crc": _checksum(_bytes(array))}
        )
        at += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"meta": dict(meta), "arrays": described, "bytes": at}).encode() + b"\n"
    checked = b"%08x\n" % zlib.crc32(header)
    lead = _MAGIC + checked + header
    lead += b"\n" * (-len(lead) % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _chunks(lead, plain.values()))


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The meta data and the arrays, read-only and mapped into memory, after every checksum was found right.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or no such file.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path.name} is no file of arrays")
        checked, header = file.readline(16), file.readline()
        if checked != b"%08x\n" % zlib.crc32(header):
            raise ValueError(f"the head of {path.name} is damaged")
        begin = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        document = json.loads(header)
        if os.fstat(file.fileno()).st_size != begin + document["bytes"]:
            raise ValueError(f"{path.name} is cut off")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    arrays: Arrays = {}
    for item in document["arrays"]:
        dtype, shape = np.dtype(item["dtype"]), tuple(item["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(mapped, dtype, count, begin + item["at"]).reshape(shape)
        if _checksum(_bytes(array)) != item["crc"]:
            raise ValueError(f"{item['name']} in {path.name} is damaged")
        arrays[item["name"]] = array
    return document["meta"], arrays


def _chunks(lead: bytes, arrays: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield lead
    for array in arrays:
        yield _bytes(array)
        yield b"\0" * (-array.nbytes % _ALIGNMENT)


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checksum(data: memoryview) -> int:
    value = 0
    for begin in range(0, len(data), _CHUNK):  # in pieces, so that mapped pages can be let go of
        value = zlib.crc32(data[begin : begin + _CHUNK], value)
    return value
