import pytest

from imagefinder.core.records import SHORTLIST
from imagefinder.stores.embedded.derived import DerivedFiles


@pytest.fixture
def files(tmp_path):
    return DerivedFiles(tmp_path / "index")


def sound(_name, data):
    return data != b"bad"


def test_the_folder_is_made_with_the_first_file_and_nothing_is_left_beside_it(files):
    assert files.read("a.json") is None
    assert not files.folder.exists()
    files.write("a.json", b"one")
    files.write("a.json", b"two")
    assert files.read("a.json").data == b"two"
    assert [path.name for path in files.folder.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made_costs_nothing(files):
    files.folder.write_bytes(b"a file")
    files.write("a.json", b"one")
    assert files.read("a.json") is None
    assert files.folder.read_bytes() == b"a file"
    (damage,) = files.check(sound, set(), repair=True)
    assert damage.repaired
    assert not files.folder.exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "A"])
def test_names_lead_nowhere_else(files, name):
    with pytest.raises(ValueError, match="plain word"):
        files.write(name, b"")


def test_a_repair_keeps_valid_files_and_indexes_of_methods(files):
    files.write("good", b"good")
    files.write("bad", b"bad")
    for method in ("sift", "gone"):
        (files.folder / f"{SHORTLIST}{method}").mkdir()
    (files.folder / "link").symlink_to(files.folder)
    (files.folder / f"{SHORTLIST}beit").write_bytes(b"a file where a folder belongs")
    found = {
        damage.message.split("/")[-1].split()[0] for damage in files.check(sound, {"sift", "beit"}, repair=False)
    }
    assert found == {"bad", "link", f"{SHORTLIST}gone", f"{SHORTLIST}beit"}
    assert len(files.check(sound, {"sift", "beit"}, repair=True)) == 4
    assert sorted(path.name for path in files.folder.iterdir()) == ["good", f"{SHORTLIST}sift"]
    assert files.check(sound, {"sift"}, repair=False) == []
