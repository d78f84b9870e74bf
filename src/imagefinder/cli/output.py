"""Everything the command line prints: tables and lines for people, JSON for programs, errors for both.

Text for people goes through ``printable``: an id or a path is data, and must not move the cursor, change colours
or reverse the reading direction of the terminal that shows it.
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

from imagefinder.core.errors import ImagefinderError
from imagefinder.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from imagefinder.core.results import Evidence, SearchResult
    from imagefinder.indexing.progress import Progress

_PLAIN_PROGRESS_SECONDS = 10.0


def duration(seconds: float) -> str:
    """A time for people: ``0.4 ms``, ``12 ms``, ``3.1 s``, ``4 min 05 s``, ``2 h 10 min``."""
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
    """A number of bytes for people, in powers of 1000: ``512 B``, ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def plural(count: int, noun: str, more: str = "") -> str:
    """``1 image``, ``2 images``; ``more`` is the plural where it is not the noun with an s."""
    return f"{count} {noun if count == 1 else more or noun + 's'}"


def score(value: float, unit: str) -> str:
    """A score for people: ``212 matches``, a cosine with three decimals, or minus the logarithm of an E-value."""
    if unit == "matches":
        return plural(round(value), "match", "matches")
    return f"{value:.1f}" if unit == "evidence" else f"{value:.3f}"


def evalue(value: float | None) -> str:
    """An E-value for people: ``85``, ``0.4``, ``0.003``, ``1e-12``; a dash for none."""
    if value is None:
        return "-"
    if value < 1e-99:
        return "<1e-99"
    if value < 0.001:
        return f"{value:.0e}"
    return f"{value:.1g}" if value < 1 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def evidence(found: Evidence | None) -> tuple[str, str, str]:
    """Inliers, agreement, overlap of query and candidate: ``31``, ``95%``, ``98% / 24%``; dashes for none."""
    if found is None:
        return "-", "-", "-"
    mirrored = " mirrored" if found.mirrored else ""
    alike = "-" if found.agreement is None else f"{found.agreement:.0%}"
    return f"{found.inliers}{mirrored}", alike, f"{found.query_overlap:.0%} / {found.candidate_overlap:.0%}"


def verdict(result: SearchResult) -> str:
    """The answer in one sentence."""
    if not result.hits:
        return "no hits: there is nothing to compare with in this collection"
    best = result.hits[0]
    expected = f"E-value {evalue(best.evalue)}"
    if best.decision == "none":
        return f"nothing in this collection shows this (the best hit has {expected})"
    kind = f", {best.relation}" if best.relation else ""
    return f"{'found' if best.decision == 'match' else 'perhaps'}: {best.id}{kind} ({expected})"


def place(uri: str) -> str:
    """Where a picture lies, for people: the path of a file, any other URI as it is."""
    parts = urlsplit(uri)
    return unquote(parts.path, errors="surrogateescape") if parts.scheme == "file" else uri


def document(value: Any) -> None:
    """Print one JSON document on standard output; ASCII, so that every terminal and pipe can carry it."""
    _write(json.dumps(value, indent=2) + "\n", sys.stdout)


def text(whole: str) -> None:
    """Print a text of several lines on standard output as it is: a file that the user may keep."""
    _write(whole, sys.stdout)


def line(text: str = "", *, style: str = "") -> None:
    """Print one line on standard output; long lines are not broken, so that they can be copied."""
    _print_line(text, style, sys.stdout)


def note(text: str, *, style: str = "") -> None:
    """Print one line on standard error."""
    _print_line(text, style, sys.stderr)


def from_signal(text: str) -> None:
    """Print one line on standard error from within a signal handler, where the streams may be in use."""
    os.write(2, f"\n{text}\n".encode("ascii"))


def error(problem: Exception, *, as_json: bool, code: str = "", hint: str = "") -> None:
    """Tell what went wrong: two lines on standard error, or a JSON document on standard output."""
    message = problem.message if isinstance(problem, ImagefinderError) else str(problem)
    if isinstance(problem, ImagefinderError):
        code, hint = problem.code, problem.hint
    if as_json:
        document({"error": {"code": code, "message": message, "hint": hint}})
        return
    note(f"error: {message}", style="bold red")
    if hint:
        note(f"hint: {hint}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: framed and fitted to a terminal; elsewhere aligned columns that are never cut or wrapped.

    Args:
        columns: Headings; one that begins with ``>`` is set to the right.
        rows: One cell per column.
    """
    right = [name.startswith(">") for name in columns]
    lines = [[name.removeprefix(">") for name in columns], *([printable(cell) for cell in row] for row in rows)]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = (f"{c:>{w}}" if r else f"{c:<{w}}" for c, w, r in zip(cells, widths, right, strict=True))
            _write("  ".join(padded).rstrip() + "\n", sys.stdout)
        return
    from rich import box  # noqa: PLC0415 - a quick start
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    sheet = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name, to_the_right in zip(lines[0], right, strict=True):
        sheet.add_column(name, justify="right" if to_the_right else "left", overflow="fold")
    for cells in lines[1:]:
        sheet.add_row(*map(Text, cells))
    console = _console(sys.stdout)
    with console.capture() as captured:
        console.print(sheet)
    _write(captured.get(), sys.stdout)


@contextlib.contextmanager
def progress_bar(verb: str) -> Iterator[Callable[[Progress], None]]:
    """Show an indexing run on standard error: a bar in a terminal, a line now and then elsewhere.

    Yields:
        The function to hand to ``Collection.add`` as ``progress``.
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
            bar.update(task, total=state.total, completed=state.done, counts=_counts(state))

        yield show


@contextlib.contextmanager
def counter(verb: str, *, of_bytes: bool) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how many bytes, or images, of how many are done; in a terminal only.

    Yields:
        The function to call with (done, in all).
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich import progress  # noqa: PLC0415 - a quick start

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
    with progress.Progress(*columns, console=_console(sys.stderr), transient=True) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def stage_bar(verbs: Mapping[str, str]) -> Iterator[Callable[[str, int, int], None]]:
    """Show on standard error how far each stage of some work is; in a terminal only.

    Args:
        verbs: Stage -> what to call it.

    Yields:
        The function to call with (stage, done, in all).
    """
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich import progress  # noqa: PLC0415 - a quick start

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
                tasks[stage] = bar.add_task(verbs.get(stage, stage), total=None)
            bar.update(tasks[stage], total=total, completed=done)

        yield show


def _progress_lines(verb: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(state: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_PROGRESS_SECONDS:
            last = time.monotonic()
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
    from rich.console import Console  # noqa: PLC0415 - a quick start

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _print_line(text: str, style: str, stream: TextIO) -> None:
    if not style or not stream.isatty():
        _write(printable(text) + "\n", stream)
        return
    from rich.text import Text  # noqa: PLC0415 - a quick start

    console = _console(stream)
    with console.capture() as captured:
        console.print(Text(printable(text), style=style), soft_wrap=True)
    _write(captured.get(), stream)


def _write(text: str, stream: TextIO) -> None:
    # Not Console.print itself: a pipe whose reader is gone must reach the caller as BrokenPipeError.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
