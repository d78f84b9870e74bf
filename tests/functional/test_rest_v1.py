"""A typical use of ``/v1``, with the service in a separate process."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from PIL import Image
from service import Service

import imagefinder

PICTURES = Path(__file__).parents[2] / "examples" / "pictures"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rest")
    with imagefinder.open(folder / "default") as collection:
        collection.add(*(PICTURES / name for name in ("coins.jpg", "dogs.jpg")), methods=["sift"])
    with Service(folder) as service:
        yield service.url
    assert "Traceback" not in "".join(service.lines), "".join(service.lines)


def test_put_search_explain_delete(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=120) as client:
        images, search = "/v1/collections/default/images", "/v1/collections/default/search"
        cat = (PICTURES / "cat.jpg").read_bytes()
        image_id = "2026/my cat ü.jpg"
        where = f"{images}/{quote(image_id)}"
        put = client.put(where, files={"image": cat}, data={"metadata": '{"shop": "north"}'})
        assert (put.status_code, put.json()["id"]) == (201, image_id)

        part = io.BytesIO()
        Image.open(io.BytesIO(cat)).crop((60, 40, 360, 260)).save(part, "PNG")
        by_file = client.post(search, files={"image": part.getvalue()}).json()
        by_text = client.post(search, json={"base64": base64.b64encode(part.getvalue()).decode()}).json()
        for answer in (by_file, by_text):
            assert (answer["hits"][0]["id"], answer["decision"]) == (image_id, "match")
            assert answer["hits"][0]["relation"] in {"part of", "edited copy"}
        box = client.post(search, files={"image": cat}, data={"box": "60,40,300,220"}).json()
        assert box["hits"][0]["id"] == image_id
        by_id = client.post(search, json={"id": "coins.jpg", "filter": {"shop": "north"}}).json()
        assert [hit["id"] for hit in by_id["hits"]] == [image_id]
        several = client.post(search, json={"queries": [{"id": "coins.jpg"}, {"id": "dogs.jpg"}], "k": 1}).json()
        assert [one["query"]["id"] for one in several["results"]] == ["coins.jpg", "dogs.jpg"]

        hit = by_file["hits"][0]
        drawing = client.get(hit["drawing"])
        assert Image.open(io.BytesIO(drawing.content)).format == "PNG"
        assert len(client.get(hit["explanation"]).json()["inliers"]) == hit["evidence"]["inliers"]
        assert Image.open(io.BytesIO(client.get(hit["thumbnail"]).content)).format == "JPEG"

        compared = client.post("/v1/compare", files={"a": part.getvalue(), "b": cat}).json()
        assert compared["relation"] == "part of"
        refused = client.post(search, json={"url": f"{url}/openapi.json"})
        assert (refused.status_code, refused.json()["code"]) == (422, "address_not_allowed")

        assert client.put("/v1/collections/shop").status_code == 201
        assert client.put("/v1/collections/shop/images/x", files={"image": cat}).status_code == 201
        assert client.post("/v1/collections/shop/search", files={"image": cat}).json()["hits"][0]["id"] == "x"
        assert client.delete("/v1/collections/shop?confirm=shop").status_code == 204

        assert client.delete(where).status_code == 204
        assert client.delete(where).status_code == 404
        assert client.post(search, files={"image": part.getvalue()}).json()["decision"] == "none"
