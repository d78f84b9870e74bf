from imagefinder.core.records import SweepReport
from imagefinder.stores.memory import MemoryStore


class Swept(MemoryStore):
    """A store with objects: it reports a sweep, and how it was called."""

    report = SweepReport(10, 3, 2, 4)

    def sweep(self, *, seconds, delete, progress):
        Swept.called = (seconds, delete)
        progress(10, 0)
        return Swept.report


def test_a_folder_has_nothing_to_sweep(call, collection):
    answer = call("sweep", "-c", collection)
    assert answer.code == 5
    assert "has no objects to sweep" in answer.err
    assert "setting objects" in answer.err


def test_a_sweep(call, collection, monkeypatch):
    monkeypatch.setattr("imagefinder.wiring.embedded_store", lambda *_: Swept())
    answer = call("sweep", "-c", collection)
    assert answer.code == 0
    assert answer.out == "10 objects listed; unused: 3 new, 4 marked, 2 deleted\n"
    assert Swept.called == (86400.0, True)
    answer = call("sweep", "-c", collection, "--days", "14", "--dry-run", "--json")
    assert answer.json == {"objects": 10, "marked": 3, "deleted": 2, "waiting": 4}
    assert Swept.called == (14 * 86400.0, False)


def test_another_process_is_sweeping(call, collection, monkeypatch):
    monkeypatch.setattr("imagefinder.wiring.embedded_store", lambda *_: Swept())
    monkeypatch.setattr(Swept, "report", None)
    answer = call("sweep", "-c", collection)
    assert (answer.code, answer.out) == (0, "another process is sweeping this collection\n")
    assert call("sweep", "-c", collection, "--json").json == {}
