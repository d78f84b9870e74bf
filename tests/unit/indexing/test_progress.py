import json

from imagefinder.core.records import Failure
from imagefinder.core.serialization import to_json
from imagefinder.indexing.progress import AddReport, Progress


def test_done_is_every_outcome() -> None:
    assert Progress(total=20, added=1, replaced=2, unchanged=3, failed=4, seconds=0.5, current="x").done == 10


def test_a_report_as_json() -> None:
    failure = Failure("x", "file:///x", "not_an_image", "not an image", attempts=2, at=1.0, source="file:///")
    report = AddReport(("sift",), 1, 2, 3, 4, (failure,), 0.5, interrupted=False, skipped=6, notes=("note",))
    assert json.loads(json.dumps(to_json(report))) == {
        "methods": ["sift"],
        "added": 1,
        "replaced": 2,
        "unchanged": 3,
        "removed": 4,
        "failed": 1,
        "failures": [to_json(failure)],
        "seconds": 0.5,
        "interrupted": False,
        "skipped": 6,
        "notes": ["note"],
        "moved": 0,
        "excluded": 0,
        "failed_before": 0,
        "refreshed": 0,
        "stacked": 0,
    }
