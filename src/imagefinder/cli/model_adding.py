"""``imagefinder models add``, ``show``, ``remove`` and ``check``: models in ``model.toml`` files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagefinder.cli import output
from imagefinder.cli.model_choice import cache, catalogue, chosen, model_names
from imagefinder.cli.session import MODEL, OK, JsonOption, settings
from imagefinder.core.errors import ImagefinderError, InputError, ModelError

if TYPE_CHECKING:
    from imagefinder.core.method import Method
    from imagefinder.extractors.crops import CropScores
    from imagefinder.models.adding import Proposal, Publication
    from imagefinder.models.catalogue import ModelSpec

ADD_HELP = """Add a model from the model hub, a file or a URL, and write its description, model.toml.

MODEL is owner/name on the hub, a file .onnx or .safetensors with its published files next to it, or a URL of such
a file. Preprocessing and licence are read from preprocessor_config.json, config.json (timm), open_clip_config.json
or preprocess_cfg.json, and README.md. No program of the publisher is run.

Two pictures are compared with their crops by each output, and the scores are printed. Read the description
afterwards, and measure the model on your images: imagefinder evaluate.

  imagefinder models add onnx-community/dinov2-small
  imagefinder models add ./net.onnx --name shoes --licence MIT --output-name embedding

Exit codes: 0 added; 4 the model cannot be used, and nothing was added."""

SHOW_HELP = """Print the description of a model, where its weights are, and who vouches for them.

  imagefinder models show resnet50"""

REMOVE_HELP = """Remove an added model: its folder with description and weights. Shipped models cannot be removed.

Collections keep the features of the model and are searched with their other methods.

  imagefinder models remove shoes"""

CHECK_HELP = """Check that a model fulfils the contract of methods: shapes, types, repeatable features that do not
depend on the batch, images of any shape, and crops that are nearer than other pictures. Requires pytest.

  imagefinder models check shoes

Exit codes: 0 all checks passed; 4 a check failed, or the weights are not installed."""

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a model.", autocompletion=model_names, show_default=False)
]


# wide: a parameter for each option of the command, as typer declares them.
def add(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="owner/name, FILE or URL.", show_default=False)],
    *,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name. Default: from MODEL.")] = "",
    revision: Annotated[str, typer.Option("--revision", metavar="REV", help="Branch, tag or commit.")] = "main",
    file: Annotated[str, typer.Option("--file", metavar="PATH", help="Weight file of the repository.")] = "",
    licence: Annotated[str, typer.Option("--licence", metavar="SPDX", help="Licence, if none is published.")] = "",
    output_name: Annotated[
        str, typer.Option("--output-name", metavar="NAME", help="Output of the graph. Default: proposed.")
    ] = "",
    pool: Annotated[
        str, typer.Option("--pool", metavar="POOL", help="How to pool that output. Default: proposed.")
    ] = "",
    configuration: Annotated[
        Path | None,
        typer.Option("--config-folder", metavar="FOLDER", help="Folder with the published files, for a URL."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Add a model and report what its outputs distinguish."""
    publication = _publication(model, revision, file, configuration)
    spec = _draft(model, name, publication, licence)
    known = catalogue(context)
    if spec.name in known:
        raise InputError(
            f"there is already a model {spec.name!r}",
            hint="choose another name with --name"
            + (f", or run: imagefinder models remove {spec.name}" if known.is_added(spec.name) else ""),
        )
    weights = cache(context, write=True)
    folder = weights.folder / spec.name
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if Path(model).is_file():
            shutil.copyfile(model, folder / publication.source.filename)
        with output.counter(spec.name, of_bytes=True) as progress:
            path = weights.pull(spec, progress=progress)
        spec = replace(spec, size_bytes=path.stat().st_size)
        results = _tried(context, spec, path, output_name, pool)
        spec = replace(results[0][0], sha256=weights.sha256(spec) if Path(model).is_file() else "")
        _write(folder / "model.toml", spec)
    except BaseException as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(
                f"{spec.name} cannot be added to {weights.folder}: {error.strerror or error}",
                hint="free some disk space, or set models (IMAGEFINDER_MODELS) to another folder",
            ) from error
        raise
    _report_added(folder / "model.toml", weights.sha256(spec), spec, results, as_json=as_json)
    return OK


def show(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Print one model."""
    from imagefinder.core.serialization import to_json  # noqa: PLC0415 - fast start
    from imagefinder.models.catalogue import FILE, SHIPPED  # noqa: PLC0415 - as above

    (model,) = chosen(context, [name])
    weights, is_added = cache(context), catalogue(context).is_added(name)
    state = weights.state(model)
    file = (weights.folder if is_added else SHIPPED) / name / FILE
    if as_json:
        output.document({**to_json(model), "file": str(file), "state": to_json(state)})
        return
    output.line(f"# {file}")
    for line in file.read_text(encoding="utf-8").splitlines():
        output.line(line)
    output.line()
    output.line(f"weights: {state.path or 'not installed'}" + (f" ({state.origin})" if state.origin else ""))
    trust = "recorded at the first download (trusted on first use)" if state.trusted else "from the file above"
    output.line(f"SHA-256: {state.sha256} {trust}" if state.sha256 else "SHA-256: recorded at the first download")
    if model.untested:
        output.line("these weights have never been run with imagefinder: imagefinder models check " + name)


def remove(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """Delete the folder of an added model."""
    known, weights = catalogue(context), cache(context)
    if not known.is_added(name):
        if name in set(known):
            raise InputError(f"{name} is part of imagefinder and cannot be removed")
        chosen(context, [name])  # raises an error that lists the models
    folder = weights.folder / name
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ModelError(f"{folder} cannot be deleted: {error.strerror}") from error
    if as_json:
        output.document({"removed": name, "folder": str(folder)})
        return
    output.line(f"removed {name}: {folder}")
    output.line("collections keep its features; downloads from the hub stay in the cache of the hub")


def check(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> int:
    """Run the checks and print the result of each."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start
    from imagefinder.extractors.crops import drawn_pictures, score_crops  # noqa: PLC0415 - as above

    try:
        from imagefinder.testing.extractors import failures  # noqa: PLC0415 - needs pytest
    except ImportError as error:
        raise InputError("models check needs pytest", hint="pip install pytest") from error
    (model,) = chosen(context, [name])
    method = wiring.network(model, settings(context))
    method.extractor.fingerprint()  # raises if the weights are not installed
    results: dict[str, str] = {}
    for title, failure in failures(method.extractor):
        results[title] = failure
        _report_check(title, failure, as_json=as_json)
    scores = score_crops(method, drawn_pictures())
    title = "Crops are nearer than other pictures."
    results[title] = "" if scores.nearer else f"crops {_numbers(scores.crops)}, others {_numbers(scores.others)}"
    _report_check(title, results[title], as_json=as_json)
    nbytes = method.extractor.extract([drawn_pictures()[0]]).nbytes
    failed = [one for one, failure in results.items() if failure]
    if as_json:
        output.document({"model": name, "checks": results, "bytes_per_image": nbytes, "passed": not failed})
    else:
        output.line(
            f"{output.size(nbytes)} of features per image; {len(results) - len(failed)} of {len(results)} ok"
        )
    return MODEL if failed else OK


def _report_check(title: str, failure: str, *, as_json: bool) -> None:
    if not as_json:
        output.line(f"{'FAILED' if failure else 'ok':8}{title}" + (f" {failure}" if failure else ""))


def _publication(model: str, revision: str, file: str, configuration: Path | None) -> Publication:
    from imagefinder.models import adding  # noqa: PLC0415 - fast start

    if Path(model).is_file():
        return adding.of_file(Path(model))
    if re.match(r"https?://", model):
        folder = adding.of_file(configuration / "weights") if configuration else None
        return adding.of_url(model, folder.texts if folder else {})
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model, re.ASCII):
        return adding.of_repository(model, revision=revision, file=file)
    raise InputError(
        f"{model!r} is not a file, a URL, or owner/name on the model hub",
        hint="see: imagefinder models add --help",
    )


def _draft(model: str, name: str, publication: Publication, licence: str) -> ModelSpec:
    """The description so far; the output is not known yet."""
    from imagefinder.core.features import FeatureSpec  # noqa: PLC0415 - fast start
    from imagefinder.models import adding, description, published  # noqa: PLC0415 - as above
    from imagefinder.models.catalogue import ModelSpec  # noqa: PLC0415 - as above

    last = re.split(r"[/\\]", model.partition("?")[0].rstrip("/"))[-1]
    name = name or re.sub(r"[^a-z0-9._-]+", "-", last.lower().removesuffix(".onnx").removesuffix(".safetensors"))
    if not description.is_name(name):
        raise InputError(
            f"a model cannot be called {name!r}",
            hint="choose a name with --name: lower-case letters, digits, dots, hyphens and underscores",
        )
    architecture = adding.architecture_of(publication)
    how, _ = published.preprocessing(publication.texts)
    return ModelSpec(
        name=name,
        summary=f"{name}, added by the user",
        source=publication.source,
        sha256="",
        size_bytes=description.MAX_BYTES,
        licence=adding.licence_to_record(publication, licence),
        homepage=publication.homepage or Path(model).absolute().as_uri(),
        architecture=architecture,  # type: ignore[arg-type] # one of the names
        preprocessing=how,
        features=FeatureSpec("global", 1, "float32"),
    )


def _tried(
    context: typer.Context, spec: ModelSpec, path: Path, output_name: str, pool: str
) -> list[tuple[ModelSpec, CropScores]]:
    """The model with each way to make vectors of its outputs, and its scores; the chosen one first."""
    from imagefinder.core.features import FeatureSpec  # noqa: PLC0415 - fast start
    from imagefinder.extractors.crops import drawn_pictures, score_crops  # noqa: PLC0415 - as above
    from imagefinder.models.catalogue import Output  # noqa: PLC0415 - as above

    proposals = [
        one
        for one in _proposals(spec, path)
        if (not output_name or one.output.name == output_name) and (not pool or one.output.pool == pool)
    ]
    if not proposals:
        raise ModelError(
            f"no output of {spec.name} gives a vector per image with these options",
            hint="run the command without --output-name and --pool to list the outputs",
        )
    results = []
    for proposal in proposals:
        tried = replace(
            spec,
            output=Output(proposal.output.name, proposal.output.pool, proposal.output.skip),
            features=FeatureSpec("global", proposal.dim, "float32"),
        )
        results.append((tried, score_crops(_method(context, tried), drawn_pictures())))
    return results


def _proposals(spec: ModelSpec, path: Path) -> Sequence[Proposal]:
    import numpy as np  # noqa: PLC0415 - fast start

    from imagefinder.models import adding, onnx_check, session  # noqa: PLC0415 - as above
    from imagefinder.models.catalogue import ONNX, Output  # noqa: PLC0415 - as above

    if spec.architecture == "beit_base":
        return [
            adding.Proposal(Output("", "class token"), 768),
            adding.Proposal(Output("", "mean of tokens"), 768),
        ]
    if spec.architecture != ONNX:
        return [adding.Proposal(Output("", "vector"), 2048), adding.Proposal(Output("", "GeM of map"), 2048)]
    adding.check_size(str(path), path.stat().st_size)
    graph = path.read_bytes()
    onnx_check.check(graph, path.name)
    side = spec.preprocessing.size
    batch = np.random.default_rng(0).standard_normal((1, 3, side, side), dtype=np.float32)
    return adding.propose(session.outputs(graph, batch))


def _method(context: typer.Context, spec: ModelSpec) -> Method:
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    return wiring.network(spec, settings(context))


def _write(path: Path, spec: ModelSpec) -> None:
    from imagefinder.core.files import write_atomically  # noqa: PLC0415 - fast start
    from imagefinder.models import adding, description  # noqa: PLC0415 - as above

    write_atomically(path, [adding.to_toml(spec).encode()], mode=0o666)
    try:
        description.read(path)
    except ImagefinderError:
        path.unlink()
        raise


def _report_added(
    path: Path, sha256: str, spec: ModelSpec, results: Sequence[tuple[ModelSpec, CropScores]], *, as_json: bool
) -> None:
    if as_json:
        tried: list[Mapping[str, Any]] = [
            {"output": one.output.name, "pool": one.output.pool, "dim": one.features.dim}
            | {"crops": list(scores.crops), "others": list(scores.others)}
            for one, scores in results
        ]
        output.document({"name": spec.name, "file": str(path), "sha256": sha256, "outputs": tried})
        return
    output.table(
        ("output", "pooling", ">dimensions", ">crops", ">other pictures"),
        [
            (
                one.output.name or "(only one)",
                one.output.pool,
                str(one.features.dim),
                _numbers(scores.crops),
                _numbers(scores.others),
            )
            for one, scores in results
        ],
    )
    output.line()
    output.line(f"added {spec.name} with the first of these: {path}")
    output.line(f"licence {spec.licence}; SHA-256 {sha256} (trusted on first use)")
    output.line(f"next: imagefinder models check {spec.name}; imagefinder add IMAGES --method {spec.name}")
    output.line("auto does not use it yet: measure it with imagefinder evaluate, then set auto = true in the file")


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
