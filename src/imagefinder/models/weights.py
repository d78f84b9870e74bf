"""Weight files to arrays: safetensors, and the PyTorch pickle of the time before it.

A pickle is a program, and the usual way to read one runs it. Here nothing is run: ``pickletools`` splits the
file into its instructions, and a machine that knows only those a state dict needs builds strings, numbers,
tuples, dictionaries and descriptions of tensors. Any other instruction ends the reading.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from imagefinder.core.errors import ModelCorruptError, ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MOST_AXES = 8

_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
}

# What reading a file that lies about itself can raise below; ``struct.error`` comes from ``pickletools``.
_NONSENSE = (ValueError, TypeError, IndexError, KeyError, OverflowError, EOFError, struct.error)


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that the pickle mentions; nothing is imported for it."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    """A run of numbers that follows the pickles."""

    key: str
    dtype: np.dtype[Any]
    size: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view into a storage; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a safetensors file.

    Raises:
        ModelCorruptError: the file is not sound.
        ModelError: the file cannot be read.
    """
    try:
        return dict(safetensors.numpy.load_file(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (safetensors.SafetensorError, *_NONSENSE) as error:
        raise _corrupt(path, "safetensors file", error) from error


def read_legacy_pickle(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a state dict that PyTorch before 1.6 saved; executes nothing.

    The file holds five pickles (magic number, protocol, sizes of the writer's types, state dict, order of the
    storages), then for each storage its length and numbers. Source: ``torch.serialization._legacy_save``.

    Memory stays in proportion to the size of the file, whatever the file says.

    Raises:
        ModelCorruptError: the file is not such a state dict, or holds anything beside tensors.
        ModelError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return _read_state_dict(data)
    except _NONSENSE as error:
        raise _corrupt(path, "PyTorch state dict", error) from error


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"cannot read the weights {path}: {error.strerror or error}",
        hint="see which models are here with: imagefinder models list",
    )


def _corrupt(path: Path, kind: str, error: Exception) -> ModelCorruptError:
    return ModelCorruptError(
        f"{path} is not a sound {kind}: {error}",
        hint="check it with: imagefinder models verify, and fetch or install these weights again",
    )


def _read_state_dict(data: bytes) -> dict[str, NDArray[Any]]:
    stream = io.BytesIO(data)
    if (_load(stream), _load(stream)) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not begin as one")
    if _expect(_load(stream), dict).get("little_endian") is not True:
        raise ValueError("it was not written by a little-endian machine")
    tensors = {name: _expect(value, _Tensor) for name, value in _expect(_load(stream), dict).items()}
    keys = _expect(_load(stream), list)
    storages = _read_storages(data, stream.tell(), keys, {t.storage.key: t.storage for t in tensors.values()})
    # Tensors may share a storage: without this sum a small file could ask for any amount of memory.
    if sum(math.prod(t.shape) * t.storage.dtype.itemsize for t in tensors.values()) > len(data):
        raise ValueError("its tensors are larger than the file")
    return {name: _copy(name, tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storages(
    data: bytes, position: int, keys: list[Any], storages: dict[str, _Storage]
) -> dict[str, NDArray[Any]]:
    if sorted(keys) != sorted(storages):
        raise ValueError("its storages are not those its tensors use")
    arrays = {}
    for key in keys:
        storage = storages[key]
        (size,) = struct.unpack_from("<q", data, position)
        if size != storage.size:
            raise ValueError(f"a storage of {storage.size} numbers is announced, one of {size} is there")
        arrays[key] = np.frombuffer(data, storage.dtype, size, position + 8)
        position += 8 + size * storage.dtype.itemsize
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes follow its end")
    return arrays


def _copy(name: str, tensor: _Tensor, values: NDArray[Any]) -> NDArray[Any]:
    """The numbers of a tensor; the checks are what makes ``as_strided`` safe."""
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if values.dtype != tensor.storage.dtype or count > len(values) or (count > 0 and last >= len(values)):
        raise ValueError(f"tensor {name[:100]} reaches beyond its storage")
    strides = [step * values.itemsize for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides).copy()


def _load(stream: io.BytesIO) -> Any:
    """The value of the next pickle in the stream: the few instructions of a state dict, nothing else."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    for instruction, argument, _ in pickletools.genops(stream):
        match instruction.name:
            case "STOP":
                return stack.pop()
            case "PROTO":
                pass
            case "MARK":
                marks.append(len(stack))
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case "GLOBAL":
                stack.append(_global(argument))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                start = len(stack) - int(instruction.name[-1])
                stack[start:] = [tuple(stack[start:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "APPENDS":
                items = since_mark()
                _expect(stack[-1], list).extend(_expect(item, str) for item in items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _expect(stack[-1], dict)[_expect(key, str)] = value
            case "SETITEMS":
                items = since_mark()
                keys = (_expect(key, str) for key in items[::2])
                _expect(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_reduce(function, arguments))
            case "BUILD":
                # PyTorch hangs version numbers of its modules on the dictionary: not needed, not kept.
                stack.pop()
            case name:
                raise ValueError(f"it holds the instruction {name}, which no state dict needs")
    raise EOFError("it ends too early")


def _global(name: str) -> _Global:
    if name not in (_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGE_TYPES):
        raise ValueError(f"it names {name[:100]!r}, which no state dict needs")
    return _Global(name)


def _storage(description: Any) -> _Storage:
    kind, storage_type, key, _location, size, _view = _expect(description, tuple)
    if kind != "storage":
        raise ValueError("it refers to something that is no storage")
    return _Storage(_expect(key, str), _STORAGE_TYPES[_expect(storage_type, _Global).name], _count(size))


def _reduce(function: Any, arguments: Any) -> Any:
    name = _expect(function, _Global).name
    if name == _ORDERED_DICT and arguments == ():
        return {}
    if name != _REBUILD_TENSOR:
        raise ValueError(f"it calls {name}")
    storage, offset, shape, strides, _requires_grad, _hooks = _expect(arguments, tuple)
    if not len(_expect(shape, tuple)) == len(_expect(strides, tuple)) <= _MOST_AXES:
        raise ValueError("it describes a tensor of an impossible shape")
    return _Tensor(
        _expect(storage, _Storage), _count(offset), tuple(map(_count, shape)), tuple(map(_count, strides))
    )


def _expect(value: Any, kind: type[_T]) -> _T:
    """The value, if it is of that type.

    Keys must be strings because the hash of a tuple that nests deep enough overflows the interpreter's stack.
    """
    if not isinstance(value, kind):
        raise TypeError(f"it holds a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("it holds a size that is none")
    return value
