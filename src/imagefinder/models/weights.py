"""Weight files to arrays: safetensors, and the pickled state dict of PyTorch before 1.6."""

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

# What reading a malformed file can raise below.
_MALFORMED = (ValueError, TypeError, LookupError, OverflowError, EOFError)
_MALFORMED_PICKLE = (
    *_MALFORMED,
    AttributeError,
    MemoryError,  # its own tensors are no larger than the file, which is in memory already
    RecursionError,
    pickle.UnpicklingError,
    struct.error,
)


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a safetensors file.

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
    """Every tensor of a state dict that PyTorch before 1.6 saved.

    The file consists of five pickles (magic number, protocol, byte order and sizes of the writer's types, state
    dict, order of the storages), then of each storage its length and numbers. Source:
    ``torch.serialization._legacy_save``.

    Nothing that the file names is imported or run. Check its hash first all the same: a hostile pickle can make
    the unpickler of the standard library use up memory or stack.

    Raises:
        ModelCorruptError: the file is malformed, or holds anything but tensors.
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
        hint="see which models are here with: imagefinder models list",
    )


def _corrupt(path: Path, kind: str, error: Exception) -> ModelCorruptError:
    return ModelCorruptError(
        f"{path} is not a valid {kind}: {error}",
        hint="check it with: imagefinder models verify, and fetch or install these weights again",
    )


class _Unpickler(pickle.Unpickler):
    """Resolves only the names that a state dict needs.

    A tensor is a view into its storage; the numbers are filled in later, because they follow the pickles.
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
        raise pickle.UnpicklingError(f"it names {module[:100]}.{name[:100]}, which no state dict needs")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        kind, storage_type, key, _location, size, _view = pid
        if kind != "storage" or storage_type not in _STORAGES or not isinstance(key, str):
            raise ValueError("it refers to something other than a storage of numbers")
        dtype = _STORAGES[storage_type]
        if key not in self.storages:
            self._reserve("storages", size * dtype.itemsize)
            self.storages[key] = np.zeros(size, dtype)
        if (self.storages[key].dtype, len(self.storages[key])) != (dtype, size):
            raise ValueError("it describes one storage in two ways")
        return self.storages[key]

    def _tensor(
        self, storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> NDArray[Any]:
        # With Python's integers: what NumPy checks can overflow.
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if min(offset, *shape, *strides, 0) < 0 or (0 not in shape and last >= len(storage)):
            raise ValueError("a tensor reaches beyond its storage")
        self._reserve("tensors", math.prod(shape) * storage.itemsize)
        return as_strided(storage[offset:], shape, [step * storage.itemsize for step in strides])

    def _reserve(self, what: str, count: int) -> None:
        """Count bytes against the size of the file: storages are no larger, and tensors may share them."""
        self._bytes_left[what] -= count
        if self._bytes_left[what] < 0:
            raise ValueError(f"its {what} are larger than the file")


def _read_state_dict(data: bytes) -> dict[str, NDArray[Any]]:
    stream = io.BytesIO(data)
    unpickler = _Unpickler(stream, len(data))
    if (unpickler.load(), unpickler.load()) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not begin as one")
    if unpickler.load()["little_endian"] is not True:
        raise ValueError("it was not written by a little-endian machine")
    state, keys, storages = dict(unpickler.load()), unpickler.load(), unpickler.storages
    if sorted(keys) != sorted(storages):
        raise ValueError("its storages are not those that its tensors use")
    position = stream.tell()
    for key in keys:
        storage = storages[key]
        (size,) = struct.unpack_from("<q", data, position)
        if size != len(storage):
            raise ValueError(f"a storage of {len(storage)} numbers is announced, one of {size} is there")
        storage[:] = np.frombuffer(data, storage.dtype, size, position + 8)
        position += 8 + storage.nbytes
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes follow its end")
    if not all(isinstance(name, str) and isinstance(value, np.ndarray) for name, value in state.items()):
        raise TypeError("it holds something other than tensors")
    return {name: tensor.copy() for name, tensor in state.items()}
