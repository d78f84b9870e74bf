"""What the code says: settings, networks, errors, problems."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import get_type_hints

from imagefinder.core import errors
from imagefinder.core.settings import PREFIX, Settings, type_name
from imagefinder.models.catalogue import MODELS, HubFile
from imagefinder.server.errors import KINDS


def settings() -> str:
    types = get_type_hints(Settings)
    lines = [
        "# Settings\n",
        "One name, four places; later ones win: the default, a TOML file (`--config FILE` or",
        f"`{PREFIX}CONFIG`), the environment (`{PREFIX}NAME`), a flag of the command line.\n",
        "| name | environment | type | default | what it does |",
        "|---|---|---|---|---|",
    ]
    for item in dataclasses.fields(Settings):
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            value = item.default_factory()
            default = (
                f"`$XDG_DATA_HOME/imagefinder/{value.name}`" if isinstance(value, Path) else "number of cores"
            )
        else:
            default = "none" if default == () else f"`{default}`"
        kind = " or ".join(f"`{word}`" for word in item.metadata["choices"]) or type_name(types[item.name])
        lines.append(
            f"| `{item.name}` | `{PREFIX}{item.name.upper()}` | {kind} | {default} | {item.metadata['help']} |"
        )
    lines += [
        '\nIn a TOML file a list is a list: `allowed_hosts = ["pictures.example"]`. In the environment and in flags its items are',
        f"joined by commas (`{PREFIX}ALLOWED_HOSTS=pictures.example,pictures.local`), paths as in `PATH`. A truth value is `true`",
        "or `false`. `imagefinder serve --print-config` prints all values in force as a TOML file, and where each comes from.",
    ]
    return "\n".join(lines) + "\n"


def models() -> str:
    lines = [
        "# Networks\n",
        "| method | weights | revision | size | licence | SHA-256 | preprocessing | features |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS.values():
        source = model.source
        hub = isinstance(source, HubFile)
        p = model.preprocessing
        resize = (
            f"shorter side {p.resize_to}, centre {p.size}"
            if p.resize == "shorter-side"
            else f"{p.size} x {p.size}"
        )
        lines.append(
            f"| {model.name} | [{source.repository if hub else source.package}]({model.homepage}) `{source.filename}` | "
            f"{source.revision if hub else 'pinned package'} | {model.size_bytes / 1e6:.0f} MB | {model.licence} | "
            f"{model.sha256 or 'taken from the hub at the first download, then kept'} | {resize}, {p.interpolation}, "
            f"mean {p.mean}, std {p.std} | {model.features.kind}, {model.features.dim} x {model.features.dtype} |"
        )
    return "\n".join(lines) + "\n"


def error_codes() -> str:
    lines = [
        "# Errors\n",
        "Every error on purpose has a stable code, a message, a hint, and says whether trying again may help.\n",
        "| code | class | retryable | when |",
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
        "Every code that an `application/problem+json` answer can have; [the guide](../guides/rest-api.md) says when.\n",
        "| code | status | retryable | title |",
        "|---|---|---|---|",
        *(
            f"| `{code}` | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.title} |"
            for code, kind in KINDS.items()
        ),
    ]
    return "\n".join(lines) + "\n"
