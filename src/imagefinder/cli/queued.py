"""``imagefinder add --queue``: leave the work to workers, and follow it."""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from imagefinder.cli import output, session
from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import SettingsError, SourceError
from imagefinder.core.location import shown
from imagefinder.core.serialization import to_json

if TYPE_CHECKING:
    from imagefinder.core.jobs import Job
    from imagefinder.core.service_contracts import Jobs
    from imagefinder.core.settings import Settings

MAX_LIST_BYTES = 256 << 20
"""Largest size of a list that is stored with its job."""

_LISTED = 10


def add(  # wide: the options of the command, already grouped
    context: typer.Context,
    sources: Sequence[str],
    options: Mapping[str, Any],
    collection: str | None,
    local: Mapping[str, Any],
    *,
    as_json: bool,
    ray: str | None = None,
) -> int:
    """Queue jobs that add the sources, one after the other, and follow them.

    Args:
        context: Context of the command.
        sources: Paths and URLs.
        options: Options of the jobs.
        collection: URL of the collection, if it was given after the command.
        local: Options that only a local run has.
        as_json: Print one JSON document.
        ray: Address of a Ray cluster that adds the images; ``None``: workers and servers do.

    Returns:
        The exit code.
    """
    if any(value is not None for value in local.values()):
        raise SettingsError(
            "--zip-encoding, --pages and --frames have no effect on workers",
            hint="set zip_encoding, max_pages and animation_frames for the workers",
        )
    settings, name = session.in_database(context, collection, None)
    assert name is not None  # noqa: S101 - narrows the type: only a run about all collections has none
    from imagefinder.server.parts import make_parts  # noqa: PLC0415 - fast start
    from imagefinder.wiring import open_collection  # noqa: PLC0415 - as above

    specs = [(spec | _given(options), upload) for spec, upload in _specs(sources, settings)]
    with open_collection(settings, create=True) as opened:
        for method in options["methods"] or ():
            opened.method(method)
    parts = make_parts(settings)
    working: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if ray is not None:
        from imagefinder.server.worker import on_ray  # noqa: PLC0415 - fast start

        working = on_ray(settings, name, ray)
    try:
        ended = []
        with working:
            for spec, upload in specs:
                job = parts.jobs.add("add", name, spec, upload)
                output.note(f"queued job {job.id}")
                found = _follow(parts.jobs, job)
                if found is None:
                    output.note(f"job {job.id} continues without this command, as soon as a worker takes it")
                    return session.INTERRUPTED
                ended.append(found)
    finally:
        parts.close()
    if as_json:
        output.document({"collection": shown(settings.collection), "jobs": [to_json(job) for job in ended]})
    else:
        for job in ended:
            _print(job)
    return max(map(_exit_code, ended))


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _specs(sources: Sequence[str], settings: Settings) -> list[tuple[dict[str, Any], bytes | None]]:
    """The parameters and uploads of the jobs for the sources: one for all URLs, one for each folder and list.

    Raises:
        SourceError: a source does not exist, or only this machine can read it.
    """
    from imagefinder.indexing.discover import discover  # noqa: PLC0415 - fast start
    from imagefinder.indexing.guard import Guard  # noqa: PLC0415 - as above
    from imagefinder.indexing.suffixes import LIST_SUFFIXES  # noqa: PLC0415 - as above

    discover(sources)  # raises for sources that cannot be read
    urls = [source for source in sources if is_web_address(source)]
    specs: list[tuple[dict[str, Any], bytes | None]] = [({"urls": urls}, None)] if urls else []
    shared = Guard(within=tuple(os.path.realpath(root) for root in settings.job_roots))
    for source in sources:
        if is_web_address(source):
            continue
        path = Path(os.path.realpath(Path(source).expanduser()))
        suffix = path.suffix.lower()
        if shared.allows(str(path)):
            specs.append(({"folder": str(path)}, None))
        elif suffix in LIST_SUFFIXES:
            if path.stat().st_size > MAX_LIST_BYTES:
                raise SourceError(f"{source} has more than {MAX_LIST_BYTES:,} bytes", hint="divide the list")
            specs.append(({"list_suffix": suffix}, path.read_bytes()))
        else:
            roots = ", ".join(map(str, settings.job_roots)) or "none"
            raise SourceError(
                f"{source} is on this machine, where workers cannot read it",
                hint="copy it to a folder that is mounted under the same path here and on the workers, and name "
                f"that folder in the setting job_roots everywhere (here: {roots}); or add URLs, or a list of "
                "URLs; or leave out --queue",
            )
    return specs


def _follow(jobs: Jobs, job: Job) -> Job | None:
    """Show the progress of a job until it ends; ``None`` after Ctrl-C."""
    from imagefinder.core.errors import StoreError  # noqa: PLC0415 - fast start
    from imagefinder.indexing.progress import Progress, Stage  # noqa: PLC0415 - as above

    changes: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    with session.stop_on_signal("stopped watching") as stop, output.progress_bar("adding") as show:
        end = jobs.watch(job.id, changes.put)
        try:
            while not stop.is_set():
                try:
                    changed = changes.get(timeout=0.2)
                except queue.Empty:
                    continue
                if changed is None:
                    raise StoreError(f"job {job.id} can no longer be followed")
                if changed.ended:
                    return changed
                if changed.state == "running":
                    now = changed.progress
                    follows = now.stage in ("thumbnails", "calibrate")
                    show(
                        Progress(
                            total=now.total,
                            added=now.added,
                            replaced=0,
                            unchanged=now.skipped,
                            failed=now.failed,
                            seconds=0.0,
                            current="",
                            stage=cast(Stage, now.stage) if follows else "add",
                            share=now.done / 100 if follows else 0.0,
                        )
                    )
        finally:
            end()
    return None


def _print(job: Job) -> None:
    result = job.result or {}
    if "added" in result:
        output.line(
            f"{result['added']} added, {result['replaced']} replaced, {result['unchanged']} unchanged, "
            f"{result['removed']} removed, {result['failed']} failed in {output.duration(result['seconds'])}"
        )
    if job.failures:
        shown_failures = job.failures[:_LISTED]
        rows = [(failure.id, failure.code, failure.message) for failure in shown_failures]
        output.table(("failed image", "error", "message"), rows, prose=("message",))
        output.line("list all with: imagefinder info --failures")
    for note in result.get("notes", ()):
        output.note(note)
    if job.problem:
        output.note(f"job {job.id} failed: {job.problem.detail} ({job.problem.hint})")
    if job.state == "cancelled":
        output.note(f"job {job.id} was cancelled; completed work is saved")


def _exit_code(job: Job) -> int:
    result = job.result or {}
    if job.state == "cancelled":
        return session.INTERRUPTED
    if job.state == "failed":
        return session.MODEL if job.problem and job.problem.code.startswith("model") else session.COLLECTION
    if not result.get("failed"):
        return session.OK
    if not any(result.get(name) for name in ("added", "replaced", "unchanged", "moved")):
        return session.INPUT
    return session.FAILED_BEFORE if result.get("failed_before") == result["failed"] else session.UNFINISHED
