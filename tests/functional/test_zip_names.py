"""Adds archives with names in several encodings through the command line."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from command import answer, run

IMAGES = Path(__file__).parents[2] / "examples" / "pictures"
DATA = [(IMAGES / name).read_bytes() for name in ("cat.jpg", "coins.jpg", "clock.jpg")]


def make(path: Path, *raws: bytes) -> Path:
    """A zip archive whose members have these names, without the flag for UTF-8."""
    placeholders = [b"%d" % number * len(raw) for number, raw in enumerate(raws)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in zip(placeholders, DATA, strict=False):
            archive.writestr(name.decode(), data)
    whole = packed.getvalue()
    for placeholder, raw in zip(placeholders, raws, strict=True):
        assert whole.count(placeholder) == 2  # in the local header and in the directory
        whole = whole.replace(placeholder, raw)
    path.write_bytes(whole)
    return path


def ids(folder: Path) -> set[str]:
    return {image["id"] for image in answer("-c", folder, "list")}


def test_each_name_in_its_encoding(tmp_path: Path) -> None:
    raws = ["Größe/Übung.jpg".encode(), "Straße/Öl, zweites.jpg".encode("cp437"), b"plain/third name.jpg"]
    answer("-c", tmp_path / "c", "add", make(tmp_path / "a.zip", *raws), "-m", "sift")
    assert ids(tmp_path / "c") == {"Größe/Übung.jpg", "Straße/Öl, zweites.jpg", "plain/third name.jpg"}


@pytest.mark.parametrize("by_setting", [False, True])
def test_an_encoding_by_option_and_by_setting(tmp_path: Path, by_setting: bool) -> None:
    archive = make(tmp_path / "a.zip", "表示/写真ひとつ.jpg".encode("cp932"))
    options = [] if by_setting else ["--zip-encoding", "cp932"]
    environment = {"IMAGEFINDER_ZIP_ENCODING": "cp932"} if by_setting else {}
    answer("-c", tmp_path / "c", "add", archive, "-m", "sift", *options, environment=environment)
    assert ids(tmp_path / "c") == {"表示/写真ひとつ.jpg"}


def test_an_unknown_encoding(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", b"a long name.jpg")
    done = run("-c", tmp_path / "c", "add", archive, "--zip-encoding", "cp93")
    assert done.returncode == 2
    assert "unknown encoding 'cp93'" in done.stderr
    assert not (tmp_path / "c").exists()


def test_tar_names_do_not_depend_on_the_locale(tmp_path: Path) -> None:
    names = ["Größe/Übung.jpg", "caf\udce9.jpg", "long " * 30 + "ü.png"]  # the second is not valid UTF-8
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form, encoding="utf-8") as archive:
            for name, data in zip(names, DATA, strict=True):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        for number, locale in enumerate(({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})):
            folder = tmp_path / f"c{form}{number}"
            answer("-c", folder, "add", tmp_path / "a.tar", "-m", "sift", environment=locale)
            assert ids(folder) == {"Größe/Übung.jpg", "caf\\xe9.jpg", names[2]}
