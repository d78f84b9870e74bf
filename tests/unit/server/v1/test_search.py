from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from imagefinder.core.serialization import to_json
from imagefinder.server.app import create_app
from imagefinder.testing.extractors import textured_image

BASE = "/v1/collections/default"
JSON = {"content-type": "application/json"}


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(textured_image(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def ask(client: TestClient, **body: Any) -> Any:
    response = client.post(f"{BASE}/search", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def ids(result: Any) -> list[str]:
    return [hit["id"] for hit in result["hits"]]


def problem(response: Any, status: int, code: str, field: str | None) -> None:
    document = response.json()
    assert (response.status_code, document["code"], document.get("field")) == (status, code, field), document


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_answer_has_the_requested_mode(shared: TestClient, mode: str) -> None:
    data = encoded(1)
    form = shared.post(f"{BASE}/search", files={"image": data}, data={"mode": mode}).json()
    assert (form["mode"], ids(form)[0]) == (mode, "1.png")
    assert ask(shared, base64=base64.b64encode(data).decode(), mode=mode)["mode"] == mode


def test_all_image_forms_give_the_same_answer(shared: TestClient) -> None:
    data = encoded(1)
    form = shared.post(f"{BASE}/search", files={"image": data}, data={"k": "2"}).json()
    text = base64.b64encode(data).decode()
    by_json, by_id = ask(shared, base64=text, k=2), ask(shared, id="1.png", k=2)
    assert form["null_model"]
    for key in ("method", "mode", "fingerprints", "searched", "ranking", "decision", "null_model"):
        assert form[key] == by_json[key]
    assert ids(form) == ids(by_json)
    assert ids(form)[0] == "1.png"
    assert "1.png" not in ids(by_id)
    hit = form["hits"][0]
    assert (hit["relation"], hit["decision"]) == ("identical", "match")
    assert hit["evidence"]["inliers"] > 10
    assert hit["image"]["width"] == 160
    assert hit["thumbnail"] == hit["image"]["thumbnail"]
    assert form["query"] == {
        "width": 160,
        "height": 120,
        "sha256": form["query"]["sha256"],
        "id": None,
        "text": "",
    }
    assert by_id["query"]["id"] == "1.png"
    assert by_id["query"]["sha256"] == form["query"]["sha256"]
    assert form["explanations"]["handle"] != by_json["explanations"]["handle"]


def test_the_filter_applies_before_ranking(shared: TestClient) -> None:
    text = base64.b64encode(encoded(1)).decode()
    result = ask(shared, base64=text, k=5, filter={"shop": "north"})
    assert sorted(ids(result)) == ["put/0", "put/2"]
    assert result["searched"] == 2
    assert all(hit["evalue"] <= 2 for hit in result["hits"])
    nothing = ask(shared, base64=text, filter={"shop": "nowhere"})
    assert (nothing["hits"], nothing["searched"], nothing["decision"]) == ([], 0, "none")
    form = shared.post(f"{BASE}/search", files={"image": encoded(1)}, data={"filter": '{"price": {"gt": 1}}'})
    assert ids(form.json()) == ["put/2"]


def test_hits_beyond_a_threshold_are_omitted(shared: TestClient) -> None:
    assert ids(ask(shared, id="1.png", max_evalue=0)) == []
    assert ask(shared, id="1.png", max_evalue=0)["decision"] == "none"
    text = base64.b64encode(encoded(1)).decode()
    assert ids(ask(shared, base64=text, k=5, max_evalue=0.01)) == ["1.png"]
    plain = ask(shared, base64=text, k=5, method="sift", verify=False)
    best = plain["hits"][0]["score"]
    assert best > plain["hits"][1]["score"]
    assert ids(ask(shared, base64=text, k=5, method="sift", verify=False, min_score=best)) == ["1.png"]
    assert (plain["ranking"], plain["verified"]) == ("matches", 0)


def test_boxes_of_a_form(shared: TestClient) -> None:
    for boxes in ({"box": "10,10,100,80"}, {"box": "[[10,10,100,80]]"}, {"box": "[10, 10, 100, 80]"}):
        result = shared.post(f"{BASE}/search", files={"image": encoded(1)}, data=boxes).json()
        assert result["boxes"] == [[10, 10, 100, 80]]
    two = shared.post(f"{BASE}/search", files={"image": encoded(1)}, data={"box": ["0,0,50,50", "60,60,50,50"]})
    assert len(two.json()["boxes"]) == 2


def test_several_queries_with_failures_in_order(shared: TestClient) -> None:
    queries = [{"id": "1.png"}, {"id": "none"}, {"base64": "AAAA"}, {"id": "2.png", "boxes": [[900, 0, 5, 5]]}]
    results = ask(shared, queries=queries, k=1)["results"]
    assert results[0]["query"]["id"] == "1.png"
    assert [one["problem"]["code"] for one in results[1:]] == ["unknown_image", "not_an_image", "invalid_input"]
    assert all({"status", "detail", "retryable", "hint"} <= set(one["problem"]) for one in results[1:])
    files = [("image", encoded(1)), ("image", b"x"), ("image", encoded(2))]
    results = shared.post(f"{BASE}/search", files=files, data={"k": "1"}).json()["results"]
    assert (ids(results[0]), ids(results[2])) == (["1.png"], ["2.png"])
    assert results[1]["problem"]["code"] == "not_an_image"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_parameter", None),
        ({"id": "1.png", "base64": ""}, "invalid_parameter", None),
        ({"id": ""}, "invalid_parameter", "id"),
        ({"id": 1}, "invalid_parameter", "id"),
        ({"id": "1.png", "extra": 1}, "invalid_parameter", "extra"),
        ({"id": "1.png", "k": 0}, "invalid_parameter", "k"),
        ({"id": "1.png", "k": 10**9}, "invalid_parameter", "k"),
        ({"id": "1.png", "k": "3"}, "invalid_parameter", "k"),
        ({"id": "1.png", "k": True}, "invalid_parameter", "k"),
        ({"id": "1.png", "k": 1.5}, "invalid_parameter", "k"),
        ({"id": "1.png", "k": None}, "invalid_parameter", "k"),
        ({"id": "1.png", "mode": "slow"}, "invalid_parameter", "mode"),
        ({"id": "1.png", "verify": "no"}, "invalid_parameter", "verify"),
        ({"id": "1.png", "verify": False}, "invalid_parameter", "method"),
        ({"id": "1.png", "method": ""}, "invalid_parameter", "method"),
        ({"id": "1.png", "method": "x" * 101}, "invalid_parameter", "method"),
        ({"id": "1.png", "boxes": [[1, 2, 3]]}, "invalid_parameter", "boxes.0"),
        ({"id": "1.png", "boxes": [[1, 2, 3, "4"]]}, "invalid_parameter", "boxes.0.3"),
        ({"id": "1.png", "boxes": [[0, 0, 1, 10**400]]}, "invalid_parameter", "boxes.0.3"),
        ({"id": "1.png", "boxes": [[0, 0, 9, 9]] * 1000}, "invalid_parameter", "boxes"),
        ({"id": "1.png", "boxes": [[0, 0, 9, 9]] * 10**5}, "invalid_parameter", None),
        ({"id": "1.png", "boxes": [[0, 0, -9, 9]]}, "invalid_parameter", "boxes.0"),
        ({"id": "1.png", "filter": []}, "invalid_parameter", "filter"),
        ({"id": "1.png", "filter": {"a": {"b": 1}}}, "invalid_filter", "filter"),
        ({"id": "1.png", "max_evalue": -1}, "invalid_parameter", "max_evalue"),
        ({"id": "1.png", "min_score": "1"}, "invalid_parameter", "min_score"),
        ({"queries": []}, "invalid_parameter", "queries"),
        ({"queries": [{"id": "1.png"}] * 17}, "invalid_parameter", "queries"),
        ({"queries": [{"id": "1.png", "k": 1}]}, "invalid_parameter", "queries.0.k"),
        ({"queries": [{"id": "1.png"}], "id": "1.png"}, "invalid_parameter", "id"),
        ({"queries": 3}, "invalid_parameter", "queries"),
        ([], "invalid_parameter", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_invalid_search_requests(shared: TestClient, body: Any, code: str, field: str | None) -> None:
    problem(shared.post(f"{BASE}/search", json=body), 422, code, field)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"id": "none"}, 404, "unknown_image", "id"),
        ({"id": "1.png", "method": "surf"}, 404, "unknown_method", "method"),
        ({"id": "1.png", "method": "beit"}, 409, "method_not_indexed", None),
        ({"url": "ftp://x/y"}, 422, "fetch_failed", "url"),
    ],
    ids=str,
)
def test_unknown_names_in_a_search(
    shared: TestClient, body: Any, status: int, code: str, field: str | None
) -> None:
    problem(shared.post(f"{BASE}/search", json=body), status, code, field)


def test_an_unknown_collection(shared: TestClient) -> None:
    problem(shared.post("/v1/collections/none/search", json={"id": "1.png"}), 404, "unknown_collection", None)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        ({"k": "1.5"}, "invalid_parameter", "k"),
        ({"k": "1_0"}, "invalid_parameter", "k"),
        ({"k": "9" * 5000}, "invalid_parameter", "k"),
        ({"k": ["1", "2"]}, "invalid_parameter", "k"),
        ({"verify": "maybe"}, "invalid_parameter", "verify"),
        ({"box": "1,2,3"}, "invalid_parameter", "box"),
        ({"box": "a"}, "invalid_parameter", "box"),
        ({"box": "1,2,3,nan"}, "invalid_parameter", "box"),
        ({"box": "[" * 5000}, "malformed_json", "box"),
        ({"max_evalue": "nan"}, "invalid_parameter", "max_evalue"),
        ({"rerank_depth": "0"}, "invalid_parameter", "rerank_depth"),
        ({"rerank_depth": "1001"}, "invalid_parameter", "rerank_depth"),
        ({"filter": "x"}, "malformed_json", "filter"),
        ({"colour": "red"}, "invalid_parameter", "colour"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_text_fields(shared: TestClient, data: Any, code: str, field: str) -> None:
    response = shared.post(f"{BASE}/search", files={"image": encoded(1)}, data=data)
    assert 400 <= response.status_code < 500
    assert (response.json()["code"], response.json()["field"]) == (code, field)


def test_too_many_files(shared: TestClient) -> None:
    problem(shared.post(f"{BASE}/search", files=[("image", b"x")] * 17), 400, "several_images", "image")
    problem(shared.post(f"{BASE}/search", files=[("image", b"x" * 150_000)] * 3), 413, "image_too_large", "image")


def test_unsupported_media_types(shared: TestClient) -> None:
    response = shared.post(f"{BASE}/search", content=b"x", headers={"content-type": "image/png"})
    problem(response, 415, "unsupported_media_type", None)
    response = shared.post(f"{BASE}/search", content=b"{}", headers={"content-type": "application/json; x=y"})
    problem(response, 422, "invalid_parameter", None)


def test_explanations_of_a_search(shared: TestClient) -> None:
    turned = np.ascontiguousarray(np.rot90(textured_image(1)))
    buffer = io.BytesIO()
    Image.fromarray(turned).save(buffer, "PNG")
    result = shared.post(f"{BASE}/search", files={"image": buffer.getvalue()}).json()
    assert ids(result)[0] == "1.png"
    base = f"/v1/explanations/{result['explanations']['handle']}"
    assert shared.get(base).json() == result
    hit = result["hits"][0]
    explanation = shared.get(hit["explanation"]).json()
    assert explanation["id"] == "1.png"
    assert len(explanation["inliers"]) == explanation["evidence"]["inliers"] == hit["evidence"]["inliers"]
    assert explanation["evalue"] == pytest.approx(hit["evalue"])
    assert (explanation["query_size"], explanation["candidate_size"]) == ([120, 160], [160, 120])
    drawing = shared.get(hit["drawing"])
    assert drawing.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(drawing.content)).format == "PNG"
    assert shared.get(hit["drawing"], headers={"if-none-match": drawing.headers["etag"]}).status_code == 304
    # The names of the previous version.
    assert hit["picture"] == hit["drawing"]
    assert shared.get(f"{base}/pictures/1.png").content == drawing.content
    query = shared.get(f"{base}/query")
    assert Image.open(io.BytesIO(query.content)).size == (120, 160)
    assert Image.open(io.BytesIO(shared.get(f"{base}/query?width=40").content)).size == (30, 40)
    problem(shared.get(f"{base}/query?width=4000"), 422, "invalid_parameter", "width")
    problem(shared.get(f"{base}/images/none"), 404, "unknown_image", "id")
    problem(shared.get(f"{base}/images/1.png?method=surf"), 404, "unknown_method", "method")
    problem(shared.get("/v1/explanations/none/images/1.png"), 404, "unknown_handle", None)


def test_head_explains_nothing(client: TestClient, collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ask(client, id="1.png", k=1)
    base = f"/v1/explanations/{result['explanations']['handle']}"
    monkeypatch.setattr(collection, "explain", None)
    monkeypatch.setattr(collection, "stored_pixels", None)
    for path, media_type in {
        "images/0.png": "application/json",
        "image?id=0.png": "application/json",
        "drawings/0.png": "image/png",
        "query": "image/jpeg",
    }.items():
        head = client.head(f"{base}/{path}")
        assert (head.status_code, head.headers["content-type"], head.content) == (200, media_type, b"")
        assert "content-length" not in head.headers, "it is not known without the work"
    assert client.head(f"{base}/images/none").status_code == 404
    assert client.head("/v1/explanations/none/query").status_code == 404


def test_explanations_of_a_filtered_search_by_id(shared: TestClient) -> None:
    result = ask(shared, id="put/0", filter={"price": {"gte": 2}}, k=1)
    explanation = shared.get(result["hits"][0]["explanation"]).json()
    assert explanation["numbers"]["images searched"] == 1
    query = shared.get(f"/v1/explanations/{result['explanations']['handle']}/query")
    assert Image.open(io.BytesIO(query.content)).size == (160, 120)


def test_explanations_are_cached_until_the_image_changes(
    client: TestClient, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[str] = []
    explain = collection.explain
    monkeypatch.setattr(
        collection, "explain", lambda query, name, **how: (explained.append(name), explain(query, name, **how))[1]
    )
    hit = ask(client, base64=base64.b64encode(encoded(1)).decode(), k=1)["hits"][0]
    first = client.get(hit["explanation"]).json()
    assert client.get(hit["explanation"]).json() == first
    assert client.get(hit["drawing"]).status_code == 200
    assert explained == ["1.png"]
    client.get(f"{hit['explanation']}?method=sift")
    assert len(explained) == 2
    client.put(f"{BASE}/images/1.png", content=encoded(2), headers={"content-type": "image/png"})
    assert client.get(hit["explanation"]).json()["evidence"] != first["evidence"]
    client.delete(f"{BASE}/images/1.png")
    problem(client.get(hit["explanation"]), 404, "unknown_image", "id")


def test_an_answer_expires(collection: Any, settings: Any) -> None:
    from dataclasses import replace

    collection.settings = replace(settings, explanation_queries=1)
    with TestClient(create_app(collection)) as client:
        first, second = ask(client, id="1.png"), ask(client, id="2.png")
        problem(client.get(f"/v1/explanations/{first['explanations']['handle']}"), 404, "unknown_handle", None)
        assert client.get(f"/v1/explanations/{second['explanations']['handle']}").json() == second


def test_compare(shared: TestClient) -> None:
    data = encoded(1)
    by_form = shared.post("/v1/compare", files={"a": data, "b": encoded(1)}).json()
    side = {"collection": "default", "id": "1.png"}
    by_json = shared.post("/v1/compare", json={"a": {"base64": base64.b64encode(data).decode()}, "b": side}).json()
    for result in (by_form, by_json):
        assert result["relation"] == "identical"
        assert result["score"] == result["features_a"] == result["features_b"] > 0
        assert result["evidence"]["agreement"] > 0.9
    other = shared.post("/v1/compare", json={"a": side, "b": {"collection": "default", "id": "2.png"}}).json()
    assert other["relation"] is None


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"a": {"id": "1.png"}, "b": {"id": "1.png", "collection": "default"}}, 422, "invalid_parameter", "a"),
        ({"a": {"base64": ""}}, 422, "invalid_parameter", "b"),
        ({"a": {"base64": "!"}, "b": {"base64": ""}}, 422, "invalid_parameter", "a.base64"),
        ({"a": {"base64": "AAAA"}, "b": {"base64": ""}, "method": "surf"}, 404, "unknown_method", "method"),
        (
            {"a": {"base64": ""}, "b": {"id": "x", "collection": "none"}},
            404,
            "unknown_collection",
            None,
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_invalid_comparisons(shared: TestClient, body: Any, status: int, code: str, field: str | None) -> None:
    problem(shared.post("/v1/compare", json=body), status, code, field)


def test_a_comparison_requires_two_files(shared: TestClient) -> None:
    problem(shared.post("/v1/compare", files={"a": encoded(1)}), 400, "missing_image", "b")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://[::1]/", "http://169.254.169.254/latest", "http://0/"]
)
def test_private_addresses_are_refused(collection: Any, settings: Any, url: str) -> None:
    from dataclasses import replace

    collection.settings = replace(settings, fetch_private=False)
    with TestClient(create_app(collection)) as client:
        problem(client.post(f"{BASE}/search", json={"url": url}), 422, "address_not_allowed", "url")
        problem(client.put(f"{BASE}/images/x", json={"url": url}), 422, "address_not_allowed", "url")


def test_urls_can_be_disabled(collection: Any, settings: Any) -> None:
    from dataclasses import replace

    collection.settings = replace(settings, url_queries=False)
    with TestClient(create_app(collection)) as client:
        assert client.get("/v1/info").json()["url_queries"] is False
        problem(client.post(f"{BASE}/search", json={"url": "http://x/y"}), 403, "url_queries_off", "url")


def test_duplicates_by_a_job(client: TestClient, collection: Any, jobs: Any, image_folder: Path) -> None:
    from imagefinder.dedup import report as duplicate_report
    from imagefinder.server.jobs.work import collection_state

    problem(client.get(f"{BASE}/duplicates"), 404, "no_duplicate_report", None)
    assert jobs.jobs == []
    jobs.start("duplicates", "default")
    first = client.get(f"{BASE}/duplicates")
    assert (first.status_code, first.headers["retry-after"]) == (202, "2")
    assert first.json() == {"state": "running", "job": to_json(jobs.jobs[0])}
    assert client.get(f"{BASE}/duplicates").json() == first.json()
    assert len(jobs.jobs) == 1
    for seed in (1, 2):
        collection.put(f"copy {seed}", encoded(seed))
    kept = duplicate_report.to_bytes(
        collection.duplicates(), state=collection_state(collection), computed_at="2026-01-01T00:00:00Z"
    )
    collection.store.put_derived(duplicate_report.NAME, kept)
    jobs.jobs.clear()
    page = client.get(f"{BASE}/duplicates", params={"limit": 1}).json()
    assert (page["state"], page["stale"], jobs.jobs) == ("ready", False, [])
    assert set(page["report"]) == {"images", "candidates", "verified", "methods", "timings"}
    rest = client.get(f"{BASE}/duplicates", params={"cursor": page["next_cursor"]}).json()
    groups = page["groups"] + rest["groups"]
    assert sorted(sorted(group["ids"]) for group in groups) == [["1.png", "copy 1"], ["2.png", "copy 2"]]
    assert [image["id"] for image in groups[0]["images"]] == groups[0]["ids"]
    collection.remove("copy 1")
    stale = client.get(f"{BASE}/duplicates").json()
    assert stale["stale"]
    assert len(stale["groups"][0]["images"]) + len(stale["groups"][1]["images"]) == 3
    assert jobs.jobs == []
    problem(client.get(f"{BASE}/duplicates?cursor=_w"), 422, "invalid_parameter", "cursor")
    problem(client.get(f"{BASE}/duplicates?cursor=eA"), 422, "invalid_parameter", "cursor")
    collection.store.put_derived(duplicate_report.NAME, b"{half")
    problem(client.get(f"{BASE}/duplicates"), 404, "no_duplicate_report", None)


def test_collections_are_created_and_deleted(client: TestClient, jobs: Any) -> None:
    made = client.put("/v1/collections/shop")
    assert (made.status_code, made.headers["location"]) == (201, "/v1/collections/shop")
    assert made.json() == {"name": "shop", "images": 0, "failures": 0, "bytes": 0, "methods": []}
    assert client.put("/v1/collections/shop").status_code == 200
    refused = client.put("/v1/collections/My%20Shop").json()
    assert (refused["code"], refused["field"]) == ("invalid_parameter", "collection")
    assert refused["hint"].endswith("such as my-shop")
    url = "/v1/collections/shop/images/a"
    assert client.put(url, content=encoded(5), headers={"content-type": "image/png"}).status_code == 201
    listed = client.get("/v1/collections").json()["collections"]
    assert [(one["name"], one["images"]) for one in listed] == [("default", 7), ("shop", 1)]
    assert client.get("/v1/info").json()["collections"] == ["default", "shop"]
    problem(client.delete("/v1/collections/shop"), 409, "confirmation_needed", "confirm")
    problem(client.delete("/v1/collections/shop?confirm=default"), 409, "confirmation_needed", "confirm")
    jobs.start("add", "shop")
    problem(client.delete("/v1/collections/shop?confirm=shop"), 409, "collection_in_use", None)
    jobs.jobs.clear()
    assert client.delete("/v1/collections/shop?confirm=shop").status_code == 204
    problem(client.get("/v1/collections/shop"), 404, "unknown_collection", None)
    problem(client.delete("/v1/collections/default?confirm=default"), 409, "collection_protected", None)


@pytest.mark.parametrize("name", ["A", "a.b", "-a", "a" * 64, "ä", "%2e%2e"])
def test_invalid_collection_names(shared: TestClient, name: str) -> None:
    problem(shared.put(f"/v1/collections/{name}"), 422, "invalid_parameter", "collection")


def test_limits_and_methods(shared: TestClient) -> None:
    limits = shared.get("/v1/limits").json()
    assert limits["max_image_bytes"] == 200_000
    assert limits["max_json_bytes"] > 200_000 * 4 / 3
    methods = {one["name"]: one for one in shared.get("/v1/methods").json()["methods"]}
    assert methods["sift"]["ready"]
    assert (methods["sift"]["kind"], methods["sift"]["dim"], methods["sift"]["explains"]) == (
        "local",
        128,
        ["matches"],
    )
    assert methods["efficientnet-lite0"]["explains"] == ["heat"]
    assert not methods["beit"]["ready"]


def test_all_documented_codes_exist(shared: TestClient) -> None:
    from imagefinder.server.errors import KINDS

    schema = shared.get("/openapi.json").json()
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if "application/problem+json" in answer.get("content", {}):
                    codes = [part.split("`")[1] for part in answer["description"].split("; ")]
                    assert all(KINDS[code].status == int(status) for code in codes)


def test_old_names_are_marked_as_deprecated(shared: TestClient) -> None:
    description = shared.get("/openapi.json").json()
    assert description["components"]["schemas"]["SearchHit"]["properties"]["picture"]["deprecated"] is True
    assert description["paths"]["/v1/explanations/{handle}/pictures/{image_id}"]["get"]["deprecated"] is True
