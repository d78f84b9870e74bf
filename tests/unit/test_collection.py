import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from runtimes import runtime

import imagefinder
from imagefinder.ann import hamming_embedding
from imagefinder.core.errors import (
    CollectionNotFoundError,
    EmptyImageError,
    ImageTooLargeError,
    InputError,
    ModelMissingError,
    NotAnImageError,
    SettingsError,
    SourceError,
    UnknownImageError,
    UnknownMethodError,
)
from imagefinder.core.serialization import to_json
from imagefinder.core.settings import Settings
from imagefinder.images.decoding.decode import InProcessDecoder
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.extractors import textured_image
from imagefinder.wiring import load_method


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for seed in range(4):
        (folder / f"{seed}.png").write_bytes(png(textured_image(seed)))
    (folder / "deep" / "4.png").write_bytes(png(textured_image(4)))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    return folder


@pytest.fixture
def collection(tmp_path, pictures):
    with imagefinder.open(tmp_path / "c") as collection:
        collection.add(pictures, methods=["sift"])
        yield collection


def test_add_search_get_remove(collection, pictures):
    assert collection.info().images == 5
    assert [f.id for f in collection.failures()] == ["broken.jpg"]
    crop = textured_image(4)[10:100, 20:150]
    result = collection.search(crop)
    assert result.ids[0] == "deep/4.png"
    assert set(result.timings) == {"decode", "extract", "match", "verify", "decide", "total"}
    record = collection.get("deep/4.png")
    assert (record.width, record.height, record.format) == (160, 120, "PNG")
    assert Image.open(io.BytesIO(collection.thumbnail("deep/4.png"))).format == "JPEG"
    assert collection.remove(["deep/4.png", "never there"]) == 1
    assert collection.remove("0.png") == 1
    assert [r.id for r in collection.images()] == ["1.png", "2.png", "3.png"]


def test_a_query_may_be_a_path_bytes_an_array_or_an_id(collection, pictures):
    path = pictures / "2.png"
    answers = [
        collection.search(query, k=1).hits for query in (path, str(path), path.read_bytes(), textured_image(2))
    ]
    assert answers[0][0].id == "2.png"
    assert all(answer == answers[0] for answer in answers)
    assert collection.search(id="2.png", k=9).ids[0] != "2.png"


def test_put_replaces(collection):
    collection.put("x", png(textured_image(7)), metadata={"shelf": 3})
    (hit,) = collection.search(textured_image(7), k=1).hits
    assert hit.id == "x"
    record = collection.put("x", png(textured_image(8)))
    assert record.metadata == {}
    assert collection.search(textured_image(8), k=1).ids == ["x"]
    assert collection.search(textured_image(7), k=1).hits[0].score < hit.score / 2


def test_a_failed_put_changes_nothing(collection):
    before = collection.info()
    with pytest.raises(NotAnImageError):
        collection.put("x", b"no picture")
    assert collection.info().images == before.images
    with pytest.raises(UnknownImageError):
        collection.get("x")


def test_compare_stores_nothing(collection):
    same = collection.compare(textured_image(1), textured_image(1))
    other = collection.compare(textured_image(1), textured_image(2))
    assert same.score > 2 * other.score
    assert same.features_a == same.features_b
    assert collection.info().images == 5


def test_a_blank_image_is_indexed_and_can_be_searched_with(collection):
    blank = np.full((64, 64, 3), 255, np.uint8)
    collection.put("blank", png(blank))
    result = collection.search(blank, k=99)
    assert len(result.hits) == 6
    assert {hit.score for hit in result.hits} == {0.0}
    assert {hit.id: hit.score for hit in collection.search(textured_image(1), k=99).hits}["blank"] == 0.0


def test_empty_collection(tmp_path):
    with imagefinder.open(tmp_path / "c") as empty:
        assert empty.search(textured_image(1)).hits == ()


def test_missing_collection(tmp_path):
    with pytest.raises(CollectionNotFoundError):
        imagefinder.open(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("no/such/file.jpg", SourceError),
        (".", SourceError),
        ("nul\0byte", SourceError),
        (b"", EmptyImageError),
        (b"text", NotAnImageError),
        (17, NotAnImageError),
        (np.zeros((5, 5), np.uint8), NotAnImageError),
        (np.zeros((5, 5, 3), np.float32), NotAnImageError),
        (np.zeros((0, 5, 3), np.uint8), EmptyImageError),
    ],
)
def test_invalid_queries_are_rejected(collection, query, error):
    with pytest.raises(error):
        collection.search(query)


def test_the_records_of_many_images(collection):
    ids = ["deep/4.png", "gone", "0.png"]
    assert collection.records(ids) == {image_id: collection.get(image_id) for image_id in ("deep/4.png", "0.png")}
    assert collection.records([]) == {}


def test_exactly_one_of_query_and_id(collection):
    with pytest.raises(InputError, match="give a query image, an id or a text"):
        collection.search()
    with pytest.raises(InputError, match=r"not both|exactly one"):
        collection.search(textured_image(1), id="1.png")


def test_limits_apply_to_files(tmp_path, pictures):
    settings = imagefinder.Settings(collection=tmp_path / "c", max_local_bytes=100)
    with imagefinder.open(settings=settings) as collection, pytest.raises(ImageTooLargeError) as caught:
        collection.search(pictures / "1.png")
    assert (caught.value.limit, caught.value.unit) == (100, "bytes")


def test_unknown_method_lists_the_installed_ones(collection):
    with pytest.raises(UnknownMethodError) as caught:
        collection.search(textured_image(1), method="siftt")
    assert "sift" in caught.value.installed


def test_a_broken_plugin_affects_only_itself(tmp_path):
    def load():
        raise SettingsError("broken cannot be loaded", hint="reinstall it")

    settings = imagefinder.Settings()
    methods = {"sift": lambda: load_method("sift", settings), "broken": load}
    with imagefinder.Collection(MemoryStore(), runtime(settings, methods)) as collection:
        broken, sift = collection.methods()
        assert (broken.name, broken.ready, broken.reason) == ("broken", False, "broken cannot be loaded")
        assert to_json(broken)["spec"] is None
        assert sift.ready
        collection.put("x", png(textured_image(1)))
        assert list(collection.info().methods) == ["sift"]
        with pytest.raises(SettingsError):
            collection.search(textured_image(1), method="broken")


def test_a_network_without_weights_is_an_error(tmp_path, monkeypatch, collection):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    settings = imagefinder.Settings(collection=tmp_path / "c", models=tmp_path / "none")
    with imagefinder.open(settings=settings) as other:
        states = {state.name: state for state in other.methods()}
        assert not states["beit"].ready
        assert "imagefinder models pull beit" in states["beit"].hint
        assert states["sift"].ready
        with pytest.raises(ModelMissingError, match="beit"):
            other.search(textured_image(1), method="beit")
        with pytest.raises(ModelMissingError, match="beit"):
            other.compare(textured_image(1), textured_image(1), method="beit")
        with pytest.raises(ModelMissingError, match="beit"):
            other.add(tmp_path, methods=["beit"])


class Meeting:
    """Two points in the code that are reached at the same time."""

    def __init__(self):
        self.barrier = threading.Barrier(2)
        self.met = 0

    def arrive(self):
        self.barrier.wait(timeout=60)
        self.met += 1


class MeetingDecoder(InProcessDecoder):
    def __init__(self, meeting):
        self.meeting = meeting

    def decode(self, data, **options):
        if self.meeting:
            self.meeting.arrive()
            self.meeting = None
        return super().decode(data, **options)


def loading(load, decoder):
    settings = imagefinder.Settings()
    methods = {"sift": lambda: replace(load_method("sift", settings), load=load)}
    return imagefinder.Collection(MemoryStore(), runtime(settings, methods, decoder=decoder))


def test_the_first_query_is_decoded_while_the_method_loads():
    meeting = Meeting()
    decoder = MeetingDecoder(None)
    with loading(meeting.arrive, decoder) as collection:
        collection.put("x", png(textured_image(1)))
        decoder.meeting = meeting
        assert collection.search(png(textured_image(1)), method="sift").ids == ["x"]
        assert meeting.met == 2
        # Once is enough: a second barrier would never be reached.
        assert collection.search(png(textured_image(1)), method="sift").ids == ["x"]


def test_errors_of_preloading_are_reported_on_use():
    failed = threading.Event()

    def load():
        failed.set()
        raise ModelMissingError("beit")

    with loading(load, InProcessDecoder()) as collection:
        collection.put("x", png(textured_image(1)))
        with pytest.raises(NotAnImageError):
            collection.search(b"no picture", method="sift")
        assert failed.wait(60)
        assert collection.search(png(textured_image(1)), method="sift").ids == ["x"]


def test_many_threads_get_the_same_results(collection):
    queries = [textured_image(seed)[5:100, 5:140] for seed in range(4)]
    expected = [collection.search(query, k=5).hits for query in queries]
    wrong = []

    def search(number):
        for turn in range(6):
            at = (number + turn) % 4
            if collection.search(queries[at], k=5).hits != expected[at]:
                wrong.append(at)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_modes(collection, pictures):
    picture = pictures / "2.png"
    exact = collection.search(picture, mode="exact")
    fast = collection.search(picture, mode="fast")
    assert (exact.mode, fast.mode, collection.search(picture).mode) == ("exact", "fast", "exact")
    # With this few images, all are proposed.
    assert fast.ids == exact.ids
    assert [hit.score for hit in fast.hits] == [hit.score for hit in exact.hits]
    assert [hit.evalue for hit in fast.hits] == pytest.approx([hit.evalue for hit in exact.hits])
    assert (fast.searched, fast.decision) == (exact.searched, exact.decision)
    assert "index" in fast.timings
    with pytest.raises(InputError, match="unknown mode 'quick'"):
        collection.search(picture, mode="quick")


def test_auto_is_fast_for_large_collections_with_an_index(tmp_path, pictures):
    with imagefinder.open(tmp_path / "large", settings=Settings(exact_bytes=1000)) as collection:
        collection.add(pictures, methods=["sift"])
        picture = pictures / "2.png"
        assert collection.search(picture).mode == "exact"
        reported = []
        report = collection.rebuild_index(lambda *step: reported.append(step))
        assert reported[-1] == ("sift", 5, 5)
        assert to_json(report)["indexes"][0]["indexed"] == 5
        assert collection.search(picture).mode == "fast"
        exact = collection.search(picture, mode="exact", k=5)
        assert exact.mode == "exact"
        # Explained as in a fast search, with the same result.
        explained = collection.explain(picture, "2.png")
        assert (explained.evalue, explained.score) == (exact.hits[0].evalue, exact.hits[0].score)
        assert collection.explain(picture, exact.ids[1]).evalue > 0.01
        assert collection.verify_index().problems == ()
        collection.remove("2.png")
        assert "2.png" not in collection.search(picture).ids


def test_an_outgrown_index_is_rebuilt_automatically(tmp_path, pictures, monkeypatch):
    with imagefinder.open(tmp_path / "c") as collection:
        collection.add(pictures, methods=["sift"])
        monkeypatch.setattr(hamming_embedding, "POSTINGS_PER_WORD", 10**6)
        (before,) = collection.rebuild_index(rebuild=False).indexes
        monkeypatch.setattr(hamming_embedding, "POSTINGS_PER_WORD", 1)
        (grown,) = collection.verify_index().indexes
        (after,) = collection.rebuild_index(rebuild=False).indexes
        assert (before.outgrown, grown.outgrown, after.outgrown) == (False, True, False)
        assert after.bytes > before.bytes


def test_without_indexes_every_search_is_exact(pictures):
    settings = Settings(exact_bytes=0)
    methods = {"sift": lambda: load_method("sift", settings)}
    collection = imagefinder.Collection(MemoryStore(), runtime(settings, methods, ann_indexes=False))
    collection.put("a", (pictures / "1.png").read_bytes())
    assert collection.search(pictures / "1.png").mode == "exact"
    with pytest.raises(SettingsError, match="every search is exact"):
        collection.search(pictures / "1.png", mode="fast")


def test_a_filter_applies_before_the_ranking(collection, pictures):
    for seed in range(3):
        collection.put(f"p{seed}", png(textured_image(seed)), metadata={"shop": "north" if seed else "south"})
    query = pictures / "0.png"
    assert collection.search(query).ids[0] in {"0.png", "p0"}
    result = collection.search(query, k=2, where={"shop": "north"})
    assert sorted(result.ids) == ["p1", "p2"]
    assert result.searched == 2
    assert result.query_size == (160, 120)
    assert "filter" in result.timings
    explained = collection.explain(query, "p1", where={"shop": "north"})
    assert explained.numbers["images searched"] == 2
    assert collection.search(query, where={"shop": "west"}).hits == ()
    assert [record.id for record in collection.images(where={"shop": "north"}, limit=1)] == ["p1"]
    assert [record.id for record in collection.images(contains="DEEP")] == ["deep/4.png"]
    with pytest.raises(InputError, match="'near'"):
        collection.search(query, where={"shop": {"near": 1}})


def test_the_original_is_available_while_it_is_unchanged(collection, pictures):
    data = (pictures / "1.png").read_bytes()
    with collection.original("1.png") as file:
        assert file.read() == data
    (pictures / "1.png").write_bytes(data[:-1] + b"x")
    assert collection.original("1.png") is None
    collection.put("p", data)
    assert collection.original("p") is None
    with pytest.raises(UnknownImageError):
        collection.original("none")


def test_names_in_either_unicode_form(collection):
    """A stored name is found in every form; if both forms are stored, each is itself."""
    composed, decomposed = "Caf\u00e9 M\u00fc.png", "Cafe\u0301 Mu\u0308.png"
    for stored, typed in ((composed, decomposed), (decomposed, composed)):
        collection.put(stored, png(textured_image(9)), metadata={"name": stored})
        assert collection.resolve(typed) == stored
        assert collection.get(typed).id == stored
        assert collection.thumbnail(typed) == collection.thumbnail(stored)
        assert collection.stored_pixels(typed).shape == collection.stored_pixels(stored).shape
        result = collection.search(id=typed, k=9)
        assert result.hits
        assert stored not in result.ids  # the query image is excluded
        explanation = collection.explain(png(textured_image(9)), typed)
        assert explanation.id == stored
        assert [record.id for record in collection.images(contains=typed[:5])] == [stored]
        assert [record.id for record in collection.images(where={"name": typed})] == [stored]
        assert collection.remove(typed) == 1
        with pytest.raises(UnknownImageError):
            collection.get(typed)
    collection.put(composed, png(textured_image(9)))
    collection.put(decomposed, png(textured_image(3)))
    assert collection.get(composed).sha256 != collection.get(decomposed).sha256
    assert collection.remove(decomposed) == 1
    assert collection.get(composed).id == composed


def test_removals_in_either_unicode_form(collection, pictures):
    (pictures / "\u00fc.png").write_bytes(png(textured_image(9)))
    collection.add(pictures)
    assert collection.remove("u\u0308.png") == 1
    assert [removal.id for removal in collection.removals()] == ["\u00fc.png"]
    assert collection.forget_removals(["u\u0308.png"]) == 1
    assert collection.add(pictures).added == 1
