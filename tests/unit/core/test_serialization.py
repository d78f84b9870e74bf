"""JSON round trips of every dataclass that leaves the process."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from imagefinder.core import answers, group_answers, jobs, records, results, similarity
from imagefinder.core.answers import SearchAnswer, SearchHit, extend
from imagefinder.core.method import MethodState
from imagefinder.core.serialization import Described, from_json, to_json, type_adapter
from imagefinder.indexing.npy_layout import ExportReport
from imagefinder.indexing.progress import AddReport
from imagefinder.server.examples import ANSWERS

FRAME = ((0.0, 0.0), (9.0, 0.0), (9.0, 7.0), (0.0, 7.0))
MATRIX = ((1.0, 0.0, 0.5), (0.0, 1.0, 0.25), (0.0, 0.0, 1.0))
EVIDENCE = results.Evidence(
    *(9, 12, "affine", MATRIX, True, FRAME, FRAME, 1.0, 0.5), found_by="tokens", method="beit", agreement=0.75
)
HIT = results.Hit(1, "a/b", 20.5, EVIDENCE, 1e-9, "match", "part of", {"sift": results.MethodScore(9.0, 1e-3)})
PAIR = results.DuplicatePair("b", "a", "identical", EVIDENCE, 0.9)
GROUP = results.DuplicateGroup("identical", ("a", "b"), (PAIR,))
FAILURE = records.Failure("x", "file:///x", "not_an_image", "no image", attempts=2, at=1.5, source="file:///")
JOB = jobs.Job(
    *("j1", "add", "default", "failed", "2026-01-01T00:00:00.000Z", None, "2026-01-01T00:00:01.000Z"),
    progress=jobs.JobProgress("add", 1, None, 1, 0, 1),
    failures=(jobs.JobFailure("x", "http://x", "fetch_failed", "gone"),),
    result={"added": 1, "notes": ["a", {"b": None}]},
    problem=jobs.JobProblem("store_error", "disk full", "make room"),
)

WORDS = results.WordsInfo("net", ("cup",), ("red",), ("cup", "coffee mug"), 0.1, 3, 0.9)

VALUES: dict[str, Any] = {
    type(value).__name__: value
    for value in (
        EVIDENCE,
        HIT,
        HIT.methods["sift"],
        PAIR,
        GROUP,
        FAILURE,
        JOB,
        JOB.progress,
        JOB.failures[0],
        JOB.problem,
        WORDS,
        results.Label("espresso", 0.5),
        results.SearchResult(
            *((HIT,), "auto", "exact", {"sift": "f"}, 7, {"total": 0.5}, "evidence", 1, ((0.0, 1.0, 2.0, 3.0),)),
            query_size=(9, 7),
            decision="match",
            null_model="5f0c",
            words=WORDS,
        ),
        results.Comparison("sift", "f", 3.0, 10, 12, {"total": 0.1}, EVIDENCE, "contains"),
        results.Explanation(
            *("a", "sift", "f", 1.0, EVIDENCE, 2, (((0.0, 1.0), (2.0, 3.0)),), (5, 6), (7, 8)),
            query_heat=((0.5, -0.5),),
            candidate_from="thumbnail",
            numbers={"geometry": -3.5},
        ),
        results.DuplicateReport((GROUP,), 2, 1, 1, ("sift",), {"total": 0.1}),
        records.IndexReport((records.AnnIndexState("sift", 9, 8, 1, 2, 100, kept=True),), ("bad",), 0.5),
        records.CheckReport("here", 9, (records.Damage("features", "cut short", "a", "sift"),), 0.5),
        records.AnnIndexState("sift", 9, 8, 1, 2, 100, kept=True, outgrown=True),
        records.Damage("counts", "wrong", repaired="counted again"),
        AddReport(("sift",), 1, 2, 3, 4, (FAILURE,), 0.5, interrupted=True, notes=("note",)),
        ExportReport(9, {"sift": 9}, (FAILURE,), 0.5),
        MethodState("sift", "finds copies", "matches", None, ready=False, reason="r", hint="h", fingerprint=None),
    )
}


def public(module: Any) -> dict[str, Any]:
    found = vars(module).values()
    return {kind.__name__: kind for kind in found if is_dataclass(kind) and kind.__module__ == module.__name__}


ANSWER_KINDS = {
    **public(answers),
    **public(group_answers),
    **public(jobs),
    **public(results),
    **public(similarity),
}


def inside(value: Any) -> dict[str, Any]:
    """A dataclass and all dataclasses nested in it, without duplicates."""
    if is_dataclass(value):
        members = [getattr(value, field.name) for field in fields(value)]
        return {type(value).__name__: value, **inside(members)}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return {name: one for member in value for name, one in inside(member).items()}
    return {}


SENT = inside([from_json(ANSWER_KINDS[name], example) for name, example in ANSWERS.items()])
ANSWERED = {
    **SENT,
    "QueryProblem": answers.QueryProblem({"code": "busy", "status": 429}),
    "SearchAnswers": answers.SearchAnswers(
        (SENT["SearchAnswer"], answers.QueryProblem({"code": "busy", "status": 429}))
    ),
    **VALUES,
}


def test_all_response_classes_are_tested() -> None:
    assert set(ANSWER_KINDS) <= set(ANSWERED)


@pytest.mark.parametrize("name", sorted(ANSWERED))
@pytest.mark.parametrize("newer", [False, True])
def test_json_round_trip(name: str, newer: bool) -> None:
    value = ANSWERED[name]
    data = json.loads(json.dumps(to_json(value), allow_nan=False))
    assert set(data) == {field.name for field in fields(value)}
    assert from_json(type(value), data, newer=newer) == value


def test_members_and_values_of_a_newer_version() -> None:
    data = {**to_json(JOB), "state": "paused", "eta": 3}
    assert from_json(jobs.Job, data, newer=True).state == "paused"
    with pytest.raises(ValueError, match="not a Job: state: "):
        from_json(jobs.Job, data)


@pytest.mark.parametrize(
    "data", [None, [], {}, {**to_json(JOB), "id": None}, {**to_json(JOB), "progress": {"done": "many"}}]
)
@pytest.mark.parametrize("newer", [False, True])
def test_invalid_data_raise_value_error(data: Any, newer: bool) -> None:
    with pytest.raises(ValueError, match="not a Job"):
        from_json(jobs.Job, data, newer=newer)


def test_infinity_and_nan_become_null() -> None:
    explanation = replace(VALUES["Explanation"], numbers={"a": math.inf, "b": math.nan, "c": 1.0})
    assert to_json(explanation)["numbers"] == {"a": None, "b": None, "c": 1.0}
    assert from_json(results.Explanation, to_json(explanation)).numbers == {"a": None, "b": None, "c": 1.0}


def test_undecodable_names_are_preserved() -> None:
    failure = replace(FAILURE, id="caf\udce9.jpg")
    assert from_json(records.Failure, to_json(failure)) == failure


def test_extend_copies_all_members() -> None:
    image = SENT["Image"]
    hit = extend(SearchHit, HIT, image=image, thumbnail="t", explanation=None, picture=None)
    assert {name: getattr(hit, name) for name in HIT.__dataclass_fields__} == {
        name: getattr(HIT, name) for name in HIT.__dataclass_fields__
    }
    assert hit.image is image


@pytest.mark.parametrize(
    ("hits", "ranking", "decision"),
    [((), "evidence", "none"), ((), "matches", None), ((HIT,), "matches", "match")],
)
def test_the_decision_of_a_result_is_that_of_its_best_hit(hits: Any, ranking: Any, decision: Any) -> None:
    assert results.decision_of(hits, ranking) == decision


def test_every_response_member_has_a_description() -> None:
    from pydantic import TypeAdapter

    for name, kind in ANSWER_KINDS.items():
        if issubclass(kind, Described):
            properties = TypeAdapter(kind).json_schema(mode="serialization")["properties"]
            own = {field for field in kind.__annotations__ if "$ref" not in properties[field]}
            assert {field for field in own if "description" not in properties[field]} == set(), name
    assert issubclass(SearchAnswer, Described)


def test_client_and_version_import_no_heavy_library() -> None:
    code = (
        "import sys, imagefinder, imagefinder.client; imagefinder.__version__;"
        "print([name for name in ('numpy', 'cv2', 'onnxruntime', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_converters_are_built_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python 3.11, ast.parse raises SystemError if several threads call it at the same time."""
    building = threading.Lock()

    class Adapter:
        def __init__(self, kind: object) -> None:
            assert building.acquire(blocking=False), "two threads build a converter"
            time.sleep(0.01)
            building.release()

    monkeypatch.setattr("pydantic.TypeAdapter", Adapter)
    kinds = [type(f"Kind{number}", (), {}) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(type_adapter, kinds))) == 8
