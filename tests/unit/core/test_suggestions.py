import time

import pytest

from imagefinder.core.errors import InputError, SettingsError, UnknownMethodError
from imagefinder.core.query import SearchOptions
from imagefinder.core.settings import Settings
from imagefinder.core.suggestions import did_you_mean, similar

METHODS = ("beit", "efficientnet-lite0", "resnet50", "sift")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sfit", ["sift"]),
        ("SIFT", ["sift"]),
        ("resnet", ["resnet50"]),
        ("efficientnet_lite0", ["efficientnet-lite0"]),
        ("orb", []),
        ("", []),
        ("s" * 10_000, []),
    ],
)
def test_similar_methods(name: str, expected: list[str]) -> None:
    assert similar(name, METHODS) == expected


def test_ids() -> None:
    ids = ["holiday/Beach.jpg", "holiday/dunes.jpg", "Größe.jpg", "a.jpg"]
    assert similar("holiday/beach.JPG", ids) == ["holiday/Beach.jpg"]
    assert "holiday/Beach.jpg" in similar("beach.jpg", ids)
    assert similar("Gro\u0308ße.jpg", ids)[0] == "Größe.jpg"


def test_the_question() -> None:
    assert did_you_mean("sfit", METHODS) == "did you mean sift?"
    assert did_you_mean("orb", METHODS) == ""
    assert did_you_mean("orb", METHODS, otherwise="known: x") == "known: x"
    assert did_you_mean("sfit", METHODS, otherwise="known: x") == "did you mean sift?  known: x"


def test_many_long_names_take_little_time() -> None:
    names = [f"{number:05}" + "x" * 190 for number in range(1000)]
    started = time.monotonic()
    similar("y" * 200, names)
    assert time.monotonic() - started < 5


def test_errors_of_the_library() -> None:
    assert UnknownMethodError("sfit", METHODS).hint.startswith("did you mean sift?  known methods: beit")
    with pytest.raises(InputError) as error:
        SearchOptions(mode="exakt")  # type: ignore[arg-type]
    assert error.value.hint.startswith("did you mean exact?")
    for overrides, expected in [({"thread": 2}, "threads"), ({"provider": "cuba"}, "cuda")]:
        with pytest.raises(SettingsError) as wrong:
            Settings.load(environment={}, overrides=overrides)
        assert wrong.value.hint == f"did you mean {expected}?"
    for variable, expected in [("IMAGEFINDER_THREAD", "threads"), ("IMAGEFINDER_CONFG", "config")]:
        with pytest.raises(SettingsError, match=variable) as wrong:
            Settings.load(environment={variable: "2"})
        assert wrong.value.hint.startswith(f"did you mean {expected}")
    with pytest.raises(SettingsError) as wrong:
        Settings.load(environment={}, overrides={"zzz": 2})
    assert wrong.value.hint.startswith("the settings are: ")
