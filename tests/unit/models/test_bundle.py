from __future__ import annotations

import hashlib
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagefinder.core.errors import ModelCorruptError, ModelError, ModelMissingError
from imagefinder.models.bundle import FORMAT, export_bundle, import_bundle
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.models.hub import ModelCache

CONTENT = {"known": random.Random(1).randbytes(300), "recorded": random.Random(2).randbytes(200)}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
KNOWN, RECORDED = (
    replace(
        MODELS["resnet50"],
        name=name,
        source=HubFile(f"owner/{name}", "f" * 40, "sub/model.safetensors"),
        sha256=SHA256[name] if name == "known" else "",
        size_bytes=len(content),
    )
    for name, content in CONTENT.items()
)
CATALOGUE = {"known": KNOWN, "recorded": RECORDED}


@pytest.fixture(autouse=True)
def _no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def filled(folder: Path) -> ModelCache:
    """A machine that has both models."""
    cache = ModelCache(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in CATALOGUE.items():
        file = folder / "arrived"
        file.write_bytes(CONTENT[name])
        cache.install(model, file, SHA256[name])
    return cache


def make_bundle() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "bundle.zip")
        export_bundle(filled(Path(folder, "models")), CATALOGUE.values(), target)
        return target.read_bytes()


BUNDLE = make_bundle()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def altered(
    manifest: Callable[[Any], Any] = lambda manifest: manifest,
    members: Callable[[dict[str, bytes]], dict[str, bytes]] = lambda members: members,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """The bundle rewritten, with another manifest or other members, and with checksums that fit."""
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as source:
        content = {name: source.read(name) for name in source.namelist()}
    content["manifest.json"] = json.dumps(manifest(json.loads(content["manifest.json"]))).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", compression) as target:
        for name, value in members(content).items():
            target.writestr(name, value)
    return output.getvalue()


def with_row(**changes: object) -> Callable[[Any], Any]:
    """Change the manifest's first model."""

    def change(manifest: Any) -> Any:
        manifest["models"][0].update(changes)
        return manifest

    return change


def refused(tmp_path: Path, content: bytes, kind: type[ModelError] = ModelCorruptError) -> ModelError:
    """Import it into an empty machine, which must stay empty."""
    path = tmp_path / "bundle.zip"
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        import_bundle(ModelCache(tmp_path / "models"), path, catalogue=CATALOGUE)
    assert tree(tmp_path) == {"bundle.zip": content}
    assert type(error.value) is kind
    assert str(path) in error.value.message
    return error.value


def test_round_trip(tmp_path: Path) -> None:
    bundle, steps = tmp_path / "bundle.zip", []
    total = sum(map(len, CONTENT.values()))

    export_bundle(
        filled(tmp_path / "there"), [KNOWN, RECORDED, KNOWN], bundle, lambda *step: steps.append(("export", *step))
    )
    here = ModelCache(tmp_path / "here")
    names = import_bundle(here, bundle, lambda *step: steps.append(("import", *step)), catalogue=CATALOGUE)

    assert names == ["known", "recorded"]
    for name, model in CATALOGUE.items():
        assert here.locate(model).read_bytes() == CONTENT[name]
        assert here.state(model).origin == "bundle"
        assert here.sha256(model) == SHA256[name]
    assert sorted(tree(tmp_path / "here")) == [
        "known/model.safetensors",
        "recorded/model.safetensors",
        "recorded/sha256.json",
    ]
    assert [step for step in steps if step[1] == step[2]] == [("export", total, total), ("import", total, total)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip", "here", "there"]


def test_equal_weights_give_equal_bundles() -> None:
    assert make_bundle() == BUNDLE


def test_any_zip_program_can_read_it() -> None:
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as bundle:
        assert bundle.testzip() is None
        assert bundle.read("recorded/model.safetensors") == CONTENT["recorded"]
        manifest = json.loads(bundle.read("manifest.json"))
    assert manifest["format"] == FORMAT
    assert manifest["models"][0] == {
        "name": "known",
        "file": "known/model.safetensors",
        "sha256": SHA256["known"],
        "size": 300,
        "licence": "BSD-3-Clause",
        "homepage": KNOWN.homepage,
        "source": {"repository": "owner/known", "revision": "f" * 40, "filename": "sub/model.safetensors"},
    }


def test_export_needs_the_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="known"):
        export_bundle(ModelCache(tmp_path / "models"), [KNOWN], tmp_path / "bundle.zip")
    with pytest.raises(ModelError, match="nothing"):
        export_bundle(ModelCache(tmp_path / "models"), [], tmp_path / "bundle.zip")
    assert tree(tmp_path) == {}


def test_export_refuses_damaged_weights(tmp_path: Path) -> None:
    cache = filled(tmp_path / "models")
    cache.locate(KNOWN).write_bytes(b"other")
    with pytest.raises(ModelCorruptError):
        export_bundle(cache, [KNOWN], tmp_path / "bundle.zip")
    assert not (tmp_path / "bundle.zip").exists()


def test_an_export_that_fails_leaves_the_old_bundle(tmp_path: Path) -> None:
    cache, bundle = filled(tmp_path / "models"), tmp_path / "bundle.zip"
    bundle.write_bytes(b"old")

    def interrupted(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_bundle(cache, [KNOWN], bundle, interrupted)
    assert bundle.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.zip", "models"]


@pytest.mark.parametrize("target", ["absent/bundle.zip", "models"])
def test_an_export_that_cannot_be_written_says_so(tmp_path: Path, target: str) -> None:
    with pytest.raises(ModelError, match=target):
        export_bundle(filled(tmp_path / "models"), [KNOWN], tmp_path / target)


def test_import_replaces_existing_weights(tmp_path: Path) -> None:
    cache = filled(tmp_path / "models")
    cache.locate(KNOWN).write_bytes(b"damage")
    (tmp_path / "bundle.zip").write_bytes(BUNDLE)
    import_bundle(cache, tmp_path / "bundle.zip", catalogue=CATALOGUE)
    assert cache.locate(KNOWN).read_bytes() == CONTENT["known"]


def test_an_interrupted_import_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(BUNDLE)

    def interrupted(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_bundle(ModelCache(tmp_path / "models"), tmp_path / "bundle.zip", interrupted, catalogue=CATALOGUE)
    assert tree(tmp_path / "models") == {}


def test_absent_and_unreadable_bundles(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.zip", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            import_bundle(ModelCache(tmp_path / "models"), path, catalogue=CATALOGUE)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    export_bundle(filled(tmp_path / "there"), [KNOWN], tmp_path / "bundle.zip")
    (tmp_path / "models").write_bytes(b"a file stands in the way")
    with pytest.raises(ModelError, match="cannot be imported into") as error:
        import_bundle(ModelCache(tmp_path / "models"), tmp_path / "bundle.zip", catalogue=CATALOGUE)
    assert "IMAGEFINDER_MODELS" in error.value.hint


@pytest.mark.parametrize("name", CONTENT)
def test_tampered_weights(tmp_path: Path, name: str) -> None:
    def tamper(members: dict[str, bytes]) -> dict[str, bytes]:
        return {**members, f"{name}/model.safetensors": CONTENT[name][::-1]}

    error = refused(tmp_path, altered(members=tamper))
    assert SHA256[name] in error.message
    assert hashlib.sha256(CONTENT[name][::-1]).hexdigest() in error.message


def test_tampered_weights_with_a_manifest_that_agrees(tmp_path: Path) -> None:
    other = CONTENT["known"][::-1]
    content = altered(
        with_row(sha256=hashlib.sha256(other).hexdigest()),
        lambda members: {**members, "known/model.safetensors": other},
    )
    assert SHA256["known"] in refused(tmp_path, content).message


def test_a_recorded_hash_is_compared_with_the_bundle(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "models")
    cache.save_sha256(RECORDED, "0" * 64)
    before = tree(tmp_path / "models")
    (tmp_path / "bundle.zip").write_bytes(BUNDLE)
    with pytest.raises(ModelCorruptError, match="0" * 64):
        import_bundle(cache, tmp_path / "bundle.zip", catalogue=CATALOGUE)
    assert tree(tmp_path / "models") == before


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../evil"},
        {"name": "/etc/evil"},
        {"name": "unheard-of"},
        {"name": None},
        {"name": ["known"]},
        {"source": {"repository": "owner/known", "revision": "e" * 40, "filename": "sub/model.safetensors"}},
        {"source": {"repository": "owner/known", "revision": "f" * 40, "filename": "../../../evil"}},
        {"source": None},
    ],
)
def test_a_manifest_of_other_models(tmp_path: Path, changes: dict[str, object]) -> None:
    refused(tmp_path, altered(with_row(**changes)), ModelError)


@pytest.mark.parametrize(
    "changes",
    [{"sha256": value} for value in ("", "x", None, 1, "0" * 64)]
    + [{"size": value} for value in (-1, 0, 299, 301, 10**30, True, None, "300")],
)
def test_a_manifest_that_lies(tmp_path: Path, changes: dict[str, object]) -> None:
    refused(tmp_path, altered(with_row(**changes)))


def test_file_paths_in_the_manifest_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(altered(with_row(file="../../evil")))
    import_bundle(ModelCache(tmp_path / "models"), path, catalogue=CATALOGUE)
    assert sorted(tree(tmp_path)) == [
        "bundle.zip",
        "models/known/model.safetensors",
        "models/recorded/model.safetensors",
        "models/recorded/sha256.json",
    ]


@pytest.mark.parametrize(
    "manifest",
    [None, [], {}, "text", {"kind": "imagefinder models"}]
    + [{"kind": "imagefinder models", "format": 1, "models": value} for value in (None, {}, [], [1], [None])]
    + [{"kind": "imagefinder models", "format": value, "models": []} for value in (None, "1", 1.0, True)],
)
def test_a_manifest_of_another_shape(tmp_path: Path, manifest: object) -> None:
    refused(tmp_path, altered(lambda _: manifest))


def test_a_newer_format(tmp_path: Path) -> None:
    error = refused(tmp_path, altered(lambda manifest: {**manifest, "format": FORMAT + 1}), ModelError)
    assert f"format {FORMAT + 1}" in error.message
    assert "upgrade" in error.hint


def test_a_manifest_too_long_or_too_deep(tmp_path: Path) -> None:
    for text in (b" " * (2 << 20), b"[" * 500_000, b"\xff"):
        refused(tmp_path, altered(members=lambda members, text=text: {**members, "manifest.json": text}))


def test_no_manifest(tmp_path: Path) -> None:
    without = altered(members=lambda members: {k: v for k, v in members.items() if k != "manifest.json"})
    assert "manifest.json" in refused(tmp_path, without).message


def test_a_member_that_is_missing(tmp_path: Path) -> None:
    refused(tmp_path, altered(members=lambda members: {k: v for k, v in members.items() if k[0] != "r"}))


@pytest.mark.parametrize("name", ["../evil", "/evil", "known/../../evil", "..\\evil", "known/extra"])
def test_members_missing_in_the_manifest(tmp_path: Path, name: str) -> None:
    refused(tmp_path, altered(members=lambda members: {**members, name: b"evil"}))


def test_a_compressed_bundle(tmp_path: Path) -> None:
    refused(tmp_path, altered(compression=zipfile.ZIP_DEFLATED))


def test_weights_far_larger_than_the_model(tmp_path: Path) -> None:
    huge = bytes(1000)
    content = altered(with_row(size=1000), lambda members: {**members, "known/model.safetensors": huge})
    assert "larger" in refused(tmp_path, content).message


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100, bytes(1000)])
def test_not_a_zip_file(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content)


def outcome(content: bytes) -> str:
    """Import it in a folder of its own: either everything arrives, right, or an error and nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bundle.zip").write_bytes(content)
        cache = ModelCache(folder / "models")
        try:
            names = import_bundle(cache, folder / "bundle.zip", catalogue=CATALOGUE)
        except ModelError:
            assert tree(folder) == {"bundle.zip": content}
            return "refused"
        weights = {f"models/{name}/model.safetensors": CONTENT[name] for name in names}
        found = {path: value for path, value in tree(folder).items() if path.endswith(".safetensors")}
        assert found == weights
        assert {Path(path).parts[0] for path in tree(folder)} == {"bundle.zip", "models"}
        return "imported"


@settings(deadline=None)
@given(st.integers(0, len(BUNDLE) - 1))
def test_a_truncated_bundle_is_refused(length: int) -> None:
    assert outcome(BUNDLE[:length]) == "refused"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(BUNDLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_never_bring_anything_else(flips: list[tuple[int, int]]) -> None:
    content = bytearray(BUNDLE)
    for position, value in flips:
        content[position] = value
    outcome(bytes(content))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(BUNDLE)), st.integers(0, 200))
def test_spliced_bytes_never_bring_anything_else(piece: bytes, start: int, length: int) -> None:
    outcome(BUNDLE[:start] + piece + BUNDLE[start + length :])
