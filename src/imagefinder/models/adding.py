"""Draft the description of a model from what its publisher says, and from what its network returns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.errors import InputError, ModelError
from imagefinder.models import published, repository
from imagefinder.models.catalogue import (
    ONNX,
    HubFile,
    LocalFile,
    ModelSpec,
    Output,
    PackageFile,
    Source,
    UrlFile,
)
from imagefinder.models.description import MAX_BYTES
from imagefinder.models.repository import Texts

CARD = "README.md"

_PREFERRED = (
    "onnx/vision_model.onnx",
    "visual/model.onnx",
    "onnx/model.onnx",
    "vision_model.onnx",
    "model.onnx",
    "model.safetensors",
)
_BEST_NAMES = ("image_embeds", "image_embedding", "embedding", "embeddings", "features", "pooler_output", "output")
_LAST_NAMES = ("logits", "probabilities")
_REGISTERS = (0, 1, 5)  # tokens before the patches: none, a class token, a class token and four registers


@dataclass(frozen=True, slots=True)
class Publication:
    """A weight file, and what its publisher says about it.

    Attributes:
        source: The weight file.
        texts: Small files that came with it, by name.
        licence: Its licence; empty if the publisher names none.
        homepage: URL of its description.
    """

    source: Source
    texts: Texts
    licence: str
    homepage: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """One way to make features of an output.

    Attributes:
        output: Output and pooling.
        dim: Dimension of the features.
    """

    output: Output
    dim: int


def of_repository(name: str, *, revision: str = "main", file: str = "") -> Publication:
    """The weight file of a repository on the model hub.

    Args:
        name: ``owner/name``.
        revision: Branch, tag or commit; the present commit is recorded.
        file: Path of the weight file; empty: chosen among the files.

    Raises:
        HubUnreachableError, ModelError: the hub cannot be read, or has no file that imagefinder reads.
    """
    found = repository.look_up(name, revision)
    file = file or _choose(name, found.files)
    if file not in found.files:
        raise ModelError(
            f"{name} has no file {file}", hint=f"weight files: {', '.join(_weight_files(found.files))}"
        )
    folder = str(PurePosixPath(file).parent)
    texts = dict[str, str]()
    for one in (*published.FILES, CARD):
        near = f"{folder}/{one}" if folder != "." else one
        path = near if near in found.files else one
        if path in found.files:
            texts[one] = repository.read_text(found, path)
    licence = found.licence or repository.licence_of_card(texts.get(CARD, ""))
    from imagefinder.models import hub_environment  # noqa: PLC0415 - only for the address

    return Publication(HubFile(name, found.commit, file), texts, licence, f"{hub_environment.endpoint()}/{name}")


def of_file(path: Path) -> Publication:
    """A weight file on this machine, with the published files next to it.

    Raises:
        ModelError: a file cannot be read.
    """
    texts = dict[str, str]()
    for name in (*published.FILES, CARD):
        near = path.with_name(name)
        try:
            if near.is_file() and near.stat().st_size <= 1 << 20:
                texts[name] = near.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ModelError(f"{near} cannot be read: {error.strerror}") from error
    return Publication(LocalFile(path.name), texts, repository.licence_of_card(texts.get(CARD, "")), "")


def of_url(url: str, texts: Texts) -> Publication:
    """A weight file at an address, with the published files that the user has."""
    file = PurePosixPath(url.partition("?")[0]).name
    return Publication(UrlFile(url, file), texts, repository.licence_of_card(texts.get(CARD, "")), url)


def licence_to_record(publication: Publication, given: str) -> str:
    """The licence to write into the description.

    Args:
        publication: What the publisher says.
        given: The licence that the user names; empty if none.

    Raises:
        InputError: neither names one, or the published one forbids commercial use and the user did not name it.
    """
    licence = given or publication.licence
    if not re.fullmatch(r"[\w.+() -]{2,60}", licence):
        raise InputError(
            "the publisher names no licence of this model",
            hint="read its model card, then name the licence: --licence SPDX-NAME",
        )
    if not given and re.search(r"(^|[-_])nc([-_]|$)|non-?commercial|research", licence, re.IGNORECASE):
        raise InputError(
            f"the licence {licence} of this model forbids commercial use",
            hint=f"if you may use it, accept it by name: --licence {licence}",
        )
    return licence


def architecture_of(publication: Publication) -> str:
    """``onnx``, or the builder for a file of tensors.

    Raises:
        ModelError: imagefinder does not read this kind of file, or has no builder for its architecture.
    """
    suffix = PurePosixPath(publication.source.filename).suffix.lower()
    if suffix == ".onnx":
        return ONNX
    if suffix != ".safetensors":
        raise ModelError(
            f"{publication.source.filename} is neither .onnx nor .safetensors; other files may contain programs",
            hint="look for an ONNX export of the model, or convert it to safetensors",
        )
    found = published.architecture(publication.texts)
    if found is None:
        raise ModelError(
            "config.json names no architecture that imagefinder builds: resnet50 (timm), beit (transformers)",
            hint="look for an ONNX export of the model: it needs no builder",
        )
    return found


def propose(outputs: Mapping[str, NDArray[np.float32]]) -> list[Proposal]:
    """Ways to make one vector of the outputs of a network, the most promising first.

    Args:
        outputs: Name -> values for a batch of one image.
    """
    found = list[tuple[tuple[int, int, str], Proposal]]()
    for name, values in outputs.items():
        lower = name.lower()
        rank = _BEST_NAMES.index(lower) if lower in _BEST_NAMES else len(_BEST_NAMES) + (lower in _LAST_NAMES)
        for number, (output, dim) in enumerate(_poolings(name, values)):
            is_first = values.ndim == 2 and lower not in _LAST_NAMES
            found.append(((0 if is_first else 1, rank + number, name), Proposal(output, dim)))
    return [proposal for _, proposal in sorted(found, key=lambda pair: pair[0])]


def _poolings(name: str, values: NDArray[np.float32]) -> Sequence[tuple[Output, int]]:
    if values.ndim == 2 and values.shape[1] > 1:
        return [(Output(name, "vector"), values.shape[1])]
    if values.ndim == 3 and values.shape[1] > 1 and values.shape[2] > 1:
        _, tokens, dim = values.shape
        grids = [skip for skip in _REGISTERS if tokens > skip and math.isqrt(tokens - skip) ** 2 == tokens - skip]
        skip = grids[0] if grids else 0
        mean = (Output(name, "mean of tokens", skip=skip), dim)
        return [(Output(name, "class token"), dim), mean] if skip else [mean]
    if values.ndim == 4 and values.shape[1] > 1:
        return [(Output(name, "mean of map"), values.shape[1]), (Output(name, "GeM of map"), values.shape[1])]
    return []


def to_toml(model: ModelSpec) -> str:
    """The ``model.toml`` of a model, for people to read and change."""
    how, output, source = model.preprocessing, model.output, model.source
    weights = {
        HubFile: lambda one: {"repository": one.repository, "revision": one.revision, "file": one.filename},
        PackageFile: lambda one: {"package": one.package, "module": one.module, "file": one.filename},
        UrlFile: lambda one: {"url": one.url},
        LocalFile: lambda one: {"file": one.filename},
    }[type(source)](source)
    tables: dict[str, Mapping[str, object]] = {
        "": {
            "summary": model.summary,
            "licence": model.licence,
            "homepage": model.homepage,
            "architecture": model.architecture,
            "purpose": list(model.purpose),
            "auto": model.auto,
        },
        "weights": {
            **weights,
            **({"sha256": model.sha256} if model.sha256 else {}),
            "size_bytes": model.size_bytes,
        },
        "input": {
            "resize": how.resize,
            "resize_to": how.resize_to,
            "size": how.size,
            "interpolation": how.interpolation,
            "mean": list(how.mean),
            "std": list(how.std),
            "channels": how.channels,
        },
        "output": {
            **({"name": output.name} if output.name else {}),
            "pool": output.pool,
            **({"skip": output.skip} if output.skip else {}),
            **({"power": output.power} if output.pool == "GeM of map" else {}),
            "dim": model.features.dim,
        },
    }
    lines = list[str]()
    for name, values in tables.items():
        lines += [f"\n[{name}]"] if name else []
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    # JSON writes these types as TOML does; TOML forbids the one control character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "")


def _weight_files(files: Sequence[str]) -> list[str]:
    return [file for file in files if file.endswith((".onnx", ".safetensors"))]


def _choose(name: str, files: Sequence[str]) -> str:
    for preferred in _PREFERRED:
        if preferred in files:
            return preferred
    weights = _weight_files(files)
    if len(weights) == 1:
        return weights[0]
    raise ModelError(
        f"{name} has no weights that imagefinder reads: a file .onnx or .safetensors"
        if not weights
        else f"{name} has several weight files",
        hint=f"name one with --file: {', '.join(weights[:10])}"
        if weights
        else "files that contain programs (.pt, .bin) are not read; look for an ONNX export of the model",
    )


def check_size(name: str, size: int) -> int:
    """The size of a weight file in bytes.

    Raises:
        ModelError: it is larger than ``MAX_BYTES``.
    """
    if size > MAX_BYTES:
        raise ModelError(f"{name} has {size:,} bytes; imagefinder reads weight files up to {MAX_BYTES:,} bytes")
    return size
