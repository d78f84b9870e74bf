import pytest

from imagefinder.server.errors import Problem
from imagefinder.server.v1 import requests


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("metod", "did you mean method or mode?  /docs describes"),
        ("rerank_dept", "did you mean rerank_depth"),
        ("zzz", "/docs describes"),
        ("m" * 100_000, "/docs describes"),
    ],
)
def test_an_unknown_field_that_resembles_a_known_one(field: str, hint: str) -> None:
    with pytest.raises(Problem) as problem:
        requests.read(requests.SearchRequest, {"url": "https://x.example/a.jpg", field: 1})
    assert problem.value.hint.startswith(hint)
