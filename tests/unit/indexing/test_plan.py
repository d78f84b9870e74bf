"""What to do with an item, decided without a store or a file."""

from dataclasses import replace

import pytest

from imagefinder.core.errors import DamagedImageError, InputError
from imagefinder.core.records import Failure, ImageRecord, ImageStatus
from imagefinder.indexing.file_metadata import READER, Sidecars
from imagefinder.indexing.plan import ID_TAKEN, Task, failed, has_other_uri, plan
from imagefinder.indexing.source_item import SourceItem

FILE = SourceItem("a", "file:///s/a.png", "file:///s", stamp="10:1", read=lambda _: b"")
URL = SourceItem("a", "https://h/a.png", "file:///l.csv")
METHODS = ("sift", "beit")


def status(item=FILE, *, methods=METHODS, sha256="1", stamp=None):
    return ImageStatus(sha256, item.stamp if stamp is None else stamp, item.uri, frozenset(methods), READER)


def owner(uri="file:///other/a.png", source="file:///other"):
    return ImageRecord("a", uri, "1", 1, 1, 1, "PNG", source)


def test_a_new_item_needs_every_method():
    task = plan(FILE, None, None, METHODS)
    assert isinstance(task, Task)
    assert task.missing == METHODS
    assert task.needs_pixels("1")
    assert task.extracts("sift", "1")


@pytest.mark.parametrize("item", [FILE, URL])
def test_an_unchanged_item_needs_nothing(item):
    assert plan(item, status(item), None, METHODS) is None


def test_a_file_whose_sidecar_files_have_changed_is_read_but_not_decoded():
    changed = plan(FILE, status(), None, METHODS, sidecars=Sidecars("1|a.xmp:5"))
    of_earlier_version = plan(FILE, replace(status(), file_stamp=""), None, METHODS)
    for task in (changed, of_earlier_version):
        assert isinstance(task, Task)
        assert task.is_refresh
        assert not task.needs_pixels("1")
    assert plan(URL, replace(status(URL), file_stamp=""), None, METHODS) is None  # it is not downloaded for that


@pytest.mark.parametrize("stamp", ["10:2", ""])
def test_a_file_of_another_time_is_read_and_extracted_only_if_its_bytes_differ(stamp):
    task = plan(FILE, status(stamp=stamp), None, METHODS)
    assert isinstance(task, Task)
    assert not task.needs_pixels("1")
    assert task.needs_pixels("2")
    assert task.extracts("sift", "2")
    assert not task.extracts("sift", "1")


def test_a_further_method_alone_is_extracted_from_the_same_bytes():
    task = plan(FILE, status(methods=["sift"]), None, METHODS)
    assert isinstance(task, Task)
    assert task.missing == ("beit",)
    assert task.needs_pixels("1")
    assert (task.extracts("sift", "1"), task.extracts("beit", "1")) == (False, True)
    assert task.extracts("sift", "2")


def test_the_id_of_another_source_is_read_but_never_extracted_from_other_bytes():
    stored = status(SourceItem("a", "file:///other/a.png", "file:///other", stamp="10:1"))
    assert has_other_uri(FILE, stored)
    task = plan(FILE, stored, owner(), METHODS)
    assert isinstance(task, Task)
    assert not task.needs_pixels("1")
    assert not task.needs_pixels("2")


def test_a_url_whose_id_is_taken_is_not_downloaded():
    failure = plan(URL, status(FILE), owner(), METHODS)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.id, failure.uri, failure.source) == (ID_TAKEN, "a", URL.uri, URL.source)
    assert "file:///other/a.png" in failure.message
    assert isinstance(plan(URL, status(FILE), owner(uri=""), METHODS), Task)  # uploaded: no URI


def test_failures_carry_the_code_of_their_error():
    assert failed(FILE, DamagedImageError("broken")).code == DamagedImageError.code
    failure = failed(FILE, ZeroDivisionError("by zero"))
    assert (failure.code, failure.message, failure.source) == ("error", "ZeroDivisionError: by zero", FILE.source)


def test_an_id_that_is_too_long_is_rejected_unless_there_is_nothing_to_do():
    item = replace(FILE, id="x" * 1025)
    rejected = plan(item, None, None, METHODS)
    assert isinstance(rejected, Failure)
    assert (rejected.id, rejected.uri, rejected.source) == (item.id, item.uri, item.source)
    assert rejected.code == InputError.code
    assert "1,025 bytes; the limit is 1,024" in rejected.message
    assert plan(item, status(item), None, METHODS) is None  # stored by an earlier version
    assert isinstance(plan(item, status(item, stamp="10:2"), None, METHODS), Failure)
    assert isinstance(plan(replace(item, id="x" * 1024), None, None, METHODS), Task)
