"""Read weight files: safetensors, and pickled state dicts of PyTorch before 1.6."""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from imagefinder.core.errors import ModelCorruptError, ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}

# Exceptions of the functions below on malformed files.
_MALFORMED = (ValueError, TypeError, LookupError, OverflowError, EOFError)
_MALFORMED_PICKLE = (
    *_MALFORMED,
    AttributeError,
    MemoryError,  # raised by a malformed length; the tensors themselves are limited to the file size
    RecursionError,
    pickle.UnpicklingError,
    struct.error,
)


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a safetensors file.

    Raises:
        ModelCorruptError: the file is malformed.
        ModelError: the file cannot be read.
    """
    try:
        return dict(safetensors.numpy.load_file(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (safetensors.SafetensorError, *_MALFORMED) as error:
        raise _corrupt(path, "safetensors file", error) from error


def read_legacy_pickle(path: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a state dict saved by PyTorch before 1.6.

    The file consists of five pickles (magic number, protocol, byte order and type sizes, state dict, order of the
    storages), followed by the length and values of each storage. Source: ``torch.serialization._legacy_save``.

    Nothing that the file refers to is imported or executed. Verify its hash first nevertheless: a malicious pickle
    can make the unpickler of the standard library exhaust memory or the stack.

    Raises:
        ModelCorruptError: the file is malformed, or contains anything other than tensors.
        ModelError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return _read_state_dict(data)
    except _MALFORMED_PICKLE as error:
        raise _corrupt(path, "PyTorch state dict", error) from error


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"cannot read the weights {path}: {error.strerror or error}",
        hint="list the installed weights with: imagefinder models list",
    )


def _corrupt(path: Path, kind: str, error: Exception) -> ModelCorruptError:
    return ModelCorruptError(
        f"{path} is not a valid {kind}: {error}",
        hint="check it with: imagefinder models verify; then download or install the weights again",
    )


class _Unpickler(pickle.Unpickler):
    """Resolves only the names that a state dict needs.

    A tensor is a view of its storage, whose values are filled in later because they follow the pickles.
    """

    def __init__(self, file: io.BytesIO, max_bytes: int) -> None:
        super().__init__(file)
        self.storages: dict[str, NDArray[Any]] = {}
        self._bytes_left = {"storages": max_bytes, "tensors": max_bytes}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _STORAGES:
            return name
        raise pickle.UnpicklingError(f"unexpected reference to {module[:100]}.{name[:100]}")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        kind, storage_type, key, _location, size, _view = pid
        if kind != "storage" or storage_type not in _STORAGES or not isinstance(key, str):
            raise ValueError("unsupported storage type")
        dtype = _STORAGES[storage_type]
        if key not in self.storages:
            self._reserve("storages", size * dtype.itemsize)
            self.storages[key] = np.zeros(size, dtype)
        if (self.storages[key].dtype, len(self.storages[key])) != (dtype, size):
            raise ValueError("contradictory descriptions of a storage")
        return self.storages[key]

    def _tensor(
        self, storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> NDArray[Any]:
        # Python integers do not overflow, unlike NumPy's bounds checks.
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if min(offset, *shape, *strides, 0) < 0 or (0 not in shape and last >= len(storage)):
            raise ValueError("a tensor exceeds its storage")
        self._reserve("tensors", math.prod(shape) * storage.itemsize)
        return as_strided(storage[offset:], shape, [step * storage.itemsize for step in strides])

    def _reserve(self, kind: str, count: int) -> None:
        """Limit the bytes of storages, and separately of tensors (which may share them), to the file size."""
        self._bytes_left[kind] -= count
        if self._bytes_left[kind] < 0:
            raise ValueError(f"the {kind} are larger than the file")


def _read_state_dict(data: bytes) -> dict[str, NDArray[Any]]:
    stream = io.BytesIO(data)
    unpickler = _Unpickler(stream, len(data))
    if (unpickler.load(), unpickler.load()) != (_MAGIC, _PROTOCOL):
        raise ValueError("wrong magic number or protocol")
    if unpickler.load()["little_endian"] is not True:
        raise ValueError("not written on a little-endian machine")
    state, keys, storages = dict(unpickler.load()), unpickler.load(), unpickler.storages
    if sorted(keys) != sorted(storages):
        raise ValueError("the list of storages does not match the tensors")
    position = stream.tell()
    for key in keys:
        storage = storages[key]
        (size,) = struct.unpack_from("<q", data, position)
        if size != len(storage):
            raise ValueError(f"a storage should have {len(storage)} values, but has {size}")
        storage[:] = np.frombuffer(data, storage.dtype, size, position + 8)
        position += 8 + storage.nbytes
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes after the end")
    if not all(isinstance(name, str) and isinstance(value, np.ndarray) for name, value in state.items()):
        raise TypeError("contains objects other than tensors")
    return {name: tensor.copy() for name, tensor in state.items()}
