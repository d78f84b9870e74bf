import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefinder.core.errors import InputError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.records import Failure, ImageRecord
from imagefinder.stores import validation


def record(**values):
    return ImageRecord(
        **{"id": "a", "uri": "", "sha256": "", "size_bytes": 1, "width": 1, "height": 1} | values, format=""
    )


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_unicode_text_is_an_id(text):
    assert validation.is_valid_id(text)
    assert validation.normalise_image(record(id=text)).id == text


@pytest.mark.parametrize("other", ["", "a\ud800", None, 5, b"a"])
def test_invalid_ids(other):
    assert not validation.is_valid_id(other)
    with pytest.raises(InputError):
        validation.normalise_image(record(id=other))


def test_ids_each_once_in_order():
    assert validation.valid_ids(["b", "", "a", "b", "\udc00"]) == ["b", "a"]
    with pytest.raises(TypeError):
        validation.valid_ids("ab")


@pytest.mark.parametrize(
    ("name", "value"),
    [("uri", "\udc80"), ("sha256", None), ("stamp", 1), ("width", -1), ("height", 1.5), ("size_bytes", 2**63)],
)
def test_bad_values_are_named(name, value):
    with pytest.raises(InputError, match=f"{name} of image 'a'"):
        validation.normalise_image(record(**{name: value}))


def test_metadata_become_plain_json():
    assert validation.normalise_image(record(metadata={"a": (1, 2), 3: "x"})).metadata == {"a": [1, 2], "3": "x"}


@pytest.mark.parametrize("metadata", [[1], "text", None, {"a": object()}, {"a": float("inf")}])
def test_metadata_that_are_not_an_object(metadata):
    with pytest.raises(InputError, match="metadata of image 'a'"):
        validation.normalise_image(record(metadata=metadata))


def test_recursive_metadata():
    recursive = {}
    recursive["again"] = recursive
    with pytest.raises(InputError):
        validation.normalise_image(record(metadata=recursive))
    deep = {}
    for _ in range(100_000):
        deep = {"in": deep}
    with pytest.raises(InputError):
        validation.normalise_image(record(metadata=deep))


def test_messages_of_failures_are_made_storable():
    (failure,) = validation.normalise_failures([Failure("a", "", "bad", "caf\udce9")])
    assert failure.message == "caf\\udce9"
    with pytest.raises(InputError, match="uri"):
        validation.normalise_failures([Failure("a", "\udce9", "bad", "")])


def test_a_mismatch_says_what_differs():
    spec = FeatureSpec("global", 3, "float32")
    stored = Fingerprint("m", 1, {"side": 5, "sizes": [1, 2]})
    assert (
        validation.fingerprint_mismatch(stored, spec, Fingerprint("m", 1, {"sizes": (1, 2), "side": 5}), spec)
        is None
    )
    error = validation.fingerprint_mismatch(stored, spec, Fingerprint("m", 1, {"side": 6, "sizes": [1, 2]}), spec)
    assert "side 5 vs. 6" in error.message
    error = validation.fingerprint_mismatch(stored, spec, stored, FeatureSpec("global", 4, "float32"))
    assert "dim=3" in error.message
    assert "dim=4" in error.message
