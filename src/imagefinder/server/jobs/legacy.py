"""Job files of version 0.1.0: one JSON file per job, and a file with its upload if it has one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagefinder.core.job_records import UNREADABLE, JobRecord, from_content

log = logging.getLogger(__name__)


def read_files(folder: Path) -> Iterator[tuple[JobRecord, bytes | None]]:
    """The jobs in a folder with their uploads, sorted by id; unreadable files are logged and skipped."""
    for path in sorted(folder.glob("*.json")):
        upload = path.with_suffix(".data")
        try:
            record = read_file(path)
            data = upload.read_bytes() if upload.exists() and not record.job.ended else None
        except (OSError, *UNREADABLE) as error:
            log.error("skipped the unreadable job file %s: %s", path, error)  # noqa: TRY400
            continue
        yield record, data


def read_file(path: Path) -> JobRecord:
    """The job in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError, TypeError, KeyError, RecursionError: the file is damaged.
    """
    content = json.loads(path.read_bytes())
    if content["format"] != 1:
        raise ValueError(f"it has format {content['format']}; this version reads format 1")
    return from_content(path.stem, content)


def set_aside(folder: Path, job_ids: Iterable[str]) -> None:
    """Move the files of imported jobs into the folder ``imported``.

    Raises:
        OSError: a file cannot be moved.
    """
    imported = folder / "imported"
    for job_id in job_ids:
        imported.mkdir(mode=0o700, exist_ok=True)
        for name in (
            f"{job_id}.data",
            f"{job_id}.json",
        ):  # after a crash in between, the next start imports the job again, without effect
            if (folder / name).exists():
                (folder / name).replace(imported / name)
