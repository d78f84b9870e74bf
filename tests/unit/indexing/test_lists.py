"""Lists of URLs, written by people and by programs."""

import json
from pathlib import Path

import pytest

from imagefinder.core.errors import SourceError
from imagefinder.core.records import Failure
from imagefinder.indexing.discover import discover
from imagefinder.indexing.guard import Guard
from imagefinder.indexing.source_item import SourceEnd, SourceItem

Item = SourceItem | Failure | SourceEnd


def items(path: Path, *, local_files: bool = True) -> list[Item]:
    return list(discover([path], guard=Guard(local_files=local_files)))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def failures(path: Path) -> dict[str, str]:
    return {item.id: item.message for item in items(path) if isinstance(item, Failure)}


def test_the_original_list(tmp_path: Path) -> None:
    path = write(tmp_path, "dataset.csv", "url,id\nhttps://example.org/a.jpg,1\nhttps://example.org/b.jpg,2\n")
    source = path.as_uri()
    assert items(path) == [
        SourceItem("1", "https://example.org/a.jpg", source),
        SourceItem("2", "https://example.org/b.jpg", source),
        SourceEnd(source, complete=True, images=2, skipped=0),
    ]
    assert all(item.read is None for item in items(path) if isinstance(item, SourceItem))


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, start: bytes, newline: str) -> None:
    rows = ["id, url ,title,rank", '7," http://h/x.jpg ","Katze, ""grau""",', "", "8,http://h/y.jpg,caf\u00e9"]
    first, second, end = items(write(tmp_path, "LIST.CSV", start + newline.join(rows).encode()))
    assert isinstance(first, SourceItem)
    assert isinstance(second, SourceItem)
    assert (first.id, first.uri) == ("7", "http://h/x.jpg")
    assert first.metadata == {"title": 'Katze, "grau"', "rank": ""}
    assert second.metadata == {"title": "caf\u00e9"}
    assert isinstance(end, SourceEnd)
    assert end.complete


def test_jsonl(tmp_path: Path) -> None:
    rows = [
        {"url": "http://h/1", "id": 1, "tags": ["a"], "size": 2.5, "x": None},
        {"id": "\u00fc", "url": "HTTP://h/2"},
    ]
    path = write(tmp_path, "l.jsonl", "\n\n".join(map(json.dumps, rows)) + "\n")
    assert items(path)[:2] == [
        SourceItem("1", "http://h/1", path.as_uri(), metadata={"tags": ["a"], "size": 2.5}),
        SourceItem("\u00fc", "HTTP://h/2", path.as_uri()),
    ]
    assert items(write(tmp_path, "empty.jsonl", ""))[0] == SourceEnd(
        (tmp_path / "empty.jsonl").as_uri(), complete=True, images=0, skipped=0
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no column url and no column id"),
        ("link,id\nhttp://h/x,1\n", "no column url;.* link, id"),
        ("url|id\nhttp://h/x|1\n", r"no column url and no column id;.* url\|id"),
        ("http://h/x,1\n", "no column url and no column id"),
        (b"url,id\nhttp://h/\xff,1\n", "is not UTF-8"),
        (b"url,id\n" + b"x" * 2_000_000, "1,048,576"),
    ],
)
def test_an_invalid_csv_is_rejected_immediately(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = write(tmp_path, "list.csv", content)
    with pytest.raises(SourceError, match=said) as caught:
        discover([path])
    assert "list.csv" in caught.value.message


def test_bad_rows_name_file_and_line_and_do_not_end_the_list(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "list.csv",
        "url,id,note\n"
        "http://h/1,1,\n"
        ",2,\n"
        "http://h/3,,\n"
        "http://h/4,1,again\n"
        "ftp://h/5,5,\n"
        "http://h/6,6,a,b\n"
        "http://h/7,7\n",
    )
    assert [item.id for item in items(path) if isinstance(item, SourceItem)] == ["1", "7"]
    assert failures(path) == {
        "2": "list.csv line 3: the url is empty",
        "list.csv line 4": "list.csv line 4: the id is empty",
        "list.csv line 5": "list.csv line 5: the id '1' was already used in line 2",
        "5": "list.csv line 6: 'ftp://h/5' is neither an http(s) URL nor a path",
        "6": "list.csv line 7: the row has more fields than the first line has columns",
    }
    assert {item.source for item in items(path)} == {path.as_uri()}


def test_only_a_row_without_its_id_makes_a_list_incomplete(tmp_path: Path) -> None:
    named = items(write(tmp_path, "a.csv", "url,id\n,1\nhttp://h/1,1\nftp://x,2\n"))[-1]
    without_id = items(write(tmp_path, "b.csv", "url,id\nhttp://h/1,\nhttp://h/2,2\n"))[-1]
    assert isinstance(named, SourceEnd)
    assert isinstance(without_id, SourceEnd)
    assert (named.complete, without_id.complete) == (True, False)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not a valid JSON object"),
        ("[1]", "not a valid JSON object"),
        ('{"url": "http://h", "id": "\\ud800"}', "not a valid JSON object"),
        ('{"url": "http://h", "id": "x", "v": 1e999}', "not a valid JSON object"),
        ('{"url": "http://h", "id": "x", "v": NaN}', "not a valid JSON object"),
        ("[" * 100_000, "not a valid JSON object"),
        ('{"url": "http://h"}', "the id is empty"),
        ('{"url": "http://h", "id": "  "}', "the id is empty"),
        ('{"url": "http://h", "id": true}', "the id is not text"),
        ('{"url": "http://h", "id": 1.5}', "the id is not text"),
        ('{"url": "http://h", "id": ["a"]}', "the id is not text"),
        ('{"url": 5, "id": "x"}', "the url is empty"),
        ('{"id": "x"}', "the url is empty"),
    ],
)
def test_bad_rows_of_jsonl(tmp_path: Path, row: str, said: str) -> None:
    path = write(tmp_path, "l.jsonl", f"\n{row}\n" + '{"url": "http://h/good", "id": "good"}')
    (message,) = failures(path).values()
    assert message == f"l.jsonl line 2: {said}"
    assert [item.id for item in items(path) if isinstance(item, SourceItem)] == ["good"]


@pytest.mark.parametrize("tail", [b"\xff\xfe", b'"never closed', b"x" * 2_000_000])
def test_damage_after_the_beginning_ends_the_list(tmp_path: Path, tail: bytes) -> None:
    rows = b"".join(b"http://h/%d,%d\n" % (n, n) for n in range(2000))
    path = write(tmp_path, "list.csv", b"url,id\n" + rows + tail)
    *found, failure, end = items(path)
    assert len(found) > 1000
    assert isinstance(failure, Failure)
    assert failure.id == "list.csv"
    assert "list.csv" in failure.message
    assert isinstance(end, SourceEnd)
    assert not end.complete


def test_local_files_beside_the_list(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    (folder / "pics").mkdir(parents=True)
    picture = write(folder / "pics", "a b.jpg", b"picture")
    path = write(
        folder, "l.csv", f"url,id,t\npics/a b.jpg,1,x\n{picture.as_uri()},2,\n./pics/../pics/a b.jpg,3,\n"
    )
    candidates = [item for item in items(path) if isinstance(item, SourceItem)]
    assert [c.id for c in candidates] == ["1", "2", "3"]
    assert {c.uri for c in candidates} == {picture.as_uri()}
    assert candidates[0].stamp.startswith(f"7:{picture.stat().st_mtime_ns}:")
    assert candidates[0].metadata == {"t": "x"}
    assert candidates[0].source == path.as_uri()
    assert candidates[0].read is not None
    assert candidates[0].read(10) == b"picture"


def test_local_files_can_be_disallowed(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", b"")
    path = write(tmp_path, "l.csv", f"url,id\na.jpg,1\n{(tmp_path / 'a.jpg').as_uri()},2\nhttp://h/x,3\n")
    given = items(path, local_files=False)
    assert [item.id for item in given if isinstance(item, SourceItem)] == ["3"]
    assert ["only URLs are allowed" in item.message for item in given if isinstance(item, Failure)] == [True, True]


@pytest.mark.parametrize(
    "url",
    [
        "../secret.jpg",
        "/etc/passwd",
        "file:///etc/passwd",
        "link.jpg",
        "link/secret.jpg",
        "..",
        ".",
        "../lists2/x.jpg",
    ],
)
def test_no_local_file_outside_the_folder(tmp_path: Path, url: str) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    write(tmp_path, "secret.jpg", b"secret")
    (tmp_path / "lists2").mkdir()
    write(tmp_path / "lists2", "x.jpg", b"secret")
    (folder / "link.jpg").symlink_to("../secret.jpg")
    (folder / "link").symlink_to("..")
    path = write(folder, "l.csv", f"url,id\n{url},1\n")
    (message,) = failures(path).values()
    assert message.startswith(f"l.csv line 2: {url!r} is not a path below the folder")


def test_missing_local_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = write(
        tmp_path, "l.jsonl", "".join(json.dumps({"url": u, "id": u}) + "\n" for u in ("no.jpg", "sub", "a\0b"))
    )
    assert failures(path) == {
        "no.jpg": "l.jsonl line 1: 'no.jpg' cannot be read: No such file or directory",
        "sub": "l.jsonl line 2: 'sub' is not a regular file",
        "a\0b": "l.jsonl line 3: 'a\\x00b' cannot be read: not a valid path",
    }


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".CSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_tables_as_other_programs_write_them(
    tmp_path: Path, ending: str, delimiter: str, encoding: str, newline: str
) -> None:
    rows = [["url", "id", "name"], ["http://x.example/1.jpg", "1", '"ä;b,c"'], ["http://x.example/2.jpg", "2", ""]]
    path = tmp_path / f"feed{ending}"
    path.write_bytes((newline.join(delimiter.join(row) for row in rows) + newline).encode(encoding))
    items = [item for item in discover([path]) if isinstance(item, SourceItem)]
    assert [(item.id, item.uri, item.metadata) for item in items] == [
        ("1", "http://x.example/1.jpg", {"name": "ä;b,c"}),
        ("2", "http://x.example/2.jpg", {"name": ""}),
    ]


def test_ndjson(tmp_path: Path) -> None:
    path = tmp_path / "feed.ndjson"
    path.write_text('{"url": "http://x.example/1.jpg", "id": "1"}\n\n{"url": "http://x.example/2.jpg", "id": 2}\n')
    assert [item.id for item in discover([path]) if isinstance(item, SourceItem)] == ["1", "2"]


def test_another_encoding_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes("url,id,name\nhttp://x.example/1.jpg,1,ä\n".encode("cp1252"))
    with pytest.raises(SourceError, match="not UTF-8") as error:
        list(discover([path]))
    assert "UTF-16" in error.value.hint


def test_rows_beyond_the_limits_fail_and_name_them(tmp_path: Path) -> None:
    rows = [
        {"url": "http://x/a.jpg", "id": "large", "note": "x" * 70_000},
        {"url": "http://x/b.jpg", "id": "many", "tags": list(range(5000))},
        {"url": "http://x/d.jpg", "id": "good", "note": "x"},
    ]
    path = write(tmp_path, "l.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = failures(path)
    assert list(found) == ["large", "many"]
    for message, limit in zip(found.values(), ("65,536 bytes", "4,096 values"), strict=True):
        assert limit in message
