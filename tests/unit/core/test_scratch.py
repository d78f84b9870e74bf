from imagefinder.core.scratch import Scratch


def test_the_folder_of_one_kind_of_files_is_deleted_alone(tmp_path):
    scratch = Scratch(tmp_path / "index")
    for name in ("one", "two"):
        scratch.folder(name).mkdir(parents=True)
        (scratch.folder(name) / "file").write_bytes(b"data")
    scratch.delete("one")
    scratch.delete("one")
    assert [path.name for path in scratch.root.iterdir()] == ["two"]
