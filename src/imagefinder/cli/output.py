"""Terminal output: lines, tables, progress bars, errors and JSON documents.

All text goes through ``printable``: ids and paths are untrusted data, and must not move the cursor, change colours
or reverse the reading direction of the terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import unquote, urlsplit

from imagefinder.cli.standard_streams import OutputError
from imagefinder.core.errors import ImagefinderError
from imagefinder.core.text import hedged, printable

if TYPE_CHECKING:
    from rich.console import Console

    from imagefinder.core.results import Evidence, SearchResult
    from imagefinder.indexing.progress import Progress

_PLAIN_PROGRESS_SECONDS = 10.0
_GAP = "  "
_STAGES = {"thumbnails": "computing keypoints of thumbnails", "calibrate": "calibrating"}
"""Between the columns of a table."""

_PROSE = 30
"""Least width of a column of sentences."""


def duration(seconds: float) -> str:
    """Format a time: ``0.4 ms``, ``12 ms``, ``3.1 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def size(count: float) -> str:
    """Format a number of bytes in powers of 1000: ``512 B``, ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plural(count: int, noun: str, more: str = "") -> str:
    """Format a count: ``1 image``, ``2 images``; ``more`` is an irregular plural."""
    return f"{count} {noun if count == 1 else more or noun + 's'}"


def score(value: float, unit: str) -> str:
    """Format a score by its unit: ``212 matches``, a cosine ``0.988``, evidence (-log10 E-value) ``12.3``."""
    if unit == "matches":
        return plural(round(value), "match", "matches")
    return f"{value:.1f}" if unit == "evidence" else f"{value:.3f}"


def evalue(value: float | None) -> str:
    """Format an E-value: ``85``, ``0.4``, ``0.003``, ``1e-12``; a dash for ``None``."""
    if value is None:
        return "-"
    if value < 1e-99:
        return "<1e-99"
    if value < 0.001:
        return f"{value:.0e}"
    return f"{value:.1g}" if value < 1 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def evidence(found: Evidence | None) -> tuple[str, str, str]:
    """Format evidence as (inliers, agreement, coverage); dashes for ``None``.

    For example ``31``, ``95%`` (of the common area), ``98% / 24%`` (of the area of the query, of the match).
    """
    if found is None:
        return "-", "-", "-"
    agreement = "-" if found.agreement is None else f"{found.agreement:.0%}"
    return str(found.inliers), agreement, f"{found.query_overlap:.0%} / {found.candidate_overlap:.0%}"


def relation(name: str | None, found: Evidence | None, decision: str | None = None) -> str:
    """The relation of a hit: ``part of``, ``perhaps part of``, ``part of, mirrored``; a dash for ``None``."""
    if name is None:
        return "-"
    words = hedged(name, decision)
    return f"{words}, mirrored" if found and found.mirrored else words


def headline(result: SearchResult) -> str:
    """Summarise a result in one line: the best match and its relation, or that there is no match."""
    if not result.hits:
        return "no hits" if result.searched else "no hits: there are no images to search"
    best = result.hits[0]
    if best.decision == "none":
        return f"no match (best E-value {evalue(best.evalue)})"
    kind = f", {relation(best.relation, best.evidence, best.decision)}" if best.relation else ""
    kind += f": {best.note}" if best.note else ""
    decision = "match" if best.decision == "match" else "possible match"
    return f"{decision}: {best.id}{kind} (E-value {evalue(best.evalue)})"


def location(uri: str) -> str:
    """Format the location of an image: the path of a local file, any other URI unchanged; marks a missing file."""
    from imagefinder.indexing.missing import is_gone  # noqa: PLC0415 - fast start

    parts = urlsplit(uri)
    shown = unquote(parts.path, errors="surrogateescape") if parts.scheme == "file" else uri
    return f"{shown} (missing)" if is_gone(uri) else shown


def document(value: Any) -> None:
    """Print a JSON document on standard output, in ASCII for terminals and pipes of any encoding."""
    _write(json.dumps(value, indent=2) + "\n", sys.stdout)


def text(whole: str) -> None:
    """Print a multi-line text on standard output unchanged, such as the contents of a file."""
    _write(whole, sys.stdout)


def line(text: str = "", *, style: str = "") -> None:
    """Print one line on standard output; long lines are not wrapped, so that they can be copied."""
    _print_line(text, style, sys.stdout)


def note(text: str, *, style: str = "") -> None:
    """Print one line on standard error. A failure to print it is ignored: the exit code reports the result."""
    with contextlib.suppress(OSError):
        _print_line(text, style, sys.stderr)


def from_signal(text: str) -> None:
    """Print one ASCII line on standard error from a signal handler, bypassing the streams, which may be in use."""
    with contextlib.suppress(OSError):  # standard error is full or has no reader
        os.write(2, f"\n{text}\n".encode("ascii"))


def error(problem: Exception, *, as_json: bool, code: str = "", hint: str = "") -> None:
    """Print an error and its hint: lines on standard error, or a JSON document on standard output."""
    message = problem.message if isinstance(problem, ImagefinderError) else str(problem)
    if isinstance(problem, ImagefinderError):
        code, hint = problem.code, problem.hint
    if as_json:
        with contextlib.suppress(OutputError):  # the exit code reports this error
            document({"error": {"code": code, "message": message, "hint": hint}})
        return
    note(f"error: {message}", style="bold red")
    if hint:
        note(f"hint: {hint}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, prose: Sequence[str] = ()) -> None:
    """Print a table with aligned columns. No cell is ever cut, and no id or path is wrapped.

    If it is wider than the terminal, first columns of prose are wrapped between words; if that is not enough, each
    row becomes a block with one line per cell.

    Args:
        columns: Headings; a leading ``>`` right-aligns the column.
        rows: One cell per column and row.
        prose: Headings of columns that contain sentences.
    """
    right_aligned = [name.startswith(">") for name in columns]
    lines = [[name.removeprefix(">") for name in columns], *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    if not sys.stdout.isatty():
        for cells in lines:
            _write(_GAP.join(map(_padded, cells, widths, right_aligned)).rstrip() + "\n", sys.stdout)
        return
    console = _console(sys.stdout)
    space = console.width - len(_GAP) * (len(columns) - 1)
    if sum(widths) > space:
        widths = _with_narrow_prose(lines, widths, [name in prose for name in lines[0]], space)
    with console.capture() as captured:
        if sum(widths) > space:
            _print_blocks(console, lines)
        else:
            _print_grid(console, lines, widths, right_aligned)
    _write(captured.get(), sys.stdout)


def _with_narrow_prose(
    lines: Sequence[Sequence[str]], widths: Sequence[int], prose: Sequence[bool], space: int
) -> list[int]:
    """Widths of the columns with those of prose as narrow as necessary; the sum may exceed ``space``."""
    narrow = list(widths)
    for at in [at for at, is_prose in enumerate(prose) if is_prose]:
        longest = max(_width(word) for line in lines for word in line[at].split() or [""])
        narrow[at] = min(widths[at], max(longest, _PROSE, space - sum(narrow) + narrow[at]))
    return narrow


def _print_grid(
    console: Console, lines: Sequence[Sequence[str]], widths: Sequence[int], right_aligned: Sequence[bool]
) -> None:
    from rich import box  # noqa: PLC0415 - fast start
    from rich.table import Table  # noqa: PLC0415 - fast start
    from rich.text import Text  # noqa: PLC0415 - fast start

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    for name, width, right in zip(lines[0], widths, right_aligned, strict=True):
        grid.add_column(name, justify="right" if right else "left", width=width)
    for cells in lines[1:]:
        grid.add_row(*map(Text, cells))
    console.print(grid)


def _print_blocks(console: Console, lines: Sequence[Sequence[str]]) -> None:
    from rich.text import Text  # noqa: PLC0415 - fast start

    wide = max(map(len, lines[0]))
    for number, cells in enumerate(lines[1:]):
        if number:
            console.print()
        for name, cell in zip(lines[0], cells, strict=True):
            if cell:
                # The terminal itself breaks a long line, so that a copied path contains no line break.
                console.print(Text.assemble((f"{name:<{wide}}", "bold"), _GAP, cell), soft_wrap=True)


def _padded(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(text: str) -> int:
    """Number of columns of a terminal; some characters, such as CJK and emoji, take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - fast start

    return cell_len(text)


@contextlib.contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of adding images on standard error: a bar in a terminal, elsewhere a line every 10 s.

    Args:
        verb: What is being done, such as ``adding``.

    Yields:
        The ``progress`` callback for ``Collection.add``.
    """
    if not sys.stderr.isatty():
        yield _progress_lines(verb)
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(verb, total=None, counts="")

        def show(state: Progress) -> None:
            if state.stage == "add":
                counts = _counts(state)
                bar.update(task, description=verb, total=state.total, completed=state.done, counts=counts)
            else:
                bar.update(task, description=_STAGES[state.stage], total=1.0, completed=state.share)

        yield show


@contextlib.contextmanager
def counter(verb: str, *, of_bytes: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar with a count of bytes or items on standard error; only in a terminal.

    Args:
        verb: What is being done, such as ``copying``.
        of_bytes: Whether to count bytes, and show the speed.

    Yields:
        A callback that takes (done, total); ``None``: the total is unknown.
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich import progress  # noqa: PLC0415 - fast start

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        *(
            (progress.DownloadColumn(), progress.TransferSpeedColumn())
            if of_bytes
            else (progress.MofNCompleteColumn(),)
        ),
        progress.TimeRemainingColumn(compact=True),
    )
    # Results that are printed meanwhile go to standard output.
    with progress.Progress(*columns, console=_console(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def stage_bar(labels: Mapping[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """Show one progress bar per stage on standard error; only in a terminal.

    Args:
        labels: Stage -> text of its bar.

    Yields:
        A callback that takes (stage, done, total).
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich import progress  # noqa: PLC0415 - fast start

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(compact=True),
    )
    with progress.Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(labels.get(stage, stage), total=None)
            bar.update(tasks[stage], total=total, completed=done)

        yield show


def _progress_lines(verb: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(state: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_PROGRESS_SECONDS:
            last = time.monotonic()
            if state.stage != "add":
                note(f"{_STAGES[state.stage]}: {state.share:.0%}")
                return
            left = ""
            if state.total is not None and state.done:
                left = f", {duration(state.seconds / state.done * (state.total - state.done))} left"
            note(f"{verb}: {_counts(state)}{left}")

    return show


def _counts(state: Progress) -> str:
    of = "" if state.total is None else f" of {state.total}"
    rate = f", {state.done / state.seconds:.1f}/s" if state.seconds > 0 else ""
    failed = f", {state.failed} failed" if state.failed else ""
    return f"{state.done}{of}{rate}{failed}"


def _console(stream: TextIO) -> Console:
    from rich.console import Console  # noqa: PLC0415 - fast start

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _print_line(text: str, style: str, stream: TextIO) -> None:
    if not style or not stream.isatty():
        _write(printable(text) + "\n", stream)
        return
    from rich.text import Text  # noqa: PLC0415 - fast start

    console = _console(stream)
    with console.capture() as captured:
        console.print(Text(printable(text), style=style), soft_wrap=True)
    _write(captured.get(), stream)


def _write(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
