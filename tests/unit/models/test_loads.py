import pytest

from imagefinder.models import loads


def test_loads_are_counted_with_how_they_ended():
    before = loads.so_far().get(("a network", "loaded"), loads.Loads())
    with loads.counted("a network"):
        pass
    for _ in range(2):
        with pytest.raises(ValueError, match="no weights"), loads.counted("a network"):
            raise ValueError("no weights")
    found = loads.so_far()
    assert found["a network", "loaded"].times == before.times + 1
    assert found["a network", "loaded"].seconds > before.seconds
    assert found["a network", "failed"].times == 2
