"""``.npy`` files of numbers, by anybody; nothing in them is executed."""

from __future__ import annotations

import math
import pickle
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import SourceError

MAX_FILE_BYTES = 1 << 30
"""Two million SIFT descriptors; what is larger holds no features of one image."""


def read_array(path: Path) -> NDArray[Any] | None:
    """The array of a ``.npy`` file; ``None`` if what was saved is Python's ``None``.

    Raises:
        SourceError: it is no such file, holds other than numbers, or not as many as its header says.
        OSError: it cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("it is no file")  # a pipe would be waited for
    with path.open("rb") as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.hasobject:
            # Nothing is unpickled. A saved None is recognised by its bytes.
            if shape == () and file.read(1000) in _saved_none():
                return None
            raise SourceError("it holds Python objects, which are not read")
        if dtype.kind not in "fiu" or min(shape, default=0) < 0:
            raise SourceError(f"it holds {dtype}, no numbers")
        declared, there = math.prod(shape) * dtype.itemsize, status.st_size - file.tell()
        if declared != there:
            raise SourceError(f"its header promises {declared:,} bytes of numbers, and there are {there:,}")
        if declared > MAX_FILE_BYTES:
            raise SourceError(f"it has {declared:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        data = file.read(declared)
    if len(data) != declared:
        raise SourceError("it was cut short while it was read")
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:
        raise SourceError(f"its shape is impossible: {error}") from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # what NumPy raises over a hostile header is not foreseeable
        raise SourceError(f"it is no .npy file: {str(error)[:200]}") from error
    raise SourceError(f"it is of .npy version {version}; versions 1.0 and 2.0 are read")


def _saved_none() -> set[bytes]:
    """What ``numpy.save(path, None)`` of any version writes behind the header."""
    three, four = (pickle.dumps(np.array(None, dtype=object), protocol) for protocol in (3, 4))
    return {three, four, three.replace(b"numpy._core", b"numpy.core")}


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write numbers as float32.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.save(file, array.astype(np.float32), allow_pickle=False)
