"""The ``imagefinder`` command line: subcommands, global options and exit codes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from imagefinder.cli import (
    add,
    backup,
    build_index,
    check,
    compare,
    demo,
    duplicates,
    evaluate,
    explain,
    export,
    import_,
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
    standard_streams,
)
from imagefinder.cli.session import (
    COLLECTION,
    INPUT,
    INTERRUPTED,
    MODEL,
    OK,
    OUTPUT,
    USAGE,
    CollectionOption,
    GlobalOptions,
    unwrapped,
)
from imagefinder.core.errors import ImagefinderError, ModelError, SettingsError, StoreError
from imagefinder.core.suggestions import did_you_mean

# Newer versions of Typer bundle click: this reaches the class through a name that all versions export.
UsageError = cast(type[Exception], typer.BadParameter.__base__)

app = typer.Typer(
    name="imagefinder",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find images by image.\n\n"
    "Add images once with [bold]add[/bold], then search with [bold]search[/bold]:\n\n"
    "  imagefinder add ~/Pictures\n"
    "  imagefinder search photo.jpg\n"
    "  imagefinder search photo.jpg --method efficientnet-lite0 -k 10 --show\n\n"
    "New here? Run [bold]imagefinder demo[/bold] to see it work on example images.",
    epilog="Exit codes: 0 success; 1 partial failure, or no match; 2 invalid usage; 3 unusable input; 4 model "
    "missing or damaged; 5 collection unusable; 6 only failures known from earlier runs; 7 the output cannot be "
    "written; 130 interrupted.",
)


def _version(requested: bool) -> None:
    if requested:
        import imagefinder  # noqa: PLC0415 - fast start

        output.line(f"imagefinder {imagefinder.__version__}")
        raise typer.Exit


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--set expects NAME=VALUE, not {text!r}")
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
            help="Override a setting for this run; repeatable. List all with imagefinder settings.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - handled by the callback
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Store the global options for the command."""
    overrides: dict[str, object] = dict(_assignment(text) for text in assignments or ())
    if collection is not None:
        overrides["collection"] = collection
    context.obj = GlobalOptions(file=config, overrides=overrides)


_IMAGES, _SEARCH, _MAINTENANCE = "Images", "Search", "Maintenance"
_METHODS, _SERVICE = "Methods and settings", "Service and data"
for name, function, text, panel in (
    ("add", add.add, add.HELP, _IMAGES),
    ("remove", remove.remove, remove.HELP, _IMAGES),
    ("list", list_.list_images, list_.HELP, _IMAGES),
    ("info", info.info, info.HELP, _IMAGES),
    ("search", search.search, search.HELP, _SEARCH),
    ("explain", explain.explain, explain.HELP, _SEARCH),
    ("duplicates", duplicates.duplicates, duplicates.HELP, _SEARCH),
    ("compare", compare.compare, compare.HELP, _SEARCH),
    ("demo", demo.demo, demo.HELP, _SEARCH),
    ("check", check.check, check.HELP, _MAINTENANCE),
    ("backup", backup.backup, backup.HELP, _MAINTENANCE),
    ("migrate", migrate.migrate, migrate.HELP, _MAINTENANCE),
    ("build-index", build_index.build_index, build_index.HELP, _MAINTENANCE),
    ("methods", methods.methods, methods.HELP, _METHODS),
    ("evaluate", evaluate.evaluate, evaluate.HELP, _METHODS),
    ("settings", settings.show, settings.HELP, _METHODS),
    ("serve", serve.serve, serve.HELP, _SERVICE),
    ("import", import_.import_features, import_.HELP, _SERVICE),
    ("export", export.export_features, export.HELP, _SERVICE),
):
    app.command(name, help=unwrapped(text), rich_help_panel=panel)(function)
app.command("index", help="Deprecated: use build-index.", hidden=True)(build_index.index)
app.add_typer(models.app, rich_help_panel=_METHODS)
app.add_typer(keys.app, rich_help_panel=_SERVICE)


def run(arguments: Sequence[str]) -> int:
    """Run one command line, print any error, and return the exit code."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except standard_streams.OutputError as lost:
        if not isinstance(lost.__cause__, BrokenPipeError):  # such as | head, which has read enough
            output.note(f"error: standard output cannot be written: {lost}", style="bold red")
        code = OUTPUT
    finally:
        standard_streams.discard()
    return code


def _run(arguments: Sequence[str]) -> int:
    as_json = "--json" in arguments
    try:
        code: int | None = app(list(arguments), prog_name="imagefinder", standalone_mode=False)
    except UsageError as problem:
        return _usage(problem, as_json=as_json)
    except ImagefinderError as problem:
        output.error(problem, as_json=as_json)
        return exit_code(problem)
    except OSError as problem:
        output.error(problem, as_json=as_json, code="system_error")
        return INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code or OK


def exit_code(problem: ImagefinderError) -> int:
    """Exit code for an error, by its class."""
    if isinstance(problem, SettingsError):
        return USAGE
    if isinstance(problem, ModelError):
        return MODEL
    return COLLECTION if isinstance(problem, StoreError) else INPUT


def _usage(problem: Exception, *, as_json: bool) -> int:
    message = problem.format_message()  # type: ignore[attr-defined]
    message = (
        message.removeprefix("Invalid value: ").replace("Value error, ", "").replace("Input should be", "must be")
    )
    message = re.sub(r" \(Possible options: (.+)\)$", r". Did you mean \1?", message)
    chosen = re.search(r"'([^']*)' is not one of (.+)\.$", message)
    if chosen:
        suggestion = did_you_mean(chosen[1], re.findall(r"'([^']*)'", chosen[2]))
        message += f" {suggestion.capitalize()}" if suggestion else ""
    if not message:
        # Called without a command: the help is already printed.
        return USAGE
    context = getattr(problem, "ctx", None)
    path = context.command_path if context else "imagefinder"
    output.error(Exception(message), as_json=as_json, code="usage", hint=f"see: {path} --help")
    return USAGE
