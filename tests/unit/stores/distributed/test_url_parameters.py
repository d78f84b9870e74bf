import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.stores.distributed.url_parameters import parameters, timeout

PLACE = "s3://shop/features?timeout=5"


def test_known_parameters_are_returned():
    assert parameters("objects", PLACE, "timeout=5&region=", {"region", "timeout"}) == {
        "timeout": "5",
        "region": "",
    }
    assert parameters("objects", PLACE, None, {"timeout"}) == {}


def test_an_unknown_parameter_is_named_with_those_that_exist():
    with pytest.raises(SettingsError, match="objects: unknown parameter 'tiemout'") as error:
        parameters("objects", PLACE, "tiemout=5", {"region", "timeout"})
    assert error.value.hint == "the parameters are region, timeout"


@pytest.mark.parametrize(("text", "seconds"), [("", 10.0), ("0.3", 0.3), ("3600", 3600.0)])
def test_time_limits(text, seconds):
    assert timeout("objects", PLACE, text, 10.0) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "4000", "nan", "inf", "soon"])
def test_other_time_limits_are_refused(text):
    with pytest.raises(SettingsError, match="must be 0"):
        timeout("objects", PLACE, text, 10.0)
