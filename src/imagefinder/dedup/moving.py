"""Moves spare files to a folder, after checking each of them and the file that stays once more."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

from imagefinder.core.errors import SourceError, UnknownImageError
from imagefinder.core.records import ImageRecord
from imagefinder.core.results import DuplicateGroup
from imagefinder.dedup.originals import CHANGED, Original, locate
from imagefinder.dedup.proposals import recheck
from imagefinder.indexing.source_item import file_uri, local_path, name_to_text

# ruff: noqa: PTH100, PTH103, PTH108, PTH111, PTH116, PTH118, PTH120, PTH123 - names may be any bytes

LOG = "moved.jsonl"
"""Name of the log in the folder: a line of JSON for each file, with its old and its new location."""

_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES})
"""Errors of ``link`` on another file system, and on one without hard links."""

Get = Callable[[str], ImageRecord]


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The result of moving spare files.

    Attributes:
        moved: Image id -> ``file:`` URI of the new location of its file.
        kept_back: Image id -> why its file was not moved.
    """

    moved: Mapping[str, str]
    kept_back: Mapping[str, str]


def move_spare(
    groups: Sequence[DuplicateGroup], states: Mapping[str, str], get: Get, folder: str | os.PathLike[str]
) -> MoveReport:
    """Move the spare files of groups to a folder, each to its whole path below it; nothing is overwritten.

    A file is moved only if it and the file that stays are still those that were compared: same state, same bytes.

    Args:
        groups: The groups.
        states: ``DuplicateReport.states`` of the same report.
        get: Returns the record of an image; raises ``UnknownImageError``.
        folder: The folder; created if it does not exist.

    Raises:
        SourceError: the folder cannot be written, or is inside a folder of the collection.
    """
    target = os.path.abspath(os.path.expanduser(os.fspath(folder)))
    _reject_inside(target, _sources(groups, get))
    try:
        os.makedirs(target, exist_ok=True)
        log = open(os.path.join(target, LOG), "a", encoding="ascii")  # noqa: SIM115 - closed below
    except OSError as error:
        name = name_to_text(target)
        raise SourceError(
            f"cannot move files to {name}: {error.strerror}", hint="choose another folder"
        ) from error
    with log:
        move = _Move(target, log, states, get)
        for group in groups:
            move.spare_of(group)
    return MoveReport(move.moved, move.kept_back)


class _Move:
    """One run of ``move_spare``."""

    def __init__(self, target: str, log: IO[str], states: Mapping[str, str], get: Get) -> None:
        self._target = target
        self._log = log
        self._states = states
        self._get = get
        self.moved: dict[str, str] = {}
        self.kept_back: dict[str, str] = {}

    def spare_of(self, group: DuplicateGroup) -> None:
        for image_id in group.spare:
            try:
                reason = self._one(group, image_id)
            except UnknownImageError:
                reason = "it is no longer in the collection"
            except OSError as error:
                reason = f"it cannot be moved: {error.strerror}"
            if reason:
                self.kept_back[image_id] = reason

    def _one(self, group: DuplicateGroup, image_id: str) -> str:
        """Move one file; returns why it was not moved."""
        kept, record = self._get(group.ids[0]), self._get(image_id)
        if not _has_bytes_of(kept):
            return f"{kept.id}, which was to stay, is not there as before"
        if not _has_bytes_of(record):
            return CHANGED
        now = recheck(replace(group, spare=(image_id,)), self._states, self._get)
        if not now.spare:
            return now.reasons[image_id]
        original = locate(record)
        destination = os.path.join(self._target, os.path.splitdrive(original.path)[1].lstrip(os.sep))
        if os.path.lexists(destination):
            return f"{name_to_text(destination)} exists already"
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        entry = {"id": image_id, "from": record.uri, "to": file_uri(destination), "kept": kept.uri}
        self._log.write(json.dumps(entry) + "\n")  # first, so that no file is moved without a trace
        self._log.flush()
        if not _moved(original, destination, record.sha256):
            return CHANGED
        self.moved[image_id] = entry["to"]
        return ""


def _moved(original: Original, destination: str, sha256: str) -> bool:
    """Move a file; false, with nothing moved, if it is not the one that was located."""
    try:
        os.link(original.path, destination)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _copied(original, destination, sha256)
    try:
        status = os.stat(destination)
        if (status.st_dev, status.st_ino) == original.inode:
            os.unlink(original.path)
            return True
    except BaseException:
        _discard(destination)
        raise
    _discard(destination)
    return False


def _copied(original: Original, destination: str, sha256: str) -> bool:
    """Copy a file and delete the original once the copy is on disk and has this hash."""
    with open(original.path, "rb") as source, open(destination, "xb") as copy:
        try:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
            with open(destination, "rb") as written:
                is_same = hashlib.file_digest(written, "sha256").hexdigest() == sha256
            status = os.stat(original.path, follow_symlinks=False)
            if is_same and (status.st_dev, status.st_ino) == original.inode:
                shutil.copystat(original.path, destination)
                os.unlink(original.path)
                return True
        except BaseException:
            _discard(destination)
            raise
    _discard(destination)
    return False


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _has_bytes_of(record: ImageRecord) -> bool:
    """Whether the file of an image is there, and has the bytes that were added."""
    original = locate(record)
    if original.reason:
        return False
    try:
        with open(original.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == record.sha256
    except OSError:
        return False


def _sources(groups: Sequence[DuplicateGroup], get: Get) -> set[str]:
    """The folders that the spare files were added from."""
    sources = set()
    for group in groups:
        for image_id in group.spare:
            with contextlib.suppress(UnknownImageError):
                sources.add(local_path(get(image_id).source) or "")
    return {source for source in sources if os.path.isdir(source)}  # noqa: PTH112 - as above


def _reject_inside(target: str, sources: Iterable[str]) -> None:
    """Reject a folder from which ``add`` would add the moved files again."""
    for source in sources:
        if os.path.commonpath([os.path.realpath(source), os.path.realpath(target)]) == os.path.realpath(source):
            raise SourceError(
                f"{name_to_text(target)} is inside {name_to_text(source)}, from which images are added",
                hint="choose a folder outside of it",
            )
