"""Shared by the commands: exit codes, common options, and access to settings, collections and query images."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.core.errors import CollectionNotFoundError, SettingsError, UnknownImageError
from imagefinder.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from imagefinder.collection import Collection
    from imagefinder.core.settings import Settings

OK, UNFINISHED, USAGE, INPUT, MODEL, COLLECTION, FAILED_BEFORE, OUTPUT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130
"""Exit codes; docs/guides/command-line.md describes them."""

STDIN = "-"
_SUGGESTED_FROM = 20_000


def method_names() -> list[str]:
    """The names of all methods, for completion in a shell."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start
    from imagefinder.core.settings import Settings  # noqa: PLC0415 - as above

    return wiring.method_names(Settings.load())


CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection", "-c", metavar="FOLDER", help="Folder of the collection, or a URL.", show_default=False
    ),
]
CollectionsOption = Annotated[
    str | None,
    typer.Option(
        "--collections",
        metavar="URL",
        help="Database with all collections, keys and jobs, such as postgresql://db.example/imagefinder; or the "
        "folder of the additional collections. Overrides the setting collections.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of settings; also accepted before the command.",
        show_default=False,
    ),
]
LogFormatOption = Annotated[
    str | None, typer.Option("--log-format", metavar="text|json", help="Log format.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
MethodOption = Annotated[
    str,
    typer.Option("--method", "-m", metavar="NAME", help="Method to use.", autocompletion=method_names),
]
AnyMethodOption = Annotated[
    str,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="Method to use; auto combines all methods of the collection.",
        autocompletion=lambda: ["auto", *method_names()],
    ),
]
MirrorOption = Annotated[
    bool,
    typer.Option("--mirror/--no-mirror", help="Also find mirrored copies; keypoints are compared twice."),
]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        metavar="NAME",
        help="Method to extract features for; repeatable. Default: the collection's methods; for a new "
        "collection, every method that is ready.",
        autocompletion=method_names,
        show_default=False,
    ),
]


@dataclass(frozen=True)
class GlobalOptions:
    """Options given before the command.

    Attributes:
        file: TOML file of settings.
        overrides: Setting name -> value.
    """

    file: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def settings(context: typer.Context, **overrides: Any) -> Settings:
    """Settings of this run; options after the command override those before it.

    Raises:
        SettingsError: an unknown name or an invalid value.
    """
    return settings_with_origins(context, **overrides)[0]


def settings_with_origins(
    context: typer.Context, file: Path | None = None, **overrides: Any
) -> tuple[Settings, dict[str, str]]:
    """Settings of this run, and the origin of each value that is not a default.

    Args:
        context: Context of the command.
        file: TOML file given after the command; replaces the one given before it.
        overrides: Setting name -> value; ``None`` leaves a setting as it is.

    Raises:
        SettingsError: an unknown name or an invalid value.
    """
    from imagefinder.core.settings import Settings  # noqa: PLC0415 - fast start

    global_options = context.find_object(GlobalOptions) or GlobalOptions()
    given = {name: value for name, value in overrides.items() if value is not None}
    return Settings.load_with_origins(
        file=file or global_options.file, overrides={**global_options.overrides, **given}
    )


def in_database(
    context: typer.Context, collection: str | None, file: Path | None, *, whole: bool = False, **overrides: Any
) -> tuple[Settings, str | None]:
    """Settings of a run that uses the jobs of a database, and the name of the collection.

    Args:
        context: Context of the command.
        collection: URL of the collection, if it was given after the command.
        file: TOML file given after the command.
        whole: Whether the run may be about all collections of the database: the name is then ``None``.
        overrides: As for ``settings``.

    Raises:
        SettingsError: the settings name no database.
    """
    from dataclasses import replace  # noqa: PLC0415 - fast start

    from imagefinder.core.location import parent, scheme_of  # noqa: PLC0415 - as above

    chosen, origins = settings_with_origins(context, file, collection=collection, **overrides)
    if whole and chosen.database and origins.get("collection") in (None, origins["collections"]):
        return chosen, None
    if not scheme_of(chosen.collection):
        raise SettingsError(
            "jobs for workers need a database"
            + ("" if whole else f", and the collection {chosen.collection} is in a folder"),
            hint="name a collection with -c postgresql://HOST/DATABASE/COLLECTION"
            + (", or the database with --collections postgresql://HOST/DATABASE" if whole else ""),
        )
    database, name = parent(chosen.collection)
    return replace(chosen, collections=database), name


def open_collection(
    context: typer.Context, collection: str | None, *, create: bool = False, **overrides: Any
) -> Collection:
    """Open the collection of this run, for use in a ``with`` statement.

    Args:
        context: Context of the command.
        collection: Folder or URL of the collection, if it was given after the command.
        create: Create the collection if it does not exist.
        overrides: As for ``settings``.

    Raises:
        StoreError: the collection does not exist and ``create`` is false, or it cannot be used.
    """
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    chosen = settings(context, collection=collection, **overrides)
    try:
        return wiring.open_collection(chosen, create=create)
    except CollectionNotFoundError as error:
        if wiring.store_name(chosen) == "embedded":
            folder = Path(chosen.collection)
            error.hint = did_you_mean(folder.name, _collections_beside(folder), otherwise=error.hint)
        raise


@contextlib.contextmanager
def similar_ids(opened: Collection) -> Iterator[None]:
    """Add the most similar ids of the collection to the hint of an ``UnknownImageError``."""
    try:
        yield
    except UnknownImageError as error:
        error.hint = did_you_mean(error.image_id, ids(opened), otherwise=error.hint)
        raise


def ids(opened: Collection) -> Iterator[str]:
    """The first ids of a collection, for suggestions; comparing more would take seconds."""
    from imagefinder.core.paging import iter_images  # noqa: PLC0415 - fast start

    return (record.id for record in itertools.islice(iter_images(opened.images, page_size=1000), _SUGGESTED_FROM))


def _collections_beside(folder: Path) -> list[str]:
    try:
        with os.scandir(folder.absolute().parent) as entries:
            return [entry.name for entry in itertools.islice(entries, _SUGGESTED_FROM) if entry.is_dir()]
    except OSError:
        return []


def memory_collection(context: typer.Context) -> Collection:
    """Open an empty collection in memory, for commands that need methods but no stored images."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    return wiring.open_collection(settings(context, store="memory"), create=True)


def id_argument(text: str) -> str:
    r"""The id in an argument: UTF-8 in every locale, and ``\xNN`` for other bytes, as in ids of files."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def image_argument(argument: str, limits: Settings) -> str | bytes:
    """Resolve an IMAGE argument: a path or URL unchanged, or the bytes of standard input for ``-``.

    Raises:
        BadParameter: standard input is a terminal.
    """
    if argument != STDIN:
        return argument
    if sys.stdin.isatty():
        raise typer.BadParameter("- reads an image from standard input: use a pipe or redirect a file")
    # One byte over the limit lets the decoder report the limit by name.
    return sys.stdin.buffer.read(limits.max_image_bytes + 1)


def open_page(page: Path) -> None:
    """Open an HTML page in the browser, if the output is a terminal on a desktop."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        typer.launch(page.resolve().as_uri())


@contextlib.contextmanager
def stop_on_signal(
    message: str = "stopping after the current images; press Ctrl-C again to stop immediately",
) -> Iterator[threading.Event]:
    """Set an event on the first SIGINT or SIGTERM; the second one ends the program immediately.

    Args:
        message: Printed at the first signal.

    Yields:
        The event.
    """
    stop = threading.Event()

    def request(number: int, frame: Any) -> None:
        del number, frame
        stop.set()
        restore()
        output.from_signal(message)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield stop
    finally:
        restore()


def program() -> str:
    """Name by which the user called this program, for commands to copy."""
    import shutil  # noqa: PLC0415 - fast start

    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m imagefinder"
    found = shutil.which("imagefinder")
    if found and Path(found).resolve() == called.resolve():
        return "imagefinder"
    return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
