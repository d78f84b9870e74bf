"""``imagefinder models``: the weights of the networks on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.session import MODEL, OK, JsonOption, settings, unwrapped
from imagefinder.core.errors import InputError, ModelError, ModelMissingError

if TYPE_CHECKING:
    from imagefinder.models.catalogue import ModelSpec
    from imagefinder.models.hub import ModelCache, ModelState

HELP = """Bring the weights of networks to this machine, and check them.

sift needs none, and those of efficientnet-lite0 are installed with imagefinder.

  imagefinder models list
  imagefinder models pull resnet50
  imagefinder models export resnet50 beit --output models.zip
  imagefinder models import models.zip
  imagefinder models verify"""

LIST_HELP = """List the known models, and whether their weights are here.

  imagefinder models list --json"""

PULL_HELP = """Download weights from the model hub; an interrupted download goes on where it stopped.

Every file must have the published SHA-256. HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are honoured.

  imagefinder models pull resnet50 beit

Exit codes: 0 all are here; 4 one could not be brought (the others were)."""

EXPORT_HELP = """Pack weights into one file, for a machine without internet.

  imagefinder models export resnet50 beit --output models.zip"""

IMPORT_HELP = """Unpack the weights that imagefinder models export packed; every file is verified.

  imagefinder models import models.zip"""

VERIFY_HELP = """Read the weights that are here in full, and compare them with their published SHA-256.

  imagefinder models verify
  imagefinder models verify resnet50

Exit codes: 0 all are right; 4 one is damaged, or was named and is not here."""

app = typer.Typer(name="models", help=unwrapped(HELP), no_args_is_help=True)


def _known() -> list[str]:
    from imagefinder.models.catalogue import MODELS  # noqa: PLC0415 - a quick start

    return sorted(MODELS)


NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Names of models.", autocompletion=_known, show_default=False),
]


@app.command("list", help=unwrapped(LIST_HELP))
def list_models(context: typer.Context, *, as_json: JsonOption = False) -> None:
    """Print all known models."""
    cache = _cache(context)
    rows = [(model, cache.state(model)) for model in _chosen(None)]
    if as_json:
        output.document([{**_document(state), "licence": m.licence, "homepage": m.homepage} for m, state in rows])
        return
    output.table(
        ("model", "here", ">size", "licence", "what it is"),
        [
            (model.name, state.origin or "no", output.size(state.size_bytes), model.licence, model.summary)
            for model, state in rows
        ],
    )
    missing = [state.name for _, state in rows if not state.present]
    if missing:
        output.line()
        output.line(f"download: imagefinder models pull {' '.join(missing)}")


@app.command("pull", help=unwrapped(PULL_HELP))
def pull(
    context: typer.Context,
    names: NamesArgument,
    as_json: JsonOption = False,
) -> int:
    """Download, and tell where the files are."""
    cache = _cache(context)
    states: list[ModelState] = []
    problems: list[ModelError] = []
    for model in _chosen(names):
        try:
            with output.counter(model.name, of_bytes=True) as progress:
                cache.pull(model, progress=progress)
            states.append(cache.state(model))
        except ModelError as problem:
            problems.append(problem)
    return _report(states, problems, "is here", as_json=as_json)


@app.command("export", help=unwrapped(EXPORT_HELP))
def export(
    context: typer.Context,
    names: NamesArgument,
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")] = Path(
        "imagefinder-models.zip"
    ),
    as_json: JsonOption = False,
) -> None:
    """Pack, and tell how large the file is."""
    from imagefinder.models.bundle import export_bundle  # noqa: PLC0415 - a quick start

    models = _chosen(names)
    with output.counter("packing", of_bytes=True) as progress:
        export_bundle(_cache(context), models, file, progress)
    written = file.stat().st_size
    if as_json:
        output.document({"file": str(file), "bytes": written, "models": [model.name for model in models]})
    else:
        output.line(f"{', '.join(model.name for model in models)} packed into {file} ({output.size(written)})")
        output.line(f"on the other machine: imagefinder models import {file.name}")


@app.command("import", help=unwrapped(IMPORT_HELP))
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What models export wrote.", show_default=False)],
    as_json: JsonOption = False,
) -> int:
    """Unpack, and tell which models are here now."""
    from imagefinder.models.bundle import import_bundle  # noqa: PLC0415 - a quick start

    cache = _cache(context)
    with output.counter("unpacking", of_bytes=True) as progress:
        names = import_bundle(cache, file, progress)
    return _report([cache.state(model) for model in _chosen(names)], [], "is here", as_json=as_json)


@app.command("verify", help=unwrapped(VERIFY_HELP))
def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Names of models; all by default.", autocompletion=_known),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check, and tell which are right."""
    cache = _cache(context)
    states: list[ModelState] = []
    problems: list[ModelError] = []
    for model in _chosen(names):
        try:
            states.append(cache.verify(model))
        except ModelError as problem:
            if names or not isinstance(problem, ModelMissingError):
                problems.append(problem)
    return _report(states, problems, "is the published one", as_json=as_json)


def _cache(context: typer.Context) -> ModelCache:
    from imagefinder import wiring  # noqa: PLC0415 - a quick start

    return wiring.model_cache(settings(context))


def _chosen(names: Sequence[str] | None) -> list[ModelSpec]:
    from imagefinder.models.catalogue import MODELS  # noqa: PLC0415 - a quick start

    for name in names or ():
        if name not in MODELS:
            raise InputError(f"there is no model {name!r}", hint=f"models: {', '.join(MODELS)}")
    return [MODELS[name] for name in dict.fromkeys(names or MODELS)]


def _report(states: Sequence[ModelState], problems: Sequence[ModelError], what: str, *, as_json: bool) -> int:
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
                f"{state.name} {what}: {state.path} ({output.size(state.size_bytes)}, SHA-256 {state.sha256})"
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
