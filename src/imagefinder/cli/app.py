"""The ``imagefinder`` command line: subcommands, global options and exit codes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

import imagefinder
from imagefinder.cli import output, standard_streams
from imagefinder.cli.command_group import unwrapped
from imagefinder.cli.commands import LazyGroup
from imagefinder.cli.session import (
    COLLECTION,
    INPUT,
    INTERRUPTED,
    MODEL,
    OK,
    USAGE,
    CollectionOption,
    GlobalOptions,
)
from imagefinder.core.errors import ImagefinderError, ModelError, SettingsError, StoreError
from imagefinder.core.suggestions import did_you_mean

# Newer versions of Typer bundle click: this reaches the class through a name that all versions export.
UsageError = cast(type[Exception], typer.BadParameter.__base__)

_HELP = """Find images by image.

Add images once with add, then find them with search.

  imagefinder add ~/Pictures
  imagefinder search photo.jpg
  imagefinder search photo.jpg --method efficientnet-lite0 -k 10 --show

New here? Run imagefinder demo to see it work on example images."""

app = typer.Typer(
    name="imagefinder",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=unwrapped(_HELP),
    epilog="Exit codes: 0 success; 1 partial failure, or no match; 2 invalid usage; 3 unusable input; 4 model "
    "missing or damaged; 5 collection unusable; 6 only failures known from earlier runs; 7 the output cannot be "
    "written; 130 interrupted.",
)


def _version(requested: bool) -> None:
    if requested:
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


def run(arguments: Sequence[str]) -> int:
    """Run one command line, print any error, and return the exit code."""
    return standard_streams.guarded(lambda: _run(arguments))


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
    context = getattr(problem, "ctx", None)
    message = problem.format_message()  # type: ignore[attr-defined]
    if context and message == context.get_help():  # called without a command
        output.text(f"{message}\n")
        return USAGE
    message = (
        message.removeprefix("Invalid value: ").replace("Value error, ", "").replace("Input should be", "must be")
    )
    message = re.sub(r" \(Possible options: (.+)\)$", r". Did you mean \1?", message)
    chosen = re.search(r"'([^']*)' is not one of (.+)\.$", message)
    if chosen:
        suggestion = did_you_mean(chosen[1], re.findall(r"'([^']*)'", chosen[2]))
        message += f" {suggestion.capitalize()}" if suggestion else ""
    path = context.command_path if context else "imagefinder"
    output.error(Exception(message), as_json=as_json, code="usage", hint=f"see: {path} --help")
    return USAGE
