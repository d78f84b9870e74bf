"""Archives: reading of members, odd member names, and damaged archives."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefinder.core.errors import ImageTooLargeError, SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.discover import discover
from imagefinder.indexing.source_item import SourceEnd, SourceItem, file_uri, local_path

MEMBERS = {"a.jpg": b"first", "sub/b.PNG": b"second" * 1000, "readme.txt": b"text", "sub/deep/c.webp": b""}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tar_bytes(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1000
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def make(folder: Path, ending: str, members: dict[str, bytes]) -> Path:
    path = folder / f"pics{ending}"
    if ending == ".zip":
        return make_zip(path, members)
    path.write_bytes(PACK[ending](tar_bytes(members)))
    return path


def found(path: Path) -> list[SourceItem]:
    return [item for item in discover([path]) if isinstance(item, SourceItem)]


def failed(path: Path) -> list[Failure]:
    return [item for item in discover([path]) if isinstance(item, Failure)]


def end(path: Path) -> SourceEnd:
    (only,) = [item for item in discover([path]) if isinstance(item, SourceEnd)]
    return only


def read(candidate: SourceItem, limit: int = 10**6) -> bytes:
    assert candidate.read is not None
    return candidate.read(limit)


EVERY = pytest.mark.parametrize("ending", [".zip", *PACK])


@EVERY
def test_members_are_found_and_read(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path, ending, MEMBERS)
    candidates = found(path)
    assert {c.id: read(c) for c in candidates} == {k: v for k, v in MEMBERS.items() if k != "readme.txt"}
    assert [c.id for c in candidates] == ["a.jpg", "sub/b.PNG", "sub/deep/c.webp"]
    assert candidates[1].uri == f"archive:{path.as_uri()}!/sub/b.PNG"
    assert local_path(candidates[1].uri) == str(path)
    assert {c.source for c in candidates} == {path.as_uri()}
    assert {c.in_order for c in candidates} == {ending != ".zip"}
    assert end(path) == SourceEnd(file_uri(path), complete=True, images=3, skipped=1)
    assert list(tmp_path.iterdir()) == [path]


@EVERY
def test_any_order_of_reading_gives_the_same(tmp_path: Path, ending: str) -> None:
    members = {f"{n}.jpg": random.Random(n).randbytes(3000 * n) for n in range(8)}
    candidates = found(make(tmp_path, ending, members))
    random.Random(0).shuffle(candidates)
    assert {c.id: read(c) for c in candidates} == members


@EVERY
def test_stamps_change_with_the_bytes(tmp_path: Path, ending: str) -> None:
    before = found(make(tmp_path, ending, {"a.jpg": b"one"}))[0].stamp
    again = found(make(tmp_path, ending, {"a.jpg": b"one"}))[0].stamp
    after = found(make(tmp_path, ending, {"a.jpg": b"three"}))[0].stamp
    assert before == again != after


@EVERY
def test_names_cannot_lead_out(tmp_path: Path, ending: str) -> None:
    members = {"/etc/a.jpg": b"1", "../../b.jpg": b"2", "./c.jpg": b"3", "x/../d.jpg": b"4", "//e//f.jpg": b"5"}
    candidates = found(make(tmp_path, ending, members))
    assert [c.id for c in candidates] == ["etc/a.jpg", "b.jpg", "c.jpg", "d.jpg", "e/f.jpg"]
    assert [read(c) for c in candidates] == list(members.values())


@EVERY
def test_hidden_members_are_passed_over(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path, ending, {"__MACOSX/._a.jpg": b"", ".x/a.jpg": b"", "@eaDir/a.jpg": b"", "a.jpg": b""})
    assert [c.id for c in found(path)] == ["a.jpg"]


@EVERY
def test_a_name_that_comes_twice(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path, ending, {"a.jpg": b"first", "./a.jpg": b"second"})
    assert [read(c) for c in found(path)] == [b"first"]
    (failure,) = failed(path)
    assert failure.id == failure.uri != "a.jpg"  # the id belongs to the first
    assert "that of an earlier member of pics" in failure.message
    assert end(path).complete


@EVERY
def test_a_member_over_the_limit(tmp_path: Path, ending: str) -> None:
    (candidate,) = found(make(tmp_path, ending, {"big.jpg": bytes(5_000_000)}))
    tracemalloc.start()
    with pytest.raises(ImageTooLargeError, match=r"big\.jpg in pics.*5,000,000 bytes.* 1,000 "):
        read(candidate, 1000)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@EVERY
def test_not_an_archive(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    for data in (b"", b"hello", bytes(range(256)) * 10):
        path.write_bytes(data)
        with pytest.raises(SourceError, match="cannot be read as an archive"):
            discover([path])


@EVERY
def test_an_empty_archive(tmp_path: Path, ending: str) -> None:
    path = make(tmp_path, ending, {})
    assert list(discover([path])) == [SourceEnd(file_uri(path), complete=True, images=0, skipped=0)]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("part", [0.35, 0.5, 0.77, 0.95])
def test_a_tar_cut_short_says_so(tmp_path: Path, ending: str, part: float) -> None:
    members = {f"{n:02}.jpg": random.Random(n).randbytes(40_000) for n in range(20)}
    whole = PACK[ending](tar_bytes(members))
    path = tmp_path / f"cut{ending}"
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        items = list(discover([path]))
    except SourceError:
        return  # not even its first member could be unpacked
    assert isinstance(items[-1], SourceEnd)
    assert not items[-1].complete
    assert isinstance(items[-2], Failure)
    assert "damaged or truncated" in items[-2].message
    for item in items[:-2]:
        assert isinstance(item, SourceItem)
        try:
            assert read(item) == members[item.id]
        except SourceError as error:
            assert "cannot be unpacked" in error.message  # noqa: PT017


@pytest.mark.parametrize("cut", [512 * 3, 512 * 4 + 100])
def test_a_tar_cut_between_members_is_not_complete(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"})[: cut - cut % 512])
    assert not end(path).complete


def test_a_damaged_header_inside_a_tar_is_not_the_end(tmp_path: Path) -> None:
    data = bytearray(tar_bytes({"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"}))
    data[1024 + 10] ^= 0xFF
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    assert [c.id for c in found(path)] == ["a.jpg"]
    assert not end(path).complete


def test_links_and_devices_in_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [
            ("l.jpg", tarfile.SYMTYPE),
            ("h.jpg", tarfile.LNKTYPE),
            ("d.jpg", tarfile.CHRTYPE),
            ("f.jpg", tarfile.FIFOTYPE),
            ("folder.jpg", tarfile.DIRTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert list(discover([path])) == [SourceEnd(file_uri(path), complete=True, images=0, skipped=4)]


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("l.jpg")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
        archive.mkdir("folder.jpg")
    assert list(discover([path])) == [SourceEnd(file_uri(path), complete=True, images=0, skipped=1)]


def test_a_member_that_is_encrypted(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"data"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.jpg in x\.zip is encrypted"):
        read(found(path)[0])


def test_a_member_that_is_damaged(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": random.Random(1).randbytes(5000), "b.jpg": b"good"})
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    bad, good = found(path)
    with pytest.raises(SourceError, match=r"a\.jpg in x\.zip cannot be unpacked"):
        read(bad)
    assert read(good) == b"good"


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(50_000_000)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 100)
    path.write_bytes(data)
    (candidate,) = found(path)
    tracemalloc.start()
    with pytest.raises(SourceError, match="unpacked"):
        read(candidate, 1000)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_an_unsupported_compression(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.jpg": b"data" * 100})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + offset, 97)
    path.write_bytes(data)
    with pytest.raises(SourceError, match="unpacked"):
        read(found(path)[0])


def test_names_in_a_tar_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({os.fsdecode(b"caf\xe9.jpg"): b"latin-1"}))
    (candidate,) = found(path)
    assert candidate.id == "caf\\xe9.jpg"
    assert candidate.uri.endswith("!/caf%E9.jpg")
    assert read(candidate) == b"latin-1"


def test_a_tar_that_changed_meanwhile(tmp_path: Path) -> None:
    path = make(tmp_path, ".tar", {"a.jpg": b"1", "b.jpg": b"2"})
    candidates = found(path)
    make(tmp_path, ".tar", {"a.jpg": b"1"})
    with pytest.raises(SourceError, match="the archive has changed"):
        read(candidates[1])


def test_archives_inside_folders_are_not_opened(tmp_path: Path) -> None:
    make_zip(tmp_path / "x.zip", {"a.jpg": b""})
    assert list(discover([tmp_path])) == [SourceEnd(file_uri(tmp_path), complete=True, images=0, skipped=1)]


def test_a_name_that_is_wrongly_marked_as_utf_8(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"Größe.jpg": b"1"})
    path.write_bytes(path.read_bytes().replace("Größe".encode(), b"Gr\xf6\xdf__e"))
    with pytest.raises(SourceError, match=r"a name in it is marked as UTF-8 and is not .*Gr.xf6"):
        discover([path])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b'{"error": "not found"}', "JSON"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_another_file_under_the_name_of_an_archive(tmp_path: Path, data: bytes, kind: str, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=f"it is a file of another format \\({kind}\\)"):
        discover([path])
