from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagefinder.server.validation import _MESSAGES, first_unknown, message


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    number: Annotated[int, Field(ge=1, le=9)] = 1
    text: Annotated[str, Field(min_length=2, max_length=3, pattern="^a")] = "aa"
    items: Annotated[list[float], Field(min_length=1, max_length=2)] = [1.0]
    flag: bool = True
    word: Literal["yes", "no"] = "yes"
    table: dict[str, int] = {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"number": 0}, "must be at least 1"),
        ({"number": 10}, "must be at most 9"),
        ({"number": "x"}, "must be an integer"),
        ({"text": "a"}, "must have at least 2 characters"),
        ({"text": "aaaa"}, "must have at most 3 characters"),
        ({"text": "bb"}, "must match the pattern ^a"),
        ({"text": 1}, "must be a string"),
        ({"items": []}, "must have at least 1 items"),
        ({"items": [1.0] * 3}, "must have at most 2 items"),
        ({"items": ["x"]}, "must be a number"),
        ({"items": 1}, "must be a list"),
        ({"flag": 1}, "must be true or false"),
        ({"word": "maybe"}, "must be 'yes' or 'no'"),
        ({"table": 1}, "must be a JSON object"),
        ({"colour": 1}, "unknown field"),
    ],
)
def test_messages_replace_those_of_the_validator(data: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Model(**data)  # type: ignore[arg-type]
    assert message(caught.value.errors()[0]) == expected


@pytest.mark.parametrize("kind", _MESSAGES)
def test_each_template_can_be_filled(kind: str) -> None:
    names = ["ge", "le", "min_length", "max_length", "pattern", "expected", "expected_tags"]
    assert "{" not in message({"type": kind, "msg": "", "ctx": dict.fromkeys(names, 1)})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int = 0
    b: int = 0


def test_only_the_first_unknown_member_is_reported() -> None:
    many = {"a": 1, **{f"x{number}": 0 for number in range(1000)}, "b": 2}
    assert first_unknown(_Model, many) == {"a": 1, "x0": 0, "b": 2}
    assert first_unknown(_Model, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert first_unknown(_Model, {"x": 1}) == {"x": 1}
    assert first_unknown(_Model, [1]) == [1]
