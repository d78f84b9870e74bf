"""BEiT answering over HTTP: the answers are those of its definition, computed here once more and slowly.

The weights are seeded, not trained: they show that the parts fit, not that the network finds what people expect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command
import httpx2
import numpy as np
import pytest
import seeded_beit
from edited_pictures import EDITS, edited
from example_pictures import PICTURES
from service import Service

GALLERY = ("cat.jpg", "clock.jpg", "coins.jpg", "dogs.jpg", "rocket.jpg", "temple.jpg")
QUERIES = ("same.jpg", "small.jpg", "crop.jpg", "another.jpg")
TOKENS = 197
ROUNDING = 1
"""Matches that may differ: products that are nearly equal are ordered by the rounding of the processor."""


@dataclass(frozen=True)
class Served:
    """A server and what it should answer.

    Attributes:
        client: Of the server.
        queries: Folder of pictures to search with.
        gallery_tokens: Id -> ``(197, 768)`` float32, as the collection has them.
        query_tokens: The same of the queries, from another collection.
    """

    client: httpx2.Client
    queries: Path
    gallery_tokens: dict[str, np.ndarray]
    query_tokens: dict[str, np.ndarray]

    def search(self, query: str, **options: str) -> Any:
        files = {"image": (query, (self.queries / query).read_bytes())}
        answer = self.client.post(
            "/v1/collections/default/search", files=files, data={"method": "beit", **options}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def expected(self, query: str) -> dict[str, int]:
        """Id -> count of mutual nearest neighbours, of all images."""
        return {
            name: mutual_nearest(self.query_tokens[query], tokens) for name, tokens in self.gallery_tokens.items()
        }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("beit")
    models = {"IMAGEFINDER_MODELS": str(folder / "models")}
    seeded_beit.write_bundle(folder / "beit.zip")
    command.answer("models", "import", folder / "beit.zip", environment=models)
    (folder / "beit.zip").unlink()
    queries = folder / "queries"
    queries.mkdir()
    (queries / "same.jpg").write_bytes((PICTURES / "cat.jpg").read_bytes())
    (queries / "small.jpg").write_bytes(edited(PICTURES / "temple.jpg", EDITS["small"]))
    (queries / "crop.jpg").write_bytes(edited(PICTURES / "dogs.jpg", EDITS["crop"]))
    (queries / "another.jpg").write_bytes((PICTURES / "fig.jpg").read_bytes())
    gallery = [PICTURES / name for name in GALLERY]
    tokens = [
        index_and_export(folder / name, sources, models)
        for name, sources in {"default": gallery, "other": [queries]}.items()
    ]
    with (
        Service(folder, models=models["IMAGEFINDER_MODELS"]) as service,
        httpx2.Client(base_url=service.url, timeout=60) as client,
    ):
        yield Served(client, queries, *tokens)
    (folder / "models" / "beit" / "model.safetensors").unlink()  # pytest keeps folders, and it is large


def index_and_export(collection: Path, sources: list[Path], environment: dict[str, str]) -> dict[str, np.ndarray]:
    """Index pictures by BEiT, and what ``export`` then says are their features."""
    command.answer("-c", collection, "add", *sources, "--method", "beit", environment=environment)
    exported = collection.with_name(f"{collection.name}-exported")
    command.answer("-c", collection, "export", exported, environment=environment)
    files = (exported / "features" / "microsoft_beit").glob("*.npy")
    return {file.stem: np.load(file).reshape(TOKENS, -1) for file in files}


def mutual_nearest(query: np.ndarray, candidate: np.ndarray) -> int:
    """How many tokens of two pictures are each other's nearest by dot product; of equal ones the first."""
    products = query @ candidate.T
    best_column, best_row = products.argmax(1), products.argmax(0)
    return sum(best_row[column] == row for row, column in enumerate(best_column))


@pytest.mark.parametrize("query", QUERIES)
def test_every_image_has_the_score_of_the_definition(served: Served, query: str) -> None:
    found = served.search(query, verify="false", k=str(len(GALLERY)))
    assert (found["method"], found["mode"], found["searched"]) == ("beit", "exact", len(GALLERY))
    expected, scores = served.expected(query), {hit["id"]: hit["score"] for hit in found["hits"]}
    assert scores.keys() == expected.keys()
    for name, score in scores.items():
        assert score == pytest.approx(expected[name], abs=ROUNDING), name
    assert [hit["id"] for hit in found["hits"]] == sorted(scores, key=lambda name: (-scores[name], name))


@pytest.mark.parametrize("query", QUERIES)
def test_the_original_endpoint_gives_the_three_best_ids(served: Served, query: str) -> None:
    files = {"image": (query, (served.queries / query).read_bytes())}
    answer = served.client.post("/beit-similar-images", files=files)
    assert answer.status_code == 200, answer.text
    found = served.search(query, verify="false", k="3")
    assert answer.json() == [hit["id"] for hit in found["hits"]]


@pytest.mark.parametrize(
    ("query", "best", "decision", "relation"),
    [
        ("same.jpg", "cat.jpg", "match", "identical"),
        ("small.jpg", "temple.jpg", "match", "edited copy"),
        ("crop.jpg", "dogs.jpg", "match", "part of"),
        ("another.jpg", "cat.jpg", "none", "similar"),
    ],
)
def test_evidence(served: Served, query: str, best: str, decision: str, relation: str) -> None:
    found = served.search(query)
    hit = found["hits"][0]
    assert (hit["id"], hit["decision"], hit["relation"]) == (best, decision, relation)
    assert found["decision"] == decision
