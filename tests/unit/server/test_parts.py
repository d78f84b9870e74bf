from __future__ import annotations

from pathlib import Path

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.server.jobs.folders import FolderJobs
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.parts import check_shared, make_parts

DATABASE = "postgresql://ann:s3cret@db.example/imagefinder"


def test_without_a_database_everything_is_in_folders(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state", collections=tmp_path / "collections")  # type: ignore[arg-type]
    parts = make_parts(settings)
    kinds = (FolderCatalogue, FolderKeys, FolderJobs)
    assert all(map(isinstance, (parts.catalogue, parts.keys, parts.jobs), kinds))
    assert (parts.tokens, parts.searches) == (None, None)
    assert parts.list_path("shop").is_relative_to(tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
    parts.close()


def test_a_database_of_an_unknown_kind() -> None:
    with pytest.raises(SettingsError, match="unknown kind of database: mysql") as caught:
        make_parts(Settings(collections="mysql://ann:s3cret@db/x"))
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


def test_settings_that_servers_cannot_share(tmp_path: Path) -> None:
    check_shared(Settings())
    check_shared(Settings.load(environment={"IMAGEFINDER_COLLECTIONS": DATABASE}))
    with pytest.raises(
        SettingsError, match=r"in the database postgresql://\*\*\*@db\.example/imagefinder"
    ) as caught:
        check_shared(Settings(collections=DATABASE, collection=str(tmp_path)))
    assert "postgresql://***@db.example/imagefinder/NAME" in caught.value.hint
    with pytest.raises(SettingsError, match="needs a database"):
        check_shared(Settings(concurrent_jobs=0))
    check_shared(
        Settings.load(environment={"IMAGEFINDER_COLLECTIONS": DATABASE, "IMAGEFINDER_CONCURRENT_JOBS": "0"})
    )
