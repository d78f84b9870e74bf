"""Jobs of version 0.1.0: a JSON file each, and beside it what was uploaded for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagefinder.server.jobs.record import UNREADABLE, JobRecord, from_content

log = logging.getLogger(__name__)


def read_files(folder: Path) -> Iterator[tuple[JobRecord, bytes | None]]:
    """The jobs in a folder with their uploads, in order of id; what cannot be read is logged and left alone."""
    for path in sorted(folder.glob("*.json")):
        upload = path.with_suffix(".data")
        try:
            record = read_file(path)
            data = upload.read_bytes() if upload.exists() and not record.job.ended else None
        except (OSError, *UNREADABLE) as error:
            log.error("the job in %s cannot be read and is passed over: %s", path, error)  # noqa: TRY400
            continue
        yield record, data


def read_file(path: Path) -> JobRecord:
    """The job in a file.

    Raises:
        OSError: it cannot be read.
        ValueError, TypeError, KeyError, RecursionError: it is damaged.
    """
    content = json.loads(path.read_bytes())
    if content["format"] != 1:
        raise ValueError(f"its format is {content['format']}, and this version knows 1")
    return from_content(path.stem, content)


def set_aside(folder: Path, job_ids: Iterable[str]) -> None:
    """Move the files of imported jobs into the folder ``imported``.

    Raises:
        OSError: a file cannot be moved.
    """
    imported = folder / "imported"
    for job_id in job_ids:
        imported.mkdir(mode=0o700, exist_ok=True)
        for name in (f"{job_id}.data", f"{job_id}.json"):  # after a crash between, the job is only found again
            if (folder / name).exists():
                (folder / name).replace(imported / name)
