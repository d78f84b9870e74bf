"""The models that a command names, and the cache of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from imagefinder.cli.session import settings
from imagefinder.core.errors import InputError
from imagefinder.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from imagefinder.models.catalogue import ModelCatalogue, ModelSpec
    from imagefinder.models.hub import ModelCache


def model_names() -> list[str]:
    """The names of all models, for completion in a shell."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start
    from imagefinder.core.settings import Settings  # noqa: PLC0415 - as above

    return sorted(wiring.model_catalogue(Settings.load()))


def cache(context: typer.Context, *, write: bool = False) -> ModelCache:
    """The cache of weights."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    chosen = settings(context)
    if write:
        chosen.folder("models")
    return wiring.model_cache(chosen)


def catalogue(context: typer.Context) -> ModelCatalogue:
    """The shipped and the added models."""
    from imagefinder import wiring  # noqa: PLC0415 - fast start

    return wiring.model_catalogue(settings(context))


def chosen(context: typer.Context, names: Sequence[str] | None) -> list[ModelSpec]:
    """The named models; default: all.

    Raises:
        InputError: no model has one of the names.
        SettingsError: the description of a model is invalid.
    """
    known = catalogue(context)
    for name in names or ():
        if name not in known:
            hint = did_you_mean(name, known, otherwise=f"available models: {', '.join(known)}")
            raise InputError(f"unknown model {name!r}", hint=hint)
    return [known[name] for name in dict.fromkeys(names or known)]
