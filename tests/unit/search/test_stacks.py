"""Versions of one picture count as one image, and are one hit, in both modes and with filters."""

import io
from contextlib import closing

import pytest
from make_collection import picture
from PIL import Image, ImageEnhance

import imagefinder
from imagefinder.core.file_metadata import FileMetadata
from imagefinder.core.results import Hit
from imagefinder.search.stacks import best_of_stacks, distinct, with_stacks
from imagefinder.stores.memory import MemoryStore
from imagefinder.testing.stores.samples import entry, register

STACKS = {"a": "1", "b": "1", "c": "2", "d": "", "e": "1", "f": "2", "g": ""}


@pytest.fixture
def store():
    made = MemoryStore()
    register(made)
    made.put(
        [
            entry(i, n, methods=[], file_metadata=FileMetadata({}, "1", s))
            for n, (i, s) in enumerate(STACKS.items())
        ]
    )
    return made


def ranked(order):
    return lambda many: list(order)[:many]


@pytest.mark.parametrize(
    ("order", "k", "query", "expected"),
    [
        ("abcdefg", 10, "", ["a", "c", "d", "g"]),
        ("abcdefg", 2, "", ["a", "c"]),
        ("ebafcgd", 1, "", ["e"]),
        ("baefcgd", 2, "", ["b", "f"]),
        ("abcdefg", 2, "b", ["c", "d"]),
        ("abcdefg", 3, "d", ["a", "c", "d"]),  # the search itself leaves out the query
        ("", 3, "", []),
    ],
)
def test_the_best_image_of_each_stack_stays(store, order, k, query, expected):
    assert best_of_stacks(store, ranked(order), k, query) == expected


def test_hits_name_the_other_images_of_their_stack(store):
    hits = with_stacks(store, [Hit(1, "b", 1.0), Hit(2, "d", 0.5), Hit(3, "gone", 0.1)])
    assert [hit.stack for hit in hits] == [("a", "e"), (), ()]
    assert with_stacks(store, []) == ()


def test_distinct(store):
    assert distinct(list(STACKS), store.stacks(list(STACKS))) == store.count(stacks=True) == 4
    assert distinct([], {}) == 0
    assert distinct(["x", "y"], {}) == 2


def edited(data):
    buffer = io.BytesIO()
    ImageEnhance.Brightness(Image.open(io.BytesIO(data))).enhance(0.9).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Two versions of each of three pictures, of which one is named as such, and ten other pictures."""
    settings = imagefinder.Settings(sift_max_keypoints=60)
    with closing(imagefinder.open(tmp_path_factory.mktemp("c") / "c", settings=settings)) as made:
        sift = made.method("sift")
        made.store.register(sift.extractor.fingerprint(), sift.extractor.spec)
        for number in range(3):
            made.put(f"IMG_{number}.png", picture(number), metadata={"n": number})
            made.put(f"IMG_{number}-edited.png", edited(picture(number)), metadata={"n": number})
        for number in range(10, 20):
            made.put(f"other {number}.png", picture(number), metadata={"n": number})
        made.calibrate()
        yield made


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("ranking", ["evidence", "matches"])
def test_one_hit_for_each_picture(collection, mode, ranking):
    def search(**options):
        wanted = imagefinder.SearchOptions("sift", k=4, ranking=ranking, mode=mode, **options)
        return collection.search(imagefinder.Query(picture(1)), wanted)

    one, both = search(), search(stacks=False)
    assert (one.hits[0].id, one.hits[0].stack) == ("IMG_1.png", ("IMG_1-edited.png",))
    assert len({hit.id.partition("-")[0].partition(".")[0] for hit in one.hits}) == len(one.hits) == 4
    assert {hit.id for hit in both.hits[:2]} == {"IMG_1.png", "IMG_1-edited.png"}
    assert all(hit.stack == () for hit in both.hits)
    assert (one.searched, both.searched) == (13, 16)
    assert search(where={"n": {"lt": 12}}).searched == 5
    assert search(where={"n": {"lt": 12}}, stacks=False).searched == 8


def test_evalues_count_pictures(collection):
    """The largest E-value is the number of pictures; all others are in proportion to it."""
    wanted = imagefinder.SearchOptions("sift", k=16)
    one = {hit.id: hit.evalue for hit in collection.search(imagefinder.Query(picture(1)), wanted).hits}
    every = imagefinder.SearchOptions("sift", k=16, stacks=False)
    both = {hit.id: hit.evalue for hit in collection.search(imagefinder.Query(picture(1)), every).hits}
    assert max(one.values()) == pytest.approx(13)
    assert max(both.values()) == pytest.approx(16)
    assert all(one[i] <= both[i] for i in one)


def test_the_stack_of_a_stored_query_is_left_out(collection):
    result = collection.search(id="IMG_1.png", method="sift", k=16)
    assert not {"IMG_1.png", "IMG_1-edited.png"} & {hit.id for hit in result.hits}
    every = imagefinder.SearchOptions("sift", k=16, stacks=False)
    assert collection.search(imagefinder.Query(id="IMG_1.png"), every).hits[0].id == "IMG_1-edited.png"


def test_an_explanation_has_the_evalue_of_its_search(collection):
    trace = collection.trace(imagefinder.Query(picture(1)), imagefinder.SearchOptions("sift"))
    hit = trace.result.hits[0]
    assert collection.explain(picture(1), hit.id, method="sift").evalue == pytest.approx(hit.evalue)


def test_the_setting_switches_stacks_off(collection):
    settings = imagefinder.Settings(sift_max_keypoints=60, stacks=False)
    with closing(imagefinder.open(collection.info().location, create=False, settings=settings)) as other:
        result = other.search(picture(1), method="sift", k=2)
        assert (result.searched, len(result.hits)) == (16, 2)
