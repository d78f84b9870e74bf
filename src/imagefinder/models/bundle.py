"""Weights of several models in one file, for a machine without internet.

A bundle is an uncompressed zip: ``manifest.json``, then ``MODEL/FILE`` for each. The manifest says what a bundle
claims to be; what is believed is only what the catalogue and the hashes confirm.
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
from imagefinder.models.catalogue import MODELS, Model
from imagefinder.models.files import CHUNK, Progress, is_sha256
from imagefinder.models.hub import ModelCache

FORMAT = 1
"""Version of the bundle format; a newer one is refused."""

_KIND = "imagefinder models"
_MANIFEST = "manifest.json"
_MAX_MANIFEST = 1 << 20  # bytes
_SCRATCH = ".incomplete-"  # prefix of the folders that hold what is not finished


@dataclass(frozen=True, slots=True)
class _Entry:
    """One model in a bundle, checked against the catalogue."""

    model: Model
    sha256: str
    size: int

    @property
    def member(self) -> str:
        return f"{self.model.name}/{PurePosixPath(self.model.source.filename).name}"


def export_bundle(
    cache: ModelCache, models: Iterable[Model], target: Path, progress: Progress | None = None
) -> None:
    """Pack the weights of ``models`` into the file ``target``, which appears whole or not at all.

    Args:
        cache: Where the weights are.
        models: What to pack; all must be on this machine.
        target: Replaced if it exists.
        progress: Called with (bytes done, bytes in all).

    Raises:
        ModelMissingError: the weights of one are not on this machine.
        ModelCorruptError: the weights of one are not the published ones.
        ModelError: the file cannot be written.
    """
    files = {model.name: (model, cache.locate(model)) for model in models}
    entries = [_Entry(model, cache.sha256(model), path.stat().st_size) for model, path in files.values()]
    if not entries:
        raise ModelError("no model was named, so there is nothing to export")
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
    catalogue: Mapping[str, Model] = MODELS,
) -> list[str]:
    """Bring the weights in the bundle ``path`` into the folder of ``cache``: all of them or none.

    Args:
        cache: Where they go.
        path: What ``export_bundle`` wrote, or a file by anybody that pretends to be.
        progress: Called with (bytes done, bytes in all).
        catalogue: The models that may be imported.

    Returns:
        The names of the models.

    Raises:
        ModelCorruptError: the file is damaged, no bundle, or holds other weights than the published ones.
        ModelError: it comes from a newer version, brings a model that is not known here, cannot be read, or the
            folder cannot be written.
    """
    with _undamaged(path):
        bundle = zipfile.ZipFile(path)
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
                        raise _other_weights(path, entry.model, digest.hexdigest(), entry.sha256)
                for entry, draft in zip(entries, drafts, strict=True):
                    cache.adopt(entry.model, draft, entry.sha256)
        except OSError as error:
            raise ModelError(
                f"the bundle {path} cannot be imported into {cache.folder}: {error.strerror}",
                hint="make room there, or let the setting models (IMAGEFINDER_MODELS) name another folder",
            ) from error
    return [entry.model.name for entry in entries]


def _describe(entry: _Entry) -> dict[str, Any]:
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
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # no date: equal weights give equal bundles
    member.external_attr = 0o644 << 16
    return member


def _entries(
    bundle: zipfile.ZipFile, path: Path, cache: ModelCache, catalogue: Mapping[str, Model]
) -> list[_Entry]:
    """What the bundle brings, as far as it can be told without reading the weights."""
    entries = {}
    for row in _rows(bundle, path):
        name, sha256, size = row.get("name"), row.get("sha256"), row.get("size")
        model = catalogue.get(name) if isinstance(name, str) else None
        if model is None or row.get("source") != asdict(model.source):
            raise ModelError(
                f"the bundle {path} brings weights that this imagefinder does not use: {str(name)[:50]!r}",
                hint="export it with the same version of imagefinder that imports it",
            )
        if not is_sha256(sha256):
            raise _damaged(path, "its manifest states no SHA-256")
        expected = cache.known_sha256(model) or sha256
        if sha256 != expected:
            raise _other_weights(path, model, sha256, expected)
        entry = entries[model.name] = _Entry(model, sha256, size if type(size) is int else -1)
        try:
            member = bundle.getinfo(entry.member)
        except KeyError:
            raise _damaged(path, f"{entry.member} is not in it") from None
        sizes = {member.file_size, member.compress_size, entry.size}
        if sizes != {entry.size} or member.compress_type != zipfile.ZIP_STORED:
            raise _damaged(path, f"{entry.member} is not stored in the size that its manifest states")
        if entry.size > 2 * model.size_bytes:
            raise _damaged(path, f"{entry.member} is far larger than the weights of {model.name} are")
    if not entries or sorted(bundle.namelist()) != sorted([_MANIFEST, *(e.member for e in entries.values())]):
        raise _damaged(path, "its manifest does not name what is in it")
    return list(entries.values())


def _rows(bundle: zipfile.ZipFile, path: Path) -> list[dict[str, Any]]:
    """The models in the manifest, as it states them."""
    try:
        size = bundle.getinfo(_MANIFEST).file_size
    except KeyError:
        raise ModelCorruptError(f"{path} is no bundle of model weights: it has no {_MANIFEST}") from None
    if size > _MAX_MANIFEST:
        raise _damaged(path, f"its manifest has {size} bytes")
    with _undamaged(path):
        manifest = json.loads(b"".join(_content(bundle, path, _MANIFEST)))
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND or type(manifest.get("format")) is not int:
        raise ModelCorruptError(f"{path} is no bundle of model weights: its {_MANIFEST} is of another kind")
    if manifest["format"] > FORMAT:
        raise ModelError(
            f"the bundle {path} has format {manifest['format']}; this imagefinder reads up to {FORMAT}",
            hint="upgrade imagefinder, or export the bundle with the version that is installed here",
        )
    rows = manifest.get("models")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _damaged(path, "its manifest lists no models")
    return rows


def _content(bundle: zipfile.ZipFile, path: Path, member: str) -> Iterator[bytes]:
    with _undamaged(path), bundle.open(member) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _meter(entries: Iterable[_Entry], progress: Progress | None) -> Callable[[int], None]:
    """A function that adds up bytes and reports them."""
    total, done = sum(entry.size for entry in entries), 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return add


@contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Name what ``zipfile`` and ``json`` raise on bytes that nobody's export wrote."""
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
        raise _damaged(path, str(error) or "it ends early") from error
    except OSError as error:
        raise ModelError(f"the bundle {path} cannot be read: {error.strerror}") from error


def _damaged(path: Path, reason: str) -> ModelCorruptError:
    return ModelCorruptError(
        f"the bundle {path} is damaged: {reason}; nothing was imported",
        hint="copy it again, or export it anew: imagefinder models export",
    )


def _other_weights(path: Path, model: Model, actual: str, expected: str) -> ModelCorruptError:
    return ModelCorruptError(
        f"the bundle {path} holds other weights for {model.name} than the published ones: their SHA-256 is "
        f"{actual}, not {expected}; nothing was imported",
        hint="copy it again, or export it anew: imagefinder models export",
    )
