from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imagefinder.models import graph_cache
from imagefinder.models.graph_cache import GraphCache, GraphKey

KEY = GraphKey("resnet50", "f32", "a" * 64)


@pytest.fixture
def cache(tmp_path: Path) -> GraphCache:
    return GraphCache(tmp_path / "models" / "graphs")


def files(cache: GraphCache) -> list[Path]:
    return sorted(cache._folder.iterdir())


def test_a_graph_is_found_again(cache: GraphCache) -> None:
    assert cache.load(KEY) is None
    cache.save(KEY, b"graph")
    assert cache.load(KEY) == b"graph"
    assert GraphCache(cache._folder).load(KEY) == b"graph"


@pytest.mark.parametrize("other", [{"architecture": "beit_base"}, {"variant": "map"}, {"weights": "b" * 64}])
def test_the_key_decides(cache: GraphCache, other: dict[str, str]) -> None:
    cache.save(KEY, b"graph")
    assert cache.load(replace(KEY, **other)) is None


def test_other_builders_make_it_anew(cache: GraphCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.save(KEY, b"graph")
    monkeypatch.setattr(graph_cache, "BUILDERS", graph_cache.BUILDERS + 1)
    assert cache.load(KEY) is None


@pytest.mark.parametrize("damage", [b"", b"grap", b"graph.", b"Graph"])
def test_a_damaged_graph_is_not_used_and_is_replaced(cache: GraphCache, damage: bytes) -> None:
    cache.save(KEY, b"graph")
    files(cache)[0].write_bytes(damage)
    assert cache.load(KEY) is None
    cache.save(KEY, b"graph")
    assert cache.load(KEY) == b"graph"
    assert len(files(cache)) == 1


def test_one_graph_is_kept_for_each_network_and_variant(cache: GraphCache) -> None:
    for number in range(3):
        for variant in ("f32", "map"):
            cache.save(GraphKey("resnet50", variant, str(number) * 64), b"graph")
    assert len(files(cache)) == 2
    assert cache.load(GraphKey("resnet50", "map", "2" * 64)) == b"graph"


def test_files_of_processes_that_were_killed_are_deleted(cache: GraphCache) -> None:
    cache.save(KEY, b"graph")
    old, new = (cache._folder / f".new-{name}" for name in ("old", "new"))
    for draft in (old, new):
        draft.write_bytes(b"gra")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    cache.save(KEY, b"graph")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = GraphCache(tmp_path / "file" / "graphs")
    cache.save(KEY, b"graph")
    assert cache.load(KEY) is None
