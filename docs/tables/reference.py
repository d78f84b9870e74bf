"""Reference tables of settings, networks, errors and problems, generated from the code."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import get_type_hints

from imagefinder.core import errors
from imagefinder.core.setting_values import type_name
from imagefinder.core.settings import PREFIX, Settings
from imagefinder.models.catalogue import MODELS, HubFile, PackageFile
from imagefinder.server.errors import KINDS


def settings() -> str:
    types = get_type_hints(Settings)
    lines = [
        "# Settings\n",
        "A setting has one name in four places, and later ones win: the default, a TOML file (`--config FILE` or",
        f"`{PREFIX}CONFIG`), an environment variable (`{PREFIX}NAME`), a command-line option (`--set NAME=VALUE`).\n",
        "| name | environment variable | type | default | description |",
        "|---|---|---|---|---|",
    ]
    for item in dataclasses.fields(Settings):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            value = item.default_factory()
            default = (
                f"`$XDG_{'CACHE' if item.name == 'scratch' else 'DATA'}_HOME/{relative(value)}`"
                if isinstance(value, str | Path)
                else "depends on the memory"
                if item.name.startswith("max_local")
                else "number of cores"
            )
        else:
            default = "none" if default == () else f"`{default}`"
        kind = " or ".join(f"`{word}`" for word in item.metadata["choices"]) or type_name(types[item.name])
        lines.append(
            f"| `{item.name}` | `{PREFIX}{item.name.upper()}` | {kind} | {default} | {item.metadata['help']} |"
        )
    lines += [
        '\nIn a TOML file, write a list as `allowed_hosts = ["images.example"]`. In environment variables and options, separate its items',
        f"by commas (`{PREFIX}ALLOWED_HOSTS=images.example,images.local`), and paths as in `PATH`. Booleans are `true`",
        "or `false`. `imagefinder serve --print-config` prints all effective values as a TOML file, with the source of each.",
    ]
    return "\n".join(lines) + "\n"


def relative(path: str | Path) -> str:
    parts = Path(path).parts
    return "/".join(parts[parts.index("imagefinder") :])


def models() -> str:
    lines = [
        "# Networks\n",
        "| method | in `auto` | made to find | weights | revision | size | licence | SHA-256 | preprocessing | features |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS.values():
        source = model.source
        if isinstance(source, HubFile):
            place, version = source.repository, source.revision
        elif isinstance(source, PackageFile):
            place, version = source.package, "pinned package"
        else:
            raise TypeError(f"no shipped model has weights of this kind: {source}")
        p = model.preprocessing
        resize = (
            f"shorter side {p.resize_to}, centre {p.size}"
            if p.resize == "shorter-side"
            else f"{p.size} x {p.size}"
        )
        lines.append(
            f"| {model.name}{' (never run)' if model.untested else ''} | {'yes' if model.auto else 'no'} | {', '.join(model.purpose)} | [{place}]({model.homepage}) `{source.filename}` | "
            f"{version} | {model.size_bytes / 1e6:.0f} MB | {model.licence} | "
            f"{model.sha256 or 'taken from the hub at the first download, then pinned'} | {resize}, {p.interpolation}, "
            f"mean {p.mean}, std {p.std} | {model.features.kind}, {model.features.dim} x {model.features.dtype} |"
        )
    return "\n".join(lines) + "\n"


def error_codes() -> str:
    lines = [
        "# Errors\n",
        "Every deliberate error has a stable code, a message and a hint, and states whether a retry may help.\n",
        "| code | class | retryable | meaning |",
        "|---|---|---|---|",
    ]
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.ImagefinderError):
            first = (inspect.getdoc(kind) or "").splitlines()[0]
            lines.append(f"| `{kind.code}` | `{kind.__name__}` | {'yes' if kind.retryable else 'no'} | {first} |")
    return "\n".join(lines) + "\n"


def problems() -> str:
    lines = [
        "# Problems of the REST service\n",
        "All codes of `application/problem+json` responses; [the guide](../guides/rest-api.md) describes when they occur.\n",
        "| code | status | retryable | title |",
        "|---|---|---|---|",
        *(
            f"| `{code}` | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.title} |"
            for code, kind in KINDS.items()
        ),
    ]
    return "\n".join(lines) + "\n"
