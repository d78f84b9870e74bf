"""The ``imagefinder`` command: its subcommands, its options before them, and its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from imagefinder.cli import (
    add,
    backup,
    check,
    compare,
    demo,
    duplicates,
    evaluate,
    explain,
    export,
    import_,
    index,
    info,
    keys,
    list_,
    methods,
    migrate,
    models,
    output,
    remove,
    search,
    serve,
    settings,
)
from imagefinder.cli.session import (
    COLLECTION,
    INPUT,
    INTERRUPTED,
    MODEL,
    OK,
    UNFINISHED,
    USAGE,
    CollectionOption,
    Start,
    unwrapped,
)
from imagefinder.core.errors import ImagefinderError, ModelError, SettingsError, StoreError

# Newer versions of Typer carry their own click: this reaches the class by a name that all versions have.
UsageError = cast(type[Exception], typer.BadParameter.__base__)

app = typer.Typer(
    name="imagefinder",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find images by image: which of mine is this?\n\n"
    "Index pictures once with [bold]add[/bold], then ask with [bold]search[/bold]:\n\n"
    "  imagefinder add ~/Pictures\n"
    "  imagefinder search photo.jpg\n"
    "  imagefinder search photo.jpg --method efficientnet-lite0 -k 10 --show\n\n"
    "New here? [bold]imagefinder demo[/bold] shows it on example pictures.",
    epilog="Exit codes: 0 done; 1 done, but something failed or nothing was found; 2 wrong usage; 3 unusable "
    "input; 4 a model is missing or damaged; 5 the collection cannot be used; 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        import imagefinder  # noqa: PLC0415 - a quick start

        output.line(f"imagefinder {imagefinder.__version__}")
        raise typer.Exit


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return name.strip(), value


@app.callback()
def options(
    context: typer.Context,
    collection: CollectionOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings.", show_default=False)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Set any setting for this run; may be given several times. imagefinder settings lists them.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - the callback acts on it
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options that come before the command."""
    overrides: dict[str, object] = dict(_assignment(text) for text in assignments or ())
    if collection is not None:
        overrides["collection"] = collection
    context.obj = Start(file=config, overrides=overrides)


_PICTURES, _KEEPING, _ANSWERS = "Pictures", "Keeping a collection", "Questions"
_METHODS, _EXCHANGE = "Methods and settings", "Programs"
for name, function, text, panel in (
    ("add", add.add, add.HELP, _PICTURES),
    ("remove", remove.remove, remove.HELP, _PICTURES),
    ("list", list_.list_images, list_.HELP, _PICTURES),
    ("info", info.info, info.HELP, _PICTURES),
    ("check", check.check, check.HELP, _KEEPING),
    ("backup", backup.backup, backup.HELP, _KEEPING),
    ("migrate", migrate.migrate, migrate.HELP, _KEEPING),
    ("index", index.index, index.HELP, _KEEPING),
    ("search", search.search, search.HELP, _ANSWERS),
    ("explain", explain.explain, explain.HELP, _ANSWERS),
    ("duplicates", duplicates.duplicates, duplicates.HELP, _ANSWERS),
    ("compare", compare.compare, compare.HELP, _ANSWERS),
    ("demo", demo.demo, demo.HELP, _ANSWERS),
    ("methods", methods.methods, methods.HELP, _METHODS),
    ("evaluate", evaluate.evaluate, evaluate.HELP, _METHODS),
    ("settings", settings.show, settings.HELP, _METHODS),
    ("serve", serve.serve, serve.HELP, _EXCHANGE),
    ("import", import_.import_features, import_.HELP, _EXCHANGE),
    ("export", export.export_features, export.HELP, _EXCHANGE),
):
    app.command(name, help=unwrapped(text), rich_help_panel=panel)(function)
app.add_typer(models.app, rich_help_panel=_METHODS)
app.add_typer(keys.app, rich_help_panel=_EXCHANGE)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what went wrong has been told by then."""
    as_json = "--json" in arguments
    try:
        code: int | None = app(list(arguments), prog_name="imagefinder", standalone_mode=False)
        sys.stdout.flush()
    except UsageError as problem:
        return _usage(problem, as_json=as_json)
    except ImagefinderError as problem:
        output.error(problem, as_json=as_json)
        return exit_code(problem)
    except BrokenPipeError:
        # The reader is gone (| head). Python would say so again while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNFINISHED
    except OSError as problem:
        output.error(problem, as_json=as_json, code="system_error")
        return INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code or OK


def exit_code(problem: ImagefinderError) -> int:
    """The exit code that stands for a kind of error."""
    if isinstance(problem, SettingsError):
        return USAGE
    if isinstance(problem, ModelError):
        return MODEL
    return COLLECTION if isinstance(problem, StoreError) else INPUT


def _usage(problem: Exception, *, as_json: bool) -> int:
    message = problem.format_message()  # type: ignore[attr-defined]
    if not message:
        # The help was asked for by giving no command, and has been printed.
        return USAGE
    context = getattr(problem, "ctx", None)
    path = context.command_path if context else "imagefinder"
    output.error(Exception(message), as_json=as_json, code="usage", hint=f"see: {path} --help")
    return USAGE
