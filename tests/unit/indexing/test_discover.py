"""Discovery in folders, single files and URLs: which images, which ids, which order."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagefinder.core.errors import ImageTooLargeError, SourceError
from imagefinder.core.image_formats import IMAGE_SUFFIXES
from imagefinder.core.records import Failure
from imagefinder.indexing.discover import Source, discover, source_uris
from imagefinder.indexing.source_item import (
    SourceEnd,
    SourceItem,
    file_uri,
    is_image_name,
    local_path,
    read_file,
)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def found(*sources: Source) -> list[SourceItem]:
    return [item for item in discover(sources) if isinstance(item, SourceItem)]


def failed(*sources: Source) -> list[Failure]:
    return [item for item in discover(sources) if isinstance(item, Failure)]


def ids(*sources: Source) -> list[str]:
    return [candidate.id for candidate in found(*sources)]


def ends(*sources: Source) -> list[SourceEnd]:
    return [item for item in discover(sources) if isinstance(item, SourceEnd)]


def test_a_folder_in_order_without_hidden_files(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("b.JPG", "a/2.png", "a/10.png", "a.webp", "z/deep/er/x.HeIc", "notes.txt", "Thumbs.db", "noending"),
        *(".hidden.jpg", ".git/x.jpg", "__MACOSX/x.jpg", "a/@eaDir/x.jpg", ".DS_Store"),
    )
    assert ids(tmp_path) == ["a/10.png", "a/2.png", "a.webp", "b.JPG", "z/deep/er/x.HeIc"]
    assert ends(tmp_path) == [SourceEnd(file_uri(tmp_path), complete=True, images=5, skipped=3)]
    first = found(tmp_path)[0]
    status = (tmp_path / "a/10.png").stat()
    assert first.uri == (tmp_path / "a/10.png").as_uri()
    assert first.source == tmp_path.as_uri()
    assert first.stamp == f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
    assert first.read is not None
    assert first.read(100) == b"a/10.png"
    assert not first.in_order


def test_the_same_folder_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "p/a.jpg")
    expected = found(tmp_path / "p")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("p", "p/", "./p/../p", "~/p", str(tmp_path / "p") + "/"):
        assert found(name) == expected
    (tmp_path / "link").symlink_to("p")
    assert ids("link") == ["a.jpg"]


def test_a_parent_gives_other_ids(tmp_path: Path) -> None:
    make(tmp_path, "2024/a.jpg", "2025/a.jpg")
    assert ids(tmp_path) == ["2024/a.jpg", "2025/a.jpg"]
    assert ids(tmp_path / "2024", tmp_path / "2025") == ["a.jpg", "a.jpg"]


def test_a_file_named_by_itself_is_always_tried(tmp_path: Path) -> None:
    make(tmp_path, "x/.odd name.dat")
    (candidate,) = found(tmp_path / "x" / ".odd name.dat")
    assert (candidate.id, candidate.source) == (".odd name.dat", "")
    assert candidate.uri == (tmp_path / "x/.odd name.dat").as_uri()
    assert ends(tmp_path / "x/.odd name.dat") == []


def test_a_url_is_its_own_id() -> None:
    url = "HTTPS://example.org/a b.jpg?size=2"
    assert list(discover([url])) == [SourceItem(url, url)]
    assert found(url)[0].read is None


@pytest.mark.parametrize("name", ["dataset.csv", "LIST.JSONL", "all.zip", "all.tar.gz"])
def test_lists_and_archives_on_servers_are_refused(name: str) -> None:
    with pytest.raises(SourceError, match=r"example\.org"):
        discover([f"http://example.org/{name}"])


def test_missing_sources_are_reported_before_anything_is_read(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    for missing in (tmp_path / "nothing", str(tmp_path / "a.jpg" / "b"), "bad\0name"):
        with pytest.raises(SourceError):
            discover([tmp_path, missing])
        with pytest.raises(SourceError):
            source_uris([missing])
    with pytest.raises(SourceError, match="nothing does not exist"):
        discover([tmp_path / "nothing"])


def test_a_pipe_is_neither_a_source_nor_an_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(SourceError, match=r"pipe\.jpg"):
        discover([tmp_path / "pipe.jpg"])
    assert ends(tmp_path) == [SourceEnd(file_uri(tmp_path), complete=True, images=0, skipped=1)]


def test_links(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jpg", "in/sub/b.jpg", "out/c.jpg", "out/deeper/d.jpg")
    inside = tmp_path / "in"
    (inside / "0-up").symlink_to(tmp_path / "in")  # a loop
    (inside / "1-sub").symlink_to("sub")  # inside: has its id already
    (inside / "2-out").symlink_to(tmp_path / "out")  # outside: followed ...
    (inside / "3-out-again").symlink_to(tmp_path / "out")  # ... once
    (inside / "4-everything").symlink_to(tmp_path)  # leads back in
    (inside / "file.jpg").symlink_to(tmp_path / "out/c.jpg")
    (tmp_path / "out/deeper/back").symlink_to(inside)
    assert ids(inside) == ["2-out/c.jpg", "2-out/deeper/d.jpg", "a.jpg", "file.jpg", "sub/b.jpg"]


def test_links_that_lead_nowhere_are_failures_but_not_the_end(tmp_path: Path) -> None:
    make(tmp_path, "z.jpg")
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "self").symlink_to("self")
    assert ids(tmp_path) == ["z.jpg"]
    assert [(f.id, f.code, f.source) for f in failed(tmp_path)] == [
        ("gone.jpg", "invalid_source", tmp_path.as_uri()),
        ("self.png", "invalid_source", tmp_path.as_uri()),
    ]
    assert ends(tmp_path)[0].complete


def test_an_unreadable_folder_makes_the_source_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jpg", "locked/b.jpg", "z.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert ids(tmp_path) == ["a.jpg", "z.jpg"]
    (failure,) = failed(tmp_path)
    assert (failure.id, failure.source) == ("locked/", tmp_path.as_uri())
    assert "Permission denied" in failure.message
    assert not ends(tmp_path)[0].complete
    with pytest.raises(SourceError, match="Permission denied"):
        discover([tmp_path / "locked"])


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"latin-1")
    make(tmp_path, "caf\u00e9.jpg", "plain.jpg")
    candidates = {candidate.id: candidate for candidate in found(tmp_path)}
    assert set(candidates) == {"caf\\xe9.jpg", "caf\u00e9.jpg", "plain.jpg"}
    odd = candidates["caf\\xe9.jpg"]
    odd.id.encode()
    assert odd.uri.endswith("/caf%E9.jpg")
    path = local_path(odd.uri)
    assert path is not None
    assert os.fsencode(path) == raw
    assert read_file(path, 100) == b"latin-1"
    assert ids(os.fsdecode(raw)) == ["caf\\xe9.jpg"]


def test_two_names_that_would_give_one_id(tmp_path: Path) -> None:
    make(tmp_path, "caf\\xe9.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"")
    assert ids(tmp_path) == ["caf\\xe9.jpg"]
    assert [f.id for f in failed(tmp_path)] == [failed(tmp_path)[0].uri]
    assert "another file" in failed(tmp_path)[0].message


def test_reading_keeps_the_limit(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (candidate,) = found(tmp_path)
    assert candidate.read is not None
    assert candidate.read(5) == b"a.jpg"
    with pytest.raises(ImageTooLargeError, match=r"a\.jpg has 5 bytes.* 4 ") as caught:
        candidate.read(4)
    assert caught.value.limit == 4
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(SourceError, match=r"a\.jpg cannot be read"):
        candidate.read(5)


def test_source_uris_are_those_of_the_candidates(tmp_path: Path) -> None:
    make(tmp_path, "folder #1/a.jpg", "b.jpg")
    (tmp_path / "list.csv").write_text("url,id\nb.jpg,b\n")
    sources: Sequence[Source] = [
        tmp_path / "folder #1",
        "http://example.org/x",
        tmp_path / "b.jpg",
        tmp_path / "list.csv",
    ]
    assert source_uris(sources) == [(tmp_path / "folder #1").as_uri(), (tmp_path / "list.csv").as_uri()]
    assert [end.source for end in ends(*sources)] == source_uris(sources)
    assert {c.source for c in found(*sources)} == {*source_uris(sources), ""}


def test_nothing_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "1/a.jpg", "2/b.jpg")
    items = discover([tmp_path])
    opened = []
    scandir = os.scandir

    def note(path: str) -> object:
        opened.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", note)
    assert isinstance(next(items), SourceItem)
    assert opened == [tmp_path.name, "1"]


def test_every_ending_is_one_that_is_read() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    Image.init()
    known = {ending[1:] for ending in Image.registered_extensions()}
    # What Pillow does not know is read by us, or refused by name: tests/docs/test_formats.py has a file of each.
    ours = {"arw", "cr2", "cr3", "dng", "jxl", "nef", "nrw", "orf", "pef", "psb", "raf", "rw2"}
    assert known | ours >= IMAGE_SUFFIXES


def test_is_image_name() -> None:
    assert is_image_name("a.b.JPeG")
    assert not any(map(is_image_name, ["", ".jpg", "jpg", "a.jpg.txt", "a.jpg/"]))


@given(st.binary(min_size=1, max_size=30).filter(lambda raw: b"\0" not in raw and b"/" not in raw))
def test_a_uri_leads_back_to_the_bytes(raw: bytes) -> None:
    path = "/some where/" + os.fsdecode(raw + b"x")
    uri = file_uri(path)
    assert uri.isascii()
    assert " " not in uri
    assert local_path(uri) == path
    assert local_path(f"archive:{uri}!/member!/name") == path
    assert local_path("http://example.org/x") is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tar.zst", "Zstandard archive"),
        ("a.TZST", "Zstandard archive"),
        ("a.7z", "archive"),
        ("a.rar", "archive"),
        ("a.csv.gz", "compressed file"),
        ("a.xlsx", "spreadsheet"),
        ("a.parquet", "table"),
        ("a.json", "JSON"),
        ("urls.txt", "text file"),
    ],
)
def test_other_containers_are_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd anything")
    with pytest.raises(SourceError, match=kind) as error:
        discover([tmp_path / name])
    assert error.value.hint
    with pytest.raises(SourceError, match="only images can be added by URL"):
        discover([f"https://x.example/{name}"])
