"""What commands share: the options they all have, and how they come to settings, collections and pictures."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.core import registry
from imagefinder.core.results import Box
from imagefinder.core.settings import Settings

if TYPE_CHECKING:
    from imagefinder.collection import Collection

OK, UNFINISHED, USAGE, INPUT, MODEL, COLLECTION, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit codes; docs/guides/command-line.md says what each means."""

STDIN = "-"


def _method_names() -> list[str]:
    return registry.names(registry.METHODS)


CollectionOption = Annotated[
    Path | None,
    typer.Option("--collection", "-c", metavar="FOLDER", help="Folder of the collection.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
MethodOption = Annotated[
    str,
    typer.Option("--method", "-m", metavar="NAME", help="Method that compares.", autocompletion=_method_names),
]
AnyMethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="Method that compares; auto: all that the collection has, together.",
        autocompletion=lambda: ["auto", *_method_names()],
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X,Y,W,H",
        help="Ask with this part of PICTURE only: left, top, width, height in pixels. May be given several times.",
        show_default=False,
    ),
]
MirrorOption = Annotated[
    bool,
    typer.Option("--mirror/--no-mirror", help="Find mirror images, too; methods with keypoints compare twice."),
]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="Method to extract features for; may be given several times. By default those the collection has, "
        "or, for a new one, every method that is ready.",
        autocompletion=_method_names,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Start:
    """What was said before the command.

    Attributes:
        file: TOML file of settings.
        overrides: Setting name -> value.
    """

    file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def unwrapped(text: str) -> str:
    """Help text for terminals of any width: a paragraph of prose is one line, indented lines are examples."""
    return "\n\n".join(
        f"Examples:\n{part}" if part.startswith("  ") else " ".join(part.split()) for part in text.split("\n\n")
    )


def settings(context: typer.Context, **overrides: Any) -> Settings:
    """The settings of this run; what was said after the command wins over what was said before it.

    Raises:
        SettingsError: an unknown name, or an impossible value.
    """
    return settings_with_origins(context, **overrides)[0]


def settings_with_origins(
    context: typer.Context, file: Path | None = None, **overrides: Any
) -> tuple[Settings, dict[str, str]]:
    """As ``settings``, and where each value that is no default comes from; ``file`` was named after the command.

    Raises:
        SettingsError: as ``settings``.
    """
    start = context.find_object(Start) or Start()
    given = {name: value for name, value in overrides.items() if value is not None}
    return Settings.load_with_origins(file=file or start.file, overrides={**start.overrides, **given})


def open_collection(context: typer.Context, folder: Path | None, *, create: bool = False) -> Collection:
    """The collection of this run, to be used in a ``with`` statement.

    Raises:
        StoreError: it is not there and shall not be created, or it cannot be used.
    """
    from imagefinder import wiring  # noqa: PLC0415 - only commands that need a collection pay for it

    return wiring.open_collection(settings(context, collection=folder), create=create)


def memory_collection(context: typer.Context) -> Collection:
    """An empty collection that leaves nothing behind: for questions that are about no collection at all."""
    from imagefinder import wiring  # noqa: PLC0415 - as above

    return wiring.open_collection(settings(context, store="memory"), create=True)


def boxes(texts: Sequence[str] | None) -> list[Box]:
    """Boxes as they were typed.

    Raises:
        BadParameter: a text is not four numbers.
    """
    found = []
    for text in texts or ():
        try:
            x, y, width, height = (float(part) for part in text.split(","))
        except ValueError:
            raise typer.BadParameter(f"--box takes four numbers X,Y,W,H, not {text!r}") from None
        found.append((x, y, width, height))
    return found


def picture(argument: str, limits: Settings) -> str | bytes:
    """What ``Collection.search`` takes for an argument: the path or URL itself, or the bytes of standard input.

    Raises:
        BadParameter: standard input is a keyboard.
    """
    if argument != STDIN:
        return argument
    if sys.stdin.isatty():
        raise typer.BadParameter("- reads a picture from standard input: pipe one in, or redirect a file")
    # One byte over the limit is enough for the decoder to refuse it by name.
    return sys.stdin.buffer.read(limits.max_image_bytes + 1)


def open_page(page: Path) -> None:
    """Show a page that was written, where a person with a desktop is watching."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        typer.launch(page.resolve().as_uri())


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or a termination request) sets; the second one ends the program at once."""
    stop = threading.Event()

    def request(number: int, frame: Any) -> None:
        del number, frame
        stop.set()
        restore()
        output.from_signal("stopping after the pictures at hand; again to stop at once")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield stop
    finally:
        restore()


def program() -> str:
    """How this program was called, for lines that a person may type again."""
    import shutil  # noqa: PLC0415 - rarely needed

    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m imagefinder"
    found = shutil.which("imagefinder")
    if found and Path(found).resolve() == called.resolve():
        return "imagefinder"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
