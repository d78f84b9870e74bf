import gc
import weakref
from dataclasses import replace

import pytest
from runtimes import runtime

import imagefinder
from imagefinder import wiring
from imagefinder.core.errors import SettingsError, UnknownMethodError
from imagefinder.core.settings import Settings
from imagefinder.runtime import Runtime
from imagefinder.stores.memory import MemoryStore


class CountingDecoder:
    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


def counting(settings=None):
    """A runtime that counts its decoders."""
    made = []

    def decoder():
        made.append(CountingDecoder())
        return made[-1]

    base = runtime(settings)
    return Runtime(base.settings, replace(base._factories, decoder=decoder)), made


def test_a_method_is_made_once():
    made = []
    load = wiring.load_method
    parts = runtime(methods={"sift": lambda: made.append(1) or load("sift", Settings())})
    assert parts.method("sift") is parts.method("sift")
    assert made == [1]
    with pytest.raises(UnknownMethodError):
        parts.method("none")


def test_collections_of_one_process_share_a_runtime(tmp_path):
    settings = Settings()
    with (
        imagefinder.open(tmp_path / "a", settings=settings) as a,
        imagefinder.open(tmp_path / "b", settings=settings) as b,
        imagefinder.open(tmp_path / "c", settings=replace(settings, sift_max_keypoints=50)) as other,
    ):
        assert a.runtime is b.runtime
        assert a.method("sift") is b.method("sift")
        assert other.runtime is not a.runtime
        assert (a.settings.collection, b.settings.collection) == (str(tmp_path / "a"), str(tmp_path / "b"))


def test_the_decoder_ends_with_the_last_collection_and_starts_again():
    parts, made = counting()
    first, second = (imagefinder.Collection(MemoryStore(), parts) for _ in range(2))
    assert parts.decoder is parts.decoder is made[0]
    first.close()
    first.close()
    assert made[0].closed == 0
    second.close()
    assert made[0].closed == 1
    third = imagefinder.Collection(MemoryStore(), parts)
    assert parts.decoder is made[1]
    third.close()
    assert (len(made), made[1].closed) == (2, 1)


def test_a_collection_that_was_never_closed_does_not_keep_the_decoder():
    parts, made = counting()
    imagefinder.Collection(MemoryStore(), parts)
    gc.collect()
    last = imagefinder.Collection(MemoryStore(), parts)
    assert parts.decoder
    last.close()
    assert made[0].closed == 1


def test_an_unused_runtime_is_released():
    settings = Settings(sift_max_keypoints=51)
    gone = weakref.ref(wiring.runtime_of(settings))
    gc.collect()
    assert gone() is None


def test_a_runtime_without_ann_indexes():
    parts = runtime(ann_indexes=False)
    assert not parts.has_ann_indexes
    with pytest.raises(SettingsError, match="exact"):
        parts.ann_index(MemoryStore(), parts.method("sift"), None)
