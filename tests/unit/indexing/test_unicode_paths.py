import unicodedata
from pathlib import Path

import pytest
from indexing_world import World, png, write

from imagefinder.core.errors import SourceError
from imagefinder.indexing.unicode_paths import existing_path

COMPOSED = "Caf\u00e9/M\u00fcller.png"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


@pytest.mark.parametrize(("stored", "typed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_path_in_the_other_form(
    tmp_path: Path, stored: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / stored, b"x")
    assert existing_path(str(tmp_path / typed)) == str(file)
    assert existing_path(str(file)) == str(file)
    assert existing_path(str(tmp_path / typed) + "x") == str(tmp_path / typed) + "x"
    monkeypatch.chdir(tmp_path)
    assert existing_path(typed) == stored
    assert existing_path(f"./{typed}") == f"./{stored}"


def test_two_files_of_equivalent_names_stay_distinct(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9\u00fc.png", unicodedata.normalize("NFD", "\u00e9\u00fc.png")
    write(tmp_path / composed, b"1")
    write(tmp_path / decomposed, b"2")
    for name in (composed, decomposed):
        assert existing_path(str(tmp_path / name)) == str(tmp_path / name)
    ambiguous = str(tmp_path / "\u00e9u\u0308.png")
    assert existing_path(ambiguous) == ambiguous


def test_lists_and_sources_in_the_other_form(world: World, tmp_path: Path) -> None:
    """And in a list beside the files, as a program on another system wrote it."""
    write(tmp_path / DECOMPOSED, png(5))
    (tmp_path / "list.csv").write_text(f"url,id\n{COMPOSED},1\n", encoding="utf-8")
    assert world.add(tmp_path / "list.csv").added == 1
    assert world.add(tmp_path / COMPOSED).added == 1
    assert world.ids() == ["1", DECOMPOSED.split("/")[1]]
    with pytest.raises(SourceError, match="does not exist"):
        world.add(tmp_path / "Cafe")


def test_both_forms_in_one_folder_are_two_images(world: World, tmp_path: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        write(tmp_path / "f" / unicodedata.normalize(form, "\u00fc.png"), png(number))
    assert world.add(tmp_path / "f").added == 2
    assert world.add(tmp_path / "f").unchanged == 2
