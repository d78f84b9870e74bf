"""Read untrusted ``.npy`` files of numbers; nothing in them is executed."""

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
"""Size limit: two million SIFT descriptors, far more than one image has."""


def read_array(path: Path) -> NDArray[Any] | None:
    """Read the array of a ``.npy`` file; ``None`` if Python's ``None`` was saved.

    Raises:
        SourceError: not a ``.npy`` file, not numbers, or a size that contradicts the header.
        OSError: the file cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("not a regular file")  # reading a pipe could block forever
    with path.open("rb") as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.hasobject:
            # Nothing is unpickled; a saved None is recognised by its bytes.
            if shape == () and file.read(1000) in _saved_none():
                return None
            raise SourceError("contains pickled Python objects, which are not loaded")
        if dtype.kind not in "fiu" or min(shape, default=0) < 0:
            raise SourceError(f"contains {dtype} instead of numbers")
        declared, actual = math.prod(shape) * dtype.itemsize, status.st_size - file.tell()
        if declared != actual:
            raise SourceError(f"the header declares {declared:,} bytes of data, the file contains {actual:,}")
        if declared > MAX_FILE_BYTES:
            raise SourceError(f"contains {declared:,} bytes; the limit is {MAX_FILE_BYTES:,}")
        data = file.read(declared)
    if len(data) != declared:
        raise SourceError("truncated while it was being read")
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:
        raise SourceError(f"invalid shape: {error}") from error


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # NumPy may raise anything on a malicious header
        raise SourceError(f"not a .npy file: {str(error)[:200]}") from error
    raise SourceError(f"unsupported .npy version {version}; supported versions: 1.0 and 2.0")


def _saved_none() -> set[bytes]:
    """The bytes that ``numpy.save(path, None)`` of any version writes after the header."""
    three, four = (pickle.dumps(np.array(None, dtype=object), protocol) for protocol in (3, 4))
    return {three, four, three.replace(b"numpy._core", b"numpy.core")}


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as float32.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.save(file, array.astype(np.float32), allow_pickle=False)
