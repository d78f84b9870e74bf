import pytest

from imagefinder.core.paging import iter_image_pages, iter_images
from imagefinder.core.records import Entry, ImageRecord
from imagefinder.stores.memory import MemoryStore


def record(image_id, source):
    return ImageRecord(image_id, "", "0" * 64, 1, 1, 1, "PNG", source)


@pytest.fixture
def store():
    store = MemoryStore()
    store.put([Entry(record(f"{n:02}", "odd" if n % 2 else "even"), {}) for n in range(10)])
    return store


@pytest.mark.parametrize("page_size", [1, 3, 5, 10, 1000])
def test_every_image_appears_once_in_order(store, page_size):
    assert [record.id for record in iter_images(store.images, page_size=page_size)] == [
        f"{n:02}" for n in range(10)
    ]


def test_all_pages_but_the_last_are_full(store):
    assert [len(page) for page in iter_image_pages(store.images, page_size=4)] == [4, 4, 2]
    assert list(iter_image_pages(MemoryStore().images)) == []


def test_conditions_are_passed_on(store):
    found = [record.id for record in iter_images(store.images, page_size=2, source="odd")]
    assert found == ["01", "03", "05", "07", "09"]


def test_a_page_may_be_deleted_before_the_next_is_read(store):
    for page in iter_image_pages(store.images, page_size=3):
        store.delete([record.id for record in page])
    assert store.info().images == 0
