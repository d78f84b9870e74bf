"""Transfer the weights of several models in one file to a machine without internet.

A bundle is an uncompressed zip archive with ``manifest.json`` and a ``MODEL/FILE`` for each model. The manifest is
untrusted: everything in it is checked against the catalogue and the hashes of the files.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imagefinder.core.errors import ModelCorruptError, ModelError
from imagefinder.models.catalogue import MODELS, ModelSpec
from imagefinder.models.files import CHUNK, Progress, is_sha256
from imagefinder.models.hub import ModelCache

FORMAT = 1
"""Version of the bundle format; newer versions are rejected."""

_KIND = "imagefinder models"
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 1 << 20  # bytes
_COPY_AGAIN = "copy the file again, or export it again: imagefinder models export"
_SCRATCH = ".incomplete-"  # prefix of folders with incomplete files


@dataclass(frozen=True, slots=True)
class _BundledModel:
    """One model in a bundle, checked against the catalogue."""

    model: ModelSpec
    sha256: str
    size: int

    @property
    def member(self) -> str:
        return f"{self.model.name}/{PurePosixPath(self.model.source.filename).name}"


def export_bundle(
    cache: ModelCache, models: Iterable[ModelSpec], target: Path, progress: Progress | None = None
) -> None:
    """Write the weights of several models to one file, atomically.

    Args:
        cache: The installed weights.
        models: The models to export; the weights of all must be installed.
        target: The file to write; replaced if it exists.
        progress: Called with (done, total) bytes.

    Raises:
        ModelMissingError: weights are not installed.
        ModelCorruptError: weights do not have the published SHA-256.
        ModelError: the file cannot be written, or no model was given.
    """
    files = {model.name: (model, cache.locate(model)) for model in models}
    entries = [_BundledModel(model, cache.sha256(model), path.stat().st_size) for model, path in files.values()]
    if not entries:
        raise ModelError("no model given, so there is nothing to export")
    report = _meter(entries, progress)
    manifest = {"kind": _KIND, "format": FORMAT, "models": [_describe(entry) for entry in entries]}
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_SCRATCH) as folder:
            draft = Path(folder, target.name)
            with zipfile.ZipFile(draft, "x") as bundle:
                bundle.writestr(_member(_MANIFEST), json.dumps(manifest, indent=2))
                for entry, (_, path) in zip(entries, files.values(), strict=True):
                    member = _member(entry.member)
                    member.file_size = entry.size
                    with path.open("rb") as source, bundle.open(member, "w") as sink:
                        while chunk := source.read(CHUNK):
                            sink.write(chunk)
                            report(len(chunk))
            draft.replace(target)
    except OSError as error:
        raise ModelError(f"the bundle {target} cannot be written: {error.strerror}") from error


def import_bundle(
    cache: ModelCache,
    path: Path,
    progress: Progress | None = None,
    *,
    catalogue: Mapping[str, ModelSpec] = MODELS,
) -> list[str]:
    """Install the weights of a bundle: all of them or none.

    Args:
        cache: Where to install them.
        path: A file of ``export_bundle``; it is not trusted.
        progress: Called with (done, total) bytes.
        catalogue: The models that may be imported.

    Returns:
        The names of the models.

    Raises:
        ModelCorruptError: the file is damaged, not a bundle, or contains weights other than the published ones.
        ModelError: the bundle has a newer format or contains an unknown model, it cannot be read, or the folder
            cannot be written.
    """
    with _translated_errors(path):
        try:
            bundle = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ModelCorruptError(
                f"{path} is not a bundle of model weights, or it is truncated; nothing was imported",
                hint=_COPY_AGAIN,
            ) from error
    with bundle:
        entries = _entries(bundle, path, cache, catalogue)
        report = _meter(entries, progress)
        try:
            cache.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache.folder, prefix=_SCRATCH) as folder:
                drafts = [Path(folder, str(number)) for number in range(len(entries))]
                for entry, draft in zip(entries, drafts, strict=True):
                    digest = hashlib.sha256()
                    with draft.open("xb") as sink:
                        for chunk in _content(bundle, path, entry.member):
                            sink.write(chunk)
                            digest.update(chunk)
                            report(len(chunk))
                    if digest.hexdigest() != entry.sha256:
                        raise _wrong_weights(path, entry.model, digest.hexdigest(), entry.sha256)
                for entry, draft in zip(entries, drafts, strict=True):
                    cache.install(entry.model, draft, entry.sha256)
        except OSError as error:
            raise ModelError(
                f"the bundle {path} cannot be imported into {cache.folder}: {error.strerror}",
                hint="free some disk space, or set models (IMAGEFINDER_MODELS) to another folder",
            ) from error
    return [entry.model.name for entry in entries]


def _describe(entry: _BundledModel) -> dict[str, Any]:
    model = entry.model
    return {
        "name": model.name,
        "file": entry.member,
        "sha256": entry.sha256,
        "size": entry.size,
        "licence": model.licence,
        "homepage": model.homepage,
        "source": asdict(model.source),
    }


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # constant date, for reproducible bundles
    member.external_attr = 0o644 << 16
    return member


def _entries(
    bundle: zipfile.ZipFile, path: Path, cache: ModelCache, catalogue: Mapping[str, ModelSpec]
) -> list[_BundledModel]:
    """The models of a bundle, checked without reading the weights."""
    entries = {}
    for row in _rows(bundle, path):
        name, sha256, size = row.get("name"), row.get("sha256"), row.get("size")
        model = catalogue.get(name) if isinstance(name, str) else None
        if model is None or row.get("source") != asdict(model.source):
            raise ModelError(
                f"the bundle {path} contains weights that this version of imagefinder does not use: "
                f"{str(name)[:50]!r}",
                hint="export the bundle with the version of imagefinder that is installed here",
            )
        if not is_sha256(sha256):
            raise _damaged(path, "its manifest contains no valid SHA-256")
        expected = cache.expected_sha256(model) or sha256
        if sha256 != expected:
            raise _wrong_weights(path, model, sha256, expected)
        entry = entries[model.name] = _BundledModel(model, sha256, size if type(size) is int else -1)
        try:
            member = bundle.getinfo(entry.member)
        except KeyError:
            raise _damaged(path, f"{entry.member} is missing") from None
        sizes = {member.file_size, member.compress_size, entry.size}
        if sizes != {entry.size} or member.compress_type != zipfile.ZIP_STORED:
            raise _damaged(path, f"the size of {entry.member} differs from its manifest")
        if entry.size > 2 * model.size_bytes:
            raise _damaged(path, f"{entry.member} is much larger than the weights of {model.name}")
    if not entries or sorted(bundle.namelist()) != sorted([_MANIFEST, *(e.member for e in entries.values())]):
        raise _damaged(path, "its manifest does not match its contents")
    return list(entries.values())


def _rows(bundle: zipfile.ZipFile, path: Path) -> list[dict[str, Any]]:
    """The rows of the manifest, unchecked."""
    try:
        size = bundle.getinfo(_MANIFEST).file_size
    except KeyError:
        raise ModelCorruptError(f"{path} is not a bundle of model weights: it contains no {_MANIFEST}") from None
    if size > _MAX_MANIFEST:
        raise _damaged(path, f"its manifest has {size:,} bytes")
    with _translated_errors(path):
        manifest = json.loads(b"".join(_content(bundle, path, _MANIFEST)))
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND or type(manifest.get("format")) is not int:
        raise ModelCorruptError(f"{path} is not a bundle of model weights: its {_MANIFEST} is of another kind")
    if manifest["format"] > FORMAT:
        raise ModelError(
            f"the bundle {path} has format {manifest['format']}; imagefinder supports up to {FORMAT}",
            hint="upgrade imagefinder, or export the bundle with the version that is installed here",
        )
    rows = manifest.get("models")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _damaged(path, "its manifest contains no list of models")
    return rows


def _content(bundle: zipfile.ZipFile, path: Path, member: str) -> Iterator[bytes]:
    with _translated_errors(path), bundle.open(member) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _meter(entries: Iterable[_BundledModel], progress: Progress | None) -> Callable[[int], None]:
    """A function that counts bytes and reports the progress."""
    total, done = sum(entry.size for entry in entries), 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return add


_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OverflowError, struct.error)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Raise errors of ``zipfile`` and ``json`` on invalid data as ``ModelError``."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        RuntimeError,
        OverflowError,
        struct.error,
    ) as error:
        raise _damaged(path, str(error) or "it is truncated") from error
    except OSError as error:
        raise ModelError(f"the bundle {path} cannot be read: {error.strerror}") from error


def _damaged(path: Path, reason: str) -> ModelCorruptError:
    return ModelCorruptError(f"the bundle {path} is damaged: {reason}; nothing was imported", hint=_COPY_AGAIN)


def _wrong_weights(path: Path, model: ModelSpec, actual: str, expected: str) -> ModelCorruptError:
    return ModelCorruptError(
        f"the bundle {path} does not contain the published weights of {model.name}: SHA-256 {actual} "
        f"instead of {expected}; nothing was imported",
        hint=_COPY_AGAIN,
    )
