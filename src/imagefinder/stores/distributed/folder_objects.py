"""An object store in a folder, for example on a file system that all machines share."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imagefinder.core.blobs import MOST_BLOB_BYTES, check_names
from imagefinder.core.errors import ObjectsUnavailableError, StoreError
from imagefinder.stores.distributed.parallel import Parallel

_THREADS = 16
_DRAFT = ".new-"
_FORGOTTEN = 3600.0
"""Age in seconds at which a draft belongs to no running process."""


class FolderObjects:
    """Objects as files of a folder, which must exist: a missing one may be a file system that is not mounted."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; it is not opened yet."""
        self._folder = folder
        self._threads = Parallel(_THREADS)

    @property
    def location(self) -> str:
        """The folder as a URL."""
        return self._folder.as_uri()

    def put_new(self, objects: Mapping[str, bytes]) -> None:
        """Write and flush one file per object."""
        check_names(objects)
        with self._errors():
            self._check_folder()
            self._threads.map(self._put, objects.items())
            parents = {above for name in objects for above in (self._folder / name).parents}
            for folder in parents:
                if folder.is_relative_to(self._folder):
                    _flush_folder(folder)

    def get_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Read the files of objects."""
        check_names(names)
        with self._errors():
            self._check_folder()
            wanted = list(dict.fromkeys(names))
            found = zip(wanted, self._threads.map(self._get, wanted), strict=True)
            return {name: data for name, data in found if data is not None}

    def delete(self, names: Sequence[str]) -> None:
        """Delete the files of objects; empty folders stay."""
        check_names(names)
        with self._errors():
            self._check_folder()
            for name in names:
                (self._folder / name).unlink(missing_ok=True)

    def names(self, prefix: str = "", *, older_than: float = 0.0) -> Iterator[str]:
        """Walk through the folder; drafts that a killed process left are deleted on the way."""
        if prefix:
            check_names([prefix])
        latest = time.time() - older_than
        with self._errors():
            self._check_folder()
            for folder, _, files in os.walk(self._folder / prefix, onerror=_unless_missing):
                for file in files:
                    path = Path(folder, file)
                    try:
                        stored = path.stat().st_mtime
                    except FileNotFoundError:  # deleted meanwhile
                        continue
                    if file.startswith(_DRAFT):
                        if stored < time.time() - _FORGOTTEN:
                            path.unlink(missing_ok=True)
                    elif stored <= latest:
                        yield path.relative_to(self._folder).as_posix()

    def close(self) -> None:
        """End all threads."""
        self._threads.close()

    def _put(self, item: tuple[str, bytes]) -> None:
        name, data = item
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{_DRAFT}{uuid.uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename, a link never replaces a file.
            os.link(draft, path)
        except FileExistsError:
            if path.read_bytes() != data:
                raise StoreError(f"the object {self.location}/{name} exists with other content") from None
        finally:
            draft.unlink(missing_ok=True)

    def _get(self, name: str) -> bytes | None:
        try:
            with (self._folder / name).open("rb") as file:
                if os.fstat(file.fileno()).st_size > MOST_BLOB_BYTES:
                    return None
                return file.read()
        except FileNotFoundError:
            return None

    def _check_folder(self) -> None:
        if not self._folder.is_dir():
            raise ObjectsUnavailableError(
                f"the folder of the objects {self._folder} does not exist",
                hint="mount its file system, or create the folder; the setting objects names it",
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ObjectsUnavailableError(
                f"the folder of the objects {self._folder} cannot be used: {error.strerror or error}",
                hint="check the file system, its free space and its permissions",
            ) from error


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
