from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from imagefinder.core.errors import (
    CollectionCorruptError,
    DamagedImageError,
    EmptyImageError,
    FingerprintMismatchError,
    HubUnreachableError,
    ImagefinderError,
    ImageTooLargeError,
    InputError,
    MethodNotIndexedError,
    ModelCorruptError,
    ModelMissingError,
    NotAnImageError,
    SettingsError,
)
from imagefinder.server.app import create_app
from imagefinder.server.v0 import plain_id

Ask = Callable[..., Any]


def test_three_best_ids_with_integers_as_numbers(ask: Ask, fake: Any) -> None:
    response = ask(b"bytes of an image")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.text == '[17,"b","c"]'
    assert fake.queries == [(b"bytes of an image", "sift", 3)]


@pytest.mark.parametrize(("k", "length"), [(1, 1), (2, 2), (4, 4), (1000, 4)])
def test_k_is_the_number_of_ids(ask: Ask, k: int, length: int) -> None:
    assert len(ask(k=k).json()) == length


def test_boxes_restrict_the_query(ask: Ask, fake: Any) -> None:
    assert ask(box="1,2,30,40.5").status_code == 200
    assert fake.boxes == [(1.0, 2.0, 30.0, 40.5)]
    assert ask().status_code == 200
    assert fake.boxes == []


BAD_BOXES = [
    *(
        f"0,0,{number},9"
        for number in ("0", "-0", "-1", "nan", "inf", "1e400", "1e308", "٣", "1_0", "0x1", "1e-400")
    ),
    *(f"{number},0,9,9" for number in ("nan", "-inf", "-1e400", "1e308", "9" * 400, "9" * 20)),
    "1e308,1e308,1e308,1e308",
]


@pytest.mark.parametrize("box", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1;2;3;4", "x" * 5000, *BAD_BOXES])
def test_an_invalid_box_is_refused(ask: Ask, fake: Any, box: str) -> None:
    response = ask(box=box)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert response.json()["field"] == "box"
    assert "x,y,width,height" in response.json()["detail"]
    assert not fake.queries


@pytest.mark.parametrize("k", ["0", "-1", "abc", "", "1.5", "1001", "9" * 5000, "null", "1e2"])
def test_an_invalid_k_is_refused(ask: Ask, fake: Any, k: str) -> None:
    response = ask(k=k)
    assert response.status_code == 422
    problem = response.json()
    assert (problem["code"], problem["field"]) == ("invalid_parameter", "k")
    assert problem["detail"].startswith("k: ")
    assert not fake.queries


@pytest.mark.parametrize(("k", "limit"), [("0", 1), ("1001", 1000)])
def test_the_limit_of_k_is_reported(ask: Ask, k: str, limit: int) -> None:
    problem = ask(k=k).json()
    assert problem["limit"] == limit
    assert str(limit) in problem["detail"]


def test_each_installed_method_has_an_endpoint(fake: Any) -> None:
    fake.names = ("beit", "my-plug-in", "sift")
    with TestClient(create_app(fake)) as client:
        for name in fake.names:
            assert client.post(f"/{name}-similar-images", files={"image": b"x"}).status_code == 200
    assert [method for _, method, _ in fake.queries] == list(fake.names)


def test_an_unknown_method_is_reported_with_the_installed_ones(ask: Ask, fake: Any) -> None:
    response = ask(method="surf")
    assert response.status_code == 404
    problem = response.json()
    assert problem["code"] == "unknown_method"
    assert problem["known_methods"] == ["beit", "sift"]
    assert "'surf'" in problem["detail"]
    assert "beit, sift" in problem["hint"]


def test_an_empty_collection_returns_an_empty_list(ask: Ask, fake: Any) -> None:
    fake.ids = ()
    assert ask().text == "[]"


@pytest.mark.parametrize(
    ("error", "status", "code", "retryable"),
    [
        (EmptyImageError("empty"), 422, "empty_image", False),
        (NotAnImageError("not an image"), 415, "not_an_image", False),
        (DamagedImageError("cut"), 422, "damaged_image", False),
        (ImageTooLargeError("big", limit=7, unit="pixels"), 413, "image_too_large", False),
        (InputError("bad"), 422, "invalid_input", False),
        (MethodNotIndexedError("sift", ["beit"]), 409, "method_not_indexed", False),
        (FingerprintMismatchError("other"), 409, "fingerprint_mismatch", False),
        (ModelMissingError("beit"), 503, "model_missing", True),
        (HubUnreachableError("no hub"), 503, "model_error", False),
        (ModelCorruptError("bad hash"), 503, "model_error", False),
        (SettingsError("plug-in broken"), 503, "invalid_setting", False),
    ],
)
def test_errors_of_the_library_become_problems(
    ask: Ask, fake: Any, error: ImagefinderError, status: int, code: str, retryable: bool
) -> None:
    fake.error = error
    response = ask()
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == problem["status"] == status
    assert (problem["code"], problem["retryable"]) == (code, retryable)
    assert problem["type"] == f"/docs#{code}"
    assert (problem["detail"], problem["hint"]) == (error.message, error.hint)


def test_a_limit_has_a_unit_and_a_field(ask: Ask, fake: Any) -> None:
    fake.error = ImageTooLargeError("too many pixels", limit=7, unit="pixels")
    problem = ask().json()
    assert (problem["field"], problem["limit"], problem["unit"]) == ("image", 7, "pixels")


def test_missing_weights_report_the_command(ask: Ask, fake: Any) -> None:
    fake.error = ModelMissingError("beit")
    assert "imagefinder models pull beit" in ask(method="beit").json()["hint"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CollectionCorruptError("/secret/folder is damaged"), 503, "store_error"),
        (ImagefinderError("secret"), 500, "internal_error"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
    ],
)
def test_internal_details_are_only_logged(ask: Ask, fake: Any, error: Exception, status: int, code: str) -> None:
    fake.error = error
    response = ask()
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "log" in response.json()["hint"]


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "1.0",
        "+1",
        "-0",
        "--1",
        "",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1e3",
        "²",
        "\u0661",
        "9" * 19,
        "9" * 9000,
        "a/17.jpg",
    ],
)
def test_other_ids_stay_strings(text: str) -> None:
    assert plain_id(text) == text
    assert isinstance(plain_id(text), str)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integer_ids_become_numbers(number: int) -> None:
    assert plain_id(str(number)) == number


@given(st.text() | st.from_regex(r"-?[0-9]{1,20}", fullmatch=True))
def test_each_id_can_be_recovered(text: str) -> None:
    assert str(plain_id(text)) == text
    assert json.loads(json.dumps(plain_id(text))) == plain_id(text)
