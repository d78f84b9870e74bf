"""Searches with many query images: several files, folders, archives and lists."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.session import INPUT, INTERRUPTED, OK, STDIN, UNFINISHED, stop_on_signal
from imagefinder.core.addresses import is_web_address
from imagefinder.core.errors import FetchError, ImageError, ImagefinderError, InputError, SourceError
from imagefinder.core.query import Query, SearchOptions
from imagefinder.core.results import PRIOR
from imagefinder.core.serialization import to_json
from imagefinder.indexing.suffixes import ARCHIVE_SUFFIXES, LIST_SUFFIXES

if TYPE_CHECKING:
    from imagefinder.cli.contact_sheet import SheetEntry
    from imagefinder.collection import Collection
    from imagefinder.core.records import Failure
    from imagefinder.core.results import Box, SearchResult
    from imagefinder.indexing.source_item import SourceItem


def sources(queries: Sequence[str]) -> list[str]:
    """The sources of query images; empty if there is just one image.

    Patterns such as ``*.jpg`` are replaced by the files they match, for shells that do not do so.

    Raises:
        BadParameter: standard input is among several queries.
    """
    found = [path for text in queries for path in _expanded(text)]
    if len(found) == 1 and not _is_container(found[0]):
        return [] if found == list(queries) else found
    if STDIN in found:
        raise typer.BadParameter("- cannot be combined with other queries")
    return found


def is_match(result: SearchResult) -> bool:
    """Whether a result contains a match or possible match; any hit if it is not ranked by evidence."""
    return bool(result.hits) and (result.ranking != "evidence" or result.decision != "none")


def unit(opened: Collection, result: SearchResult) -> str:
    """Unit of the scores of a result."""
    return "evidence" if result.method == "auto" else opened.method(result.method).score


def calibrate(opened: Collection, label: str) -> None:
    """Calibrate if that is due, unless another process is doing so; a failure is only reported.

    Args:
        opened: The collection.
        label: Label of the progress bar.
    """
    if opened.calibration().state == "current" or not opened.info().images:
        return
    try:
        with output.counter(label, of_bytes=False) as progress:
            opened.calibrate(progress, wait=False)
    except ImagefinderError as error:
        output.note(f"the collection could not be calibrated: {error.message}")


def answer(opened: Collection, result: SearchResult) -> dict[str, Any]:
    """A result as a JSON document, with the locations of the hits and whether their files are missing."""
    document: dict[str, Any] = to_json(result)
    missing, records = opened.missing(result.ids), opened.records(result.ids)
    for hit in document["hits"]:
        hit["uri"] = records[hit["id"]].uri if hit["id"] in records else ""
        hit["missing"] = hit["id"] in missing
    return document


@dataclass(slots=True)
class Answers:
    """The results for many queries, printed as they come, or as one JSON document at the end.

    Attributes:
        opened: The collection.
        options: The search options of every query.
        boxes: Regions of every query image.
        as_json: Print one JSON document.
        page: Contact sheet to write, if any.
    """

    opened: Collection
    options: SearchOptions
    boxes: Sequence[Box]
    as_json: bool
    page: Path | None
    _documents: list[dict[str, Any]] = field(default_factory=list)
    _entries: list[SheetEntry] = field(default_factory=list)
    _matched: int = 0
    _unmatched: int = 0
    _failed: int = 0

    def search(self, queries: Sequence[str]) -> int:
        """Search with every image of the sources, print the results, and return the exit code.

        Raises:
            SourceError: there is no image in any of them.
        """
        from imagefinder.core.records import Failure  # noqa: PLC0415 - fast start

        started = time.monotonic()
        if self.options.ranking == "evidence":
            calibrate(self.opened, "calibrating scores")
            calibration = self.opened.calibration()
            if calibration.null_model == PRIOR and calibration.images and not self.as_json:
                output.note("the collection is not calibrated yet, so these answers are cautious")
        # In a terminal, the results themselves show the progress.
        shows_bar = self.as_json or not sys.stdout.isatty()
        bar = output.counter("searching", of_bytes=False) if shows_bar else contextlib.nullcontext(_ignore)
        with stop_on_signal() as stop, bar as progress:
            for item in self._items(queries):
                if stop.is_set():
                    break
                if isinstance(item, Failure):
                    name = _name(item.uri) if item.uri.startswith("file:") else item.id
                    self._fail(name, item.uri, item.code, item.message)
                else:
                    self._query(item)
                progress(self._matched + self._unmatched + self._failed, None)
        if not (stop.is_set() or self._matched or self._unmatched or self._failed):
            raise SourceError(
                f"no images in {', '.join(queries)}", hint="name images, or folders that contain some"
            )
        self._finish(time.monotonic() - started, interrupted=stop.is_set())
        if stop.is_set():
            return INTERRUPTED
        if not self._unmatched and not self._failed:
            return OK
        return UNFINISHED if self._matched or self._unmatched else INPUT

    def _items(self, queries: Sequence[str]) -> Iterator[SourceItem | Failure]:
        from imagefinder.core.records import Failure  # noqa: PLC0415 - fast start
        from imagefinder.indexing.discover import discover  # noqa: PLC0415 - only for many queries
        from imagefinder.indexing.source_item import SourceItem  # noqa: PLC0415 - as above

        for source in queries:
            try:
                items = discover([source], zip_encoding=self.opened.settings.zip_encoding)
            except SourceError as error:
                yield Failure(source, "", error.code, error.message)
                continue
            yield from (item for item in items if isinstance(item, SourceItem | Failure))

    def _query(self, item: SourceItem) -> None:
        name = _name(item.uri)
        # A box may lie outside of some of the images.
        expected = (ImageError, SourceError, FetchError, *((InputError,) if self.boxes else ()))
        try:
            image = _image(item, self.opened.settings.max_image_bytes)
            result = self.opened.search(Query(image, boxes=tuple(self.boxes)), self.options)
        except expected as error:
            self._fail(name, item.uri, error.code, error.message, error.hint)
            return
        if is_match(result):
            self._matched += 1
        else:
            self._unmatched += 1
        if self.page is not None:
            self._entries.append(self._entry(name, image, result))
        if self.as_json:
            self._documents.append({"query": name, "uri": item.uri, **answer(self.opened, result)})
            return
        output.line(name, style="bold")
        for text in self._lines(result):
            output.line(f"  {text}")

    def _lines(self, result: SearchResult) -> list[str]:
        if result.ranking != "evidence":
            scores = unit(self.opened, result)
            return [f"{hit.id} ({output.score(hit.score, scores)})" for hit in result.hits] or ["no hits"]
        found = [hit for hit in result.hits if hit.decision != "none"]
        if not found:
            return [output.headline(result)]
        return [
            f"{'match' if hit.decision == 'match' else 'possible match'}: {hit.id}, "
            f"{output.relation(hit.relation, hit.evidence, hit.decision)} (E-value {output.evalue(hit.evalue)})"
            for hit in found
        ]

    def _fail(self, name: str, uri: str, code: str, message: str, hint: str = "") -> None:
        self._failed += 1
        if self.as_json:
            error = {"code": code, "message": message, "hint": hint}
            self._documents.append({"query": name, "uri": uri, "error": error})
        else:
            output.line(name, style="bold")
            output.line(f"  error: {message}", style="red")

    def _entry(self, name: str, image: str | bytes, result: SearchResult) -> SheetEntry:
        from imagefinder.cli.contact_sheet import SheetEntry, SheetResult  # noqa: PLC0415 - only for --show
        from imagefinder.images.resize import thumbnail  # noqa: PLC0415 - only for --show

        try:
            shown = thumbnail(self.opened.pixels(image))
        except ImagefinderError:  # the file has changed a moment ago
            shown = b""
        return SheetEntry(name, shown, (SheetResult(result, unit(self.opened, result)),))

    def _finish(self, seconds: float, *, interrupted: bool) -> None:
        if self.page is not None:
            from imagefinder.cli import contact_sheet  # noqa: PLC0415 - only for --show

            text = contact_sheet.render(self._entries, self.opened.thumbnail, title="imagefinder search")
            self.page.write_text(text, encoding="utf-8")
        counts = {"matched": self._matched, "unmatched": self._unmatched, "failed": self._failed}
        if self.as_json:
            page = {"page": str(self.page)} if self.page else {}
            output.document({"queries": self._documents, **counts, "interrupted": interrupted, **page})
            return
        total = output.plural(sum(counts.values()), "query", "queries")
        output.line()
        output.line(
            f"{total} in {output.duration(seconds)}: {self._matched} with a match, {self._unmatched} without, "
            f"{self._failed} failed"
        )
        if self.page is not None:
            output.line(f"page: {self.page}")


def _expanded(text: str) -> list[str]:
    if is_web_address(text) or text == STDIN or os.path.lexists(text) or not glob.has_magic(text):
        return [text]
    return sorted(glob.glob(os.path.expanduser(text), recursive=True)) or [text]  # noqa: PTH111, PTH207 - any bytes


def _is_container(text: str) -> bool:
    """Whether a query contains images, instead of being one."""
    path = Path(text)
    return path.is_dir() or (text.lower().endswith((*ARCHIVE_SUFFIXES, *LIST_SUFFIXES)) and path.is_file())


def _image(item: SourceItem, max_bytes: int) -> str | bytes:
    """The image of a query: its path or URL, or its bytes if it is in an archive."""
    if item.uri.startswith("archive:") and item.read is not None:
        return item.read(max_bytes)
    return _path(item.uri)


def _name(uri: str) -> str:
    """Name of a query: its path, relative to the working directory if it is below, or its URI."""
    from imagefinder.indexing.source_item import name_to_text  # noqa: PLC0415 - only for many queries

    return name_to_text(_path(uri).removeprefix(str(Path.cwd()) + os.sep))


def _path(uri: str) -> str:
    from imagefinder.indexing.source_item import local_path  # noqa: PLC0415 - only for many queries

    return uri if uri.startswith("archive:") else local_path(uri) or uri


def _ignore(done: int, total: int | None) -> None:
    del done, total
