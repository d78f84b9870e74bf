"""``imagefinder models``: network weights on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import model_adding, output
from imagefinder.cli.command_group import CommandGroup, unwrapped
from imagefinder.cli.model_choice import cache, catalogue, chosen, model_names
from imagefinder.cli.session import MODEL, OK, JsonOption
from imagefinder.core.errors import ModelError, ModelMissingError

if TYPE_CHECKING:
    from imagefinder.models.hub import ModelState

HELP = """\
sift needs no weights, and those of efficientnet-lite0 are installed with imagefinder.

  imagefinder models list
  imagefinder models pull resnet50
  imagefinder models add onnx-community/dinov2-small
  imagefinder models export resnet50 beit --output models.zip
  imagefinder models import models.zip
  imagefinder models verify"""

LIST_HELP = """List all models, and whether their weights are installed.

  imagefinder models list --json"""

PULL_HELP = """Download weights from the model hub. An interrupted download resumes where it stopped.

Every file must have the published SHA-256. The environment variables HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are
honoured.

  imagefinder models pull resnet50 beit

Exit codes: 0 all weights installed; 4 some could not be downloaded (the others are installed)."""

EXPORT_HELP = """Pack weights into one file, for a machine without internet access.

  imagefinder models export resnet50 beit --output models.zip"""

IMPORT_HELP = """Install weights from a file made by imagefinder models export. Every file is verified.

  imagefinder models import models.zip"""

VERIFY_HELP = """Verify the installed weights against their published SHA-256.

  imagefinder models verify
  imagefinder models verify resnet50

Exit codes: 0 all weights are intact; 4 a file is damaged, or a model named is not installed."""

app = typer.Typer(
    name="models", cls=CommandGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
app.command("add", help=unwrapped(model_adding.ADD_HELP))(model_adding.add)
app.command("show", help=unwrapped(model_adding.SHOW_HELP))(model_adding.show)
app.command("remove", help=unwrapped(model_adding.REMOVE_HELP))(model_adding.remove)
app.command("check", help=unwrapped(model_adding.CHECK_HELP))(model_adding.check)


NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME", help="Name of a model; repeatable.", autocompletion=model_names, show_default=False
    ),
]


@app.command("list", help=unwrapped(LIST_HELP))
def list_models(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Print all models."""
    weights = cache(context)
    rows = [(model, weights.state(model)) for model in chosen(context, None)]
    if as_json:
        output.document([{**_document(state), "licence": m.licence, "homepage": m.homepage} for m, state in rows])
        return
    output.table(
        ("model", "installed", ">size", "licence", "description"),
        [
            (model.name, state.origin or "no", output.size(state.size_bytes), model.licence, model.summary)
            for model, state in rows
        ],
        prose=("description",),
    )
    missing = [state.name for _, state in rows if not state.present]
    if missing:
        output.line()
        output.line(f"download with: imagefinder models pull {' '.join(missing)}")


@app.command("pull", help=unwrapped(PULL_HELP))
def pull(
    context: typer.Context,
    names: NamesArgument,
    as_json: JsonOption = False,
) -> int:
    """Download the weights and report where they are."""
    weights = cache(context, write=True)
    states: list[ModelState] = []
    problems: list[ModelError] = []
    for model in chosen(context, names):
        try:
            with output.counter(model.name, of_bytes=True) as progress:
                weights.pull(model, progress=progress)
            states.append(weights.state(model))
        except ModelError as problem:
            problems.append(problem)
    return _report(states, problems, "installed", as_json=as_json)


@app.command("export", help=unwrapped(EXPORT_HELP))
def export(
    context: typer.Context,
    names: NamesArgument,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")] = Path(
        "imagefinder-models.zip"
    ),
    as_json: JsonOption = False,
) -> None:
    """Pack the weights and report the size of the file."""
    from imagefinder.models.bundle import export_bundle  # noqa: PLC0415 - fast start

    models = chosen(context, names)
    with output.counter("packing", of_bytes=True) as progress:
        export_bundle(cache(context), models, file, progress)
    written = file.stat().st_size
    if as_json:
        output.document({"file": str(file), "bytes": written, "models": [model.name for model in models]})
    else:
        output.line(f"packed {', '.join(model.name for model in models)}: {file} ({output.size(written)})")
        output.line(f"on the other machine, run: imagefinder models import {file.name}")


@app.command("import", help=unwrapped(IMPORT_HELP))
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File made by models export.", show_default=False)],
    as_json: JsonOption = False,
) -> int:
    """Install the weights and report which models they belong to."""
    from imagefinder.models.bundle import import_bundle  # noqa: PLC0415 - fast start

    weights = cache(context, write=True)
    with output.counter("unpacking", of_bytes=True) as progress:
        names = import_bundle(weights, file, progress, catalogue=catalogue(context))
    states = [weights.state(model) for model in chosen(context, names)]
    return _report(states, [], "installed", as_json=as_json)


@app.command("verify", help=unwrapped(VERIFY_HELP))
def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Name of a model; repeatable. Default: all installed models.",
            autocompletion=model_names,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Verify the weights and report the result."""
    weights = cache(context)
    states: list[ModelState] = []
    problems: list[ModelError] = []
    for model in chosen(context, names):
        try:
            states.append(weights.verify(model))
        except ModelError as problem:
            if names or not isinstance(problem, ModelMissingError):
                problems.append(problem)
    return _report(states, problems, "intact", as_json=as_json)


def _report(states: Sequence[ModelState], problems: Sequence[ModelError], status: str, *, as_json: bool) -> int:
    if as_json:
        output.document(
            {
                "models": [_document(state) for state in states],
                "errors": [
                    {"code": problem.code, "message": problem.message, "hint": problem.hint}
                    for problem in problems
                ],
            }
        )
    else:
        for state in states:
            output.line(
                f"{state.name} {status}: {state.path} ({output.size(state.size_bytes)}, SHA-256 {state.sha256})"
            )
        for problem in problems:
            output.error(problem, as_json=False)
    return MODEL if problems else OK


def _document(state: ModelState) -> dict[str, Any]:
    return {
        "name": state.name,
        "present": state.present,
        "path": str(state.path) if state.path else None,
        "sha256": state.sha256,
        "origin": state.origin,
        "bytes": state.size_bytes,
    }
